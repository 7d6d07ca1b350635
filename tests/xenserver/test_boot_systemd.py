# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot of a host with systemd (G2, G3): the stock openvswitch.service with Culvert's drop-in, under a
real systemd, and the way that tunnels are let in where firewalld has the firewall.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, wait_until
from netlab.private_root import G2, GRE, JUMP, PrivateRoot
from netlab.systemd import Systemd
from netlab.xen_records import HOST_UUID

BOOT = "/usr/libexec/culvert/culvert-boot"
UNIT = "openvswitch.service"
IPSEC = "culvert-ipsec.service"
SYSCONFIG = "/etc/sysconfig/openvswitch"
MARKER = "/var/run/openvswitch.booted"

# What xcp-networkd asks for as it starts, of its own database; it may rely on the switch being there.
NETWORKD = """[Unit]
Before=xapi.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'echo $(ovs-vsctl --timeout=20 list-br) >/run/bridges-found; \\
    ovs-vsctl --timeout=20 -- --may-exist add-br xenbr0 \\
        -- set bridge xenbr0 other-config:hwaddr="\\"02:00:00:00:00:01\\"" -- set bridge xenbr0 fail_mode=standalone \\
        -- remove bridge xenbr0 other_config disable-in-band -- br-set-external-id xenbr0 xs-network-uuids %m'
[Install]
WantedBy=multi-user.target
"""
XAPI = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'echo $(ovs-vsctl --timeout=20 list-br) >/run/bridges-of-xapi'
[Install]
WantedBy=multi-user.target
"""

# firewalld's command with what it is told to open in two files, "now" and "permanent", and each call in a
# third. While the file "down" is there firewalld does not run, and "refuse" has it say no.
FIREWALL_CMD = r"""#!/bin/sh
echo "$*" >>/run/firewalld/calls
when=now
for word; do
    case $word in
        -q) ;;
        --permanent) when=permanent ;;
        --state) [ ! -e /run/firewalld/down ] || { echo "not running" >&2; exit 252; } ;;
        --query-*) grep -qx -e "${word#--query-}" "/run/firewalld/$when" || exit 1 ;;
        --remove-*) sed -i "\\|^${word#--remove-}\$|d" "/run/firewalld/$when" ;;
        --add-*) [ ! -e /run/firewalld/refuse ] && echo "${word#--add-}" >>"/run/firewalld/$when" || exit 101 ;;
        *) exit 2 ;;
    esac
