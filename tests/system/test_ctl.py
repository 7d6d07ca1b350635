# SPDX-License-Identifier: GPL-2.0-or-later
"""culvert-ctl, every command in both formats, and Open vSwitch's own tool on the same socket.

    vm1, vm2 ─ vif1, vif2 ┤br0├ t0 ~ br-phy ─ eth0 ─── (nobody)
"""

from __future__ import annotations

import json

import pytest

from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, frame
from netlab.lab import Lab, require_root_and_tools, run, wait_until
from netlab.measure import ping
from netlab.topology import Host

SHOWING = [("show",), ("fdb", "show"), ("flows", "show"), ("drops",), ("workers",), ("workers", "stages"), ("counters",)]


@pytest.fixture
def host(lab: Lab, build: Build) -> Host:
    """With some traffic behind it: a ping, and a drop."""
    one = Host(lab, build, 1)
    lab.wire(one.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=one.mtu)
    for number in (1, 2):
        one.add_vm(number)
    one.add_tunnel("t0", "gre", "172.20.0.2", key=77)
    one.start()
    assert ping(one.vms[0].ns, one.vms[1].address()).received == 3
    with PacketSocket(one.vms[0].ns) as sender:
        sender.send(frame("03:00:00:00:00:01", BROADCAST))
    one.daemon.wait_for_drops("source_multicast")
    return one


@pytest.mark.parametrize("command", SHOWING, ids=" ".join)
def test_showing_commands_have_text_and_json(host: Host, command: tuple[str, ...]) -> None:
    text = host.daemon.ctl(*command).stdout
    assert text.strip() and not text.lstrip().startswith(("[", "{"))
    assert host.daemon.ctl_json(*command)


def test_show_names_every_item(host: Host) -> None:
    text = host.daemon.ctl("show").stdout
    for name in ("br-phy", "br0", "eth0", "vif1", "vif2", "t0", "172.20.0.2", "77", "gre"):
        assert name in text
    port = host.daemon.shown("vif1")
    assert (port["mtu"], port["link"]) == (1500, "up")
    tunnel = host.daemon.shown("t0")
    assert (tunnel["type"], tunnel["remote_ip"], tunnel["in_key"]) == ("gre", "172.20.0.2", 77)


def test_show_tunnel_names_every_option_and_counter(host: Host) -> None:
    text = host.daemon.ctl("show", "tunnel", "t0").stdout
    for words in (["remote_ip", "172.20.0.2"], ["in_key", "77"], ["oversize", "ptb"]):
        assert any(line.split() == words for line in text.splitlines()), text
    tunnel = host.daemon.ctl_json("show", "tunnel", "t0")
    assert (tunnel["bridge"], tunnel["type"], tunnel["df"]) == ("br0", "gre", True)
    for key in ("next_hop", "counters", "drops", "ecn_anomalies"):
        assert key in tunnel


def test_fdb_show_has_the_machines(host: Host) -> None:
    rows = {row["mac"]: row for row in host.daemon.ctl_json("fdb", "show", "br0")}
    for machine in host.vms:
        row = rows[machine.mac]
        assert (row["bridge"], row["port"], row["vlan"]) == ("br0", machine.port, 0)
    assert host.vms[0].mac in host.daemon.ctl("fdb", "show").stdout


def test_flows_show_has_the_pair_and_can_be_filtered(host: Host) -> None:
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    pair = {"source": host.vms[0].mac, "destination": host.vms[1].mac}

    def has_pair(rows: object) -> bool:
        return any(pair.items() <= row.items() for row in rows)

    assert has_pair(host.daemon.ctl_json("flows", "show"))
    assert has_pair(host.daemon.ctl_json("flows", "show", "--port", "vif1"))
    assert not has_pair(host.daemon.ctl_json("flows", "show", "--port", "vif2"))
    assert len(host.daemon.ctl_json("flows", "show", "--limit", "1")) == 1


def test_flows_flush_empties_the_cache_and_harms_nothing(host: Host) -> None:
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    host.daemon.ctl("flows", "flush")
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3


def test_drops_have_reason_port_and_packets(host: Host) -> None:
    rows = host.daemon.ctl_json("drops")
    assert {"reason": "source_multicast", "port": "vif1", "packets": 1} in rows
    assert "source_multicast" in host.daemon.ctl("drops").stdout
    every = host.daemon.ctl_json("drops", "--all")
    assert {"reason": "tunnel_unknown_key", "port": "t0", "packets": 0} in every


