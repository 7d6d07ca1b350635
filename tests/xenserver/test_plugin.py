# SPDX-License-Identifier: GPL-2.0-or-later
"""The XAPI plugin: what `update` and `emergency_reset` make of each state of XAPI and of the database,
on hosts of both kinds."""

from __future__ import annotations

import functools

import pytest

from netlab.lab import Lab
from netlab.plugin_host import BOOTSTRAP_CA, FOLDER, INSTALLED, INSTALLED_CA, KEY, MAC, NAMES, NO_CHANGE, PluginHost
from netlab.private_root import G1, G2
from netlab.xapi import XapiFailure

ADDRESS = "192.0.2.1"
MODERN = pytest.mark.parametrize("host", [G2], indirect=True)
OLD = pytest.mark.parametrize("host", [G1], indirect=True)


@pytest.fixture(scope="module")
def machines(build):
    """A host of each generation, made when it is first asked for."""
    with Lab() as lab:
        yield functools.cache(lambda generation: PluginHost(lab, build, generation))


@pytest.fixture(params=[G1, G2])
def host(request: pytest.FixtureRequest, machines) -> PluginHost:
    machine = machines(request.param)
    machine.reset()
    return machine


# the controller


def test_without_a_controller_nothing_is_done(host: PluginHost) -> None:
    host.root.write(BOOTSTRAP_CA, "CA")
    before = host.contents()
    assert host.update() == NO_CHANGE
    assert host.contents() == before
    assert host.root.read(BOOTSTRAP_CA) == "CA"


def test_a_controller_that_is_not_there_is_set(host: PluginHost) -> None:
    host.root.write(BOOTSTRAP_CA, "CA of another")
    host.root.vsctl("set", "Port", "gre0", "other_config:kept=no")
    host.want(ADDRESS)
    answer = host.update()
    assert f"Set controller to {ADDRESS if host.generation == G1 else host.target(ADDRESS)}." in answer
    assert host.managers() == [host.target(ADDRESS)]
    assert host.ssl() == {
        "private_key": KEY, "certificate": KEY, "ca_cert": BOOTSTRAP_CA, "bootstrap_ca_cert": True,
    }  # fmt: skip
    assert not host.root.exists(BOOTSTRAP_CA) and not host.root.exists(BOOTSTRAP_CA + ".old")
    assert host.rows("Port", "name", "other_config")[0]["other_config"] == {}, "emer-reset"
    assert host.bridge("br-own") == ([], {}), "emer-reset, and XAPI knows nothing of it"
    assert host.fail_modes() == {"xenbr0": "standalone", "xapi0": "standalone", "br-own": ""}
    assert host.update() == NO_CHANGE


def test_a_controller_that_is_there_is_left_wherever_it_is_in_the_list(host: PluginHost) -> None:
    host.want(ADDRESS)
    host.root.vsctl("set-manager", "ptcp:6641:127.0.0.1", host.target(ADDRESS))
    host.root.vsctl("set-ssl", "/a", "/b", "/c")
    host.root.write(BOOTSTRAP_CA, "CA")
    before = host.contents()
    assert host.update() == NO_CHANGE
    assert host.contents() == before
    assert host.root.read(BOOTSTRAP_CA) == "CA"


def test_another_controller_takes_its_place(host: PluginHost) -> None:
    host.settle(ADDRESS)
    host.root.write(BOOTSTRAP_CA, "CA of the first")
    host.root.vsctl("--", "--id=@m", "create", "Manager", 'target="ptcp:6641:127.0.0.1"', "--",
                    "add", "Open_vSwitch", ".", "manager_options", "@m")  # fmt: skip
    host.want("192.0.2.10")
    assert "Set controller to" in host.update()
    assert host.managers() == [host.target("192.0.2.10")], "192.0.2.1 is no part of it"
    assert not host.root.exists(BOOTSTRAP_CA)


