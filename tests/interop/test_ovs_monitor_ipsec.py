# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock ovs-monitor-ipsec, unchanged: it reads the database that culvertd reads, sets strongSwan up,
and culvertd takes what strongSwan negotiates from the kernel.

    guest 1                                               guest 2
    vm0 10.0.0.1 ─ vif0 ┤br0├ t0 ~ br-phy ─ eth0 ──wire── eth0 ~ t0 10.0.0.2
    culvertd, ovs-monitor-ipsec, charon                   Linux, ovs-monitor-ipsec, charon

The peer is what a host with Open vSwitch is: its kernel has the tunnel and the ESP.
"""

from __future__ import annotations

import socket
import threading

import pytest

from netlab import guest_image, ovs_ipsec
from netlab.capture import Capture
from netlab.daemon import Build
from netlab.esp import esp_of, require_no_clear
from netlab.guest import Guest
from netlab.lab import Lab, require_root_and_tools, wait_until
from netlab.matrix import Row
from netlab.ovs_ipsec import IPSEC_TOOLS, OvsIpsec, OvsSwitchGuest
from netlab.topology import UNDERLAY_MTU, underlay_address

PEER = "Linux 6.1 ESP, ovs-monitor-ipsec (guest)"
PSK = "swordfish"
KEY = 5
VM_MTU = 1400
MARK = b"culvert-in-clear"
PINGS = 3
PINGS_OVER_REKEYING = 200
LINKS = {
    "gre": f"gretap local {underlay_address(2, 4)} remote {underlay_address(1, 4)} key {KEY}",
    "vxlan": f"vxlan id {KEY} local {underlay_address(2, 4)} remote {underlay_address(1, 4)} dstport 4789",
}
# strongSwan has one connection for both directions of GRE, and one for each of a UDP tunnel.
CONNECTIONS = {"gre": ("t0-1",), "vxlan": ("t0-in-1", "t0-out-1")}

# Two guests with an interpreter of Python are booted.
pytestmark = pytest.mark.timeout(600)


class Hosts:
    def __init__(self, switch: OvsSwitchGuest, peer: Guest) -> None:
        self.switch = switch
        self.peer = peer
        self.databases = OvsIpsec(switch), OvsIpsec(peer)

    def report(self) -> str:
        return "\n".join(one.report() for one in self.databases)

    def add_machine(self) -> None:
        self.switch.sh(
            "ip netns add vm0",
            f"ip link add vif0 mtu {VM_MTU} type veth peer name eth0 mtu {VM_MTU} netns vm0",
            "ip -n vm0 addr add 10.0.0.1/24 dev eth0",
            "ip -n vm0 link set eth0 up",
            "ip link set vif0 up",
        )

    def start_switch(self, protocol: str) -> None:
        ours = self.databases[0]
        ours.start_server()
        ours.vsctl(
            *("--no-wait", "set", "Open_vSwitch", ".", "other_config:culvert-ike=follow"),
            *("--", "add-br", "br-phy", "--", "add-port", "br-phy", "eth0"),
            *("--", "add-br", "br0", "--", "add-port", "br0", "vif0"),
        )
        ours.add_tunnel("t0", "br0", protocol, underlay_address(2, 4), key=KEY, psk=PSK)
        self.switch.start_ovs_switch()
        self.switch.sh(
            f"ip link set br-phy mtu {UNDERLAY_MTU} up",
            f"ip addr add {underlay_address(1, 4)}/24 dev br-phy",
        )

    def start_peer(self, protocol: str) -> None:
        theirs = self.databases[1]
        theirs.start_server()
        theirs.vsctl("--no-wait", "add-br", "br0")
        theirs.add_tunnel("t0", "br0", protocol, underlay_address(1, 4), key=KEY, psk=PSK)
        self.peer.sh(
            f"ip link add t0 type {LINKS[protocol]}",
            f"ip link set t0 mtu {VM_MTU} up",
            "ip addr add 10.0.0.2/24 dev t0",
        )

    def start_monitors(self, protocol: str) -> None:
        for one in self.databases:
            one.start_monitor()
        for one in self.databases:
            for name in CONNECTIONS[protocol]:
                one.wait_for_connection(name)

    def ping(self, count: int, wait_s: int = 5) -> int:
        """From the machine to the peer: how many were answered."""
        return self.switch.ping("10.0.0.2", count, pattern=MARK.hex(), wait_s=wait_s, machine="vm0")

    def stop(self) -> None:
        for one in self.databases:
            one.stop()
            one.guest.sh(
                "for pid in $(pidof ovs-vswitchd culvertd); do kill -9 $pid; done; true",
                "ip xfrm state flush",
                "ip xfrm policy flush",
                "rm -f /run/*.log",
                "ip netns del vm0 2>/dev/null; true",
                # Those of a switch that follows a database outlive it.
                "for name in t0 br0 br-phy; do ip link del $name 2>/dev/null; done; true",
            )


@pytest.fixture(scope="module")
def booted(environment: None, build: Build):
    missing = [
        *require_root_and_tools(IPSEC_TOOLS),
        *guest_image.missing(guest_image.ESP),
        *ovs_ipsec.missing(),
    ]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)
    with Lab() as laboratory:
        image = guest_image.build(ovs_ipsec.kind())
        ours = guest_image.extend(
            image, (build.culvertd, build.culvert_ctl), laboratory.directory / "initrd.cpio"
        )
        switch = OvsSwitchGuest(laboratory, ours, 1, memory_mb=ovs_ipsec.MEMORY_MB)
        switch.launch()
        peer = Guest(laboratory, image, 2, switch.ns, ovs_ipsec.MEMORY_MB).launch()
        for guest in (switch, peer):
            guest.wait()
        yield switch, peer


@pytest.fixture
def hosts(lab: Lab, booted: tuple[OvsSwitchGuest, Guest]):
    pair = Hosts(*booted)
    lab.reporters += [guest.report for guest in booted]
    lab.reporters.append(pair.report)
    yield pair
    pair.stop()


@pytest.mark.parametrize(
    "protocol",
    [
        pytest.param(name, marks=pytest.mark.row(PEER, name, "psk, culvert-ike=follow", "IPv4"))
        for name in LINKS
    ],
)
def test_stock_ovs_monitor_ipsec(hosts: Hosts, row: Row, protocol: str) -> None:
    hosts.add_machine()
    with Capture(hosts.switch.ns, hosts.switch.tap) as wire:
        hosts.start_switch(protocol)
        hosts.start_peer(protocol)
        # Nobody has negotiated yet.
        assert hosts.ping(2, wait_s=2) == 0
        wait_until(lambda: hosts.switch.drops().get("esp_required", 0) > 0, "packets stay here")
        assert not any(esp_of(seen.data) for seen in wire.fetch())
        hosts.start_monitors(protocol)
        wait_until(lambda: hosts.ping(1, wait_s=2) == 1, "the tunnel is up", 120)
        received = hosts.ping(PINGS)
        received += hosts.peer.ping("10.0.0.1", count=PINGS)
        row.ping = f"{received}/{2 * PINGS}"
        assert received == 2 * PINGS
        lost = ping_over_rekeying(hosts, protocol)
        assert lost == 0
        frames = [seen.data for seen in wire.fetch()]
        assert not any(MARK in data for data in frames)
        counts = require_no_clear(filter(is_from_switch, frames))
        assert len(counts) >= 2, "the keys were not replaced"
        row.tcp = f"{PINGS_OVER_REKEYING} pings over rekeying"


def is_from_switch(data: bytes) -> bool:
    """But for IGMP, by which each host says what groups it is in. The peer's kernel sends in clear
    until strongSwan has given it a policy."""
    ours = socket.inet_aton(underlay_address(1, 4))
    return data[12:14] == b"\x08\x00" and data[26:30] == ours and data[23] != 2


def ping_over_rekeying(hosts: Hosts, protocol: str) -> int:
    """The guest's shell runs one command at a time, so the pings are the peer's and the new keys
    are asked for here."""
    answered = []

    def ping() -> None:
        answered.append(hosts.peer.ping("10.0.0.1", count=PINGS_OVER_REKEYING))

    thread = threading.Thread(target=ping)
    thread.start()
    for name in CONNECTIONS[protocol]:
        hosts.databases[0].rekey(name)
    thread.join()
    return PINGS_OVER_REKEYING - answered[0]
