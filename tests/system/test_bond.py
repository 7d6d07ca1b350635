# SPDX-License-Identifier: GPL-2.0-or-later
"""Bonds: who carries what, failover with traffic, and LACP with Open vSwitch at the other end.

    vm1 ─ vif1 ┤br0├ bond0 ┬ e0 ──── p0 ┤ sw: a kernel bridge, or an Open vSwitch with a bond of
                           └ e1 ──── p1 ┤     its own; its own device has the address of index 9
"""

from __future__ import annotations

import re

import pytest

from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, Seen, frame, gratuitous_arp
from netlab.lab import Lab, Namespace, require_root_and_tools, run, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.peers import OVS_TOOLS, OvsPeer
from netlab.topology import Host, Vm, vm_address, vm_mac

FAR = 9
RARP = 0x8035
MEMBERS = ["e0", "e1"]


@pytest.fixture(scope="module", autouse=True)
def tools(environment: None) -> None:
    missing = require_root_and_tools(OVS_TOOLS)
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


class BondedHost:
    """h1 with vm1 and a bond of two wires to `far`."""

    def __init__(self, lab: Lab, build: Build, far: Namespace, **keys: object) -> None:
        self.host = Host(lab, build, 1)
        self.far = far
        self.config = self.host.config
        lab.wire(self.host.ns, "eth0", far, "unused")
        for number, member in enumerate(MEMBERS):
            lab.wire(self.host.ns, member, far, f"p{number}")
            self.config.port(member, "br0", kind="linux")
        self.vm: Vm = self.host.add_vm(1)
        self.bond = self.config.bond("bond0", "br0", MEMBERS, **keys)
        self.daemon = self.host.daemon

    def start(self) -> BondedHost:
        self.daemon.start()
        return self

    def appctl(self, *arguments: str) -> str:
        return run(["ovs-appctl", "-t", str(self.daemon.socket_path), *arguments]).stdout

    def show_error(self, *arguments: str) -> str:
        done = run(
            ["ovs-appctl", "-t", str(self.daemon.socket_path), *arguments], check=False
        )
        assert done.returncode != 0
        return done.stderr.splitlines()[0]

    def show(self) -> str:
        return self.appctl("bond/show", "bond0")

    def active(self) -> str:
        found = re.search(r"^active member mac: \S+\((\w+)\)$", self.show(), re.MULTILINE)
        assert found is not None, self.show()
        return found[1]

    def enabled(self) -> dict[str, bool]:
        lines = re.findall(r"^member (\w+): (enabled|disabled)$", self.show(), re.MULTILINE)
        return {name: word == "enabled" for name, word in lines}

    def wait_for_active(self, member: str) -> None:
        wait_until(lambda: self.active() == member, f"{member} is the active member")

    def wait_for_enabled(self, **wanted: bool) -> None:
        wait_until(lambda: self.enabled() == wanted, f"members are enabled as {wanted}")


def far_bridge(lab: Lab) -> Namespace:
    """A switch that knows nothing of bonds; its ports are added once their wires exist."""
    far = lab.namespace("sw")
    far.ip("link", "add", "name", "bridge0", "address", vm_mac(FAR), "type", "bridge")
    return far


def plug_far_bridge(far: Namespace) -> None:
    for number in range(len(MEMBERS)):
        far.ip("link", "set", f"p{number}", "master", "bridge0")
    far.ip("link", "set", "bridge0", "up")
    far.add_address("bridge0", f"{vm_address(FAR, 4)}/24")


def bonded_to_bridge(lab: Lab, build: Build, **keys: object) -> BondedHost:
    far = far_bridge(lab)
    bonded = BondedHost(lab, build, far, **keys)
    plug_far_bridge(far)
    return bonded.start()


def is_learning(mac: str):
    return lambda seen: seen.ethertype == RARP and seen.source == mac


