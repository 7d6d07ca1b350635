# SPDX-License-Identifier: GPL-2.0-or-later
"""The arithmetic, tables and frames of bench/peers: what its figures rest on and no peer is needed for."""

from __future__ import annotations

import pathlib

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

from peerbench import gate, report, results, rows, traffic
from peerbench.timing import Counters, Turn, Window, wants_more

TITLES = {"culvert": "Culvert", "ovs": "OVS-DPDK", "testpmd": "testpmd mac"}
FACTS = dict.fromkeys(
    ("cpu", "model", "virtual", "cpus", "l2", "kernel", "dpdk", "ovs", "compiler", "hugepages"), "x"
)


def turn(rate: float, clean: int = 3, received: int = 100, sent: int = 100) -> Turn:
    return Turn(rate, clean, 3 - clean, 0.9, Counters(0, 0), Counters(received, sent))


def turns(*rates: float) -> results.SystemResult:
    return results.SystemResult([turn(rate) for rate in rates])


def row_result(flows: int = 1000, work: str = "plain", **systems: results.SystemResult):
    found = results.RowResult(f"{work}/64/{flows}", work, "64", flows, 0, 2.0e9)
    found.systems = systems
    return found


def test_a_window_that_waited_for_its_cpu_does_not_count() -> None:
    good, bad = Window(0.5, 1_000_000, 0.0), Window(0.5, 10, 0.5)
    still = Counters(0, 0)
    one = Turn.of([bad, good, good], 1.0, still, still)
    assert (one.mpps, one.clean, one.dirty) == (2.0, 2, 1)
    doubtful = Turn.of([bad], 1.0, still, still)
    assert (doubtful.clean, doubtful.dirty) == (0, 1) and doubtful.mpps > 0


def test_dirty_windows_are_taken_again_for_a_while() -> None:
    good, bad = Window(0.5, 1_000_000, 0.0), Window(0.5, 10, 0.5)
    assert wants_more([], 3) and wants_more([good, good], 3) and wants_more([good, bad, good], 3)
    assert not wants_more([good, bad, good, good], 3)
    assert not wants_more([bad] * 6, 3)  # It would always wait.
    assert not wants_more([good] + [bad] * 8, 3)


def test_what_is_taken_and_not_sent_is_lost() -> None:
    assert results.SystemResult([turn(1, sent=75)]).loss == 0.25
    # Packets on their way when the counters are read are no gain.
    assert results.SystemResult([turn(1, sent=101)]).loss == 0.0
    assert results.SystemResult([turn(1, received=0, sent=0)]).loss == 0.0
    assert results.SystemResult([turn(1), turn(1, received=400, sent=300)]).loss == 0.25


def test_ratios_are_taken_within_a_round() -> None:
    # The machine was half as fast in the second round; the ratio of medians would be 20 / 5 = 4.
    found = row_result(culvert=turns(20, 10, 30), ovs=turns(10, 5, 5))
    assert found.ratio("culvert", "ovs") == 2.0
    assert found.ratio("culvert", "testpmd") is None
    assert row_result(culvert=turns(1), ovs=turns(0)).ratio("culvert", "ovs") is None


def test_median_least_most_and_cycles() -> None:
    one = turns(9, 10, 8, 20, 11)
    assert (one.mpps, one.least, one.most) == (10, 8, 20)
    assert one.cycles(2.0e9) == pytest.approx(200)


def test_rounds_alternate() -> None:
    assert [results.order_of_round(list("abc"), n) for n in range(3)] == [
        list("abc"),
        list("cba"),
        list("abc"),
    ]


def test_the_section_has_a_line_for_each_row_and_says_what_is_doubtful() -> None:
    lossy = results.SystemResult([turn(10, clean=0, sent=95)])
    lisp = row_result(work="lisp-encap", culvert=turns(5), testpmd=turns(50))
    whole = report.Report(FACTS, TITLES, [row_result(culvert=lossy, ovs=turns(5), testpmd=turns(80)), lisp])
    whole.failures["hub/64/1"] = "it fell over"
    text = whole.section()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    assert "| plain | 64 | 1 000 | 10.00 (10.00–10.00) | 200 | 5.00 " in lines[1]
    assert lines[1].endswith("| 2.00 | 0.12 |") and lines[2].endswith("| – | 0.10 |")
    assert "Culvert took 5.0% more packets than it sent and waited for its CPU" in text
    assert "hub/64/1: not measured" in text
    assert whole.status() == 1