def test_a_controller_that_xapi_does_not_have_is_removed(host: PluginHost) -> None:
    host.settle(ADDRESS)
    host.root.write(BOOTSTRAP_CA, "CA")
    host.root.vsctl("set", "Bridge", "xapi0", "other_config:mac-table-size=10000")
    host.want("")
    assert "Removed controller configuration." in host.update()
    assert host.managers() == [] and host.ssl() is None
    assert not host.root.exists(BOOTSTRAP_CA)
    assert host.bridge("xapi0") == ("standalone", {"hwaddr": "02:00:00:00:a0:01"})
    assert host.update() == NO_CHANGE


@OLD
def test_the_port_of_an_old_pool_s_controller_is_not_compared(host: PluginHost) -> None:
    host.want(f" {ADDRESS} ")  # Blanks are none of the address.
    host.root.vsctl("set-manager", f"ssl:{ADDRESS}:6632")
    assert host.update() == NO_CHANGE
    host.root.vsctl("set-manager", f"tcp:{ADDRESS}:6640")
    assert "Set controller" in host.update(), "without TLS it is not XAPI's"


@MODERN
def test_a_controller_of_another_port_is_another(host: PluginHost) -> None:
    assert host.settle(ADDRESS, 6640) == f"ssl:{ADDRESS}:6640"
    assert host.settle(ADDRESS, 443) == f"ssl:{ADDRESS}:443"
    assert host.settle(ADDRESS) == f"ssl:{ADDRESS}:6632", "the default"


def test_addresses_of_ipv6_are_in_brackets(host: PluginHost) -> None:
    assert host.settle("2001:db8::1") == host.target("[2001:db8::1]")
    if host.generation == G1:
        host.want("[2001:db8::1]")
        host.root.vsctl("set-manager", "ssl:[2001:0db8:0::1]:6640")
        assert host.update() == NO_CHANGE, "the same address, written otherwise"


@MODERN
def test_a_controller_that_connects_to_the_host(host: PluginHost) -> None:
    host.root.write(BOOTSTRAP_CA, "CA")
    host.root.write(INSTALLED_CA, "CA")
    assert host.open_ports() == []
    assert host.settle("pssl") == "pssl:6640"
    assert host.ssl() == {
        "private_key": KEY, "certificate": KEY, "ca_cert": INSTALLED_CA, "bootstrap_ca_cert": False,
    }  # fmt: skip
    assert not host.root.exists(BOOTSTRAP_CA) and host.root.read(INSTALLED_CA) == "CA"
    assert host.open_ports() == [6640, 6653], "the ports of XCP-ng"
    assert host.root.rules()[0] == "-A INPUT -j xapi-INPUT"
    assert host.update() == NO_CHANGE
    host.settle(ADDRESS)
    assert host.open_ports() == []

    host.settle("pssl")
    host.want("")
    host.update()
    assert host.open_ports() == []


@MODERN
def test_only_xcp_ng_opens_the_port_of_openflow(host: PluginHost) -> None:
    inventory = host.root.read("/etc/xensource-inventory")
    host.root.write("/etc/xensource-inventory", inventory.replace("XCP-ng", "XenServer"))
    try:
        host.settle("pssl")
        assert host.open_ports() == [6640]
        host.want("")
        host.update()
        assert host.open_ports() == []
    finally:
        host.root.write("/etc/xensource-inventory", inventory)


@MODERN
def test_missing_files_are_named(host: PluginHost) -> None:
    host.root.run("rm", KEY)
    host.want("pssl")
    answer = host.update()
    assert f"{KEY} (this host's certificate) is missing" in answer
    assert f"{INSTALLED_CA} (the controller's CA) is missing" in answer
    assert host.managers() == ["pssl:6640"]


@MODERN
def test_xapi_calls_it_when_the_controller_changes(host: PluginHost) -> None:
    ref = host.xapi.call("SDN_controller.introduce", "pssl", "", 0)
    assert host.managers() == ["pssl:6640"]
    host.xapi.call("SDN_controller.forget", ref)
    assert host.managers() == []
    host.xapi.call("pool.set_vswitch_controller", ADDRESS)
    assert host.managers() == [f"ssl:{ADDRESS}:6632"]
    assert host.xapi.update_vswitch_controller() == NO_CHANGE
    host.xapi.call("pool.set_vswitch_controller", "")
    assert host.managers() == []
    assert {run["plugin"] for run in host.xapi.plugin_runs()} == {"openvswitch-config-update"}


