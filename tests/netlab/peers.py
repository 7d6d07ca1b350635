# SPDX-License-Identifier: GPL-2.0-or-later
"""Independent peers at the other end of a tunnel: the kernel's VXLAN, and Open vSwitch.

Each is a namespace of its own that stands where a second host would: index N has the underlay
addresses of host N and, as the far "virtual machine", the VM addresses of index N.
"""

from __future__ import annotations

import os

from netlab.lab import Lab, Process, run, wait_until
from netlab.topology import (
    DEFAULT_KEY,
    UNDERLAY_MTU,
    VM_MTU,
    underlay_address,
    vm_address,
    vm_mac,
)

OVS_TOOLS = {
    "ovsdb-tool": "openvswitch-common",
    "ovsdb-server": "openvswitch-common",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-appctl": "openvswitch-common",
    "ethtool": "ethtool",
}
_OVS_VSWITCHD = (
    "/usr/lib/openvswitch-switch/ovs-vswitchd",  # The plain one, where alternatives are installed.
    "/usr/sbin/ovs-vswitchd",
)
OVS_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


def ovs_vswitchd() -> str:
    """Open vSwitch's own ovs-vswitchd, whatever the name leads to."""
    return next(p for p in _OVS_VSWITCHD if os.access(p, os.X_OK))


class KernelVxlanPeer:
    """eth0 carries the underlay addresses; vx0, the VM addresses."""

    def __init__(self, lab: Lab, index: int = 2, name: str = "") -> None:
        self.index = index
        self.ns = lab.namespace(name or f"k{index}")

    def address(self, family: int = 4) -> str:
        return vm_address(self.index, family)

    @property
    def mac(self) -> str:
        return vm_mac(self.index)

    def underlay(self, family: int) -> str:
        return underlay_address(self.index, family)

    def configure_uplink(self) -> None:
        """After the wire to eth0 exists."""
        self.ns.add_address("eth0", f"{self.underlay(4)}/24")
        self.ns.add_address("eth0", f"{self.underlay(6)}/64")

    def add_vxlan(
        self,
        remote_ip: str,
        family: int,
        vni: int = DEFAULT_KEY,
        mtu: int = VM_MTU,
        dst_port: int = 4789,
        options: tuple[str, ...] = (),
    ) -> None:
        self.ns.ip(
            *("link", "add", "vx0", "address", self.mac, "mtu", mtu, "type", "vxlan", "id", vni),
            *("local", self.underlay(family), "remote", remote_ip, "dstport", dst_port),
            *("dev", "eth0", *options),
        )
        self.ns.ip("link", "set", "vx0", "up")
        self.ns.add_address("vx0", f"{self.address(4)}/24")
        self.ns.add_address("vx0", f"{self.address(6)}/64")


class OvsPeer:
    """An Open vSwitch with the userspace datapath, its own database and run directory.

    br-phy carries the underlay addresses and the uplink eth0; br1, the tunnel and the VM addresses.
    The two daemons stay in the foreground as our children.
    """

    def __init__(self, lab: Lab, index: int = 2) -> None:
        self.lab = lab
        self.index = index
        self.ns = lab.namespace(f"o{index}")
        self.directory = lab.directory / f"ovs-{index}"
        self.processes: list[Process] = []

    def address(self, family: int = 4) -> str:
        return vm_address(self.index, family)

    @property
    def mac(self) -> str:
        return vm_mac(self.index)

    def underlay(self, family: int) -> str:
        return underlay_address(self.index, family)

    def _environment(self) -> dict[str, str]:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        return {name: str(self.directory) for name in names}

    def start(self) -> None:
        self.directory.mkdir()
        database = self.directory / "conf.db"
        run(["ovsdb-tool", "create", str(database), OVS_SCHEMA])
        self.processes.append(
            self.ns.spawn(
                *("ovsdb-server", database, f"--remote=punix:{self.directory}/db.sock"),
                f"--unixctl={self.directory}/ovsdb.ctl",
                name=f"{self.ns.name}-ovsdb",
                env=self._environment(),
            )
        )
        wait_until((self.directory / "db.sock").exists, "ovsdb-server listens")
        self.vsctl("--no-wait", "init")
        self.processes.append(
            self.ns.spawn(
                *(ovs_vswitchd(), f"unix:{self.directory}/db.sock"),
                f"--unixctl={self.directory}/vswitchd.ctl",
                name=f"{self.ns.name}-vswitchd",
                env=self._environment(),
            )
        )

    def vsctl(self, *arguments: object) -> str:
        """Returns after ovs-vswitchd has applied the change."""
        command = ["ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "-t", "10"]
        return self.ns.run(*command, *arguments).stdout

    def appctl(self, *arguments: object) -> str:
        return run(["ovs-appctl", "-t", f"{self.directory}/vswitchd.ctl", *arguments]).stdout

    def add_bridge(self, name: str, mac: str, mtu: int, addresses: list[str]) -> None:
        # Bridges that share a MAC address confuse the tunnel receive rule, so each gets its own.
        self.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
        self.vsctl("set", "bridge", name, f"other-config:hwaddr=\"{mac}\"")
        self.vsctl("set", "interface", name, f"mtu_request={mtu}")
        self.ns.ip("link", "set", name, "up")
        for address in addresses:
            self.ns.add_address(name, address)

    def configure_uplink(self, mtu: int = UNDERLAY_MTU) -> None:
        """After the wire to eth0 exists."""
        # Open vSwitch reads eth0 with a packet socket and so must not be handed unfinished
        # checksums by its own kernel, and its kernel must not answer ARP beside it. Both are needs
        # of Open vSwitch and are set in its namespace alone.
        self.disable_offloads("eth0")
        self.ns.set_sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.add_bridge(
            "br-phy",
            f"02:00:ac:14:00:{self.index:02x}",
            mtu,
            [f"{self.underlay(4)}/24", f"{self.underlay(6)}/64"],
        )
        self.vsctl("add-port", "br-phy", "eth0")

    def disable_offloads(self, interface: str) -> None:
        self.ns.run("ethtool", "-K", interface, "tx", "off", "gso", "off", "tso", "off")

    def add_tunnel(
        self, kind: str, remote_ip: str, key: int | None = DEFAULT_KEY, mtu: int = VM_MTU,
        **options: object,
    ) -> None:
        self.add_bridge(
            "br1", self.mac, mtu, [f"{self.address(4)}/24", f"{self.address(6)}/64"]
        )
        settings = [f"type={kind}", f"options:remote_ip=\"{remote_ip}\""]
        if key is not None:
            settings.append(f"options:key={key}")
        settings += [f"options:{name}={value}" for name, value in options.items()]
        self.vsctl("add-port", "br1", "t0", "--", "set", "interface", "t0", *settings)
        # br1's device is a TAP of Open vSwitch's: it would hand unfinished checksums as well.
        self.disable_offloads("br1")