done
"""


def take_slot(root: PrivateRoot) -> PrivateRoot:
    root.run("/usr/libexec/culvert/culvert-slot", "take")
    return root


@pytest.fixture
def root(lab: Lab, build: Build) -> PrivateRoot:
    return take_slot(PrivateRoot(lab.namespace("dom0"), build, G2))


@pytest.fixture
def systemd(root: PrivateRoot) -> Iterator[Systemd]:
    made = Systemd(root)
    root.run("systemctl", "enable", "openvswitch")
    yield made
    made.power_cut()


def get(root: PrivateRoot, column: str) -> str:
    return root.vsctl("--no-wait", "get", "Open_vSwitch", ".", column).strip().strip('"')


def pid(systemd: Systemd, daemon: str) -> str:
    return systemd.run("cat", f"/run/openvswitch/{daemon}.pid").stdout.strip()


def check_encrypted_tunnels(systemd: Systemd) -> None:
    """Their unit lets them in while it runs, and nothing but them goes again: by iptables, then by firewalld."""
    root = systemd.root

    def opened() -> tuple[str, str]:
        return root.read("/run/firewalld/now"), root.read("/run/firewalld/permanent")

    systemd.ctl("start", IPSEC)
    assert [word in "\n".join(root.rules()) for word in ("-p esp", "--dport 500 ", "--dport 4500 ")] == [True] * 3
    systemd.ctl("stop", IPSEC)
    assert root.rules() == [GRE, JUMP]
    root.write("/usr/bin/firewall-cmd", FIREWALL_CMD, 0o755)
    for when in ("now", "permanent"):
        root.write(f"/run/firewalld/{when}", "service=ssh\n")
    systemd.ctl("start", IPSEC)
    assert opened() == ("service=ssh\nservice=ipsec\n",) * 2 and root.rules() == [GRE, JUMP]
    systemd.ctl("stop", IPSEC)
    assert opened() == ("service=ssh\n",) * 2
    systemd.ctl("stop", IPSEC)
    root.write("/run/firewalld/refuse", "")
    assert systemd.ctl("start", IPSEC, check=False).returncode == 1
    assert "the firewall was not opened for esp" in systemd.output()
    root.path("/usr/bin/firewall-cmd").unlink()


def test_the_drop_in_replaces_what_the_stock_unit_runs(systemd: Systemd) -> None:
    """Also one that has no more than it needs to run."""
    root = systemd.root
    root.run("sed", "-i", "/^Before=/d; /^After=/d; /^PartOf=/d; /^OOM/d", f"/usr/lib/systemd/system/{UNIT}")
    for name, text in (("xcp-networkd", NETWORKD), ("xapi", XAPI)):
        root.write(f"/usr/lib/systemd/system/{name}.service", text)
    root.run("systemctl", "enable", "xcp-networkd", "xapi")
    verified = root.run("systemd-analyze", "verify", "--man=no", UNIT, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    systemd.boot()
    assert systemd.show(UNIT, "Type") == "forking"
    for command, verb in (("ExecStart", "start"), ("ExecStop", "stop"), ("ExecReload", "reload")):
        lines = systemd.show(UNIT, command).splitlines()
        assert len(lines) == 1 and f"argv[]={BOOT} {verb} ;" in lines[0]
    assert systemd.show(UNIT, "OOMScoreAdjust") == "-1000" and systemd.show(UNIT, "TimeoutStartUSec") == "5min"
    assert systemd.show(UNIT, "LimitMEMLOCK") == "infinity" and systemd.show(UNIT, "LimitNOFILE") == "65535"
    before, after = (set(systemd.show(UNIT, name).split()) for name in ("Before", "After"))
    assert before >= {"xapi.service", "xcp-networkd.service", "network.target", "snmpd.service"}
    assert after >= {"syslog.target", "network-pre.target", "interface-rename.service"}
    assert after >= {"firewalld.service", "iptables.service", "ip6tables.service"}
    assert "network.target" in systemd.show(UNIT, "PartOf")

    assert systemd.ctl("is-active", UNIT, "xcp-networkd", "xapi").stdout.split() == ["active"] * 3
    # The switch was there before the network daemon, and that before XAPI.
    assert (root.read("/run/bridges-found"), root.read("/run/bridges-of-xapi")) == ("\n", "xenbr0\n")
    assert get(root, "external_ids:system-id") == get(root, "external_ids:xs-system-uuid") == HOST_UUID
    assert (get(root, "system_type"), get(root, "system_version")) == ("XCP-ng", "8.3.0-cloud")
    assert root.rules() == [GRE, JUMP] and root.exists(MARKER)
    switch = pid(systemd, "ovs-vswitchd")
    assert "culvertd" in systemd.run("readlink", "-e", f"/proc/{switch}/exe").stdout
    assert "OPENSSL_ENABLE_MD5_VERIFY=1" in systemd.run("cat", f"/proc/{switch}/environ").stdout.split("\0")

    systemd.ctl("restart", UNIT)
    assert pid(systemd, "ovs-vswitchd") != switch
    assert root.vsctl("list-br") == "xenbr0\n" and root.rules() == [GRE, JUMP]
    assert root.vsctl("get", "bridge", "xenbr0", "other_config:hwaddr") == '"02:00:00:00:00:01"\n'

    # From a shell: what it starts is systemd's all the same, or systemd would stop it.
    for words in (("restart", "--save-flows=yes"), ("force-reload-kmod",)):
        switch = pid(systemd, "ovs-vswitchd")
        systemd.run(BOOT, *words)
        assert pid(systemd, "ovs-vswitchd") != switch
        for daemon in ("ovsdb-server", "ovs-vswitchd"):
            group = systemd.run("cat", f"/proc/{pid(systemd, daemon)}/cgroup").stdout
            assert f"/system.slice/{UNIT}" in group
        assert systemd.ctl("is-active", UNIT).stdout == "active\n"
        assert root.vsctl("list-br") == "xenbr0\n" and root.rules() == [GRE, JUMP]
    check_encrypted_tunnels(systemd)
    systemd.run(BOOT, "status")
    systemd.ctl("reload", UNIT)
    systemd.ctl("stop", UNIT)
    assert systemd.run(BOOT, "status", check=False).returncode == 1

    # Where the service does not run it is started: else its next start would find the daemons running, be
    # empty, and end by stopping them.
    for verb in ("start", "restart", "force-reload-kmod"):
        systemd.run(BOOT, verb)
        assert systemd.ctl("is-active", UNIT).stdout == "active\n"
        assert f"/system.slice/{UNIT}" in systemd.run("cat", f"/proc/{pid(systemd, 'ovs-vswitchd')}/cgroup").stdout
        systemd.ctl("start", UNIT)
        systemd.run(BOOT, "stop")
        wait_until(lambda: systemd.ctl("is-active", UNIT, check=False).stdout == "inactive\n", "the service has ended")


def test_a_failed_daemon_fails_the_unit_and_a_failed_firewall_does_not(systemd: Systemd) -> None:
    root = systemd.root
    root.write(SYSCONFIG, "OVS_CTL_OPTS=--ovs-vswitchd-options=--nonsense\n")
    systemd.boot()
    assert systemd.ctl("is-failed", UNIT).stdout == "failed\n"
    # Nothing of the half that ran is left, and what stood before is deleted once all the same.
    assert systemd.run("pidof", "ovsdb-server", check=False).returncode == 1
    assert root.exists(MARKER)
    root.write(SYSCONFIG, "")
    assert root.rules() == [GRE, JUMP]  # What can be done all the same is done.
    root.path("/usr/bin/culvert-ctl").unlink()
    systemd.ctl("start", UNIT)
    assert systemd.ctl("is-active", UNIT).stdout == "active\n"
    assert "warning: the firewall was not opened for gre" in systemd.output()


def test_start_and_stop_are_the_daemons_alone(root: PrivateRoot) -> None:
    """No network.conf, no ovs-xapi-sync and no lock: these are matters of other units, or of none."""
    root.write("/etc/xensource/network.conf", "bridge\n")
    root.write("/run/openvswitch/conf.db", "rubbish\n")
    assert "/run/openvswitch/conf.db is no database" in root.run(BOOT, "start").stderr
    assert get(root, "external_ids:xs-system-uuid") == HOST_UUID
    root.vsctl("add-br", "xenbr0")
    assert not root.exists("/var/lock/subsys/openvswitch")
    assert root.status("pgrep", "-f", "ovs-xapi-sync") == 1
    assert root.run(BOOT, "status").stdout.count("is running with pid") == 2
    # The database is in memory, and nothing of it is on the disk.
    assert root.exists("/run/openvswitch/conf.db") and not root.exists("/etc/openvswitch/conf.db")
    root.run(BOOT, "stop")
    wait_until(lambda: not root.pids(), "nothing is left running")


def test_firewalld_is_asked_where_it_has_the_firewall(root: PrivateRoot) -> None:
    root.write("/usr/bin/firewall-cmd", FIREWALL_CMD, 0o755)
    root.write("/run/firewalld/now", "service=ssh\nport=6081/udp\n")
    root.write("/run/firewalld/permanent", "service=ssh\n")
    every = "gre vxlan vxlan-gpe geneve lisp stt ike esp-udp esp"
    opened = "protocol=gre port=4789/udp port=4790/udp port=6081/udp port=4341/udp port=7471/tcp port=500/udp"
    expected = {"service=ssh", "service=ipsec", "port=4500/udp", *opened.split()}
    root.write(SYSCONFIG, f'CULVERT_PROTOCOLS="{every} nonsense"\n')
    # The daemons have their own test.
    root.write("/usr/share/openvswitch/scripts/ovs-ctl", "#!/bin/sh\n", 0o755)

    warned = root.run(BOOT, "start").stderr
    assert '"nonsense" is not valid; valid: gre, vxlan' in warned and warned.count("warning") == 1
    for when in ("now", "permanent"):
        found = root.read(f"/run/firewalld/{when}").split()
        assert set(found) == expected and len(found) == len(expected)
    assert root.rules() == [JUMP]
    # Nothing that would lose what others opened for now.
    assert not any(word in root.read("/run/firewalld/calls") for word in ("reload", "runtime", "remove", "set"))
    root.run(BOOT, "restart")
    assert len(root.read("/run/firewalld/now").split()) == len(expected)

    # By hand, and only what is named.
    assert "names no protocol" in root.run(BOOT, "disable-protocol", check=False).stderr
    root.run(BOOT, "disable-protocol", "lisp", "stt")
    for when in ("now", "permanent"):
        assert expected - set(root.read(f"/run/firewalld/{when}").split()) == {"port=4341/udp", "port=7471/tcp"}

    root.write("/run/firewalld/now", "service=ssh\n")
    root.write("/run/firewalld/refuse", "")
    assert "warning: the firewall was not opened for gre" in root.run(BOOT, "start").stderr
    # It hangs, which is found out once.
    root.write("/usr/bin/firewall-cmd", f'{FIREWALL_CMD}[ "$*" = --state ] || sleep infinity\n', 0o755)
    root.run("mv", "/usr/bin/timeout", "/usr/bin/timeout.real")
    root.write("/usr/bin/timeout", '#!/bin/sh\nshift\nexec timeout.real 0.5 "$@"\n', 0o755)
    root.write("/run/firewalld/now", "")
    root.write("/run/firewalld/calls", "")
    root.path("/run/firewalld/refuse").unlink()
    warned = root.run(BOOT, "start").stderr
    assert warned.count("firewalld does not answer") == 1 and warned.count("warning") == len(every.split()) + 1
    calls = [call for call in root.read("/run/firewalld/calls").splitlines() if call != "--state"]
    root.run("mv", "/usr/bin/timeout.real", "/usr/bin/timeout")
    assert calls == ["-q --query-protocol=gre", "-q --add-protocol=gre"]
    # It is installed and does not run: the kernel's tables are those of iptables.
    root.write("/run/firewalld/down", "")
    root.write(SYSCONFIG, "")
    root.run(BOOT, "start")
    assert root.rules() == [GRE, JUMP]
