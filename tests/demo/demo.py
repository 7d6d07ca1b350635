#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Shows Culvert at work: two virtual machines talk through tunnels, and the kernel is a peer.

Needs root, and leaves nothing behind, also when interrupted. Exit code: 0 when every row passed, 1
when one did not, 2 when the demo cannot run here, 128 + signal when interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from netlab.daemon import Build, Culvertd  # noqa: E402  (the path is set above)
from netlab.lab import Interrupted, Lab, LabError, Namespace, require_root_and_tools  # noqa: E402
from netlab.measure import MBITS_MIN, iperf, ping  # noqa: E402
from netlab.peers import KernelVxlanPeer  # noqa: E402
from netlab.topology import UNDERLAY_MTU, Host, tunnel_pair  # noqa: E402

TOOLS = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "iperf3": "iperf3",
}
PINGS = 20
PING_INTERVAL_S = 0.05
IPERF_SECONDS = 2
# Drops that say nothing about the row's traffic: multicast that concerns nobody, and what TCP does
# to a full queue. Any other reason means that a good packet was taken for a bad one.
EXPECTED_DROPS = {"no_destination", "link_local_multicast", "tx_failed", "no_buffer"}

PICTURE = f"""\
   VM                 host h1                    wire                  host h2            VM
  ┌──────┐  veth  ┌──────────────┐         MTU {UNDERLAY_MTU}         ┌──────────────┐  veth  ┌──────┐
  │ eth0 ├────────┤ br0 ─ tunnel │                          │ tunnel ─ br0 ├────────┤ eth0 │
  └──────┘        │         │    │      GRE or VXLAN        │    │         │        └──────┘
  10.0.0.1        │      br-phy ─┼─ eth0 ──────────── eth0 ─┼─ br-phy      │        10.0.0.2
  fd10::1         │  172.20.0.1  │                          │  172.20.0.2  │        fd10::2
                  │  fd20::1     │                          │  fd20::2     │
                  └──────────────┘                          └──────────────┘
  Each box is a network namespace. One culvertd runs in each host; in the rows that say "kernel", h2
  is a namespace whose kernel ends the VXLAN tunnel itself. Offloads are as the kernel sets them.
"""


@dataclasses.dataclass
class Row:
    """One line of the table."""

    tunnel: str
    peers: str
    family: int
    loss_percent: float = math.nan
    first_answered: bool = False
    rtt_ms: float = math.nan
    forward_mbits: float = 0.0
    backward_mbits: float = 0.0
    vm_mtu: int = 0
    drops: dict[str, int] = dataclasses.field(default_factory=dict)
    error: str = ""

    @property
    def passed(self) -> bool:
        answered = self.first_answered and self.loss_percent == 0
        fast = min(self.forward_mbits, self.backward_mbits) >= MBITS_MIN
        return not self.error and answered and fast and self.drops.keys() <= EXPECTED_DROPS

    def cells(self) -> list[str]:
        def number(value: float, digits: int) -> str:
            return "-" if math.isnan(value) else f"{value:.{digits}f}"

        drops = ", ".join(f"{name} {count}" for name, count in sorted(self.drops.items()))
        return [
            self.tunnel,
            self.peers,
            f"IPv{self.family}",
            number(self.loss_percent, 0),
            "yes" if self.first_answered else "no",
            number(self.rtt_ms, 2),
            number(self.forward_mbits, 0),
            number(self.backward_mbits, 0),
            str(self.vm_mtu),
            drops or "none",
            "PASS" if self.passed else "FAIL",
        ]


HEADINGS = [
    "tunnel",
    "peers",
    "underlay",
    "loss %",
    "first ping",
    "RTT ms",
    "Mbit/s ->",
    "<- Mbit/s",
    "VM MTU",
    "drops",
    "result",
]


