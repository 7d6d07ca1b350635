# SPDX-License-Identifier: GPL-2.0-or-later
"""A XenServer host for the tests of the XAPI plugin: a private root with the database's real server,
culvertd as the switch, the plugin in its place, and XAPI.

    xenbr0: eth0, management, with the VLAN bridge xapi1; xapi0: a tunnel; br-own: unknown to XAPI
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from netlab.daemon import Build
from netlab.lab import Lab, wait_until
from netlab.private_root import DATABASES, G1, G2, PATH, PrivateRoot
from netlab.xapi import Xapi
from netlab.xen_records import Records

PLUGIN = pathlib.Path(__file__).resolve().parents[2] / "xenserver" / "openvswitch-cfg-update"
INSTALLED = "/usr/share/culvert/xenserver/openvswitch-cfg-update"
NAMES = {G1: "openvswitch-cfg-update", G2: "openvswitch-config-update"}
# First on the path of XAPI.
INSTEAD = "/run/instead"
FOLDER = "/etc/xapi.d/plugins"

KEY = "/etc/xensource/xapi-ssl.pem"
BOOTSTRAP_CA = "/etc/openvswitch/vswitchd.cacert"
INSTALLED_CA = "/etc/stunnel/certs/sdn-controller-ca.pem"
MAC = "02:00:ac:14:00:01"
NO_CHANGE = "No change to configuration"


class PluginHost:
    def __init__(self, lab: Lab, build: Build, generation: str) -> None:
        self.generation = generation
        self.root = PrivateRoot(lab.namespace(f"host-{generation}"), build, generation, ("eth0",))
        self.plugin = NAMES[generation]
        self.root.write(INSTALLED, PLUGIN.read_text(encoding="utf-8"), 0o755)
        self.root.run("ln", "-sf", INSTALLED, f"{FOLDER}/{self.plugin}")
        self.root.run("ln", "-sf", "/usr/lib/culvert/ovs-vswitchd", "/usr/sbin/ovs-vswitchd")
        # What is on the other end of the host's wire.
        self.outside = lab.namespace(f"outside-{generation}")
        lab.wire(self.root, "eth0", self.outside, "eth0")
        self.start_switch()
        self.records = self.fresh_records()
        self.xapi = Xapi.in_root(self.root, self.records, {"PATH": f"{INSTEAD}:{PATH}"}).start()

    def start_switch(self) -> None:
        options = ("--system-id=x", "--no-mlockall", "--no-monitor", "--no-record-hostname")
        environment = {"OVS_DBDIR": DATABASES[self.generation]}
        self.root.run("/usr/share/openvswitch/scripts/ovs-ctl", *options, "start", env=environment)

    def fresh_records(self) -> Records:
        made = Records(1 if self.generation == G1 else 2)
        network = made.add_network("xenbr0")
        pif = made.add_pif("eth0", network, MAC, management=True)
        made.add_vlan(pif, made.add_network("xapi1"), 30)
        made.add_tunnel(pif, made.add_network("xapi0"), "02:00:00:00:a0:01")
        return made

    def reset(self) -> None:
        """As after an installation, with the bridges that networkd or interface-reconfigure made."""
        self.xapi.recover()
        self.xapi.control("forget")
        self.records = self.fresh_records()
        self.xapi.put(self.records)
        self.root.run("rm", "-f", BOOTSTRAP_CA, INSTALLED_CA, BOOTSTRAP_CA + ".old")
        self.root.write(KEY, "not a certificate\n", 0o600)
        words = ["emer-reset"]
        for bridge, mac in (("xenbr0", MAC), ("xapi0", "02:00:00:00:a0:01")):
            words += ["--", "--may-exist", "add-br", bridge, "--", "clear", "Bridge", bridge, "external_ids"]
            words += ["--", "set", "Bridge", bridge, f'other_config:hwaddr="{mac}"', "fail_mode=standalone"]
        words += ["--", "--may-exist", "add-br", "br-own"]
        words += ["--", "set", "Bridge", "br-own", "other_config:mac-aging-time=60"]
        words += ["--", "--may-exist", "add-port", "xenbr0", "eth0"]
        words += ["--", "--may-exist", "add-br", "xapi1", "xenbr0", "30"]
        words += ["--", "--may-exist", "add-port", "xapi0", "gre0", "--", "set", "Interface", "gre0", "type=gre"]
        words += ["options:remote_ip=192.0.2.77", "options:key=7"]
        self.root.vsctl(*words)
        for port in self.open_ports():
            self.root.run(f"{FOLDER}/firewall-port", "close", str(port))

    # XAPI

    @property
    def pool(self) -> dict:
        return self.records.get("pool", self.records.pool)

    def network(self, bridge: str) -> dict:
        (found,) = [row for row in self.records.tables["network"].values() if row["bridge"] == bridge]
        return found

    def want(self, address: str, port: int = 0) -> None:
        """This controller in XAPI's records; none where the address is empty; "pssl" for a passive one."""
        if self.generation == G1:
            self.pool["vswitch_controller"] = address
        else:
            self.records.tables["SDN_controller"] = {}
            if address == "pssl":
                self.records.add_sdn_controller("pssl")
            elif address:
                self.records.add_sdn_controller("ssl", address, port)
        self.put()

    def put(self) -> None:
        self.xapi.put(self.records)

    def update(self) -> str:
        return self.xapi.call_plugin(self.plugin, "update")

    def settle(self, address: str, port: int = 0) -> str:
        """This controller is wanted and set; returns the manager."""
        self.want(address, port)
        self.update()
        (manager,) = self.managers()
        return manager

    def target(self, address: str) -> str:
        """What the manager is for this address without a port."""
        return f"ssl:{address}:{6640 if self.generation == G1 else 6632}"

    # the database

    def rows(self, table: str, *columns: str) -> list[dict]:
        return self.root.rows(table, *columns)

    def managers(self) -> list[str]:
        return self.root.vsctl("--no-wait", "get-manager").split()

    def ssl(self) -> dict | None:
        rows = self.rows("SSL", "private_key", "certificate", "ca_cert", "bootstrap_ca_cert")
        return rows[0] if rows else None

    def bridge(self, name: str) -> tuple[object, dict]:
        """Fail mode and other_config."""
        row = self.root.row("Bridge", name, "fail_mode", "other_config")
        return row["fail_mode"], row["other_config"]

    def fail_modes(self) -> dict[str, object]:
        return {row["name"]: row["fail_mode"] or "" for row in self.rows("Bridge", "name", "fail_mode")}

    def contents(self) -> str:
        """Everything that the database says of controllers and bridges."""
        words: list[str] = []
        for table, columns in (
            ("Open_vSwitch", "manager_options,ssl,other_config,external_ids,bridges"),
            ("Bridge", "name,ports,fail_mode,other_config,controller"),
            ("Manager", "target"),
            ("SSL", "private_key,certificate,ca_cert,bootstrap_ca_cert"),
        ):
            words += ["--", f"--columns={columns}", "list", table]
        return self.root.vsctl("--no-wait", *words)

    # the host's programs

    @contextlib.contextmanager
    def instead_of(self, program: str, script: str) -> Iterator[None]:
        """XAPI and its plugins run a shell script in place of this program, which is $real."""
        inside = f"{INSTEAD}/{program}"
        self.root.write(inside, f"#!/bin/sh\nreal=/usr/bin/{program}\n{script}\n", 0o755)
        try:
            yield
        finally:
            self.root.run("rm", inside)

    @contextlib.contextmanager
    def replaced(self, path: str, script: str) -> Iterator[None]:
        """A shell script stands at this path; $real is what was there."""
        self.root.run("mv", path, f"{path}.real")
        self.root.write(path, f"#!/bin/sh\nreal={path}.real\n{script}\n", 0o755)
        try:
            yield
        finally:
            self.root.run("mv", f"{path}.real", path)

    # the firewall

    def open_ports(self) -> list[int]:
        listed = self.root.run("iptables", "-S", "xapi-INPUT", check=False).stdout.splitlines()
        words = [line.split() for line in listed if "--dport" in line]
        return sorted(int(line[line.index("--dport") + 1]) for line in words)

    # the switch

    def stop_switch(self) -> None:
        self.root.run("ovs-appctl", "-t", "ovs-vswitchd", "exit")
        wait_until(lambda: not self.root.exists("/run/openvswitch/ovs-vswitchd.pid"), "culvertd is gone")
