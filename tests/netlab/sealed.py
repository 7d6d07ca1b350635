# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted tunnels: files with keys, and ESP packets of a capture opened with them by scapy, whose
implementation is not ours."""

from __future__ import annotations

import dataclasses
import pathlib
import secrets
from collections.abc import Iterable

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from netlab.esp import ESP_PROTOCOL, GRE_PROTOCOL, UDP_PROTOCOL, Sa
from netlab.frames import ETHERTYPE_IPV4, ETHERTYPE_IPV6, Seen
from netlab.topology import Host


@dataclasses.dataclass(frozen=True)
class Direction:
    """One SA of a pair, as both ends have it. Its numbers have 32 bits for scapy, and open() and
    seal() add the rest (not with AES-CBC, of which scapy does not authenticate the high half)."""

    sa: Sa
    path: pathlib.Path

    @property
    def spi(self) -> int:
        return self.sa.spi

    @property
    def algorithm(self) -> str:
        return self.sa.algorithm.name

    def open(self, frame: bytes, extended: bool = True) -> Packet:
        """The IP packet that was sealed into a frame; raises when it is not authentic."""
        return self.sa.scapy().decrypt(
            Ether(frame).payload, esn_en=extended or None, esn=0)

    def seal(self, packet: Packet, sequence: int, extended: bool = True) -> Packet:
        cbc = self.algorithm.startswith("aes-cbc")
        iv = secrets.token_bytes(16) if cbc else sequence.to_bytes(8, "big")
        return self.sa.scapy().encrypt(
            packet, seq_num=sequence, iv=iv, esn_en=extended or None, esn=0)


def make_direction(
    directory: pathlib.Path, name: str, spi: int, algorithm: str = "aes-gcm-256"
) -> Direction:
    """A new key in a file that is its owner's alone."""
    direction = Direction(Sa.fresh(spi, algorithm, esn=False), directory / f"{name}.key")
    direction.sa.write_key(direction.path)
    return direction


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
    return protocol_of(frame) == ESP_PROTOCOL


def is_clear_tunnel(frame: bytes) -> bool:
    """GRE, or UDP, which on these wires only tunnels send."""
    return protocol_of(frame) in (GRE_PROTOCOL, UDP_PROTOCOL)


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
