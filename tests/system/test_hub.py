# SPDX-License-Identifier: GPL-2.0-or-later
"""From tunnel to tunnel: a hub between hosts that have no tunnel to each other, and a bridge with
as many tunnels as a large network has.

    vm1 ┤br0├ ~gre~ ┐
    vm2 ┤br0├ ~vxlan~ ┤br0├ hub h9
    vm3 ┤br0├ ~geneve~ ┘
"""

from __future__ import annotations

import itertools
import re

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, frame
from netlab.lab import Lab, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.topology import UNDERLAY_MTU, Host, Wire
from netlab.transfer import tcp_both_ways, udp_one_way

# By spoke: the type of its tunnel, and the largest packet inside over IPv4 at 1500.
SPOKES = {1: ("gre", 1458), 2: ("vxlan", 1450), 3: ("geneve", 1450)}
HUB = 9
TCP_BYTES = 2_000_000
TUNNELS = 1000
HARMLESS_DROPS = {"no_destination", "link_local_multicast"}


class Star:
    def __init__(self, lab: Lab, build: Build, mtu: int, family: int = 4) -> None:
        wire = Wire(lab, mtu)
        self.hub = Host(lab, build, HUB, mtu)
        wire.attach(self.hub.ns)
        self.spokes: dict[int, Host] = {}
        for index, (kind, _) in SPOKES.items():
            spoke = Host(lab, build, index, mtu)
            wire.attach(spoke.ns)
            spoke.add_vm(index)
            spoke.add_tunnel("t0", kind, self.hub.underlay(family))
            self.hub.add_tunnel(f"t{index}", kind, spoke.underlay(family))
            self.spokes[index] = spoke
        for host in (self.hub, *self.spokes.values()):
            host.start()

    def vm(self, index: int):
        return self.spokes[index].vms[0]

    def drops(self) -> dict[str, dict[str, int]]:
        found = {}
        for host in (self.hub, *self.spokes.values()):
            drops = {r: n for r, n in host.daemon.drops().items() if r not in HARMLESS_DROPS}
            found.update({host.ns.name: drops} if drops else {})
        return found


@pytest.mark.parametrize("family", [4, 6])
def test_spokes_of_different_types_reach_each_other(lab: Lab, build: Build, family: int) -> None:
    star = Star(lab, build, UNDERLAY_MTU, family)
    for a, b in itertools.combinations(SPOKES, 2):
        for inner in (4, 6):
            target = star.vm(b).address(inner)
            wait_for_ping(star.vm(a).ns, target)
            result = ping(star.vm(a).ns, target)
            assert (result.received, result.duplicates) == (3, 0), result.output
            tcp_both_ways(star.vm(a).ns, star.vm(b).ns, target, TCP_BYTES, seed=inner)
        udp_one_way(star.vm(a).ns, star.vm(b).ns, target, datagrams=10, seed=1, segment_bytes=999)
    assert star.drops() == {}
    learnt = {star.vm(index).mac: {f"t{index}"} for index in SPOKES}
    assert {mac: star.hub.daemon.fdb_ports(mac) for mac in learnt} == learnt


def test_a_broadcast_reaches_every_other_spoke_once(lab: Lab, build: Build) -> None:
    star = Star(lab, build, UNDERLAY_MTU)
    for a, b in itertools.combinations(SPOKES, 2):
        wait_for_ping(star.vm(a).ns, star.vm(b).address())
    wires = {index: PacketSocket(star.vm(index).ns) for index in SPOKES}
    sent = frame(star.vm(1).mac, BROADCAST, b"to all")
    wires[1].send(sent)
    for index in (2, 3):
        seen = wires[index].wait_for(lambda one: b"to all" in one.data)
        assert seen is not None and seen.data == sent
    for a, b in itertools.combinations(SPOKES, 2):
        wait_for_ping(star.vm(a).ns, star.vm(b).address())  # Later frames have passed as well.
    for wire in wires.values():
        assert wire.take(lambda one: b"to all" in one.data) == []
        wire.close()


