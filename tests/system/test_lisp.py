# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines in different IP subnets behind tunnels of bare IP packets: LISP, and GRE and VXLAN-GPE
with packet_type = "l3". The drawing is in netlab/routed.py.
"""

from __future__ import annotations

import ipaddress
import re

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.datagrams import send_datagrams
from netlab.frames import BROADCAST, ETHERTYPE_IPV4, PacketSocket, Seen, frame
from netlab.lab import Lab, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.routed import BITS, RoutedHost, gateway, machine, routed_pair
from netlab.topology import DEFAULT_KEY, Wire
from netlab.transfer import tcp_both_ways, udp_one_way

KINDS = ["lisp", "gre", "vxlan-gpe"]
UDP_PORTS = {"lisp": 4341, "vxlan-gpe": 4790}
IP_BYTES = {4: 20, 6: 40}
TUNNEL_BYTES = {"lisp": 8 + 8, "gre": 8, "vxlan-gpe": 8 + 8}
UNDERLAY = 1500
TCP_BYTES = 3_000_000
HARMLESS_DROPS = {"no_destination", "link_local_multicast", "l3_no_host"}
TTL = 64


def real_drops(host: RoutedHost) -> dict[str, int]:
    return {r: n for r, n in host.daemon.drops().items() if r not in HARMLESS_DROPS}


def ttl_of(seen: Seen) -> int:
    return seen.payload[8 if seen.ethertype == ETHERTYPE_IPV4 else 7]


def source_of(seen: Seen) -> str:
    """The packet's address, or nothing when it is no IP packet."""
    if seen.ip_protocol is None:
        return ""
    is_v4 = seen.ethertype == ETHERTYPE_IPV4
    return str(ipaddress.ip_address(seen.payload[12:16] if is_v4 else seen.payload[8:24]))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_subnets_reach_each_other(lab: Lab, build: Build, kind: str, family: int) -> None:
    hosts = routed_pair(lab, build, kind, family)
    near, far = (host.vms[0] for host in hosts)
    with PacketSocket(near.ns) as near_wire, PacketSocket(far.ns) as far_wire:
        for inner in (4, 6):
            # Neither the next hop nor the machine is known yet: ARP and discovery come first.
            result = ping(near.ns, machine(2, inner))
            assert result.first_answered and result.received == 3, result.output
            assert ping(far.ns, machine(1, inner)).received == 3
            for a, b, target in ((near, far, 2), (far, near, 1)):
                tcp_both_ways(a.ns, b.ns, machine(target, inner), TCP_BYTES // 2, seed=inner)
                udp_one_way(a.ns, b.ns, machine(target, inner), datagrams=100, seed=inner)
            target = machine(2, inner)
            udp_one_way(near.ns, far.ns, target, datagrams=10, seed=1, segment_bytes=1111)
        for wire, index, other in ((near_wire, 1, 2), (far_wire, 2, 1)):
            sources = {machine(other, inner) for inner in BITS}
            arrived = wire.take(lambda one, s=sources: source_of(one) in s)
            assert {source_of(one) for one in arrived} == sources
            # Each edge is one hop, and the gateway is the only neighbour.
            assert {ttl_of(one) for one in arrived} == {TTL - 2}
            assert {one.source for one in arrived} == {hosts[index - 1].ns.mac("br0")}
    for host in hosts:
        assert real_drops(host) == {}, host.ns.name
        assert host.daemon.fdb_ports("02:00:00:00:00:00") == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gateway_answers_for_itself(lab: Lab, build: Build, kind: str) -> None:
    """Its kernel to ARP, discovery and ping, the switch when a packet's hops have run out."""
    hosts = routed_pair(lab, build, kind, 4)
    near = hosts[0].vms[0]
    for inner in (4, 6):
        wait_for_ping(near.ns, gateway(1, inner))
        wait_for_ping(near.ns, machine(2, inner))
        done = near.ns.run(
            "ping", "-n", "-c", 1, "-W", 2, "-t", 1, machine(2, inner), check=False
        ).stdout
        assert re.search(rf"From {gateway(1, inner)} .*[Tt]ime (to live )?exceeded", done), done
    assert hosts[0].daemon.drops().get("ttl_exceeded") == 2
    addresses = near.ns.ip("neigh", "show", gateway(1, 4)).stdout
    assert hosts[0].ns.mac("br0") in addresses


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gateway_reports_what_does_not_fit(
    lab: Lab, build: Build, kind: str, family: int
) -> None:
    hosts = routed_pair(lab, build, kind, family, mtu=UNDERLAY)
    near, far = (host.vms[0] for host in hosts)
    mtu = UNDERLAY - IP_BYTES[family] - TUNNEL_BYTES[kind]
    for inner in (4, 6):
        target = machine(2, inner)
        wait_for_ping(near.ns, target)
        size = UNDERLAY - IP_BYTES[inner] - 8
        done = ping(near.ns, target, size=size, do_not_fragment=True)
        assert re.search(rf"From {gateway(1, inner)} .*mtu ?= ?{mtu}\b", done.output), done.output
        fits = ping(near.ns, target, size=mtu - IP_BYTES[inner] - 8, do_not_fragment=True)
        assert fits.received == 3, fits.output
        tcp_both_ways(near.ns, far.ns, target, TCP_BYTES // 2, seed=inner)
    assert set(real_drops(hosts[0])) == {"too_big_reported"}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_other_policies_for_what_does_not_fit(
    lab: Lab, build: Build, kind: str, family: int
) -> None:
    """One end with one policy, the other end with another."""
    hosts = routed_pair(lab, build, kind, family, mtu=UNDERLAY, start=False)
    hosts[0].config.find_tunnel("t0")["oversize"] = "fragment-outer"
    hosts[1].config.find_tunnel("t0")["oversize"] = "clamp-mss"
    for host in hosts:
        host.config.section("workers", count=2)
        host.start()
    near, far = (host.vms[0] for host in hosts)
    for inner in (4, 6):
        target = machine(2, inner)
        wait_for_ping(near.ns, target)
        size = UNDERLAY - IP_BYTES[inner] - 8
        send_datagrams(near.ns, far.ns, target, size, count=20, df=True)
        send_datagrams(near.ns, far.ns, target, size, count=3, df=True, segments=20)
        tcp_both_ways(near.ns, far.ns, target, TCP_BYTES // 2, seed=inner)
    # What may be fragmented goes back in fragments of its own.
    send_datagrams(far.ns, near.ns, machine(1, 4), UNDERLAY - 28, count=20, df=False)
    send_datagrams(far.ns, near.ns, machine(1, 4), UNDERLAY - 28, count=3, df=False, segments=20)
    for host in hosts:
        assert real_drops(host) == {}, host.ns.name


def test_frames_that_are_not_ip_stay_at_home(lab: Lab, build: Build) -> None:
    hosts = routed_pair(lab, build, "lisp", 4)
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, machine(2, 4))
    with PacketSocket(hosts[1].ns) as wire, PacketSocket(near.ns) as out:
        for target in (BROADCAST, hosts[0].ns.mac("br0"), "02:00:00:00:00:77"):
            out.send(frame(near.mac, target, b"no IP"))
        # The last of them has passed the switch when this one has.
        wait_for_ping(near.ns, machine(2, 4))
        assert wire.take(lambda one: b"no IP" in one.data) == []
    # An address that is fixed behind the tunnel leads frames into it.
    hosts[0].bridge["static_mac"] = [{"mac": "02:00:00:00:00:77", "port": "t0"}]
    hosts[0].daemon.reload()
    with PacketSocket(hosts[1].ns) as wire, PacketSocket(near.ns) as out:
        out.send(frame(near.mac, "02:00:00:00:00:77", b"no IP"))
        hosts[0].daemon.wait_for_drops("l3_not_ip")
        assert wire.take(lambda one: b"no IP" in one.data) == []


def test_an_unknown_instance_is_counted_and_goes_nowhere(lab: Lab, build: Build) -> None:
    hosts = routed_pair(lab, build, "lisp", 4, start=False)
    hosts[1].config.find_tunnel("t0")["key"] = DEFAULT_KEY + 1
    for host in hosts:
        host.start()
    assert ping(hosts[0].vms[0].ns, machine(2, 4), wait_s=0.5).received == 0
    hosts[1].daemon.wait_for_drops("tunnel_unknown_key")


def test_a_destination_that_no_prefix_covers_is_left_to_the_kernel(lab: Lab, build: Build) -> None:
    hosts = routed_pair(lab, build, "lisp", 4)
    near = hosts[0].vms[0]
    wait_for_ping(near.ns, gateway(1, 4))
    with Capture(hosts[1].ns) as wire, PacketSocket(hosts[0].ns, "br0") as local:
        wanted = machine(9, 4)
        near.ns.run("ping", "-c", 1, "-W", 1, wanted, check=False)
        seen = local.wait_for(lambda one: IP in Ether(one.data))
        assert seen is not None and Ether(seen.data)[IP].dst == wanted
        assert wire.dissect(["ip.dst"], f"ip.dst == {wanted}") == []


def test_a_machine_that_nobody_answers_for_is_counted(lab: Lab, build: Build) -> None:
    hosts = routed_pair(lab, build, "lisp", 4)
    near = hosts[0].vms[0]
    wait_for_ping(near.ns, machine(2, 4))
    before = hosts[1].daemon.drops().get("l3_no_host", 0)
    with PacketSocket(near.ns) as out:
        ip = IP(src=machine(1, 4), dst="10.2.0.99") / UDP(sport=7, dport=9) / Raw(b"nobody")
        out.send(bytes(Ether(src=near.mac, dst=hosts[0].ns.mac("br0")) / ip))
    hosts[1].daemon.wait_for_drops("l3_no_host", before + 1)


def test_a_prefix_moves_to_another_host_and_disturbs_nobody(lab: Lab, build: Build) -> None:
    """Host 3 has a machine of subnet 2 in waiting; subnet 3 has traffic all along."""
    wire = Wire(lab)
    hosts = [RoutedHost(lab, build, index) for index in (1, 2, 3)]
    for host in hosts:
        wire.attach(host.ns)
        host.add_machine(host.index)
    first, second, third = hosts
    third.add_machine(2)
    for other in (second, third):
        first.add_tunnel(f"t{other.index}", "lisp", other.underlay(4))
        first.map(other.index, f"t{other.index}")
        other.add_tunnel("t1", "lisp", first.underlay(4))
        other.map(1, "t1")
    for host in hosts:
        host.start()
    near = first.vms[0].ns
    for index in (2, 3):
        wait_for_ping(near, machine(index, 4))
    steady = near.spawn("ping", "-n", "-i", "0.01", machine(3, 4), name="steady-ping")
    moved = third.vms[1].ns
    with PacketSocket(moved) as new_home, PacketSocket(second.vms[0].ns) as old_home:

        def arrives(home: PacketSocket) -> bool:
            echo = ping(near, machine(2, 4), count=1, wait_s=0.5)
            at_home = home.take(lambda one: one.ip_protocol == 1)
            return bool(echo.received and at_home)

        assert arrives(old_home)
        for place, home in (("t3", new_home), ("t2", old_home), ("t3", new_home)):
            for one in (new_home, old_home):
                one.take(lambda _seen: True)
            first.map(2, place)
            first.daemon.send_reload_signal()
            wait_until(lambda h=home: arrives(h), f"subnet 2 is behind {place}")
            answered = steady.output().count("bytes from")
            wait_until(
                lambda n=answered: steady.output().count("bytes from") >= n + 10,
                "the other subnet has gone on",
            )
    steady.send_signal(2)
    steady.wait()
    said = steady.output()
    counted = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert counted is not None, said
    assert int(counted[1]) > 20
    # The last request may still be under way when ping is told to end.
    assert int(counted[1]) - int(counted[2]) <= 1, said


def by_tunnel(host: RoutedHost, names: list[str]) -> dict[str, int]:
    return {
        name: host.daemon.ctl_json("show", "tunnel", name)["counters"]["tx_packets"]
        for name in names
    }


def test_rlocs_share_flows_by_priority_and_weight(lab: Lab, build: Build) -> None:
    """Three instances of LISP between the same two hosts stand for three RLOCs."""
    hosts = routed_pair(lab, build, "lisp", 4, start=False)
    names = ["a", "b", "c"]
    for host, other in (hosts, reversed(hosts)):
        for number, name in enumerate(names, 1):
            host.add_tunnel(name, "lisp", other.underlay(4), key=number)
    first, second = hosts
    near = first.vms[0]

    for host in hosts:
        host.start()
    flows = 400
    ethernet = Ether(src=near.mac, dst=first.ns.mac("br0"))
    frames = []
    for number in range(flows):
        ip = IP(src=machine(1, 4), dst=machine(2, 4)) / UDP(sport=10000 + number, dport=9)
        frames.append(bytes(ethernet / ip / Raw(b"one flow")))

    def share(**ranks: tuple[int, int]) -> dict[str, int]:
        """Sends one packet in each flow; what each tunnel carried of them."""
        rlocs = [
            {"tunnel": name, "priority": priority, "weight": weight}
            for name, (priority, weight) in ranks.items()
        ]
        first.map(2, *rlocs)
        first.daemon.reload()
        wait_for_ping(near.ns, machine(2, 4))  # Only so many packets wait for the first decision.
        before = by_tunnel(first, names)
        with PacketSocket(second.vms[0].ns) as far, PacketSocket(near.ns) as out:
            for data in frames:
                out.send(data)
            arrived = 0

            def all_there() -> bool:
                nonlocal arrived
                arrived += len(far.take(lambda one: b"one flow" in one.data))
                return arrived >= flows

            wait_until(all_there, f"{flows} flows arrive")
        after = by_tunnel(first, names)
        return {name: after[name] - before[name] for name in names}

    wait_for_ping(near.ns, machine(2, 4))  # By t0, which the first reload replaces.
    for name in names:
        first.wait_for_next_hop(name)
    carried = share(a=(1, 50), b=(1, 50), c=(2, 100))
    assert carried["c"] == 0 and carried["a"] + carried["b"] == flows
    assert min(carried["a"], carried["b"]) > flows // 4
    carried = share(a=(1, 90), b=(1, 10), c=(2, 100))
    assert carried["c"] == 0 and carried["a"] + carried["b"] == flows
    assert carried["a"] > 3 * carried["b"] > 0
    carried = share(a=(255, 50), b=(255, 50), c=(2, 100))
    assert carried == {"a": 0, "b": 0, "c": flows}
    # A tunnel without a route to its peer is passed over.
    first.config.find_tunnel("a")["remote_ip"] = "203.0.113.1"
    carried = share(a=(1, 50), b=(2, 50), c=(3, 50))
    assert carried == {"a": 0, "b": flows, "c": 0}
