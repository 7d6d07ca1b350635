# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert and the Linux kernel's VXLAN, with the kernel's default offloads on both sides.

    vm1 10.0.0.1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ~ vx0 10.0.0.2
                        h1         172.20.0.1               172.20.0.2  (kernel)
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.lab import Lab
from netlab.measure import MBITS_MIN, iperf, ping
from netlab.peers import KernelVxlanPeer
from netlab.topology import Host
from netlab.transfer import tcp_both_ways, udp_one_way

HARMLESS_DROPS = {"no_destination", "link_local_multicast"}


def make_pair(
    lab: Lab,
    build: Build,
    family: int,
    kernel_options: tuple[str, ...] = (),
    **tunnel_keys: object,
) -> tuple[Host, KernelVxlanPeer]:
    host, peer = Host(lab, build, 1), KernelVxlanPeer(lab, 2)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=host.mtu)
    peer.configure_uplink()
    peer.add_vxlan(host.underlay(family), family, options=kernel_options)
    host.add_vm(1)
    host.add_tunnel("t0", "vxlan", peer.underlay(family), **tunnel_keys)
    host.start()
    return host, peer


@pytest.mark.parametrize("inner_family", [4, 6])
@pytest.mark.parametrize("family", [4, 6])
def test_ping_both_ways(lab: Lab, build: Build, family: int, inner_family: int) -> None:
    host, peer = make_pair(lab, build, family)
    machine = host.vms[0]
    first = ping(machine.ns, peer.address(inner_family), count=10)
    assert (first.received, first.duplicates, first.first_answered) == (10, 0, True)
    assert ping(peer.ns, machine.address(inner_family), count=10).received == 10
    full = ping(machine.ns, peer.address(4), size=1472, do_not_fragment=True)
    assert full.received == 3, full.output


@pytest.mark.parametrize("family", [4, 6])
def test_iperf_both_ways(lab: Lab, build: Build, family: int) -> None:
    host, peer = make_pair(lab, build, family)
    vm = host.vms[0].ns
    assert iperf(vm, peer.ns, peer.address(), seconds=1) >= MBITS_MIN
    assert iperf(vm, peer.ns, peer.address(), seconds=1, reverse=True) >= MBITS_MIN
    assert iperf(vm, peer.ns, peer.address(6), seconds=1) >= MBITS_MIN


@pytest.mark.timeout(120)
@pytest.mark.parametrize("inner_family", [4, 6])
@pytest.mark.parametrize("family", [4, 6])
def test_content_arrives_as_sent(lab: Lab, build: Build, family: int, inner_family: int) -> None:
    host, peer = make_pair(lab, build, family)
    machine = host.vms[0]
    target = peer.address(inner_family)
    tcp_both_ways(machine.ns, peer.ns, target, size=20_000_000, seed=1)
    udp_one_way(machine.ns, peer.ns, target, datagrams=200, seed=2)
    udp_one_way(peer.ns, machine.ns, machine.address(inner_family), datagrams=200, seed=3)
    udp_one_way(machine.ns, peer.ns, target, datagrams=20, seed=4, segment_bytes=1200)
    udp_one_way(
        peer.ns, machine.ns, machine.address(inner_family), 20, seed=5, segment_bytes=1200
    )
    drops = {r: n for r, n in host.daemon.drops().items() if r not in HARMLESS_DROPS}
    assert drops == {}


@pytest.mark.parametrize(
    "kernel_options", [("udpcsum",), ("noudpcsum",)], ids=["udpcsum", "noudpcsum"]
)
@pytest.mark.parametrize("csum", [False, True])
def test_outer_udp_checksums_over_ipv4(
    lab: Lab, build: Build, kernel_options: tuple[str, ...], csum: bool
) -> None:
    host, peer = make_pair(lab, build, 4, kernel_options, csum=csum)
    assert ping(host.vms[0].ns, peer.address(), count=5).received == 5
    tcp_both_ways(host.vms[0].ns, peer.ns, peer.address(), size=5_000_000, seed=1)


def test_a_zero_checksum_over_ipv6_is_refused_and_counted(lab: Lab, build: Build) -> None:
    """RFC 8200 section 8.1; the kernel sends none only when told to."""
    host, peer = make_pair(lab, build, 6, ("udp6zerocsumtx",))
    assert ping(peer.ns, host.vms[0].address(), count=2, wait_s=0.5).received == 0
    host.daemon.wait_for_drops("udp6_zero_checksum")


def test_another_udp_port(lab: Lab, build: Build) -> None:
    host, peer = Host(lab, build, 1), KernelVxlanPeer(lab, 2)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=host.mtu)
    peer.configure_uplink()
    peer.add_vxlan(host.underlay(4), 4, dst_port=8472)
    host.add_vm(1)
    host.add_tunnel("t0", "vxlan", peer.underlay(4), dst_port=8472)
    host.start()
    assert ping(host.vms[0].ns, peer.address()).received == 3
