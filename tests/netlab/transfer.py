# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP and UDP transfers between two namespaces whose every byte is checked.

The sockets are plain ones, so the sending kernel leaves segmentation (TSO, USO) and checksums to
the device: what reaches the switch are super-frames with unfinished checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import struct
import threading

from netlab.lab import LabError, Namespace

_TIMEOUT_S = 30.0
_UDP_SEGMENT = 103  # linux/udp.h; not in Python's socket module.
_SOL_UDP = 17


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _tcp_listener(node: Namespace, address: str) -> socket.socket:
    with node.entered():
        listener = socket.socket(_family(address), socket.SOCK_STREAM)
    listener.settimeout(_TIMEOUT_S)
    listener.bind((address, 0))
    listener.listen(1)
    return listener


class _Worker(threading.Thread):
    """A thread whose exception reaches the caller at join()."""

    def __init__(self, function, *arguments: object) -> None:
        super().__init__(daemon=True)
        self._work = lambda: function(*arguments)
        self._error: BaseException | None = None
        self._value: object = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # pylint: disable=broad-except
            self._error = error

    def result(self) -> object:
        # Every socket has a timeout, so a transfer ends; a slow one may take longer than that.
        self.join(3 * _TIMEOUT_S)
        if self.is_alive():
            raise LabError("a transfer did not end")
        if isinstance(self._error, TimeoutError):
            raise LabError(f"a transfer made no progress for {_TIMEOUT_S:g} s")
        if self._error is not None:
            raise self._error
        return self._value


def _digest_until_end(connection: socket.socket) -> tuple[int, str]:
    total, digest = 0, hashlib.sha256()
    while data := connection.recv(1 << 18):
        total += len(data)
        digest.update(data)
    return total, digest.hexdigest()


def tcp_both_ways(a: Namespace, b: Namespace, b_address: str, size: int, seed: int) -> None:
    """Sends `size` seeded random bytes each way over one connection, both at once."""
    content = {end: random.Random(f"{seed}{end}").randbytes(size) for end in "ab"}
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_tcp_listener(b, b_address))
        with a.entered():
            a_end = stack.enter_context(socket.socket(_family(b_address), socket.SOCK_STREAM))
        a_end.settimeout(_TIMEOUT_S)
        a_end.connect((b_address, listener.getsockname()[1]))
        b_end = stack.enter_context(listener.accept()[0])
        b_end.settimeout(_TIMEOUT_S)

        def send(connection: socket.socket, data: bytes) -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        senders = [_Worker(send, a_end, content["a"]), _Worker(send, b_end, content["b"])]
        at_b = _Worker(_digest_until_end, b_end)
        at_a = _Worker(_digest_until_end, a_end)
        for sender in senders:
            sender.result()
        for worker, sent, arrow in (
            (at_b, content["a"], f"{a.name} to {b.name}"),
            (at_a, content["b"], f"{b.name} to {a.name}"),
        ):
            expected = len(sent), hashlib.sha256(sent).hexdigest()
            received = worker.result()
            if received != expected:
                raise LabError(f"TCP {arrow}: sent {expected}, received {received}")


def udp_one_way(
    a: Namespace,
    b: Namespace,
    b_address: str,
    datagrams: int,
    seed: int,
    size_max: int = 1400,
    segment_bytes: int | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> None:
    """Sends datagrams of random size and content and expects each to arrive once and whole.

    With `segment_bytes` each send is one USO super-frame that must arrive cut into pieces of that
    size. The receiver acknowledges by an event, so that no socket buffer overflows.
    """
    source = random.Random(seed)
    with contextlib.ExitStack() as stack:
        with b.entered():
            receiver = stack.enter_context(socket.socket(_family(b_address), socket.SOCK_DGRAM))
        receiver.bind((b_address, 0))
        receiver.settimeout(timeout_s)
        with a.entered():
            sender = stack.enter_context(socket.socket(_family(b_address), socket.SOCK_DGRAM))
        sender.connect(receiver.getsockname()[:2])
        if segment_bytes is not None:
            sender.setsockopt(_SOL_UDP, _UDP_SEGMENT, segment_bytes)
        for number in range(datagrams):
            size = 40 * segment_bytes - 7 if segment_bytes else source.randint(8, size_max)
            data = struct.pack("!Q", number) + source.randbytes(size - 8)
            sender.send(data)
            step = segment_bytes or size
            for start in range(0, size, step):
                try:
                    received = receiver.recv(65536)
                except TimeoutError:
                    raise LabError(
                        f"UDP {a.name} to {b.name}: datagram {number}, byte {start} of {size}, "
                        "did not arrive"
                    ) from None
                if received != data[start : start + step]:
                    raise LabError(
                        f"UDP {a.name} to {b.name}: datagram {number} differs at byte {start}"
                    )
