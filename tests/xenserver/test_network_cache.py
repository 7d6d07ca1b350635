# SPDX-License-Identifier: GPL-2.0-or-later
"""Bridges before XAPI: management-interface and interface-reconfigure make them of network.dbcache, by
ovs-vsctl, with culvertd in the place of ovs-vswitchd.

                  ┌ xenbr0 ─ eth0 ───── e0 ┤lan├ the address FAR["xenbr0"]
    dom0, G1: ────┼ xapi0, VLAN 20 of it   └ v20, an access port: FAR["xapi0"]
                  └ xapi1 ─ bond0 ┬ eth1 ─ e1 ┤san├ FAR["xapi1"]
                                  └ eth2 ─ e2 ┘
"""

from __future__ import annotations

import pathlib

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, Namespace
from netlab.measure import wait_for_ping
from netlab.ovs_host import OvsHost
from netlab.private_root import G1, PrivateRoot
from netlab.xapi import Xapi
from netlab.xen_records import HOST_UUID, Records

CACHE = "/var/xapi/network.dbcache"
CACHE_FILE = pathlib.Path(__file__).with_name("network.dbcache")
RECONFIGURE = "/opt/xensource/libexec/interface-reconfigure"
FAR = {"xenbr0": "192.0.2.254", "xapi0": "198.51.100.254", "xapi1": "203.0.113.254"}
HERE = {"xenbr0": "192.0.2.1", "xapi0": "198.51.100.1", "xapi1": "203.0.113.1"}
NETWORK = "50000000-0000-4000-8000-00000000000"  # of the cache file, and a digit


def _wire_far_side(lab: Lab, dom0: PrivateRoot) -> Namespace:
    """The physical switch, which is Open vSwitch's own: it knows VLANs on any kernel."""
    far = lab.namespace("far")
    for number in range(3):
        lab.wire(dom0, f"eth{number}", far, f"e{number}")
    far.set_sysctl("net.ipv4.conf.all.arp_ignore", 1)
    switch = OvsHost(far).start()
    switch.vsctl(
        *("add-br", "lan", "--", "set", "Bridge", "lan", "datapath_type=netdev", "--", "add-port", "lan", "e0"),
        *("--", "add-port", "lan", "v20", "tag=20", "--", "set", "Interface", "v20", "type=internal"),
        *("--", "add-br", "san", "--", "set", "Bridge", "san", "datapath_type=netdev"),
        *("--", "add-port", "san", "e1", "--", "add-port", "san", "e2"),
    )
    for device, bridge in (("lan", "xenbr0"), ("v20", "xapi0"), ("san", "xapi1")):
        far.ip("link", "set", device, "up")
        far.add_address(device, f"{FAR[bridge]}/24")
    return far


@pytest.fixture
def dom0(lab: Lab, build: Build) -> PrivateRoot:
    root = PrivateRoot(lab.namespace("dom0"), build, G1, nics=("eth0", "eth1", "eth2"))
    root.run("/usr/libexec/culvert/culvert-setup", "install")
    inventory = root.read("/etc/xensource-inventory")
    wanted = "CURRENT_INTERFACES='xenbr0 xapi0 xapi1 xapi2'"
    root.write("/etc/xensource-inventory", inventory.replace("CURRENT_INTERFACES='xenbr0'", wanted))
    return root


def _boot(dom0: PrivateRoot) -> str:
    """Up to where XAPI would be started; returns what management-interface had to say."""
    done = dom0.boot(until="management-interface")
    assert list(done) == ["openvswitch", "management-interface"]
    assert done["openvswitch"].returncode == 0, done
    assert (done["management-interface"].returncode == 0) == (done["management-interface"].stderr == ""), done
    return done["management-interface"].stderr


def _content(dom0: PrivateRoot) -> dict[str, dict[str, dict]]:
    """What the host's scripts have written, by table and name."""
    columns = {
        "Bridge": ("fail_mode", "other_config", "external_ids"),
        "Port": ("tag", "fake_bridge", "mac", "bond_mode", "lacp", "other_config", "external_ids"),
        "Interface": ("type", "mac", "external_ids"),
    }
    return {
        table: {row.pop("name"): row for row in dom0.rows(table, "name", *wanted)}
        for table, wanted in columns.items()
    }


