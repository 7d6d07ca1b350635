# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine: what it is, and its hugepages."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterator

_PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
_NEEDED_MB = 1024  # Of all three programs together: Open vSwitch 512, testpmd 64, Culvert about 100.
_PAGE_MB = 2


def _read(path: pathlib.Path) -> int:
    return int(path.read_text(encoding="ascii"))


@contextlib.contextmanager
def hugepages(wanted: bool) -> Iterator[bool]:
    """Whether there are enough; those that are missing are asked for and given back at the end."""
    if not wanted or not _PAGES.exists():
        yield False
        return
    before = _read(_PAGES / "nr_hugepages")
    free = _read(_PAGES / "free_hugepages")
    raised = before + max(0, _NEEDED_MB // _PAGE_MB - free)
    if raised != before:
        (_PAGES / "nr_hugepages").write_text(str(raised), encoding="ascii")
    try:
        yield _read(_PAGES / "free_hugepages") * _PAGE_MB >= _NEEDED_MB
    finally:
        # Somebody else may have asked for more meanwhile.
        if raised != before and _read(_PAGES / "nr_hugepages") == raised:
            (_PAGES / "nr_hugepages").write_text(str(before), encoding="ascii")


def _version(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    return (done.stdout + done.stderr).strip().splitlines()[0]


def _package(name: str) -> str:
    return _version("dpkg-query", "-W", "-f=${Version}", name).partition("-")[0].partition("+")[0]


def facts() -> dict[str, str]:
    cpu = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    cache = pathlib.Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    return {
        "cpu": cpu.get("model name", "unknown"),
        "model": f"family {cpu.get('cpu family')}, model {cpu.get('model')}",
        "virtual": "a virtual machine" if "hypervisor" in cpu.get("flags", "") else "no virtual machine",
        "cpus": str(os.cpu_count()),
        "l2": cache.read_text(encoding="ascii").strip().replace("K", " KiB") if cache.exists() else "unknown",
        "kernel": platform.release(),
        "dpdk": _package("libdpdk-dev"),
        "ovs": _package("openvswitch-switch-dpdk"),
        "compiler": _version("c++", "-dumpfullversion"),
    }
