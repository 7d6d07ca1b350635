# SPDX-License-Identifier: GPL-2.0-or-later
"""A SysV host from power on to power off: every script in its order, the host's own and ours, and what
ovs-xapi-sync makes of the switch meanwhile.

    dom0 ─ xenbr0 ─ eth0 ───── e0, the peer, with the address PEER
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import wait_for_ping
from netlab.private_root import G1, PrivateRoot
from netlab.xapi import Xapi
from netlab.xen import VIF_TIMEOUT
from netlab.xen_records import HOST_UUID, Records

RECONFIGURE = "/opt/xensource/libexec/interface-reconfigure"
COOKIE = "/var/run/xapi_init_complete.cookie"
HERE = "192.0.2.1"
PEER = "192.0.2.254"
MAC = "00:16:3e:00:00:01"
ORDER = ["openvswitch", "management-interface", "openvswitch-xapi-update"]


class Dom0:
    def __init__(self, lab: Lab, build: Build) -> None:
        self.root = PrivateRoot(lab.namespace("dom0"), build, G1, nics=("eth0",))
        self.peer: Namespace = lab.namespace("peer")
        lab.wire(self.root, "eth0", self.peer, "e0")
        self.peer.add_address("e0", f"{PEER}/24")
        self.root.run("/usr/libexec/culvert/culvert-setup", "install")
        self.records = Records(generation=1, host_uuid=HOST_UUID)
        self.network = self.records.add_network("xenbr0")
        static = {"ip_configuration_mode": "Static", "IP": HERE, "netmask": "255.255.255.0"}
        self.pif = self.records.add_pif("eth0", self.network, MAC, management=True, **static)
        self.xapi = Xapi.in_root(self.root, self.records)

    def start_xapi(self) -> None:
        """XAPI plugs what is attached, and says that it is up."""
        self.xapi.start()
        self.root.run(RECONFIGURE, "--pif-uuid", self.records.uuid("PIF", self.pif), "up")
        self.root.write(COOKIE, "")

    def boot(self) -> dict[str, int]:
        """The status of each script."""
        done = self.root.boot(until="management-interface")
        self.start_xapi()
        done.update(self.root.boot(after="management-interface"))
        return {name: one.returncode for name, one in done.items()}

    def service(self, *words: str) -> str:
        return self.root.run("/etc/init.d/openvswitch", *words).stdout

    def pids(self) -> list[str]:
        names = ("ovs-vswitchd", "ovsdb-server", "ovs-xapi-sync")
        return [self.root.read(f"/run/openvswitch/{name}.pid").strip() for name in names]

    def bridge(self) -> dict:
        columns = ("_uuid", "fail_mode", "other_config", "external_ids")
        return self.root.row("Bridge", "xenbr0", *columns)

    def wait_for_bridge(self, **wanted: object) -> None:
        def right() -> bool:
            row = self.bridge()
            return all(row[name] == value for name, value in wanted.items())

        wait_until(right, f"ovs-xapi-sync has written {wanted}")


@pytest.mark.timeout(120)
def test_a_host_from_power_on_to_power_off(lab: Lab, build: Build) -> None:
    dom0 = Dom0(lab, build)
    root, records = dom0.root, dom0.records
    network = records.uuid("network", dom0.network)

    # There is no cache yet, so this host has no network before XAPI.
    assert list(dom0.boot().items()) == [*zip(ORDER, (0, 1, 0))]
    wait_for_ping(dom0.peer, HERE)
    ids = {"xs-network-uuids": network, "bridge-id": network}
    dom0.wait_for_bridge(external_ids=ids, other_config={"hwaddr": MAC}, fail_mode="standalone")

    # A machine starts: the vif script's line, and what controllers look a port up by.
    root.run("ip", "link", "add", "vif1.0", "type", "veth", "peer", "name", "guest1")
    machine = records.add_vm("guest", 1)
    vif = records.uuid("VIF", records.add_vif(machine, 0, dom0.network, "02:00:00:00:00:99", nicira_iface_id="port-7"))
    dom0.xapi.put(records)
    keys = {"xs-vm-uuid": records.uuid("VM", machine), "xs-vif-uuid": vif, "xs-network-uuid": network}
    words = [f'external-ids:"{key}"="{value}"' for key, value in keys.items()]
    root.vsctl(VIF_TIMEOUT, "add-port", "xenbr0", "vif1.0", "--", "set", "interface", "vif1.0", *words)
    keys.update({"iface-id": "port-7", "vm-id": keys["xs-vm-uuid"], "iface-status": "active"})
    wait_until(
        lambda: root.row("Interface", "vif1.0", "external_ids")["external_ids"] == keys,
        "ovs-xapi-sync has described the interface",
    )
    ofport = root.vsctl("get", "interface", "vif1.0", "ofport")

    # XAPI changes its mind; "reload" has ovs-xapi-sync ask again.
    records.get("network", dom0.network)["other_config"].update(
        {"vswitch-disable-in-band": "true", "nicira-bridge-id": "bridge-7"}
    )
    dom0.xapi.put(records)
    dom0.service("reload")
    ids["bridge-id"] = "bridge-7"
    dom0.wait_for_bridge(external_ids=ids, other_config={"hwaddr": MAC, "disable-in-band": "true"})

    # A restart of the service is no boot: everything is kept, also the address of the bridge's device.
    before, pids = dom0.bridge(), dom0.pids()
    dom0.service("restart")
    assert all(old != new for old, new in zip(pids, dom0.pids()))
    assert dom0.bridge() == before
    assert root.vsctl("get", "interface", "vif1.0", "ofport") == ofport
    assert root.read(f"/proc/{dom0.pids()[0]}/comm") == "ovs-vswitchd\n"
    wait_for_ping(dom0.peer, HERE)

    # Off again: each script stops what it started, and management-interface keeps XAPI's last word.
    assert "<vswitch-disable-in-band>" not in root.read("/var/xapi/network.dbcache")
    stopped = root.shut_down()
    assert {name: one.returncode for name, one in stopped.items()} == dict.fromkeys(ORDER, 0)
    assert root.run("/etc/init.d/openvswitch", "status", check=False).returncode == 1
    assert root.run("sh", "-c", "ls /var/lock/subsys").stdout == ""
    assert "<vswitch-disable-in-band>true<" in root.read("/var/xapi/network.dbcache")
