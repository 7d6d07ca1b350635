# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts whose machines are in IP subnets of their own, joined by tunnels of bare IP packets.

    vm1 10.1.0.10 ─ vif1 ┤br0├ t2 ~ ~ ~ t1 ┤br0├ vif2 ─ 10.2.0.10 vm2
              h1  gateway 10.1.0.1          gateway 10.2.0.1  h2
"""

from __future__ import annotations

from netlab.daemon import Build
from netlab.lab import Lab
from netlab.topology import DEFAULT_KEY, UNDERLAY_MTU, VM_MTU, Host, Vm, vm_mac

BITS = {4: 24, 6: 64}


def subnet(index: int, family: int) -> str:
    return f"10.{index}.0.0/24" if family == 4 else f"fd1{index:x}::/64"


def gateway(index: int, family: int) -> str:
    return f"10.{index}.0.1" if family == 4 else f"fd1{index:x}::1"


def machine(index: int, family: int) -> str:
    return f"10.{index}.0.10" if family == 4 else f"fd1{index:x}::10"


class RoutedHost(Host):
    """Subnet N is at home at host N; br0's device is its gateway."""

    def __init__(self, lab: Lab, build: Build, index: int, mtu: int = UNDERLAY_MTU) -> None:
        super().__init__(lab, build, index, mtu)
        self.bridge = self.config.find_bridge("br0")
        self.bridge["local"] = {"addresses": []}
        self.bridge["eid"] = []

    def add_machine(self, index: int) -> Vm:
        """The machine of subnet `index`, and its gateway."""
        vm = Vm(self.lab.namespace(f"vm{self.index}-{index}"), index, f"vif{index}")
        self.lab.wire(vm.ns, "eth0", self.ns, vm.port, mtu=VM_MTU, a_mac=vm_mac(index))
        for family, bits in BITS.items():
            vm.ns.add_address("eth0", f"{machine(index, family)}/{bits}")
            vm.ns.ip("route", "add", "default", "via", gateway(index, family))
            self.bridge["local"]["addresses"].append(f"{gateway(index, family)}/{bits}")
        self.config.port(vm.port, "br0", kind="linux")
        self.vms.append(vm)
        return vm

    def map(self, index: int, *rlocs: dict[str, object] | str) -> None:
        """Subnet `index` is behind these tunnels, and no others."""
        for family in BITS:
            prefix = subnet(index, family)
            entries = [{"tunnel": r} if isinstance(r, str) else dict(r) for r in rlocs]
            self.bridge["eid"] = [e for e in self.bridge["eid"] if e["prefix"] != prefix]
            self.bridge["eid"].append({"prefix": prefix, "rloc": entries})


def routed_pair(
    lab: Lab,
    build: Build,
    kind: str,
    family: int,
    key: int | None = DEFAULT_KEY,
    mtu: int = UNDERLAY_MTU,
    start: bool = True,
    **tunnel_keys: object,
) -> tuple[RoutedHost, RoutedHost]:
    """Subnet 1 at host 1 and subnet 2 at host 2, joined by the tunnel t0."""
    hosts = RoutedHost(lab, build, 1, mtu), RoutedHost(lab, build, 2, mtu)
    lab.wire(hosts[0].ns, "eth0", hosts[1].ns, "eth0", mtu=mtu)
    for host, other in (hosts, reversed(hosts)):
        host.add_machine(host.index)
        host.add_tunnel("t0", kind, other.underlay(family), key, packet_type="l3", **tunnel_keys)
        host.map(other.index, "t0")
    if start:
        for host in hosts:
            host.start()
    return hosts
