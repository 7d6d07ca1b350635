# SPDX-License-Identifier: GPL-2.0-or-later
"""One host with a machine, and the far end of its wire in the hands of the test: a namespace that
answers ARP and neighbour discovery for the tunnels' remote addresses and is no tunnel endpoint.

    vm1 10.0.0.1 ─ vif1 ┤br0├ tunnels ~ br-phy ─ eth0 ───wire─── eth0
                        h1             172.20.0.1                172.20.0.2
"""

from __future__ import annotations

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from netlab.daemon import Build
from netlab.lab import Lab
from netlab.topology import DEFAULT_KEY, UNDERLAY_MTU, Host, underlay_address, vm_address, vm_mac


def ip_packet(family: int, source: str, destination: str, tos: int = 0, ttl: int = 64) -> Packet:
    if family == 4:
        return IP(src=source, dst=destination, tos=tos, ttl=ttl)
    return IPv6(src=source, dst=destination, tc=tos, hlim=ttl)


def ip_of(frame: Packet) -> tuple[int, int]:
    """TOS or traffic class, and TTL or hop limit, of the frame's IP header."""
    ip = frame.payload
    return (ip.tc, ip.hlim) if isinstance(ip, IPv6) else (ip.tos, ip.ttl)


class FarEnd:
    """Add tunnels to `host` (`underlay(family)` is their remote address) and start it."""

    def __init__(self, lab: Lab, build: Build) -> None:
        self.host = Host(lab, build, 1)
        self.ns = lab.namespace("far")
        lab.wire(self.host.ns, "eth0", self.ns, "eth0", mtu=UNDERLAY_MTU)
        for family, bits in ((4, 24), (6, 64)):
            self.ns.add_address("eth0", f"{self.underlay(family)}/{bits}")
        self.machine = self.host.add_vm(1)

    @staticmethod
    def underlay(family: int) -> str:
        return underlay_address(2, family)

    def inner(self, family: int, inward: bool, tos: int = 0, ttl: int = 64) -> Packet:
        """A frame of the machine's to machine 2, which does not exist, or (inward) of it."""
        source, destination = (2, 1) if inward else (1, 2)
        ethernet = Ether(src=vm_mac(source), dst=vm_mac(destination))
        addresses = vm_address(source, family), vm_address(destination, family)
        return ethernet / ip_packet(family, *addresses, tos, ttl) / UDP(sport=7, dport=9)

    def encapsulated(
        self,
        kind: str,
        family: int,
        inner: Packet,
        tos: int = 0,
        key: int = DEFAULT_KEY,
        port: int = 4789,
    ) -> bytes:
        """`inner` on its way to the host."""
        head = Ether(src=self.ns.mac("eth0"), dst=self.host.ns.mac("br-phy")) / ip_packet(
            family, self.underlay(family), self.host.underlay(family), tos
        )
        if kind == "gre":
            return bytes(head / GRE(proto=0x6558, key_present=1, key=key) / inner)
        return bytes(head / UDP(sport=50000, dport=port) / VXLAN(flags=8, vni=key) / inner)
