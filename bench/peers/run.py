#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures Culvert beside OVS-DPDK and testpmd on the same work, in turns. README.md says how.

  run.py                                    the matrix of docs/benchmarks.md, ten minutes
  run.py --row vxlan-encap --flows 1000     one row
  run.py --smoke                            whether it still works; its figures mean nothing
"""

import argparse
import json
import os
import pathlib
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "peers"), str(ROOT / "tests")]

# pylint: disable=wrong-import-position
from peerbench import harness, rows  # noqa: E402
from peerbench.timing import Pace  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", default="build/release", help="build folder (%(default)s)")
    parser.add_argument("--tools", help="build folder of net_replay.so, where it is another one")
    parser.add_argument("--row", action="append", choices=rows.works(), help="this work; repeatable")
    parser.add_argument("--flows", default="1000", help="with --row: inner 5-tuples, list (%(default)s)")
    parser.add_argument("--size", default="64", help="with --row: bytes or imix, list (%(default)s)")
    parser.add_argument("--macs", type=int, help="with --row: pairs of so many MAC addresses each way")
    parser.add_argument("--systems", default="culvert,ovs,testpmd",
                        help=f"of {','.join(harness.SYSTEMS)} (%(default)s)")  # fmt: skip
    parser.add_argument("--runs", type=int, default=5, help="turns of each program (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.6, help="of one turn (%(default)s)")
    parser.add_argument("--full", action="store_true", help="every size with every number of flows")
    parser.add_argument("--smoke", action="store_true", help="one short row, checked and not judged")
    parser.add_argument("--cpu", type=int, help="the forwarding CPU (the last one)")
    parser.add_argument("--control-cpu", type=int, help="for everything else (the first one)")
    parser.add_argument("--no-check", action="store_true", help="leave out the look at what comes out")
    parser.add_argument("--no-hugepages", action="store_true", help="use none, in any program")
    parser.add_argument("--lock", help="hold this file's lock (flock) during each row")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plot")
    return parser.parse_args()


def chosen_rows(options):
    if options.smoke:
        return [rows.make_row("vxlan-encap", flows=1000)]
    if not options.row:
        return rows.full_matrix() if options.full else rows.default_matrix()
    if options.macs:
        return [rows.make_row(work, macs=options.macs) for work in options.row]
    return [
        rows.make_row(work, size if size == "imix" else int(size), int(flows))
        for work in options.row
        for size in options.size.split(",")
        for flows in options.flows.split(",")
    ]


def main():
    options = parse_arguments()
    allowed = sorted(os.sched_getaffinity(0))
    forward = options.cpu if options.cpu is not None else allowed[-1]
    control = options.control_cpu if options.control_cpu is not None else allowed[0]
    build = (ROOT / options.build).resolve()
    pace = Pace(windows=3, window_s=options.seconds / 3)
    tools = (ROOT / (options.tools or options.build)).resolve() / "bench" / "peers"
    missing = harness.missing(build, tools, options.systems.split(","), allowed, forward, control)
    if missing:
        sys.exit("\n".join(missing))
    setting = harness.Setting(
        build=build,
        tools=tools,
        systems=options.systems.split(","),
        forward_cpu=forward,
        control_cpu=control,
        hugepages=not options.no_hugepages,
        runs=2 if options.smoke else options.runs,
        pace=Pace(windows=1, window_s=0.2) if options.smoke else pace,
        check=not options.no_check,
        lock=options.lock,
    )
    # So that what was made is removed: the plugin's folder, hugepages.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    report = harness.measure(setting, chosen_rows(options))
    folder = build.parent / "bench" if build.parent.name == "build" else build
    folder.mkdir(exist_ok=True)
    path = folder / "peers.json"
    path.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    print(f"peers: all of it is in {path}")
    if options.write:
        report.write_documents(ROOT / "docs")
    sys.exit(report.status())


if __name__ == "__main__":
    main()
