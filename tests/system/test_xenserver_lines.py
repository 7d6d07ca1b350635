# SPDX-License-Identifier: GPL-2.0-or-later
"""Two XenServer hosts as their toolstack and Xen Orchestra set them up, line by line, and the
traffic that must then flow.

    vm1 eth0 ─ vif1.0 ┤xapi0├ xapi0_iface1 ~ xenbr0 ─ eth0 ───wire─── eth0 ─ xenbr0 ~ ┤xapi0├ vif1.0 ─ vm2
"""

from __future__ import annotations

import dataclasses

import pytest

from netlab.frames import PacketSocket
from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import wait_for_ping
from netlab.ovs_host import OvsHost
from netlab.topology import underlay_address, vm_address, vm_mac
from netlab.xen import XenHost

MANAGEMENT = "aaaaaaaa-0000-4000-8000-000000000001"
PRIVATE = "bbbbbbbb-0000-4000-8000-000000000002"


@dataclasses.dataclass
class Side:
    index: int
    host: Namespace
    switch: OvsHost
    xen: XenHost
    vm: Namespace

    @property
    def underlay(self) -> str:
        return underlay_address(self.index, 4)


def _side(lab: Lab, build, index: int) -> Side:
    host = lab.namespace(f"h{index}")
    vm = lab.namespace(f"vm{index}")
    switch = OvsHost(host, build)
    return Side(index, host, switch, XenHost(switch), vm)


@pytest.fixture
def sides(lab: Lab, build):
    made = [_side(lab, build, index) for index in (1, 2)]
    lab.wire(made[0].host, "eth0", made[1].host, "eth0", mtu=1600)
    for side in made:
        lab.wire(side.host, "vif1.0", side.vm, "eth0", b_mac=vm_mac(side.index))
        side.vm.add_address("eth0", f"{vm_address(side.index, 4)}/24")
        side.switch.start()
        side.xen.boot()
        mac = f"02:00:ac:14:00:{side.index:02x}"
        side.xen.create_bridge("xenbr0", mac, MANAGEMENT, ("eth0",))
        # What dhclient or networkd does on the bridge's device.
        side.switch.vsctl("set", "interface", "xenbr0", "mtu_request=1600")
        side.host.ip("link", "set", "xenbr0", "up")
        side.host.add_address("xenbr0", f"{side.underlay}/24")
    wait_for_ping(made[0].host, made[1].underlay)
    return made


def _private_network(side: Side) -> int:
    side.xen.create_bridge("xapi0", f"02:00:00:00:a0:{side.index:02x}", PRIVATE)
    return side.xen.plug_vif("vif1.0", "xapi0", vm_mac(side.index), PRIVATE)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["gre", "vxlan"])
def test_a_private_network_of_xen_orchestra(sides, kind: str) -> None:
    one, two = sides
    for side in sides:
        assert _private_network(side) == 1
    ports = [
        side.xen.add_tunnel(PRIVATE, kind, other.underlay, 1, "net-1")
        for side, other in ((one, two), (two, one))
    ]
    wait_for_ping(one.vm, vm_address(2, 4))
    status = one.switch.row("Interface", "xapi0_iface1", "status", "ofport", "error")
    assert status["status"] == {
        "tunnel_egress_iface": "xenbr0",
        "tunnel_egress_iface_carrier": "up",
    }
    assert status["ofport"] == 2 and status["error"] == []
    wait_until(
        lambda: one.switch.row("Interface", "xapi0_iface1", "statistics")["statistics"].get("tx_packets", 0) > 0,
        "counters are written",
    )
    # Removed by its transaction, it carries nothing any more; the other networks do.
    one.xen.remove_tunnel(PRIVATE, ports[0])
    wait_until(
        lambda: one.vm.run("ping", "-c1", "-W1", vm_address(2, 4), check=False).returncode != 0,
        "the tunnel is gone",
    )
    wait_for_ping(one.host, two.underlay)


