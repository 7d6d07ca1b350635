# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert and Open vSwitch's userspace datapath.

    vm1 10.0.0.1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ┤br-phy├ ~ t0 ┤br1├ 10.0.0.2
                        h1         172.20.0.1                    172.20.0.2  (Open vSwitch)

Open vSwitch's datapath takes no unfinished checksums, so offloads are off in its namespace, on its
side of the wire (see OvsPeer.configure_uplink); everything on Culvert's side is as the kernel sets
it.
"""

from __future__ import annotations

import pytest

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.lab import Lab
from netlab.matrix import Row
from netlab.measure import MBITS_MIN, iperf, ping, wait_for_ping
from netlab.outer import Outer
from netlab.peers import OvsPeer
from netlab.topology import DEFAULT_KEY, Host
from netlab.transfer import tcp_both_ways

# Kind, key, options that both ends have.
KINDS = [
    ("vxlan", DEFAULT_KEY, ()),
    ("vxlan", 0, ()),
    ("vxlan", DEFAULT_KEY, ("csum",)),
    ("gre", DEFAULT_KEY, ()),
    ("gre", None, ()),
    # Not both: Open vSwitch 3.1 takes the checksum before it writes the sequence number.
    ("gre", DEFAULT_KEY, ("csum",)),
    ("gre", DEFAULT_KEY, ("seq",)),
    ("geneve", DEFAULT_KEY, ()),
    ("geneve", DEFAULT_KEY, ("csum",)),
    # No row for group policy: this datapath refuses received packets with the flag G.
    ("vxlan-gpe", DEFAULT_KEY, ()),
]
NAMES = {
    "vxlan": "VXLAN",
    "vxlan-gpe": "VXLAN-GPE Ethernet",
    "gre": "GRE Ethernet",
    "geneve": "Geneve",
}
PEER = "Open vSwitch"


def case_param(kind: str, key: int | None, options: tuple[str, ...], family: int) -> object:
    words = ["no key" if key is None else "key 0" if key == 0 else "key", *options]
    name = "-".join([kind, "key", str(key), *options, f"ipv{family}"])
    mark = pytest.mark.row(PEER, NAMES[kind], " ".join(words), f"IPv{family}")
    return pytest.param(kind, key, options, family, id=name, marks=mark)


CASES = [case_param(*case, family) for case in KINDS for family in (4, 6)]


def make_pair(
    lab: Lab,
    build: Build,
    kind: str,
    key: int | None,
    family: int,
    options: tuple[str, ...] = (),
    **ovs_options: object,
) -> tuple[Host, OvsPeer]:
    host, peer = Host(lab, build, 1), OvsPeer(lab, 2)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=host.mtu)
    peer.start()
    peer.configure_uplink()
    ovs_options |= {option: "true" for option in options}
    ovs_kind = kind
    if kind == "vxlan-gpe":
        ovs_kind, ovs_options = "vxlan", ovs_options | {"exts": "gpe", "dst_port": 4790}
    peer.add_tunnel(ovs_kind, host.underlay(family), key, **ovs_options)
    host.add_vm(1)
    keys = {option: True for option in options}
    host.add_tunnel("t0", kind, peer.underlay(family), key, **keys)
    host.start()
    # Open vSwitch loses the first packets of a tunnel while it resolves its neighbour.
    wait_for_ping(host.vms[0].ns, peer.address())
    return host, peer


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("kind", "key", "options", "family"), CASES)
def test_ping_and_transfer_both_ways(
    lab: Lab,
    build: Build,
    ovs_tools: None,
    tshark: None,
    row: Row,
    kind: str,
    key: int | None,
    options: tuple[str, ...],
    family: int,
) -> None:
    host, peer = make_pair(lab, build, kind, key, family, options)
    machine = host.vms[0]
    with Capture(peer.ns) as capture:
        received = 0
        for inner in (4, 6):
            wait_for_ping(machine.ns, peer.address(inner))
            ways = (machine.ns, peer.address(inner)), (peer.ns, machine.address(inner))
            for source, target in ways:
                result = ping(source, target, count=5)
                received += result.received - result.duplicates
                row.ping = f"{received}/20"
                assert (result.received, result.duplicates) == (5, 0), result.output
        tcp_both_ways(machine.ns, peer.ns, peer.address(), size=1_000_000, seed=1)
        row.tcp = "1 MB x 2"
        checksum = "csum" in options or (kind != "gre" and family == 6)
        outer = Outer(kind, family, key, checksum)
        row.checksums = outer.check(capture, host.underlay(family), peer.underlay(family))
    if not options:
        assert iperf(machine.ns, peer.ns, peer.address(), seconds=1) >= MBITS_MIN
        assert iperf(machine.ns, peer.ns, peer.address(), seconds=1, reverse=True) >= MBITS_MIN


@pytest.mark.parametrize("family", [4, 6])
def test_gre_with_checksum_from_ovs_is_accepted(
    lab: Lab, build: Build, ovs_tools: None, family: int
) -> None:
    host, peer = make_pair(lab, build, "gre", DEFAULT_KEY, family, csum="true")
    assert ping(peer.ns, host.vms[0].address(), count=5).received == 5


def test_gre_with_sequence_numbers_from_ovs_is_accepted(
    lab: Lab, build: Build, ovs_tools: None
) -> None:
    host, peer = make_pair(lab, build, "gre", DEFAULT_KEY, 4, seq="true")
    assert ping(peer.ns, host.vms[0].address(), count=5).received == 5


def test_vxlan_with_checksum_from_ovs_is_accepted(
    lab: Lab, build: Build, ovs_tools: None
) -> None:
    host, peer = make_pair(lab, build, "vxlan", DEFAULT_KEY, 4, csum="true")
    assert ping(peer.ns, host.vms[0].address(), count=5).received == 5
