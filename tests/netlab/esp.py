# SPDX-License-Identifier: GPL-2.0-or-later
"""Security associations with configured keys: in the words of Culvert, of Linux and of scapy, which
opens what is captured."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import hmac
import os
import pathlib
from collections.abc import Iterable

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, Raw

from netlab.lab import LabError

ESP_PROTOCOL, UDP_PROTOCOL, GRE_PROTOCOL, ICMPV6_PROTOCOL = 50, 17, 47, 58
IPV4_PROTOCOL, IPV6_PROTOCOL, IGMP_PROTOCOL = 4, 41, 2
NAT_PORT, IKE_PORT = 4500, 500
_ICV_BYTES = 16
_ARP = 0x0806


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """`scapy` names the cipher; with an integrity key, HMAC-SHA2-256-128 goes with it."""

    name: str
    scapy: str
    linux_aead: str
    cipher_bytes: int  # Of the key, with its salt.
    integrity_bytes: int = 0


ALGORITHMS = {
    one.name: one
    for one in (
        Algorithm("aes-gcm-128", "AES-GCM", "rfc4106(gcm(aes))", 20),
        Algorithm("aes-gcm-256", "AES-GCM", "rfc4106(gcm(aes))", 36),
        Algorithm("aes-cbc-128-sha256", "AES-CBC", "", 16, 32),
        Algorithm("aes-cbc-256-sha256", "AES-CBC", "", 32, 32),
        Algorithm(
            *("chacha20-poly1305", "CHACHA20-POLY1305", "rfc7539esp(chacha20,poly1305)", 36)
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Sa:
    """One direction."""

    spi: int
    algorithm: Algorithm
    esn: bool
    key: bytes

    @staticmethod
    def fresh(spi: int, algorithm: str, esn: bool) -> Sa:
        row = ALGORITHMS[algorithm]
        return Sa(spi, row, esn, os.urandom(row.cipher_bytes + row.integrity_bytes))

    @property
    def cipher_key(self) -> bytes:
        return self.key[: self.algorithm.cipher_bytes]

    @property
    def integrity_key(self) -> bytes:
        return self.key[self.algorithm.cipher_bytes :]

    def write_key(self, path: pathlib.Path) -> None:
        path.touch(mode=0o600)
        path.write_text(self.key.hex() + "\n", encoding="ascii")

    def linux(self) -> str:
        """What `ip xfrm state add` takes."""
        cipher = self.cipher_key.hex()
        if self.algorithm.linux_aead:
            return f"aead '{self.algorithm.linux_aead}' 0x{cipher} {8 * _ICV_BYTES}"
        integrity = self.integrity_key.hex()
        return (
            f"enc 'cbc(aes)' 0x{cipher} auth-trunc 'hmac(sha256)' 0x{integrity} {8 * _ICV_BYTES}"
        )

    def scapy(self) -> SecurityAssociation:
        more = {}
        if self.integrity_key:
            more = {"auth_algo": "SHA2-256-128", "auth_key": self.integrity_key}
        return SecurityAssociation(
            ESP,
            spi=self.spi,
            crypt_algo=self.algorithm.scapy,
            crypt_key=self.cipher_key,
            esn_en=self.esn,
            **more,
        )

    def open(self, data: bytes) -> tuple[int, bytes]:
        """Next header and payload of an ESP packet from its SPI on; numbers stay below 2^32."""
        if self.integrity_key:
            # scapy leaves the upper half of the number out of what it checks.
            text = data[:-_ICV_BYTES] + (bytes(4) if self.esn else b"")
            value = hmac.new(self.integrity_key, text, hashlib.sha256).digest()[:_ICV_BYTES]
            if value != data[-_ICV_BYTES:]:
                raise LabError(f"an ESP packet of SPI {self.spi:#x} is not authentic")
        sa = self.scapy()
        size = sa.crypt_icv_size or sa.crypt_algo.icv_size or sa.auth_algo.icv_size
        plain = sa.crypt_algo.decrypt(
            sa, ESP(data), sa.crypt_key, size, esn_en=self.esn, esn=0
        )  # Raises when the tag is wrong.
        return plain.nh, bytes(plain.data)

    def seal(self, packet: Packet, number: int) -> Packet:
        """An IP packet in transport mode, by scapy."""
        return self.scapy().encrypt(packet, seq_num=number, esn_en=self.esn, esn=0)


def pair(spi: int, algorithm: str, esn: bool) -> tuple[Sa, Sa]:
    """From the first host to the second, and back."""
    return Sa.fresh(spi, algorithm, esn), Sa.fresh(spi + 1, algorithm, esn)


def esp_of(data: bytes) -> tuple[Packet, bytes] | None:
    """The IP header of an Ethernet frame that holds ESP, in UDP or not, and the ESP packet."""
    frame = Ether(data)
    ip = frame.getlayer(IP) or frame.getlayer(IPv6)
    if ip is None:
        return None
    protocol = ip.proto if isinstance(ip, IP) else ip.nh
    # Without what pads a short frame.
    size = ip.len - 4 * ip.ihl if isinstance(ip, IP) else ip.plen
    start = len(data) - len(bytes(frame.payload)) + (4 * ip.ihl if isinstance(ip, IP) else 40)
    payload = data[start : start + size]
    if protocol == ESP_PROTOCOL:
        return ip, payload
    if protocol == UDP_PROTOCOL and int.from_bytes(payload[2:4], "big") == NAT_PORT:
        if len(payload) > 12 and payload[8:12] != bytes(4):
            return ip, payload[8:]
    return None


def _is_signalling(data: bytes) -> bool:
    """What encryption does not cover: what hosts say to find each other, and IKE."""
    frame = Ether(data)
    if frame.type == _ARP:
        return True
    ip = frame.getlayer(IP) or frame.getlayer(IPv6)
    if ip is None:
        return False
    if isinstance(ip, IP) and ip.proto == IGMP_PROTOCOL:
        return True
    if isinstance(ip, IPv6) and (ip.nh == ICMPV6_PROTOCOL or ip.nh == 0):  # 0: MLD's option.
        return True
    udp = ip.payload if isinstance(ip.payload, UDP) else None
    if udp is None:
        return False
    data = bytes(udp)[8:]
    if udp.dport == NAT_PORT:
        return data[:4] == bytes(4) or len(data) == 1
    return udp.dport == IKE_PORT


def require_no_clear(frames: Iterable[bytes], *secrets: bytes) -> collections.Counter[int]:
    """Holds every frame of a wire between hosts against the rule: it is ESP, or it is needed to get
    there, and no secret is in it. Returns the packets of each SPI."""
    seen: collections.Counter[int] = collections.Counter()
    for data in frames:
        for secret in secrets:
            if secret in data:
                raise LabError(f"{secret!r} is on the wire in clear: {data.hex()}")
        if (found := esp_of(data)) is not None:
            seen[int.from_bytes(found[1][:4], "big")] += 1
        elif not _is_signalling(data):
            raise LabError(f"this is on the wire in clear: {Ether(data).summary()} {data.hex()}")
    return seen


def inner_frame(next_header: int, payload: bytes) -> tuple[int, bytes]:
    """Key and Ethernet frame of the tunnel packet that an ESP packet held: GRE, or VXLAN or Geneve
    without options, whose headers are alike in length and in the place of the key."""
    if next_header in (IPV4_PROTOCOL, IPV6_PROTOCOL):  # Tunnel mode.
        outer = IP(payload) if next_header == IPV4_PROTOCOL else IPv6(payload)
        protocol = outer.proto if isinstance(outer, IP) else outer.nh
        return inner_frame(protocol, bytes(outer.payload))
    if next_header == GRE_PROTOCOL:
        gre = GRE(payload)
        if gre.proto != 0x6558:
            raise LabError(f"GRE of {gre.proto:#x} and not of Ethernet")
        return gre.key if gre.key_present else 0, bytes(gre.payload)
    if next_header == UDP_PROTOCOL:
        return int.from_bytes(payload[12:15], "big"), payload[16:]
    raise LabError(f"ESP of protocol {next_header}: {Raw(payload)!r}")


def open_all(frames: Iterable[bytes], sas: Iterable[Sa]) -> list[tuple[Sa, int, bytes]]:
    """What the ESP packets of a wire hold: association, key of the tunnel, frame."""
    by_spi = {sa.spi: sa for sa in sas}
    opened = []
    for data in frames:
        if (found := esp_of(data)) is not None:
            sa = by_spi[int.from_bytes(found[1][:4], "big")]
            opened.append((sa, *inner_frame(*sa.open(found[1]))))
    return opened