@pytest.mark.timeout(120)
def test_an_encrypted_network_waits_for_its_keys_and_sends_nothing_in_clear(sides) -> None:
    one, two = sides
    for side in sides:
        _private_network(side)
    ends = ((one, two), (two, one))
    with PacketSocket(two.host) as wire:
        for side, other in ends:
            side.xen.add_tunnel(PRIVATE, "gre", other.underlay, 1, "net-1", psk="0123456789abcdef")
        row = wait_until(
            lambda: (found := one.switch.row("Interface", "xapi0_iface1", "error", "ofport"))["ofport"]
            and found,
            "the tunnel is there",
        )
        assert row["error"] == [] and row["ofport"] == 2, row

        def dropped() -> bool:
            one.vm.run("ping", "-c1", "-W1", vm_address(2, 4), check=False)
            return "esp_required" in one.switch.appctl("drops")

        wait_until(dropped, "what the machine sends is dropped")
        # Whatever was sent before is there once this is.
        wait_for_ping(one.host, two.underlay)
        in_clear = wire.take(lambda seen: seen.ethertype == 0x0800 and seen.data[23] == 47)
    assert in_clear == []
    assert "0123456789abcdef" not in one.switch.log() + one.switch.appctl("show")


@pytest.mark.timeout(120)
def test_vlan_bridges_queries_and_removal(sides) -> None:
    one, two = sides
    for side in sides:
        side.xen.create_vlan_bridge(
            "xapi7", "xenbr0", 7, f"02:00:00:00:07:{side.index:02x}", f"{MANAGEMENT};vlan-7"
        )
        side.host.ip("link", "set", "xapi7", "up")
        side.host.add_address("xapi7", f"10.7.0.{side.index}/24")
    wait_for_ping(one.host, "10.7.0.2")
    vsctl = one.switch.vsctl
    assert vsctl("list-br").split() == ["xapi7", "xenbr0"]
    assert vsctl("br-to-parent", "xapi7").strip() == "xenbr0"
    assert vsctl("br-to-vlan", "xapi7").strip() == "7"
    assert vsctl("list-ports", "xenbr0").split() == ["eth0"]
    assert vsctl("list-ifaces", "xenbr0").split() == ["eth0"]
    assert vsctl("get-fail-mode", "xenbr0").strip() == "standalone"
    assert vsctl("get", "bridge", "xenbr0", "mcast_snooping_enable").strip() == "false"
    mac = (one.host.run("cat", "/sys/class/net/xapi7/address").stdout).strip()
    assert mac == "02:00:00:00:07:01"
    refused = one.switch.vsctl_done("get", "bridge", "nothere", "ports", check=False)
    assert refused.returncode == 1 and 'no row "nothere" in table Bridge' in refused.stderr
    # A port added to the VLAN's bridge is an access port of its parent.
    port = one.xen.plug_vif("vif1.0", "xapi7", vm_mac(1), "vlan-7")
    assert port >= 1
    one.vm.ip("addr", "flush", "dev", "eth0")
    one.vm.add_address("eth0", "10.7.0.77/24")
    wait_for_ping(one.vm, "10.7.0.2")
    one.xen.unplug_vif("vif1.0")
    vsctl("--if-exists", "del-br", "xapi7")
    assert one.host.run("ip", "link", "show", "xapi7", check=False).returncode != 0
    vsctl("--with-iface", "--if-exists", "del-port", "eth0")
    vsctl("--if-exists", "del-br", "xenbr0")
    assert vsctl("list-br") == ""


@pytest.mark.timeout(120)
def test_managers_come_and_emer_reset_takes_them_away(sides) -> None:
    one, two = sides
    for side in sides:
        _private_network(side)
    for side, other in ((one, two), (two, one)):
        side.xen.add_tunnel(PRIVATE, "gre", other.underlay, 1, "net-1")
    wait_for_ping(one.vm, vm_address(2, 4))
    one.switch.vsctl("set-manager", "ptcp:6640:127.0.0.1")
    wait_until(
        lambda: one.host.run(
            "ovsdb-client", "list-dbs", "tcp:127.0.0.1:6640", check=False
        ).returncode == 0,
        "the manager's port answers",
    )
    one.switch.vsctl("emer-reset")
    assert one.switch.vsctl("get-manager") == ""
    wait_for_ping(one.vm, vm_address(2, 4))
    assert one.switch.row("Bridge", "xenbr0", "other_config")["other_config"] == {
        "hwaddr": "02:00:ac:14:00:01"
    }
