# SPDX-License-Identifier: GPL-2.0-or-later
"""What culvertd writes back into the database, beside what ovs-vswitchd writes for the same
configuration: every column of a switch's own, for good and for bad configurations.
"""

from __future__ import annotations

import dataclasses

import pytest

from netlab.lab import Lab, LabError, wait_until
from netlab.ovs_host import OvsHost

# name -> ovs-vsctl's arguments. Every bridge is of the netdev datapath, as Open vSwitch has no
# kernel module here; "e1" and "e2" are veths that exist and are up, "e3" is down.
BRIDGE = "add-br br0 -- set bridge br0 datapath_type=netdev other-config:hwaddr=02:00:00:00:01:01"


def _port(name: str, settings: str = "", bridge: str = "br0") -> str:
    line = f"{BRIDGE} -- add-port {bridge} {name}"
    return f"{line} -- set interface {name} {settings}" if settings else line


def _tunnel(kind: str, options: str = "") -> str:
    words = " ".join(f"options:{word}" for word in options.split())
    return _port("t1", f"type={kind} {words}")


CONFIGURATIONS: dict[str, str] = {
    "bridge": BRIDGE,
    "bridge-of-a-lowest-mac": "add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 e1 -- add-port br0 e2",
    "datapath-id": f"{BRIDGE} other-config:datapath-id=00000000000000ab",
    "datapath-id-bad": f"{BRIDGE} other-config:datapath-id=xyz",
    "hwaddr-bad": "add-br br0 -- set bridge br0 datapath_type=netdev other-config:hwaddr=nonsense -- add-port br0 e1",
    "fail-mode": f"{BRIDGE} fail_mode=secure other-config:disable-in-band=true",
    "mac-table": f"{BRIDGE} other-config:mac-table-size=10000 other-config:mac-aging-time=60",
    "mcast-snooping": f"{BRIDGE} mcast_snooping_enable=true other-config:mcast-snooping-disable-flood-unregistered=true",
    "system": _port("e1"),
    "system-down": _port("e3"),
    "system-missing": _port("nothere"),
    "system-ofport-request": _port("e1", "ofport_request=42"),
    "ofport-request-twice": _port("e1", "ofport_request=42") + " -- add-port br0 e2 -- set interface e2 ofport_request=42",
    "mtu-request": _port("e1", "mtu_request=1400"),
    "internal": _port("int1", "type=internal"),
    "internal-mac": _port("int1", "type=internal mac=\"02:00:00:00:02:02\""),
    "internal-mtu": _port("int1", "type=internal mtu_request=1300"),
    "tap": _port("tap1", "type=tap"),
    "vlan-access": _port("e1") + " -- set port e1 tag=10",
    "vlan-trunk": _port("e1") + " -- set port e1 trunks=10,20",
    "fake-bridge": f"{BRIDGE} -- add-br vlan7 br0 7 -- set interface vlan7 mac=\"02:00:00:00:07:07\"",
    "patch": f"{BRIDGE} -- add-br br1 -- set bridge br1 datapath_type=netdev other-config:hwaddr=02:00:00:00:01:02"
    " -- add-port br0 p0 -- set interface p0 type=patch options:peer=p1"
    " -- add-port br1 p1 -- set interface p1 type=patch options:peer=p0",
    "patch-without-peer": _port("p0", "type=patch"),
    "patch-to-itself": _port("p0", "type=patch options:peer=p0"),
    "patch-dangling": _port("p0", "type=patch options:peer=nothere"),
    "unknown-type": _port("x1", "type=nonsense"),
    "reserved-name": _port("gre_sys", "type=gre options:remote_ip=192.0.2.1"),
    "gre": _tunnel("gre", "remote_ip=192.0.2.1"),
    "gre-key": _tunnel("gre", "remote_ip=192.0.2.1 key=0x64 csum=true"),
    "gre-flow": _tunnel("gre", "remote_ip=flow key=flow"),
    "gre6": _tunnel("gre", "remote_ip=2001:db8::1"),
    "ip6gre": _tunnel("ip6gre", "remote_ip=2001:db8::1"),
    "vxlan": _tunnel("vxlan", "remote_ip=192.0.2.1 key=100"),
    "vxlan-port": _tunnel("vxlan", "remote_ip=192.0.2.1 key=100 dst_port=8472"),
    "vxlan-gbp": _tunnel("vxlan", "remote_ip=192.0.2.1 key=100 exts=gbp dst_port=4799"),
    "geneve": _tunnel("geneve", "remote_ip=192.0.2.1 key=100 tos=inherit ttl=inherit df_default=false"),
    "lisp": _tunnel("lisp", "remote_ip=192.0.2.1 key=100"),
    "tunnel-without-remote": _tunnel("gre"),
    "tunnel-bad-remote": _tunnel("gre", "remote_ip=nonsense"),
    "tunnel-multicast-remote": _tunnel("gre", "remote_ip=224.0.0.1"),
    "tunnel-local-flow": _tunnel("gre", "remote_ip=192.0.2.1 local_ip=flow"),
    "tunnel-family": _tunnel("gre", "remote_ip=192.0.2.1 local_ip=2001:db8::1"),
    "tunnel-bad-tos": _tunnel("gre", "remote_ip=192.0.2.1 tos=3"),
    "tunnel-bad-key": _tunnel("gre", "remote_ip=192.0.2.1 key=nonsense"),
    "tunnel-unknown-option": _tunnel("gre", "remote_ip=192.0.2.1 nonsense=1"),
    "tunnel-twice": _tunnel("gre", "remote_ip=192.0.2.1 key=5")
    + " -- add-port br0 t2 -- set interface t2 type=gre options:remote_ip=192.0.2.1 options:key=5",
    "tunnel-egress": _tunnel("vxlan", "remote_ip=198.51.100.2 key=100"),
    "bond": f"{BRIDGE} -- add-bond br0 bond0 e1 e2 -- set port bond0 bond_mode=balance-slb",
    "bond-active-backup": f"{BRIDGE} -- add-bond br0 bond0 e1 e2 -- set port bond0 bond_mode=active-backup",
    "bond-missing-member": f"{BRIDGE} -- add-bond br0 bond0 e1 nothere",
    "names-differ": f"{BRIDGE} -- --id=@i create interface name=if1 type=gre options:remote_ip=192.0.2.1 options:key=1"
    " -- --id=@p create port name=port1 interfaces=@i -- add bridge br0 ports @p",
    "controller": f"{BRIDGE} -- set-controller br0 ptcp:6699:127.0.0.1",
}

