# SPDX-License-Identifier: GPL-2.0-or-later
"""An operator who makes mistakes, or works on one part of a host while the rest is busy: what was not
meant is not touched, and each mistake has its sentence.
"""

from __future__ import annotations

import pathlib

import pytest

from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import wait_for_ping
from netlab.ovs_host import OvsHost
from netlab.storm import Storm
from netlab.topology import vm_address, vm_mac

pytestmark = pytest.mark.timeout(120)


def plug(lab: Lab, switch: OvsHost, vm: Namespace, index: int) -> None:
    lab.wire(switch.host, f"vif{index}", vm, "eth0", b_mac=vm_mac(index))
    vm.add_address("eth0", f"{vm_address(index, 4)}/24")


@pytest.fixture
def bridged(lab: Lab, build) -> tuple[OvsHost, list[Namespace]]:
    """br0 joins vm1 and vm2; vif3 of vm3 is no port yet."""
    switch = OvsHost(lab.namespace("h"), build)
    vms = [lab.namespace(f"vm{index}") for index in (1, 2, 3)]
    for index, vm in enumerate(vms, 1):
        plug(lab, switch, vm, index)
    switch.start()
    switch.vsctl("add-br", "br0", "--", "add-port", "br0", "vif1", "--", "add-port", "br0", "vif2")
    wait_for_ping(vms[0], "10.0.0.2")
    return switch, vms


def number(switch: OvsHost, name: str) -> int:
    return switch.row("Interface", name, "ofport")["ofport"]


def tunnel(name: str, bridge: str, kind: str, key: int) -> tuple[str, ...]:
    return (
        *("add-port", bridge, name, "--", "set", "interface", name, f"type={kind}"),
        *("options:remote_ip=172.20.0.2", f"options:key={key}"),
    )


def test_work_on_one_bridge_costs_another_no_packet(
    lab: Lab, bridged, storm_program: pathlib.Path
) -> None:
    switch, vms = bridged
    peer = lab.namespace("peer")
    lab.wire(switch.host, "eth0", peer, "eth0")
    switch.vsctl("add-br", "br-phy", "--", "add-port", "br-phy", "eth0")
    switch.host.ip("link", "set", "br-phy", "up")
    switch.host.add_address("br-phy", "172.20.0.1/24")
    peer.add_address("eth0", "172.20.0.2/24")
    ends = [(vm, "eth0") for vm in vms[:2]]
    storm = Storm(lab, storm_program, *ends, frames=1000, until_told=True)
    storm.wait_for_progress(100)

    switch.vsctl("add-br", "br1", "--", "add-port", "br1", "vif3", "--", *tunnel("t0", "br1", "gre", 1))
    # What vm3 floods goes through the tunnel while it goes away.
    flood = vms[2].spawn("ping", "-f", "-b", "10.0.0.255")
    wait_until(
        lambda: switch.row("Interface", "t0", "statistics")["statistics"].get("tx_packets", 0) > 0,
        "the tunnel is busy",
    )
    switch.vsctl("set", "interface", "t0", "options:key=2")
    switch.vsctl("set", "interface", "t0", "type=vxlan")
    switch.vsctl("del-port", "t0")
    switch.vsctl("del-port", "br1", "vif3", "--", "add-port", "br0", "vif3", "tag=7")
    switch.vsctl("set", "port", "vif3", "tag=8")
    switch.vsctl("del-br", "br1")
    switch.vsctl("set-manager", "ptcp:6640:127.0.0.1")
    switch.vsctl("emer-reset")
    flood.stop()
    storm.wait_for_progress(200)
    result = storm.finish()
    assert result.perfect(), result


def test_an_interface_that_comes_back_has_its_number_again(lab: Lab, bridged) -> None:
    switch, vms = bridged
    before = number(switch, "vif2")
    switch.host.ip("link", "del", "vif2")
    wait_until(lambda: number(switch, "vif2") == -1, "the interface is missed")
    switch.vsctl("add-port", "br0", "vif3")
    plug(lab, switch, vms[1], 2)
    wait_until(lambda: number(switch, "vif2") != -1, "the interface is back")
    assert number(switch, "vif2") == before
    wait_for_ping(vms[0], "10.0.0.2")


def test_a_name_that_no_device_can_have_is_an_error_in_open_vswitchs_words(bridged) -> None:
    switch, _ = bridged
    switch.vsctl_done("add-port", "br0", "a%b", "--", "set", "interface", "a%b", "type=internal")
    assert switch.row("Interface", "a%b", "error", "ofport") == {
        "name": "a%b",
        "ofport": -1,
        "error": "could not open network device a%b (Invalid argument)",
    }


@pytest.mark.parametrize("setting", ["dpdk-extra=-l 99 --nonsense", "dpdk-extra=--help", "dpdk-alloc-mem=1"])
def test_what_dpdk_refuses_keeps_no_switch_from_running(bridged, setting: str) -> None:
    switch, vms = bridged
    key, value = setting.split("=", 1)
    switch.vsctl("set", "Open_vSwitch", ".", f'other_config:{key}="{value}"')
    switch.stop_switch()
    switch.start_switch()
    wait_for_ping(vms[0], "10.0.0.2")
    assert "are not taken" in switch.log()
