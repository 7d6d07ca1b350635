#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures what culvertd costs before it has work: start-up, memory, idle CPU, latency after idling.

    SOURCE ── veth ── [in0  culvertd  out0] ── veth ── SINK

Each row is one kind of ports (packet sockets of ours, or DPDK's net_af_packet, which has to be
polled) and hugepages allowed or not:

start    from the exec of culvertd to the first frame out of the other port, frames being offered
         all the time; the median of several starts
memory   resident set of the idle daemon, and what of it is the packet pools (DPDK's telemetry)
idle     share of a CPU that the worker's thread takes while nothing comes
latency  from sending a frame, after a pause that lets the worker fall asleep, to its arrival; the
         same with a worker that never sleeps, and the difference, which is what sleeping adds

Needs root. Everything happens in network namespaces that are removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from netlab import frames  # noqa: E402  (the path is set above)
from netlab.config import Config  # noqa: E402
from netlab.daemon import Build  # noqa: E402
from netlab.lab import Lab, LabError, Namespace, require_root_and_tools  # noqa: E402

FRAME = frames.frame("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", b"culvert start bench")
OFFER_INTERVAL_S = 0.0005
ANSWER_LIMIT_S = 10.0
PAUSE_S = (0.005, 0.025)  # Longer than any schedule of sleeps takes to reach its longest one.
POOLS = ("culvert_packets", "culvert_shares")


def raw_socket(node: Namespace) -> socket.socket:
    with node.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("eth0", 0x0003))
    return sock


class Daemon:
    """culvertd between two veth pairs, started without a program in between."""

    def __init__(self, lab: Lab, host: Namespace, build: Build, arguments: dict) -> None:
        self.host = host
        self.prefix = f"start{os.getpid()}"
        self.socket_path = lab.directory / "culvertd.ctl"
        self.config_path = lab.directory / "culvertd.toml"
        self.log_path = lab.directory / "culvertd.log"
        config = Config()
        config.daemon.update(socket=str(self.socket_path), log_level="warning")
        config.section("dpdk", file_prefix=self.prefix, hugepages=arguments["hugepages"])
        # The other CPUs are for the two ends, which spin.
        config.section("workers", cpus=[max(os.sched_getaffinity(0))])
        if "idle" in arguments:
            config.section("workers", idle=arguments["idle"])
        config.bridge("br0")
        for name in ("in0", "out0"):
            keys = {"kind": "linux"}
            if arguments["ports"] == "dpdk":
                keys = {"kind": "dpdk", "devargs": f"net_af_packet_{name},iface={name}"}
            config.port(name, "br0", **keys)
        self.config_path.write_text(config.text(), encoding="utf-8")
        self.started = time.monotonic()
        with host.entered(), open(self.log_path, "wb") as log:
            self.child = subprocess.Popen(
                [str(build.culvertd), "--config", str(self.config_path)], stdout=log, stderr=log
            )

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def worker_thread(self) -> pathlib.Path:
        for task in pathlib.Path(f"/proc/{self.child.pid}/task").iterdir():
            if (task / "comm").read_text(encoding="ascii").startswith("culvert-w"):
                return task
        raise LabError("culvertd has no worker thread")

    def worker_run_ns(self) -> int:
        return int((self.worker_thread() / "schedstat").read_text(encoding="ascii").split()[0])

    def memory_kb(self) -> dict[str, int]:
        found = {}
        rollup = pathlib.Path(f"/proc/{self.child.pid}/smaps_rollup").read_text(encoding="ascii")
        for line in rollup.splitlines():
            key, _, rest = line.partition(":")
            if rest.strip().endswith("kB"):
                found[key] = int(rest.split()[0])
        return found

    def pool_kb(self) -> dict[str, float]:
        """Bytes of objects of each packet pool, by DPDK's telemetry."""
        sizes = {}
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
            link.connect(f"/var/run/dpdk/{self.prefix}/dpdk_telemetry.v2")
            link.recv(16384)
            for pool in POOLS:
                link.send(f"/mempool/info,{pool}".encode())
                info = json.loads(link.recv(16384))["/mempool/info"]
                each = info["header_size"] + info["elt_size"] + info["trailer_size"]
                sizes[pool] = info["size"] * each / 1024
        return sizes

    def fail(self, what: str) -> LabError:
        return LabError(f"{what}: {self.log_path.read_text(errors='replace').strip()}")


