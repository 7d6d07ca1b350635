# SPDX-License-Identifier: GPL-2.0-or-later
"""What the packets of a tunnel look like on the wire, by the word of tshark."""

from __future__ import annotations

import collections
import dataclasses

from netlab.capture import ABSENT, BAD, GOOD, ILLEGAL, Capture
from netlab.lab import LabError

# Display filter, field of the key, UDP port.
_PROTOCOLS: dict[str, tuple[str, str, int]] = {
    "gre": ("gre", "gre.key", 0),
    "vxlan": ("vxlan", "vxlan.vni", 4789),
    "vxlan-gpe": ("udp.dstport == 4790", "vxlan.vni", 4790),
    "geneve": ("geneve", "geneve.vni", 6081),
}
_INNER = (
    "ip.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "tcp.checksum.status",
)


@dataclasses.dataclass(frozen=True)
class Outer:
    """`checksum`: True, each packet carries the checksum of its GRE or UDP header; False, none
    does."""

    protocol: str
    family: int
    key: int | None
    checksum: bool

    def check(self, capture: Capture, a: str, b: str) -> str:
        """Holds each packet between `a` and `b` against this; returns the table's cell. There must
        be some in each direction. Those of `a`, which is Culvert, have complete and right checksums
        inside as well; what the peer's kernel puts into its own is not judged here."""
        wanted, key_field, port = _PROTOCOLS[self.protocol]
        source = "ip.src" if self.family == 4 else "ipv6.src"
        status = "udp.checksum.status" if port else "gre.checksum.status"
        fields = [source, key_field, status, "udp.dstport", "icmp.type", *_INNER]
        seen: collections.Counter[str] = collections.Counter()
        for row in capture.dissect(fields, wanted):
            self._check_one(row, key_field, status, port)
            seen[row[source][0]] += 1
            for field in _INNER if row[source][0] == a else ():
                if BAD in row[field]:
                    raise LabError(f"{self.protocol} packet with {field} {row[field]}: {row}")
        if set(seen) != {a, b}:
            raise LabError(f"{self.protocol} packets came from {dict(seen)}, not from {a} and {b}")
        name = "UDP" if port else "GRE"
        words = "good" if self.checksum else "zero" if port else "none"
        return f"{name} {words} in {seen[a]}+{seen[b]}, inner good"

    def _check_one(self, row: dict[str, list[str]], key_field: str, status: str, port: int) -> None:
        keys = [int(text, 0) for text in row[key_field]]
        if keys != ([] if self.key is None else [self.key]):
            raise LabError(f"{self.protocol} packet with {keys} and not with {self.key}: {row}")
        if port and int(row["udp.dstport"][0]) != port:
            raise LabError(f"{self.protocol} packet to another port than {port}: {row}")
        if self.checksum:
            expected = [GOOD]
        elif port:
            expected = [ABSENT if self.family == 4 else ILLEGAL]
        else:
            expected = []
        if row[status][:1] != expected:
            raise LabError(f"{self.protocol} packet with {status} {row[status]}: {row}")