@OLD
def test_xapi_calls_it_when_the_pool_s_controller_changes(host: PluginHost) -> None:
    host.xapi.call("pool.set_vswitch_controller", ADDRESS)
    assert host.managers() == [f"ssl:{ADDRESS}:6640"]
    host.xapi.call("pool.set_vswitch_controller", "")
    assert host.managers() == []


@MODERN
def test_the_old_name_on_a_new_host_obeys_the_sdn_controller(host: PluginHost) -> None:
    host.root.run("ln", "-sf", INSTALLED, f"{FOLDER}/{NAMES[G1]}")
    host.want("pssl")
    assert "Set controller to pssl:6640." in host.xapi.call_plugin(NAMES[G1], "update")
    assert host.update() == NO_CHANGE


@OLD
def test_interfaces_are_rewritten_first_where_the_host_has_that(host: PluginHost) -> None:
    """A host that joined a pool has other networks' UUIDs."""
    host.root.vsctl("br-set-external-id", "xenbr0", "xs-network-uuids", "of-before")
    assert host.update() == NO_CHANGE
    uuids = host.root.vsctl("br-get-external-id", "xenbr0", "xs-network-uuids").strip()
    assert uuids.split(";")[0] == host.network("xenbr0")["uuid"]
    assert "network.dbcache" in host.root.run("ls", "/var/xapi").stdout


# the bridges


def test_disable_in_band_is_the_network_s(host: PluginHost) -> None:
    settings = host.network("xenbr0")["other_config"]
    for value in ("true", "false"):
        settings["vswitch-disable-in-band"] = value
        host.put()
        assert host.update() == "Updated in-band management."
        assert host.bridge("xenbr0")[1] == {"hwaddr": MAC, "disable-in-band": value}
        assert host.update() == NO_CHANGE
    settings["vswitch-disable-in-band"] = "perhaps"
    host.put()
    answer = host.update()
    assert '"perhaps" is an invalid value of vswitch-disable-in-band for xenbr0' in answer
    assert host.bridge("xenbr0")[1]["disable-in-band"] == "false", "left as it was"
    settings.clear()
    host.put()
    assert host.update() == "Updated in-band management."
    assert host.bridge("xenbr0")[1] == {"hwaddr": MAC}


def test_disable_in_band_survives_a_new_controller(host: PluginHost) -> None:
    host.network("xenbr0")["other_config"]["vswitch-disable-in-band"] = "true"
    host.put()
    host.update()
    host.want(ADDRESS)
    assert "Set controller" in host.update()
    assert host.bridge("xenbr0")[1] == {"hwaddr": MAC, "disable-in-band": "true"}
    assert host.update() == NO_CHANGE


@MODERN
def test_networks_of_vlans_share_their_bridge_s_setting(host: PluginHost) -> None:
    host.network("xapi1")["other_config"]["vswitch-disable-in-band"] = "true"
    host.put()
    host.update()
    assert host.bridge("xenbr0")[1]["disable-in-band"] == "true"
    host.network("xenbr0")["other_config"]["vswitch-disable-in-band"] = "false"
    host.put()
    host.update()
    assert host.bridge("xenbr0")[1]["disable-in-band"] == "false", "its own goes first"
    assert host.update() == NO_CHANGE


