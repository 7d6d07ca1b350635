# SPDX-License-Identifier: GPL-2.0-or-later
"""culvertd as the process that stock ovs-ctl, ovs-appctl and logrotate take for ovs-vswitchd.

Everything of Open vSwitch's but the switch is Debian's own, in folders of the test's.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, run, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z\|\d{5}\|[a-z_]+(\(monitor\))?\|(EMER|ERR|WARN|INFO|DBG)\|")


class Installation:
    """Folders, PATH and environment of an Open vSwitch whose ovs-vswitchd is culvertd."""

    def __init__(self, lab: Lab, build: Build) -> None:
        self.lab = lab
        self.host = lab.namespace("host")
        self.directory = lab.directory / "ovs"
        self.run_folder = self.directory / "run"
        self.log_folder = self.directory / "log"
        self.programs = self.directory / "bin"
        for folder in (self.run_folder, self.log_folder, self.programs, self.directory / "etc"):
            folder.mkdir(parents=True)
        (self.directory / "etc" / "openvswitch").mkdir()
        (self.programs / "ovs-vswitchd").symlink_to(build.culvertd)
        # ovs-ctl wants a kernel module, which the switch here does without and a host may lack.
        for name in ("modprobe", "rmmod"):
            (self.programs / name).symlink_to("/bin/true")
        self.config = self.directory / "culvert.toml"
        self.config.write_text(f'[daemon]\nsocket = "{self.directory}/culvertd.ctl"\n')
        self.environment = {
            **os.environ,
            "PATH": f"{self.programs}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "OVS_RUNDIR": str(self.run_folder),
            "OVS_LOGDIR": str(self.log_folder),
            "OVS_DBDIR": str(self.directory / "etc" / "openvswitch"),
            "OVS_SYSCONFDIR": str(self.directory / "etc"),
        }

    @property
    def pidfile(self) -> pathlib.Path:
        return self.run_folder / "ovs-vswitchd.pid"

    @property
    def log_file(self) -> pathlib.Path:
        return self.log_folder / "ovs-vswitchd.log"

    @property
    def pid(self) -> int:
        return int(self.pidfile.read_text())

    @property
    def monitor(self) -> int:
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)[1])

    def call(self, *argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Output goes through files: what becomes a daemon keeps them until it is ready."""
        return self.host.run(*argv, check=check, env=self.environment)

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        options = [
            f"--ovs-vswitchd-options=--config={self.config}",
            *("--system-id=random", "--system-type=test", "--system-version=1"),
            "--no-record-hostname",
        ]
        return self.call(OVS_CTL, *options, *arguments, check=check)

    def appctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.call("ovs-appctl", "-t", "ovs-vswitchd", *arguments, check=check)

    def vsctl(self, *arguments: str) -> str:
        return self.call("ovs-vsctl", "--timeout=20", *arguments).stdout

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def kill(self) -> None:
        """Whatever is left."""
        pids = run(["ip", "netns", "pids", self.host.full_name], check=False).stdout.split()
        for pid in map(int, pids):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def report(self) -> str:
        return "\n".join(["=== ovs-vswitchd.log", *self.log().splitlines()[-60:]])


@pytest.fixture
def ovs(lab: Lab, build: Build) -> Iterator[Installation]:
    missing = [tool for tool in ("ovs-appctl", "ovs-vsctl", "ovsdb-server") if not shutil.which(tool)]
    assert not missing, f"{missing} missing: install openvswitch-switch"
    installation = Installation(lab, build)
    lab.reporters.append(installation.report)
    yield installation
    installation.kill()


def exists(pid: int) -> bool:
    return pathlib.Path(f"/proc/{pid}").exists()


def test_ovs_ctl_starts_asks_and_stops(ovs: Installation) -> None:
    assert ovs.ctl("status", check=False).returncode == 1
    ovs.ctl("start")
    # The launching process waited for the first configuration.
    assert ovs.vsctl("--no-wait", "get", "Open_vSwitch", ".", "cur_cfg").strip() != ""
    assert ovs.vsctl("get", "Open_vSwitch", ".", "ovs_version").strip() == '"3.1.0"'
    pid = ovs.pid
    assert pathlib.Path(f"/proc/{pid}/comm").read_text() == "ovs-vswitchd\n"
    assert f"ovs-vswitchd is running with pid {pid}" in ovs.ctl("status").stdout
    assert "already running" in ovs.ctl("start").stdout
    assert ovs.pid == pid
    title = pathlib.Path(f"/proc/{ovs.monitor}/cmdline").read_bytes().rstrip(b"\0")
    assert title == f"ovs-vswitchd: monitoring pid {pid} (healthy)".encode()
    monitor = ovs.monitor
    ovs.vsctl("add-br", "br0")
    ovs.ctl("stop")
    assert not exists(pid)
    wait_until(lambda: not exists(monitor), "the monitor ends")
    assert not ovs.pidfile.exists()
    assert list(ovs.run_folder.glob("ovs-vswitchd.*")) == []
    assert ovs.ctl("status", check=False).returncode == 1


