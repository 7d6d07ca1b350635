# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines with an MTU of 1500 over an underlay of 1500: what does not fit the tunnel, with each
of the policies. Nobody sets an MTU by hand, and all offloads stay as the kernel has them.

    vm1 eth0 (1500) ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ══ 1500 ══ eth0 ─ br-phy ~ t0 ┤br0├ vif2 ─ vm2
"""

from __future__ import annotations

import re
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.datagrams import send_datagrams
from netlab.frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, PacketSocket, Seen
from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.peers import KernelVxlanPeer
from netlab.topology import DEFAULT_KEY, Host, tunnel_pair, vm_address, vm_mac
from netlab.transfer import tcp_both_ways

UNDERLAY = 1500
MACHINE = 1500
TCP_BYTES = 3_000_000
IP_BYTES = {4: 20, 6: 40}
# Between the outer IP header and the inner one: UDP, the tunnel's header, Ethernet.
TUNNEL_BYTES = {"vxlan": 8 + 8 + 14, "geneve": 8 + 8 + 14, "gre": 8 + 14}
ICMP_ERRORS_PER_S = 1000
ICMP_ERRORS_BURST = 100
HARMLESS_DROPS = {"no_destination", "link_local_multicast"}

WIRES = [(kind, family) for kind in TUNNEL_BYTES for family in (4, 6)]


def carried(kind: str, family: int, underlay: int = UNDERLAY) -> int:
    """The largest inner IP packet."""
    return underlay - IP_BYTES[family] - TUNNEL_BYTES[kind]


def route_mtu(node: Namespace, address: str) -> int | None:
    """The path MTU that the kernel has learnt towards `address`."""
    found = re.search(r"\bmtu (\d+)", node.ip("route", "get", address).stdout)
    return int(found[1]) if found else None


def real_drops(host: Host) -> dict[str, int]:
    return {r: n for r, n in host.daemon.drops().items() if r not in HARMLESS_DROPS}


def echo_size(family: int, packet: int = MACHINE) -> int:
    """The -s of ping for IP packets of this size."""
    return packet - IP_BYTES[family] - 8


def parsed(seen: Seen) -> Packet:
    return Ether(seen.data)


def is_too_big(seen: Seen) -> bool:
    if seen.ip_protocol not in (1, 58):
        return False
    packet = parsed(seen)
    return ICMPv6PacketTooBig in packet or (
        ICMP in packet and packet[ICMP].type == 3 and packet[ICMP].code == 4
    )


def is_fragment(seen: Seen) -> bool:
    if seen.ethertype == ETHERTYPE_IPV4:
        return int.from_bytes(seen.payload[6:8], "big") & 0x3FFF != 0  # MF and offset.
    return seen.ip_protocol == 44


def has_df(seen: Seen) -> bool:
    return seen.ethertype == ETHERTYPE_IPV4 and seen.payload[6] & 0x40 != 0


def announces_mss(seen: Seen) -> bool:
    if seen.ip_protocol != 6:
        return False
    tcp = seen.payload[IP_BYTES[4 if seen.ethertype == ETHERTYPE_IPV4 else 6] :]
    return tcp[13] & 0x02 != 0  # SYN


def oversized_frame(near_index: int, far_index: int, family: int, size: int = MACHINE) -> bytes:
    """A UDP datagram with DF between two machines, `size` bytes from its IP header on."""
    source, destination = vm_address(near_index, family), vm_address(far_index, family)
    ip = (
        IP(src=source, dst=destination, flags="DF")
        if family == 4
        else IPv6(src=source, dst=destination)
    )
    payload = Raw(bytes(size - IP_BYTES[family] - 8))
    frame = Ether(src=vm_mac(near_index), dst=vm_mac(far_index)) / ip
    return bytes(frame / UDP(sport=7, dport=9) / payload)


# The default: the sender is told.


@pytest.mark.parametrize(("kind", "family"), WIRES)
def test_the_sender_is_told_and_tcp_passes(lab: Lab, build: Build, kind: str, family: int) -> None:
    hosts = tunnel_pair(lab, build, kind, family, mtu=UNDERLAY)
    near, far = (host.vms[0] for host in hosts)
    mtu = carried(kind, family)
    for inner in (4, 6):
        target = far.address(inner)
        wait_for_ping(near.ns, target)
        with PacketSocket(near.ns) as machine:
            done = ping(near.ns, target, size=echo_size(inner), do_not_fragment=True)
            told = machine.take(is_too_big)
        assert done.received == 0
        said = rf"From {target} .*(mtu = {mtu}\)|mtu[=:] ?{mtu}\b)"
        assert re.search(said, done.output), done.output
        assert re.search(r"message too long", done.output, re.IGNORECASE), done.output
        assert told
        for seen in told:
            assert (seen.source, seen.destination) == (far.mac, near.mac)
            packet = parsed(seen)
            source = packet[IP].src if inner == 4 else packet[IPv6].src
            assert source == target
        assert route_mtu(near.ns, target) == mtu
        fits = ping(near.ns, target, size=echo_size(inner, mtu), do_not_fragment=True)
        assert fits.received == 3, fits.output
        # TCP finds it out by itself.
        near.ns.ip(f"-{inner}", "route", "flush", "cache")
        assert route_mtu(near.ns, target) is None
        before = real_drops(hosts[0]).get("too_big_reported", 0)
        tcp_both_ways(near.ns, far.ns, target, TCP_BYTES, seed=inner)
        assert route_mtu(near.ns, target) == mtu
        assert real_drops(hosts[0])["too_big_reported"] > before
    for host in hosts:
        assert set(real_drops(host)) <= {"too_big_reported"}, host.ns.name


@pytest.mark.parametrize("tunnel_tag", [None, 10])
def test_the_sender_is_told_in_its_own_vlan(
    lab: Lab, build: Build, tunnel_tag: int | None
) -> None:
    """Machines at access ports of VLAN 10; in the tunnel its tag takes room, or is taken off."""
    hosts = tunnel_pair(lab, build, "vxlan", 4, mtu=UNDERLAY, start=False)
    for host in hosts:
        host.config.ports[-1]["tag"] = 10
        if tunnel_tag is not None:
            host.config.find_tunnel("t0")["tag"] = tunnel_tag
        host.start()
    near, far = (host.vms[0] for host in hosts)
    mtu = carried("vxlan", 4) - (4 if tunnel_tag is None else 0)
    for inner in (4, 6):
        target = far.address(inner)
        wait_for_ping(near.ns, target)
        with PacketSocket(near.ns) as machine:
            done = ping(near.ns, target, size=echo_size(inner), do_not_fragment=True)
            told = machine.take(is_too_big)
        assert done.received == 0
        assert told and {(seen.vlan, seen.source) for seen in told} == {(None, far.mac)}
        assert route_mtu(near.ns, target) == mtu
        fits = ping(near.ns, target, size=echo_size(inner, mtu), do_not_fragment=True)
        assert fits.received == 3, fits.output
        tcp_both_ways(near.ns, far.ns, target, TCP_BYTES // 3, seed=inner)
    assert set(real_drops(hosts[0])) == {"too_big_reported"}


def test_the_answers_are_limited_and_every_packet_is_counted(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4, mtu=UNDERLAY)
    near = hosts[0].vms[0]
    wait_for_ping(near.ns, hosts[1].vms[0].address())
    daemon = hosts[0].daemon
    frames = {family: oversized_frame(1, 2, family) for family in (4, 6)}
    sent = 0

    def counted() -> dict[str, int]:
        drops = real_drops(hosts[0])
        assert set(drops) <= {"too_big_reported", "tunnel_mtu_exceeded"}
        return drops

    started = time.monotonic()
    with PacketSocket(near.ns) as out, PacketSocket(near.ns) as machine:

        def flood() -> bool:
            nonlocal sent
            for _ in range(200):
                for data in frames.values():
                    out.send(data)
            sent += 400
            wait_until(lambda: sum(counted().values()) == sent, f"{sent} packets are counted")
            return counted().get("tunnel_mtu_exceeded", 0) > 0 and sent >= 4000

        wait_until(flood, "the limit has been reached", interval_s=0)
        answers = 0

        def all_answers() -> bool:
            nonlocal answers
            answers += len(machine.take(is_too_big))
            return answers >= counted()["too_big_reported"]

        wait_until(all_answers, "each report has reached the machine")
        elapsed = time.monotonic() - started
    assert answers == counted()["too_big_reported"]
    # No more than the bucket held and what has flowed into it since.
    assert ICMP_ERRORS_BURST <= answers <= ICMP_ERRORS_BURST + ICMP_ERRORS_PER_S * elapsed
    assert daemon.drops()["tunnel_mtu_exceeded"] == sent - answers


# Fragments outside.


@pytest.mark.parametrize(
    ("kind", "family", "workers"),
    [("vxlan", 4, 1), ("vxlan", 6, 2), ("gre", 4, 2), ("geneve", 6, 1)],
)
def test_outer_fragments_carry_what_does_not_fit(
    lab: Lab, build: Build, kind: str, family: int, workers: int
) -> None:
    policy = "fragment-outer"
    hosts = tunnel_pair(lab, build, kind, family, mtu=UNDERLAY, start=False, oversize=policy)
    for host in hosts:
        host.config.section("workers", count=workers)
        host.start()
    near, far = (host.vms[0] for host in hosts)
    with Capture(hosts[1].ns) as wire:
        for inner in (4, 6):
            target = far.address(inner)
            wait_for_ping(near.ns, target)
            done = ping(near.ns, target, size=echo_size(inner), do_not_fragment=True)
            assert done.received == 3, done.output
            for a, b in ((near, far), (far, near)):
                size = MACHINE - IP_BYTES[inner] - 8
                send_datagrams(a.ns, b.ns, b.address(inner), size, count=50, df=True)
            send_datagrams(near.ns, far.ns, target, size, count=5, df=True, segments=20)
            tcp_both_ways(near.ns, far.ns, target, TCP_BYTES // 3, seed=inner)
            assert route_mtu(near.ns, target) is None, "nobody was told a smaller MTU"
        seen = wire.fetch()
    assert all(len(one.data) <= UNDERLAY + 14 for one in seen)
    fragments = [one for one in seen if is_fragment(one)]
    assert {one.outgoing for one in fragments} == {False, True}
    assert {one.ethertype == ETHERTYPE_IPV6 for one in fragments} == {family == 6}
    assert not any(has_df(one) for one in fragments)
    for host in hosts:
        assert real_drops(host) == {}, host.ns.name


def test_fragments_of_the_kernel_are_put_together(lab: Lab, build: Build) -> None:
    """The kernel's VXLAN device with `df unset` makes them; over IPv6 it makes none."""
    host = Host(lab, build, 1, UNDERLAY)
    peer = KernelVxlanPeer(lab, 2)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=1600)
    host.ns.ip("link", "set", "eth0", "mtu", UNDERLAY)
    peer.configure_uplink()
    machine = host.add_vm(1)
    host.add_tunnel("t0", "vxlan", peer.underlay(4))
    host.start()
    # The device keeps its own MTU of 1500 when the wire shrinks under it.
    peer.add_vxlan(host.underlay(4), 4)
    peer.ns.ip("link", "set", "eth0", "mtu", UNDERLAY)
    assert peer.ns.mtu("vx0") == MACHINE
    wait_for_ping(peer.ns, machine.address())
    sent = {inner: oversized_frame(2, 1, inner) for inner in (4, 6)}
    with PacketSocket(host.ns) as wire, PacketSocket(machine.ns) as near:
        # Sent by hand, as the kernel would cut its own packets before they enter the tunnel.
        with PacketSocket(peer.ns, "vx0") as out:
            for data in sent.values():
                out.send(data)
                assert near.wait_for(lambda one, data=data: one.data == data) is not None
        assert len(wire.take(is_fragment)) >= 2 * len(sent)
    assert real_drops(host) == {}