def _ports(dom0: PrivateRoot) -> dict[str, list[str]]:
    return {name: dom0.vsctl("list-ports", name).split() for name in dom0.vsctl("list-br").split()}


@pytest.mark.timeout(120)
def test_every_kind_of_bridge_comes_from_the_cache_before_xapi(dom0: PrivateRoot, lab: Lab) -> None:
    far = _wire_far_side(lab, dom0)
    dom0.write(CACHE, CACHE_FILE.read_text(encoding="utf-8"))
    assert _boot(dom0) == ""
    assert _ports(dom0) == {"xenbr0": ["eth0"], "xapi0": [], "xapi1": ["bond0"], "xapi2": []}
    content = _content(dom0)
    assert content["Bridge"] == {
        "xenbr0": {
            "fail_mode": "standalone",
            "other_config": {"hwaddr": "00:16:3e:00:00:01"},
            "external_ids": {"xs-network-uuids": f"{NETWORK}1;{NETWORK}2"},
        },
        "xapi1": {
            "fail_mode": "standalone",
            "other_config": {"hwaddr": "00:16:3e:00:00:11", "disable-in-band": "true"},
            "external_ids": {"xs-network-uuids": f"{NETWORK}5"},
        },
        "xapi2": {
            "fail_mode": "secure",
            "other_config": {"hwaddr": "02:00:00:00:00:21"},
            "external_ids": {"xs-network-uuids": f"{NETWORK}6"},
        },
    }
    plain = {"tag": [], "fake_bridge": False, "mac": [], "bond_mode": [], "lacp": [], "other_config": {}}
    assert content["Port"]["eth0"] == {**plain, "external_ids": {}}
    assert content["Port"]["xapi0"] == {
        **plain,
        "tag": 20,
        "fake_bridge": True,
        "external_ids": {"fake-bridge-xs-network-uuids": f"{NETWORK}2"},
    }
    assert content["Port"]["bond0"] == {
        **plain,
        "mac": "00:16:3e:00:00:11",
        "bond_mode": "balance-slb",
        "lacp": "off",
        "other_config": {"bond-miimon-interval": "100", "bond-detect-mode": "carrier"},
        "external_ids": {},
    }
    timing = ("bond_downdelay", "bond_updelay", "bond_fake_iface")
    assert [dom0.vsctl("get", "Port", "bond0", name).strip() for name in timing] == ["200", "31000", "true"]
    assert content["Interface"]["xapi0"] == {"type": "internal", "mac": "00:16:3e:00:00:01", "external_ids": {}}
    assert sorted(content["Interface"]) == ["eth0", "eth1", "eth2", "xapi0", "xapi1", "xapi2", "xenbr0"]

    # The switch has made of it what XAPI will find, and the host can be reached.
    macs = {"xenbr0": "00:16:3e:00:00:01", "xapi1": "00:16:3e:00:00:11", "xapi2": "02:00:00:00:00:21"}
    assert {name: dom0.mac(name) for name in macs} == macs
    assert all(row["ofport"] not in ([], -1) and not row["error"] for row in dom0.rows("Interface", "ofport", "error"))
    for bridge, address in HERE.items():
        wait_for_ping(dom0, FAR[bridge])
        wait_for_ping(far, address)
    assert "default via 192.0.2.254 dev xenbr0" in dom0.run("ip", "route").stdout
    # As it was left, for all that interface-reconfigure knows.
    assert dom0.read(CACHE) == CACHE_FILE.read_text(encoding="utf-8")

    # By hand, while there is no XAPI: interfaces go, and management gets another address in an emergency.
    for bridge in ("xapi0", "xapi1"):
        dom0.run(RECONFIGURE, "--force", bridge, "down")
    assert _ports(dom0) == {"xenbr0": ["eth0"], "xapi2": []}
    assert sorted(_content(dom0)["Interface"]) == ["eth0", "xapi2", "xenbr0"]
    settings = ("--device=eth0", "--mac=00:16:3e:00:00:01", "--mode=static", "--netmask=255.255.255.0")
    refused = dom0.run(RECONFIGURE, "--force", "xenbr0", "rewrite", *settings, check=False)
    assert refused.returncode == 2 and "--mode=static needs --ip and --netmask" in refused.stderr
    dom0.run(RECONFIGURE, "--force", "xenbr0", "rewrite", *settings, "--ip=192.0.2.7")
    dom0.run(RECONFIGURE, "--force", "xenbr0", "--management", "up")
    wait_for_ping(far, "192.0.2.7")
    assert far.run("ping", "-c1", "-W1", HERE["xenbr0"], check=False).returncode != 0


