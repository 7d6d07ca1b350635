# SPDX-License-Identifier: GPL-2.0-or-later
"""The addresses and datapath ids of bridges without `hwaddr`, beside those of ovs-vswitchd: a member's
address, which the bridge follows in place, and what OpenFlow tells of it.
"""

from __future__ import annotations

import subprocess
import uuid

import pytest

from netlab.lab import Lab, run, wait_until
from netlab.ovs_host import OvsHost

# Not local, so that they count; the first of a bond's members stands for it.
ADDRESSES = {"e1": "00:11:22:33:44:09", "e2": "00:11:22:33:44:05", "e3": "00:11:22:33:44:07"}


@pytest.fixture(name="pair", scope="module")
def make_pair(build):
    with Lab() as lab:
        hosts = []
        for name, chosen in (("culvert", build), ("ovs", None)):
            namespace = lab.namespace(name)
            namespace.ip("link", "set", "lo", "up")
            for link, address in ADDRESSES.items():
                peer = ("type", "veth", "peer", "name", f"{link}-far")
                namespace.ip("link", "add", link, "address", address, *peer)
                namespace.ip("link", "set", link, "up")
                namespace.ip("link", "set", f"{link}-far", "up")
            hosts.append(OvsHost(namespace, chosen, name=name).start())
        yield hosts


@pytest.fixture(autouse=True)
def without_bridges(pair):
    yield
    for host in pair:
        for row in host.rows("Bridge", "name"):
            host.vsctl("--if-exists", "del-br", row["name"])


def address_of(host: OvsHost, interface: str) -> str:
    return str(host.row("Interface", interface, "mac_in_use")["mac_in_use"])


def datapath_of(host: OvsHost, bridge: str = "br0") -> str:
    return str(host.row("Bridge", bridge, "datapath_id")["datapath_id"])


def vsctl(pair, line: str) -> None:
    for host in pair:
        host.vsctl(*line.split())


def expect_address(pair, address: str) -> None:
    for host in pair:
        wait_until(lambda: address_of(host, "br0") == address, f"{host.name}: br0 has {address}")
        expected = "0000" + address.replace(":", "")
        wait_until(lambda: datapath_of(host) == expected, f"{host.name}: the id is {expected}")


def test_a_bridge_has_the_lowest_address_of_its_members(pair) -> None:
    vsctl(pair, "add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 e1")
    expect_address(pair, ADDRESSES["e1"])
    for host in pair:
        host.host.ip("addr", "add", "10.9.9.1/24", "dev", "br0")
    vsctl(pair, "add-port br0 e2")
    expect_address(pair, ADDRESSES["e2"])
    vsctl(pair, "del-port br0 e2")
    expect_address(pair, ADDRESSES["e1"])
    for host in pair:
        assert "10.9.9.1/24" in host.host.ip("addr", "show", "dev", "br0").stdout, "the device stayed"
    vsctl(pair, "set bridge br0 other-config:hwaddr=00:11:22:33:44:aa")
    expect_address(pair, "00:11:22:33:44:aa")


def test_of_a_bond_the_first_member_counts(pair) -> None:
    vsctl(pair, "add-br br0 -- set bridge br0 datapath_type=netdev -- add-bond br0 bond0 e3 e2")
    expect_address(pair, ADDRESSES["e2"])
    vsctl(pair, "del-port br0 bond0 -- add-bond br0 bond0 e3 e1")
    expect_address(pair, ADDRESSES["e1"])


def address_by_uuid(host: OvsHost) -> str:
    """What ovs-vswitchd makes of a bridge's UUID, on a little-endian machine."""
    words = uuid.UUID(host.row("Bridge", "br0", "_uuid")["_uuid"]).bytes
    octets = [words[index] for index in (3, 2, 1, 0, 7, 6)]
    octets[0] = octets[0] & ~1 | 2
    return ":".join(f"{octet:02x}" for octet in octets)


def test_without_members_it_is_of_the_uuid(pair) -> None:
    vsctl(pair, "add-br br0 -- set bridge br0 datapath_type=netdev")
    first = [address_by_uuid(host) for host in pair]
    for host, address in zip(pair, first):
        expect_address([host], address)
    vsctl(pair, "add-port br0 e1")
    expect_address(pair, ADDRESSES["e1"])
    vsctl(pair, "del-port br0 e1")
    for host, address in zip(pair, first):
        expect_address([host], address)


def test_a_fake_bridge_has_an_address_of_its_vlan(pair) -> None:
    vsctl(pair, "add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 e2")
    vsctl(pair, "add-br fake br0 7 -- add-port fake e1")
    for host in pair:
        wait_until(
            lambda: address_of(host, "fake") == ADDRESSES["e1"], f"{host.name}: fake has e1's"
        )
    expect_address(pair, ADDRESSES["e2"])


def test_openflow_tells_the_same_id_in_the_versions_of_the_database(pair) -> None:
    line = "add-br br0 -- set bridge br0 datapath_type=netdev protocols=OpenFlow13"
    vsctl(pair, f"{line} other-config:datapath-id=00000000000000ab")

    def show(host: OvsHost, version: str) -> subprocess.CompletedProcess[str]:
        target = f"unix:{host.directory}/br0.mgmt"
        return run(["ovs-ofctl", "-t", "10", "-O", version, "show", target], check=False)

    for host in pair:
        assert "dpid:00000000000000ab" in show(host, "OpenFlow13").stdout
        assert "version negotiation failed" in show(host, "OpenFlow10").stderr


def test_the_active_member_of_a_bond_is_told(pair) -> None:
    line = "add-br br0 -- set bridge br0 datapath_type=netdev -- add-bond br0 bond0 e1 e2"
    vsctl(pair, f"{line} -- set port bond0 bond_mode=active-backup other-config:bond-primary=e2")

    def active(host: OvsHost) -> object:
        return host.row("Port", "bond0", "bond_active_slave")["bond_active_slave"]

    def expect(address: str) -> None:
        for host in pair:
            wait_until(lambda: active(host) == address, f"{host.name}: {address} is active")

    expect(ADDRESSES["e2"])
    for host in pair:
        host.host.ip("link", "set", "e2", "down")
    expect(ADDRESSES["e1"])
    for host in pair:
        host.host.ip("link", "set", "e1", "down")
    expect("00:00:00:00:00:00")
    for host in pair:
        host.host.ip("link", "set", "e1", "up")
        host.host.ip("link", "set", "e2", "up")
    expect(ADDRESSES["e2"])
    assert all(host.row("Interface", "e1", "lacp_current")["lacp_current"] == [] for host in pair)


def test_members_of_a_bond_with_lacp_say_whether_they_are_current(pair) -> None:
    line = "add-br br0 -- set bridge br0 datapath_type=netdev -- add-bond br0 bond0 e1 e2 lacp=passive"
    vsctl(pair, line)

    def told(host: OvsHost) -> object:
        return host.row("Interface", "e1", "lacp_current")["lacp_current"]

    for host in pair:
        wait_until(lambda: told(host) is False, f"{host.name}: nobody answers e1")
    vsctl(pair, "set port bond0 lacp=off")
    for host in pair:
        wait_until(lambda: told(host) == [], f"{host.name}: no LACP, nothing told")
