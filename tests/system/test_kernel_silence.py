# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's kernel stays out of what the switch does: the wire hears each answer once, from the
right address, and hears no complaint about tunnel packets.

    vm1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0  peer, which speaks raw frames
               h1      172.20.0.1                        172.20.0.2
"""

from __future__ import annotations

import dataclasses

import pytest

from netlab import frames
from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, Seen, arp, frame, gre, ipv4, udp, vxlan
from netlab.lab import Lab
from netlab.topology import DEFAULT_KEY, Host

PEER_MAC = "02:00:00:00:00:02"
PEER = "172.20.0.2"
HOST = "172.20.0.1"
HOST_MAC = "02:00:00:00:00:01"
ICMP = 1


@dataclasses.dataclass
class Setting:
    host: Host
    wire: PacketSocket
    host_mac: str

    def send(self, packet: bytes) -> None:
        self.wire.send(frame(PEER_MAC, self.host_mac, packet, frames.ETHERTYPE_IPV4))

    def settle(self) -> list[Seen]:
        """Everything heard until the host has answered a question asked now."""
        question = arp(1, PEER_MAC, PEER, "00:00:00:00:00:00", HOST)
        heard: list[Seen] = []

        def is_answer(seen: Seen) -> bool:
            heard.append(seen)
            return seen.ethertype == frames.ETHERTYPE_ARP and seen.payload[6:8] == b"\0\2"

        # The kernel answers in order, but two stacks would not: ask twice and take the second.
        for _ in range(2):
            self.wire.send(frame(PEER_MAC, BROADCAST, question, frames.ETHERTYPE_ARP))
            assert self.wire.wait_for(is_answer) is not None
        return heard


@pytest.fixture
def setting(lab: Lab, build: Build) -> Setting:
    host, peer = Host(lab, build, 1), lab.namespace("peer")
    lab.wire(host.ns, "eth0", peer, "eth0", mtu=host.mtu, b_mac=PEER_MAC)
    # By default the local port has the uplink's address; here the two must be told apart.
    host.config.find_bridge("br-phy")["local"]["mac"] = HOST_MAC
    host.add_vm(1)
    host.add_tunnel("tv", "vxlan", PEER)
    host.add_tunnel("tg", "gre", PEER, bridge="br1")
    host.config.bridge("br1")
    host.start()
    with PacketSocket(peer) as wire:
        yield Setting(host, wire, host.ns.mac("br-phy"))


def test_one_arp_question_gets_one_answer_from_the_bridge(setting: Setting) -> None:
    heard = setting.settle()
    answers = [s for s in heard if s.ethertype == frames.ETHERTYPE_ARP and s.payload[7] == 2]
    heard += setting.settle()
    answers = [s for s in heard if s.ethertype == frames.ETHERTYPE_ARP and s.payload[7] == 2]
    assert len(answers) == 4, "four questions"
    assert {frames.mac_text(s.payload[8:14]) for s in answers} == {setting.host_mac}
    assert {s.source for s in answers} == {setting.host_mac}


def test_the_uplink_itself_stays_silent(setting: Setting) -> None:
    """A frame to the uplink's own MAC address would be for the kernel, which is kept off."""
    uplink = setting.host.ns.mac("eth0")
    question = arp(1, PEER_MAC, PEER, "00:00:00:00:00:00", HOST)
    for _ in range(3):
        setting.wire.send(frame(PEER_MAC, uplink, question, frames.ETHERTYPE_ARP))
        setting.wire.send(frame(PEER_MAC, uplink, ipv4(PEER, HOST, 47, gre(b""))))
    heard = setting.settle()
    assert [s for s in heard if s.source == uplink and s.ip_protocol == ICMP] == []
    assert [
        s
        for s in heard
        if s.ethertype == frames.ETHERTYPE_ARP and frames.mac_text(s.payload[8:14]) == uplink
    ] == []


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(ipv4(PEER, HOST, 17, udp(50000, 4789, vxlan(b"", 7))), id="vxlan-cut-off"),
        pytest.param(
            ipv4(PEER, HOST, 17, udp(50000, 4789, vxlan(frame(PEER_MAC, BROADCAST), 7))),
            id="vxlan-unknown-key",
        ),
        pytest.param(
            ipv4(PEER, HOST, 17, udp(50000, 4789, vxlan(frame(PEER_MAC, BROADCAST), DEFAULT_KEY))),
            id="vxlan-accepted",
        ),
        pytest.param(
            ipv4("172.20.0.9", HOST, 17, udp(50000, 4789, vxlan(frame(PEER_MAC, BROADCAST), 7))),
            id="vxlan-unknown-peer",
        ),
        pytest.param(ipv4(PEER, HOST, 47, gre(frame(PEER_MAC, BROADCAST))), id="gre-unknown-key"),
        pytest.param(
            ipv4(PEER, HOST, 47, gre(frame(PEER_MAC, BROADCAST), DEFAULT_KEY)), id="gre-accepted"
        ),
        pytest.param(
            ipv4("172.20.0.9", HOST, 47, gre(frame(PEER_MAC, BROADCAST), DEFAULT_KEY)),
            id="gre-unknown-peer",
        ),
        pytest.param(ipv4(PEER, HOST, 47, b"\0"), id="gre-cut-off"),
    ],
)
def test_tunnel_packets_bring_no_icmp_answer(setting: Setting, packet: bytes) -> None:
    setting.settle()
    setting.send(packet)
    heard = setting.settle()
    assert [s for s in heard if s.ip_protocol == ICMP] == []


def test_the_host_itself_still_answers_ping_and_closed_ports(setting: Setting) -> None:
    """What is no tunnel packet reaches the host's stack through br-phy."""
    setting.settle()
    setting.send(ipv4(PEER, HOST, 17, udp(50000, 9, b"is anybody there?")))

    def is_port_unreachable(seen: Seen) -> bool:
        return seen.ip_protocol == ICMP and seen.payload[20:22] == b"\3\3"

    assert setting.wire.wait_for(is_port_unreachable) is not None
