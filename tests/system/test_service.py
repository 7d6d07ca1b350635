# SPDX-License-Identifier: GPL-2.0-or-later
"""culvert-ctl in the part of ovs-ctl: ovsdb-server and the switch started, asked, stopped, in a
namespace and in folders of their own.
"""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest

from netlab.lab import run, wait_until
from netlab.peers import OVS_SCHEMA


class Service:
    def __init__(self, lab, build) -> None:
        self.host = lab.namespace("h")
        self.folder = lab.directory / "service"
        self.build = build
        sbin = self.folder / "sbin"
        sbin.mkdir(parents=True)
        (sbin / "ovs-vswitchd").symlink_to(build.culvertd)
        self.environment = os.environ | {
            "OVS_RUNDIR": str(self.folder / "run"),
            "OVS_LOGDIR": str(self.folder / "log"),
            "OVS_DBDIR": str(self.folder / "db"),
            "OVS_SYSCONFDIR": str(self.folder / "etc"),
            "OVS_SBINDIR": str(sbin),
        }
        (self.folder / "etc").mkdir()

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(
            self.build.culvert_ctl, *arguments, env=self.environment, check=check, timeout_s=60
        )

    def vsctl(self, *arguments: str) -> str:
        command = ["ovs-vsctl", f"--db=unix:{self.folder}/run/db.sock", "--timeout=20"]
        return self.host.run(*command, *arguments).stdout.strip()

    def pid(self, name: str) -> int:
        return int((self.folder / "run" / f"{name}.pid").read_text(encoding="ascii"))


@pytest.fixture
def service(lab, build):
    made = Service(lab, build)
    yield made
    made.ctl("stop", check=False)


def test_start_status_restart_stop(service) -> None:
    started = service.ctl("start", "--system-id=random", "--external-id=color=blue")
    assert "Starting ovsdb-server." in started.stdout
    assert service.ctl("status").stdout.splitlines() == [
        f"ovsdb-server is running with pid {service.pid('ovsdb-server')}",
        f"ovs-vswitchd is running with pid {service.pid('ovs-vswitchd')}",
    ]
    comm = pathlib.Path(f"/proc/{service.pid('ovs-vswitchd')}/comm")
    assert comm.read_text(encoding="ascii").strip() == "ovs-vswitchd"
    kept = (service.folder / "etc/openvswitch/system-id.conf").read_text(encoding="ascii").strip()
    assert service.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id") == f'"{kept}"'
    assert service.vsctl("get", "Open_vSwitch", ".", "external_ids:color") == "blue"
    service.vsctl("add-br", "br0")
    before = service.pid("ovs-vswitchd")
    service.ctl("restart", "--system-id=random")
    assert service.pid("ovs-vswitchd") != before
    assert service.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id") == f'"{kept}"'
    assert service.vsctl("list-br") == "br0"
    assert "Exiting ovs-vswitchd" in service.ctl("stop").stdout
    stopped = service.ctl("status", check=False)
    assert stopped.returncode == 1
    assert stopped.stdout.splitlines() == [
        "ovsdb-server is not running",
        "ovs-vswitchd is not running",
    ]
    assert service.ctl("stop").returncode == 0


def test_start_deletes_bridges_when_asked(service) -> None:
    service.ctl("start", "--system-id=x")
    service.vsctl("add-br", "br0")
    service.ctl("stop")
    service.ctl("start-ovsdb-server", "--system-id=x", "--delete-bridges")
    assert service.ctl("status", "--no-ovs-vswitchd").returncode == 0
    assert service.ctl("status", check=False).returncode == 1
    assert service.vsctl("--no-wait", "list-br") == ""


def test_transient_ports_are_deleted(service) -> None:
    service.ctl("start", "--system-id=x")
    service.vsctl("add-br", "br0", "--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=internal")
    service.vsctl("add-port", "br0", "p2", "--", "set", "interface", "p2", "type=internal", "--", "set", "port", "p2", "other_config:transient=true")
    service.ctl("delete-transient-ports")
    assert service.vsctl("list-ports", "br0") == "p1"


def test_a_database_of_another_schema_is_converted(service) -> None:
    service.ctl("start-ovsdb-server", "--system-id=x")
    service.vsctl("--no-wait", "add-br", "br0")
    service.ctl("stop")
    database = service.folder / "db" / "conf.db"
    older = service.folder / "older.ovsschema"
    text = pathlib.Path(OVS_SCHEMA).read_text(encoding="ascii")
    older.write_text(text.replace('"version": "8.', '"version": "7.'), encoding="ascii")
    run(["ovsdb-tool", "convert", str(database), str(older)])
    started = service.ctl("start-ovsdb-server", "--system-id=x")
    assert "Converting database schema." in started.stdout
    assert service.vsctl("--no-wait", "list-br") == "br0"
    assert list(database.parent.glob("conf.db.backup7.*"))


def test_what_cannot_be_done_is_said(service) -> None:
    refused = service.ctl("start", "--ovs-user=nobody", check=False)
    assert refused.returncode == 1
    assert "--ovs-user=nobody is not valid; valid: root" in refused.stderr
    refused = service.ctl("start", "--db-schema=/nonexistent", check=False)
    assert refused.returncode == 1
    assert "Creating empty database" in refused.stdout and "/nonexistent" in refused.stderr
    wait_until(lambda: service.ctl("status", check=False).returncode == 1, "nothing was started")