@pytest.mark.parametrize("family", [4, 6])
def test_fragments_are_put_together_in_any_order(lab: Lab, build: Build, family: int) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", family, mtu=UNDERLAY)
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    ethernet = Ether(src=hosts[1].ns.mac("br-phy"), dst=hosts[0].ns.mac("br-phy"))
    source, destination = hosts[1].underlay(family), hosts[0].underlay(family)
    tunnel = UDP(sport=40000, dport=4789) / VXLAN(flags=8, vni=DEFAULT_KEY)
    with PacketSocket(hosts[1].ns) as out, PacketSocket(near.ns) as machine:
        for number, inner in enumerate((4, 6)):
            data = oversized_frame(2, 1, inner)
            if family == 4:
                whole = IP(src=source, dst=destination, id=number) / tunnel / Raw(data)
                pieces = fragment(whole, 600)
            else:
                head = IPv6(src=source, dst=destination) / IPv6ExtHdrFragment(id=number)
                pieces = fragment6(head / tunnel / Raw(data), 600)
            assert len(pieces) >= 3
            for piece in pieces[1:] + pieces[:1]:
                out.send(bytes(ethernet / piece))
            assert machine.wait_for(lambda one, data=data: one.data == data) is not None
    assert real_drops(hosts[0]) == {}


