# SPDX-License-Identifier: GPL-2.0-or-later
"""All rows of a run, as JSON, as a section of docs/benchmarks.md, and as a plot."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess

from peerbench.results import CEILING, CULVERT, RIVAL, RowResult, SystemResult, as_json

BEGIN = "<!-- peers: begin (written by make bench-peers) -->"
END = "<!-- peers: end -->"
PLOT = "benchmarks-peers.svg"
PLOT_BYTES_MAX = 60_000
_PLOTTED = ("plain", "vxlan-encap", "vxlan-decap")
LOSS_SHOWN = 0.01


@dataclasses.dataclass
class Report:
    facts: dict[str, str]
    titles: dict[str, str]
    rows: list[RowResult] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict:
        return {
            "machine": self.facts,
            "rows": [as_json(row) for row in self.rows],
            "failures": self.failures,
        }

    def status(self) -> int:
        """Figures are for readers to judge; what fails is a row without them."""
        idle = [row.name for row in self.rows for one in row.systems.values() if one.mpps <= 0]
        return 1 if self.failures or idle or not self.rows else 0

    def section(self) -> str:
        parts = [self._machine(), self._table(), *self._notes()]
        if any(row.work in _PLOTTED for row in self.rows):
            parts.append(f"![Mpps over the number of flows, for each program]({PLOT})")
        return "\n\n".join(parts)

    def _machine(self) -> str:
        facts = self.facts
        least = min(row.calibration[0] for row in self.rows)
        middle = sorted(row.calibration[1] for row in self.rows)[len(self.rows) // 2]
        most = max(row.calibration[2] for row in self.rows)
        runs = min(len(one.turns) for row in self.rows for one in row.systems.values())
        return (
            f"{facts['cpu']} ({facts['model']}), {facts['virtual']} with {facts['cpus']} CPUs, "
            f"{facts['l2']} of second-level cache, time-stamp counter "
            f"{self.rows[0].tsc_hz / 1e9:.3f} GHz; Linux {facts['kernel']}, DPDK {facts['dpdk']}, "
            f"Open vSwitch {facts['ovs']} (Debian's), g++ {facts['compiler']}; {facts['hugepages']}. "
            f"Medians of {runs} interleaved runs, least and most in brackets. Arithmetic beside the "
            f"runs took {middle:.2f} cycles a round in the median, {least:.2f} at best and "
            f"{most:.2f} at worst."
        )

    def _table(self) -> str:
        names = [n for n in self.titles if any(n in row.systems for row in self.rows)]
        head = ["work", "bytes", "flows"]
        for name in names:
            head += [f"{self.titles[name]}, Mpps", "cycles"]
        head += [f"× {self.titles[n]}" for n in (RIVAL, CEILING) if n in names]
        lines = ["| " + " | ".join(head) + " |", "|---|--:|--:" + "|--:" * (len(head) - 3) + "|"]
        for row in self.rows:
            cells = [row.work.replace("-", " "), row.size, _flows(row)]
            for name in names:
                cells += _cells(row.systems.get(name), row.tsc_hz)
            for other in (RIVAL, CEILING):
                if other in names:
                    ratio = row.ratio(CULVERT, other)
                    cells.append("–" if ratio is None else f"{ratio:.2f}")
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _notes(self) -> list[str]:
        notes = []
        for row in self.rows:
            for name, one in row.systems.items():
                what = []
                if one.loss > LOSS_SHOWN:
                    what.append(f"took {one.loss:.1%} more packets than it sent")
                if one.clean == 0:
                    what.append("waited for its CPU in every window")
                if what:
                    notes.append(f"* {row.name}: {self.titles[name]} {' and '.join(what)}.")
        notes += [f"* {name}: not measured, as the run failed." for name in self.failures]
        return ["\n".join(notes)] if notes else []

    def write_documents(self, folder: pathlib.Path) -> None:
        document = folder / "benchmarks.md"
        text = document.read_text(encoding="utf-8")
        document.write_text(replaced(text, self.section()), encoding="utf-8")
        script = plot_script(self)
        if script:
            drawn = subprocess.run(
                ["gnuplot"], input=script, capture_output=True, text=True, check=True
            ).stdout
            drawn = tidied(drawn)
            if len(drawn) > PLOT_BYTES_MAX:
                raise ValueError(f"the plot has {len(drawn)} bytes, more than {PLOT_BYTES_MAX}")
            (folder / PLOT).write_text(drawn, encoding="utf-8")


def _flows(row: RowResult) -> str:
    if row.macs:
        return f"{row.macs} × {row.macs} MACs"
    return f"{row.flows:,}".replace(",", " ")


def _cells(one: SystemResult | None, tsc_hz: float) -> list[str]:
    if one is None:
        return ["–", "–"]
    return [f"{one.mpps:.2f} ({one.least:.2f}–{one.most:.2f})", f"{one.cycles(tsc_hz):.0f}"]


def replaced(text: str, section: str) -> str:
    """The text with what is between the marks exchanged."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"


def tidied(svg: str) -> str:
    """Without empty groups, of which gnuplot makes many, and without white space at line ends."""
    svg = re.sub(r"<g [^>]*>\s*</g>\n", "", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def plot_script(report: Report) -> str:
    """For gnuplot: a panel for each kind of work, a line for each program. Empty without data."""
    panels = [
        (work, rows)
        for work in _PLOTTED
        if len(rows := [r for r in report.rows if r.work == work and r.size == "64" and not r.macs]) > 1
    ]
    if not panels:
        return ""
    lines = [
        f"set terminal svg size {330 * len(panels)},300 font 'sans-serif,11' background '#ffffff'",
        f"set multiplot layout 1,{len(panels)}",
        "set logscale xy 10; set xrange [0.7:1.5e6]; set yrange [1:200]; unset mxtics; unset mytics",
        "set xtics ('1' 1, '1 k' 1e3, '100 k' 1e5, '1 M' 1e6)",
        "set ytics (1, 2, 5, 10, 20, 50, 100, 200); set grid ytics; set key bottom left",
        "set xlabel 'flows'; set ylabel 'Mpps, 64 bytes'",
    ]
    for work, rows in panels:
        curves = []
        for name, title in report.titles.items():
            points = [(row.flows, row.systems[name]) for row in rows if name in row.systems]
            if points:
                data = "\n".join(f"{x} {y.mpps:.3f} {y.least:.3f} {y.most:.3f}" for x, y in points)
                block = f"${name.replace('-', '_')}"
                lines.append(f"{block} << EOD\n{data}\nEOD")
                curves.append(f"{block} with yerrorlines lt {len(curves) + 1} lw 2 ps 0.4 title '{title}'")
        lines += [f"set title '{work.replace('-', ' ')}'", "plot " + ", ".join(curves)]
    return "\n".join(lines) + "\nunset multiplot\n"
