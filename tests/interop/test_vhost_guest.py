# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU guest on a vhost-user port, through a tunnel to a machine of another host.

    guest 10.0.0.1 eth0 ─ vhost-user ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── h2 ~ t0 ┤br0├ vm2 10.0.0.2
                                     h1

The guest's Linux leaves checksums and TCP segmentation to the switch and takes both from it.
"""

from __future__ import annotations

import json

import pytest

from netlab import guest_image
from netlab.daemon import Build
from netlab.guest import VhostGuest
from netlab.lab import Lab, wait_until
from netlab.matrix import Row
from netlab.measure import MBITS_MIN, iperf_server, wait_for_ping
from netlab.topology import Host, Vm, connect

PEER = "Linux 6.1 (guest)"
# virtio 1.2 section 5.1.3: what the guest takes, and what it leaves to the switch.
GUEST_CSUM, GUEST_TSO4, GUEST_TSO6 = 1, 7, 8
CSUM, HOST_TSO4, HOST_TSO6 = 0, 11, 12

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("guest_tools")]


def wait_for_machine(guest: VhostGuest, machine: Vm) -> None:
    wait_until(lambda: guest.ping(machine.address(), count=1), "the guest reaches vm2", 60)
    wait_for_ping(machine.ns, guest_address(guest))


def guest_address(guest: VhostGuest) -> str:
    return f"10.0.0.{guest.index}"


def transfer(guest: VhostGuest, machine: Vm) -> list[float]:
    """Mbit/s from the guest and to it."""
    rates = []
    for option in ("", "--reverse"):
        with iperf_server(machine.ns):
            text = guest.sh(f"iperf3 -c {machine.address()} -t 2 --json {option}")
        rates.append(json.loads(text)["end"]["sum_received"]["bits_per_second"] / 1e6)
    return rates


@pytest.mark.row(PEER, "vhost-user", "TSO and checksums both ways, restarts", "IPv4")
def test_a_guest_comes_back_after_every_restart(lab: Lab, build: Build, row: Row) -> None:
    guest = VhostGuest(lab, guest_image.build(), 1)
    lab.reporters.append(guest.report)
    near, far = Host(lab, build, 1), Host(lab, build, 2)
    connect(near, far)
    machine = far.add_vm(2)
    near.config.port("vm1", "br0", kind="dpdk", devargs=f"net_vhost0,iface={guest.socket},client=1")
    near.add_tunnel("t0", "vxlan", far.underlay(4))
    far.add_tunnel("t0", "vxlan", near.underlay(4))
    near.start()
    far.start()
    assert near.daemon.shown("vm1")["link"] == "down", "no guest is there yet"

    guest.start()
    wait_for_machine(guest, machine)
    for bit in (CSUM, HOST_TSO4, HOST_TSO6, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6):
        assert guest.has_feature(bit), f"virtio feature {bit} was not agreed on"
    rates = transfer(guest, machine)
    row.tcp = " ".join(f"{rate:.0f}" for rate in rates) + " Mbit/s"
    assert min(rates) > MBITS_MIN
    assert "offload_malformed" not in near.daemon.drops()

    guest.reboot()
    wait_for_machine(guest, machine)
    assert min(transfer(guest, machine)) > MBITS_MIN

    guest.restart()
    wait_for_machine(guest, machine)

    near.daemon.stop()
    near.daemon.start()
    for host in (near, far):
        host.config.find_tunnel("t0")["type"] = "gre"
        host.daemon.reload()
    wait_for_machine(guest, machine)
    assert min(transfer(guest, machine)) > MBITS_MIN

    guest.process.stop()
    wait_until(lambda: near.daemon.shown("vm1")["link"] == "down", "the port is down with its guest")