@MODERN
def test_fail_modes_are_the_network_s_or_the_pool_s(host: PluginHost) -> None:
    owns = {"own-none": None, "own-secure": "secure", "own-standalone": "standalone", "own-neither": "neither"}
    words: list[str] = []
    for bridge, own in owns.items():
        words += ["--", "add-br", bridge]
        network = host.records.add_network(bridge)
        if own is not None:
            host.records.get("network", network)["other_config"]["vswitch-controller-fail-mode"] = own
    host.root.vsctl(*words)
    try:
        for pool, others in ((None, "standalone"), ("secure", "secure"), ("neither", "standalone")):
            host.pool["other_config"].pop("vswitch-controller-fail-mode", None)
            if pool is not None:
                host.pool["other_config"]["vswitch-controller-fail-mode"] = pool
            host.put()
            assert "Updated fail_mode." in host.update()
            assert host.fail_modes() == {
                "own-none": others, "own-secure": "secure", "own-standalone": "standalone", "own-neither": others,
                "xenbr0": others, "xapi0": others, "br-own": "",
            }, pool  # fmt: skip
            assert host.update() == NO_CHANGE
    finally:
        host.root.vsctl(*[word for bridge in owns for word in ("--", "del-br", bridge)])


def test_fail_modes_of_a_new_controller_are_set_with_it(host: PluginHost) -> None:
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.network("xapi0")["other_config"]["vswitch-controller-fail-mode"] = "standalone"
    host.want(ADDRESS)
    assert "Updated fail_mode." in host.update()
    assert host.fail_modes() == {"xenbr0": "secure", "xapi0": "standalone", "br-own": ""}
    assert host.update() == NO_CHANGE


@MODERN
def test_two_networks_of_one_bridge_are_no_trouble(host: PluginHost) -> None:
    other = host.records.add_network("second", vswitch_disable_in_band="true")
    host.records.get("network", other)["bridge"] = "xenbr0"
    host.put()
    assert host.update() == "Updated in-band management."
    assert host.update() == NO_CHANGE, "they do not undo each other's settings"
    assert host.bridge("xenbr0")[1]["disable-in-band"] == "true"


@MODERN
def test_bridges_are_known_by_their_names_and_not_by_their_uuids(host: PluginHost) -> None:
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.put()
    host.root.vsctl("remove", "Bridge", "xapi0", "external_ids", "xs-network-uuids")
    host.update()
    assert host.fail_modes() == {"xenbr0": "secure", "xapi0": "secure", "br-own": ""}
    assert host.bridge("br-own")[1] == {"mac-aging-time": "60"}, "unknown bridges are left alone"


# flows for management


@pytest.fixture
def flows(host: PluginHost):
    """What is given to an ovs-ofctl that takes it, as if the switch had flow tables."""
    host.root.run("rm", "-f", "/run/flows")
    with host.instead_of("ovs-ofctl", 'shift\necho "$*" >>/run/flows\n'):
        yield lambda: host.root.read("/run/flows").splitlines() if host.root.exists("/run/flows") else []


def test_management_passes_a_bridge_that_turned_secure(host: PluginHost, flows) -> None:
    """However XAPI and the database write its address."""
    (management,) = [pif for pif in host.records.tables["PIF"].values() if pif["management"]]
    management["MAC"] = MAC.upper()
    host.root.vsctl("set", "Bridge", "xenbr0", f'other_config:hwaddr="{MAC.upper()}"')
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.want(ADDRESS)
    host.update()
    port = host.root.vsctl("get", "Interface", "eth0", "ofport").strip()
    start = "add-flow xenbr0 idle_timeout=0,priority=0"
    assert sorted(flows()) == sorted([
        f"{start},in_port={port},arp,nw_proto=1,actions=local",
        f"{start},in_port=local,arp,dl_src={MAC},actions={port}",
        f"{start},in_port={port},dl_dst={MAC},actions=local",
        f"{start},in_port=local,dl_src={MAC},actions={port}",
    ])  # fmt: skip
    assert host.update() == NO_CHANGE
    assert len(flows()) == 4


