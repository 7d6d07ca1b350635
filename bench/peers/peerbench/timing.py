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
_COUNT_ATTEMPTS = 4
_HOPELESS_WINDOWS = 6  # All dirty: the program itself makes its thread wait.


@dataclasses.dataclass(frozen=True)
class Counters:
    """Packets that were taken from the source and that reached the sink, since the start."""

    received: int
    sent: int


@dataclasses.dataclass(frozen=True)
class Window:
    seconds: float
    sent: int
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
    clean: int
    dirty: int
    calibration: float
    begin: Counters
    end: Counters

    @staticmethod
    def of(windows: list[Window], calibration: float, begin: Counters, end: Counters) -> Turn:
        clean = [window for window in windows if window.clean]
        # Better a doubtful figure that is marked (clean = 0) than none.
        used = clean or windows
        return Turn(
            mpps=statistics.median(window.mpps for window in used),
            clean=len(clean),
            dirty=len(windows) - len(clean),
            calibration=calibration,
            begin=begin,
            end=end,
        )


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long to look."""

    window_s: float = 0.2
    windows: int = 3
    settle_s: float = 0.15


def wants_more(windows: list[Window], wanted: int) -> bool:
    """Whether another window is worth its time."""
    clean = sum(window.clean for window in windows)
    if clean == 0 and len(windows) >= _HOPELESS_WINDOWS:
        return False
    return clean < wanted and len(windows) < wanted + _EXTRA_WINDOWS


def calibrate(place: Place) -> tuple[float, float]:
    """Rate of the time-stamp counter in Hz, and cycles of one round of arithmetic."""
    program = place.tools / "calibrate"
    words = run(["taskset", "-c", str(place.forward_cpu), program]).stdout.split()
    return float(words[0]), float(words[1])


def _waited_ns(system: System, thread: int) -> int:
    assert system.process is not None
    path = pathlib.Path(f"/proc/{system.process.pid}/task/{thread}/schedstat")
    return int(path.read_text(encoding="ascii").split()[1])


def count(system: System) -> Counters:
    """One counter between two readings of the other, of several attempts the one nearest in time."""
    readings = []
    for _ in range(_COUNT_ATTEMPTS):
        before, sent, after = system.received(), system.sent(), system.received()
        readings.append((after - before, (before + after) // 2, sent))
    _, received, sent = min(readings)
    return Counters(received, sent)


def look(system: System, thread: int, seconds: float) -> Window:
    """The counters are read from outside, so the time is that of the answers."""
    begin = time.monotonic_ns()
    waited, sent = _waited_ns(system, thread), system.sent()
    begin = (begin + time.monotonic_ns()) / 2
    time.sleep(seconds)
    end = time.monotonic_ns()
    waited = _waited_ns(system, thread) - waited
    sent = system.sent() - sent
    end = (end + time.monotonic_ns()) / 2
    return Window((end - begin) / 1e9, sent, waited / (end - begin))


def take_turn(system: System, place: Place, pace: Pace) -> Turn:
    """Wakes the program, lets its caches fill, measures, and puts it to rest."""
    _, calibration = calibrate(place)
    system.resume()
    try:
        time.sleep(pace.settle_s)
        thread = system.forwarding_thread()
        begin = count(system)
        windows: list[Window] = []
        while wants_more(windows, pace.windows):
            windows.append(look(system, thread, pace.window_s))
        end = count(system)
    finally:
        system.suspend()
    return Turn.of(windows, calibration, begin, end)
