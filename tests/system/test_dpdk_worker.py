# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker of the whole daemon, busy with DPDK ports: it does not enter the kernel for its packets.

    A ─ p0 ┤br0├ p1 ─ B      two files of frames, each from one to the other, read over and over

tests/cost/ looks at the worker alone and more closely; here nothing is set up but by configuration.
"""

from __future__ import annotations

import pathlib
import re
import signal
import struct

import pytest

from netlab.config import Config
from netlab.daemon import Build, Culvertd
from netlab.frames import frame
from netlab.lab import Lab, wait_until

A = "02:aa:00:00:00:01"
B = "02:aa:00:00:00:02"
PACKETS = 1_000_000


def write_pcap(path: pathlib.Path, frames: list[bytes]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            file.write(struct.pack("=IIII", 0, 0, len(data), len(data)) + data)


def worker_thread(daemon: Culvertd) -> int:
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        if (task / "comm").read_text(encoding="ascii").strip() == "culvert-w0":
            return int(task.name)
    raise AssertionError("the daemon has no thread culvert-w0")


@pytest.fixture
def daemon(lab: Lab, build: Build) -> Culvertd:
    config = Config()
    config.bridge("br0", local={"addresses": ["192.0.2.1/24"]})
    for name, source, destination in (("p0", A, B), ("p1", B, A)):
        path = lab.directory / f"{name}.pcap"
        write_pcap(path, [frame(source, destination, b"culvert" * 6)] * 32)
        devargs = f"net_pcap_{name},rx_pcap={path},infinite_rx=1"
        config.port(name, "br0", kind="dpdk", devargs=devargs)
    host = lab.namespace("h1")
    # Its kernel would send reports of multicast listeners by br0, which the worker then reads.
    host.set_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
    return Culvertd(host, build, config).start()


def forwarded(daemon: Culvertd) -> int:
    return sum(
        row["tx_packets"] for row in daemon.ctl_json("counters") if row["port"] in ("p0", "p1")
    )


def test_a_busy_worker_makes_next_to_no_system_calls(lab: Lab, daemon: Culvertd) -> None:
    wait_until(lambda: forwarded(daemon) > PACKETS, "packets are forwarded", 30)
    log = lab.directory / "strace"
    strace = lab.spawn(["strace", "-o", str(log), "-p", str(worker_thread(daemon))], "strace")
    wait_until(lambda: "attached" in strace.output(), "strace watches the worker")
    calls_before, packets_before = len(log.read_text().splitlines()), forwarded(daemon)
    wait_until(lambda: forwarded(daemon) > packets_before + PACKETS, "packets are forwarded", 60)
    calls = log.read_text().splitlines()[calls_before:]
    packets = forwarded(daemon) - packets_before
    strace.send_signal(signal.SIGINT)
    strace.wait()
    # What is left looks after the bridge's local port, which is the kernel's: once in 16 rounds, that
    # is once for 16 bursts of each of the two ports.
    assert all(re.match(r"epoll_(p?wait2?)\(", call) for call in calls), calls[:20]
    assert len(calls) <= packets / 500, (len(calls), packets)