def test_ovs_ctl_restart_keeps_what_is_configured(ovs: Installation) -> None:
    ovs.ctl("start")
    ovs.vsctl("add-br", "br0", "--", "add-port", "br0", "int0", "--", "set", "interface", "int0", "type=internal")
    first = ovs.pid
    ovs.ctl("restart")
    assert ovs.pid != first and not exists(first)
    assert ovs.vsctl("list-ports", "br0").split() == ["int0"]
    assert int(ovs.vsctl("get", "interface", "int0", "ofport")) > 0
    # It does not wait for flows any more.
    assert "flow-restore-wait" not in ovs.vsctl("get", "Open_vSwitch", ".", "other_config")
    second = ovs.pid
    ovs.ctl("force-reload-kmod")
    assert ovs.pid != second and not exists(second)
    assert {"br0", "int0"} <= set(ovs.host.links())


def test_a_crashed_daemon_is_started_again(ovs: Installation) -> None:
    ovs.ctl("start")
    ovs.vsctl("add-br", "br0")
    first, monitor = ovs.pid, ovs.monitor
    os.kill(first, signal.SIGSEGV)

    def answers() -> bool:
        return ovs.appctl("version", check=False).returncode == 0 and ovs.pid != first

    wait_until(answers, "the daemon is started again", timeout_s=60)
    assert ovs.monitor == monitor
    assert pathlib.Path(f"/proc/{ovs.pid}/comm").read_text() == "ovs-vswitchd\n"
    assert re.search(rf"daemon\(monitor\)\|ERR\|pid {first} died, killed by signal 11", ovs.log())
    ovs.vsctl("add-br", "br1")  # It follows the database.
    ovs.ctl("stop")
    wait_until(lambda: not exists(monitor), "the monitor ends")


def test_a_killed_daemon_stays_dead(ovs: Installation) -> None:
    ovs.ctl("start")
    pid, monitor = ovs.pid, ovs.monitor
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not exists(monitor), "the monitor ends")
    status = ovs.ctl("status", check=False)
    assert status.returncode == 1 and "is stale" in status.stdout
    ovs.ctl("start")
    assert ovs.pid != pid


def test_a_second_daemon_is_refused(ovs: Installation) -> None:
    ovs.ctl("start")
    done = ovs.call("ovs-vswitchd", "--pidfile", "--detach", check=False)
    assert done.returncode == 1
    assert f"{ovs.pidfile}: already running as pid {ovs.pid}, aborting" in done.stderr
    assert ovs.appctl("version").returncode == 0


