# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert and the Linux kernel's VXLAN, with the kernel's default offloads on both sides.

    vm1 10.0.0.1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ~ vx0 10.0.0.2
                        h1         172.20.0.1               172.20.0.2  (kernel)
"""

from __future__ import annotations

import dataclasses
import os

import pytest

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.lab import Lab
from netlab.matrix import Row
from netlab.measure import MBITS_MIN, iperf, ping
from netlab.outer import Outer
from netlab.peers import KernelVxlanPeer
from netlab.topology import DEFAULT_KEY, Host
from netlab.transfer import tcp_both_ways, udp_one_way

PEER = f"Linux {os.uname().release.split('-')[0]} (this machine)"
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


@dataclasses.dataclass(frozen=True)
class Case:
    options: str
    family: int
    kernel: tuple[str, ...]
    checksum: bool
    keys: dict[str, object]

    def param(self) -> object:
        name = f"{self.options.replace(' ', '-')}-ipv{self.family}"
        mark = pytest.mark.row(PEER, "VXLAN", self.options, f"IPv{self.family}")
        return pytest.param(self, id=name, marks=mark)


ZERO6 = {"udp6_zero_csum_tx": True, "udp6_zero_csum_rx": True}
CASES = [
    Case("no checksum", 4, ("noudpcsum",), False, {}),
    Case("checksum", 4, ("udpcsum",), True, {"csum": True}),
    Case("checksum", 6, (), True, {}),
    Case("zero checksum", 6, ("udp6zerocsumtx", "udp6zerocsumrx"), False, ZERO6),
    Case("group policy", 4, ("noudpcsum", "gbp"), False, {"gbp": True, "gbp_id": 7}),
]


@pytest.mark.parametrize("case", [case.param() for case in CASES])
def test_on_the_wire(lab: Lab, build: Build, tshark: None, row: Row, case: Case) -> None:
    """Only here the kernel finishes its checksums itself, so that they can be looked at."""
    host, peer = make_pair(lab, build, case.family, case.kernel, **case.keys)
    for interface in ("eth0", "vx0"):
        peer.ns.run("ethtool", "-K", interface, "tx", "off", "gso", "off", "tso", "off")
    machine = host.vms[0]
    with Capture(peer.ns) as capture:
        received = 0
        for inner in (4, 6):
            received += ping(machine.ns, peer.address(inner)).received
            received += ping(peer.ns, machine.address(inner)).received
        row.ping = f"{received}/12"
        assert received == 12
        tcp_both_ways(machine.ns, peer.ns, peer.address(), size=1_000_000, seed=1)
        row.tcp = "1 MB x 2"
        outer = Outer("vxlan", case.family, DEFAULT_KEY, case.checksum)
        ends = host.underlay(case.family), peer.underlay(case.family)
        row.checksums = outer.check(capture, *ends)
        if "gbp" in case.keys:
            wanted = f"vxlan && ip.src == {ends[0]}"
            sent = capture.dissect(["vxlan.flag_g", "vxlan.gbp"], wanted)
            assert {(*one["vxlan.flag_g"], *one["vxlan.gbp"]) for one in sent} == {("1", "7")}


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
