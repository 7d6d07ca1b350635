# SPDX-License-Identifier: GPL-2.0-or-later
"""The measuring tools themselves, over plain wires and without culvertd: they must find nothing
wrong with a wire, and must find what is wrong with a bad one.

    a eth0 ────wire──── eth0 b
"""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from netlab.frames import PacketSocket, frame
from netlab.lab import Lab, LabError, Namespace, wait_until
from netlab.measure import iperf, ping
from netlab.storm import Storm
from netlab.topology import Wire
from netlab.transfer import tcp_both_ways, udp_one_way

TESTS = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def wired(lab: Lab) -> tuple[Namespace, Namespace]:
    a, b = lab.namespace("a"), lab.namespace("b")
    lab.wire(a, "eth0", b, "eth0")
    for node, end in ((a, 1), (b, 2)):
        node.add_address("eth0", f"10.0.0.{end}/24")
        node.add_address("eth0", f"fd10::{end}/64")
    return a, b


def test_a_storm_over_a_wire_is_perfect(lab, wired, storm_program) -> None:
    a, b = wired
    result = Storm(lab, storm_program, (a, "eth0"), (b, "eth0"), frames=20000).finish()
    assert result.perfect(), result


def test_a_storm_finds_what_is_lost(lab: Lab, storm_program) -> None:
    wire = Wire(lab, mtu=1500)
    a, b = lab.namespace("a"), lab.namespace("b")
    to_a = wire.attach(a)
    wire.attach(b)
    wire.ns.run("nft", "add table netdev t")
    hook = f"type filter hook ingress device {to_a} priority 0;"
    wire.ns.run("nft", f"add chain netdev t from_a {{ {hook} }}")
    wire.ns.run("nft", "add rule netdev t from_a meta length > 1490 drop")
    result = Storm(lab, storm_program, (a, "eth0"), (b, "eth0"), frames=2000).finish()
    assert result.lost > 0 and not result.perfect()
    assert result.details["a_to_b"][0] > result.details["a_to_b"][1]
    assert result.details["b_to_a"][0] == result.details["b_to_a"][1]


@pytest.mark.parametrize("target", ["10.0.0.2", "fd10::2"])
def test_ping_iperf_and_transfers_over_a_wire(wired, target: str) -> None:
    a, b = wired
    first = ping(a, target, count=5)
    assert (first.received, first.first_answered, first.duplicates) == (5, True, 0)
    assert iperf(a, b, target, seconds=1) > 0
    assert iperf(a, b, target, seconds=1, reverse=True) > 0
    tcp_both_ways(a, b, target, size=5_000_000, seed=1)
    udp_one_way(a, b, target, datagrams=50, seed=2)
    udp_one_way(a, b, target, datagrams=5, seed=3, segment_bytes=1000)


def test_ping_reports_loss(wired) -> None:
    a, _ = wired
    result = ping(a, "10.0.0.77", count=2, wait_s=0.2)
    assert (result.received, result.first_answered, result.loss_percent) == (0, False, 100.0)


def test_a_transfer_that_does_not_arrive_is_an_error(wired) -> None:
    a, b = wired
    b.run("nft", "add table inet t; add chain inet t i { type filter hook input priority 0; }")
    b.run("nft", "add rule inet t i udp length > 1000 drop")
    with pytest.raises(LabError, match="did not arrive"):
        udp_one_way(a, b, "10.0.0.2", datagrams=50, seed=2, timeout_s=2)


def test_capture_shows_vlan_tags_as_on_the_wire(wired) -> None:
    a, b = wired
    with PacketSocket(a) as sender, PacketSocket(b) as receiver:
        tagged = frame("02:00:00:00:00:01", "02:00:00:00:00:02", b"hello", vlan=7, priority=5)
        sender.send(tagged)
        seen = receiver.wait_for(lambda one: one.source == "02:00:00:00:00:01")
        assert seen is not None
        assert (seen.data, seen.vlan, seen.priority) == (tagged, 7, 5)


def test_a_capture_that_lost_frames_says_so(wired) -> None:
    a, b = wired
    data = frame("02:00:00:00:00:01", "02:00:00:00:00:02", b"hello")
    with PacketSocket(a) as sender, PacketSocket(b, buffer_bytes=0) as full, PacketSocket(b) as receiver:
        for _ in range(100):
            sender.send(data)
        wait_until(lambda: receiver.take(lambda one: one.data == data), "the frames have come")
        with pytest.raises(LabError, match="has lost [0-9]+ frames"):
            full.take(lambda _one: True)
        with pytest.raises(LabError, match="has lost [0-9]+ frames"):
            full.wait_for(lambda _one: True, timeout_s=0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_laboratory_leaves_nothing(number: signal.Signals) -> None:
    program = (
        "from netlab.lab import Lab\n"
        "with Lab() as lab:\n"
        "    a, b = lab.namespace('a'), lab.namespace('b')\n"
        "    lab.wire(a, 'eth0', b, 'eth0')\n"
        "    child = b.spawn('sleep', '1000')\n"
        "    print(lab.run_id, lab.directory, child.pid, flush=True)\n"
        "    child.wait(1000)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=TESTS, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    ) as process:
        run_id, directory, child = process.stdout.readline().split()
        assert any(run_id in name for name in os.listdir("/run/netns"))
        process.send_signal(number)
        assert process.wait(20) != 0
    assert not any(run_id in name for name in os.listdir("/run/netns"))
    assert not os.path.exists(directory)
    assert not os.path.exists(f"/proc/{child}") or _is_other(int(child))


def _is_other(pid: int) -> bool:
    """The pid belongs to a process that is not the one the laboratory started."""
    return b"1000" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()


def test_waiting_says_what_for() -> None:
    with pytest.raises(LabError, match="the moon rises"):
        wait_until(lambda: False, "the moon rises", timeout_s=0.1)