def test_a_start_that_fails_says_why(ovs: Installation) -> None:
    blocked = ovs.directory / "blocked.ctl"
    blocked.write_text("not a socket")
    done = ovs.call(
        *("ovs-vswitchd", f"--config={ovs.config}", f"--unixctl={blocked}", "-vconsole:emer"),
        *("--detach", "--monitor", "--pidfile", "--log-file"),
        check=False,
    )
    assert done.returncode == 1
    assert "a file that is not a socket is there" in done.stderr
    assert not ovs.pidfile.exists()
    assert "a file that is not a socket is there" in ovs.log()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--nope", 'unrecognized option "--nope"'),
        ("-vbogus", 'processing "bogus": no destination, level, or module "bogus"'),
        ("--user=nobody", '--user "nobody" is not supported'),
        ("--dpdk", "--dpdk is not supported"),
        ("ftp:host", "ftp:host"),
        ("--log-file=/nonexistent/a.log", "/nonexistent/a.log"),
    ],
)
def test_bad_arguments_are_one_sentence(ovs: Installation, argument: str, sentence: str) -> None:
    done = ovs.call("ovs-vswitchd", argument, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ovs-vswitchd: ") and sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_beside_a_database_may_not_have_bridges(ovs: Installation) -> None:
    ovs.config.write_text('[[bridge]]\nname = "br0"\n')
    done = ovs.call("ovs-vswitchd", f"--config={ovs.config}", check=False)
    assert done.returncode == 1
    assert "has bridges, ports or tunnels, which come from the database here" in done.stderr


def test_the_version_is_read_as_scripts_read_it(ovs: Installation) -> None:
    printed = ovs.call("ovs-vswitchd", "--version").stdout
    ovs.ctl("start")
    assert ovs.appctl("version").stdout == printed
    first, second = printed.splitlines()
    assert re.fullmatch(r"ovs-vswitchd \(Open vSwitch\) \d+\.\d+\.\d+", first)
    assert second.startswith("Culvert ")
    assert first in ovs.ctl("version").stdout


def test_ovs_appctl_finds_levels_and_file_of_the_log(ovs: Installation) -> None:
    ovs.ctl("start")
    listing = ovs.appctl("vlog/list").stdout
    assert listing.startswith("                 console    syslog    file\n")
    assert re.search(r"^switch +EMER +ERR +INFO$", listing, re.MULTILINE)
    ovs.appctl("vlog/set", "switch:file:dbg", "console:off")
    assert re.search(r"^switch +OFF +ERR +DBG$", ovs.appctl("vlog/list").stdout, re.MULTILINE)
    wrong = ovs.appctl("vlog/set", "bogus", check=False)
    assert wrong.returncode == 2 and 'module "bogus"' in wrong.stderr
    assert "vlog/reopen" in ovs.appctl("list-commands").stdout
    assert all(LINE.match(line) for line in ovs.log().splitlines()), ovs.log()


def test_logrotate_has_the_log_opened_again(ovs: Installation) -> None:
    ovs.ctl("start")
    rotated = ovs.log_folder / "ovs-vswitchd.log.1"
    ovs.log_file.rename(rotated)
    # As /etc/logrotate.d/openvswitch-switch calls it.
    for pidfile in ovs.run_folder.glob("*.pid"):
        ovs.call("ovs-appctl", "-t", pidfile.stem, "vlog/reopen")
    before = rotated.read_text()
    ovs.vsctl("add-br", "br0")
    wait_until(lambda: "br0" in ovs.log(), "the new log has what came after")
    assert rotated.read_text() == before


def test_exit_is_answered(ovs: Installation) -> None:
    ovs.ctl("start")
    pid, monitor = ovs.pid, ovs.monitor
    assert ovs.appctl("exit", "--cleanup").returncode == 0
    wait_until(lambda: not exists(pid) and not exists(monitor), "daemon and monitor end")
    assert not ovs.pidfile.exists()


def test_culvert_ctl_finds_the_daemon_too(ovs: Installation, build: Build) -> None:
    ovs.ctl("start")
    socket = ovs.directory / "culvertd.ctl"
    done = run([str(build.culvert_ctl), "--socket", str(socket), "version"])
    assert "ovs-vswitchd (Open vSwitch)" in done.stdout
    ovs.ctl("stop")
    assert not socket.exists()


def test_the_alternative_is_registered_and_taken_back(ovs: Installation) -> None:
    script = ovs.programs / "ovs-alternative"
    shutil.copy(ROOT / "ctl" / "ovs-alternative", script)
    folders = {name: ovs.directory / name for name in ("altdir", "admindir")}
    for folder in folders.values():
        folder.mkdir()
    link = ovs.directory / "sbin-ovs-vswitchd"
    options = [f"--link={link}", *(f"--{name}={folder}" for name, folder in folders.items())]
    debian = ovs.directory / "debian-ovs-vswitchd"
    debian.symlink_to("/bin/true")
    run(
        ["update-alternatives", *(word for n, f in folders.items() for word in (f"--{n}", f))]
        + ["--install", link, "ovs-vswitchd", debian, "100"]
    )
    run([str(script), *options, "install"])
    assert link.resolve() == (ovs.programs / "ovs-vswitchd").resolve()
    assert "priority 300" in run([str(script), *options, "status"]).stdout
    run([str(script), *options, "remove"])
    assert link.resolve() == pathlib.Path("/bin/true").resolve()
    link.unlink()
    link.write_text("a file of its own")
    refused = run([str(script), *options, "install"], check=False)
    assert refused.returncode == 1 and "is a file of its own" in refused.stderr
