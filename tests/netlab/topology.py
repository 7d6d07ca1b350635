# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that run culvertd, and the virtual machines behind them.

    VM namespace          host namespace                                    wire
    eth0 ───────── vif<N>─┤br0├─ tunnel ~ ~ ~ br-phy (TAP, underlay address)
                                             ┤br-phy├─ eth0 ─────────── other hosts

`eth0` of a host has no address: br-phy, the bridge's TAP device, carries them.
"""

from __future__ import annotations

import dataclasses

from netlab.config import Config
from netlab.daemon import Build, Culvertd
from netlab.lab import Lab, Namespace, wait_until

# The tunnel header over IPv6 is at most 70 bytes (VXLAN), so 1600 carries 1500-byte VM packets.
UNDERLAY_MTU = 1600
VM_MTU = 1500
DEFAULT_KEY = 4711


def underlay_address(index: int, family: int) -> str:
    return f"172.20.0.{index}" if family == 4 else f"fd20::{index:x}"


def vm_address(index: int, family: int) -> str:
    return f"10.0.0.{index}" if family == 4 else f"fd10::{index:x}"


def vm_mac(index: int) -> str:
    return f"02:00:0a:00:00:{index:02x}"


@dataclasses.dataclass
class Vm:
    """A namespace with one interface, eth0, wired to `port` of its host."""

    ns: Namespace
    index: int
    port: str

    @property
    def mac(self) -> str:
        return vm_mac(self.index)

    def address(self, family: int = 4) -> str:
        return vm_address(self.index, family)


class Host:
    """A namespace with an uplink, bridges br-phy and br0, and a daemon that is started later."""

    def __init__(
        self,
        lab: Lab,
        build: Build,
        index: int,
        mtu: int = UNDERLAY_MTU,
        log_level: str = "info",
        trains: bool = False,
    ) -> None:
        self.lab = lab
        self.trains = trains
        self.index = index
        self.mtu = mtu
        self.ns = lab.namespace(f"h{index}")
        self.vms: list[Vm] = []
        self.config = Config()
        self.config.daemon["log_level"] = log_level
        self.config.bridge(
            "br-phy",
            local={
                "addresses": [f"{self.underlay(4)}/24", f"{self.underlay(6)}/64"],
                "mtu": mtu,
            },
        )
        self.config.port("eth0", "br-phy", kind="linux")
        self.config.bridge("br0")
        self.daemon = Culvertd(self.ns, build, self.config)

    def underlay(self, family: int) -> str:
        return underlay_address(self.index, family)

    def wire_vm(
        self, index: int, mtu: int = VM_MTU, host_mtu: int | None = None
    ) -> Vm:
        """Creates a virtual machine and its wire, but no port for it."""
        vm = Vm(self.lab.namespace(f"vm{index}"), index, f"vif{index}")
        self.plug(vm, mtu)
        if host_mtu is not None:
            self.ns.ip("link", "set", vm.port, "mtu", host_mtu)
        self.vms.append(vm)
        return vm

    def plug(self, vm: Vm, mtu: int = VM_MTU) -> None:
        """Gives the machine its interface and addresses (again, after `unplug`)."""
        self.lab.wire(vm.ns, "eth0", self.ns, vm.port, mtu=mtu, a_mac=vm.mac)
        vm.ns.add_address("eth0", f"{vm.address(4)}/24")
        vm.ns.add_address("eth0", f"{vm.address(6)}/64")

    def unplug(self, vm: Vm) -> None:
        self.ns.ip("link", "del", vm.port)

    def add_vm(
        self,
        index: int,
        bridge: str = "br0",
        mtu: int = VM_MTU,
        host_mtu: int | None = None,
        **port_keys: object,
    ) -> Vm:
        vm = self.wire_vm(index, mtu, host_mtu)
        self.config.port(vm.port, bridge, **{"kind": "linux", **port_keys})
        return vm

    def add_tunnel(
        self,
        name: str,
        kind: str,
        remote_ip: str,
        key: int | None = DEFAULT_KEY,
        bridge: str = "br0",
        **keys: object,
    ) -> None:
        if key is not None:
            keys["key"] = key
        self.config.tunnel(name, bridge, type=kind, remote_ip=remote_ip, **keys)

    def start(self) -> None:
        """Without `trains`, what tests see on the wire between hosts is what a real wire carries: a
        veth pair hands UDP super-frames over whole."""
        if not self.trains and "eth0" in self.ns.links():
            self.ns.run("ethtool", "-K", "eth0", "tx-udp-segmentation", "off")
        self.daemon.start()

    def wait_for_port(self, port: str) -> None:
        wait_until(lambda: self.daemon.shown(port), f"'{port}' is shown by {self.ns.name}")


    def wait_for_next_hop(self, tunnel: str = "t0") -> None:
        """Until the tunnel's neighbour is resolved; before that only 64 packets are held for it."""

        def resolved() -> bool:
            return self.daemon.shown(tunnel)["next_hop"]["state"] == "resolved"

        wait_until(resolved, f"the next hop of {tunnel} at {self.ns.name} is resolved")


def connect(a: Host, b: Host) -> None:
    """A cable between the uplinks of two hosts."""
    a.lab.wire(a.ns, "eth0", b.ns, "eth0", mtu=a.mtu)


def tunnel_pair(
    lab: Lab,
    build: Build,
    kind: str,
    family: int,
    key: int | None = DEFAULT_KEY,
    mtu: int = UNDERLAY_MTU,
    vm_mtu: int = VM_MTU,
    start: bool = True,
    trains: bool = False,
    **tunnel_keys: object,
) -> tuple[Host, Host]:
    """Two hosts with one virtual machine each, joined by one tunnel."""
    hosts = tuple(Host(lab, build, index, mtu, trains=trains) for index in (1, 2))
    connect(*hosts)
    for host, other in (hosts, reversed(hosts)):
        host.add_vm(host.index, mtu=vm_mtu)
        host.add_tunnel("t0", kind, other.underlay(family), key, **tunnel_keys)
    if start:
        for host in hosts:
            host.start()
    return hosts


class Wire:
    """A switch for more than two uplinks: a namespace with a bridge of the kernel's."""

    def __init__(self, lab: Lab, mtu: int = UNDERLAY_MTU) -> None:
        self.ns = lab.namespace("wire")
        self.lab = lab
        self.mtu = mtu
        # Without snooping the bridge floods neighbour discovery as a plain switch does.
        self.ns.ip("link", "add", "name", "switch", "type", "bridge", "mcast_snooping", 0)
        self.ns.ip("link", "set", "dev", "switch", "mtu", mtu, "up")

    def attach(self, node: Namespace, interface: str = "eth0", mac: str | None = None) -> str:
        """Wires an interface of `node` to the bridge; returns the bridge port's name."""
        port = f"to-{node.name}"
        self.lab.wire(node, interface, self.ns, port, mtu=self.mtu, a_mac=mac)
        self.ns.ip("link", "set", "dev", port, "master", "switch")
        return port