def test_active_backup_fails_over_and_comes_back(lab: Lab, build: Build) -> None:
    bonded = bonded_to_bridge(lab, build, mode="active-backup", primary="e0", updelay_ms=500)
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    assert bonded.active() == "e0"
    with PacketSocket(bonded.far, "p1") as standby:
        bonded.far.ip("link", "set", "p0", "down")
        bonded.wait_for_active("e1")
        wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
        assert standby.wait_for(is_learning(bonded.vm.mac)) is not None
    assert bonded.daemon.fdb_ports(bonded.vm.mac) == {"vif1"}
    assert bonded.daemon.fdb_ports(vm_mac(FAR)) == {"bond0"}
    bonded.far.ip("link", "set", "p0", "up")
    wait_until(lambda: "updelay expires in" in bonded.show(), "updelay runs")
    assert bonded.active() == "e1"
    bonded.wait_for_active("e0")
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))


def test_learning_packets_turn_the_neighbour_switch_round(lab: Lab, build: Build) -> None:
    # No link goes down: only the learning packet tells the far bridge to use the other wire.
    bonded = bonded_to_bridge(lab, build, mode="active-backup")
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    other = next(member for member in MEMBERS if member != bonded.active())
    with PacketSocket(bonded.far, f"p{MEMBERS.index(other)}") as socket:
        assert bonded.appctl("bond/set-active-member", "bond0", other).strip() == "done"
        assert socket.wait_for(is_learning(bonded.vm.mac)) is not None
    # The far end speaks first.
    assert ping(bonded.far, vm_address(1, 4), count=3).received == 3


def test_a_backup_member_takes_nothing(lab: Lab, build: Build) -> None:
    far = lab.namespace("sw")
    bonded = BondedHost(lab, build, far, mode="active-backup", primary="e0").start()
    bonded.wait_for_active("e0")
    stranger = "02:aa:00:00:00:01"
    with PacketSocket(far, "p1") as backup, PacketSocket(far, "p0") as active:
        with PacketSocket(bonded.vm.ns) as vm:
            backup.send(frame(stranger, BROADCAST, b"by the backup"))
            backup.send(frame(stranger, bonded.vm.mac, b"by the backup"))
            bonded.daemon.wait_for_drops("bond_standby", 2)
            active.send(frame(stranger, BROADCAST, b"by the active"))
            assert vm.wait_for(lambda seen: b"by the " in seen.data).data.find(b"active") > 0
    assert bonded.daemon.fdb_ports(stranger) == {"bond0"}


def macs_seen(socket: PacketSocket, text: bytes) -> set[str]:
    return {seen.source for seen in socket.take(lambda seen: text in seen.data)}


def test_slb_spreads_hosts_and_moves_them_by_load(lab: Lab, build: Build) -> None:
    far = lab.namespace("sw")
    bonded = BondedHost(lab, build, far, mode="balance-slb", rebalance_ms=1000).start()
    bonded.wait_for_enabled(e0=True, e1=True)
    hosts = [f"02:bb:00:00:00:{number:02x}" for number in range(64)]
    with (
        PacketSocket(far, "p0") as p0,
        PacketSocket(far, "p1") as p1,
        PacketSocket(bonded.vm.ns) as vm,
    ):
        for host in hosts:
            vm.send(frame(host, "02:cc:00:00:00:01", b"spread"))
        by_p0: set[str] = set()
        by_p1: set[str] = set()

        def all_came() -> bool:
            by_p0.update(macs_seen(p0, b"spread"))
            by_p1.update(macs_seen(p1, b"spread"))
            return len(by_p0 | by_p1) == len(hosts)

        wait_until(all_came, "every host's frame leaves")
        assert not by_p0 & by_p1
        assert len(by_p0) > 10 and len(by_p1) > 10
        # Load of hosts of one member alone is shared out.
        busy = sorted(by_p0)

        def moved() -> bool:
            for host in busy:
                vm.send(frame(host, "02:cc:00:00:00:01", b"busy".ljust(1400)))
            return bool(macs_seen(p1, b"busy") & set(busy))

        wait_until(moved, "a busy host goes over the other member")
    assert re.search(r"^  hash \d+: \d+ kB load$", bonded.show(), re.MULTILINE), bonded.show()


