# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel decides about the underlay's next hops, and the switch follows it.

    vm1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ──┬── eth0 k2  172.20.0.2
               h1      172.20.0.1        wire
                                          └── eth0 k3  172.20.0.3
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, Seen, frame, gratuitous_arp
from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.peers import KernelVxlanPeer
from netlab.topology import Host, Wire, tunnel_pair

NEW_MAC = "02:00:00:00:00:99"
REMOTE = "192.0.2.2"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["vxlan", "gre"])
def test_the_first_packet_of_a_tunnel_waits_for_its_neighbour(
    lab: Lab, build: Build, kind: str, family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, family)
    near, far = (host.vms[0] for host in hosts)
    for host in hosts:
        host.ns.ip("neigh", "flush", "dev", "br-phy")
    first = ping(near.ns, far.address(family), count=1, wait_s=3)
    assert first.received == 1, first.output


def test_packets_are_held_while_the_neighbour_resolves_and_leave_in_order(
    lab: Lab, build: Build
) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4)
    near, far = (host.vms[0] for host in hosts)
    hosts[0].ns.ip("neigh", "flush", "dev", "br-phy")
    with PacketSocket(far.ns) as receiver, PacketSocket(near.ns) as sender:
        for number in range(20):
            sender.send(frame(near.mac, BROADCAST, b"held %03d" % number))
        numbers = [
            int(seen.payload[5:8])
            for _ in range(20)
            if (seen := receiver.wait_for(lambda s: s.payload.startswith(b"held "))) is not None
        ]
    assert numbers == list(range(20))


def test_packets_for_a_neighbour_that_never_answers_are_counted(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4, start=False)
    hosts[0].config.find_tunnel("t0")["remote_ip"] = "172.20.0.99"
    hosts[0].start()
    with PacketSocket(hosts[0].vms[0].ns) as sender:
        for number in range(10):
            sender.send(frame(hosts[0].vms[0].mac, BROADCAST, b"lost %03d" % number))
    hosts[0].daemon.wait_for_drops("neighbour_timeout", 10)


def kernel_pair(lab: Lab, build: Build) -> tuple[Host, KernelVxlanPeer]:
    host, peer = Host(lab, build, 1), KernelVxlanPeer(lab, 2)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=host.mtu)
    peer.configure_uplink()
    peer.add_vxlan(host.underlay(4), 4)
    host.add_vm(1)
    host.add_tunnel("t0", "vxlan", peer.underlay(4))
    host.start()
    return host, peer


def test_a_new_mac_address_of_the_neighbour_is_followed(lab: Lab, build: Build) -> None:
    host, peer = kernel_pair(lab, build)
    machine = host.vms[0]
    assert ping(machine.ns, peer.address()).received == 3
    peer.ns.ip("link", "set", "eth0", "address", NEW_MAC)
    with PacketSocket(peer.ns) as wire:
        wire.send(gratuitous_arp(NEW_MAC, peer.underlay(4)))
        wait_for_ping(machine.ns, peer.address())
        wire.take(lambda seen: True)
        assert ping(machine.ns, peer.address()).received == 3
        outer = wire.take(lambda seen: seen.ip_protocol == 17)
    assert outer and {seen.destination for seen in outer} == {NEW_MAC}


def test_a_neighbour_entry_that_the_operator_sets_is_followed(lab: Lab, build: Build) -> None:
    host, peer = kernel_pair(lab, build)
    machine = host.vms[0]
    assert ping(machine.ns, peer.address()).received == 3
    host.ns.ip("neigh", "replace", peer.underlay(4), "lladdr", NEW_MAC, "dev", "br-phy")
    with PacketSocket(peer.ns) as wire, PacketSocket(machine.ns) as sender:

        def reaches_new_address() -> Seen | None:
            sender.send(frame(machine.mac, BROADCAST, b"where to?"))
            return wire.wait_for(
                lambda seen: b"where to?" in seen.data and seen.destination == NEW_MAC, 0.2
            )

        wait_until(reaches_new_address, f"outer packets go to {NEW_MAC}")


@pytest.mark.parametrize("family", [4, 6])
def test_a_route_change_is_followed_live(lab: Lab, build: Build, family: int) -> None:
    """The tunnel's remote address lies behind a gateway: first k2, then k3."""
    host, wire = Host(lab, build, 1), Wire(lab)
    wire.attach(host.ns)
    gateways = [KernelVxlanPeer(lab, 2), KernelVxlanPeer(lab, 3)]
    for gateway in gateways:
        wire.attach(gateway.ns)
        gateway.configure_uplink()
    remote = REMOTE if family == 4 else "2001:db8::2"
    machine = host.add_vm(1)
    host.add_tunnel("t0", "vxlan", remote)
    host.start()

    def send_until_seen_at(there: Namespace) -> None:
        with PacketSocket(there) as receiver, PacketSocket(machine.ns) as sender:
            mac = there.mac("eth0")

            def arrives() -> Seen | None:
                sender.send(frame(machine.mac, BROADCAST, b"follow me"))
                return receiver.wait_for(
                    lambda s: b"follow me" in s.data and s.destination == mac, 0.2
                )

            wait_until(arrives, f"the tunnel leads through {there.name}")

    for gateway in (*gateways, gateways[0]):
        host.ns.ip(f"-{family}", "route", "replace", remote, "via", gateway.underlay(family))
        send_until_seen_at(gateway.ns)
    host.ns.ip(f"-{family}", "route", "del", remote)
    with PacketSocket(machine.ns) as sender:

        def counted() -> int:
            sender.send(frame(machine.mac, BROADCAST, b"nowhere"))
            return host.daemon.drops().get("tunnel_no_route", 0)

        wait_until(counted, "packets without a route are counted")
