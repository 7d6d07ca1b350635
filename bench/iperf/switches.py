# SPDX-License-Identifier: GPL-2.0-or-later
"""The same two hosts with one virtual machine each, switched by Culvert, Open vSwitch or the kernel.

    vm1 eth0 ─── vif1 [ switch A, tunnel ] eth0 ─── eth0 [ switch B, tunnel ] vif2 ─── eth0 vm2

Every line is a veth pair, and VMs keep the offloads that the kernel gives them unless `prepare_vm`
of the switch says why not.

strongSwan's userland ESP (libipsec) has no tunnel of frames to encrypt here, so its hosts talk themselves:
it carries no GRE and no Ethernet header, and passes one switch less at each end.
"""

from __future__ import annotations

import secrets

from netlab.charon import LIBIPSEC, Charon
from netlab.daemon import Build
from netlab.lab import Lab, Namespace
from netlab.measure import wait_for_ping
from netlab.peers import OvsPeer
from netlab.sealed import encrypt_pair
from netlab.topology import (
    DEFAULT_KEY,
    UNDERLAY_MTU,
    VM_MTU,
    tunnel_pair,
    underlay_address,
    vm_address,
    vm_mac,
)

Machines = tuple[Namespace, Namespace]


def _add_vm(lab: Lab, host: Namespace, index: int) -> Namespace:
    machine = lab.namespace(f"vm{index}")
    lab.wire(machine, "eth0", host, f"vif{index}", mtu=VM_MTU, a_mac=vm_mac(index))
    machine.add_address("eth0", f"{vm_address(index, 4)}/24")
    return machine


def culvert(lab: Lab, build: Build, kind: str) -> Machines:
    hosts = tunnel_pair(lab, build, kind, 4, trains=True)
    return hosts[0].vms[0].ns, hosts[1].vms[0].ns


def culvert_esp(lab: Lab, build: Build, kind: str) -> Machines:
    """The same with ESP by AES-GCM-128, which is what libipsec agrees on."""
    hosts = tunnel_pair(lab, build, kind, 4, start=False, trains=True)
    encrypt_pair(*hosts, algorithm="aes-gcm-128")
    for host in hosts:
        host.start()
    return hosts[0].vms[0].ns, hosts[1].vms[0].ns


def libipsec(lab: Lab, _build: Build, _kind: str) -> Machines:
    hosts = lab.namespace("s1"), lab.namespace("s2")
    lab.wire(hosts[0], "eth0", hosts[1], "eth0", mtu=UNDERLAY_MTU)
    secret = secrets.token_hex(16)
    charons = []
    for index, host in enumerate(hosts, 1):
        host.add_address("eth0", f"{underlay_address(index, 4)}/24")
        host.add_address("lo", f"{vm_address(index, 4)}/32")
        charon = Charon(host, first_plugins=LIBIPSEC).start()
        vms = {
            "local_ts": [f"{vm_address(index, 4)}/32"],
            "remote_ts": [f"{vm_address(3 - index, 4)}/32"],
            "esp_proposals": ["aes128gcm16"],
        }
        peer = {
            "version": 2,
            "local_addrs": [underlay_address(index, 4)],
            "remote_addrs": [underlay_address(3 - index, 4)],
            "encap": "yes",
            "proposals": ["aes128gcm16-prfsha256-ecp256"],
            "local": {"auth": "psk"},
            "remote": {"auth": "psk"},
            "children": {"vms": vms},
        }
        charon.ask("load-conn", {"peer": peer})
        charon.ask("load-shared", {"id": "peer", "type": "IKE", "data": secret})
        charons.append(charon)
    charons[0].ask("initiate", {"child": "vms", "timeout": 20000})
    return hosts


class _OvsHost(OvsPeer):
    """Open vSwitch with a virtual machine instead of addresses on its bridge."""

    def start_switch(self, kind: str, remote: int) -> Namespace:
        self.start()
        self.configure_uplink()
        machine = _add_vm(self.lab, self.ns, self.index)
        # Its datapath forwards unfinished checksums and super-frames as they are, and every TCP
        # segment would be dropped by its receiver: without these offloads it is at its best.
        machine.run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off")
        self._add_bridge("br1", f"02:00:0b:00:00:{self.index:02x}", VM_MTU, [])
        self.vsctl("add-port", "br1", f"vif{self.index}")
        self.vsctl(
            *("add-port", "br1", "t0", "--", "set", "interface", "t0", f"type={kind}"),
            *(f"options:remote_ip={underlay_address(remote, 4)}", f"options:key={DEFAULT_KEY}"),
        )
        return machine


def ovs(lab: Lab, _build: Build, kind: str) -> Machines:
    hosts = _OvsHost(lab, 1), _OvsHost(lab, 2)
    lab.wire(hosts[0].ns, "eth0", hosts[1].ns, "eth0", mtu=UNDERLAY_MTU)
    return hosts[0].start_switch(kind, 2), hosts[1].start_switch(kind, 1)


def kernel(lab: Lab, _build: Build, kind: str) -> Machines:
    hosts = lab.namespace("k1"), lab.namespace("k2")
    lab.wire(hosts[0], "eth0", hosts[1], "eth0", mtu=UNDERLAY_MTU)
    machines = []
    for index, host in enumerate(hosts, 1):
        machines.append(_add_vm(lab, host, index))
        host.add_address("eth0", f"{underlay_address(index, 4)}/24")
        host.ip(
            *("link", "add", "t0", "mtu", VM_MTU, "type", kind, "id", DEFAULT_KEY),
            *("local", underlay_address(index, 4), "remote", underlay_address(3 - index, 4)),
            *("dstport", 4789, "dev", "eth0"),
        )
        host.ip("link", "add", "br0", "type", "bridge")
        for name in ("t0", f"vif{index}"):
            host.ip("link", "set", name, "master", "br0", "up")
        host.ip("link", "set", "br0", "up")
    return machines[0], machines[1]


# Name, how it is made, tunnel. This kernel may lack a tunnel device: it is left out then.
SWITCHES = {
    "culvert/vxlan": (culvert, "vxlan"),
    "ovs-userspace/vxlan": (ovs, "vxlan"),
    "kernel/vxlan": (kernel, "vxlan"),
    "culvert/gre": (culvert, "gre"),
    "ovs-userspace/gre": (ovs, "gre"),
    "culvert/gre over esp": (culvert_esp, "gre"),
    "strongswan/libipsec": (libipsec, ""),
}


def start(lab: Lab, build: Build, name: str) -> Machines:
    make, kind = SWITCHES[name]
    machines = make(lab, build, kind)
    wait_for_ping(machines[0], vm_address(2, 4), timeout_s=20)
    return machines