def table(rows: list[Row]) -> str:
    """Rows under their headings, numbers to the right."""
    lines = [HEADINGS] + [row.cells() for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    right = range(3, 9)
    text = []
    for line in lines:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def measure(row: Row, near: Namespace, far: Namespace, target: str) -> None:
    """The very first packet counts: nothing warms up the tunnel before it."""
    row.vm_mtu = near.mtu("eth0")
    pings = ping(near, target, PINGS, PING_INTERVAL_S)
    row.loss_percent = pings.loss_percent
    row.first_answered = pings.first_answered
    row.rtt_ms = pings.rtt_average_ms
    if pings.received == 0:
        row.error = f"{target} did not answer {near.name}"
        return
    row.forward_mbits = iperf(near, far, target, IPERF_SECONDS)
    row.backward_mbits = iperf(near, far, target, IPERF_SECONDS, reverse=True)


def add_drops(row: Row, daemons: list[Culvertd]) -> None:
    for daemon in daemons:
        for reason, count in daemon.drops().items():
            row.drops[reason] = row.drops.get(reason, 0) + count


def run_culvert_pair(lab: Lab, build: Build, row: Row) -> None:
    hosts = tunnel_pair(lab, build, row.tunnel, row.family)
    near, far = (host.vms[0] for host in hosts)
    measure(row, near.ns, far.ns, far.address(row.family))
    add_drops(row, [host.daemon for host in hosts])
    stop([host.daemon for host in hosts])


def run_kernel_peer(lab: Lab, build: Build, row: Row) -> None:
    host, peer = Host(lab, build, 1), KernelVxlanPeer(lab, 2)
    lab.wire(host.ns, "eth0", peer.ns, "eth0", mtu=UNDERLAY_MTU)
    peer.configure_uplink()
    peer.add_vxlan(host.underlay(row.family), row.family)
    vm = host.add_vm(1)
    host.add_tunnel("t0", row.tunnel, peer.underlay(row.family))
    host.start()
    measure(row, vm.ns, peer.ns, peer.address(row.family))
    add_drops(row, [host.daemon])
    stop([host.daemon])


def stop(daemons: list[Culvertd]) -> None:
    for daemon in daemons:
        code = daemon.stop()
        if code != 0:
            raise LabError(f"{daemon.name} ended with {code}: {daemon.log().strip()}")


def run_row(build: Build, row: Row) -> None:
    with Lab() as lab:
        try:
            if row.peers == "culvert - kernel":
                run_kernel_peer(lab, build, row)
            else:
                run_culvert_pair(lab, build, row)
        except LabError as error:
            row.error = str(error)
        if not row.passed:
            report = lab.report()
            print(f"\n{row.tunnel} IPv{row.family} failed. {row.error}\n{report}", file=sys.stderr)


def run_all(build: Build) -> int:
    rows = [
        Row(tunnel, peers, family)
        for tunnel, peers in (
            ("gre", "culvert - culvert"),
            ("vxlan", "culvert - culvert"),
            ("vxlan", "culvert - kernel"),
        )
        for family in (4, 6)
    ]
    print(PICTURE, flush=True)
    started = time.monotonic()
    for number, row in enumerate(rows, 1):
        print(
            f"[{number}/{len(rows)}] {row.tunnel} over IPv{row.family}, {row.peers} ...", flush=True
        )
        run_row(build, row)
    print(f"\n{table(rows)}\n")
    passed = sum(row.passed for row in rows)
    seconds = time.monotonic() - started
    print(f"{passed} of {len(rows)} rows passed, {seconds:.0f} s.")
    return 0 if passed == len(rows) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows Culvert's tunnels at work.")
    parser.add_argument(
        "--build",
        type=pathlib.Path,
        default=ROOT / "build" / "release",
        help="build directory (default: build/release)",
    )
    build = Build(parser.parse_args().build.resolve())
    missing = require_root_and_tools(TOOLS) + build.missing()
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(number)

    # A background job of a shell is started with SIGINT ignored; the demo can always be interrupted.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        return run_all(build)
    except Interrupted as interruption:
        print("\nInterrupted; everything the demo had made is removed.", file=sys.stderr)
        return 128 + interruption.number


if __name__ == "__main__":
    sys.exit(main())
