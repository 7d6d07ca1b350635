# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers: which of them polls what, how a reload moves a queue, and what they do when idle."""

from __future__ import annotations

import struct
import threading
import time

from netlab.config import Config
from netlab.daemon import Build, Culvertd
from netlab.frames import PacketSocket, frame
from netlab.lab import Lab, wait_until

_SOURCE = "02:00:00:00:01:01"
_SINK = "02:00:00:00:01:02"
_NUMBER = struct.Struct("!4sI")
_MARK = b"numb"


class _Switch:
    """Two wires through one daemon: `source` and `sink` are the far ends."""

    def __init__(self, lab: Lab, build: Build, **worker_keys: object) -> None:
        self.host = lab.namespace("h")
        self.source = lab.namespace("source")
        self.sink = lab.namespace("sink")
        lab.wire(self.source, "eth0", self.host, "p1")
        lab.wire(self.sink, "eth0", self.host, "p2")
        self.config = Config()
        if worker_keys:
            self.config.section("workers", **worker_keys)
        self.config.bridge(
            "br0", static_mac=[{"mac": _SINK, "port": "p2"}, {"mac": _SOURCE, "port": "p1"}]
        )
        self.config.port("p1", "br0")
        self.config.port("p2", "br0")
        self.daemon = Culvertd(self.host, build, self.config)

    def queues(self) -> dict[str, list[tuple[int, str]]]:
        """The workers of each port's queues, and how each was chosen."""
        found: dict[str, list[tuple[int, str]]] = {}
        for row in self.daemon.ctl_json("workers", "queues"):
            found.setdefault(row["port"], []).append((row["worker"], row["chosen"]))
        return found

    def sleeps(self) -> int:
        return sum(row["sleeps"] for row in self.daemon.ctl_json("workers"))


def _numbered(number: int) -> bytes:
    return frame(_SOURCE, _SINK, _NUMBER.pack(_MARK, number))


def test_queues_are_shared_out_and_can_be_given(lab: Lab, build: Build) -> None:
    switch = _Switch(lab, build, count=2)
    switch.daemon.start()
    queues = switch.queues()
    assert queues["p1"][0][0] != queues["p2"][0][0], "one worker each"
    assert {chosen for rows in queues.values() for _, chosen in rows} == {"automatic"}

    switch.config.find_port("p1")["rx_workers"] = [1]
    switch.config.find_port("p2")["rx_workers"] = [1]
    switch.daemon.reload()
    assert switch.queues() == {"p1": [(1, "rx_workers")], "p2": [(1, "rx_workers")]}
    assert switch.daemon.shown("p1")["rx_workers"] == [1]

    del switch.config.find_port("p2")["rx_workers"]
    switch.daemon.reload()
    assert switch.queues()["p2"] == [(0, "automatic")], "the worker with the fewest queues"


def test_a_worker_that_is_not_there_is_refused(lab: Lab, build: Build) -> None:
    switch = _Switch(lab, build, count=2)
    switch.daemon.start()
    before = switch.queues()
    switch.config.find_port("p1")["rx_workers"] = [2]
    switch.daemon.write_config()
    refused = switch.daemon.ctl("reload", check=False)
    assert refused.returncode != 0
    assert "rx_workers names worker 2, but [workers] makes 2; valid: 0-1" in refused.stderr
    assert switch.queues() == before


def test_a_queue_moves_without_loss_or_reordering(lab: Lab, build: Build) -> None:
    switch = _Switch(lab, build, count=2)
    switch.config.find_port("p1")["rx_workers"] = [0]
    switch.daemon.start()
    stop = threading.Event()
    sent = 0

    with PacketSocket(switch.source) as source, PacketSocket(switch.sink) as sink:

        def send() -> None:
            nonlocal sent
            while not stop.is_set():
                source.send(_numbered(sent))
                sent += 1
                time.sleep(0.0005)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for move in range(10):
                switch.config.find_port("p1")["rx_workers"] = [(move + 1) % 2]
                switch.daemon.reload()
        finally:
            stop.set()
            sender.join()

        numbers: list[int] = []

        def all_arrived() -> bool:
            for seen in sink.take(lambda one: one.payload.startswith(_MARK)):
                numbers.append(_NUMBER.unpack_from(seen.payload)[1])
            return len(numbers) >= sent

        wait_until(all_arrived, "every frame arrives")
        assert numbers == list(range(sent))
    packets = [row["packets"] for row in switch.daemon.ctl_json("workers")]
    assert min(packets) > 0, "both workers had the queue"


def test_an_idle_worker_sleeps_and_wakes_for_a_packet(lab: Lab, build: Build) -> None:
    switch = _Switch(lab, build)
    switch.daemon.start()
    before = switch.sleeps()
    wait_until(lambda: switch.sleeps() > before + 2, "the worker sleeps again and again")
    with PacketSocket(switch.source) as source, PacketSocket(switch.sink) as sink:
        for number in range(5):
            asleep = switch.sleeps()
            wait_until(lambda: switch.sleeps() > asleep, "the worker sleeps")
            source.send(_numbered(number))
            assert sink.wait_for(lambda one: one.payload == _numbered(number)[14:]), number


def test_a_worker_that_polls_never_sleeps(lab: Lab, build: Build) -> None:
    switch = _Switch(lab, build, idle="poll")
    switch.daemon.start()
    with PacketSocket(switch.source) as source, PacketSocket(switch.sink) as sink:
        source.send(_numbered(1))
        assert sink.wait_for(lambda one: one.payload == _numbered(1)[14:])
    assert switch.sleeps() == 0
