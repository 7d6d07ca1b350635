# SPDX-License-Identifier: GPL-2.0-or-later
"""OVS's verbs by Open vSwitch's own ovs-appctl; lines expected are those of ovs-vswitchd 3.1 with
the same bridges, ports and tunnels.

    vm1, vm2 ─ vif1, vif2 ┤br0├ t0 (vxlan), t1 (gre) ~ br-phy ─ eth0 ─── peer
"""

from __future__ import annotations

import re

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, require_root_and_tools, run, wait_until
from netlab.measure import ping
from netlab.topology import Host

PEER = "172.20.0.2"
STATIC = "00:11:22:33:44:55"


@pytest.fixture
def host(lab: Lab, build: Build) -> Host:
    assert require_root_and_tools({"ovs-appctl": "openvswitch-common"}) == []
    one = Host(lab, build, 1)
    peer = lab.namespace("peer")
    lab.wire(one.ns, "eth0", peer, "eth0", mtu=one.mtu)
    peer.add_address("eth0", f"{PEER}/24")
    for number in (1, 2):
        one.add_vm(number)
    one.add_tunnel("t0", "vxlan", PEER, key=77)
    one.add_tunnel("t1", "gre", "172.20.0.3", key=None)
    one.start()
    assert ping(one.ns, PEER).received == 3
    assert ping(one.vms[0].ns, one.vms[1].address()).received == 3
    return one


def appctl(host: Host, *words: str) -> str:
    return run(["ovs-appctl", "-t", str(host.daemon.socket_path), *words]).stdout


def refusal(host: Host, *words: str) -> str:
    done = run(["ovs-appctl", "-t", str(host.daemon.socket_path), *words], check=False)
    assert done.returncode == 2 and done.stdout == "", done
    return done.stderr.splitlines()[0]


def test_fdb_show_has_ports_by_number(host: Host) -> None:
    lines = appctl(host, "fdb/show", "br0").splitlines()
    assert lines[0] == " port  VLAN  MAC                Age"
    assert any(re.fullmatch(rf"    1     0  {host.vms[0].mac}  +\d+", line) for line in lines)
    assert any(re.fullmatch(rf"    2     0  {host.vms[1].mac}  +\d+", line) for line in lines)
    assert any(line.startswith("LOCAL     0  ") for line in appctl(host, "fdb/show", "br-phy").splitlines())
    assert refusal(host, "fdb/show", "br9") == "no such bridge"
    assert refusal(host, "fdb/show") == '"fdb/show" command requires at least 1 arguments'


def test_static_addresses_stay_until_they_are_deleted(host: Host) -> None:
    row = f"    1     5  {STATIC}  static"
    assert appctl(host, "fdb/add", "br0", "vif1", "5", STATIC).strip() == ""
    assert appctl(host, "fdb/flush", "br0") == "table successfully flushed\n"
    assert row in appctl(host, "fdb/show", "br0").splitlines()
    assert "Current static MAC entries in the table : 1" in appctl(host, "fdb/stats-show", "br0")
    appctl(host, "fdb/del", "br0", "5", STATIC)
    assert row not in appctl(host, "fdb/show", "br0")
    assert refusal(host, "fdb/del", "br0", "5", STATIC) == "could not find static mac entry"
    assert refusal(host, "fdb/add", "br0", "vif1", "0", "zz") == "bad MAC address"
    assert "vif9" in refusal(host, "fdb/add", "br0", "vif9", "0", STATIC)


def test_a_static_address_directs_frames(host: Host) -> None:
    """Frames for vm2's address go to the tunnel once it is said to be there."""
    appctl(host, "fdb/add", "br0", "t0", "0", host.vms[1].mac)
    assert ping(host.vms[0].ns, host.vms[1].address(), count=2).received == 0
    appctl(host, "fdb/del", "br0", "0", host.vms[1].mac)
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3


def test_the_kernels_routes_and_neighbours_are_shown(host: Host) -> None:
    host.ns.ip("route", "add", "192.168.7.0/24", "via", PEER)
    shown = appctl(host, "ovs/route/show").splitlines()
    assert shown[0] == "Route Table:"
    for line in (
        "Cached: 172.20.0.1/32 dev br-phy SRC 172.20.0.1 local",
        "Cached: 172.20.0.0/24 dev br-phy SRC 172.20.0.1",
        f"Cached: 192.168.7.0/24 dev br-phy GW {PEER} SRC 172.20.0.1",
    ):
        assert line in shown
    on_link = "src 172.20.0.1\ngateway ::\ndev br-phy\n"
    assert appctl(host, "ovs/route/lookup", "172.20.0.9") == on_link
    assert appctl(host, "ovs/route/lookup", "172.20.0.1") == on_link
    by_gateway = f"src 172.20.0.1\ngateway {PEER}\ndev br-phy\n"
    assert appctl(host, "ovs/route/lookup", "192.168.7.4") == by_gateway
    assert refusal(host, "ovs/route/lookup", "8.8.8.8") == "Not found"
    assert refusal(host, "ovs/route/lookup", "zz") == "Invalid parameters"
    neighbours = appctl(host, "tnl/neigh/show")
    assert re.search(rf"^{PEER} {{36}}[0-9a-f:]{{17}}   br-phy$", neighbours, re.MULTILINE)
    assert appctl(host, "tnl/arp/show") == neighbours