# Fragments inside.


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("policy", ["ptb", "fragment-inner"])
def test_inner_fragments_carry_what_may_be_fragmented(
    lab: Lab, build: Build, policy: str, family: int
) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", family, mtu=UNDERLAY, oversize=policy)
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    with PacketSocket(hosts[1].ns) as wire, PacketSocket(far.ns) as machine:
        size = MACHINE - 28
        send_datagrams(near.ns, far.ns, far.address(), size, count=50, df=False)
        # A super-frame of such datagrams as well.
        send_datagrams(near.ns, far.ns, far.address(), size, count=5, df=False, segments=20)
        assert wire.take(is_fragment) == [], "outer fragments"
        inside = machine.take(lambda one: is_fragment(one) and one.ethertype != ETHERTYPE_IPV6)
    assert len(inside) == 2 * (50 + 5 * 20)
    assert max(len(one.payload) for one in inside) <= carried("vxlan", family)
    assert real_drops(hosts[0]) == {}
    # What must not be fragmented is reported.
    done = ping(near.ns, far.address(), size=echo_size(4), do_not_fragment=True)
    assert done.received == 0
    assert f"mtu = {carried('vxlan', family)}" in done.output


# The others.


@pytest.mark.parametrize("family", [4, 6])
def test_a_clamped_mss_makes_tcp_fit(lab: Lab, build: Build, family: int) -> None:
    """One end clamps both directions."""
    hosts = tunnel_pair(lab, build, "vxlan", family, mtu=UNDERLAY, start=False)
    hosts[0].config.find_tunnel("t0")["oversize"] = "clamp-mss"
    for host in hosts:
        host.start()
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    for inner in (4, 6):
        with PacketSocket(near.ns) as near_wire, PacketSocket(far.ns) as far_wire:
            tcp_both_ways(near.ns, far.ns, far.address(inner), TCP_BYTES, seed=inner)
            for wire in (near_wire, far_wire):
                hellos = wire.take(announces_mss)
                expected = carried("vxlan", family) - IP_BYTES[inner] - 20
                assert hellos
                assert {dict(parsed(one)[TCP].options)["MSS"] for one in hellos} == {expected}
        assert route_mtu(near.ns, far.address(inner)) is None
    for host in hosts:
        assert real_drops(host) == {}, host.ns.name


