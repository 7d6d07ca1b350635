# SPDX-License-Identifier: GPL-2.0-or-later
"""XAPI of a host, as a stand-in: starts xapi_server.py in a namespace or a private root, fills it
with records, and makes it fail, be slow, or die.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import socket
from collections.abc import Callable
from typing import Protocol

from netlab.lab import LabError, Process, wait_until
from netlab.xen_records import Records

PROGRAM_IN_ROOT = "/usr/libexec/xapi-stand-in"
PROGRAM = pathlib.Path(__file__).with_name("xapi_server.py")
SOCKET_G1 = "/var/xapi/xapi"
SOCKET_G2 = "/var/lib/xcp/xapi"


class XapiFailure(Exception):
    """What XAPI answered with: a code and its parameters."""

    def __init__(self, code: str, data: list[str]) -> None:
        super().__init__(f"{code}: {data}")
        self.code = code
        self.data = data


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Root(Protocol):
    """What is needed of netlab.private_root."""

    def write(self, inside: str, text: str, mode: int = 0o644) -> None: ...

    def spawn(self, *argv: object, **options: object) -> Process: ...


class Xapi:
    """`spawn` is that of a Namespace or of a private root: spawn(*argv, name=..., env=...)."""

    def __init__(
        self,
        spawn: Callable[..., Process],
        records: Records,
        path: str | None = None,
        plugins: str = "/etc/xapi.d/plugins",
        env: dict[str, str] | None = None,
        program: pathlib.Path = PROGRAM,
    ) -> None:
        self.path = path or (SOCKET_G1 if records.generation == 1 else SOCKET_G2)
        self.plugins = plugins
        self.process: Process | None = None
        self._spawn = spawn
        self._tables = records.tables
        self._env = env or {}
        self._program = program
        self._session: str | None = None
        self._starts = 0

    @classmethod
    def in_root(cls, root: Root, records: Records, env: dict[str, str] | None = None) -> Xapi:
        """The one of a private root, at the host's own paths."""
        root.write(PROGRAM_IN_ROOT, PROGRAM.read_text(encoding="utf-8"), 0o755)
        return cls(root.spawn, records, env=env, program=pathlib.Path(PROGRAM_IN_ROOT))

    # its life

    def start(self) -> Xapi:
        self._starts += 1
        self._session = None
        self.process = self._spawn(
            *("/usr/bin/python3", self._program, "--socket", self.path, "--plugins", self.plugins),
            name=f"xapi-{self._starts}",
            env=self._env,
        )
        wait_until(self._answers, "XAPI answers")
        self.control("put", records=self._tables)
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise LabError(f"the XAPI stand-in ended: {self.process.output()[-2000:]}")
        try:
            self.control("sessions")
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """It dies, and plugins that run go on alone. Its records are kept for the next start; its
        socket stays and refuses connections."""
        assert self.process is not None
        self._tables = self.tables()
        # Not by a signal, which would end only the program that entered the private root for it.
        with contextlib.suppress(http.client.RemoteDisconnected, ConnectionError):
            self.control("die")
        self.process.wait()
        self.process = None

    # the driver's side

    def _post(self, path: str, content: object, timeout_s: float = 60.0) -> object:
        assert self.process is not None, "XAPI does not run"
        # The socket as the server sees it, whose root and mounts may not be ours.
        connection = _Connection(f"/proc/{self.process.pid}/root{os.path.abspath(self.path)}", timeout_s)
        try:
            connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise LabError(f"{path}: {answer.status} {body}")
        return json.loads(body)

    def control(self, op: str, **arguments: object) -> object:
        return self._post("/control", {"op": op, **arguments})

    def tables(self) -> dict[str, dict[str, dict]]:
        """All records, as they are now."""
        return self.control("records")  # type: ignore[return-value]

    def put(self, records: Records) -> None:
        self.control("put", records=records.tables)

    def fail(self, method: str, *error: str, times: int | None = None, skip: int = 0) -> None:
        """Calls of `method` (a pattern with *) end with this error, after `skip` that do not."""
        self.control("trouble", method=method, error=error, times=times, skip=skip)

    def drop(self, method: str, times: int | None = None, skip: int = 0) -> None:
        """Calls of `method` get no answer: the connection ends, as when XAPI dies meanwhile."""
        self.control("trouble", method=method, drop=True, times=times, skip=skip)

    def delay(self, method: str, seconds: float, times: int | None = None, skip: int = 0) -> None:
        self.control("trouble", method=method, seconds=seconds, times=times, skip=skip)

    def hold(self, method: str, times: int | None = None, skip: int = 0) -> None:
        """Calls of `method` are answered after the next recover()."""
        self.control("trouble", method=method, hold=True, times=times, skip=skip)

    def recover(self) -> None:
        self.control("no-trouble")

    def calls(self) -> list[str]:
        """Methods that were called, in order."""
        return self.control("calls")  # type: ignore[return-value]

    def plugin_runs(self) -> list[dict]:
        """What became of each plugin that was run: plugin, function, status, stderr, and its value
        or its failure (a list)."""
        return self.control("plugin-runs")  # type: ignore[return-value]

    # a client's side, as xe or Xen Orchestra

    def call(self, method: str, *params: object) -> object:
        """A call in a session of its own."""
        if self._session is None:
            self._session = str(self._call("session.login_with_password", "root", "", "1.0", "tests"))
        return self._call(method, self._session, *params)

    def _call(self, method: str, *params: object) -> object:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self._post("/jsonrpc", request)
        assert isinstance(answer, dict)
        if "error" in answer:
            raise XapiFailure(answer["error"]["message"], answer["error"]["data"])
        return answer["result"]

    def call_plugin(self, plugin: str, function: str, **args: str) -> str:
        """What the plugin answers; XapiFailure when it fails."""
        hosts = self.call("host.get_all")
        assert isinstance(hosts, list)
        return str(self.call("host.call_plugin", hosts[0], plugin, function, args))

    def update_vswitch_controller(self) -> str:
        """What XAPI does as it starts: the task "updating the vswitch controller"."""
        modern = "SDN_controller" in self.tables()
        return self.call_plugin("openvswitch-config-update" if modern else "openvswitch-cfg-update", "update")
