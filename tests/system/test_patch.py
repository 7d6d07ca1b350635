# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch ports: bridges joined by cables that are no devices.

    vm1 ─ vif1 ┤br0├ t0 ~ br-vtep ┤br-vtep├ to-nic ══ to-vtep ┤br-nic├ eth0 ───wire─── h2

The host's tunnel endpoint is the local port of br-vtep, and its NIC is a port of br-nic, as with
XenServer's bridges. h2 has the usual bridges of the laboratory.
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, wait_until
from netlab.measure import MBITS_MIN, iperf, ping, wait_for_ping
from netlab.topology import Host, connect


def add_patch(host: Host, bridge: str, name: str, peer: str, **keys: object) -> None:
    host.config.port(name, bridge, kind="patch", peer=peer, **keys)


def split_underlay(host: Host, **nic_side: object) -> None:
    """Moves the NIC of br-phy to a bridge of its own that a patch joins to it."""
    host.config.bridge("br-nic")
    host.config.find_port("eth0")["bridge"] = "br-nic"
    add_patch(host, "br-phy", "to-nic", "to-vtep")
    add_patch(host, "br-nic", "to-vtep", "to-nic", **nic_side)


def hosts_with_tunnel(lab: Lab, build: Build, kind: str, family: int) -> tuple[Host, Host]:
    a, b = Host(lab, build, 1), Host(lab, build, 2)
    connect(a, b)
    for host, other in ((a, b), (b, a)):
        host.add_vm(host.index)
        host.add_tunnel("t0", kind, other.underlay(family))
    return a, b


@pytest.mark.parametrize("family", (4, 6))
@pytest.mark.parametrize("kind", ("gre", "vxlan"))
def test_a_tunnel_whose_endpoint_is_behind_a_patch(
    lab: Lab, build: Build, kind: str, family: int
) -> None:
    a, b = hosts_with_tunnel(lab, build, kind, family)
    split_underlay(a)
    a.start()
    b.start()
    wait_for_ping(a.vms[0].ns, b.vms[0].address())
    assert ping(a.vms[0].ns, b.vms[0].address(), count=5).received == 5
    assert ping(b.vms[0].ns, a.vms[0].address(), count=5).received == 5
    next_hop = a.daemon.shown("t0")["next_hop"]
    assert next_hop["port"] == "to-nic"
    for reverse in (False, True):
        mbits = iperf(a.vms[0].ns, b.vms[0].ns, b.vms[0].address(), 1, reverse)
        assert mbits > MBITS_MIN


def test_machines_of_two_bridges_reach_each_other(lab: Lab, build: Build) -> None:
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    host.config.bridge("br1")
    host.add_vm(1, bridge="br0")
    host.add_vm(2, bridge="br1")
    add_patch(host, "br0", "p0", "p1")
    add_patch(host, "br1", "p1", "p0")
    host.start()
    one, two = host.vms
    wait_for_ping(one.ns, two.address())
    # Offloads go through: the kernels of the machines hand over super-frames.
    assert iperf(one.ns, two.ns, two.address(), 1) > MBITS_MIN
    assert host.daemon.shown("p0")["link"] == "up"
    assert host.daemon.shown("p0")["peer"] == "p1"


def test_a_vlan_of_a_bridge_is_a_bridge_of_its_own(lab: Lab, build: Build) -> None:
    """The end on br1 is an access port of VLAN 7, as a fake bridge has it: br0 has no VLANs."""
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    host.config.bridge("br1")
    host.add_vm(1, bridge="br0")
    host.add_vm(2, bridge="br1", tag=7)
    host.add_vm(3, bridge="br1", tag=8)
    add_patch(host, "br0", "p0", "p1")
    add_patch(host, "br1", "p1", "p0", tag=7)
    host.start()
    one, two, three = host.vms
    wait_for_ping(one.ns, two.address())
    assert ping(one.ns, three.address(), count=2, wait_s=0.5).received == 0


def test_a_patch_is_down_until_its_peer_names_it_back(lab: Lab, build: Build) -> None:
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    host.config.bridge("br1")
    host.add_vm(1, bridge="br0")
    host.add_vm(2, bridge="br1")
    add_patch(host, "br0", "p0", "p1")
    host.start()
    one, two = host.vms
    shown = host.daemon.shown("p0")
    assert (shown["link"], "p1" in shown["trouble"]) == ("down", True)
    add_patch(host, "br1", "p1", "p0")
    host.daemon.reload()
    wait_for_ping(one.ns, two.address())
    host.config.find_port("p1")["peer"] = "another"
    host.daemon.reload()
    wait_until(lambda: host.daemon.shown("p0")["link"] == "down", "p0 is down")
    assert ping(one.ns, two.address(), count=2, wait_s=0.5).received == 0


def test_a_port_that_is_its_own_peer_is_refused(lab: Lab, build: Build) -> None:
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    add_patch(host, "br0", "p0", "p0")
    host.daemon.start(ready=False)
    assert host.daemon.process.wait() == 2
    assert 'peer = "p0" is the port itself' in host.daemon.process.output()


def test_a_loop_of_patches_floods_no_host(lab: Lab, build: Build) -> None:
    """Two cables between the same two bridges: what a machine floods is dropped after eight hops."""
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    host.config.bridge("br1")
    host.add_vm(1, bridge="br0")
    host.add_vm(2, bridge="br0")
    for number in (0, 2):
        add_patch(host, "br0", f"p{number}", f"p{number + 1}")
        add_patch(host, "br1", f"p{number + 1}", f"p{number}")
    host.start()
    ping(host.vms[0].ns, host.vms[1].address(), count=3)
    host.daemon.wait_for_drops("patch_loop")
    assert host.daemon.ctl("show").returncode == 0
