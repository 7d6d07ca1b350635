# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of a wire, read by tshark: the dissector that is not ours."""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Iterable, Sequence

from netlab.frames import PacketSocket, Seen
from netlab.lab import LabError, Namespace, run

TSHARK_TOOLS = {"tshark": "tshark"}

_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1)  # Ethernet.
# tshark verifies these only when told to; GRE's and ICMP's it always verifies.
_VERIFY = ("ip.check_checksum", "udp.check_checksum", "tcp.check_checksum")

# What *.checksum.status says; a zero UDP checksum over IPv6 is "illegal" to it.
GOOD, BAD, ABSENT, ILLEGAL = "1", "0", "3", "4"


def write_pcap(path: pathlib.Path, frames: Iterable[bytes]) -> None:
    with open(path, "wb") as file:
        file.write(_PCAP_HEADER)
        for number, data in enumerate(frames):
            file.write(struct.pack("<IIII", number, 0, len(data), len(data)) + data)


def dissect(
    path: pathlib.Path,
    fields: Sequence[str],
    wanted: str = "",
    options: Sequence[str] = (),
) -> list[dict[str, list[str]]]:
    """Each frame that the display filter `wanted` lets pass: every value of every field, the outer
    layers' first."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields"]
    command += ["-E", "occurrence=a", "-E", "aggregator=|", "-E", "separator=/t"]
    for preference in _VERIFY:
        command += ["-o", f"{preference}:TRUE"]
    for option in options:
        command += ["-o", option]
    command += ["-Y", wanted] if wanted else []
    for field in fields:
        command += ["-e", field]
    rows = []
    for line in run(command, timeout_s=60).stdout.splitlines():
        cells = line.split("\t")
        if len(cells) != len(fields):
            raise LabError(f"tshark printed {len(cells)} fields for {len(fields)}: {line}")
        values = [cell.split("|") if cell else [] for cell in cells]
        rows.append(dict(zip(fields, values)))
    return rows


class Capture:
    """All frames of one interface from here on, both directions or those that come in."""

    def __init__(
        self, node: Namespace, interface: str = "eth0", incoming_only: bool = False
    ) -> None:
        self._lab = node.lab
        self._name = f"{node.name}-{interface}"
        self._socket = PacketSocket(node, interface)
        self._incoming_only = incoming_only
        self.frames: list[Seen] = []

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def fetch(self) -> list[Seen]:
        """Adds what has arrived by now, and returns everything."""
        self.frames += self._socket.take(lambda _seen: True, self._incoming_only)
        return self.frames

    def dissect(
        self, fields: Sequence[str], wanted: str = "", options: Sequence[str] = ()
    ) -> list[dict[str, list[str]]]:
        path = self._lab.directory / f"{self._name}.pcap"
        write_pcap(path, (seen.data for seen in self.fetch()))
        return dissect(path, fields, wanted, options)
