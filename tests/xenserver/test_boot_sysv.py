# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot of a XenServer host with init scripts (G1): /etc/init.d/openvswitch as culvert-slot puts it
there, verb by verb, with a recorder in the place of ovs-ctl and with the real daemons.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, wait_until
from netlab.private_root import G1, GRE, JUMP, PrivateRoot
from netlab.xen_records import HOST_UUID

SERVICE = "/etc/init.d/openvswitch"
OVS_CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
SYSCONFIG = "/etc/sysconfig/openvswitch"
MODE = "/etc/xensource/network.conf"
MARKER = "/var/run/openvswitch.booted"
LOCK = "/var/lock/subsys/openvswitch"
SYNC = "/usr/share/openvswitch/scripts/ovs-xapi-sync"
IDENTITY = [
    *(f"--system-id={HOST_UUID}", "--system-type=XenServer", "--system-version=6.2.0-70446c"),
    *(f"--external-id=xs-system-uuid={HOST_UUID}", "--daemon-cwd=/var/xen/openvswitch"),
]

# What tests change beside what a reboot takes away.
CHANGED = (OVS_CTL, MODE, SYNC, "/etc/xensource-inventory", "/usr/bin/culvert-ctl", "/usr/bin/xe")

# Notes the words of each call, one call a line, and ends with the status that the test wants.
RECORDER = """#!/bin/sh
mkdir -p /run/openvswitch
for word; do printf '%s|' "$word"; done >>/run/calls
echo >>/run/calls
[ ! -e /run/calls-fail ]
"""


class Host:
    """A private root whose slot Culvert has taken."""

    def __init__(self, root: PrivateRoot) -> None:
        self.root = root
        root.run("/usr/libexec/culvert/culvert-slot", "take")
        root.run("ln", "-sf", "bash", "/usr/bin/sh")  # As on the host; elsewhere tests have dash.
        self._originals = {name: root.path(name).read_bytes() for name in CHANGED}

    def reset(self) -> None:
        self.root.reboot()
        self.root.run("sh", "-c", f"rm -f /etc/openvswitch/* {SYSCONFIG} /etc/xensource/xhad.conf")
        for name, content in self._originals.items():
            if not self.root.exists(name) or self.root.path(name).read_bytes() != content:
                self.root.path(name).unlink(missing_ok=True)
                self.root.path(name).write_bytes(content)
            self.root.path(name).chmod(0o755)
        self.root.run("chmod", "-x", SYNC)  # It takes a while to start; one test has it.

    def service(self, *words: str, status: int = 0, name: str = SERVICE) -> subprocess.CompletedProcess[str]:
        done = self.root.run(name, *words, check=False)
        assert done.returncode == status, (words, done)
        return done

    def record(self, path: str = OVS_CTL) -> None:
        """From here on ovs-ctl only notes what it is asked."""
        self.root.path(path).unlink(missing_ok=True)
        self.root.write(path, RECORDER, 0o755)

    def calls(self) -> list[list[str]]:
        """What was noted since the last question."""
        if not self.root.exists("/run/calls"):
            return []
        noted = self.root.read("/run/calls").splitlines()
        self.root.path("/run/calls").unlink()
        return [line.split("|")[:-1] for line in noted]

    def settings(self, *lines: str) -> None:
        self.root.write(SYSCONFIG, "".join(f"{line}\n" for line in lines))

    def get(self, column: str) -> str:
        return self.root.vsctl("--no-wait", "get", "Open_vSwitch", ".", column).strip().strip('"')

    def bridges(self) -> list[str]:
        return self.root.vsctl("--no-wait", "list-br").split()

    def pid(self, daemon: str) -> str:
        return self.root.read(f"/var/run/openvswitch/{daemon}.pid").strip()


@pytest.fixture(scope="module")
def installed(build: Build) -> Iterator[Host]:
    with Lab() as lab:
        yield Host(PrivateRoot(lab.namespace("dom0"), build, G1))