OWN_COLUMNS = {
    "Interface": (
        "ofport", "error", "admin_state", "link_state", "link_speed", "duplex", "mtu",
        "mac_in_use", "ifindex", "status", "bfd_status", "cfm_fault", "cfm_health",
        "cfm_mpid", "cfm_remote_mpids", "cfm_flap_count", "cfm_remote_opstate", "lacp_current",
    ),
    "Port": ("bond_active_slave", "status", "statistics", "rstp_status", "rstp_statistics"),
    "Bridge": ("datapath_id", "datapath_version", "status", "rstp_status"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Difference:
    """`configuration`, `row` and `column` may be "*"."""

    configuration: str
    row: str
    column: str
    why: str

    def covers(self, configuration: str, row: str, column: str) -> bool:
        mine = (self.configuration, self.row, self.column)
        return all(m in ("*", o) for m, o in zip(mine, (configuration, row, column)))


INTENDED: tuple[Difference, ...] = (
    Difference("bond", "e1", "ofport", "ovs-vswitchd numbers members in the order of a hash"),
    Difference("bond", "e2", "ofport", "the same"),
    Difference("bond-active-backup", "e1", "ofport", "the same"),
    Difference("bond-active-backup", "e2", "ofport", "the same"),
    Difference("tunnel-twice", "*", "*", "which of two alike is refused goes by a hash"),
    Difference("bond", "bond0", "bond_active_slave", "either member may be the first to be active"),
    Difference("bond-active-backup", "bond0", "bond_active_slave", "the same"),
)


def _comparable(column: str, value: object) -> object:
    if column == "statistics" and isinstance(value, dict):
        return sorted(value)  # Which there are; the numbers depend on the moment.
    if column == "mac_in_use" and isinstance(value, str) and not value.startswith("02:00:00:00:"):
        return "random"  # Those that the configuration gives start so.
    if column == "datapath_id" and isinstance(value, str) and not value.startswith(("0000020000", "00000000")):
        return "random"
    if column == "ifindex" and isinstance(value, int):
        return "none" if value == 0 else "some"
    return value


@pytest.fixture(scope="module")
def pair(build):
    with Lab() as lab:
        hosts = []
        for name, chosen in (("culvert", build), ("ovs", None)):
            namespace = lab.namespace(name)
            for index in (1, 2, 3):
                namespace.ip(
                    *("link", "add", f"e{index}", "address", f"02:00:00:00:0e:0{index}"),
                    *("type", "veth", "peer", "name", f"far{index}"),
                )
                namespace.ip("link", "set", f"far{index}", "up")
                if index != 3:
                    namespace.ip("link", "set", f"e{index}", "up")
            namespace.ip("link", "set", "lo", "up")
            host = OvsHost(namespace, chosen, name=name)
            host.start_server()
            host.start_switch()
            hosts.append(host)
        yield hosts


def _written(
    host: OvsHost, own: dict[str, tuple[str, ...]]
) -> dict[tuple[str, str, str], object]:
    """(table, name, column) -> value."""
    values = {}
    for table, columns in own.items():
        for row in host.rows(table, "name", *columns):
            for column in columns:
                values[table, row["name"], column] = _comparable(column, row[column])
    return values


def _compare(
    pair, name: str, configuration: str, own: dict[str, tuple[str, ...]], timeout_s: float
) -> None:
    """Configures both alike, and waits until they write the same."""
    culvert, ovs = pair
    before = [host.rows("Bridge") for host in pair]
    assert before == [[], []]
    try:
        for host in pair:
            host.vsctl_done(*configuration.split())

        def differing() -> list[str]:
            mine, theirs = _written(culvert, own), _written(ovs, own)
            assert mine.keys() == theirs.keys()
            return [
                f"{table} {row} {column}: {mine[table, row, column]!r}, but ovs-vswitchd: "
                f"{theirs[table, row, column]!r}"
                for table, row, column in theirs
                if mine[table, row, column] != theirs[table, row, column]
                and not any(known.covers(name, row, column) for known in INTENDED)
            ]

        try:
            wait_until(lambda: not differing(), "both write the same", timeout_s, interval_s=0.1)
        except LabError:
            pytest.fail("\n".join(differing()), pytrace=False)
    finally:
        for host in pair:
            bridges = [row["name"] for row in host.rows("Bridge", "name")]
            for bridge in bridges:
                host.vsctl("--if-exists", "del-br", bridge)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_same_columns_as_ovs_vswitchd(pair, name: str) -> None:
    _compare(pair, name, CONFIGURATIONS[name], OWN_COLUMNS, timeout_s=10.0)


def test_the_same_counters_as_ovs_vswitchd(pair) -> None:
    """Within the statistics interval, of one interface of each kind."""
    configuration = (
        f"{BRIDGE} -- add-port br0 e1 -- add-port br0 int1 -- set interface int1 type=internal"
        " -- add-port br0 tap1 -- set interface tap1 type=tap"
        " -- add-port br0 p0 -- set interface p0 type=patch options:peer=nothere"
        " -- add-port br0 nothere"
        " -- add-port br0 t1 -- set interface t1 type=gre options:remote_ip=192.0.2.1"
        " -- add-port br0 t2 -- set interface t2 type=vxlan options:remote_ip=192.0.2.1"
    )
    own = {"Interface": ("statistics",), "Port": ("statistics",)}
    _compare(pair, "counters", configuration, own, timeout_s=20.0)


def test_the_switch_describes_itself(pair) -> None:
    culvert, ovs = pair
    (mine,) = culvert.rows("Open_vSwitch")
    (theirs,) = ovs.rows("Open_vSwitch")
    assert mine["cur_cfg"] == mine["next_cfg"]
    assert mine["datapath_types"] == theirs["datapath_types"]
    assert mine["iface_types"] == [
        "dpdk", "dpdkvhostuserclient", "geneve", "gre", "internal", "ip6gre", "lisp", "patch",
        "system", "tap", "vxlan",
    ]  # fmt: skip
    assert mine["dpdk_initialized"] is True
    assert mine["dpdk_version"].startswith("DPDK ")
    assert mine["statistics"] == theirs["statistics"] == {}
