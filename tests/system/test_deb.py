# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert's Debian package: what is in it, and a Debian host with Open vSwitch on which it is installed,
upgraded, removed and purged.
"""

from __future__ import annotations

import gzip
import hashlib
import pathlib
import re
import shutil
import stat

import pytest

from netlab.daemon import NotifySocket
from netlab.debian_root import DebianHost, DebianRoot
from netlab.lab import Lab, run, wait_until

# dpkg configures the root in half a minute, and in a few times that beside other work.
pytestmark = pytest.mark.timeout(300)

OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
OURS = "/usr/lib/culvert/ovs-vswitchd"
THEIRS = "/usr/lib/openvswitch-switch/ovs-vswitchd"
CONFFILES = ["/etc/default/culvert", "/etc/logrotate.d/culvert"]
FILES = {
    *CONFFILES,
    "/lib/systemd/system/culvert.service",
    "/usr/bin/culvert-ctl",
    "/usr/lib/culvert/ovs-alternative",
    "/usr/lib/culvert/ovs-vswitchd",
    "/usr/sbin/culvertd",
    "/usr/share/bash-completion/completions/culvert-ctl",
    "/usr/share/doc/culvert/CHANGELOG.md.gz",
    "/usr/share/doc/culvert/changelog.gz",
    "/usr/share/doc/culvert/copyright",
    "/usr/share/doc/culvert/examples/culvert.toml",
    "/usr/share/man/man5/culvert.toml.5.gz",
    "/usr/share/man/man8/culvert-ctl.8.gz",
    "/usr/share/man/man8/culvertd.8.gz",
}
PROGRAMS = {"/usr/bin/culvert-ctl", "/usr/lib/culvert/ovs-alternative", "/usr/sbin/culvertd"}


class Package:
    """The package as `make deb` makes it of the build, and what is in it."""

    def __init__(self, build, folder: pathlib.Path) -> None:
        run(["cpack", "-G", "DEB", "-B", folder / "packed"], cwd=build.directory)
        (self.file,) = (folder / "packed").glob("*.deb")
        self.files = folder / "files"
        run(["dpkg-deb", "--raw-extract", self.file, self.files])
        self.control = self.files / "DEBIAN"
        self.newer = folder / "culvert_999_amd64.deb"
        self.repack(self.newer, "999")

    def field(self, name: str) -> str:
        return run(["dpkg-deb", "--field", self.file, name]).stdout.strip()

    def repack(self, target: pathlib.Path, version: str, preinst: str = "", wanted_by: str = "") -> None:
        """The same of another version."""
        folder = target.with_suffix("")
        shutil.copytree(self.files, folder, symlinks=True)
        control = folder / "DEBIAN" / "control"
        control.write_text(re.sub("(?m)^Version: .*$", f"Version: {version}", control.read_text()), encoding="utf-8")
        if preinst:
            (folder / "DEBIAN/preinst").write_text(preinst, encoding="ascii")
            (folder / "DEBIAN/preinst").chmod(0o755)
        if wanted_by:
            with (folder / "lib/systemd/system/culvert.service").open("a", encoding="ascii") as unit:
                unit.write(f"WantedBy={wanted_by}\n")  # [Install] is its last section.
        run(["dpkg-deb", "--build", "--root-owner-group", "-Znone", folder, target])


@pytest.fixture(scope="module")
def package(build, tmp_path_factory) -> Package:
    return Package(build, tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def debian(environment):
    with Lab() as laboratory:
        made = DebianRoot(laboratory)
        yield made
        made.end()


@pytest.fixture
def host(lab, debian):
    made = DebianHost(debian, lab.namespace("h"))
    yield made
    made.end()


def install(host: DebianHost, *files: pathlib.Path, check: bool = True) -> str:
    done = host.run("dpkg", "--install", *(host.put(file) for file in files), check=check)
    return done.stdout + done.stderr


def choice(host: DebianHost) -> str:
    assert host.run("readlink", "/usr/sbin/ovs-vswitchd").stdout.strip() == "/etc/alternatives/ovs-vswitchd"
    return host.run("readlink", "/etc/alternatives/ovs-vswitchd").stdout.strip()


def version(host: DebianHost) -> str:
    return host.run("ovs-appctl", "version").stdout


def status(host: DebianHost) -> str:
    return host.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "culvert").stdout


def pid(host: DebianHost) -> int:
    return int(host.text("/run/openvswitch/ovs-vswitchd.pid"))


def test_the_control_files_say_what_dpkg_needs(package) -> None:
    assert package.file.name == f"culvert_{package.field('Version')}_amd64.deb"
    fields = {name: package.field(name) for name in ("Package", "Architecture", "Section", "Priority", "Enhances")}
    assert fields == {
        "Package": "culvert",
        "Architecture": "amd64",
        "Section": "net",
        "Priority": "optional",
        "Enhances": "openvswitch-switch",
    }
    assert re.fullmatch(r"[^<>]+ <[^<>@ ]+@[^<>@ ]+>", package.field("Maintainer"))
    summary, *lines = package.field("Description").splitlines()
    assert len(summary) <= 80 and not summary.endswith(".") and len(lines) >= 3
    depends = package.field("Depends")
    for library in ("libc6 (>= ", "librte-eal", "libnftables1 (>= ", "libssl3 (>= ", "librte-mempool-ring"):
        assert library in depends
    assert "openvswitch-switch" not in depends, "by its own name culvertd needs nothing of it"
    assert (package.control / "conffiles").read_text(encoding="ascii").split() == CONFFILES
    for script in ("postinst", "prerm", "postrm"):
        assert stat.S_IMODE((package.control / script).stat().st_mode) == 0o755
        refused = run([package.control / script, "nonsense"], check=False)
        assert refused.returncode == 1 and '"nonsense" is not valid' in refused.stderr


def test_files_owners_modes_and_sums(package) -> None:
    listing = run(["dpkg-deb", "--contents", package.file]).stdout.splitlines()
    found = {}
    for line in listing:
        mode, owner, _size, _day, _time, path = line.split(maxsplit=5)
        assert owner == "root/root", line
        found[path.split(" -> ")[0].removeprefix(".")] = mode
    assert {path for path in found if not path.endswith("/")} == FILES
    assert "/etc/culvert/" in found
    for path, mode in found.items():
        if path.endswith("/"):
            assert mode == "drwxr-xr-x", path
        elif path == OURS:
            assert mode == "lrwxrwxrwx"
        else:
            assert mode == ("-rwxr-xr-x" if path in PROGRAMS else "-rw-r--r--"), path
    link = package.files / OURS.lstrip("/")
    assert (link.parent / link.readlink()).resolve() == package.files / "usr/sbin/culvertd"
    sums = {}
    for line in (package.control / "md5sums").read_text(encoding="ascii").splitlines():
        checksum, path = line.split(maxsplit=1)
        sums["/" + path] = checksum
    assert set(sums) >= FILES - {OURS} - set(CONFFILES)
    for path, checksum in sums.items():
        assert hashlib.md5((package.files / path.lstrip("/")).read_bytes()).hexdigest() == checksum, path


def test_programs_are_stripped_and_documents_are_in_debians_form(package, tmp_path) -> None:
    for program in ("usr/bin/culvert-ctl", "usr/sbin/culvertd"):
        sections = run(["readelf", "--sections", "--wide", package.files / program]).stdout
        assert ".text" in sections and ".symtab" not in sections and ".debug" not in sections
        dynamic = run(["readelf", "--dynamic", package.files / program]).stdout
        assert "RUNPATH" not in dynamic and "RPATH" not in dynamic
    documents = package.files / "usr/share/doc/culvert"
    licence = (documents / "copyright").read_text(encoding="utf-8")
    assert "License: GPL-2+" in licence and "/usr/share/common-licenses/GPL-2" in licence
    changelog = documents / "changelog.gz"
    assert changelog.read_bytes()[4:8] == bytes(4), "gzip keeps no time"
    plain = tmp_path / "changelog"
    plain.write_bytes(gzip.decompress(changelog.read_bytes()))
    changes = run(["dpkg-parsechangelog", "--file", plain])
    assert changes.stderr == "", "its form is right"
    assert f"Version: {package.field('Version')}\n" in changes.stdout and "Source: culvert\n" in changes.stdout
    for page in ("man5/culvert.toml.5.gz", "man8/culvert-ctl.8.gz", "man8/culvertd.8.gz"):
        text = gzip.decompress((package.files / "usr/share/man" / page).read_bytes()).decode()
        assert ".TH" in text


def test_systemd_has_nothing_against_the_unit(package, tmp_path) -> None:
    unit = package.files / "lib/systemd/system/culvert.service"
    text = unit.read_text(encoding="utf-8")
    for program in re.findall(r"^Exec\w+=(\S+)", text, re.MULTILINE):
        assert (package.files / program.lstrip("/")).exists()
        text = text.replace(program, f"{package.files}{program}")
    here = tmp_path / "culvert.service"
    here.write_text(text, encoding="utf-8")
    done = run(["systemd-analyze", "verify", "--man=no", here], check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_ovs_ctl_uses_culvert_until_it_is_removed(host, lab, package) -> None:
    assert choice(host) == THEIRS
    host.run(OVS_CTL, "start", "--system-id=random")
    theirs = pid(host)
    said = install(host, package.file)
    assert "the ovs-vswitchd that runs goes on" in said
    assert choice(host) == OURS
    assert pid(host) == theirs and "Culvert" not in version(host), "installing restarts nothing"

    host.run("ovs-appctl", "exit", "--cleanup")
    host.run(OVS_CTL, "start", "--system-id=random")
    assert f"Culvert {package.field('Version')}" in version(host)
    host.run("ovs-vsctl", "--timeout=20", "add-br", "br0")
    for index in (1, 2):
        machine = lab.namespace(f"vm{index}")
        lab.wire(host.network, f"vif{index}", machine, "eth0")
        machine.add_address("eth0", f"10.0.0.{index}/24")
        host.run("ovs-vsctl", "--timeout=20", "add-port", "br0", f"vif{index}")
    lab.namespaces["vm1"].run("ping", "-c", "2", "-W", "5", "10.0.0.2")

    ours = pid(host)
    # As the scripts of openvswitch-switch do when that is upgraded.
    host.run("update-alternatives", "--install", "/usr/sbin/ovs-vswitchd", "ovs-vswitchd", THEIRS, "100")
    install(host, package.newer)
    assert choice(host) == OURS and pid(host) == ours, "an upgrade neither loses the choice nor restarts"
    lab.namespaces["vm1"].run("ping", "-c", "1", "-W", "5", "10.0.0.2")

    removed = host.run("dpkg", "--remove", "culvert").stdout
    assert "the ovs-vswitchd that runs goes on" in removed
    assert choice(host) == THEIRS
    host.run("ovs-appctl", "exit", "--cleanup")
    host.run(OVS_CTL, "restart", "--system-id=random")
    assert version(host).startswith("ovs-vswitchd (Open vSwitch) ") and "Culvert" not in version(host)
    assert host.run(THEIRS, "--version").stdout.splitlines()[0] == version(host).splitlines()[0]


def test_configuration_and_state_through_upgrade_removal_and_purge(host, package) -> None:
    install(host, package.file)
    settings = host.root / "etc/default/culvert"
    settings.write_text('CULVERTD_OPTS="--config=/etc/culvert/other.toml"\n', encoding="ascii")
    own = host.root / "etc/culvert/culvert.toml"
    own.write_text("[daemon]\n", encoding="ascii")
    numbers = host.root / "var/lib/culvert/esp-sequences"
    numbers.parent.mkdir(mode=0o700)
    numbers.write_text("numbers", encoding="ascii")
    log = host.root / "var/log/culvert/culvertd.log"
    log.parent.mkdir()
    log.write_text("a line\n", encoding="ascii")

    install(host, package.newer)
    assert host.run("dpkg-query", "--show", "--showformat=${Version}", "culvert").stdout == "999"
    assert "other.toml" in settings.read_text(encoding="ascii")
    host.run("dpkg", "--remove", "culvert")
    assert status(host) == "config-files"
    assert settings.exists() and own.exists() and numbers.exists() and log.exists()
    assert not (host.root / "usr/sbin/culvertd").exists() and not (host.root / "usr/lib/culvert").exists()

    # Sequence numbers are used once with a key, and keys may outlive the package.
    said = host.run("dpkg", "--purge", "culvert").stderr
    assert "/var/lib/culvert stays" in said
    assert numbers.read_text(encoding="ascii") == "numbers" and own.exists()
    assert not settings.exists() and not log.parent.exists()
    assert not (host.root / "etc/logrotate.d/culvert").exists()

    numbers.unlink()
    own.unlink()
    install(host, package.file)
    host.run("dpkg", "--purge", "culvert")
    left = host.run("find", "/etc", "/lib/systemd", "/usr", "/var", "-name", "*culvert*").stdout
    assert left == ""
    assert host.run("dpkg", "--audit").stdout == ""


def test_the_administrators_choice_and_unit_survive(host, package) -> None:
    install(host, package.file)
    enabled = host.root / "etc/systemd/system/multi-user.target.wants/culvert.service"
    assert not enabled.is_symlink(), "a host uses one of the two ways"
    host.run("update-alternatives", "--set", "ovs-vswitchd", THEIRS)
    enabled.symlink_to("/lib/systemd/system/culvert.service")
    install(host, package.newer)
    assert choice(host) == THEIRS and enabled.is_symlink()
    # A service that is enabled is also where a later version of the unit wants it.
    elsewhere = package.newer.with_name("culvert_1001_amd64.deb")
    package.repack(elsewhere, "1001", wanted_by="default.target")
    install(host, elsewhere)
    second = host.root / "etc/systemd/system/default.target.wants/culvert.service"
    assert second.is_symlink() and enabled.is_symlink()
    assert OURS in host.run("update-alternatives", "--list", "ovs-vswitchd").stdout
    host.run("dpkg", "--remove", "culvert")
    host.run("dpkg", "--purge", "culvert")
    assert choice(host) == THEIRS and not enabled.is_symlink() and not second.is_symlink()


def test_what_fails_half_way_is_taken_back(host, package) -> None:
    failing = package.newer.with_name("culvert_1000_amd64.deb")
    package.repack(failing, "1000", preinst="#!/bin/sh\nexit 1\n")
    install(host, package.file)
    assert "error processing" in install(host, failing, check=False)
    assert status(host) == "installed" and choice(host) == OURS
    for arguments in (
        ["postinst", "configure", "0"],
        ["prerm", "remove"],
        ["prerm", "remove"],
        ["postinst", "abort-remove"],
        ["prerm", "upgrade", "999"],
        ["prerm", "failed-upgrade", "999"],
        ["postinst", "abort-upgrade", "999"],
        ["postrm", "upgrade", "999"],
        ["postrm", "abort-upgrade", "999"],
    ):
        script, *words = arguments
        host.run("env", "DPKG_MAINTSCRIPT_PACKAGE=culvert", f"/var/lib/dpkg/info/culvert.{script}", *words)
        assert choice(host) == (THEIRS if arguments == ["prerm", "remove"] else OURS), arguments


def test_where_a_file_stands_in_the_place_it_is_left(host, package) -> None:
    host.run("update-alternatives", "--remove-all", "ovs-vswitchd")
    place = host.root / "usr/sbin/ovs-vswitchd"
    place.write_text("a file of its own", encoding="ascii")
    said = install(host, package.file)
    assert "is a file of its own" in said and "is no choice for ovs-vswitchd" in said
    assert status(host) == "installed"
    host.run("dpkg", "--purge", "culvert")
    assert place.read_text(encoding="ascii") == "a file of its own"


def test_the_service_by_its_own_name(host, package) -> None:
    install(host, package.file)
    unit = host.text("/lib/systemd/system/culvert.service")
    options = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert options["Type"] == "notify" and options["EnvironmentFile"] == "-/etc/default/culvert"
    assert options["ConditionPathExists"] == "/etc/culvert/culvert.toml"
    start = options["ExecStart"].removesuffix("$CULVERTD_OPTS").split()
    file = host.root / "etc/culvert/culvert.toml"
    socket = "/run/culvert/other.ctl"
    with (host.root / "etc/default/culvert").open("a", encoding="ascii") as defaults:
        defaults.write(f'CULVERT_SOCKET="{socket}"\n')
    text = f'[daemon]\nsocket = "{socket}"\nlog_file = "/var/log/culvert/culvertd.log"\n[[bridge]]\nname = "br0"\n'
    file.write_text(text, encoding="ascii")
    log = host.root / "var/log/culvert/culvertd.log"
    log.parent.mkdir(mode=0o750)  # LogsDirectory of the unit.
    notify = NotifySocket(host.root / "run/notify")
    daemon = host.spawn(*start, name="culvertd", NOTIFY_SOCKET="/run/notify")

    def said(word: str) -> bool:
        assert daemon.running, daemon.output()
        notify.receive(0.1)
        return word in notify.messages

    wait_until(lambda: said("READY=1"), "the daemon says that it is ready")
    reload = ["env", f"CULVERT_SOCKET={socket}", *options["ExecReload"].split()]  # Of EnvironmentFile.
    file.write_text(text + "[bridge.local]\n", encoding="ascii")
    host.run(*reload)
    wait_until(lambda: said("RELOADING=1"), "the daemon says that it reloads")
    assert "br0" in host.network.links()
    file.write_text("[nonsense]\n", encoding="ascii")
    assert host.run(*reload, check=False).returncode == 1
    assert "br0" in host.network.links() and daemon.running

    host.run("logrotate", "--force", "/etc/logrotate.d/culvert")
    rotated = log.with_name("culvertd.log.1").read_text(encoding="utf-8")
    assert "nonsense" in rotated
    host.run(*reload, check=False)
    assert "nonsense" in log.read_text(encoding="utf-8"), "the new file has what came after"
    assert log.with_name("culvertd.log.1").read_text(encoding="utf-8") == rotated
    host.run("pkill", "--exact", "culvertd")
    assert daemon.wait() == 0
    notify.close()


def test_culvert_ctl_starts_the_switch_that_was_installed_with_it(host, package) -> None:
    install(host, package.file)
    host.run("culvert-ctl", "start", "--system-id=random")
    program = host.run("readlink", f"/proc/{pid(host)}/exe").stdout.strip()
    assert program == "/usr/sbin/culvertd"
    host.run("culvert-ctl", "stop")