@MODERN
def test_a_bond_s_management_passes_by_each_member(host: PluginHost, flows) -> None:
    host.root.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "wire1")
    try:
        host.root.vsctl("del-port", "eth0", "--", "add-bond", "xenbr0", "bond0", "eth0", "eth1")
        (management,) = [pif for pif in host.records.tables["PIF"].values() if pif["management"]]
        management["device"] = "bond0"
        host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
        host.put()
        host.update()
        ports = [host.root.vsctl("get", "Interface", name, "ofport").strip() for name in ("eth0", "eth1")]
        added = flows()
        for port in ports:
            assert any(f"in_port={port},dl_dst={MAC},actions=local" in flow for flow in added)
        assert sum("in_port=local" in flow and flow.endswith("actions=NORMAL") for flow in added) == 2
        assert len(added) == 6
    finally:
        host.root.vsctl("--if-exists", "del-port", "bond0")
        host.root.run("ip", "link", "del", "eth1")


@MODERN
@pytest.mark.parametrize("reason", ["pool standalone", "bridge standalone", "another host's MAC"])
def test_no_flows_where_management_needs_none(host: PluginHost, flows, reason: str) -> None:
    mode = "standalone" if reason == "pool standalone" else "secure"
    host.pool["other_config"]["vswitch-controller-fail-mode"] = mode
    if reason == "bridge standalone":
        host.network("xenbr0")["other_config"]["vswitch-controller-fail-mode"] = "standalone"
    if reason == "another host's MAC":
        (management,) = [pif for pif in host.records.tables["PIF"].values() if pif["management"]]
        management["MAC"] = "02:00:00:00:00:99"
    host.want(ADDRESS)
    host.update()
    assert flows() == []


def test_culvertd_takes_the_flows_for_management(host: PluginHost) -> None:
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.want(ADDRESS)
    assert "Updated fail_mode." in host.update()
    assert host.fail_modes()["xenbr0"] == "secure", "it was not undone"
    assert host.managers() == [host.target(ADDRESS)]


# emergency_reset


def test_an_emergency_reset(host: PluginHost) -> None:
    """What ovs-vsctl(8) says that it resets, and what else is kept."""
    host.settle(ADDRESS)
    host.root.vsctl("set", "Bridge", "xenbr0", "other_config:mac-table-size=10000", "protocols=OpenFlow13",
                    "fail_mode=secure", "external_ids:bridge-id=x")  # fmt: skip
    host.root.vsctl("set-controller", "xenbr0", "ssl:192.0.2.1:6653")
    host.root.vsctl("set", "Port", "gre0", "other_config:xo=1", "--",
                    "set", "Open_vSwitch", ".", "other_config:max-idle=5000")  # fmt: skip
    assert host.xapi.call_plugin(host.plugin, "emergency_reset") == "Reset configuration."
    assert host.managers() == [] and host.ssl() is None
    columns = ("fail_mode", "other_config", "controller", "protocols", "external_ids")
    bridge = host.root.row("Bridge", "xenbr0", *columns)
    assert bridge == {
        "name": "xenbr0", "fail_mode": [], "other_config": {"hwaddr": MAC}, "controller": [],
        "protocols": "OpenFlow13", "external_ids": bridge["external_ids"],
    }  # fmt: skip
    assert bridge["external_ids"]["bridge-id"] == "x"
    assert all(row["other_config"] == {} for row in host.rows("Port", "other_config"))
    (kept,) = host.rows("Open_vSwitch", "other_config")
    assert kept["other_config"]["max-idle"] == "5000"
    tunnel = host.root.row("Interface", "gre0", "type", "options")
    assert tunnel["type"] == "gre" and tunnel["options"] == {"remote_ip": "192.0.2.77", "key": "7"}


# what XAPI has too many of, or none


@MODERN
def test_exactly_one_pool_is_needed(host: PluginHost) -> None:
    host.settle(ADDRESS)
    before = host.contents()
    pools = host.records.tables["pool"]
    row = dict(host.pool)
    for number, code in ((0, "NO_POOL_FOR_HOST"), (2, "MORE_THAN_ONE_POOL_FOR_HOST")):
        pools.clear()
        pools.update({f"OpaqueRef:{index}": row for index in range(number)})
        host.put()
        with pytest.raises(XapiFailure) as failure:
            host.update()
        assert failure.value.code == code
        assert host.contents() == before
