# SPDX-License-Identifier: GPL-2.0-or-later
"""Raw Ethernet frames: craft, send and capture in a namespace.

The kernel takes a VLAN tag out of a received frame and hands it over beside the frame; capture puts
it back, so that a frame reads as it was on the wire.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import select
import socket
import struct
import time
from collections.abc import Callable

from netlab.lab import LabError, Namespace

ETHERTYPE_TEST = 0x88B5  # IEEE 802 local experimental: no stack answers it.
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_VLAN = 0x8100
BROADCAST = "ff:ff:ff:ff:ff:ff"

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_OUTGOING = 4
_SO_RCVBUFFORCE = 33
_TP_STATUS_VLAN_VALID = 0x10
_BUFFER_BYTES = 64 << 20  # A whole transfer of a test before the first read; memory is taken as it fills.
_AUXDATA = struct.Struct("=IIIHHHH")
_STATISTICS = struct.Struct("=II")  # Frames that came, and of these the ones that were dropped.


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def mac_text(data: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in data)


def vlan_tag(vlan: int, priority: int = 0, tpid: int = ETHERTYPE_VLAN) -> bytes:
    return struct.pack("!HH", tpid, priority << 13 | vlan)


def frame(
    source: str,
    destination: str,
    payload: bytes = b"",
    ethertype: int = ETHERTYPE_TEST,
    vlan: int | None = None,
    priority: int = 0,
) -> bytes:
    """An Ethernet frame, padded to the minimum of 60 bytes."""
    tag = b"" if vlan is None else vlan_tag(vlan, priority)
    head = mac_bytes(destination) + mac_bytes(source) + tag + struct.pack("!H", ethertype)
    return (head + payload).ljust(60 + len(tag), b"\0")


def arp(
    operation: int, sender_mac: str, sender_ip: str, target_mac: str, target_ip: str
) -> bytes:
    """The ARP message (not the frame): operation 1 asks, 2 answers."""
    return (
        struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, operation)
        + mac_bytes(sender_mac)
        + ipaddress.IPv4Address(sender_ip).packed
        + mac_bytes(target_mac)
        + ipaddress.IPv4Address(target_ip).packed
    )


def gratuitous_arp(mac: str, ip: str, vlan: int | None = None) -> bytes:
    message = arp(1, mac, ip, "00:00:00:00:00:00", ip)
    return frame(mac, BROADCAST, message, ETHERTYPE_ARP, vlan)


def internet_checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, destination: str, protocol: int, payload: bytes, ttl: int = 64) -> bytes:
    """An IPv4 packet without options."""
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    fields = (0x45, 0, 20 + len(payload), 0, 0x4000, ttl, protocol)
    head = struct.pack("!BBHHHBB", *fields)
    checksum = internet_checksum(head + b"\0\0" + addresses)
    return head + struct.pack("!H", checksum) + addresses + payload


def udp(source_port: int, destination_port: int, payload: bytes) -> bytes:
    """A UDP datagram without checksum, as IPv4 allows."""
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def gre(payload: bytes, key: int | None = None) -> bytes:
    """GRE with an Ethernet frame inside (RFC 2784, RFC 2890)."""
    if key is None:
        return struct.pack("!HH", 0, 0x6558) + payload
    return struct.pack("!HHI", 0x2000, 0x6558, key) + payload


def vxlan(payload: bytes, vni: int, flags: int = 0x08) -> bytes:
    return struct.pack("!II", flags << 24, vni << 8) + payload


@dataclasses.dataclass(frozen=True)
class Seen:
    """One captured frame, with its VLAN tag in place."""

    data: bytes
    outgoing: bool

    @property
    def destination(self) -> str:
        return mac_text(self.data[0:6])

    @property
    def source(self) -> str:
        return mac_text(self.data[6:12])

    @property
    def vlan(self) -> int | None:
        if struct.unpack("!H", self.data[12:14])[0] != ETHERTYPE_VLAN:
            return None
        return struct.unpack("!H", self.data[14:16])[0] & 0x0FFF

    @property
    def priority(self) -> int | None:
        if self.vlan is None:
            return None
        return self.data[14] >> 5

    @property
    def ethertype(self) -> int:
        offset = 12 if self.vlan is None else 16
        return struct.unpack("!H", self.data[offset : offset + 2])[0]

    @property
    def payload(self) -> bytes:
        return self.data[14 if self.vlan is None else 18 :]

    @property
    def ip_protocol(self) -> int | None:
        if self.ethertype == ETHERTYPE_IPV4:
            return self.payload[9]
        if self.ethertype == ETHERTYPE_IPV6:
            return self.payload[6]
        return None


class PacketSocket:
    """A packet socket on one interface of a namespace. A read raises when frames have been lost because the
    socket was full: what was not seen may have been there. One that only sends may lose what it never reads."""

    def __init__(self, node: Namespace, interface: str = "eth0", buffer_bytes: int = _BUFFER_BYTES) -> None:
        self.where = f"{node.name}/{interface}"
        self._dropped = 0
        with node.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._socket.bind((interface, _ETH_P_ALL))

    def __enter__(self) -> PacketSocket:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def _receive(self) -> Seen:
        data, ancillary, _, sender = self._socket.recvmsg(1 << 17, 256)
        for level, kind, blob in ancillary:
            if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                status, _, _, _, _, tci, tpid = _AUXDATA.unpack(blob[: _AUXDATA.size])
                if status & _TP_STATUS_VLAN_VALID:
                    data = data[:12] + struct.pack("!HH", tpid or ETHERTYPE_VLAN, tci) + data[12:]
        return Seen(data, sender[2] == _PACKET_OUTGOING)

    def _check_loss(self) -> None:
        _, dropped = _STATISTICS.unpack(
            self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        )
        self._dropped += dropped  # The kernel forgets what it has told.
        if self._dropped:
            raise LabError(f"the capture at {self.where} has lost {self._dropped} frames: its buffer was full")

    def take(self, wanted: Callable[[Seen], bool], incoming_only: bool = True) -> list[Seen]:
        """Everything wanted that has arrived by now."""
        seen = []
        while select.select([self._socket], [], [], 0)[0]:
            one = self._receive()
            if not (incoming_only and one.outgoing) and wanted(one):
                seen.append(one)
        self._check_loss()
        return seen

    def wait_for(
        self,
        wanted: Callable[[Seen], bool],
        timeout_s: float = 20.0,
        incoming_only: bool = True,
    ) -> Seen | None:
        """The next wanted frame, or None when none came in time."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                one = self._receive()
                if not (incoming_only and one.outgoing) and wanted(one):
                    self._check_loss()
                    return one
        self._check_loss()
        return None
