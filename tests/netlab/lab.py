# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces, wires and processes of one laboratory, and their removal.

Ends only what it started: its own children, and processes found inside its own namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NETNS_FOLDER = pathlib.Path("/run/netns")


class LabError(Exception):
    """Something in the laboratory did not do what it must; the text is for the reader."""


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = 30.0, interval_s: float = 0.02
) -> object:
    """Polls `condition` until it is true and returns its value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise LabError(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(interval_s)


def run(
    argv: Sequence[str], check: bool = True, timeout_s: float = 60.0, **options: object
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and returns its output as text."""
    done = subprocess.run(
        [str(a) for a in argv],
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=timeout_s,
        check=False,
        **options,
    )
    if check and done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        raise LabError(f"'{' '.join(map(str, argv))}' ended with {done.returncode}: {output}")
    return done


def require_root_and_tools(tools: Mapping[str, str]) -> list[str]:
    """What is missing to run a laboratory, one sentence each. `tools` maps tool to package."""
    missing = []
    if os.geteuid() != 0:
        missing.append("This needs root: it creates network namespaces and packet sockets.")
    for tool, package in tools.items():
        if shutil.which(tool) is None:
            missing.append(f"The program '{tool}' is missing; Debian has it in package {package}.")
    return missing


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A child of ours; its output goes to a file that failure reports show."""

    def __init__(self, name: str, child: subprocess.Popen, log: pathlib.Path, end_signal: int) -> None:
        self.name = name
        self.child = child
        self.log = log
        self.end_signal = end_signal  # What the laboratory ends it by.

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def send_signal(self, number: int) -> None:
        # The child is not reaped before poll() sees it, so its pid cannot belong to another.
        if self.child.poll() is None:
            self.child.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} (pid {self.pid}) did not end in {timeout_s:g} s") from None

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        """Ends the process, by SIGKILL when `number` does not suffice; returns its exit code."""
        self.send_signal(number)
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()


class Namespace:
    """One network namespace: a host, a virtual machine, or a piece of the wire."""

    def __init__(self, lab: Lab, name: str, full_name: str) -> None:
        self.lab = lab
        self.name = name
        self.full_name = full_name

    def run(self, *argv: object, **options: object) -> subprocess.CompletedProcess[str]:
        return run(["ip", "netns", "exec", self.full_name, *map(str, argv)], **options)

    def spawn(self, *argv: object, name: str | None = None, **options: object) -> Process:
        command = ["ip", "netns", "exec", self.full_name, *map(str, argv)]
        name = name or f"{self.name}-{os.path.basename(argv[0])}"
        return self.lab.spawn(command, name=name, **options)

    def ip(self, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        return run(["ip", "-n", self.full_name, *map(str, arguments)], **options)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is inside; sockets made here stay in this namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(_NETNS_FOLDER / self.full_name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(home)

    def set_sysctl(self, key: str, value: object) -> None:
        with self.entered():
            path = pathlib.Path("/proc/sys") / key.replace(".", "/")
            path.write_text(f"{value}\n", encoding="ascii")

    def links(self) -> dict[str, dict]:
        return {link["ifname"]: link for link in json.loads(self.ip("-j", "link", "show").stdout)}

    def mac(self, interface: str) -> str:
        return self.links()[interface]["address"]

    def mtu(self, interface: str) -> int:
        return int(self.links()[interface]["mtu"])

    def add_address(self, interface: str, address: str) -> None:
        options = ["nodad"] if ":" in address else []
        self.ip("addr", "add", address, "dev", interface, *options)

    def pids(self) -> list[int]:
        listing = run(["ip", "netns", "pids", self.full_name], check=False).stdout
        return [int(pid) for pid in listing.split()]


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def kill_inside(pids: Iterable[int], kind: str, number: int) -> None:
    """Ends those of `pids` that are in the namespace of this kind ("net", "pid") and number."""
    for pid in pids:
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)  # From here on the pid cannot change its owner.
            try:
                if os.stat(f"/proc/{pid}/ns/{kind}").st_ino == number:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


class Lab:
    """Context manager that owns the namespaces, processes and files of one laboratory."""

    def __init__(self) -> None:
        self.run_id = f"{os.getpid():x}{secrets.token_hex(2)}"
        self.directory = pathlib.Path()
        self.namespaces: dict[str, Namespace] = {}
        self.processes: list[Process] = []
        self.reporters: list[Callable[[], str]] = []
        self._previous_handlers: dict[int, object] = {}
        self._critical_depth = 0
        self._pending_signal: int | None = None

    # Signals. A signal between "created" and "noted as ours" would leave something behind, so it
    # waits until such a section ends; everywhere else it ends the body of the `with` at once.

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._critical_depth > 0:
            self._pending_signal = number
        else:
            raise Interrupted(number)

    @contextlib.contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        self._critical_depth += 1
        try:
            yield
        finally:
            self._critical_depth -= 1
        if self._critical_depth == 0 and self._pending_signal is not None:
            number, self._pending_signal = self._pending_signal, None
            raise Interrupted(number)

    def __enter__(self) -> Lab:
        self._critical_depth += 1
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous_handlers[number] = signal.signal(number, self._on_signal)
        try:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"cv{self.run_id}-"))
            if self._pending_signal is not None:
                raise Interrupted(self._pending_signal)
        except BaseException:
            self._remove_everything()
            raise
        self._critical_depth -= 1
        return self

    def __exit__(self, *_exception: object) -> None:
        self._critical_depth += 1  # A second Ctrl-C must not stop the cleaning.
        self._remove_everything()

    def _remove_everything(self) -> None:
        try:
            for process in reversed(self.processes):
                process.send_signal(process.end_signal)
            for process in reversed(self.processes):
                process.stop(process.end_signal)
            for namespace in self.namespaces.values():
                self._kill_strays(namespace)
                run(["ip", "netns", "del", namespace.full_name], check=False)
            if self.directory != pathlib.Path():
                shutil.rmtree(self.directory, ignore_errors=True)
        finally:
            for number, handler in self._previous_handlers.items():
                signal.signal(number, handler)

    @staticmethod
    def _kill_strays(namespace: Namespace) -> None:
        """Ends grandchildren: whatever runs inside a namespace of ours is ours."""
        try:
            ours = os.stat(_NETNS_FOLDER / namespace.full_name)
        except FileNotFoundError:
            return
        kill_inside(namespace.pids(), "net", ours.st_ino)

    def namespace(self, name: str) -> Namespace:
        """Creates a namespace with its loopback up."""
        space = Namespace(self, name, f"cv{self.run_id}-{name}")
        if name in self.namespaces:
            raise LabError(f"the laboratory already has a namespace '{name}'")
        with self._uninterrupted():
            self.namespaces[name] = space
            run(["ip", "netns", "add", space.full_name])
        # Tests look at what the switch sends, so the kernel shall not add router solicitations, and
        # an IPv6 address shall be usable at once. New interfaces copy these values.
        for key, value in (("accept_dad", 0), ("dad_transmits", 0), ("accept_ra", 0)):
            space.set_sysctl(f"net.ipv6.conf.default.{key}", value)
        space.ip("link", "set", "lo", "up")
        return space

    def wire(
        self,
        a: Namespace,
        a_interface: str,
        b: Namespace,
        b_interface: str,
        mtu: int = 1500,
        a_mac: str | None = None,
        b_mac: str | None = None,
    ) -> None:
        """A veth pair between two namespaces, both ends up, offloads as the kernel sets them."""
        a_options = ["address", a_mac] if a_mac else []
        b_options = ["address", b_mac] if b_mac else []
        run(
            ["ip", "link", "add", a_interface, "netns", a.full_name, "mtu", str(mtu), *a_options]
            + ["type", "veth", "peer", "name", b_interface, "netns", b.full_name]
            + ["mtu", str(mtu), *b_options]
        )
        a.ip("link", "set", a_interface, "up")
        b.ip("link", "set", b_interface, "up")

    def spawn(
        self,
        argv: Sequence[str],
        name: str,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        end_signal: int = signal.SIGTERM,
    ) -> Process:
        """Starts a child. Its output goes to a log file, unless `stdout` says otherwise."""
        log = self.directory / f"{name}-{len(self.processes)}.log"
        with self._uninterrupted(), open(log, "wb") as sink:
            child = subprocess.Popen(
                [str(a) for a in argv],
                stdin=stdin,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C is for us; children are ended in order.
                preexec_fn=_die_with_parent,
            )
            process = Process(name, child, log, end_signal)
            self.processes.append(process)
        return process

    def report(self) -> str:
        """For failure reports: what each daemon says of itself, and the end of every log."""
        parts = []
        for reporter in self.reporters:
            try:
                parts.append(reporter())
            except (LabError, OSError, subprocess.SubprocessError) as error:
                parts.append(f"(no report: {error})")
        for process in self.processes:
            code = process.child.poll()
            state = "running" if code is None else f"ended with {code}"
            lines = process.output().splitlines()[-60:]
            parts.append("\n".join([f"=== {process.name} (pid {process.pid}, {state})", *lines]))
        return "\n".join(parts)
