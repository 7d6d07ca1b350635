# SPDX-License-Identifier: GPL-2.0-or-later
"""Many bridges and tunnels in one transaction, one change among many, and a great many changes in a
row. What takes how long is printed, not judged.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import time

import pytest

from netlab.lab import Lab, wait_until
from netlab.measure import Pinger, wait_for_ping
from netlab.ovs_host import OvsHost

BRIDGES = 200
TUNNELS = 1000
CHANGES = int(os.environ.get("CULVERT_CHANGES", "200"))


def _resident_kb(pid: int) -> int:
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def _insert(table: str, row: dict, name: str) -> dict:
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}


def _many() -> list[dict]:
    """BRIDGES bridges with their local interfaces, and TUNNELS tunnels shared out over them."""
    operations = []
    ports: dict[int, list[str]] = {bridge: [] for bridge in range(BRIDGES)}
    for bridge in range(BRIDGES):
        operations.append(_insert("Interface", {"name": f"b{bridge}", "type": "internal"}, f"ib{bridge}"))
        row = {"name": f"b{bridge}", "interfaces": ["named-uuid", f"ib{bridge}"]}
        operations.append(_insert("Port", row, f"pb{bridge}"))
        ports[bridge].append(f"pb{bridge}")
    for tunnel in range(TUNNELS):
        options = {"remote_ip": f"192.0.2.{tunnel % 250 + 1}", "key": str(tunnel + 1)}
        row = {"name": f"t{tunnel}", "type": "gre", "options": ["map", [list(o) for o in options.items()]]}
        operations.append(_insert("Interface", row, f"it{tunnel}"))
        row = {"name": f"t{tunnel}", "interfaces": ["named-uuid", f"it{tunnel}"]}
        operations.append(_insert("Port", row, f"pt{tunnel}"))
        ports[tunnel % BRIDGES].append(f"pt{tunnel}")
    for bridge in range(BRIDGES):
        row = {"name": f"b{bridge}", "ports": ["set", [["named-uuid", p] for p in ports[bridge]]]}
        operations.append(_insert("Bridge", row, f"bb{bridge}"))
    operations.append(
        {
            "op": "mutate",
            "table": "Open_vSwitch",
            "where": [],
            "mutations": [
                ["bridges", "insert", ["set", [["named-uuid", f"bb{b}"] for b in range(BRIDGES)]]],
                ["next_cfg", "+=", 1],
            ],
        }
    )
    return operations


def _transact(switch: OvsHost, operations: list[dict]) -> None:
    """A transaction of any length."""
    request = {"method": "transact", "params": ["Open_vSwitch", *operations], "id": 1}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60)
        connection.connect(str(switch.socket))
        connection.sendall(json.dumps(request).encode())
        text = ""
        while True:
            text += connection.recv(1 << 20).decode()
            try:
                answer = json.loads(text)
            except ValueError:
                continue
            break
    assert answer["error"] is None
    failed = [result for result in answer["result"] if result and "error" in result]
    assert failed == []


@pytest.mark.timeout(300)
def test_a_thousand_tunnels_and_two_hundred_bridges(lab: Lab, build, capsys) -> None:
    host = lab.namespace("h")
    switch = OvsHost(host, build)
    vms = switch.wire_machines()
    switch.start()
    switch.vsctl("add-br", "br0", "--", "add-port", "br0", "vif1", "--", "add-port", "br0", "vif2")
    wait_for_ping(vms[0], "10.0.0.2")
    with Pinger(vms[0], "10.0.0.2") as pinger:
        start = time.monotonic()
        _transact(switch, _many())
        switch.wait_applied(60)
        applied_s = time.monotonic() - start
        pinger.wait_for_replies(5)
        ofports = {row["name"]: row["ofport"] for row in switch.rows("Interface", "name", "ofport")}
        assert len(ofports) == BRIDGES + TUNNELS + 3
        assert all(isinstance(number, int) and number > 0 for number in ofports.values())
        # One of a thousand changes.
        start = time.monotonic()
        switch.vsctl("set", "interface", "t500", "options:remote_ip=192.0.2.251")
        changed_s = time.monotonic() - start
        assert {r["name"]: r["ofport"] for r in switch.rows("Interface", "name", "ofport")} == ofports
    with capsys.disabled():
        print(f" [{applied_s:.2f} s to apply all, {changed_s * 1000:.0f} ms for one change]", end="")
    assert pinger.lost == 0


@pytest.mark.timeout(300 + CHANGES)
def test_a_great_many_changes_leave_nothing_behind(lab: Lab, build, capsys) -> None:
    host = lab.namespace("h")
    switch = OvsHost(host, build).start()
    switch.vsctl("add-br", "br0")
    pid = switch.switch.pid

    def change(times: int) -> None:
        for turn in range(times):
            switch.vsctl(
                *("--may-exist", "add-port", "br0", "t0", "--", "set", "interface", "t0", "type=gre"),
                *("options:remote_ip=192.0.2.1", f"options:key={turn}"),
            )
            if turn % 2:
                switch.vsctl("del-port", "br0", "t0")

    change(CHANGES // 5)
    warm = _resident_kb(pid)
    files = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    start = time.monotonic()
    change(CHANGES)
    took_s = time.monotonic() - start
    grown = _resident_kb(pid) - warm
    with capsys.disabled():
        print(f" [{CHANGES} changes in {took_s:.1f} s, memory {grown:+} kB]", end="")
    assert len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) == files
    assert grown < 4096
    wait_until(lambda: "t0" not in switch.vsctl("list-ports", "br0"), "the last one is gone")