@pytest.fixture
def host(installed: Host) -> Host:
    """The host before a boot, as if Culvert had just been installed."""
    installed.reset()
    return installed


def test_the_script_is_what_chkconfig_wants(host: Host) -> None:
    assert host.root.run("readlink", "-e", SERVICE).stdout == "/usr/share/culvert/xenserver/init.d/openvswitch\n"
    for name, order in (("openvswitch", "2345 09 91"), ("openvswitch-xapi-update", "2345 95 01")):
        assert f"\n# chkconfig: {order}\n" in host.root.read(f"/etc/init.d/{name}")
    help_text = host.service("help").stdout
    verbs = ("start", "stop", "restart", "reload", "force-reload", "status", "version", "force-reload-kmod", "help")
    assert all(verb in help_text for verb in verbs) and host.service("--help").stdout == help_text
    for words in (("nonsense",), (), ("start", "stop"), ("start", "")):
        refused = host.service(*words, status=1)
        assert refused.stdout == "" and "usage:" in refused.stderr


def test_each_verb_is_ovs_ctl_with_the_hosts_settings(host: Host) -> None:
    host.record()
    host.service("start")
    assert host.calls() == [["start", *IDENTITY, "--delete-bridges"]]
    assert host.root.exists(MARKER) and host.root.exists(LOCK)
    host.service("start")
    assert host.calls() == [["start", *IDENTITY]]
    host.service("restart")
    assert host.calls() == [["stop"], ["start", *IDENTITY]]
    host.service("restart", "--save-flows=no")
    assert host.calls() == [["stop"], ["start", *IDENTITY]]
    host.service("restart", "--save-flows=yes")
    assert host.calls() == [["restart", *IDENTITY]]
    host.service("force-reload-kmod")
    assert host.calls() == [["force-reload-kmod", *IDENTITY]]
    host.root.run(SERVICE, "version", env={"PATH": "/nowhere"})
    assert host.calls() == [["version"]]
    for verb in ("reload", "force-reload"):  # The daemons follow the database.
        host.service(verb)
        assert host.calls() == []
    host.service("stop")
    assert host.calls() == [["stop"]] and not host.root.exists(LOCK)
    host.settings(
        *("FORCE_COREFILES=no", "OVSDB_SERVER_PRIORITY=-5", "VSWITCHD_PRIORITY=-7", "VSWITCHD_MLOCKALL=no"),
        'OVS_CTL_OPTS="--no-monitor  --ovs-vswitchd-options=-vinfo"',
    )
    host.service("start")
    chosen = ["--force-corefiles=no", "--ovsdb-server-priority=-5", "--ovs-vswitchd-priority=-7", "--mlockall=no"]
    assert host.calls() == [["start", *IDENTITY, *chosen, "--no-monitor", "--ovs-vswitchd-options=-vinfo"]]
    # Empty ones count as absent, and a file that is no shell must not take the network away.
    host.settings("FORCE_COREFILES=", "OVS_CTL_OPTS=")
    host.service("start")
    assert host.calls() == [["start", *IDENTITY]]
    host.settings("VSWITCHD_PRIORITY='1")
    assert f"going on without {SYSCONFIG}" in host.service("start").stderr
    assert host.calls() == [["start", *IDENTITY]]
    host.root.write("/etc/xensource-inventory", "")
    assert "no INSTALLATION_UUID" in host.service("start").stderr
    assert host.calls() == [["start", IDENTITY[-1]]]
    assert "no INSTALLATION_UUID" in host.service("start", status=1, name="/etc/init.d/openvswitch-xapi-update").stderr
    log = host.root.read("/var/log/openvswitch/ovs-ctl.log")
    assert f":restart {' '.join(IDENTITY)}\n" in log


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_settings_that_end_the_shell_do_not_end_the_boot(host: Host, shell: str) -> None:
    host.record()
    host.root.run("ln", "-sf", shell, "/usr/bin/sh")
    try:
        host.service("start")
        host.calls()
        for text in ("exit 0", "exit 1", "exec true", "set -e\nfalse", "set -u\nX=$NOT_SET", "X=${NOT_SET:?must be}"):
            host.settings("VSWITCHD_PRIORITY=-3", text)
            said = host.service("start").stderr
            assert f"going on without {SYSCONFIG}, which is no file of NAME=VALUE lines (it ends the shell" in said
            assert host.calls() == [["start", *IDENTITY]]
        # What they do to the shell otherwise is not taken over, and what they set is.
        for text in ("set -eu", "PATH=/nowhere", "PATH=", "false", "return 3", "set -- stop"):
            host.settings("VSWITCHD_PRIORITY=-3", text)
            assert host.service("start").stderr == ""
            assert host.calls() == [["start", *IDENTITY, "--ovs-vswitchd-priority=-3"]]
    finally:
        host.root.run("ln", "-sf", "bash", "/usr/bin/sh")


