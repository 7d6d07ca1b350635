# SPDX-License-Identifier: GPL-2.0-or-later
"""The OpenFlow sockets of a bridge, by Open vSwitch's own ovs-ofctl.

    vm1, vm2 ─ vif1, vif2 ┤br0├ t0 ~ br-phy ─ eth0 ─── (nobody)
"""

from __future__ import annotations

import contextlib
import pathlib
import signal
import socket
import subprocess

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, require_root_and_tools, run, wait_until
from netlab.measure import ping
from netlab.ovs_host import OvsHost
from netlab.topology import Host

VERSIONS = ["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
CONNECTIONS_MAX = 16


@pytest.fixture
def host(lab: Lab, build: Build) -> Host:
    assert require_root_and_tools({"ovs-ofctl": "openvswitch-common"}) == []
    one = Host(lab, build, 1)
    lab.wire(one.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=one.mtu)
    for number in (1, 2):
        one.add_vm(number)
    one.add_tunnel("t0", "gre", "172.20.0.2", key=77)
    rundir = lab.directory / "run"
    rundir.mkdir()
    one.config.daemon["socket"] = str(rundir / "culvertd.ctl")
    one.start()
    return one


def path_of(host: Host, bridge: str = "br0", kind: str = "mgmt") -> pathlib.Path:
    return pathlib.Path(host.config.daemon["socket"]).parent / f"{bridge}.{kind}"


def ofctl(
    host: Host, command: str, *arguments: str, version: str = "", check: bool = True
) -> subprocess.CompletedProcess[str]:
    options = ["-O", version] if version else []
    return run(
        ["ovs-ofctl", "-t", "20", *options, *command.split(), str(path_of(host)), *arguments],
        check=check,
    )


def test_sockets_come_and_go_with_their_bridge(host: Host) -> None:
    for bridge in ("br0", "br-phy"):
        for kind in ("mgmt", "snoop"):
            assert path_of(host, bridge, kind).is_socket()
    host.config.bridge("br1")
    host.daemon.reload()
    assert path_of(host, "br1").is_socket(), "it is there when the change is in force"
    host.config.bridges.pop()
    host.daemon.reload()
    assert not path_of(host, "br1").exists()
    assert host.daemon.stop() == 0
    assert sorted(path.name for path in path_of(host).parent.iterdir()) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_shows_the_bridge(host: Host, version: str) -> None:
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    shown = ofctl(host, "show", version=version).stdout
    for words in ("n_tables:254", "1(vif1): addr:", "3(t0): addr:"):
        assert words in shown
    flows = ofctl(host, "dump-flows", version=version).stdout
    assert "priority=0 actions=NORMAL" in flows and "n_packets=0," not in flows
    ports = ofctl(host, "dump-ports", version=version).stdout
    assert "3 ports" in ports and "rx pkts=0, bytes=0" in ports
    assert "1 ports" in ofctl(host, "dump-ports", "1", version=version).stdout
    assert "Manufacturer: Culvert" in ofctl(host, "dump-desc", version=version).stdout
    assert "active=1" in ofctl(host, "dump-tables", version=version).stdout
    assert "2(vif2)" in ofctl(host, "dump-ports-desc", version=version).stdout
    assert "flow_count=1" in ofctl(host, "dump-aggregate", version=version).stdout
    assert "64 bytes from" in ofctl(host, "ping", version=version).stdout
    assert ofctl(host, "probe", version=version).returncode == 0
    assert "0 queues" in ofctl(host, "queue-stats", version=version).stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_the_default_flow_can_be_reset_and_nothing_else_added(host: Host, version: str) -> None:
    ofctl(host, "del-flows", version=version)
    ofctl(host, "add-flow", "priority=0,actions=NORMAL", version=version)
    ofctl(host, "del-flows", "in_port=1", version=version)
    refused = ofctl(host, "add-flow", "in_port=1,actions=drop", version=version, check=False)
    assert refused.returncode != 0 and "OFPFMFC_EPERM" in refused.stderr
    refused = ofctl(host, "mod-port", "vif1", "no-flood", version=version, check=False)
    assert refused.returncode != 0 and "OFPT_ERROR" in refused.stderr
    assert "priority=0 actions=NORMAL" in ofctl(host, "dump-flows", version=version).stdout
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    assert "only priority=0,actions=NORMAL can be added" in host.daemon.log()


# What xcp-networkd and interface-reconfigure set where fail_mode is secure (a bond sends by NORMAL).
MANAGEMENT = "idle_timeout=0,priority=0"
MANAGEMENT_FLOWS = (
    "in_port=1,arp,nw_proto=1,actions=local",
    "in_port=1,dl_dst=00:11:22:33:44:55,actions=local",
    "in_port=local,arp,dl_src=00:11:22:33:44:55,actions=1",
    "in_port=local,dl_src=00:11:22:33:44:55,actions=NORMAL",
)


FLOWS_OF_OTHERS = (
    f"priority=1,{MANAGEMENT_FLOWS[0]}",
    f"idle_timeout=5,priority=0,{MANAGEMENT_FLOWS[0]}",
    "priority=0,in_port=1,actions=drop",
    "priority=0,in_port=1,actions=2",
    "priority=0,in_port=1,actions=local,2",
    "priority=0,actions=local",
    "priority=0,in_port=local,actions=1",
    "priority=0,in_port=local,dl_src=00:11:22:33:44:55,actions=drop",
)


def test_flows_that_keep_the_host_reachable_are_taken_and_no_filters(host: Host) -> None:
    for flow in MANAGEMENT_FLOWS:
        ofctl(host, "add-flow", f"{MANAGEMENT},{flow}")
    for flow in FLOWS_OF_OTHERS:
        refused = ofctl(host, "add-flow", flow, check=False)
        assert refused.returncode != 0 and "OFPFMFC_EPERM" in refused.stderr, flow
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3


def test_matches_of_nxm_alone_are_refused(host: Host) -> None:
    rule = "arp,arp_sha=00:11:22:33:44:55,actions=drop"
    refused = ofctl(host, "add-flow", rule, check=False)
    assert refused.returncode != 0 and refused.stderr.strip()


def test_no_bundle_gets_in(host: Host) -> None:
    refused = ofctl(host, "--bundle add-flow", "in_port=1,actions=drop", check=False)
    assert refused.returncode != 0 and "OFPBRC_BAD_TYPE for: OFPT_BUNDLE_CONTROL" in refused.stderr


@pytest.mark.parametrize("command", ["monitor", "snoop"])
def test_who_only_listens_disturbs_nobody(host: Host, command: str) -> None:
    target = path_of(host)  # ovs-ofctl snoop appends ".snoop" to a bridge's name only.
    listener = host.lab.spawn(
        ["ovs-ofctl", command, str(target if command == "monitor" else path_of(host, "br0", "snoop"))],
        name=command,
        env={"OVS_RUNDIR": str(host.lab.directory)},
    )
    assert "n_tables:254" in ofctl(host, "show").stdout
    assert listener.running, listener.output()
    listener.send_signal(signal.SIGTERM)
    listener.wait()


def test_a_database_names_versions_and_datapath_id(lab: Lab, build: Build) -> None:
    tools = {"ovs-ofctl": "openvswitch-common", "ovs-vsctl": "openvswitch-switch"}
    assert require_root_and_tools(tools) == []
    switch = OvsHost(lab.namespace("host"), build).start()
    switch.vsctl("add-br", "br0")

    def features(version: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        path = switch.directory / "br0.mgmt"
        return run(["ovs-ofctl", "-t", "20", "-O", version, "show", str(path)], check=check)

    assert f"dpid:{switch.row('Bridge', 'br0', 'datapath_id')['datapath_id']}" in features("OpenFlow15").stdout
    switch.vsctl("set", "Bridge", "br0", "protocols=OpenFlow10,OpenFlow13")
    assert "version negotiation failed" in features("OpenFlow15", check=False).stderr
    switch.vsctl("set", "Bridge", "br0", "other-config:datapath-id=00000000000000ab")
    assert switch.row("Bridge", "br0", "datapath_id")["datapath_id"] == "00000000000000ab"
    assert "dpid:00000000000000ab" in features("OpenFlow13").stdout


def connect(host: Host) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(20)
    client.connect(str(path_of(host)))
    return client


def ended(client: socket.socket) -> bool:
    """Whether the daemon hangs up; what it says before is passed over."""
    with contextlib.suppress(ConnectionError):
        while client.recv(65536):
            pass
    return True


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\x00\x07aaaa",
        b"\x01\x05\x00\x08\x00\x00\x00\x00",
        b"\x01\x00\x00\x08\x00\x00\x00\x00" + b"\x01\x02\x00\x00\x00\x00\x00\x00",
        bytes(65536),
    ],
    ids=["http", "short-hello", "no-hello", "short-echo", "zeros"],
)
def test_garbage_is_hung_up_on(host: Host, garbage: bytes) -> None:
    with connect(host) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(garbage)
        assert ended(client)
    assert "n_tables:254" in ofctl(host, "show").stdout


def test_connections_are_bounded_and_a_thousand_leave_nothing(host: Host) -> None:
    descriptors = pathlib.Path(f"/proc/{host.daemon.pid}/fd")
    before = len(list(descriptors.iterdir()))
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(connect(host)) for _ in range(CONNECTIONS_MAX)]
        for client in kept:
            assert client.recv(16), "a greeting"
        assert ended(stack.enter_context(connect(host)))

    def settled() -> bool:
        return len(list(descriptors.iterdir())) <= before  # Something brief may be counted there.

    wait_until(settled, "all descriptors are closed")
    for _ in range(1000):
        with connect(host) as client, contextlib.suppress(ConnectionError):
            client.sendall(b"\x01\x00\x00\x08\x00\x00\x00\x01")
    wait_until(settled, "all descriptors are closed")
    assert "n_tables:254" in ofctl(host, "show").stdout
