# SPDX-License-Identifier: GPL-2.0-or-later
"""Workers: which of them polls what, how a reload moves a queue, and what they do when idle."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import pytest

from netlab.config import Config
from netlab.daemon import Build, Culvertd
from netlab.frames import PacketSocket, frame
from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import wait_for_ping
from netlab.routed import machine, routed_pair
from netlab.topology import tunnel_pair

_SOURCE = "02:00:00:00:01:01"
_SINK = "02:00:00:00:01:02"
_NUMBER = struct.Struct("!4sI")
_MARK = b"numb"
_FLOWS = 32
_ROUNDS = 60


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


def _flows_arrive_in_order(near: Namespace, far: Namespace, address: str) -> None:
    """Sends numbered datagrams of many flows, each from a source port of its own."""
    with contextlib.ExitStack() as stack:
        with far.entered():
            receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        receiver.bind((address, 0))
        receiver.settimeout(30.0)
        senders = []
        for _ in range(_FLOWS):
            with near.entered():
                sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.connect(receiver.getsockname())
            senders.append(sender)
        for number in range(_ROUNDS):
            for flow, sender in enumerate(senders):
                sender.send(struct.pack("!II", flow, number))
            time.sleep(0.002)
        numbers: list[list[int]] = [[] for _ in senders]
        for _ in range(_FLOWS * _ROUNDS):
            flow, number = struct.unpack("!II", receiver.recv(64))
            numbers[flow].append(number)
    assert numbers == [list(range(_ROUNDS))] * _FLOWS


def _polls_alone_and_shares(daemon: Culvertd, uplink: str) -> bool:
    """One worker polls the uplink, and the other one has looked up packets all the same."""
    polling = {
        row["worker"] for row in daemon.ctl_json("workers", "queues") if row["port"] == uplink
    }
    hits = {row["worker"]: row["flow_hits"] for row in daemon.ctl_json("workers")}
    return len(polling) == 1 and min(hits.values()) >= _ROUNDS


@pytest.mark.parametrize("kind", ["vxlan", "geneve", "gre"])
def test_inner_flows_are_shared_out_in_order(lab: Lab, build: Build, kind: str) -> None:
    hosts = tunnel_pair(lab, build, kind, 4, start=False)
    for host in hosts:
        host.config.section("workers", count=2)
        # All by one worker: what the other one does was handed to it.
        for port in host.config.ports:
            port["rx_workers"] = [0]
        host.start()
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    _flows_arrive_in_order(near.ns, far.ns, far.address())
    assert _polls_alone_and_shares(hosts[1].daemon, "eth0")
    assert "spread_queue_full" not in hosts[1].daemon.drops()


def test_flows_in_a_routed_tunnel_are_shared_out_in_order(lab: Lab, build: Build) -> None:
    hosts = routed_pair(lab, build, "lisp", 4, start=False)
    for host in hosts:
        host.config.section("workers", count=2)
        for port in host.config.ports:
            port["rx_workers"] = [0]
        host.start()
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, machine(2, 4))
    _flows_arrive_in_order(near.ns, far.ns, machine(2, 4))
    assert _polls_alone_and_shares(hosts[1].daemon, "eth0")
