# SPDX-License-Identifier: GPL-2.0-or-later
"""The private root itself: what a reboot takes away, and that the machine does not notice."""

from __future__ import annotations

import os
import pathlib

from netlab.daemon import Build
from netlab.lab import Lab, wait_until
from netlab.private_root import G1, PrivateRoot


def test_a_reboot_keeps_the_disk_and_the_machine_notices_nothing(build: Build) -> None:
    touched = [pathlib.Path(name) for name in ("/etc/services", "/usr/bin/ovs-vsctl", "/usr/sbin/ovs-vswitchd")]
    before = [path.read_bytes() for path in touched]
    with Lab() as lab:
        root = PrivateRoot(lab.namespace("dom0"), build, G1, nics=("eth0",))
        lab.wire(root, "eth0", lab.namespace("peer"), "e0")
        root.add_address("eth0", "192.0.2.1/24")
        root.run("ip", "link", "add", "tap0", "type", "veth", "peer", "name", "tap1")
        root.run("sh", "-ec", "rm /usr/bin/ovs-vsctl; echo >/etc/services; echo changed >/usr/sbin/ovs-vswitchd")
        root.run("sh", "-ec", "touch /run/volatile; modprobe openvswitch; iptables -I INPUT -p gre -j ACCEPT")
        assert root.status("modprobe", "unheard_of") == 1
        # A daemon whose parent is gone, and the first process that it then has.
        root.run("sh", "-c", "setsid sleep 600 </dev/null >/dev/null 2>&1 &")
        (daemon,) = root.pids()
        assert root.run("cat", "/proc/1/comm").stdout == "sleep\n"
        assert root.exists("/sys/module/openvswitch") and root.rules()[0] == "-A INPUT -p gre -j ACCEPT"

        root.reboot()
        assert root.pids() == [] and not os.path.exists(f"/proc/{daemon}")
        assert not root.exists("/run/volatile") and not root.exists("/sys/module/openvswitch")
        assert root.rules() == ["-A INPUT -j RH-Firewall-1-INPUT"]
        assert sorted(root.links()) == ["eth0", "lo"]
        assert root.ip("-o", "addr", "show", "dev", "eth0").stdout == ""
        assert (root.exists("/usr/bin/ovs-vsctl"), root.read("/etc/services")) == (False, "\n")

        root.run("sh", "-c", "setsid sleep 600 </dev/null >/dev/null 2>&1 &")
        (daemon,) = root.pids()
        directory, init = lab.directory, root.init
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in (daemon, init)), "its processes ended")
    assert not directory.exists()
    assert [path.read_bytes() for path in touched] == before
    assert lab.run_id not in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8")