def test_split_horizon_keeps_the_spokes_apart(lab: Lab, build: Build) -> None:
    star = Star(lab, build, UNDERLAY_MTU)
    wait_for_ping(star.vm(1).ns, star.vm(2).address())
    star.hub.config.find_bridge("br0")["split_horizon"] = True
    star.hub.daemon.reload()
    assert ping(star.vm(1).ns, star.vm(2).address(), wait_s=0.5).received == 0
    star.hub.daemon.wait_for_drops("split_horizon")


def test_the_hub_reports_what_fits_only_the_first_leg(lab: Lab, build: Build) -> None:
    star = Star(lab, build, mtu=1500)
    near, far = star.vm(1), star.vm(2)
    leg, rest = SPOKES[1][1], SPOKES[2][1]
    for inner, headers in ((4, 28), (6, 48)):
        target = far.address(inner)
        wait_for_ping(near.ns, target)
        done = ping(near.ns, target, size=leg - headers, do_not_fragment=True)
        assert re.search(rf"From {target} .*mtu ?= ?{rest}\b", done.output), done.output
        assert done.received == 0
        fits = ping(near.ns, target, size=rest - headers, do_not_fragment=True)
        assert fits.received == 3, fits.output
    drops = star.drops()
    assert set(drops) == {star.hub.ns.name}, drops
    assert set(drops[star.hub.ns.name]) == {"too_big_reported"}, drops
    # TCP learns both steps, its own host's and the hub's.
    for inner in (4, 6):
        for vm in (near, far):
            vm.ns.ip(f"-{inner}", "route", "flush", "cache")
        tcp_both_ways(near.ns, far.ns, far.address(inner), TCP_BYTES, seed=inner)


def test_a_broadcast_leaves_by_a_thousand_tunnels(lab: Lab, build: Build) -> None:
    """Their remote addresses are all at the far end of one wire."""
    host = Host(lab, build, 1)
    far = lab.namespace("far")
    lab.wire(host.ns, "eth0", far, "eth0", mtu=UNDERLAY_MTU, b_mac="02:00:ac:14:00:02")
    vm = host.add_vm(1)
    host.config.find_bridge("br-phy")["local"]["addresses"] = ["172.20.0.1/20"]
    host.start()
    remotes = [f"172.20.{4 + number // 250}.{1 + number % 250}" for number in range(TUNNELS)]
    # The kernel's neighbour table has room for fewer than these, unless they are permanent.
    batch = lab.directory / "neighbours"
    batch.write_text(
        "".join(
            f"neigh replace {remote} lladdr 02:00:ac:14:00:02 dev br-phy nud permanent\n"
            for remote in remotes
        ),
        encoding="ascii",
    )
    host.ns.ip("-batch", batch)
    for number, remote in enumerate(remotes):
        kind = ("vxlan", "gre")[number % 2]
        host.add_tunnel(f"t{number}", kind, remote)
    host.daemon.reload()
    for name in ("t0", f"t{TUNNELS - 1}"):
        host.wait_for_next_hop(name)
    before = host.daemon.drops()
    with PacketSocket(far) as wire, PacketSocket(vm.ns) as out:
        for round_number in range(3):
            mark = b"<to a thousand: %d>" % round_number
            sent = frame(vm.mac, BROADCAST, mark)
            out.send(sent)
            copies: list[str] = []

            def all_copies(sent: bytes = sent, copies: list[str] = copies) -> bool:
                for one in wire.take(lambda seen: sent in seen.data):
                    copies.append(Ether(one.data)[IP].dst)
                return len(copies) >= TUNNELS

            wait_until(all_copies, f"{TUNNELS} copies are on the wire")
            assert sorted(copies) == sorted(remotes)
    assert host.daemon.drops() == before