def test_lines_may_end_as_those_of_windows_do(host: Host) -> None:
    host.record()
    inventory = host.root.read("/etc/xensource-inventory")
    host.root.write("/etc/xensource-inventory", inventory.replace("\n", "\r\n"))
    host.root.write(MODE, " openvswitch\r\n")
    host.settings('OVS_CTL_OPTS="--no-monitor"\r', "VSWITCHD_PRIORITY=-3\r")
    host.service("start")
    chosen = ["--ovs-vswitchd-priority=-3", "--delete-bridges", "--no-monitor"]
    assert host.calls() == [["start", *IDENTITY, *chosen]]
    host.root.write("/usr/bin/xe", '#!/bin/sh\nprintf "%s|" "$@" >>/run/calls\necho >>/run/calls\n', 0o755)
    host.service("start", name="/etc/init.d/openvswitch-xapi-update")
    assert host.calls()[0][1:] == [f"host-uuid={HOST_UUID}", "plugin=openvswitch-cfg-update", "fn=update"]


def test_what_ovs_ctl_leaves_running_is_not_waited_for(host: Host) -> None:
    """As it does with `hostname -f`, which may ask a name server that nobody reaches before the network is up."""
    host.root.write(OVS_CTL, "#!/bin/sh\necho said\nsleep infinity &\nexit 3\n", 0o755)
    assert host.service("start", status=3).stdout.startswith("said\n")
    assert host.root.read("/var/log/openvswitch/ovs-ctl.log").endswith("said\n")
    assert host.root.status("pgrep", "sleep") == 0


def test_without_ovs_ctl_culvert_ctl_is_asked(host: Host) -> None:
    host.root.path(OVS_CTL).unlink()
    host.root.path("/usr/bin/culvert-ctl").unlink()
    host.record("/usr/bin/culvert-ctl")
    host.service("start")
    assert host.calls() == [["start", *IDENTITY, "--delete-bridges"], ["enable-protocol", "--", "gre"]]


def test_ha_is_restarted_when_the_module_was(host: Host) -> None:
    host.record()
    for name in ("ha_stop_daemon", "ha_start_daemon"):
        host.root.write(f"/opt/xensource/xha/{name}", f"#!/bin/sh\necho '{name}|' >>/run/calls\n", 0o755)
    reload = ["force-reload-kmod", *IDENTITY]
    host.service("force-reload-kmod")
    assert host.calls() == [[*reload, "--delete-bridges"]]
    host.root.run("cp", "/bin/sleep", "/opt/xensource/xha/xhad")
    host.root.spawn("/opt/xensource/xha/xhad", "infinity")
    wait_until(lambda: host.root.status("pidof", "xhad") == 0, "the HA daemon runs")
    host.service("force-reload-kmod")
    assert host.calls() == [reload]
    host.root.write("/etc/xensource/xhad.conf", "")
    host.service("force-reload-kmod")
    assert host.calls() == [reload, ["ha_stop_daemon"], ["ha_start_daemon"]]
    host.root.write("/opt/xensource/xha/ha_start_daemon", "#!/bin/sh\nexit 1\n", 0o755)
    assert "not protected by HA" in host.service("force-reload-kmod", status=1).stderr


