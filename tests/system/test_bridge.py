# SPDX-License-Identifier: GPL-2.0-or-later
"""The learning bridge: who hears what.

    one host:     vm1, vm2, vm3 ─ vif1, vif2, vif3 ┤br0├ (h1, no tunnel)

    star of hosts:            h1 ─ vm1
                    t2 ~ ~ ~ / \\ ~ ~ ~ t3         each ~ is a tunnel over one wire (a kernel
                  vm2 ─ h2         h3 ─ vm3        bridge); h2 and h3 have none to each other
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, Seen, frame, gratuitous_arp
from netlab.lab import Lab, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.topology import Host, Vm, Wire

A = "02:aa:00:00:00:01"
B = "02:aa:00:00:00:02"
UNKNOWN = "02:aa:00:00:00:77"
GROUP = "33:33:00:00:00:55"


class Station:
    """One machine's packet socket, which sends and hears the frames of one test."""

    def __init__(self, machine: Vm) -> None:
        self.name = f"vm{machine.index}"
        self.socket = PacketSocket(machine.ns)

    def send(self, source: str, destination: str, text: bytes, **keys: object) -> None:
        self.socket.send(frame(source, destination, text, **keys))

    def hears(self, text: bytes) -> Seen | None:
        return self.socket.wait_for(lambda seen: text in seen.data)

    def heard(self, text: bytes) -> list[Seen]:
        return self.socket.take(lambda seen: text in seen.data)


class Room:
    """The machines of one host, and a way to know that a frame has gone wherever it goes.

    A frame of a new flow waits for the slow path, frames of known flows overtake it there. So each
    round sends a second frame, the fence, to a group that was never used before: it takes the slow
    path, behind everything sent earlier, and once it is heard, what was not heard never comes.
    """

    def __init__(self, host: Host, stations: list[Station]) -> None:
        self.host = host
        self.stations = stations
        self._round = 0

    def send_and_see(
        self, sender: int, source: str, destination: str, **keys: object
    ) -> dict[str, list[Seen]]:
        """Which stations heard the frame (the sender's copy coming back counts, too)."""
        self._round += 1
        text, fence = b"frame %05d" % self._round, b"fence %05d" % self._round
        self.stations[sender].send(source, destination, text, **keys)
        heard: dict[str, list[Seen]] = {}
        fence_group = f"33:33:fe:{self._round >> 16:02x}:{self._round >> 8 & 0xFF:02x}"
        fence_group += f":{self._round & 0xFF:02x}"
        self.stations[sender].send(source, fence_group, fence, **keys)
        for number, station in enumerate(self.stations):
            collected: list[Seen] = []

            def at_fence(seen: Seen, found: list[Seen] = collected) -> bool:
                if text in seen.data:
                    found.append(seen)
                return fence in seen.data

            reached = number != sender and station.socket.wait_for(
                at_fence, timeout_s=1.0
            )
            if not reached:
                # No fence comes here (another VLAN, or the sender): what came has come.
                collected += station.heard(text)
            heard[station.name] = collected
        return {name: frames for name, frames in heard.items() if frames}

    def names_that_hear(self, *arguments: object, **keys: object) -> set[str]:
        heard = self.send_and_see(*arguments, **keys)
        for name, copies in heard.items():
            assert len(copies) == 1, f"{name} heard {len(copies)} copies"
        return set(heard)


def one_host(lab: Lab, build: Build, ports: list[dict], **bridge_keys: object) -> Room:
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    host.config.find_bridge("br0").update(bridge_keys)
    machines = [host.add_vm(number, **keys) for number, keys in enumerate(ports, 1)]
    host.start()
    return Room(host, [Station(machine) for machine in machines])


# Learning and flooding


@pytest.mark.parametrize("destination", [BROADCAST, GROUP, UNKNOWN])
def test_what_has_no_known_place_goes_everywhere_but_back(
    lab: Lab, build: Build, destination: str
) -> None:
    room = one_host(lab, build, [{}, {}, {}])
    assert room.names_that_hear(0, A, destination) == {"vm2", "vm3"}


