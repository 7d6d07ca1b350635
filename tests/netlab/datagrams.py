# SPDX-License-Identifier: GPL-2.0-or-later
"""UDP datagrams with or without "don't fragment", each of which is expected to arrive whole."""

from __future__ import annotations

import contextlib
import random
import socket

from netlab.lab import LabError, Namespace

# linux/in.h and linux/udp.h; not in Python's socket module.
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DONT = 0
_PMTUDISC_PROBE = 3  # DF, and no heed to the path MTU.
_SOL_UDP = 17
_UDP_SEGMENT = 103


def _open(node: Namespace, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with node.entered():
        return socket.socket(family, socket.SOCK_DGRAM)


def _set_df(sender: socket.socket, df: bool) -> None:
    value = _PMTUDISC_PROBE if df else _PMTUDISC_DONT
    if sender.family == socket.AF_INET:
        sender.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, value)
    else:
        sender.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, value)


def send_datagrams(
    a: Namespace,
    b: Namespace,
    b_address: str,
    size: int,
    count: int,
    df: bool,
    segments: int = 1,
) -> None:
    """Sends `count` times `segments` datagrams of `size` bytes of payload, in one super-frame where
    there are several, and waits for each before the next."""
    source = random.Random(size)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(_open(b, b_address))
        receiver.bind((b_address, 0))
        receiver.settimeout(30.0)
        sender = stack.enter_context(_open(a, b_address))
        _set_df(sender, df)
        if segments > 1:
            sender.setsockopt(_SOL_UDP, _UDP_SEGMENT, size)
        sender.connect(receiver.getsockname()[:2])
        for number in range(count):
            data = source.randbytes(size * segments)
            sender.send(data)
            for start in range(0, len(data), size):
                try:
                    received = receiver.recv(65536)
                except TimeoutError:
                    raise LabError(
                        f"UDP {a.name} to {b.name}: datagram {number}, byte {start} did not arrive"
                    ) from None
                if received != data[start : start + size]:
                    raise LabError(f"UDP {a.name} to {b.name}: datagram {number} differs")
