# SPDX-License-Identifier: GPL-2.0-or-later
"""The check of instruction counts (.ci/instructions) itself: what fails it and what does not, without
running a bench."""

import importlib.machinery
import importlib.util
import pathlib
import sys

import pytest

CI = pathlib.Path(__file__).resolve().parents[2] / ".ci"

NOW = {"path/switch/1000": 441.2, "path/encap/vxlan": 842.02, "parse/tunnel/vxlan": 22.25}
ALIKE = {"compiler": "g++ 12", "machine": "x86_64 with AVX2"}


@pytest.fixture
def instructions(monkeypatch):
    monkeypatch.syspath_prepend(str(CI))
    loader = importlib.machinery.SourceFileLoader("instructions", str(CI / "instructions"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("instructions", loader))
    loader.exec_module(module)
    yield module
    for name in ("instruction_counts", "project"):
        sys.modules.pop(name, None)


def lowered(percent: float) -> dict:
    """A baseline in which one case costs so much less than now."""
    counts = NOW | {"path/encap/vxlan": NOW["path/encap/vxlan"] * (1 - percent / 100)}
    return {"made_with": ALIKE, "instructions_per_packet": counts}


def test_the_baseline_itself_passes(instructions, capsys) -> None:
    assert instructions.check(lowered(0), ALIKE, NOW) == 0
    assert "3 cases, 0 failed" in capsys.readouterr().out


def test_four_percent_more_fail_and_are_named(instructions, capsys) -> None:
    assert instructions.check(lowered(4), ALIKE, NOW) == 1
    output = capsys.readouterr().out
    assert "FAILED: path/encap/vxlan costs 842.02 instructions, +4.2 %" in output
    assert "3 cases, 1 failed" in output


def test_two_percent_more_pass(instructions) -> None:
    assert instructions.check(lowered(2), ALIKE, NOW) == 0


def test_four_percent_less_pass_with_a_hint(instructions, capsys) -> None:
    assert instructions.check(lowered(-4), ALIKE, NOW) == 0
    assert "note: path/encap/vxlan costs -3.8 %: write the baseline anew" in capsys.readouterr().out


def test_a_case_that_vanished_or_has_no_baseline_fails(instructions, capsys) -> None:
    renamed = {name.replace("switch", "bridge"): count for name, count in NOW.items()}
    assert instructions.check(lowered(0), ALIKE, renamed) == 1
    output = capsys.readouterr().out
    assert "FAILED: path/switch/1000 is in the baseline and was not run" in output
    assert "FAILED: path/bridge/1000 is not in the baseline" in output


def test_another_compiler_is_said_and_checked_all_the_same(instructions, capsys) -> None:
    assert instructions.check(lowered(4), ALIKE | {"compiler": "g++ 13"}, NOW) == 1
    assert 'note: The baseline was made with compiler "g++ 12", this is "g++ 13".' in capsys.readouterr().out


def test_counts_are_read_from_the_parts_of_callgrinds_file(instructions) -> None:
    parse = instructions.instruction_counts.parse
    parts = "part: 1\ntotals: 4096\n\npart: 2\ntotals: 1000\n\npart: 3\ntotals: 0\n"
    assert parse(parts, "a/b 2048\nc 100\n") == {"a/b": 2.0, "c": 10.0}
    with pytest.raises(ValueError, match="3 cases were run, and callgrind wrote 2 parts"):
        parse("totals: 1\ntotals: 2\n", "a 1\nb 1\nc 1\n")
    with pytest.raises(ValueError, match="b: nothing was counted"):
        parse("totals: 1\ntotals: 0\n", "a 1\nb 1\n")