def test_a_learned_address_is_not_flooded(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}, {}])
    assert room.names_that_hear(1, B, BROADCAST) == {"vm1", "vm3"}
    for _ in range(5):
        assert room.names_that_hear(0, A, B) == {"vm2"}
    assert room.names_that_hear(1, B, A) == {"vm1"}
    assert room.host.daemon.fdb_ports(A) == {"vif1"}
    assert room.host.daemon.fdb_ports(B) == {"vif2"}


def test_a_frame_for_where_it_came_from_is_dropped_and_counted(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}, {}])
    room.names_that_hear(0, B, BROADCAST)
    assert room.names_that_hear(0, A, B) == set()
    assert room.host.daemon.wait_for_drops("hairpin") == 1


def test_a_group_source_address_is_dropped_and_counted(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}])
    room.stations[0].send("03:aa:00:00:00:01", BROADCAST, b"group source")
    assert room.host.daemon.wait_for_drops("source_multicast") == 1
    assert room.names_that_hear(0, A, BROADCAST) == {"vm2"}
    assert room.stations[1].heard(b"group source") == []


def test_link_local_groups_stay_on_their_link(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}])
    for last in ("00", "01", "02", "03", "0e"):
        room.stations[0].send(A, f"01:80:c2:00:00:{last}", b"for this link")
    assert room.names_that_hear(0, A, BROADCAST) == {"vm2"}
    assert room.stations[1].heard(b"for this link") == []
    assert room.host.daemon.wait_for_drops("link_local_multicast", 5) == 5


def test_a_moved_address_is_found_at_its_new_place_at_once(lab: Lab, build: Build) -> None:
    """One gratuitous ARP is enough, as after a live migration; traffic flows all the while."""
    room = one_host(lab, build, [{}, {}, {}])
    room.names_that_hear(1, B, BROADCAST)
    for _ in range(3):
        assert room.names_that_hear(0, A, B) == {"vm2"}
    room.stations[2].socket.send(gratuitous_arp(B, "10.0.0.2"))
    assert room.stations[0].socket.wait_for(lambda seen: seen.source == B) is not None
    assert room.names_that_hear(0, A, B) == {"vm3"}
    assert room.host.daemon.fdb_ports(B) == {"vif3"}


@pytest.mark.timeout(90)
def test_an_address_ages_out(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}, {}], mac_ageing_s=10)
    daemon = room.host.daemon
    room.names_that_hear(1, B, BROADCAST)
    assert room.names_that_hear(0, A, B) == {"vm2"}
    wait_until(lambda: not daemon.fdb_ports(B), f"{B} is forgotten", timeout_s=30)
    assert room.names_that_hear(0, A, B) == {"vm2", "vm3"}


@pytest.mark.timeout(90)
def test_an_address_in_use_does_not_age(lab: Lab, build: Build) -> None:
    """Frames that hit the flow cache never reach the slow path, and still keep their source."""
    room = one_host(lab, build, [{}, {}, {}], mac_ageing_s=10)
    daemon = room.host.daemon
    room.names_that_hear(2, UNKNOWN, BROADCAST)
    room.names_that_hear(1, B, BROADCAST)

    def the_idle_one_is_forgotten() -> bool:
        assert room.names_that_hear(1, B, A) >= {"vm1"}
        assert room.names_that_hear(0, A, B) == {"vm2"}
        return not daemon.fdb_ports(UNKNOWN)

    wait_until(the_idle_one_is_forgotten, f"{UNKNOWN} is forgotten", 30, interval_s=0.5)
    assert daemon.fdb_ports(B) == {"vif2"}
    assert daemon.fdb_ports(A) == {"vif1"}


def test_the_table_limit_makes_the_oldest_give_way(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}], mac_table_size=16)
    for number in range(40):
        room.stations[0].send(f"02:bb:00:00:00:{number:02x}", BROADCAST, b"crowd")
    newest = "02:bb:00:00:00:27"
    wait_until(lambda: room.host.daemon.fdb_ports(newest), f"{newest} is learned")
    table = [row for row in room.host.daemon.fdb() if row["bridge"] == "br0"]
    assert len(table) <= 16
    assert room.host.daemon.fdb_ports("02:bb:00:00:00:00") == set()


