# SPDX-License-Identifier: GPL-2.0-or-later
"""The database's server dies, comes back empty, dribbles, lies, or loses its leader: what forwards
goes on, and the state converges as soon as there is one.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import threading

import pytest

from netlab.lab import Lab, run, wait_until
from netlab.measure import Pinger, wait_for_ping
from netlab.ovs_host import OvsHost
from netlab.peers import OVS_SCHEMA


@pytest.fixture
def bridged(lab: Lab, build):
    """A host whose bridge joins two virtual machines."""
    host = lab.namespace("h")
    switch = OvsHost(host, build)
    vms = switch.wire_machines()
    switch.start()
    switch.vsctl("add-br", "br0", "--", "add-port", "br0", "vif1", "--", "add-port", "br0", "vif2")
    wait_for_ping(vms[0], "10.0.0.2")
    return switch, vms


@pytest.mark.timeout(120)
def test_the_server_is_killed_and_comes_back(bridged) -> None:
    switch, vms = bridged
    with Pinger(vms[0], "10.0.0.2") as pinger:
        switch.stop_server(signal.SIGKILL)
        pinger.wait_for_replies(20)
        switch.start_server()
        switch.vsctl("set", "bridge", "br0", "external_ids:seen=1")
        switch.vsctl("--if-exists", "del-port", "vif9")
        pinger.wait_for_replies(20)
    assert pinger.lost == 0
    before = int(switch.vsctl("get", "interface", "vif1", "ofport"))
    assert before == 1


@pytest.mark.timeout(120)
def test_an_emptied_database_empties_the_switch_and_a_filled_one_fills_it(bridged) -> None:
    switch, vms = bridged
    with Pinger(vms[0], "10.0.0.2") as pinger:
        switch.stop_server()
        switch.create_database()
        # Without its one row it asks for nothing, nor for anything to go.
        switch.start_server(initialise=False)
        wait_until(lambda: "has no row in table Open_vSwitch" in switch.log(), "it is followed")
        pinger.wait_for_replies(5)
    assert pinger.lost == 0
    switch.vsctl("--no-wait", "init")
    switch.vsctl("set", "Open_vSwitch", ".", "external_ids:seen=1")
    done = vms[0].run("ping", "-c1", "-W1", "10.0.0.2", check=False)
    assert done.returncode != 0
    switch.vsctl("add-br", "br0", "--", "add-port", "br0", "vif1", "--", "add-port", "br0", "vif2")
    wait_for_ping(vms[0], "10.0.0.2")


@pytest.mark.timeout(120)
def test_a_second_switch_waits_for_the_lock(bridged, build) -> None:
    switch, vms = bridged
    second = switch.host.spawn(
        *(switch.program, switch.remote, "-vconsole:info", "-vsyslog:off"),
        f"--unixctl={switch.directory}/second.ctl",
        name="second-vswitchd",
        env=switch.environment,
    )
    wait_until(lambda: "holds the database's lock" in second.output(), "the second one waits")
    wait_for_ping(vms[0], "10.0.0.2")
    switch.stop_switch(signal.SIGKILL)
    switch.switch = second
    switch.vsctl("set", "bridge", "br0", "external_ids:seen=1")
    wait_for_ping(vms[0], "10.0.0.2")


class Impostor:
    """Listens where the server did and answers each connection with `answer`."""

    def __init__(self, path: pathlib.Path, answer) -> None:
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._answer = answer
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with contextlib.suppress(OSError), connection:
                    connection.settimeout(5)
                    self._answer(connection)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def _garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(os.urandom(4096))


def _deep(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"[" * 100_000)


def _wrong(connection: socket.socket) -> None:
    """Answers every request with what it did not ask for."""
    decoder = json.JSONDecoder()
    text = ""
    while data := connection.recv(65536):
        text += data.decode()
        with contextlib.suppress(ValueError):
            while text:
                request, end = decoder.raw_decode(text)
                text = text[end:].lstrip()
                answer = {"id": request.get("id"), "error": None, "result": [{"Bridge": 7}, None]}
                connection.sendall(json.dumps(answer).encode())


def _closed(connection: socket.socket) -> None:
    connection.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("answer", [_garbage, _deep, _wrong, _closed])
def test_a_server_that_talks_nonsense_changes_nothing(bridged, answer) -> None:
    switch, vms = bridged
    switch.stop_server()
    impostor = Impostor(switch.socket, answer)
    with Pinger(vms[0], "10.0.0.2") as pinger:
        wait_until(lambda: impostor.connections >= 3, "it was tried again", timeout_s=60)
        pinger.wait_for_replies(10)
    impostor.close()
    assert pinger.lost == 0
    switch.start_server()
    switch.vsctl("set", "bridge", "br0", "external_ids:seen=1")
    assert switch.switch.running


class Cluster:
    """Three servers of one database."""

    def __init__(self, host, directory: pathlib.Path) -> None:
        self.host = host
        self.directory = directory
        self.servers: dict[int, object] = {}
        schema_name = json.loads(pathlib.Path(OVS_SCHEMA).read_text(encoding="ascii"))["name"]
        for index in (1, 2, 3):
            database = directory / f"c{index}.db"
            address = f"tcp:127.0.0.1:{16640 + index}"
            if index == 1:
                run(["ovsdb-tool", "create-cluster", str(database), OVS_SCHEMA, address])
            else:
                run(["ovsdb-tool", "join-cluster", str(database), schema_name, address, "tcp:127.0.0.1:16641"])
            self.servers[index] = host.spawn(
                *("ovsdb-server", database, f"--remote=punix:{self.socket(index)}"),
                f"--unixctl={directory}/c{index}.ctl",
                name=f"cluster-{index}",
            )
            wait_until(lambda i=index: "cluster member" in self.status(i), f"server {index} has joined")

    def socket(self, index: int) -> pathlib.Path:
        return self.directory / f"c{index}.sock"

    @property
    def remote(self) -> str:
        return ",".join(f"unix:{self.socket(index)}" for index in self.servers)

    def status(self, index: int) -> str:
        command = ["ovs-appctl", "-t", f"{self.directory}/c{index}.ctl", "cluster/status", "Open_vSwitch"]
        return run(command, check=False).stdout

    def leader(self) -> int:
        return next((i for i in self.servers if "Role: leader" in self.status(i)), 0)

    def kill_leader(self) -> int:
        leader = int(wait_until(self.leader, "there is a leader"))
        self.servers.pop(leader).stop(signal.SIGKILL)
        return leader


@pytest.mark.timeout(180)
def test_a_cluster_that_loses_its_leader(lab: Lab, build) -> None:
    host = lab.namespace("h")
    switch = OvsHost(host, build)
    vms = switch.wire_machines()
    cluster = Cluster(host, switch.directory)

    def vsctl(*words: str) -> str:
        command = ["ovs-vsctl", f"--db={cluster.remote}", "--timeout=30", *words]
        return host.run(*command).stdout

    vsctl("--no-wait", "init")
    switch.switch = host.spawn(
        *(switch.program, cluster.remote, "-vconsole:info", "-vsyslog:off"),
        f"--unixctl={switch.control}",
        name="cluster-vswitchd",
        env=switch.environment,
    )
    vsctl("add-br", "br0", "--", "add-port", "br0", "vif1", "--", "add-port", "br0", "vif2")
    wait_for_ping(vms[0], "10.0.0.2")
    with Pinger(vms[0], "10.0.0.2") as pinger:
        cluster.kill_leader()
        wait_until(cluster.leader, "there is a new leader")
        vsctl("add-port", "br0", "int1", "--", "set", "interface", "int1", "type=internal")
        pinger.wait_for_replies(10)
    assert pinger.lost == 0
    assert host.run("ip", "link", "show", "int1").returncode == 0