def test_the_status_is_that_of_the_daemons_and_not_of_the_firewall(host: Host) -> None:
    host.record()
    host.root.run("chmod", "-x", "/usr/bin/culvert-ctl")
    warned = host.service("start")
    assert "warning: the firewall was not opened for gre" in warned.stderr
    assert host.root.rules() == [JUMP]
    # It does not end.
    program = host.root.path("/usr/bin/culvert-ctl").read_bytes()
    host.root.run("mv", "/usr/bin/timeout", "/usr/bin/timeout.real")
    host.root.write("/usr/bin/timeout", '#!/bin/sh\nshift\nexec timeout.real 0.1 "$@"\n', 0o755)
    host.root.write("/usr/bin/culvert-ctl", "#!/bin/sh\nexec sleep infinity\n", 0o755)
    warned = host.service("start")
    host.root.run("mv", "/usr/bin/timeout.real", "/usr/bin/timeout")
    host.root.path("/usr/bin/culvert-ctl").write_bytes(program)
    assert "warning: the firewall was not opened for gre" in warned.stderr
    # The daemons fail: what can be done all the same is done, and rc will stop the half of a start.
    host.root.write("/run/calls-fail", "")
    for words in (("start",), ("restart",), ("restart", "--save-flows=yes"), ("force-reload-kmod",), ("status",)):
        host.service(*words, status=1)
        assert host.root.exists(LOCK)
    host.service("stop", status=1)
    assert host.root.rules() == [GRE, JUMP]
    host.root.run("rm", "/run/calls-fail")
    host.root.write(SYNC, "#!/bin/sh\nexit 1\n", 0o755)
    for words in (("start",), ("restart",), ("force-reload-kmod",)):
        assert "ovs-xapi-sync did not start" in host.service(*words, status=1).stderr


def test_network_conf_says_whose_the_network_is(host: Host) -> None:
    host.record()
    for mode, said in (
        ("bridge\n", ""),
        ("bridge", ""),
        ("nonsense\n", 'says "nonsense"; valid: openvswitch, vswitch, bridge'),
        ("", 'says ""'),
        (None, 'says ""'),
    ):
        if mode is None:
            host.root.path(MODE).unlink()
        else:
            host.root.write(MODE, mode)
        for verb in ("start", "stop", "restart", "reload", "status", "force-reload-kmod"):
            done = host.service(verb)
            assert done.stdout == "" and said in done.stderr and ("disabled" in done.stderr) == bool(said)
            assert done.stderr.count("\n") == (1 if said else 0)
        for verb in ("start", "restart", "stop", "status"):  # And XAPI is not asked to update anything.
            assert host.service(verb, name="/etc/init.d/openvswitch-xapi-update").stdout == ""
        assert host.calls() == [] and host.root.rules() == [JUMP]
        assert not host.root.exists(MARKER) and not host.root.exists(LOCK)
        host.service("version")
        assert host.calls() == [["version"]]
        # The firewall is not the network's: who asks for it by hand gets it.
        host.service("enable-protocol", "gre")
        assert host.root.rules() == [GRE, JUMP]
        host.service("disable-protocol", "gre")
        assert host.root.rules() == [JUMP]
    host.root.write(MODE, "vswitch")
    host.service("start")
    assert host.calls() == [["start", *IDENTITY, "--delete-bridges"]]