def test_a_static_address_stays_where_it_was_put(lab: Lab, build: Build) -> None:
    static = [{"mac": B, "port": "vif2"}]
    room = one_host(lab, build, [{}, {}, {}], static_mac=static)
    assert room.names_that_hear(0, A, B) == {"vm2"}
    room.names_that_hear(2, B, BROADCAST)  # Somebody else claims the address.
    assert room.names_that_hear(0, A, B) == {"vm2"}
    assert room.host.daemon.fdb_ports(B) == {"vif2"}


def test_a_flush_forgets_what_was_learned(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}, {}])
    room.names_that_hear(1, B, BROADCAST)
    assert room.names_that_hear(0, A, B) == {"vm2"}
    room.host.daemon.ctl("fdb", "flush")
    assert room.names_that_hear(0, A, B) == {"vm2", "vm3"}


def test_a_removed_port_takes_its_addresses_with_it(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{}, {}, {}])
    room.names_that_hear(1, B, BROADCAST)
    assert room.names_that_hear(0, A, B) == {"vm2"}
    room.host.config.ports = [p for p in room.host.config.ports if p["name"] != "vif2"]
    room.host.daemon.reload()
    assert room.host.daemon.fdb_ports(B) == set()
    assert room.names_that_hear(0, A, B) == {"vm3"}


# VLANs

TAGGED = {"vlan_mode": "trunk"}


def access(tag: int) -> dict:
    return {"vlan_mode": "access", "tag": tag}


def test_access_ports_of_one_vlan_talk_untagged(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [access(10), access(10), access(20)])
    heard = room.send_and_see(0, A, BROADCAST)
    assert set(heard) == {"vm2"}
    assert heard["vm2"][0].vlan is None
    assert ping(room.host.vms[0].ns, room.host.vms[1].address()).received == 3


def test_a_trunk_carries_the_tag_of_an_access_port(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [access(10), TAGGED, access(20)])
    heard = room.send_and_see(0, A, BROADCAST)
    assert set(heard) == {"vm2"}
    assert heard["vm2"][0].vlan == 10
    heard = room.send_and_see(1, B, BROADCAST, vlan=20)
    assert set(heard) == {"vm3"}
    assert heard["vm3"][0].vlan is None


def test_a_trunk_keeps_priority_and_payload(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [TAGGED, TAGGED])
    heard = room.send_and_see(0, A, BROADCAST, vlan=30, priority=5)
    seen = heard["vm2"][0]
    assert (seen.vlan, seen.priority, seen.source) == (30, 5, A)


def test_a_trunk_admits_only_its_vlans(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [{"trunks": [10, 20]}, TAGGED])
    assert room.names_that_hear(0, A, BROADCAST, vlan=10) == {"vm2"}
    assert room.names_that_hear(0, A, BROADCAST, vlan=30) == set()
    room.host.daemon.wait_for_drops("vlan_filtered", 2)
    assert room.names_that_hear(1, B, BROADCAST, vlan=20) == {"vm1"}
    assert room.names_that_hear(1, B, BROADCAST, vlan=30) == set()


def test_an_access_port_admits_no_tag(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [access(10), TAGGED])
    assert room.names_that_hear(0, A, BROADCAST, vlan=20) == set()
    room.host.daemon.wait_for_drops("vlan_filtered")


@pytest.mark.parametrize(("mode", "sent_tag"), [("native-untagged", None), ("native-tagged", 10)])
def test_native_vlan_of_a_trunk(lab: Lab, build: Build, mode: str, sent_tag: int | None) -> None:
    native = {"vlan_mode": mode, "tag": 10}
    room = one_host(lab, build, [native, access(10), access(20)])
    for tag in (None, 10):
        heard = room.send_and_see(0, A, BROADCAST, vlan=tag)
        assert set(heard) == {"vm2"}, f"sent with tag {tag}"
        assert heard["vm2"][0].vlan is None
    assert room.send_and_see(1, B, BROADCAST)["vm1"][0].vlan == sent_tag
    assert room.send_and_see(2, B, BROADCAST)["vm1"][0].vlan == 20


