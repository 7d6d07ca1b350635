# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted tunnels: files with keys, and ESP packets of a capture opened with them by scapy, whose
implementation is not ours."""

from __future__ import annotations

import dataclasses
import pathlib
import secrets
from collections.abc import Iterable

from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from netlab.frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Seen
from netlab.topology import Host

IP_PROTOCOL_ESP = 50
IP_PROTOCOL_GRE = 47
IP_PROTOCOL_UDP = 17
KEY_BYTES = {"aes-gcm-128": 20, "aes-gcm-256": 36, "chacha20-poly1305": 36,
             "aes-cbc-128-sha256": 48, "aes-cbc-256-sha256": 64}


@dataclasses.dataclass(frozen=True)
class Direction:
    """One SA of a pair, as both ends have it."""

    spi: int
    key: bytes
    algorithm: str
    path: pathlib.Path

    def association(self) -> SecurityAssociation:
        """As scapy has it; without 64-bit numbers, which open() and seal() add (not with AES-CBC, of
        which scapy does not authenticate the high half)."""
        if self.algorithm.startswith("aes-cbc"):
            return SecurityAssociation(
                ESP, spi=self.spi, crypt_algo="AES-CBC", crypt_key=self.key[:-32],
                auth_algo="SHA2-256-128", auth_key=self.key[-32:])
        name = "AES-GCM" if self.algorithm.startswith("aes") else "CHACHA20-POLY1305"
        return SecurityAssociation(ESP, spi=self.spi, crypt_algo=name, crypt_key=self.key)

    def open(self, frame: bytes, extended: bool = True) -> Packet:
        """The IP packet that was sealed into a frame; raises when it is not authentic."""
        return self.association().decrypt(
            Ether(frame).payload, esn_en=extended or None, esn=0)

    def seal(self, packet: Packet, sequence: int, extended: bool = True) -> Packet:
        cbc = self.algorithm.startswith("aes-cbc")
        iv = secrets.token_bytes(16) if cbc else sequence.to_bytes(8, "big")
        return self.association().encrypt(
            packet, seq_num=sequence, iv=iv, esn_en=extended or None, esn=0)


def make_direction(
    directory: pathlib.Path, name: str, spi: int, algorithm: str = "aes-gcm-256"
) -> Direction:
    """A new key in a file that is its owner's alone."""
    key = secrets.token_bytes(KEY_BYTES[algorithm])
    path = directory / f"{name}.key"
    path.touch(mode=0o600)
    path.write_text(key.hex() + "\n", encoding="ascii")
    return Direction(spi, key, algorithm, path)


def encrypt(host: Host, tunnel: str, outward: Direction, inward: Direction, **keys: object) -> None:
    """Gives a tunnel of the configuration its SAs."""
    host.config.find_tunnel(tunnel)["esp"] = {
        "algorithm": outward.algorithm,
        "spi_in": inward.spi,
        "spi_out": outward.spi,
        "key_in_file": str(inward.path),
        "key_out_file": str(outward.path),
        **keys,
    }


def encrypt_pair(
    a: Host, b: Host, tunnel: str = "t0", spi: int = 0x1000, algorithm: str = "aes-gcm-256",
    **keys: object,
) -> tuple[Direction, Direction]:
    """Both ends of a tunnel; the directions from `a` to `b`, and back."""
    directory = a.lab.directory
    forth = make_direction(directory, f"{tunnel}-forth", spi, algorithm)
    back = make_direction(directory, f"{tunnel}-back", spi + 1, algorithm)
    encrypt(a, tunnel, forth, back, **keys)
    encrypt(b, tunnel, back, forth, **keys)
    return forth, back


def protocol_of(frame: bytes) -> int | None:
    """What is behind the IP header of an untagged frame; by hand, as captures are long."""
    ethertype = int.from_bytes(frame[12:14], "big")
    if ethertype == ETHERTYPE_IPV4:
        return frame[23]
    return frame[20] if ethertype == ETHERTYPE_IPV6 else None


def is_esp(frame: bytes) -> bool:
    return protocol_of(frame) == IP_PROTOCOL_ESP


def is_clear_tunnel(frame: bytes) -> bool:
    """GRE, or UDP, which on these wires only tunnels send."""
    return protocol_of(frame) in (IP_PROTOCOL_GRE, IP_PROTOCOL_UDP)


def spi_and_sequence(frame: bytes) -> tuple[int, int]:
    is_v4 = int.from_bytes(frame[12:14], "big") == ETHERTYPE_IPV4
    start = 14 + ((frame[14] & 0x0F) * 4 if is_v4 else 40)
    return (int.from_bytes(frame[start : start + 4], "big"),
            int.from_bytes(frame[start + 4 : start + 8], "big"))


def assert_sealed(frames: Iterable[Seen], marks: Iterable[bytes]) -> list[bytes]:
    """No frame of a tunnel is in clear, none holds a mark, and none has an SPI and a sequence number
    that another one has. Returns the ESP frames."""
    marks = list(marks)
    seen: set[tuple[int, int]] = set()
    sealed = []
    for frame in frames:
        assert not is_clear_tunnel(frame.data), f"in clear: {frame.data.hex()}"
        for mark in marks:
            assert mark not in frame.data, f"{mark!r} left in clear: {frame.data.hex()}"
        if is_esp(frame.data):
            numbers = spi_and_sequence(frame.data)
            assert numbers not in seen, f"SPI {numbers[0]:#x} used {numbers[1]} twice"
            seen.add(numbers)
            sealed.append(frame.data)
    return sealed


def associations(host: Host) -> dict[int, dict]:
    """What `sa show` says, by SPI."""
    shown = host.daemon.ctl_json("sa", "show")
    return {int(one["spi"], 16): one for one in shown["associations"]}