def test_the_verbs_with_the_real_daemons(host: Host) -> None:
    host.root.run("chmod", "+x", SYNC)
    host.service("start")
    assert host.get("external_ids:system-id") == host.get("external_ids:xs-system-uuid") == HOST_UUID
    assert host.get("external_ids:rundir") == "/var/run/openvswitch"
    assert (host.get("system_type"), host.get("system_version")) == ("XenServer", "6.2.0-70446c")
    assert "culvertd" in host.root.run("readlink", "-e", f"/proc/{host.pid('ovs-vswitchd')}/exe").stdout
    assert host.root.rules() == [GRE, JUMP]
    daemons = ("ovsdb-server", "ovs-vswitchd", "ovs-xapi-sync")
    status = "".join(f"{daemon} is running with pid {host.pid(daemon)}\n" for daemon in daemons)
    assert host.service("status").stdout == status
    assert host.service("status", name="/usr/libexec/culvert/culvert-boot").stdout == status
    assert "OPENSSL_ENABLE_MD5_VERIFY" not in host.root.read(f"/proc/{host.pid('ovsdb-server')}/environ")
    # Not started again while it runs, looked at by name and not by a number that is another's now.
    sync = host.pid("ovs-xapi-sync")
    command = host.root.read(f"/proc/{sync}/cmdline").split("\0")
    assert {"--log-file", "--pidfile", "--detach", "--monitor", "unix:/var/run/openvswitch/db.sock"} <= set(command)
    assert "PYTHONPATH=/usr/share/openvswitch/python" in host.root.read(f"/proc/{sync}/environ").split("\0")
    host.service("start")
    assert host.pid("ovs-xapi-sync") == sync
    host.service("reload")
    host.root.run("kill", "-9", sync)
    wait_until(lambda: host.root.status(SERVICE, "status") == 1, "it is missed")
    host.root.write("/run/openvswitch/ovs-xapi-sync.pid", "1\n")  # The number is another's now.
    assert "ovs-xapi-sync is not running" in host.service("status", status=1).stdout
    host.service("reload")
    host.service("start")
    host.service("status")
    host.root.vsctl("add-br", "xenbr0", "--", "set", "Open_vSwitch", ".", "other_config:max-idle=5000")
    for words in (("restart", "--save-flows=yes"), ("force-reload-kmod",)):
        sync = host.pid("ovs-xapi-sync")
        host.root.run("iptables", "-D", "INPUT", "1")
        host.root.run("rm", LOCK)
        host.service(*words)
        assert host.pid("ovs-xapi-sync") != sync and host.root.exists(LOCK)
        assert host.bridges() == ["xenbr0"] and host.get("other_config:max-idle") == "5000"
        assert host.root.rules() == [GRE, JUMP]
        assert host.root.run("ip6tables", "-S", "INPUT").stdout.count("culvert gre") == 1
    # A daemon that is gone is seen; the mode of the next boot does not hide what runs in this one.
    host.root.run("kill", "-9", host.pid("ovs-vswitchd"))
    host.root.write(MODE, "bridge\n")
    wait_until(lambda: host.root.status(SERVICE, "status") == 1, "the daemon that was killed is missed")
    host.service("stop")
    assert host.root.status("pgrep", "-f", "ovs-xapi-sync") == 1
    assert "disabled" not in host.service("status").stderr
    host.root.write(MODE, "openvswitch\n")
    assert "ovsdb-server is not running" in host.service("status", status=1).stdout