def test_slb_drops_reflections_but_believes_a_gratuitous_arp(lab: Lab, build: Build) -> None:
    far = lab.namespace("sw")
    bonded = BondedHost(lab, build, far, mode="balance-slb").start()
    bonded.wait_for_enabled(e0=True, e1=True)
    active = bonded.active()
    with (
        PacketSocket(far, f"p{MEMBERS.index(active)}") as by_active,
        PacketSocket(far, f"p{1 - MEMBERS.index(active)}") as by_other,
        PacketSocket(bonded.vm.ns) as vm,
    ):
        # The host's own announcement: what comes back of it says nothing.
        vm.send(gratuitous_arp(bonded.vm.mac, "10.0.0.1"))
        wait_until(
            lambda: bonded.daemon.fdb_ports(bonded.vm.mac) == {"vif1"}, "vm1 is learned"
        )
        by_active.send(gratuitous_arp(bonded.vm.mac, "10.0.0.1"))
        bonded.daemon.wait_for_drops("bond_reflection", 1)
        by_other.send(frame(bonded.vm.mac, "02:cc:00:00:00:01", b"reflected"))
        bonded.daemon.wait_for_drops("bond_reflection", 2)
        by_other.send(frame(bonded.vm.mac, BROADCAST, b"reflected"))
        bonded.daemon.wait_for_drops("bond_standby", 1)
        by_active.send(frame(bonded.vm.mac, BROADCAST, b"reflected"))
        bonded.daemon.wait_for_drops("bond_reflection", 3)
        assert bonded.daemon.fdb_ports(bonded.vm.mac) == {"vif1"}
        # Another host that never announced itself here has moved behind the bond.
        mover = "02:aa:00:00:00:02"
        vm.send(frame(mover, "02:cc:00:00:00:01", b"still here"))
        wait_until(lambda: bonded.daemon.fdb_ports(mover) == {"vif1"}, "the mover is learned")
        by_active.send(gratuitous_arp(mover, "10.0.0.2"))
        wait_until(lambda: bonded.daemon.fdb_ports(mover) == {"bond0"}, "the mover has moved")


def add_ovs_bond(peer: OvsPeer, **settings: str) -> None:
    peer.start()
    # Its kernel must not answer ARP for br1 on the members.
    peer.ns.set_sysctl("net.ipv4.conf.all.arp_ignore", 1)
    peer.add_bridge("br1", vm_mac(FAR), 1500, [f"{vm_address(FAR, 4)}/24"])
    for member in ("p0", "p1"):
        peer.disable_offloads(member)
    peer.disable_offloads("br1")
    peer.vsctl(
        "add-bond", "br1", "bond0", "p0", "p1", *(f"{k}={v}" for k, v in settings.items())
    )


def without_values(text: str) -> list[str]:
    """Lines with numbers and addresses taken out, and members by one name."""
    text = re.sub(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "MAC", text)
    text = re.sub(r"\b[pe]([01])\b", r"member\1", text)
    text = re.sub(r"recirculation: yes, Recirc-ID : \d+", "recirculation: no, Recirc-ID : -1", text)
    text = re.sub(r"^  hash \d+: \d+ kB load\n", "", text, flags=re.MULTILINE)
    return re.sub(r"-?\b\d+\b", "N", text).splitlines()


def attached(text: str) -> int:
    return len(re.findall(r"^member: \w+: current attached$", text, re.MULTILINE))


def test_lacp_with_open_vswitch_at_the_other_end(lab: Lab, build: Build) -> None:
    peer = OvsPeer(lab, index=FAR)
    bonded = BondedHost(
        lab, build, peer.ns, mode="balance-tcp", lacp="active", lacp_time="fast"
    )
    lab_ns = bonded.host.ns
    lab_ns.run("ethtool", "-K", "e0", "tx", "off", "gso", "off", "tso", "off")
    lab_ns.run("ethtool", "-K", "e1", "tx", "off", "gso", "off", "tso", "off")
    add_ovs_bond(
        peer, bond_mode="balance-tcp", lacp="active", **{"other_config:lacp-time": "fast"}
    )
    bonded.start()
    wait_until(
        lambda: attached(bonded.appctl("lacp/show")) == 2 and attached(peer.appctl("lacp/show")) == 2,
        "both ends are current and attached on both members",
    )
    bonded.wait_for_enabled(e0=True, e1=True)
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    assert "lacp_status: negotiated" in bonded.show()
    settled = " state: activity timeout aggregation synchronized collecting distributing\n"
    wait_until(
        lambda: bonded.appctl("lacp/show").count(settled) == 4
        and peer.appctl("lacp/show").count(settled) == 4,
        "both ends know of both that all is settled",
    )
    # Both say the same of themselves in the same words.
    assert without_values(bonded.appctl("lacp/show")) == without_values(peer.appctl("lacp/show"))
    ours = sorted(without_values(bonded.show()))
    theirs = sorted(without_values(peer.appctl("bond/show")))
    assert [line.replace("  active member", "") for line in ours] == [
        line.replace("  active member", "") for line in theirs
    ]
    # A wire that is cut takes its member out, and traffic goes on.
    peer.ns.ip("link", "set", "p0", "down")
    bonded.wait_for_enabled(e0=False, e1=True)
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    peer.ns.ip("link", "set", "p0", "up")
    bonded.wait_for_enabled(e0=True, e1=True)
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    # A partner that falls silent is missed.
    peer.vsctl("set", "port", "bond0", "lacp=off")
    wait_until(lambda: "lacp_status: configured" in bonded.show(), "LACP gives up")
    assert bonded.enabled() == {"e0": False, "e1": False}


