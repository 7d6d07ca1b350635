# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch with DPDK, by hand: a database, a run directory and a namespace of its own.

It is given its best settings: explicit flows where it need not learn, and its exact-match cache
(EMC) only where all flows fit into it, for beyond that the cache costs more than it saves.
"""

from __future__ import annotations

import json
import pathlib
import socket

from netlab.lab import Namespace, Process, run, wait_until

from peerbench import traffic
from peerbench.rows import HUB_IP, HUB_KEY, HUB_MAC, Row
from peerbench.systems import Devices, System, listens

_PROGRAM = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_EMC_ENTRIES = 8192


class Refused(Exception):
    """A command of ovs-appctl failed; the text says which and why."""


class Ovs(System):
    name = "ovs"
    title = "OVS-DPDK"

    @staticmethod
    def can(row: Row) -> bool:
        return row.tunnel != "lisp"  # 3.1 has none in userspace.

    def launch(self, row: Row, devices: Devices) -> None:
        self.directory = self.lab.directory / self.label
        self.directory.mkdir()
        self.namespace: Namespace = self.lab.namespace(self.label)
        self.database = self._start_database()
        self._configure(row)
        self.process = self._spawn(_PROGRAM, f"unix:{self.directory}/db.sock", control="vswitchd.ctl")
        self.wait(lambda: listens(self.directory / "vswitchd.ctl"), "ovs-vswitchd listens")
        self._add_bridges(row, devices)

    def _spawn(self, program: str, *arguments: object, control: str) -> Process:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        return self.namespace.spawn(
            "taskset", "-c", self.place.control_cpu, program, *arguments,
            f"--unixctl={self.directory}/{control}",
            name=f"{self.label}-{pathlib.Path(program).name}",
            env={name: str(self.directory) for name in names},
        )  # fmt: skip

    def _start_database(self) -> Process:
        database = self.directory / "conf.db"
        run(["ovsdb-tool", "create", database, _SCHEMA])
        process = self._spawn(
            "ovsdb-server", database, f"--remote=punix:{self.directory}/db.sock",
            control="ovsdb.ctl",
        )  # fmt: skip
        wait_until(lambda: listens(self.directory / "db.sock"), "ovsdb-server listens")
        return process

    def _configure(self, row: Row) -> None:
        place = self.place
        # It adds --in-memory, with which DPDK refuses --no-huge, unless it sees --legacy-mem.
        memory = [] if place.hugepages else ["--no-huge", "--legacy-mem", "-m", "1024"]
        extra = ["--file-prefix", self.file_prefix, "--no-pci", "-d", str(place.plugin), *memory]
        settings = {
            "dpdk-init": "true",
            "dpdk-lcore-mask": hex(1 << place.control_cpu),
            "pmd-cpu-mask": hex(1 << place.forward_cpu),
            "n-handler-threads": 1,
            "n-revalidator-threads": 1,
            # As fast as one shared pool, in a quarter of the memory.
            "per-port-memory": "true",
            "dpdk-extra": " ".join(extra),
            "emc-insert-inv-prob": 100 if row.flows <= _EMC_ENTRIES else 0,
        }
        if place.hugepages:
            settings["dpdk-socket-mem"] = 256
        quoted = [f'other_config:{key}="{value}"' for key, value in settings.items()]
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *quoted)

    def vsctl(self, *arguments: object) -> str:
        command = ["ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "-t", "20"]
        return run([*command, *map(str, arguments)]).stdout

    def flow(self, bridge: str, flow: str) -> None:
        run(["ovs-ofctl", "add-flow", f"unix:{self.directory}/{bridge}.mgmt", flow])

    def ask(self, commands: list[list[str]]) -> list[str]:
        """What ovs-appctl asks, over one connection."""
        answers = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.directory / "vswitchd.ctl"))
            decoder = json.JSONDecoder()
            for number, (method, *parameters) in enumerate(commands):
                request = {"method": method, "params": parameters, "id": number}
                connection.sendall(json.dumps(request).encode())
                text = ""
                while True:
                    text += connection.recv(65536).decode()
                    try:
                        answer, _ = decoder.raw_decode(text)
                        break
                    except ValueError:
                        continue
                if answer["error"] is not None:
                    raise Refused(f"{method} {' '.join(parameters)}: {answer['error']}")
                answers.append(answer["result"])
        return answers

    def _add_bridges(self, row: Row, devices: Devices) -> None:
        add = ["--", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"]
        kind = row.kind
        if kind != "plain":
            add += ["--", "add-br", "br-phy", "--", "set", "bridge", "br-phy"]
            add += ["datapath_type=netdev", f'other_config:hwaddr="{traffic.LOCAL_MAC}"']
            add += _tunnel("t0", row.tunnel, traffic.REMOTE_IP, traffic.KEY)
        if kind == "hub":
            add += _tunnel("t1", "geneve", HUB_IP, HUB_KEY)
        add += _port("p0", "br-phy" if kind in ("decap", "hub") else "br0", devices.source)
        add += _port("p1", "br-phy" if kind in ("encap", "hub") else "br0", devices.sink)
        # All at once, and the flows after: without flows the bridges would learn and flood.
        fail = [["--", "set-fail-mode", "br0", "secure"]]
        if kind != "plain":
            fail.append(["--", "set-fail-mode", "br-phy", "secure"])
        self.vsctl(*add[1:], *sum(fail, []))
        if kind != "plain":
            self._connect_underlay()
        for bridge, flow in _flows(row):
            self.flow(bridge, flow)
        if row.by_mac:
            port = "p1"
            macs = [traffic.destination_mac(i) for i in range(row.traffic.macs)]
            self.ask([["fdb/add", "br0", port, "0", mac] for mac in macs])

    def _connect_underlay(self) -> None:
        self.namespace.ip("link", "set", "br-phy", "up")
        self.namespace.ip("addr", "add", f"{traffic.LOCAL_IP}/24", "dev", "br-phy")
        neighbours = ((traffic.REMOTE_IP, traffic.REMOTE_MAC), (HUB_IP, HUB_MAC))
        # Refused until it has noticed the address.
        wait_until(self._add_route, "Open vSwitch takes a route over br-phy")
        self.ask([["tnl/neigh/set", "br-phy", address, mac] for address, mac in neighbours])

    def _add_route(self) -> bool:
        try:
            self.ask([["ovs/route/add", "172.31.1.0/24", "br-phy"]])
        except Refused:
            return False
        return True

    def runtime_folder(self) -> pathlib.Path:
        # It takes OVS_RUNDIR for DPDK's files as well.
        ours = self.directory / "dpdk" / self.file_prefix
        return ours if ours.exists() else super().runtime_folder()

    def troubles(self) -> str:
        shown = self.ask([["dpif-netdev/pmd-stats-show"]])[0]
        kept = ("emc hits", "smc hits", "megaflow hits", "miss with", "packet recirc")
        lines = [" ".join(line.split()) for line in shown.splitlines()]
        return "; ".join(line for line in lines if line.startswith(kept))

    def end(self) -> None:
        super().end()
        self.database.stop()
        run(["ip", "netns", "del", self.namespace.full_name], check=False)


def _port(name: str, bridge: str, devargs: str) -> list[str]:
    return [
        *("--", "add-port", bridge, name, "--", "set", "interface", name, "type=dpdk"),
        f'options:dpdk-devargs="{devargs}"',
    ]


def _tunnel(name: str, kind: str, remote_ip: str, key: int) -> list[str]:
    return [
        *("--", "add-port", "br0", name, "--", "set", "interface", name, f"type={kind}"),
        *(f'options:remote_ip="{remote_ip}"', f"options:key={key}"),
    ]


def _flows(row: Row) -> list[tuple[str, str]]:
    if row.by_mac:
        return [("br0", "actions=NORMAL")]
    return {
        "plain": [("br0", "in_port=p0,actions=output:p1")],
        "encap": [("br0", "in_port=p0,actions=output:t0"), ("br-phy", "in_port=LOCAL,actions=output:p1")],
        "decap": [("br0", "in_port=t0,actions=output:p1"), ("br-phy", "in_port=p0,actions=LOCAL")],
        "hub": [
            ("br0", "in_port=t0,actions=output:t1"),
            ("br-phy", "in_port=p0,actions=LOCAL"),
            ("br-phy", "in_port=LOCAL,actions=output:p1"),
        ],
    }[row.kind]