class Wires:
    """The two sockets outside, and frames from one to the other."""

    def __init__(self, source: Namespace, sink: Namespace) -> None:
        self.source = raw_socket(source)
        self.sink = raw_socket(sink)

    def drain(self) -> None:
        self.sink.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.sink.recv(2048)

    def _take(self, deadline: float, marker: bytes) -> float | None:
        """Spins, so that waking this process up is no part of what is measured."""
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                if marker in self.sink.recv(2048):
                    return time.monotonic()
        return None

    def first_frame(self, daemon: Daemon) -> float:
        """Seconds from the exec to the first frame, while frames are offered."""
        stop = threading.Event()

        def offer() -> None:
            while not stop.wait(OFFER_INTERVAL_S):
                self.source.send(FRAME)

        thread = threading.Thread(target=offer, daemon=True)
        thread.start()
        try:
            self.sink.setblocking(True)
            self.sink.settimeout(ANSWER_LIMIT_S)
            while True:
                if b"culvert start bench" in self.sink.recv(2048):
                    return time.monotonic() - daemon.started
        except TimeoutError:
            raise daemon.fail("no frame came through") from None
        finally:
            stop.set()
            thread.join()

    def latencies_us(self, daemon: Daemon, count: int) -> list[float]:
        self.sink.setblocking(False)
        result = []
        for number in range(count):
            time.sleep(random.uniform(*PAUSE_S))
            marker = f"latency {number:8}".encode()
            data = FRAME[:14] + marker.ljust(46, b"\0")
            sent = time.monotonic()
            self.source.send(data)
            arrived = self._take(sent + ANSWER_LIMIT_S, marker)
            if arrived is None:
                raise daemon.fail("a frame was lost")
            result.append((arrived - sent) * 1e6)
        return result


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "mean": statistics.fmean(ordered)}


def percentiles_added(asleep: dict[str, float], polling: dict[str, float]) -> dict[str, float]:
    return {key: asleep[key] - polling[key] for key in asleep}


@contextlib.contextmanager
def off_the_worker(allowed: set[int]) -> Iterator[None]:
    """This process spins, so it keeps off the CPU that the worker has."""
    os.sched_setaffinity(0, allowed - {max(allowed)} or allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def stay_ahead() -> None:
    """Other programs of the machine shall disturb as little as they can."""
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text("-20", encoding="ascii")


def measure(lab: Lab, nodes: tuple[Namespace, ...], build: Build, options, row: dict) -> dict:
    source, host, sink = nodes
    wires = Wires(source, sink)
    allowed = os.sched_getaffinity(0)
    starts = []
    result = dict(row)
    for number in range(options.starts):
        wires.drain()
        with Daemon(lab, host, build, row) as daemon:
            starts.append(wires.first_frame(daemon) * 1000)
            if number + 1 < options.starts:
                continue
            time.sleep(1)
            result["rss_kb"] = daemon.memory_kb().get("Rss", 0)
            result["pool_kb"] = round(sum(daemon.pool_kb().values()))
            before, since = daemon.worker_run_ns(), time.monotonic()
            time.sleep(options.seconds)
            spent = daemon.worker_run_ns() - before
            result["idle_cpu_percent"] = 100 * spent / 1e9 / (time.monotonic() - since)
            wires.drain()
            with off_the_worker(allowed):
                result["latency_us"] = percentiles(wires.latencies_us(daemon, options.frames))
    result["start_ms"] = {
        "median": statistics.median(starts), "min": min(starts), "max": max(starts)
    }
    with Daemon(lab, host, build, {**row, "idle": "poll"}) as daemon:
        wires.first_frame(daemon)
        wires.drain()
        with off_the_worker(allowed):
            polling = wires.latencies_us(daemon, options.frames)
        result["polling_latency_us"] = percentiles(polling)
    return result


def show(rows: list[dict]) -> None:
    print(
        f"{'ports':6} {'hugepages':9} {'start ms (min-max)':>20} {'RSS MB':>7} {'pools MB':>8} "
        f"{'rest MB':>7} {'idle CPU %':>10}  added latency us: p50 p90 p99 mean"
    )
    for row in rows:
        start = row["start_ms"]
        # The pools are in the resident set unless they are on hugepages.
        pools = row["pool_kb"] if row["hugepages"] == "never" else 0
        added = percentiles_added(row["latency_us"], row["polling_latency_us"]).values()
        span = f"{start['median']:.0f} ({start['min']:.0f}-{start['max']:.0f})"
        print(
            f"{row['ports']:6} {row['hugepages']:9} {span:>20} {row['rss_kb'] / 1024:7.1f} "
            f"{row['pool_kb'] / 1024:8.1f} {(row['rss_kb'] - pools) / 1024:7.1f} "
            f"{row['idle_cpu_percent']:10.2f}  {' '.join(f'{value:.0f}' for value in added)}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build" / "release"))
    parser.add_argument("--starts", type=int, default=5, help="starts of each row (5)")
    parser.add_argument("--seconds", type=float, default=5, help="how long to watch it idle (5)")
    parser.add_argument("--frames", type=int, default=300, help="frames to time (300)")
    parser.add_argument("--ports", choices=("linux", "dpdk"), help="this kind of ports only")
    parser.add_argument("--hugepages", choices=("auto", "never"), help="this row only")
    parser.add_argument("--json", help="write the figures to this file as well")
    options = parser.parse_args()
    build = Build(pathlib.Path(options.build).resolve())
    missing = build.missing() + require_root_and_tools({"ip": "iproute2"})
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2
    stay_ahead()
    rows = []
    with Lab() as lab:
        nodes = tuple(lab.namespace(name) for name in ("source", "host", "sink"))
        lab.wire(nodes[0], "eth0", nodes[1], "in0")
        lab.wire(nodes[2], "eth0", nodes[1], "out0")
        for ports in (options.ports,) if options.ports else ("linux", "dpdk"):
            for hugepages in (options.hugepages,) if options.hugepages else ("never", "auto"):
                row = {"ports": ports, "hugepages": hugepages}
                rows.append(measure(lab, nodes, build, options, row))
    show(rows)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
