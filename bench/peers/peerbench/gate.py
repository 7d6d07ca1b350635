# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether what a program sends is what the work asks for: decoded by scapy, compared byte by byte."""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Iterable

from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

from peerbench import traffic
from peerbench.rows import HUB_IP, HUB_KEY, HUB_MAC, Row

_CHECKED_MAX = 200
_CHECKED_MIN = 50
_ARP = 0x0806
_ETHERTYPE_AT = 12
_TTL_AT = 8
_TEB = 0x6558


class WrongOutput(Exception):
    """A program sent what it must not; the text says which byte of the work is wrong."""


def read_capture(path: pathlib.Path) -> list[bytes]:
    """The packets of a pcap file, whose last one may be cut off: its writer was stopped."""
    data = path.read_bytes()
    packets = []
    at = 24
    while at + 16 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        at += 16
        if at + size > len(data):
            break
        packets.append(data[at : at + size])
        at += size
    return packets


def check(row: Row, system: str, given: Iterable[bytes], sent: list[bytes]) -> None:
    """Raises WrongOutput at the first packet that is not right."""
    # What a bridge says on its own account (ARP, discovery, router solicitation) is not its work.
    sent = [packet for packet in sent if is_work(packet)][:_CHECKED_MAX]
    if len(sent) < _CHECKED_MIN:
        raise WrongOutput(f"{row.work}: {system} sent {len(sent)} packets, and they are too few")
    wanted = wanted_payloads(row, system, given)
    for number, packet in enumerate(sent):
        try:
            payload = unwrapped(row, system, packet)
        except WrongOutput as error:
            raise WrongOutput(f"{row.work}: {system}, packet {number}: {error}") from None
        if payload not in wanted:
            raise WrongOutput(
                f"{row.work}: {system}, packet {number}: {payload.hex()} is in no frame of the source"
            )


def is_work(packet: bytes) -> bool:
    (ethertype,) = struct.unpack_from(">H", packet, _ETHERTYPE_AT)
    return ethertype == 0x0800


def wanted_payloads(row: Row, system: str, given: Iterable[bytes]) -> set[bytes]:
    """What may be in a sent packet, once its headers that are checked one by one are off."""
    if system.startswith("testpmd"):  # It rewrites both MAC addresses in mode mac.
        return {frame[12:] for frame in given}
    if row.kind in ("decap", "hub"):
        given = (inner_bytes(row.tunnel, frame) for frame in given)
    if row.work == "lisp-decap":
        return {aged(packet) for packet in given}
    if row.work == "lisp-encap":
        return {aged(frame[14:]) for frame in given}
    return set(given)


def aged(packet: bytes) -> bytes:
    """An IPv4 packet one hop further."""
    header = IP(packet[:20])
    header.ttl -= 1
    del header.chksum
    return bytes(header) + packet[20:]


def inner_bytes(tunnel: str, frame: bytes) -> bytes:
    headers = {"vxlan": 50, "geneve": 50, "gre": 42, "lisp": 50}
    return frame[headers[tunnel] :]


def _must(condition: bool, what: str) -> None:
    if not condition:
        raise WrongOutput(what)


def unwrapped(row: Row, system: str, packet: bytes) -> bytes:
    """The payload, after each header of a tunnel was found to be right."""
    if system.startswith("testpmd"):
        return packet[12:]
    if row.work == "lisp-decap":
        _must(Ether(packet).dst == traffic.destination_mac(0), "not to the machine's MAC address")
        _must(Ether(packet).src == traffic.GATEWAY_MAC, "not from the gateway's MAC address")
        return packet[14:]
    if row.kind in ("plain", "decap"):
        return packet
    if row.kind == "hub":
        return _unwrapped(packet, "geneve", HUB_IP, HUB_MAC, HUB_KEY)
    return _unwrapped(packet, row.tunnel_out, traffic.REMOTE_IP, traffic.REMOTE_MAC, traffic.KEY)


def _unwrapped(packet: bytes, tunnel: str, remote_ip: str, remote_mac: str, key: int) -> bytes:
    frame = Ether(packet)
    _must((frame.src, frame.dst) == (traffic.LOCAL_MAC, remote_mac), "wrong outer MAC addresses")
    ip = frame[IP]
    _must((ip.src, ip.dst) == (traffic.LOCAL_IP, remote_ip), "wrong outer IP addresses")
    _must(ip.len == len(packet) - 14, f"IP length {ip.len} in a frame of {len(packet)} bytes")
    stated = ip.chksum
    del ip.chksum
    _must(IP(bytes(ip)).chksum == stated, "wrong checksum of the outer IP header")
    if tunnel == "gre":
        gre = ip[GRE]
        _must(gre.key_present == 1 and gre.key == key and gre.proto == _TEB, f"GRE is {gre!r}")
        return packet[42:]
    udp = ip[UDP]
    _must(udp.dport == traffic.UDP_PORTS[tunnel], f"UDP port {udp.dport}")
    _must(udp.len == ip.len - 20, f"UDP length {udp.len}")
    header = packet[42:50]
    if tunnel == "vxlan":
        vxlan = VXLAN(header)
        _must(vxlan.flags == 8 and vxlan.vni == key, f"VXLAN is {vxlan!r}")
    elif tunnel == "geneve":
        geneve = GENEVE(header)
        _must(geneve.vni == key and geneve.proto == _TEB and geneve.optionlen == 0, f"{geneve!r}")
    else:
        flags, instance = header[0], int.from_bytes(header[4:7], "big")
        _must(flags & 0x08 != 0 and instance == key, f"LISP header is {header.hex()}")
    return packet[50:]
