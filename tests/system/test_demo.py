# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo passes, says what it lacks, and leaves nothing behind. Its topology is in demo.py."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from netlab.daemon import Build

DEMO = pathlib.Path(__file__).resolve().parents[1] / "demo" / "demo.py"


@contextlib.contextmanager
def running_demo(build: Build):
    with subprocess.Popen(
        [sys.executable, "-u", str(DEMO), "--build", str(build.directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def leftovers(pid: int) -> list[str]:
    """Namespaces, folders and processes that carry the name of that demo's runs."""
    prefix = f"cv{pid:x}"
    found = [name for name in os.listdir("/run/netns") if name.startswith(prefix)]
    found += [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(prefix)]
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if prefix.encode() in command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.mark.timeout(150)
def test_every_row_of_the_demo_passes(build: Build) -> None:
    with running_demo(build) as process:
        output = process.stdout.read()
        assert process.wait() == 0, output
    rows = [line for line in output.splitlines() if line.endswith(("PASS", "FAIL"))]
    assert len(rows) == 6 and all(row.endswith("PASS") for row in rows), output
    assert leftovers(process.pid) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(
    build: Build, number: signal.Signals, delay_s: float
) -> None:
    with running_demo(build) as process:
        while "[1/6]" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(delay_s)  # Chooses the moment of the interruption.
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(20) == 128 + number
    assert leftovers(process.pid) == []


def test_the_demo_says_what_it_lacks(build: Build, tmp_path: pathlib.Path) -> None:
    def run_demo(build_directory: pathlib.Path, path: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(DEMO), "--build", str(build_directory)],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    without_build = run_demo(tmp_path, os.environ["PATH"])
    assert without_build.returncode == 2
    assert f"{tmp_path}/ctl/culvertd is missing" in without_build.stderr
    without_tools = run_demo(build.directory, str(tmp_path))
    assert without_tools.returncode == 2
    assert "'iperf3' is missing" in without_tools.stderr
