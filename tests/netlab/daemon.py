# SPDX-License-Identifier: GPL-2.0-or-later
"""culvertd in a host's namespace, and culvert-ctl to talk to it."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

from netlab.config import Config
from netlab.lab import LabError, Namespace, Process, run, wait_until


# What a failure report asks of a running daemon.
_REPORTED = (("show",), ("drops",), ("fdb", "show"), ("flows", "show"), ("counters",))


def _named(tree: object, name: str) -> Iterator[dict]:
    """Every object inside `tree` that has this name, outer ones first."""
    if isinstance(tree, dict):
        if tree.get("name") == name:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _named(branch, name)


class Build:
    """Where the binaries of a build are; refuses when one is missing."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.culvertd = directory / "ctl" / "culvertd"
        self.culvert_ctl = directory / "ctl" / "culvert-ctl"

    def missing(self) -> list[str]:
        return [
            f"{path} is missing: build it first (cmake --build {self.directory})."
            for path in (self.culvertd, self.culvert_ctl)
            if not os.access(path, os.X_OK)
        ]


class NotifySocket:
    """The receiving end of sd_notify(3)."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))

    def receive(self, timeout_s: float) -> bool:
        """Takes one datagram; its lines are appended to `messages`."""
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        if readable:
            self.messages += self._socket.recv(65536).decode(errors="replace").split("\n")
        return bool(readable)

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


class Culvertd:
    """One daemon: its configuration file, its process, its control socket."""

    def __init__(self, host: Namespace, build: Build, config: Config, name: str = "") -> None:
        self.host = host
        self.build = build
        self.config = config
        self.name = name or f"{host.name}-culvertd"
        self.process: Process | None = None
        self.notify: NotifySocket | None = None
        directory = host.lab.directory
        self.config_path = directory / f"{self.name}.toml"
        self.socket_path = directory / f"{self.name}.ctl"
        config.daemon.setdefault("socket", str(self.socket_path))
        config.daemon.setdefault("state_dir", str(directory / f"{self.name}.state"))
        host.lab.reporters.append(self.report)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def write_config(self) -> None:
        self.config_path.write_text(self.config.text(), encoding="utf-8")

    def start(self, ready: bool = True, arguments: tuple[str, ...] = ()) -> Culvertd:
        self.write_config()
        if self.notify is not None:
            self.notify.close()
        self.notify = NotifySocket(self.host.lab.directory / f"{self.name}.notify")
        self.process = self.host.spawn(
            self.build.culvertd,
            "--config",
            self.config_path,
            *arguments,
            name=self.name,
            env={"NOTIFY_SOCKET": str(self.notify.path)},
        )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        assert self.process is not None and self.notify is not None
        deadline = time.monotonic() + timeout_s
        while "READY=1" not in self.notify.messages:
            if not self.notify.receive(0.1) and not self.process.running:
                raise LabError(
                    f"{self.name} ended with {self.process.child.returncode} before it was ready: "
                    + self.process.output().strip()
                )
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} did not report READY=1 in {timeout_s:g} s")

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 30.0) -> int:
        """Asks the daemon to end and returns its exit code (negative: the signal)."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        if self.notify is not None:
            self.notify.close()
            self.notify = None
        return code

    def reload(self) -> None:
        """Writes the configuration and applies it with `culvert-ctl reload`."""
        self.write_config()
        self.ctl("reload")

    def send_reload_signal(self) -> None:
        """Writes the configuration and sends SIGHUP; the caller waits for the effect."""
        self.write_config()
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    # culvert-ctl

    def ctl(
        self, *arguments: str, check: bool = True, json_format: bool = False
    ) -> subprocess.CompletedProcess[str]:
        options = ["-f", "json"] if json_format else []
        return run(
            [str(self.build.culvert_ctl), "--socket", str(self.config.daemon["socket"]), *options]
            + list(arguments),
            check=check,
        )

    def ctl_json(self, *arguments: str) -> object:
        text = self.ctl(*arguments, json_format=True).stdout
        try:
            return json.loads(text)
        except ValueError as error:
            command = " ".join(arguments)
            raise LabError(f"culvert-ctl {command}: no JSON ({error}): {text}") from error

    def drops(self, port: str | None = None) -> dict[str, int]:
        """Dropped packets by reason, without the reasons that never occurred."""
        sums: collections.Counter[str] = collections.Counter()
        for row in self.ctl_json("drops"):
            if port is None or row["port"] == port:
                sums[row["reason"]] += row["packets"]
        return {reason: packets for reason, packets in sums.items() if packets > 0}

    def wait_for_drops(self, reason: str, packets: int = 1, timeout_s: float = 30.0) -> int:
        def enough() -> int:
            count = self.drops().get(reason, 0)
            return count if count >= packets else 0

        what = f"{self.name} counted {packets} drops as {reason}"
        return int(wait_until(enough, what, timeout_s, interval_s=0.05))

    def shown(self, name: str) -> dict | None:
        """What `show` says of one bridge, port or tunnel; ports before the bridge of their name."""
        found = list(_named(self.ctl_json("show"), name))
        return found[-1] if found else None

    def fdb(self) -> list[dict]:
        """The learned and static addresses: dicts with bridge, vlan, mac, port."""
        return list(self.ctl_json("fdb", "show"))

    def fdb_ports(self, mac: str) -> set[str]:
        return {row["port"] for row in self.fdb() if row["mac"].lower() == mac.lower()}

    def cpu_seconds(self) -> float:
        """Processor time used so far, by all threads."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        assert self.process is not None
        return self.process.output()

    def report(self) -> str:
        parts = [f"=== {self.name}: configuration", self.config.text()]
        if self.process is not None and self.process.running:
            for command in _REPORTED:
                with contextlib.suppress(LabError, OSError, subprocess.SubprocessError):
                    done = self.ctl(*command, check=False)
                    text = (done.stdout + done.stderr).strip()
                    lines = text.splitlines()[:200]
                    parts += [f"=== {self.name}: culvert-ctl {' '.join(command)}", *lines]
        return "\n".join(parts)