def test_lacp_without_a_partner_falls_back(lab: Lab, build: Build) -> None:
    bonded = bonded_to_bridge(
        lab, build, mode="balance-tcp", lacp="active", lacp_fallback_ab=True, lacp_time="fast"
    )
    wait_until(lambda: any(bonded.enabled().values()), "a member is enabled")
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    assert "lacp_status: configured" in bonded.show()


def test_members_come_and_go_while_traffic_flows(lab: Lab, build: Build) -> None:
    far = far_bridge(lab)
    bonded = BondedHost(lab, build, far, mode="active-backup")
    plug_far_bridge(far)
    bonded.bond["members"] = ["e0"]
    e1 = bonded.config.find_port("e1")
    bonded.config.ports.remove(e1)
    bonded.start()
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    seen = bonded.vm.ns.spawn(
        *("ping", "-n", "-i", "0.02", "-c", "100", vm_address(FAR, 4)), name="pings"
    )
    bonded.config.ports.append(e1)
    bonded.bond["members"] = MEMBERS
    bonded.daemon.reload()
    bonded.wait_for_enabled(e0=True, e1=True)
    assert bonded.active() == "e0"
    bonded.bond["members"] = ["e0"]
    bonded.config.ports.remove(e1)
    bonded.daemon.reload()
    bonded.wait_for_enabled(e0=True)
    assert seen.wait() == 0
    assert " 0% packet loss" in seen.output()
    # Without the bond its member is a port like any other.
    bonded.config.bonds.clear()
    bonded.daemon.reload()
    wait_for_ping(bonded.vm.ns, vm_address(FAR, 4))
    assert bonded.daemon.fdb_ports(vm_mac(FAR)) == {"e0"}
    assert bonded.show_error("bond/show", "bond0") == "no such bond"


def tunnel_over_bond(seen: Seen) -> bool:
    return seen.ip_protocol == 17


def test_a_tunnel_whose_underlay_is_a_bond(lab: Lab, build: Build) -> None:
    far = Host(lab, build, 2)
    near = Host(lab, build, 1)
    switch = lab.namespace("sw")
    near.config.ports.clear()
    for number, member in enumerate(MEMBERS):
        lab.wire(near.ns, member, switch, f"p{number}", mtu=1600)
        near.config.port(member, "br-phy", kind="linux")
    near.config.bond("bond0", "br-phy", MEMBERS, mode="active-backup", primary="e0")
    lab.wire(far.ns, "eth0", switch, "far", mtu=1600)
    switch.ip("link", "add", "name", "bridge0", "mtu", "1600", "type", "bridge")
    for port in ("p0", "p1", "far"):
        switch.ip("link", "set", port, "master", "bridge0")
    switch.ip("link", "set", "bridge0", "up")
    machines = [near.add_vm(1), far.add_vm(2)]
    near.add_tunnel("t2", "vxlan", far.underlay(4))
    far.add_tunnel("t1", "vxlan", near.underlay(4))
    near.daemon.start()
    far.daemon.start()
    wait_for_ping(machines[0].ns, machines[1].address())
    with PacketSocket(switch, "p1") as standby:
        switch.ip("link", "set", "p0", "down")
        wait_for_ping(machines[0].ns, machines[1].address())
        assert standby.wait_for(tunnel_over_bond) is not None
