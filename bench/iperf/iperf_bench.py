#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""iperf3 TCP through a tunnel between two virtual machines: Culvert, Open vSwitch's userspace
datapath and the kernel's own tunnel device, in the same topology and in one run; encrypted, beside
strongSwan's userland ESP.

All switches stand at the same time; each round measures each of them once in each direction, so that
a slow minute of the machine meets all. Printed are median, minimum and maximum over rounds and
directions, and the ratios that count. Needs root, iperf3, openvswitch-switch and ethtool.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

# pylint: disable=wrong-import-position
from netlab import charon  # noqa: E402
from netlab.daemon import Build  # noqa: E402
from netlab.lab import Lab, LabError, require_root_and_tools  # noqa: E402
from netlab.measure import iperf  # noqa: E402
from netlab.peers import OVS_TOOLS  # noqa: E402
from netlab.topology import vm_address  # noqa: E402

import switches  # noqa: E402

# Numerator, denominator, what is asked of it (None: only shown).
RATIOS = (
    ("culvert/vxlan", "ovs-userspace/vxlan", 4.0),
    ("culvert/vxlan", "kernel/vxlan", 0.3),
    ("culvert/gre", "ovs-userspace/gre", 4.0),
    ("culvert/gre over esp", "strongswan/libipsec", 2.0),
)
BEGIN = "<!-- bench/iperf begin -->"
END = "<!-- bench/iperf end -->"


@dataclasses.dataclass
class Result:
    name: str
    gbits: list[float] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.gbits)

    def cells(self) -> tuple[str, ...]:
        values = (self.median, min(self.gbits), max(self.gbits))
        return (self.name, *(f"{value:.2f}" for value in values))


def measure(build: Build, names: list[str], rounds: int, seconds: float, streams: int) -> list[Result]:
    results = [Result(name) for name in names]
    with contextlib.ExitStack() as stack:
        machines = {}
        for name in names:
            machines[name] = switches.start(stack.enter_context(Lab()), build, name)
        for number in range(rounds):
            # Every second round goes backwards, so that none always follows the same other.
            for result in results if number % 2 == 0 else reversed(results):
                client, server = machines[result.name]
                for reverse in (False, True):
                    mbits = iperf(
                        *(client, server, vm_address(2, 4), seconds, reverse), streams=streams
                    )
                    result.gbits.append(mbits / 1000)
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def ratios(results: list[Result]) -> list[tuple[str, str, float, float | None]]:
    medians = {result.name: result.median for result in results}
    return [
        (ours, theirs, medians[ours] / medians[theirs], wanted)
        for ours, theirs, wanted in RATIOS
        if ours in medians and theirs in medians
    ]


def table(results: list[Result], streams: int, rounds: int, seconds: float) -> list[str]:
    lines = [
        f"{rounds} interleaved rounds of {seconds:g} s in both directions, {streams} TCP stream"
        f"{'' if streams == 1 else 's'}; {os.cpu_count()} CPUs for all ends, Linux"
        f" {platform.release().split('-')[0]}. Gbit/s:",
        "",
        "| switch and tunnel | median | minimum | maximum |",
        "|---|---|---|---|",
        *("| " + " | ".join(result.cells()) + " |" for result in results),
        "",
        "| ratio of medians | is | aim |",
        "|---|---|---|",
    ]
    for ours, theirs, ratio, wanted in ratios(results):
        lines.append(f"| {ours} to {theirs} | {ratio:.2f} | {'-' if wanted is None else wanted} |")
    return lines


def write_section(path: pathlib.Path, lines: list[str]) -> None:
    """Replaces what stands between the markers."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LabError(f"{path} has no lines '{BEGIN}' and '{END}'")
    body = "\n".join(lines)
    path.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument(
        "--only", action="append", choices=list(switches.SWITCHES), help="may be repeated"
    )
    parser.add_argument("--json", type=pathlib.Path, help="write every single figure here")
    parser.add_argument("--document", type=pathlib.Path, help="rewrite the section of this page")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    build = Build(arguments.build)
    tools = {"iperf3": "iperf3", **OVS_TOOLS}
    missing = require_root_and_tools(tools) + build.missing() + charon.missing()
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 2
    names = arguments.only or list(switches.SWITCHES)
    shape = (arguments.rounds, arguments.seconds, arguments.streams)
    results = measure(build, names, *shape)
    lines = table(results, arguments.streams, arguments.rounds, arguments.seconds)
    print("\n".join(lines))
    if arguments.json:
        record = {
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "streams": arguments.streams,
            "gbits": {result.name: result.gbits for result in results},
            "ratios": {f"{a} / {b}": ratio for a, b, ratio, _ in ratios(results)},
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if arguments.document:
        write_section(arguments.document, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
