# SPDX-License-Identifier: GPL-2.0-or-later
"""XAPI's records of a pool, built row by row, for netlab/xapi.py and for network.dbcache files."""

from __future__ import annotations

import uuid

NULL = "OpaqueRef:NULL"
HOST_UUID = "cccccccc-0000-4000-8000-000000000001"
_NAMES = uuid.UUID("dddddddd-0000-4000-8000-000000000000")


class Records:
    """`tables[class][reference]` is a record, with the fields that XAPI's clients on a host read.

    The first host is the one whose XAPI it is. Of generation 1 the pool has the controller, of 2
    and 3 there are SDN_controller objects.
    """

    def __init__(self, generation: int = 2, host_uuid: str = HOST_UUID) -> None:
        self.generation = generation
        kinds = "host pool network PIF VLAN Bond tunnel VIF VM".split()
        if generation > 1:
            kinds.append("SDN_controller")
        self.tables: dict[str, dict[str, dict]] = {kind: {} for kind in kinds}
        self.host = self.add_host("this", host_uuid)
        pool = {"name_label": "pool", "master": self.host, "vswitch_controller": ""}
        self.pool = self._add("pool", "pool", pool)

    def _add(self, kind: str, name: str, fields: dict, number: str | None = None) -> str:
        number = number or str(uuid.uuid5(_NAMES, f"{kind} {name}"))
        ref = f"OpaqueRef:{uuid.uuid5(_NAMES, number)}"
        assert ref not in self.tables[kind], f"there is a {kind} {name} already"
        self.tables[kind][ref] = {"uuid": number, "other_config": {}, **fields}
        return ref

    def get(self, kind: str, ref: str) -> dict:
        return self.tables[kind][ref]

    def uuid(self, kind: str, ref: str) -> str:
        return self.tables[kind][ref]["uuid"]

    def add_host(self, name: str, host_uuid: str | None = None) -> str:
        fields = {
            "name_label": name,
            "hostname": name,
            "address": "",
            "enabled": True,
            "software_version": {"network_backend": "openvswitch", "product_version": "8.3.0"},
            "PIFs": [],
        }
        return self._add("host", name, fields, host_uuid)

    def add_network(self, bridge: str, mtu: int = 1500, number: str | None = None, **other_config: str) -> str:
        """`other_config` with _ for - in the keys: vswitch_disable_in_band="true"."""
        fields = {
            "name_label": bridge,
            "bridge": bridge,
            "MTU": mtu,
            "PIFs": [],
            "VIFs": [],
            "other_config": {key.replace("_", "-"): value for key, value in other_config.items()},
        }
        return self._add("network", bridge, fields, number)

    def add_pif(
        self,
        device: str,
        network: str,
        mac: str,
        *,
        management: bool = False,
        tag: int = -1,
        attached: bool = True,
        host: str | None = None,
        **fields: object,
    ) -> str:
        host = host or self.host
        row = {
            "device": device,
            "network": network,
            "host": host,
            "MAC": mac,
            "MTU": self.get("network", network)["MTU"],
            "VLAN": tag,
            "physical": tag < 0,
            "currently_attached": attached,
            "management": management,
            "ip_configuration_mode": "None",
            "IP": "",
            "netmask": "",
            "gateway": "",
            "DNS": "",
            "bond_slave_of": NULL,
            "bond_master_of": [],
            "VLAN_master_of": NULL,
            "VLAN_slave_of": [],
            "tunnel_access_PIF_of": [],
            "tunnel_transport_PIF_of": [],
            "managed": True,
            "primary_address_type": "IPv4",
            **fields,
        }
        ref = self._add("PIF", f"{host} {device} {tag} {network}", row)
        self.get("network", network)["PIFs"].append(ref)
        self.get("host", host)["PIFs"].append(ref)
        return ref

    def add_vlan(self, tagged: str, network: str, tag: int, **fields: object) -> str:
        """The untagged PIF of VLAN `tag` over the PIF `tagged`; returns that PIF."""
        lower = self.get("PIF", tagged)
        pif = self.add_pif(lower["device"], network, lower["MAC"], tag=tag, host=lower["host"], **fields)
        row = {"tagged_PIF": tagged, "untagged_PIF": pif, "tag": tag}
        vlan = self._add("VLAN", f"{tagged} {tag}", row)
        self.get("PIF", pif)["VLAN_master_of"] = vlan
        lower["VLAN_slave_of"].append(vlan)
        return pif

    def add_bond(self, device: str, network: str, mac: str, slaves: list[str], **fields: object) -> str:
        """Returns the bond's PIF."""
        pif = self.add_pif(device, network, mac, **fields)
        row = {"master": pif, "slaves": list(slaves), "mode": "balance-slb", "properties": {}}
        bond = self._add("Bond", device, row)
        self.get("PIF", pif)["bond_master_of"] = [bond]
        for slave in slaves:
            self.get("PIF", slave)["bond_slave_of"] = bond
        return pif

    def add_tunnel(self, transport: str, network: str, mac: str, protocol: str = "gre") -> str:
        """Returns the access PIF."""
        access = self.add_pif(f"tunnel{len(self.tables['tunnel'])}", network, mac)
        row = {"access_PIF": access, "transport_PIF": transport, "status": {"active": "false"}, "protocol": protocol}
        tunnel = self._add("tunnel", access, row)
        self.get("PIF", access)["tunnel_access_PIF_of"] = [tunnel]
        self.get("PIF", transport)["tunnel_transport_PIF_of"].append(tunnel)
        return access

    def add_vm(self, name: str, domid: int, **other_config: str) -> str:
        fields = {
            "name_label": name,
            "domid": domid,
            "power_state": "Running",
            "resident_on": self.host,
            "is_control_domain": domid == 0,
            "VIFs": [],
            "other_config": {key.replace("_", "-"): value for key, value in other_config.items()},
        }
        return self._add("VM", name, fields)

    def add_vif(self, vm: str, device: int, network: str, mac: str, **other_config: str) -> str:
        fields = {
            "VM": vm,
            "device": str(device),
            "network": network,
            "MAC": mac,
            "MTU": 1500,
            "currently_attached": True,
            "locking_mode": "network_default",
            "other_config": {key.replace("_", "-"): value for key, value in other_config.items()},
        }
        vif = self._add("VIF", f"{vm} {device}", fields)
        self.get("VM", vm)["VIFs"].append(vif)
        self.get("network", network)["VIFs"].append(vif)
        return vif

    def add_sdn_controller(self, protocol: str, address: str = "", port: int = 0) -> str:
        fields = {"protocol": protocol, "address": address, "port": port}
        return self._add("SDN_controller", f"{protocol}:{address}:{port}", fields)
