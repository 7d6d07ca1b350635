# SPDX-License-Identifier: GPL-2.0-or-later
"""Front of frame_storm: many frames both ways between two interfaces, each byte checked."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess

from netlab.lab import Lab, LabError, Namespace, run

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "system" / "tools" / "frame_storm.cpp"


def build(directory: pathlib.Path) -> pathlib.Path:
    """Compiles the generator; one small file, about two seconds."""
    program = directory / "frame_storm"
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    options = ["-std=c++20", "-O2", "-pthread", *warnings]
    run(["c++", *options, str(SOURCE), "-o", str(program)], timeout_s=120)
    return program


@dataclasses.dataclass
class Result:
    """What both directions together saw."""

    sent: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    corrupted: int
    details: dict

    def perfect(self) -> bool:
        bad = self.lost + self.duplicated + self.reordered + self.corrupted
        return bad == 0 and self.sent == self.received > 0


class Storm:
    """A running storm. With `until_told` it goes on after `frames` until finish() is called."""

    def __init__(
        self,
        lab: Lab,
        program: pathlib.Path,
        a: tuple[Namespace, str],
        b: tuple[Namespace, str],
        frames: int,
        seed: int = 1,
        bytes_min: int = 60,
        bytes_max: int = 1514,
        until_told: bool = False,
    ) -> None:
        argv = [str(program), "--frames", str(frames), "--seed", str(seed)]
        argv += ["--bytes-min", str(bytes_min), "--bytes-max", str(bytes_max)]
        for option, (node, interface) in (("--a", a), ("--b", b)):
            argv += [option, f"/run/netns/{node.full_name}", interface]
        if until_told:
            argv.append("--until-eof")
        self._process = lab.spawn(
            argv, "frame-storm", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def _next_line(self) -> dict:
        line = self._process.child.stdout.readline()
        if not line:
            code = self._process.wait()
            raise LabError(f"frame_storm ended with {code}: {self._process.output().strip()}")
        return json.loads(line)

    def wait_for_progress(self, frames: int) -> int:
        """Returns when each direction has received at least `frames`, with the lower count."""
        while True:
            line = self._next_line()
            if "progress" not in line:
                raise LabError(f"frame_storm ended before {frames} frames: {line}")
            if line["progress"] >= frames:
                return int(line["progress"])

    def finish(self) -> Result:
        """Lets the storm end and returns what it counted."""
        self._process.child.stdin.close()
        while "progress" in (line := self._next_line()):
            pass
        self._process.wait()
        fields = ("sent", "received", "lost", "duplicated", "reordered", "corrupted")
        return Result(*(int(line[field]) for field in fields), details=line)