def test_counters_count(host: Host) -> None:
    def received() -> int:
        rows = host.daemon.ctl_json("counters", "vif1")
        assert [row["port"] for row in rows] == ["vif1"]
        return rows[0]["rx_packets"]

    before = received()
    assert ping(host.vms[0].ns, host.vms[1].address(), count=10).received == 10
    assert received() >= before + 10


def test_every_received_packet_is_sent_or_dropped(host: Host) -> None:
    """The books balance: a unicast ping between two ports leaves as many packets as it entered."""
    assert ping(host.vms[0].ns, host.vms[1].address(), count=20).received == 20
    rows = {row["port"]: row for row in host.daemon.ctl_json("counters")}
    drops = sum(row["drops"] for row in rows.values())
    assert drops == sum(row["packets"] for row in host.daemon.ctl_json("drops"))


def test_workers_are_shown(host: Host) -> None:
    rows = host.daemon.ctl_json("workers")
    assert [row["worker"] for row in rows] == [0]
    assert rows[0]["packets"] > 0


def test_cycles_of_stages_are_shown(host: Host) -> None:
    def cycles_by_stage() -> dict[str, int]:
        ping(host.vms[0].ns, host.vms[1].address(), count=200, interval_s=0.002)
        rows = host.daemon.ctl_json("workers", "stages")
        return {row["stage"]: row["cycles_per_packet"] for row in rows}

    wait_until(lambda: None not in cycles_by_stage().values(), "a timed round of the worker")
    cycles = cycles_by_stage()
    assert list(cycles) == ["receive", "admit", "look_up", "output", "transmit"]
    assert all(count > 0 for count in cycles.values())


def test_versions_agree(host: Host) -> None:
    text = host.daemon.ctl("version").stdout
    assert "culvert-ctl " in text and "culvertd " in text
    versions = host.daemon.ctl_json("version")
    assert versions["culvertd"].split()[-1] == versions["culvert-ctl"]


def test_reload_says_what_it_did(host: Host) -> None:
    host.config.tunnels.clear()
    host.daemon.write_config()
    assert "t0" in host.daemon.ctl("reload").stdout
    assert host.daemon.shown("t0") is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("fdb", "show", "br9"), 1, ["br9", "br0"]),
        (("show", "tunnel", "vif1"), 1, ["vif1", "tunnel"]),
        (("show", "tunnel"), 2, ["TUNNEL"]),
        (("counters", "vif9"), 1, ["vif9"]),
        (("log", "set", "loud"), 2, ["loud", "warning"]),
        (("log", "set"), 2, ["LEVEL"]),
        (("frobnicate",), 2, ["frobnicate"]),
        (("-f", "xml", "show"), 2, ["xml", "json"]),
        (("raw", "no/such"), 1, ["no/such"]),
    ],
)
def test_mistakes_have_a_sentence_and_an_exit_code(
    host: Host, arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    done = host.daemon.ctl(*arguments, check=False)
    assert done.returncode == code, done
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_log_levels_are_accepted(host: Host) -> None:
    for level in ("debug", "info", "warning", "error"):
        assert host.daemon.ctl("log", "set", level).returncode == 0


def test_a_daemon_that_does_not_run_is_said_to(lab: Lab, build: Build) -> None:
    path = lab.directory / "nobody.ctl"
    done = run([str(build.culvert_ctl), "--socket", str(path), "show"], check=False)
    assert done.returncode == 2
    assert str(path) in done.stderr and "running" in done.stderr


def test_the_tool_of_open_vswitch_works_as_well(host: Host) -> None:
    missing = require_root_and_tools({"ovs-appctl": "openvswitch-common"})
    assert missing == []
    appctl = ["ovs-appctl", "-t", str(host.daemon.socket_path)]
    assert "vif1" in run([*appctl, "show"]).stdout
    assert "fdb/show" in run([*appctl, "list-commands"]).stdout
    assert json.loads(run([*appctl, "drops", "--format", "json"]).stdout)
    wrong = run([*appctl, "no/such"], check=False)
    assert wrong.returncode != 0 and "no/such" in wrong.stderr


def test_many_clients_at_once(host: Host) -> None:
    processes = [
        host.lab.spawn(
            [str(host.daemon.build.culvert_ctl), "--socket", str(host.daemon.socket_path), "show"],
            name=f"client-{number}",
        )
        for number in range(20)
    ]
    assert [process.wait() for process in processes] == [0] * 20
