# SPDX-License-Identifier: GPL-2.0-or-later
"""ping and iperf3, with their output read into values."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import signal
from collections.abc import Iterator

from netlab.lab import LabError, Namespace, Process, wait_until

# TCP that lives on retransmissions alone stays below this; it is no measure of speed.
MBITS_MIN = 10
_IPERF_PORT = 5201
_TCP_LISTEN = "0A"


@dataclasses.dataclass
class Ping:
    sent: int
    received: int
    duplicates: int
    first_answered: bool
    rtt_average_ms: float
    output: str

    @property
    def loss_percent(self) -> float:
        return 100.0 * (self.sent - self.received) / max(self.sent, 1)


def ping(
    source: Namespace,
    target: str,
    count: int = 3,
    interval_s: float = 0.05,
    wait_s: float = 2.0,
    size: int | None = None,
    do_not_fragment: bool = False,
) -> Ping:
    """Sends `count` echo requests. Loss is a result and not an error."""
    options = ["-n", "-c", count, "-i", interval_s, "-W", wait_s]
    if size is not None:
        options += ["-s", size]
    if do_not_fragment:
        options += ["-M", "do"]
    done = source.run("ping", *options, target, check=False)
    text = done.stdout + done.stderr
    summary = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    if summary is None:
        raise LabError(f"ping {target} from {source.name} said: {text.strip()}")
    times = re.search(r"= [\d.]+/([\d.]+)/", text)
    return Ping(
        sent=int(summary[1]),
        received=int(summary[2]),
        duplicates=text.count("(DUP!)"),
        first_answered=re.search(r"bytes from .*icmp_seq=1 ", text) is not None,
        rtt_average_ms=float(times[1]) if times else float("nan"),
        output=text,
    )


def wait_for_ping(source: Namespace, target: str, timeout_s: float = 30.0) -> None:
    wait_until(
        lambda: ping(source, target, count=1, wait_s=0.5).received,
        f"{target} answers {source.name}",
        timeout_s,
    )


class Pinger:
    """Echo requests twenty times a second for as long as the context lasts."""

    def __init__(self, source: Namespace, target: str, interval_s: float = 0.05) -> None:
        self._process = source.spawn("ping", "-n", "-i", interval_s, target, name="pinger")
        self._target = target

    def __enter__(self) -> Pinger:
        self.wait_for_replies(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop(signal.SIGINT)

    def _sequences(self) -> list[int]:
        return [int(n) for n in re.findall(r"bytes from .*icmp_seq=(\d+) ", self._process.output())]

    def wait_for_replies(self, count: int, timeout_s: float = 30.0) -> None:
        """Until so many more have been answered."""
        wanted = len(self._sequences()) + count
        what = f"{self._target} answered {count} more echo requests"
        wait_until(lambda: len(self._sequences()) >= wanted, what, timeout_s)

    @property
    def lost(self) -> int:
        """Requests that stayed without a reply although a later one got its own."""
        answered = set(self._sequences())
        return max(answered, default=0) - len(answered)


def _listens(process: Process, port: int) -> bool:
    if not process.running:
        raise LabError(f"{process.name} ended: {process.output().strip()}")
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{process.pid}/net/{table}", encoding="ascii") as rows:
                for row in list(rows)[1:]:
                    fields = row.split()
                    if fields[1].endswith(f":{port:04X}") and fields[3] == _TCP_LISTEN:
                        return True
    return False


@contextlib.contextmanager
def iperf_server(node: Namespace) -> Iterator[Process]:
    """A server for one test: one that goes on may still be busy with its last client."""
    process = node.spawn(
        "iperf3", "--server", "--one-off", "--forceflush", name=f"{node.name}-iperf3"
    )
    try:
        # The process starts life as `ip netns exec`, still in the caller's namespace, where some
        # other server may listen: look only once it is iperf3.
        wait_until(
            lambda: _is_program(process, "iperf3") and _listens(process, _IPERF_PORT),
            f"iperf3 listens in {node.name}",
        )
        yield process
    finally:
        process.stop()


def _is_program(process: Process, name: str) -> bool:
    try:
        with open(f"/proc/{process.pid}/comm", encoding="ascii") as comm:
            return comm.read().strip() == name
    except FileNotFoundError:
        return False


def iperf(
    client: Namespace,
    server: Namespace,
    address: str,
    seconds: float = 2,
    reverse: bool = False,
    udp: bool = False,
    streams: int = 1,
) -> float:
    """Throughput in Mbit/s to `address` of `server`, as the receiver saw it; `reverse`: back."""
    options = ["--client", address, "--time", seconds, "--parallel", streams, "--json"]
    options += ["--reverse"] if reverse else []
    options += ["--udp", "--bitrate", "50M"] if udp else []
    with iperf_server(server):
        done = client.run("iperf3", *options, check=False, timeout_s=seconds + 40)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise LabError(f"iperf3 to {address}: {(done.stdout + done.stderr).strip()}") from None
    if "error" in result:
        raise LabError(f"iperf3 from {client.name} to {address}: {result['error']}")
    end = result["end"]
    return float(end["sum" if udp else "sum_received"]["bits_per_second"]) / 1e6