def test_only_what_is_between_the_marks_is_replaced() -> None:
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    new = report.replaced(text, "new")
    assert new == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.replaced(new, "new") == new
    with pytest.raises(ValueError, match="lacks the lines"):
        report.replaced("a document", "new")


def test_the_plot_needs_more_than_one_number_of_flows() -> None:
    some = [row_result(flows, culvert=turns(9), ovs=turns(3)) for flows in (1, 1000)]
    assert report.plot_script(report.Report(FACTS, TITLES, some[:1])) == ""
    script = report.plot_script(report.Report(FACTS, TITLES, some))
    assert script.count("title 'Culvert'") == 1 and "1000 9.000 9.000 9.000" in script


def test_the_matrices_have_no_row_twice() -> None:
    for matrix in (rows.default_matrix(), rows.full_matrix()):
        names = [row.name for row in matrix]
        assert len(names) == len(set(names))
    assert {row.work for row in rows.default_matrix()} == set(rows.works())


LAYERS = {"vxlan": VXLAN, "gre": GRE, "geneve": GENEVE}


@pytest.mark.parametrize("tunnel", ["", "vxlan", "gre", "geneve"])
@pytest.mark.parametrize("size", [64, "imix"])
def test_generated_frames_are_what_scapy_reads(
    tmp_path: pathlib.Path, tunnel: str, size: int | str
) -> None:
    path = tmp_path / "frames"
    traffic.write(path, traffic.Traffic(size=size, flows=300, tunnel=tunnel))
    frames = traffic.read(path, 1000)
    assert len(frames) == 300
    seen = set()
    for frame in frames:
        packet = Ether(frame)
        assert packet[IP].len == len(frame) - 14
        rebuilt = packet[IP].copy()
        del rebuilt.chksum
        assert IP(bytes(rebuilt)).chksum == packet[IP].chksum
        inner = packet[LAYERS[tunnel]].payload if tunnel else packet
        assert len(inner) in ([64] if size == 64 else [64, 576, 1420])
        assert inner.src == "02:00:00:aa:00:00" and inner[UDP].len == len(inner) - 34
        seen.add((inner[IP].src, inner[IP].dst, inner[UDP].sport, inner[UDP].dport))
    assert len(seen) == 300  # Each flow once.
    if size == "imix":
        assert len({len(frame) for frame in frames}) == 3


def test_each_pair_of_mac_addresses_comes_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "frames"
    traffic.write(path, traffic.Traffic(macs=20))
    frames = traffic.read(path, 1000)
    assert len(frames) == 400 and len({frame[:12] for frame in frames}) == 400


def encapsulated(inner: bytes, key: int = traffic.KEY) -> bytes:
    outer = (
        Ether(src=traffic.LOCAL_MAC, dst=traffic.REMOTE_MAC)
        / IP(src=traffic.LOCAL_IP, dst=traffic.REMOTE_IP)
        / UDP(sport=40000, dport=4789, chksum=0)
        / VXLAN(flags=8, vni=key)
    )
    return bytes(outer / inner)


def test_the_gate_lets_right_packets_through_and_no_others(tmp_path: pathlib.Path) -> None:
    row = rows.make_row("vxlan-encap", flows=100)
    path = tmp_path / "frames"
    traffic.write(path, row.traffic)
    given = traffic.read(path, 1000)
    right = [encapsulated(frame) for frame in given]
    gate.check(row, "culvert", given, right)
    for wrong, reason in (
        ([encapsulated(frame, key=101) for frame in given], "VXLAN is"),
        ([encapsulated(frame[:-1] + b"!") for frame in given], "in no frame of the source"),
        (right[:10], "too few"),
        ([frame[:26] + b"\x01" + frame[27:] for frame in right], "wrong outer IP addresses"),
        ([frame[:24] + b"\x01\x02" + frame[26:] for frame in right], "wrong checksum"),
    ):
        with pytest.raises(gate.WrongOutput, match=reason):
            gate.check(row, "culvert", given, wrong)
