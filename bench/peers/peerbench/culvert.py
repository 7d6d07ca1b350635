# SPDX-License-Identifier: GPL-2.0-or-later
"""culvertd as it is by default: a bridge that learns."""

from __future__ import annotations

from netlab.config import Config
from netlab.daemon import Build, Culvertd
from netlab.lab import Namespace, run

from peerbench import traffic
from peerbench.rows import HUB_IP, HUB_KEY, HUB_MAC, Row
from peerbench.systems import Devices, System

_FLOWS_DEFAULT = 262_144


class Culvert(System):
    name = "culvert"
    title = "Culvert"

    @staticmethod
    def can(row: Row) -> bool:
        return True

    def launch(self, row: Row, devices: Devices) -> None:
        namespace = self.lab.namespace(self.label)
        config = configuration(row, devices)
        config.section(
            "dpdk",
            file_prefix=self.file_prefix,
            extra_args=["-d", str(self.place.plugin)],
            hugepages="auto" if self.place.hugepages else "never",
        )
        config.section("workers", cpus=[self.place.forward_cpu])
        config.daemon["control_cpus"] = [self.place.control_cpu]
        self.daemon = Culvertd(namespace, Build(self.place.build), config, self.label)
        # The source comes last: packets that wait for a neighbour would have the kernel ask for it,
        # which can take the permanence from an entry that is made in the same moment.
        source = config.find_port("in")
        config.ports.remove(source)
        with self.both_cpus():
            self.daemon.start(ready=False)
        self.process = self.daemon.process
        self.daemon.wait_ready()
        _add_neighbours(namespace, row)
        config.ports.append(source)
        self.daemon.reload()

    def troubles(self) -> str:
        drops = self.daemon.drops()
        return ", ".join(f"{reason} {count}" for reason, count in sorted(drops.items()))

    def end(self) -> None:
        self.daemon.stop()
        run(["ip", "netns", "del", self.daemon.host.full_name], check=False)


def configuration(row: Row, devices: Devices) -> Config:
    """Both ports, and for a tunnel: br0 inside, br-ext with the host's address outside."""
    config = Config()
    if row.flows > _FLOWS_DEFAULT // 2 and row.by_mac:
        config.section("flow_cache", max_flows=2 * row.flows)
    inner = config.bridge("br0")
    inside, outside = _bridges(row.kind)
    # Where destinations are has to be said: nobody answers, so nothing can be learned of them.
    inner["static_mac"] = [
        {"mac": traffic.destination_mac(i), "port": "to-peer" if row.kind in ("encap", "hub") else "out"}
        for i in range(max(row.traffic.macs, 1))
    ]
    if row.kind != "plain":
        outer = config.bridge(
            "br-ext",
            local={"addresses": [f"{traffic.LOCAL_IP}/24"], "mac": traffic.LOCAL_MAC},
        )
        if outside == "out":
            outer["static_mac"] = [
                {"mac": mac, "port": "out"} for mac in (traffic.REMOTE_MAC, HUB_MAC)
            ]
        _add_tunnels(config, row)
    config.port("in", "br0" if inside == "in" or row.kind == "plain" else "br-ext",
                kind="dpdk", devargs=devices.source)
    config.port("out", "br-ext" if outside == "out" else "br0", kind="dpdk", devargs=devices.sink)
    if row.tunnel == "lisp":
        _route(config, row)
    return config


def _bridges(kind: str) -> tuple[str, str]:
    """Which port is inside, which outside; of a hub both are outside."""
    return {"plain": ("", ""), "encap": ("in", "out"), "decap": ("out", "in"), "hub": ("", "out")}[kind]


def _add_tunnels(config: Config, row: Row) -> None:
    first = "from-peer" if row.kind == "hub" else "to-peer"
    config.tunnel(first, "br0", type=row.tunnel, remote_ip=traffic.REMOTE_IP, key=traffic.KEY)
    if row.kind == "hub":
        config.tunnel("to-peer", "br0", type="geneve", remote_ip=HUB_IP, key=HUB_KEY)


def _route(config: Config, row: Row) -> None:
    """The bridge is the gateway of what LISP carries."""
    bridge = config.find_bridge("br0")
    here, there = ("10.0.0.1/10", "10.128.0.0/10") if row.kind == "encap" else (
        "10.128.0.1/10",
        "10.0.0.0/10",
    )
    bridge["local"] = {"addresses": [here], "mac": traffic.GATEWAY_MAC}
    bridge["eid"] = [{"prefix": there, "rloc": [{"tunnel": "to-peer"}]}]
    if row.kind == "encap":
        del bridge["static_mac"]


def _add_neighbours(namespace: Namespace, row: Row) -> None:
    """What ARP would find if somebody answered."""
    found = [("br-ext", traffic.REMOTE_IP, traffic.REMOTE_MAC), ("br-ext", HUB_IP, HUB_MAC)]
    if row.kind == "plain":
        return
    if row.work == "lisp-decap":
        found.append(("br0", traffic.ONE_HOST, traffic.destination_mac(0)))
    for device, address, mac in found:
        namespace.ip("neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")