@pytest.mark.parametrize("family", [4, 6])
def test_the_policy_to_drop_only_counts(lab: Lab, build: Build, family: int) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", family, mtu=UNDERLAY, oversize="drop")
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    with PacketSocket(near.ns) as out, PacketSocket(near.ns) as machine:
        for inner in (4, 6):
            out.send(oversized_frame(1, 2, inner))
        hosts[0].daemon.wait_for_drops("tunnel_mtu_exceeded", 2)
        wait_for_ping(near.ns, far.address())
        assert machine.take(is_too_big) == []
    assert real_drops(hosts[0]) == {"tunnel_mtu_exceeded": 2}


# The path behind the first hop.


class Detour:
    """Two hosts in different subnets, and a router between them whose second link is narrow."""

    NARROW = 1400

    def __init__(self, lab: Lab, build: Build, kind: str, family: int) -> None:
        self.family = family
        self.router = lab.namespace("router")
        self.router.set_sysctl("net.ipv4.ip_forward", 1)
        self.router.set_sysctl("net.ipv6.conf.all.forwarding", 1)
        self.hosts = Host(lab, build, 1, UNDERLAY), Host(lab, build, 2, self.NARROW)
        for host in self.hosts:
            host.add_vm(host.index)
            addresses = [f"172.20.{host.index}.1/24", f"fd20:{host.index}::1/64"]
            host.config.find_bridge("br-phy")["local"]["addresses"] = addresses
            other = 3 - host.index
            host.add_tunnel("t0", kind, self.underlay(other))
            port = f"eth{host.index}"
            lab.wire(host.ns, "eth0", self.router, port, mtu=host.mtu)
            self.router.add_address(port, f"172.20.{host.index}.254/24")
            self.router.add_address(port, f"fd20:{host.index}::fe/64")
        for host in self.hosts:
            host.start()
            other = 3 - host.index
            host.ns.ip("route", "add", f"172.20.{other}.0/24", "via", f"172.20.{host.index}.254")
            host.ns.ip("route", "add", f"fd20:{other}::/64", "via", f"fd20:{host.index}::fe")

    def underlay(self, index: int) -> str:
        return f"172.20.{index}.1" if self.family == 4 else f"fd20:{index}::1"

    def lines(self) -> list[str]:
        """What the first host has said of path MTUs."""
        return re.findall(r"the path to (.*)", self.hosts[0].daemon.log())

    def forge(self, remote: str, port: int, mtu: int, local: str | None = None) -> bytes:
        """A router's report about a packet of `local`'s to `remote`."""
        router = self.router
        frame = Ether(src=router.mac("eth1"), dst=self.hosts[0].ns.mac("br-phy"))
        local = local or self.underlay(1)
        quoted = UDP(sport=40000, dport=port) / Raw(bytes(64))
        if self.family == 4:
            quote = bytes(IP(src=local, dst=remote, flags="DF") / quoted)
            ip = IP(src="172.20.1.254", dst=self.underlay(1))
            return bytes(frame / ip / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quote))
        quote = bytes(IPv6(src=local, dst=remote) / quoted)
        ip = IPv6(src="fd20:1::fe", dst=self.underlay(1))
        return bytes(frame / ip / ICMPv6PacketTooBig(mtu=mtu) / Raw(quote))


