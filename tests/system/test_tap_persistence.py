# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of the host's addresses when the switch of a database restarts.

On XenServer the management address is on a bridge's local port, so the TAP devices of bridges and
internal ports outlive the daemon with addresses and routes, and the next one takes them over.
"""

from __future__ import annotations

import json
import signal

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, Namespace, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.ovs_host import OvsHost

ADDRESS = "172.20.0.1"
NEIGHBOUR = "172.20.0.2"


@pytest.fixture
def far(lab: Lab) -> Namespace:
    return lab.namespace("far")


@pytest.fixture
def host(lab: Lab, build: Build, far: Namespace) -> OvsHost:
    """A host whose bridge xenbr0 has its NIC and its management address."""
    ns = lab.namespace("h1")
    lab.wire(ns, "eth0", far, "eth0")
    far.add_address("eth0", f"{NEIGHBOUR}/24")
    ns.ip("link", "set", "eth0", "up")
    host = OvsHost(ns, build).start()
    host.vsctl("add-br", "xenbr0", "--", "add-port", "xenbr0", "eth0")
    host.vsctl("add-port", "xenbr0", "int0", "--", "set", "interface", "int0", "type=internal")
    ns.add_address("xenbr0", f"{ADDRESS}/24")
    ns.ip("link", "set", "xenbr0", "up")
    ns.ip("link", "set", "int0", "up")
    ns.ip("route", "add", "10.77.0.0/16", "via", NEIGHBOUR)
    wait_for_ping(ns, NEIGHBOUR)
    return host


def state(host: OvsHost) -> tuple[object, ...]:
    """What must not change: the device itself, its MAC address, addresses and routes."""
    link = host.host.links()["xenbr0"]
    addresses = json.loads(host.host.ip("-j", "-4", "addr", "show", "dev", "xenbr0").stdout)
    routes = json.loads(host.host.ip("-j", "-4", "route").stdout)
    return (
        *(link["ifindex"], link["address"], host.host.links()["int0"]["ifindex"]),
        sorted(one["local"] for one in addresses[0]["addr_info"]),
        sorted((route["dst"], route["dev"]) for route in routes),
    )


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGKILL), ids=("stop", "crash"))
def test_addresses_and_routes_outlive_the_daemon(
    host: OvsHost, far: Namespace, number: int
) -> None:
    before = state(host)
    host.stop_switch(number)
    assert state(host) == before
    host.start_switch()
    assert state(host) == before
    wait_for_ping(host.host, NEIGHBOUR)
    wait_for_ping(far, ADDRESS)


def test_devices_are_made_down_and_without_addresses(host: OvsHost) -> None:
    host.vsctl("add-br", "xapi0")
    link = host.host.links()["xapi0"]
    assert "UP" not in link["flags"]


def test_what_was_removed_while_no_daemon_ran_is_deleted_at_the_start(host: OvsHost) -> None:
    host.vsctl("add-br", "xapi0")
    host.stop_switch()
    host.vsctl("--no-wait", "del-br", "xapi0", "--", "del-port", "xenbr0", "int0")
    assert {"xapi0", "int0"} <= set(host.host.links())
    host.start_switch()
    wait_until(
        lambda: not {"xapi0", "int0"} & set(host.host.links()), "the devices are deleted"
    )
    assert "xenbr0" in host.host.links()


def test_deleted_bridges_and_ports_delete_their_devices(host: OvsHost) -> None:
    host.vsctl("add-br", "xapi0", "--", "del-port", "xenbr0", "int0")
    host.vsctl("del-br", "xapi0")
    wait_until(
        lambda: not {"xapi0", "int0"} & set(host.host.links()), "the devices are gone"
    )


def test_a_bridges_mac_and_mtu_change_without_loss(host: OvsHost) -> None:
    before = state(host)
    mac = "02:00:00:00:0a:0b"
    host.vsctl("set", "bridge", "xenbr0", f"other-config:hwaddr={mac}")
    host.vsctl("set", "interface", "xenbr0", "mtu_request=1400")
    wait_until(lambda: host.host.mac("xenbr0") == mac, "the bridge has its new address")
    wait_until(lambda: host.host.mtu("xenbr0") == 1400, "the bridge has its new MTU")
    after = state(host)
    assert (after[0], after[2:]) == (before[0], before[2:])
    wait_for_ping(host.host, NEIGHBOUR)


def test_a_foreign_interface_is_not_taken_over(host: OvsHost) -> None:
    host.host.ip("link", "add", "taken", "type", "veth", "peer", "name", "other")
    host.vsctl("--no-wait", "add-port", "xenbr0", "taken")
    host.vsctl("--no-wait", "set", "interface", "taken", "type=internal")
    wait_until(lambda: host.row("Interface", "taken", "error")["error"], "the error is written")
    assert host.row("Interface", "taken", "ofport")["ofport"] == -1
    assert ping(host.host, NEIGHBOUR).received == 3


def test_exit_with_cleanup_deletes_all(host: OvsHost) -> None:
    host.appctl("exit", "--cleanup")
    wait_until(lambda: not host.switch.running, "the switch has ended")
    assert not {"xenbr0", "int0"} & set(host.host.links())