def _records() -> Records:
    """The management network, a VLAN and a tunnel's bridge, in a pool whose bridges wait for a controller."""
    records = Records(generation=1, host_uuid=HOST_UUID)
    records.get("pool", records.pool)["other_config"]["vswitch-controller-fail-mode"] = "secure"
    static = {"ip_configuration_mode": "Static", "netmask": "255.255.255.0"}
    lan = records.add_network("xenbr0")
    eth0 = records.add_pif("eth0", lan, "00:16:3e:00:00:01", management=True, IP=HERE["xenbr0"], **static)
    records.add_vlan(eth0, records.add_network("xapi0"), 20, IP=HERE["xapi0"], **static)
    san = records.add_network("xapi1", vswitch_controller_fail_mode="standalone")
    slaves = [
        records.add_pif(f"eth{number}", records.add_network(f"xenbr{number}"), mac, attached=False)
        for number, mac in ((1, "00:16:3e:00:00:11"), (2, "00:16:3e:00:00:12"))
    ]
    records.add_bond("bond0", san, "00:16:3e:00:00:11", slaves, IP=HERE["xapi1"], **static)
    records.add_tunnel(eth0, records.add_network("xapi2"), "02:00:00:00:00:21")
    return records


@pytest.mark.timeout(120)
def test_xapi_heals_a_corrupt_cache_and_the_next_boot_uses_it(dom0: PrivateRoot, lab: Lab) -> None:
    far = _wire_far_side(lab, dom0)
    text = CACHE_FILE.read_text(encoding="utf-8")
    dom0.write(CACHE, text[: len(text) // 2])
    said = _boot(dom0)
    assert said.count(f"interface-reconfigure: {CACHE} is no XML: ") == 4
    assert _ports(dom0) == {}  # The daemons run, and have nothing to do.

    # XAPI plugs what is attached; nothing of it waits for a healthy cache.
    records = _records()
    xapi = Xapi.in_root(dom0, records).start()
    attached = [ref for ref, pif in records.tables["PIF"].items() if pif["currently_attached"]]
    for ref in attached:
        dom0.run(RECONFIGURE, "--pif-uuid", records.uuid("PIF", ref), "up")
    plugged = _content(dom0)
    modes = {name: row["fail_mode"] for name, row in plugged["Bridge"].items()}
    assert modes == {"xenbr0": "secure", "xapi1": "standalone", "xapi2": "secure"}

    # A network that XAPI gets later is in the database and in the cache by "rewrite".
    eth0 = attached[0]
    records.add_vlan(eth0, records.add_network("xapi3"), 30, attached=False)
    xapi.put(records)
    dom0.run(RECONFIGURE, "rewrite")
    by_bridge = {row["bridge"]: row["uuid"] for row in records.tables["network"].values()}
    uuids = ";".join(by_bridge[name] for name in ("xenbr0", "xapi0", "xapi3"))
    assert dom0.row("Bridge", "xenbr0", "external_ids")["external_ids"]["xs-network-uuids"] == uuids
    written = _content(dom0)

    xapi.stop()
    dom0.reboot()
    assert _boot(dom0) == ""
    assert _content(dom0) == written
    for bridge, address in HERE.items():
        wait_for_ping(far, address)
        wait_for_ping(dom0, FAR[bridge])

    # With XAPI dead, "rewrite" says so and changes nothing, in the database and in the cache.
    cache = dom0.read(CACHE)
    refused = dom0.run(RECONFIGURE, "rewrite", check=False)
    assert refused.returncode == 1 and "XAPI does not answer" in refused.stderr
    assert (_content(dom0), dom0.read(CACHE)) == (written, cache)
