# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs rows: starts the programs, checks what they send, lets them take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from netlab.daemon import Build
from netlab.lab import Lab, LabError, require_root_and_tools

from peerbench import gate, machine, traffic
from peerbench.culvert import Culvert
from peerbench.ovs import Ovs, Refused
from peerbench.report import Report
from peerbench.results import RowResult, SystemResult, order_of_round, row_lines
from peerbench.rows import Row, make_row
from peerbench.systems import Place, System, capture_devices, replay_devices
from peerbench.testpmd import Testpmd, TestpmdIo
from peerbench.timing import Pace, calibrate, take_turn

SYSTEMS: dict[str, type[System]] = {one.name: one for one in (Culvert, Ovs, Testpmd, TestpmdIo)}
TITLES = {name: one.title for name, one in SYSTEMS.items()}
_TOOLS = {
    "culvert": {},
    "ovs": {"ovs-vsctl": "openvswitch-switch", "ovsdb-tool": "openvswitch-common"},
    "testpmd": {"dpdk-testpmd": "dpdk-dev"},
    "testpmd-io": {"dpdk-testpmd": "dpdk-dev"},
}
_OVS = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
# How long tables need to fill, by program, where each pair of MAC addresses is an entry.
_FILL_S = {300: {"ovs": 12.0, "culvert": 3.0}, 1000: {"ovs": 15.0, "culvert": 10.0}}
_GATE_RATE = 20_000
_GATE_PACKETS = 200
_CHECKED_MACS = 30  # A thousand flows, or these, are enough to check.


@dataclasses.dataclass(frozen=True)
class Setting:
    build: pathlib.Path
    tools: pathlib.Path  # Where net_replay.so and calibrate are.
    systems: list[str]
    forward_cpu: int
    control_cpu: int
    hugepages: bool
    runs: int
    pace: Pace
    check: bool
    lock: str | None


def missing(
    build: pathlib.Path,
    tools: pathlib.Path,
    systems: list[str],
    allowed: list[int],
    forward: int,
    control: int,
) -> list[str]:
    """One sentence for each thing that stands in the way."""
    programs = {"ip": "iproute2", "taskset": "util-linux"}
    found = [f'There is no system "{s}"; there are {", ".join(SYSTEMS)}.' for s in systems if s not in SYSTEMS]
    for name in systems:
        programs.update(_TOOLS.get(name, {}))
    found += require_root_and_tools(programs)
    if "ovs" in systems and not os.access(_OVS, os.X_OK):
        found.append(f"{_OVS} is missing; Debian has it in package openvswitch-switch-dpdk.")
    found += Build(build).missing()
    for name in ("net_replay.so", "calibrate"):
        if not (tools / name).exists():
            found.append(f"{tools / name} is missing: build it first.")
    for cpu in (forward, control):
        if cpu not in allowed:
            found.append(f"CPU {cpu} is not one of those that may be used: {allowed}.")
    if forward == control:
        found.append("One CPU forwards and another does the rest, so two are needed.")
    return found


@contextlib.contextmanager
def _locked(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _installed_plugin(tools: pathlib.Path) -> Iterator[pathlib.Path]:
    """DPDK loads no plugin from below a folder that everybody may write to, as a build may be."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-peers-", dir="/run"))
    try:
        yield pathlib.Path(shutil.copy(tools / "net_replay.so", folder))
    finally:
        shutil.rmtree(folder)


def measure(setting: Setting, rows: list[Row]) -> Report:
    os.sched_setaffinity(0, {setting.control_cpu})
    report = Report(machine.facts(), TITLES)
    with _installed_plugin(setting.tools) as plugin, machine.hugepages(setting.hugepages) as huge:
        place = Place(setting.build, setting.tools, plugin, setting.forward_cpu, setting.control_cpu, huge)
        report.facts["hugepages"] = "2 MiB hugepages" if huge else "no hugepages"
        checked: set[Row] = set()
        for number, row in enumerate(rows, 1):
            systems = [name for name in setting.systems if SYSTEMS[name].can(row)]
            with _locked(setting.lock), Lab() as lab:
                begin = time.monotonic()
                try:
                    result = _measure_row(lab, place, setting, row, systems, checked)
                except (LabError, gate.WrongOutput, Refused, OSError) as error:
                    report.failures[row.name] = f"{error}\n{lab.report()}"
                    print(f"{row.name:28} FAILED: {error}", flush=True)
                    continue
            report.rows.append(result)
            print("\n".join(row_lines(result, TITLES)))
            print(f"[{number}/{len(rows)}, {time.monotonic() - begin:.1f} s]", flush=True)
    return report


def _measure_row(
    lab: Lab,
    place: Place,
    setting: Setting,
    row: Row,
    names: list[str],
    checked: set[Row],
) -> RowResult:
    frames = lab.directory / "traffic.frames"
    traffic.write(frames, row.traffic)
    small = make_row(row.work, macs=_CHECKED_MACS * row.by_mac)
    if setting.check and small not in checked:
        for name in names:
            _check(lab, place, small, name)
        checked.add(small)
    tsc_hz, _ = calibrate(place)
    result = RowResult(
        row.name, row.work, str(row.traffic.size), row.flows, row.traffic.macs, tsc_hz
    )
    systems = {name: SYSTEMS[name](lab, place, name) for name in names}
    try:
        for name, system in systems.items():
            system.start(row, replay_devices(frames))
            time.sleep(_FILL_S.get(row.traffic.macs, {}).get(name, 0.1))
            system.suspend()
            result.systems[name] = SystemResult()
        for number in range(setting.runs):
            for name in order_of_round(names, number):
                result.systems[name].turns.append(take_turn(systems[name], place, setting.pace))
        for name, system in systems.items():
            system.resume()
            result.systems[name].memory_mb = system.memory_mb()
            result.systems[name].troubles = system.troubles()
            system.stop()
    finally:
        for system in systems.values():
            if system.stopped:  # One that stands still could not be asked what went wrong.
                system.resume()
    return result


def _check(lab: Lab, place: Place, row: Row, name: str) -> None:
    """Nobody is measured whose packets are wrong, or do not come."""
    frames = lab.directory / "check.frames"
    traffic.write(frames, row.traffic)
    capture = lab.directory / f"{name}.pcap"
    system = SYSTEMS[name](lab, place, f"check-{name}")
    try:
        system.start(row, capture_devices(frames, capture, _GATE_RATE))
        system.wait(lambda: system.sent() >= _GATE_PACKETS, f"{system.title} sends")
    finally:
        system.stop()
    gate.check(row, name, traffic.read(frames, row.flows), gate.read_capture(capture))
