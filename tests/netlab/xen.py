# SPDX-License-Identifier: GPL-2.0-or-later
"""What xcp-networkd, the vif scripts and Xen Orchestra's SDN controller ask of a host's switch, in
their words (xapi: networkd/lib/network_utils.ml, scripts/vif; xo-server-sdn-controller).
"""

from __future__ import annotations

import json

from netlab.lab import LabError, run
from netlab.ovs_host import OvsHost

VIF_TIMEOUT = "--timeout=30"
_DATABASE = "Open_vSwitch"


class XenHost:
    """The toolstack of one host."""

    def __init__(self, switch: OvsHost) -> None:
        self.switch = switch
        self._tunnels = 0

    def boot(self) -> None:
        self.switch.vsctl("set", "Open_vSwitch", ".", "other_config:max-idle=5000")

    # xcp-networkd

    def create_bridge(self, name: str, mac: str, network: str, nics: tuple[str, ...] = ()) -> None:
        words = [
            *("--", "--may-exist", "add-br", name),
            *("--", "set", "bridge", name, f'other-config:hwaddr="{mac}"'),
            *("--", "set", "bridge", name, "fail_mode=standalone"),
            *("--", "remove", "bridge", name, "other_config", "disable-in-band"),
            *("--", "br-set-external-id", name, "xs-network-uuids", network),
            *("--", "set", "bridge", name, "other_config:mac-table-size=10000"),
            *("--", "set", "bridge", name, "mcast_snooping_enable=false"),
            *("--", "set", "bridge", name, "other-config:enable-ipv6-mcast-snooping=false"),
            *("--", "set", "bridge", name),
            "other-config:mcast-snooping-disable-flood-unregistered=true",
        ]
        self.switch.vsctl(*words)
        for nic in nics:
            self.switch.vsctl("--", "--may-exist", "add-port", name, nic)

    def create_vlan_bridge(self, name: str, parent: str, tag: int, mac: str, networks: str) -> None:
        found = self.switch.vsctl(
            *("--bare", "-f", "table", "--", "--columns=name"),
            *("find", "port", "fake_bridge=true", f"tag={tag}"),
        )
        assert found.split() == []
        self.switch.vsctl(
            *("--", "--may-exist", "add-br", name, parent, tag),
            *("--", "set", "interface", name, f'MAC="{mac}"'),
            *("--", "br-set-external-id", parent, "xs-network-uuids", networks),
        )

    def add_bond(self, bridge: str, bond: str, nics: tuple[str, ...], mac: str) -> None:
        self.switch.vsctl(
            *("--", "--may-exist", "add-bond", bridge, bond, *nics),
            *("--", "set", "port", bond, f'MAC="{mac}"', "lacp=off", "bond_mode=balance-slb"),
            *("bond_updelay=31000", "bond_downdelay=200"),
            *("other-config:bond-miimon-interval=100", "other-config:bond-detect-mode=carrier"),
        )

    # the vif script

    def plug_vif(self, vif: str, bridge: str, mac: str, network: str) -> int:
        """Returns the OpenFlow port number."""
        self.switch.vsctl(
            *(VIF_TIMEOUT, "add-port", bridge, vif, "--", "set", "interface", vif),
            f'external-ids:"xs-vm-uuid"="vm-of-{vif}"',
            f'external-ids:"xs-vif-uuid"="{vif}-uuid"',
            f'external-ids:"xs-network-uuid"="{network}"',
            f'external-ids:"attached-mac"="{mac}"',
        )
        ofport = int(self.switch.vsctl(VIF_TIMEOUT, "get", "interface", vif, "ofport"))
        self.switch.host.ip("link", "set", vif, "up")
        return ofport

    def unplug_vif(self, vif: str) -> None:
        self.switch.vsctl(VIF_TIMEOUT, "--", "--if-exists", "del-port", vif)

    # Xen Orchestra: transactions straight to the server, which never wait for the switch

    def transact(self, *operations: dict) -> list[dict]:
        text = json.dumps([_DATABASE, *operations])
        done = run(["ovsdb-client", "transact", self.switch.remote, text])
        results = json.loads(done.stdout)
        for result in results:
            if result and "error" in result:
                raise LabError(f"{text}: {result}")
        return results

    def add_tunnel(
        self, network: str, kind: str, remote_ip: str, vni: int, private: str, **options: str
    ) -> str:
        """Returns the Port's name."""
        (found,) = self.transact(
            {
                "op": "select",
                "table": "Bridge",
                "columns": ["_uuid", "name"],
                "where": [["external_ids", "includes", ["map", [["xs-network-uuids", network]]]]],
            }
        )
        (bridge,) = found["rows"]
        self._tunnels += 1
        port = f"{bridge['name']}_port{self._tunnels}"
        settings = {"remote_ip": remote_ip, "key": str(vni), **options}
        self.transact(
            {
                "op": "insert",
                "table": "Interface",
                "row": {
                    "type": kind,
                    "name": f"{bridge['name']}_iface{self._tunnels}",
                    "options": ["map", list(map(list, settings.items()))],
                },
                "uuid-name": "new_iface",
            },
            {
                "op": "insert",
                "table": "Port",
                "row": {
                    "name": port,
                    "interfaces": ["set", [["named-uuid", "new_iface"]]],
                    "other_config": [
                        "map", [["xo:sdn-controller:private-network-uuid", private]],
                    ],
                },
                "uuid-name": "new_port",
            },
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["_uuid", "==", bridge["_uuid"]]],
                "mutations": [["ports", "insert", ["set", [["named-uuid", "new_port"]]]]],
            },
        )  # fmt: skip
        return port

    def remove_tunnel(self, network: str, port: str) -> None:
        (found,) = self.transact(
            {"op": "select", "table": "Port", "columns": ["_uuid"], "where": [["name", "==", port]]}
        )
        (row,) = found["rows"]
        self.transact(
            {
                "op": "mutate",
                "table": "Bridge",
                "where": [["external_ids", "includes", ["map", [["xs-network-uuids", network]]]]],
                "mutations": [["ports", "delete", ["set", [row["_uuid"]]]]],
            }
        )
