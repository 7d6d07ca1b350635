# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames that every program is fed with, and the file that net_replay reads them from.

Inner frames are UDP over IPv4 from 10.0.0.0/10 to 10.128.0.0/10. A flow is one 5-tuple (or, with
`macs`, one pair of MAC addresses); each flow has one frame in the file, in random order. Seeds are
fixed, so that two runs see the same bytes.
"""

from __future__ import annotations

import dataclasses
import pathlib
import struct

import numpy

MAGIC = b"CVFRAME1"  # frame_file.hpp has the layout.
BLOCK = 64
FRAMES_MIN = 256  # Fewer would be a loop over a handful of cache lines.
SEED = 20260
IMIX = ((64, 7), (576, 4), (1420, 1))  # Bytes, and how many of them in twelve.

KEY = 100
LOCAL_IP = "172.31.1.1"
REMOTE_IP = "172.31.1.2"
LOCAL_MAC = "02:00:00:00:01:01"
REMOTE_MAC = "02:00:00:00:01:02"
GATEWAY_MAC = "02:00:00:00:01:10"  # Where inner packets are routed and not bridged (LISP).
SOURCES = 0x0A000000
DESTINATIONS = 0x0A800000
ONE_HOST = "10.128.0.2"
UDP_PORTS = {"vxlan": 4789, "geneve": 6081, "lisp": 4341}

ETHERNET_BYTES = 14
IPV4_BYTES = 20
UDP_BYTES = 8


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What is in the file. `size` is that of the inner frame, in the buffer: without FCS."""

    size: int | str = 64  # or "imix"
    flows: int = 1000
    macs: int = 0  # Pairs of `macs` sources and `macs` destinations; flows is then macs * macs.
    tunnel: str = ""  # Encapsulated in this; plain frames when empty.
    gateway: bool = False  # To the gateway's MAC address.
    one_host: bool = False  # All to one IP address.

    @property
    def count(self) -> int:
        return max(self.macs * self.macs or self.flows, FRAMES_MIN)


def mac_bytes(mac: str) -> list[int]:
    return [int(part, 16) for part in mac.split(":")]


def source_mac(index: int) -> str:
    return f"02:00:00:aa:{index >> 8:02x}:{index & 255:02x}"


def destination_mac(index: int) -> str:
    return f"02:00:00:bb:{index >> 8:02x}:{index & 255:02x}"


def _put(rows: numpy.ndarray, at: int, values: numpy.ndarray | int, width: int) -> None:
    """Writes a big-endian field of `width` bytes into each row."""
    for byte in range(width):
        rows[:, at + byte] = (values >> (8 * (width - 1 - byte))) & 255


def _put_checksum(rows: numpy.ndarray, at: int) -> None:
    """The checksum of the IPv4 header that begins at `at`."""
    header = rows[:, at : at + IPV4_BYTES].astype(numpy.uint32)
    total = (header[:, 0::2] << 8).sum(axis=1) + header[:, 1::2].sum(axis=1)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    _put(rows, at + 10, 0xFFFF - total, 2)


def _put_ipv4(
    rows: numpy.ndarray,
    at: int,
    length: numpy.ndarray,
    protocol: int,
    source: numpy.ndarray | int,
    destination: numpy.ndarray | int,
) -> None:
    for offset, value in ((0, 0x45), (6, 0x40), (8, 64), (9, protocol)):
        rows[:, at + offset] = value
    _put(rows, at + 2, length, 2)
    _put(rows, at + 12, source, 4)
    _put(rows, at + 16, destination, 4)
    _put_checksum(rows, at)


def _ip_number(address: str) -> int:
    return int.from_bytes(bytes(int(part) for part in address.split(".")), "big")


def _sizes(traffic: Traffic, random: numpy.random.Generator) -> numpy.ndarray:
    if traffic.size != "imix":
        return numpy.full(traffic.count, int(traffic.size), dtype=numpy.int64)
    sizes, shares = zip(*IMIX)
    # Exact shares in random order.
    ladder = numpy.repeat(sizes, shares)
    return random.permutation(numpy.resize(ladder, traffic.count)).astype(numpy.int64)