def test_bridges_go_once_a_boot_also_after_starts_that_failed(host: Host) -> None:
    host.service("start")
    host.root.vsctl("add-br", "old0", "--", "add-br", "old1", "--", "add-br", "old10", "old1", "5")
    host.root.reboot()
    # No server, so nothing was deleted: the next start has to.
    host.settings("OVS_CTL_OPTS=--ovsdb-server-options=--nonsense")
    host.service("start", status=1)
    assert not host.root.exists(MARKER)
    # Nor if ovs-ctl gives up before that, as the daemon cannot even tell its version.
    host.settings()
    host.root.write("/usr/lib/culvert/broken", "#!/bin/sh\nexit 1\n", 0o755)
    host.root.run("mount", "--bind", "/usr/lib/culvert/broken", "/usr/sbin/culvertd")
    host.service("start", status=1)
    host.root.run("umount", "/usr/sbin/culvertd")
    assert not host.root.exists(MARKER) and host.bridges() == ["old0", "old1", "old10"]
    host.service("stop")
    # Deleted, but the switch does not come up: what is made meanwhile is of this boot.
    host.settings("OVS_CTL_OPTS=--ovs-vswitchd-options=--nonsense")
    host.service("start", status=1)
    assert host.root.exists(MARKER) and host.bridges() == []
    host.root.vsctl("--no-wait", "add-br", "new0")
    host.settings()
    host.service("start")
    assert host.bridges() == ["new0"]
    host.service("restart")
    assert host.bridges() == ["new0"]


def test_a_corrupt_database_does_not_keep_the_host_off_the_network(host: Host) -> None:
    database = host.root.path("/etc/openvswitch/conf.db")
    database.symlink_to("/nowhere/conf.db")
    assert "/etc/openvswitch/conf.db is no database" in host.service("start").stderr
    host.service("stop")
    host.root.run("rm", "-f", MARKER)
    for content in (b"", b"rubbish\n" * 512):
        database.write_bytes(content)
        said = host.service("start").stderr
        assert "/etc/openvswitch/conf.db is no database" in said
        assert ("xe pif-plug" in said) == (content != b"")  # The first start of a boot would delete them anyway.
        kept = host.root.run("sh", "-c", "echo /etc/openvswitch/conf.db.corrupt-*").stdout.split()[-1]
        assert kept in said and host.root.path(kept).read_bytes() == content
        host.root.path(kept).unlink()
        assert host.get("external_ids:system-id") == HOST_UUID
        host.root.vsctl("add-br", "xenbr0", "--", "set", "Open_vSwitch", ".", "other_config:kept=yes")
        host.service("stop")
    # Where only its end was cut off, all that came before is kept.
    with database.open("ab") as file:
        file.write(b"OVSDB JSON 4000 0123456789")
    assert "is no database" not in host.service("start").stderr
    assert host.get("other_config:kept") == "yes" and host.bridges() == ["xenbr0"]
    # The file of a server that runs is left to it.
    database.write_bytes(b"rubbish\n")
    assert "is no database" not in host.service("start").stderr
    assert database.read_bytes().startswith(b"rubbish\n")


def test_more_tunnels_are_let_in_when_they_are_named(host: Host) -> None:
    host.record()
    host.settings('CULVERT_PROTOCOLS="gre vxlan nonsense geneve * --help"', "OVS_CTL_OPTS=/etc/xen*")
    done = host.service("start")
    assert "nonsense" in done.stderr and done.stderr.count("warning") == 3
    assert host.calls()[0][-1] == "/etc/xen*"
    rules = host.root.rules()
    assert rules[3:] == [JUMP] and GRE in rules
    assert [sum(f"dport {port} " in rule for rule in rules) for port in (4789, 6081, 4341)] == [1, 1, 0]
    host.service("restart")
    assert host.root.rules() == rules
    # Others insert rules in front; there still is one of each.
    host.root.run("iptables", "-I", "INPUT", "-j", "ACCEPT", "-i", "lo")
    host.service("restart")
    assert host.root.rules()[1:] == rules
    host.root.reboot()
    host.settings('CULVERT_PROTOCOLS=""')
    host.service("start")
    assert host.root.rules() == [JUMP]
    # What the stock script or an administrator has put there is the answer, also when it is no.
    host.settings()
    for target in ("ACCEPT", "DROP"):
        host.root.reboot()
        host.root.run("iptables", "-I", "INPUT", "-p", "gre", "-j", target)
        host.service("start")
        assert host.root.rules() == [f"-A INPUT -p gre -j {target}", JUMP]
