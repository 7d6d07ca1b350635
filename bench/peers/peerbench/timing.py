# SPDX-License-Identifier: GPL-2.0-or-later
"""One turn of one program: windows of time, and what was forwarded in each."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import time

from netlab.lab import run

from peerbench.systems import Place, System

# A window in which the forwarding thread waited longer for its CPU says nothing about the program.
WAITED_MAX = 0.015
_EXTRA_WINDOWS = 6


@dataclasses.dataclass(frozen=True)
class Window:
    seconds: float
    sent: int
    received: int
    waited: float  # Share of the time in which the thread could have run and had no CPU.

    @property
    def mpps(self) -> float:
        return self.sent / self.seconds / 1e6

    @property
    def clean(self) -> bool:
        return self.waited <= WAITED_MAX


@dataclasses.dataclass(frozen=True)
class Turn:
    mpps: float
    loss: float  # Share of the received packets that were not sent.
    clean: int
    dirty: int
    calibration: float

    @staticmethod
    def of(windows: list[Window], calibration: float) -> Turn:
        clean = [window for window in windows if window.clean]
        # Better a doubtful figure that is marked (clean = 0) than none.
        used = clean or windows
        received = sum(window.received for window in used)
        sent = sum(window.sent for window in used)
        return Turn(
            mpps=statistics.median(window.mpps for window in used),
            loss=max(0.0, 1 - sent / received) if received else 0.0,
            clean=len(clean),
            dirty=len(windows) - len(clean),
            calibration=calibration,
        )


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long to look."""

    window_s: float = 0.2
    windows: int = 3
    settle_s: float = 0.15


def calibrate(place: Place) -> tuple[float, float]:
    """Rate of the time-stamp counter in Hz, and cycles of one round of arithmetic."""
    program = place.tools / "calibrate"
    words = run(["taskset", "-c", str(place.forward_cpu), program]).stdout.split()
    return float(words[0]), float(words[1])


def _waited_ns(system: System, thread: int) -> int:
    assert system.process is not None
    path = pathlib.Path(f"/proc/{system.process.pid}/task/{thread}/schedstat")
    return int(path.read_text(encoding="ascii").split()[1])


def look(system: System, thread: int, seconds: float) -> Window:
    """The counters are read from outside, so the time is that of the answers."""
    begin = time.monotonic_ns()
    received, waited, sent = system.received(), _waited_ns(system, thread), system.sent()
    begin = (begin + time.monotonic_ns()) / 2
    time.sleep(seconds)
    end = time.monotonic_ns()
    received = system.received() - received
    waited = _waited_ns(system, thread) - waited
    sent = system.sent() - sent
    end = (end + time.monotonic_ns()) / 2
    return Window((end - begin) / 1e9, sent, received, waited / (end - begin))


def take_turn(system: System, place: Place, pace: Pace) -> Turn:
    """Wakes the program, lets its caches fill, measures, and puts it to rest."""
    _, calibration = calibrate(place)
    system.resume()
    try:
        time.sleep(pace.settle_s)
        thread = system.forwarding_thread()
        windows: list[Window] = []
        clean = 0
        while clean < pace.windows and len(windows) < pace.windows + _EXTRA_WINDOWS:
            windows.append(look(system, thread, pace.window_s))
            clean += windows[-1].clean
    finally:
        system.suspend()
    return Turn.of(windows, calibration)