@pytest.mark.parametrize(
    ("kind", "family"), [("vxlan", 4), ("vxlan", 6), ("gre", 4), ("geneve", 6)]
)
def test_the_path_mtu_is_learnt(lab: Lab, build: Build, kind: str, family: int) -> None:
    detour = Detour(lab, build, kind, family)
    near, far = (host.vms[0] for host in detour.hosts)
    wait_for_ping(near.ns, far.address())
    assert detour.lines() == []
    for inner in (4, 6):
        tcp_both_ways(near.ns, far.ns, far.address(inner), TCP_BYTES, seed=inner)
        expected = carried(kind, family, detour.NARROW)
        assert route_mtu(near.ns, far.address(inner)) == expected
    assert detour.lines() == [f"{detour.underlay(2)} carries {detour.NARROW} bytes"]


@pytest.mark.parametrize("family", [4, 6])
def test_forged_reports_change_nothing(lab: Lab, build: Build, family: int) -> None:
    detour = Detour(lab, build, "vxlan", family)
    near, far = (host.vms[0] for host in detour.hosts)
    wait_for_ping(near.ns, far.address())
    remote = detour.underlay(2)
    stranger = "172.20.2.77" if family == 4 else "fd20:2::77"
    flawed = bytearray(detour.forge(remote, 4789, 1300))
    flawed[-1] ^= 1  # The checksum of the ICMP message covers it.
    with PacketSocket(detour.router, "eth1") as out:
        out.send(detour.forge(stranger, 4789, 1300))
        out.send(detour.forge(remote, 4790, 1300))
        out.send(detour.forge(remote, 4789, 1300, local=stranger))
        out.send(detour.forge(remote, 4789, 9000))
        out.send(bytes(flawed))
        out.send(detour.forge(remote, 4789, 1350))  # As true as a router's.
    wait_until(detour.lines, "the last report is believed")
    assert detour.lines() == [f"{remote} carries 1350 bytes"]
    if family == 4:
        # Not below what Linux would believe.
        with PacketSocket(detour.router, "eth1") as out:
            out.send(detour.forge(remote, 4789, 68))
        wait_until(lambda: len(detour.lines()) == 2, "the report is believed in part")
        assert detour.lines()[1] == f"{remote} carries 552 bytes"


# Hostile fragments.


def resident_bytes(host: Host) -> int:
    with open(f"/proc/{host.daemon.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("family", [4, 6])
def test_incomplete_fragments_take_bounded_room(lab: Lab, build: Build, family: int) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", family, mtu=UNDERLAY, oversize="fragment-outer")
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    daemon = hosts[0].daemon
    ethernet = Ether(src=hosts[1].ns.mac("br-phy"), dst=hosts[0].ns.mac("br-phy"))
    source, destination = hosts[1].underlay(family), hosts[0].underlay(family)
    body = bytes(UDP(sport=40000, dport=4789)) + bytes(1392)

    def first_fragment(number: int) -> bytes:
        if family == 4:
            ip = IP(src=source, dst=destination, id=number, flags="MF", proto=17)
        else:
            ip = IPv6(src=source, dst=destination) / IPv6ExtHdrFragment(nh=17, m=1, id=number)
        return bytes(ethernet / ip / Raw(body))

    before = resident_bytes(hosts[0])
    enough = 4000  # Several times what is held at once.
    with PacketSocket(hosts[1].ns) as out:
        number = 0

        def flood() -> bool:
            nonlocal number
            for _ in range(500):
                number += 1
                out.send(first_fragment(number))
            assert ping(near.ns, far.address(), count=1).received == 1
            return daemon.drops().get("outer_fragment", 0) >= enough

        wait_until(flood, "the fragments are counted", timeout_s=40, interval_s=0)
    # All of them in the end: none is kept for ever.
    wait_until(lambda: daemon.drops()["outer_fragment"] == number, "all fragments are given up")
    assert set(real_drops(hosts[0])) == {"outer_fragment"}
    assert resident_bytes(hosts[0]) - before < 32 << 20
    # Honest ones find room again.
    for inner in (4, 6):
        done = ping(far.ns, near.address(inner), size=echo_size(inner), do_not_fragment=True)
        assert done.received == 3, done.output