def test_addresses_are_learned_per_vlan(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [TAGGED, TAGGED, TAGGED])
    room.names_that_hear(1, B, BROADCAST, vlan=10)
    room.names_that_hear(2, B, BROADCAST, vlan=20)
    assert room.names_that_hear(0, A, B, vlan=10) == {"vm2"}
    assert room.names_that_hear(0, A, B, vlan=20) == {"vm3"}
    assert room.names_that_hear(0, A, B, vlan=30) == {"vm2", "vm3"}
    vlans = {row["vlan"]: row["port"] for row in room.host.daemon.fdb() if row["mac"] == B}
    assert vlans == {10: "vif2", 20: "vif3"}


def test_a_reload_moves_a_port_to_another_vlan(lab: Lab, build: Build) -> None:
    room = one_host(lab, build, [access(10), access(10), access(20)])
    assert room.names_that_hear(0, A, BROADCAST) == {"vm2"}
    room.host.config.find_port("vif1")["tag"] = 20
    room.host.daemon.reload()
    assert room.names_that_hear(0, A, BROADCAST) == {"vm3"}


# A star of hosts


def star(lab: Lab, build: Build, split_horizon: bool | None) -> list[Host]:
    wire = Wire(lab)
    hosts = [Host(lab, build, number) for number in (1, 2, 3)]
    hub = hosts[0]
    for host in hosts:
        wire.attach(host.ns)
        host.add_vm(host.index)
    for leaf in hosts[1:]:
        hub.add_tunnel(f"t{leaf.index}", "vxlan", leaf.underlay(4))
        leaf.add_tunnel("t1", "vxlan", hub.underlay(4))
    if split_horizon is not None:
        hub.config.find_bridge("br0")["split_horizon"] = split_horizon
    for host in hosts:
        host.start()
    return hosts


@pytest.mark.parametrize("split_horizon", [None, False])
def test_a_star_of_tunnels_connects_its_leaves(
    lab: Lab, build: Build, split_horizon: bool | None
) -> None:
    machines = [host.vms[0] for host in star(lab, build, split_horizon)]
    for source in machines:
        for target in machines:
            if source is not target:
                result = ping(source.ns, target.address())
                assert (result.received, result.duplicates) == (3, 0), result.output


def test_split_horizon_keeps_the_leaves_apart(lab: Lab, build: Build) -> None:
    hosts = star(lab, build, split_horizon=True)
    hub, left, right = (host.vms[0] for host in hosts)
    for leaf in (left, right):
        assert ping(hub.ns, leaf.address()).received == 3
    # Flooding leaves tunnels out; a frame for an address known behind another tunnel is dropped.
    assert ping(left.ns, right.address(), count=2, wait_s=0.5).received == 0
    with PacketSocket(left.ns) as sender:
        sender.send(frame(left.mac, right.mac, b"to the other leaf"))
    hosts[0].daemon.wait_for_drops("split_horizon")


def test_split_horizon_can_be_switched_live(lab: Lab, build: Build) -> None:
    hosts = star(lab, build, split_horizon=True)
    _, left, right = (host.vms[0] for host in hosts)
    assert ping(left.ns, right.address(), count=1, wait_s=0.5).received == 0
    hosts[0].config.find_bridge("br0")["split_horizon"] = False
    hosts[0].daemon.reload()
    wait_for_ping(left.ns, right.address())


def test_a_machine_that_moves_to_another_host_is_found_there(lab: Lab, build: Build) -> None:
    """h2's machine moves to h3: its gratuitous ARP reaches everybody through the tunnels."""
    hosts = star(lab, build, split_horizon=None)
    stations = [Station(host.vms[0]) for host in hosts]
    stations[1].send(B, BROADCAST, b"I live at h2")
    for station in (stations[0], stations[2]):
        assert station.hears(b"I live at h2") is not None
    stations[0].send(A, B, b"first letter")
    assert stations[1].hears(b"first letter") is not None
    stations[2].socket.send(gratuitous_arp(B, "10.0.0.2"))
    assert stations[0].socket.wait_for(lambda seen: seen.source == B) is not None
    stations[0].send(A, B, b"second letter")
    assert stations[2].hears(b"second letter") is not None
    assert stations[1].heard(b"second letter") == []
