# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnel packets that leave in UDP super-frames, and TCP segments that arrive in super-frames:
every byte compared, between two switches and between a switch and the kernel's own VXLAN device,
whatever the offloads of the lines between them.

    vm1 eth0 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ═══ eth0 ─ br-phy ~ t0 ┤br0├ vif2 ─ eth0 vm2
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.frames import PacketSocket
from netlab.lab import Lab, wait_until
from netlab.measure import wait_for_ping
from netlab.peers import KernelVxlanPeer
from netlab.topology import Host, tunnel_pair
from netlab.transfer import tcp_both_ways

TCP_BYTES = 10_000_000
UNDERLAY_PACKET_BYTES_MAX = 1600 + 14


def longest_frame(wire: PacketSocket) -> int:
    return max(len(seen.data) for seen in wire.take(lambda _: True))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["vxlan", "geneve", "gre"])
def test_every_byte_arrives(lab: Lab, build: Build, kind: str, family: int) -> None:
    hosts = tunnel_pair(lab, build, kind, family, trains=True)
    near, far = (host.vms[0] for host in hosts)
    with PacketSocket(hosts[1].ns, "eth0") as wire:
        for inner in (4, 6):
            wait_for_ping(near.ns, far.address(inner))
            tcp_both_ways(near.ns, far.ns, far.address(inner), size=TCP_BYTES, seed=inner)
        longest = longest_frame(wire)
    assert (longest > UNDERLAY_PACKET_BYTES_MAX) == (kind != "gre")
    for host in hosts:
        assert not set(host.daemon.drops()) & {"offload_malformed", "no_buffer", "inner_malformed"}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("offloads", ["on", "off"])
def test_the_kernel_takes_trains(lab: Lab, build: Build, offloads: str, family: int) -> None:
    host, peer = Host(lab, build, 1, trains=True), KernelVxlanPeer(lab)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=host.mtu)
    peer.configure_uplink()
    # Its own side of the line; ours stays as the kernel sets it.
    peer.ns.run("ethtool", "-K", "eth0", "tx", offloads, "gso", offloads, "gro", offloads)
    peer.add_vxlan(host.underlay(family), family)
    machine = host.add_vm(1)
    host.add_tunnel("t0", "vxlan", peer.underlay(family))
    host.start()
    for inner in (4, 6):
        wait_for_ping(machine.ns, peer.address(inner))
        tcp_both_ways(machine.ns, peer.ns, peer.address(inner), size=TCP_BYTES, seed=inner)


def test_an_interface_that_forbids_trains_gets_none(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4, trains=True)
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    for host in hosts:
        host.ns.run("ethtool", "-K", "eth0", "tx-udp-segmentation", "off")

    def no_trains() -> bool:
        with PacketSocket(hosts[1].ns, "eth0") as wire:
            tcp_both_ways(near.ns, far.ns, far.address(), size=TCP_BYTES, seed=1)
            return longest_frame(wire) <= UNDERLAY_PACKET_BYTES_MAX

    wait_until(no_trains, "the switches follow what ethtool was told")