def test_tunnels_and_the_datapath_are_shown(host: Host) -> None:
    assert appctl(host, "ofproto/list") == "br-phy\nbr0\n"
    shown = appctl(host, "dpif/show")
    assert re.match(r"netdev@ovs-netdev: hit:\d+ missed:\d+\n  br-phy:\n", shown)
    assert re.search(r"^    br-phy 65534/\d+: \(tap\)$", shown, re.MULTILINE)
    assert re.search(r"^    vif1 1/\d+: \(system\)$", shown, re.MULTILINE)
    number = re.search(r"^    t0 3/(\d+): \(vxlan: key=77, remote_ip=172.20.0.2\)$", shown, re.MULTILINE)[1]
    assert re.search(r"^    t1 4/\d+: \(gre: remote_ip=172.20.0.3\)$", shown, re.MULTILINE)
    assert appctl(host, "ofproto/list-tunnels").splitlines()[0] == (
        f"port {number}: t0 (vxlan: ::->172.20.0.2, key=0x4d, legacy_l2, dp port={number}, ttl=64)"
    )
    ports = appctl(host, "tnl/ports/show").splitlines()
    assert ports[:2] == ["Listening ports:", f"vxlan_sys_4789 ({number}) ref_cnt=1"]
    assert "eth_type(0x0800),ipv4(dst=172.20.0.1,proto=17,frag=no),udp(dst=4789)\n" in appctl(
        host, "tnl/ports/show", "-v"
    )
    statistics = appctl(host, "dpctl/show", "-s")
    assert re.match(r"netdev@ovs-netdev:\n  lookups: hit:\d+ missed:\d+ lost:0\n  flows: \d+\n", statistics)
    assert re.search(r"  port \d+: vif1\n    RX packets:[1-9]", statistics)


def test_flows_are_shown_in_ovs_syntax(host: Host) -> None:
    pair = f"eth(src={host.vms[0].mac},dst={host.vms[1].mac})"

    def line() -> str:
        assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
        return next((x for x in appctl(host, "dpif/dump-flows", "-m", "br0").splitlines() if pair in x), "")

    found = wait_until(line, "the flow of the pair")
    assert re.fullmatch(
        rf"recirc_id\(0\),in_port\(vif1\),packet_type\(ns=0,id=0\),{re.escape(pair)}, "
        r"packets:\?, bytes:\?, used:\S+, actions:vif2",
        found,
    )
    assert pair in appctl(host, "dpctl/dump-flows")
    assert pair not in appctl(host, "dpif/dump-flows", "br-phy")
    appctl(host, "revalidator/purge")
    assert pair not in appctl(host, "dpctl/dump-flows")


def test_counters_of_workers_and_drops_are_shown(host: Host) -> None:
    assert re.search(r"^netdev_received .* total: [1-9]\d*$", appctl(host, "coverage/show"), re.MULTILINE)
    assert int(appctl(host, "coverage/read-counter", "netdev_received")) > 0
    assert refusal(host, "coverage/read-counter", "nope") == "No such counter"
    assert re.search(r"  packets received: [1-9]", appctl(host, "dpif-netdev/pmd-stats-show"))
    assert "port: vif1 " in appctl(host, "dpif-netdev/pmd-rxq-show")
    assert re.search(r"ports:6 rules:2 udpif keys:\d+$", appctl(host, "memory/show").strip())
    assert appctl(host, "upcall/show").startswith("netdev@ovs-netdev:\n  flows ")


@pytest.mark.parametrize(
    "verb", ["cfm/show", "bfd/show", "dpctl/dump-conntrack", "revalidator/wait"]
)
def test_what_is_never_configured_is_empty(host: Host, verb: str) -> None:
    assert appctl(host, verb).strip() == ""


def test_bugtools_verbs_are_all_there(host: Host) -> None:
    listed = {line.split()[0] for line in appctl(host, "list-commands").splitlines()[1:]}
    for verb in (
        "fdb/show fdb/flush fdb/add fdb/del ovs/route/show ovs/route/lookup tnl/neigh/show tnl/ports/show "
        "ofproto/list-tunnels dpif/show dpctl/show dpctl/dump-flows dpif/dump-flows memory/show coverage/show"
    ).split():
        assert verb in listed
