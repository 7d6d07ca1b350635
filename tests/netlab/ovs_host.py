# SPDX-License-Identifier: GPL-2.0-or-later
"""A host whose switch is configured by a real ovsdb-server: with culvertd in the part of
ovs-vswitchd, or with Open vSwitch's own to compare with. Both are started and driven alike.
"""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess

from netlab.daemon import Build
from netlab.lab import LabError, Namespace, Process, run, wait_until
from netlab.peers import OVS_SCHEMA, ovs_vswitchd

SYSTEM_ID = "culvert-test"


def _plain(value: object) -> object:
    """A value of ovs-vsctl's JSON as a Python one: maps are dicts, sets are sorted lists, a set of
    one is its element, rows are their UUIDs."""
    if isinstance(value, list) and len(value) == 2 and value[0] in ("map", "set", "uuid"):
        kind, content = value
        if kind == "uuid":
            return content
        if kind == "map":
            return {_plain(key): _plain(item) for key, item in content}
        return sorted((_plain(item) for item in content), key=str)
    return value


class Database:
    """Reads rows by stock ovs-vsctl."""

    def vsctl(self, *arguments: object, **options: object) -> str:
        raise NotImplementedError

    def rows(self, table: str, *columns: str) -> list[dict]:
        """Every row, with Python values (see _plain)."""
        options = [f"--columns={','.join(columns)}"] if columns else []
        text = self.vsctl("--no-wait", "--format=json", *options, "list", table)
        answer = json.loads(text)
        return [dict(zip(answer["headings"], map(_plain, row))) for row in answer["data"]]

    def row(self, table: str, name: str, *columns: str) -> dict:
        wanted = ("name", *columns) if columns else ()
        found = [row for row in self.rows(table, *wanted) if row["name"] == name]
        if len(found) != 1:
            raise LabError(f"{table} has {len(found)} rows named {name}")
        return found[0]


class OvsHost(Database):
    """ovsdb-server and a switch in the namespace `host`, in a run directory of their own."""

    def __init__(self, host: Namespace, build: Build | None = None, name: str = "") -> None:
        """With a `build` the switch is its culvertd; without, it is Open vSwitch's ovs-vswitchd."""
        self.host = host
        self.name = name or host.name
        self.directory = host.lab.directory / f"{self.name}-ovs"
        self.directory.mkdir()
        self.database = self.directory / "conf.db"
        self.socket = self.directory / "db.sock"
        self.server: Process | None = None
        self.switch: Process | None = None
        self._starts = 0
        self.build = build
        if build is None:
            self.program = pathlib.Path(ovs_vswitchd())
        else:
            self.program = self.directory / "ovs-vswitchd"
            self.program.symlink_to(build.culvertd)
        host.lab.reporters.append(self.report)

    @property
    def environment(self) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        return {name: str(self.directory) for name in names}

    @property
    def remote(self) -> str:
        return f"unix:{self.socket}"

    # the database's server

    def create_database(self) -> None:
        self.database.unlink(missing_ok=True)
        run(["ovsdb-tool", "create", str(self.database), OVS_SCHEMA])

    def start_server(self, initialise: bool = True) -> None:
        if not self.database.exists():
            self.create_database()
        self._starts += 1
        self.server = self.host.spawn(
            *("ovsdb-server", self.database, f"--remote=punix:{self.socket}"),
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
            f"--unixctl={self.directory}/ovsdb-{self._starts}.ctl",
            name=f"{self.name}-ovsdb-{self._starts}",
            env=self.environment,
        )
        wait_until(self._server_answers, "ovsdb-server answers")
        if initialise:
            self.vsctl("--no-wait", "init")

    def _server_answers(self) -> bool:
        return run(["ovsdb-client", "list-dbs", self.remote], check=False).returncode == 0

    def stop_server(self, number: int = signal.SIGKILL) -> None:
        assert self.server is not None
        self.server.stop(number)
        self.server = None

    # the switch

    def start_switch(self, *arguments: str, ready: bool = True) -> None:
        self._starts += 1
        self.switch = self.host.spawn(
            *(self.program, self.remote, "-vconsole:info", "-vsyslog:off"),
            f"--unixctl={self.control}",
            *arguments,
            name=f"{self.name}-vswitchd-{self._starts}",
            env=self.environment,
        )
        if ready:
            self.wait_applied()

    def stop_switch(self, number: int = signal.SIGTERM) -> int:
        assert self.switch is not None
        code = self.switch.stop(number)
        self.switch = None
        return code

    def start(self, *arguments: str) -> OvsHost:
        self.start_server()
        self.start_switch(*arguments)
        return self

    @property
    def control(self) -> pathlib.Path:
        return self.directory / "vswitchd.ctl"

    def wait_applied(self, timeout_s: float = 30.0) -> None:
        """Until the switch has taken everything that is in the database."""
        sequence = int(self.vsctl("--no-wait", "get", "Open_vSwitch", ".", "next_cfg"))

        def applied() -> bool:
            if self.switch is not None and not self.switch.running:
                raise LabError(f"{self.switch.name} ended: {self.switch.output()[-2000:]}")
            return int(self.vsctl("--no-wait", "get", "Open_vSwitch", ".", "cur_cfg")) >= sequence

        if sequence == 0:
            self.vsctl("set", "Open_vSwitch", ".", "external_ids:started=1")
            return
        wait_until(applied, f"{self.name} applied configuration {sequence}", timeout_s)

    # machines

    def wire_machines(self, count: int = 2) -> list[Namespace]:
        """Machine N has 10.0.0.N at its eth0; the other end, vifN, is in no bridge yet."""
        machines = [self.host.lab.namespace(f"vm{index}") for index in range(1, count + 1)]
        for index, machine in enumerate(machines, 1):
            self.host.lab.wire(self.host, f"vif{index}", machine, "eth0")
            machine.add_address("eth0", f"10.0.0.{index}/24")
        return machines

    # tools

    def vsctl(self, *arguments: object, check: bool = True) -> str:
        """Stock ovs-vsctl; returns when the switch has applied the change (unless --no-wait)."""
        return self.vsctl_done(*arguments, check=check).stdout

    def vsctl_done(
        self, *arguments: object, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = ["ovs-vsctl", f"--db={self.remote}", "--timeout=20", *map(str, arguments)]
        return self.host.run(*command, check=check)

    def appctl(self, *arguments: object, check: bool = True) -> str:
        return run(["ovs-appctl", "-t", str(self.control), *map(str, arguments)], check=check).stdout

    def log(self) -> str:
        assert self.switch is not None
        return self.switch.output()

    def report(self) -> str:
        parts = []
        if self.server is not None and self.server.running:
            shown = run(["ovs-vsctl", f"--db={self.remote}", "--timeout=5", "show"], check=False)
            parts += [f"=== {self.name}: ovs-vsctl show", shown.stdout + shown.stderr]
        return "\n".join(parts)