def _inner_headers(traffic: Traffic, sizes: numpy.ndarray) -> numpy.ndarray:
    """Ethernet, IPv4 and UDP header of each frame."""
    random = numpy.random.default_rng(SEED)
    count = traffic.count
    # With fewer flows than frames some have several.
    flow = random.permutation(numpy.arange(count) % (traffic.macs**2 or traffic.flows))
    flows = traffic.macs**2 or traffic.flows
    rows = numpy.zeros((count, ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES), dtype=numpy.uint8)
    macs = max(traffic.macs, 1)
    rows[:, 0:6] = mac_bytes(GATEWAY_MAC if traffic.gateway else destination_mac(0))
    rows[:, 6:12] = mac_bytes(source_mac(0))
    if not traffic.gateway:
        _put(rows, 4, flow % macs, 2)
    _put(rows, 10, flow // macs % macs, 2)
    _put(rows, 12, 0x0800, 2)
    sources = SOURCES + random.integers(2, 1 << 22, flows)[flow]
    destinations = DESTINATIONS + random.integers(2, 1 << 22, flows)[flow]
    if traffic.one_host:
        destinations = numpy.full(count, _ip_number(ONE_HOST))
    ports = random.integers(1024, 65535, (2, flows))
    _put_ipv4(rows, ETHERNET_BYTES, sizes - ETHERNET_BYTES, 17, sources, destinations)
    udp = ETHERNET_BYTES + IPV4_BYTES
    _put(rows, udp, ports[0][flow], 2)
    _put(rows, udp + 2, ports[1][flow], 2)
    _put(rows, udp + 4, sizes - udp, 2)
    return rows


def _tunnel_header(tunnel: str) -> bytes:
    return {
        "vxlan": struct.pack(">II", 0x08000000, KEY << 8),
        "geneve": struct.pack(">BBHI", 0, 0, 0x6558, KEY << 8),
        "gre": struct.pack(">HHI", 0x2000, 0x6558, KEY),
        "lisp": struct.pack(">II", 0x08000000, KEY << 8 | 1),
    }[tunnel]


def _encapsulated(traffic: Traffic, inner: numpy.ndarray, sizes: numpy.ndarray) -> numpy.ndarray:
    """The outer headers before the inner ones. `sizes` grows to the whole frame's."""
    header = _tunnel_header(traffic.tunnel)
    is_udp = traffic.tunnel in UDP_PORTS
    if traffic.tunnel == "lisp":  # It carries packets, not frames.
        inner = inner[:, ETHERNET_BYTES:]
        sizes -= ETHERNET_BYTES
    outer_bytes = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES * is_udp + len(header)
    sizes += outer_bytes
    outer = numpy.zeros((len(inner), outer_bytes), dtype=numpy.uint8)
    outer[:, 0:6] = mac_bytes(LOCAL_MAC)
    outer[:, 6:12] = mac_bytes(REMOTE_MAC)
    _put(outer, 12, 0x0800, 2)
    _put_ipv4(
        outer,
        ETHERNET_BYTES,
        sizes - ETHERNET_BYTES,
        17 if is_udp else 47,
        _ip_number(REMOTE_IP),
        _ip_number(LOCAL_IP),
    )
    if is_udp:
        at = ETHERNET_BYTES + IPV4_BYTES
        # The entropy that a sender would make of the inner 5-tuple.
        mixed = inner[:, -UDP_BYTES:].astype(numpy.int64)
        _put(outer, at, 32768 + (mixed[:, 0] * 251 + mixed[:, 1] * 31 + mixed[:, 3]) % 28000, 2)
        _put(outer, at + 2, UDP_PORTS[traffic.tunnel], 2)
        _put(outer, at + 4, sizes - at, 2)
    outer[:, outer_bytes - len(header) :] = numpy.frombuffer(header, dtype=numpy.uint8)
    return numpy.hstack((outer, inner))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def write(path: pathlib.Path, traffic: Traffic) -> None:
    """Makes the frames and writes the file; payloads are zeros."""
    sizes = _sizes(traffic, numpy.random.default_rng(SEED + 1))
    headers = _inner_headers(traffic, sizes)
    if traffic.tunnel:
        headers = _encapsulated(traffic, headers, sizes)
    blocks = (sizes + BLOCK - 1) // BLOCK
    first = numpy.concatenate(([0], numpy.cumsum(blocks)))
    memory = numpy.zeros((int(first[-1]), BLOCK), dtype=numpy.uint8)
    for begin in range(0, headers.shape[1], BLOCK):
        piece = headers[:, begin : begin + BLOCK]
        memory[first[:-1] + begin // BLOCK, : piece.shape[1]] = piece
    with open(path, "wb") as file:
        file.write(_padded(MAGIC + struct.pack("<II", traffic.count, int(sizes.max()))))
        file.write(_padded(sizes.astype("<u2").tobytes()))
        memory.tofile(file)


def read(path: pathlib.Path, count: int) -> list[bytes]:
    """The first frames of a file, all of them where it has fewer."""
    with open(path, "rb") as file:
        head = file.read(BLOCK)
        (total,) = struct.unpack_from("<I", head, len(MAGIC))
        sizes = struct.unpack(f"<{total}H", file.read(2 * total))
        file.seek(BLOCK + (2 * total + BLOCK - 1) // BLOCK * BLOCK)
        frames = []
        for size in sizes[:count]:
            frames.append(file.read((size + BLOCK - 1) // BLOCK * BLOCK)[:size])
    return frames
