# SPDX-License-Identifier: GPL-2.0-or-later
"""What came out of a row, and the arithmetic of it. No devices, no processes: values only."""

from __future__ import annotations

import dataclasses
import statistics

from peerbench.timing import Turn

CULVERT = "culvert"
RIVAL = "ovs"
CEILING = "testpmd"


@dataclasses.dataclass
class SystemResult:
    """One program in one row: a turn of each round."""

    turns: list[Turn] = dataclasses.field(default_factory=list)
    memory_mb: float = 0.0
    troubles: str = ""

    @property
    def rates(self) -> list[float]:
        return [turn.mpps for turn in self.turns]

    @property
    def mpps(self) -> float:
        return statistics.median(self.rates)

    @property
    def least(self) -> float:
        return min(self.rates)

    @property
    def most(self) -> float:
        return max(self.rates)

    @property
    def loss(self) -> float:
        """Share of the packets that were taken and not sent, from the first turn to the last: the two
        counters are not read at the same time, which in one window would look like a loss."""
        received = self.turns[-1].end.received - self.turns[0].begin.received
        sent = self.turns[-1].end.sent - self.turns[0].begin.sent
        return max(0.0, 1 - sent / received) if received else 0.0

    @property
    def clean(self) -> int:
        return sum(turn.clean for turn in self.turns)

    @property
    def dirty(self) -> int:
        return sum(turn.dirty for turn in self.turns)

    def cycles(self, tsc_hz: float) -> float:
        return tsc_hz / (self.mpps * 1e6) if self.mpps else float("inf")


@dataclasses.dataclass
class RowResult:
    name: str
    work: str
    size: str
    flows: int
    macs: int
    tsc_hz: float
    systems: dict[str, SystemResult] = dataclasses.field(default_factory=dict)

    @property
    def calibration(self) -> tuple[float, float, float]:
        """Least, median and most."""
        seen = [turn.calibration for result in self.systems.values() for turn in result.turns]
        return min(seen), statistics.median(seen), max(seen)

    def ratio(self, ours: str, theirs: str) -> float | None:
        """Round by round, since the machine changes between rounds more than within one."""
        if ours not in self.systems or theirs not in self.systems:
            return None
        pairs = zip(self.systems[ours].rates, self.systems[theirs].rates)
        ratios = [a / b for a, b in pairs if b > 0]
        return statistics.median(ratios) if ratios else None


def order_of_round(names: list[str], number: int) -> list[str]:
    """A B C, C B A, A B C: no program always follows the same other one."""
    return names if number % 2 == 0 else names[::-1]


def as_json(result: RowResult) -> dict:
    least, middle, most = result.calibration
    return {
        "row": result.name,
        "work": result.work,
        "size": result.size,
        "flows": result.flows,
        "macs": result.macs,
        "calibration": {"min": least, "median": middle, "max": most},
        "ratio_to_ovs": result.ratio(CULVERT, RIVAL),
        "ratio_to_testpmd": result.ratio(CULVERT, CEILING),
        "systems": {
            name: {
                "mpps": {"median": one.mpps, "min": one.least, "max": one.most},
                "cycles_per_packet": one.cycles(result.tsc_hz),
                "loss": one.loss,
                "clean_windows": one.clean,
                "dirty_windows": one.dirty,
                "memory_mb": one.memory_mb,
                "troubles": one.troubles,
                "turns": [dataclasses.asdict(turn) for turn in one.turns],
            }
            for name, one in result.systems.items()
        },
    }


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def row_lines(result: RowResult, titles: dict[str, str]) -> list[str]:
    """For the terminal: one line a program."""
    lines = []
    for name, one in result.systems.items():
        ratio = "" if name == CULVERT else f"  Culvert x {_number(result.ratio(CULVERT, name), 2)}"
        loss = f"  LOSS {one.loss:.1%}" if one.loss > 0.001 else ""
        doubt = f"  dirty {one.dirty}/{one.clean + one.dirty}" if one.dirty else ""
        lines.append(
            f"{result.name:28} {titles[name]:12} {one.mpps:7.2f} Mpps "
            f"({one.least:.2f} - {one.most:.2f}) {one.cycles(result.tsc_hz):7.1f} cycles"
            f"{ratio}{loss}{doubt}"
        )
    least, middle, most = result.calibration
    lines.append(f"{result.name:28} calib {middle:.2f} ({least:.2f} - {most:.2f})")
    return lines
