# SPDX-License-Identifier: GPL-2.0-or-later
"""Congestion marks through a tunnel: each cell of RFC 6040 figure 4, both modes of section 4.1."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from netlab.daemon import Build
from netlab.far_end import FarEnd, ip_of
from netlab.frames import PacketSocket, Seen
from netlab.lab import Lab, wait_until

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
DROP = None
NAMES = {NOT_ECT: "not_ect", ECT1: "ect1", ECT0: "ect0", CE: "ce"}
DSCP = 0x28

# RFC 6040 figure 4: by the inner field, then by the outer one, what leaves the tunnel.
FIGURE_4 = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT0: NOT_ECT, ECT1: NOT_ECT, CE: DROP},
    ECT0: {NOT_ECT: ECT0, ECT0: ECT0, ECT1: ECT1, CE: CE},
    ECT1: {NOT_ECT: ECT1, ECT0: ECT1, ECT1: ECT1, CE: CE},
    CE: {NOT_ECT: CE, ECT0: CE, ECT1: CE, CE: CE},
}
CELLS = [(inner, outer) for inner in FIGURE_4 for outer in FIGURE_4[inner]]
# The cells that the figure marks with (!) or (!!!).
ANOMALIES = {(NOT_ECT, ECT0), (NOT_ECT, ECT1), (NOT_ECT, CE), (ECT1, ECT0), (CE, ECT1)}


def details(far: FarEnd, tunnel: str) -> dict:
    return far.host.daemon.ctl_json("show", "tunnel", tunnel)


def with_right_checksum(packet: Packet) -> bytes:
    """The packet's bytes with the IPv4 checksum made anew by scapy."""
    again = packet.copy()
    if IP in again:
        del again[IP].chksum
    return bytes(again)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["vxlan", "gre"])
def test_marks_are_merged_as_the_table_says(lab: Lab, build: Build, kind: str, family: int) -> None:
    far = FarEnd(lab, build)
    far.host.add_tunnel("t0", kind, far.underlay(family))
    far.host.start()
    with PacketSocket(far.ns) as out, PacketSocket(far.machine.ns) as machine:
        for version in (4, 6):
            for inner, outer in CELLS:
                cell = f"IPv{version}, inner {NAMES[inner]}, outer {NAMES[outer]}"
                mark = f"<{cell}>".encode()
                before = details(far, "t0")
                packet = far.inner(version, inward=True, tos=DSCP | inner) / Raw(mark)
                out.send(far.encapsulated(kind, family, packet, tos=DSCP | outer))
                wait_until(
                    lambda b=before: details(far, "t0")["counters"] != b["counters"]
                    or details(far, "t0")["drops"] != b["drops"],
                    f"'{cell}' is counted",
                )
                expected = FIGURE_4[inner][outer]
                drops = details(far, "t0")["drops"].get("ecn_illegal", 0)
                assert drops - before["drops"].get("ecn_illegal", 0) == (expected is DROP), cell
                anomalies = details(far, "t0")["ecn_anomalies"]
                risen = {
                    name for name, n in anomalies.items() if n != before["ecn_anomalies"][name]
                }
                name = f"inner_{NAMES[inner]}_outer_{NAMES[outer]}"
                assert risen == ({name} if (inner, outer) in ANOMALIES else set()), cell
                if expected is DROP:
                    continue
                seen = machine.wait_for(lambda one, m=mark: m in one.data)
                assert seen is not None, cell
                found = Ether(seen.data)
                assert ip_of(found)[0] == DSCP | expected, cell
                assert seen.data == with_right_checksum(found), cell
        assert machine.take(lambda one: b"<IPv" in one.data) == [], "a dropped one arrived"


def test_marks_are_copied_outwards_or_not(lab: Lab, build: Build) -> None:
    """Four tunnels carry every frame to an unknown machine: a mode and a family each."""
    far = FarEnd(lab, build)
    tunnels = {}
    for key, mode in ((1, "normal"), (2, "compatibility")):
        for family in (4, 6):
            tunnels[family, key] = mode
            remote = far.underlay(family)
            far.host.add_tunnel(f"t{key}-{family}", "vxlan", remote, key, ecn=mode, tos=DSCP)
    far.host.add_tunnel("t3-4", "gre", far.underlay(4), 3, ecn="normal", tos=DSCP)
    tunnels[4, 3] = "normal"
    far.host.start()
    for name in (tunnel["name"] for tunnel in far.host.config.tunnels):
        far.host.wait_for_next_hop(name)
    with PacketSocket(far.ns) as wire, PacketSocket(far.machine.ns) as machine:
        for version in (4, 6):
            for inner in FIGURE_4:
                mark = f"<{version} {NAMES[inner]}>".encode()
                packet = far.inner(version, inward=False, tos=0xB8 | inner) / Raw(mark)
                machine.send(bytes(packet))
                seen: dict[tuple[int, int], Seen] = {}

                def all_of_them(mark: bytes = mark, seen: dict = seen) -> bool:
                    for one in wire.take(lambda s: mark in s.data):
                        outer = Ether(one.data)
                        header = outer[VXLAN].vni if VXLAN in outer else outer[GRE].key
                        seen[6 if outer.type == 0x86DD else 4, header] = one
                    return set(seen) == set(tunnels)

                wait_until(all_of_them, f"{mark!r} leaves by {len(tunnels)} tunnels")
                for where, mode in tunnels.items():
                    tos, _ = ip_of(Ether(seen[where].data))
                    assert tos == DSCP | (inner if mode == "normal" else NOT_ECT), (where, mark)
                    assert bytes(packet) in seen[where].data, "the frame itself stays as it was"
