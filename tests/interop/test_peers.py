# SPDX-License-Identifier: GPL-2.0-or-later
"""The independent peers against each other, without culvertd: when these fail, the laboratory is
broken and nothing can be said about the switch.

    kernel namespace                              Open vSwitch namespace
    vx0 10.0.0.1 ─ eth0 172.20.0.1 ──wire── eth0 ┤br-phy├ 172.20.0.2 ~ t0 ┤br1├ 10.0.0.2
"""

import pytest

from netlab.lab import Lab
from netlab.measure import iperf, ping, wait_for_ping
from netlab.peers import KernelVxlanPeer, OvsPeer
from netlab.topology import UNDERLAY_MTU


@pytest.mark.parametrize("family", [4, 6])
def test_kernel_vxlan_and_ovs_vxlan(lab: Lab, ovs_tools: None, family: int) -> None:
    kernel, ovs = KernelVxlanPeer(lab, 1), OvsPeer(lab, 2)
    lab.wire(kernel.ns, "eth0", ovs.ns, "eth0", mtu=UNDERLAY_MTU)
    ovs.start()
    ovs.configure_uplink()
    kernel.configure_uplink()
    # Open vSwitch takes no unfinished checksums, so its peer here must finish them.
    kernel.ns.run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off")
    kernel.add_vxlan(ovs.underlay(family), family)
    kernel.ns.run("ethtool", "-K", "vx0", "tx", "off")
    ovs.add_tunnel("vxlan", kernel.underlay(family))
    wait_for_ping(kernel.ns, ovs.address())
    assert ping(ovs.ns, kernel.address(), count=5).received == 5
    assert iperf(kernel.ns, ovs.ns, ovs.address(), seconds=1) > 0
    assert iperf(kernel.ns, ovs.ns, ovs.address(), seconds=1, reverse=True) > 0
