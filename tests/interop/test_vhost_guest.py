# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU guest on a vhost-user port, through a tunnel to a machine of another host.

    guest 10.0.0.1 eth0 ─ vhost-user ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── h2 ~ t0 ┤br0├ vm2 10.0.0.2
                                     h1

The guest's Linux leaves checksums and TCP segmentation to the switch and takes both from it.
"""

from __future__ import annotations

import json
import signal

import pytest

from netlab import guest_image
from netlab.daemon import Build
from netlab.guest import VhostGuest
from netlab.lab import Lab, Namespace, wait_until
from netlab.matrix import Row
from netlab.measure import MBITS_MIN, iperf_server, wait_for_ping
from netlab.ovs_host import OvsHost
from netlab.topology import UNDERLAY_MTU, Vm, underlay_address, vm_address, vm_mac

PEER = "Linux 6.1 (guest)"
# virtio 1.2 section 5.1.3: what the guest takes, and what it leaves to the switch.
GUEST_CSUM, GUEST_TSO4, GUEST_TSO6 = 1, 7, 8
CSUM, HOST_TSO4, HOST_TSO6 = 0, 11, 12

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("guest_tools")]


def wait_for_machine(guest: VhostGuest, machine: Vm) -> None:
    wait_until(lambda: guest.ping(machine.address(), count=1, wait_s=2), "the guest reaches vm2", 60)
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


class Vif:
    """A virtual machine on a device of the host, as a hypervisor's backend driver makes them."""

    def __init__(self, lab: Lab, host: Namespace, index: int) -> None:
        self.ns = lab.namespace(f"vm{index}")
        self.index = index
        self._lab, self._host = lab, host

    def address(self) -> str:
        return vm_address(self.index, 4)

    def plug(self) -> None:
        self._lab.wire(self._host, "vif1.0", self.ns, "eth0", b_mac=vm_mac(self.index))
        self.ns.add_address("eth0", f"{self.address()}/24")

    def restart(self) -> None:
        """The device goes with the machine, and another of its name comes with the next one."""
        self._host.ip("link", "del", "vif1.0")
        self.plug()


def set_up(switch: OvsHost, index: int, other: int) -> None:
    """An uplink in br-phy, and a tunnel in br0."""
    switch.start()
    switch.vsctl("add-br", "br-phy", "--", "add-port", "br-phy", "eth0", "--", "add-br", "br0")
    switch.host.ip("link", "set", "br-phy", "up", "mtu", UNDERLAY_MTU)
    switch.host.add_address("br-phy", f"{underlay_address(index, 4)}/24")
    switch.vsctl(
        *("add-port", "br0", "t0", "--", "set", "interface", "t0", "type=vxlan"),
        *(f"options:remote_ip={underlay_address(other, 4)}", "options:key=7"),
    )


@pytest.mark.row(PEER, "vhost-user, ovs-vsctl", "TSO and checksums both ways, restarts", "IPv4")
def test_a_guest_and_a_vif_that_ovs_vsctl_configured(lab: Lab, build: Build, row: Row) -> None:
    guest = VhostGuest(lab, guest_image.build(), 1)
    lab.reporters.append(guest.report)
    near, far = (OvsHost(lab.namespace(f"h{index}"), build) for index in (1, 2))
    lab.wire(near.host, "eth0", far.host, "eth0", mtu=UNDERLAY_MTU)
    set_up(near, 1, 2)
    set_up(far, 2, 1)
    machine, vif = Vif(lab, far.host, 2), Vif(lab, near.host, 3)
    machine.plug()
    far.vsctl("add-port", "br0", "vif1.0")
    near.vsctl(
        *("add-port", "br0", "vhost1", "--", "set", "interface", "vhost1"),
        *("type=dpdkvhostuserclient", f"options:vhost-server-path={guest.socket}"),
        *("--", "add-port", "br0", "vif1.0"),
    )
    assert near.row("Interface", "vhost1", "link_state")["link_state"] == "down"
    assert "No such device" in near.row("Interface", "vif1.0", "error")["error"]

    def wait_for_both() -> None:
        wait_until(lambda: guest.ping(vm_address(2, 4), count=1, wait_s=2), "the guest reaches vm2", 60)
        wait_for_ping(vif.ns, vm_address(2, 4))
        wait_for_ping(vif.ns, vm_address(1, 4))

    def rates_of_guest() -> list[float]:
        rates = transfer(guest, machine)
        assert min(rates) > MBITS_MIN
        return rates

    vif.plug()
    guest.start()
    wait_for_both()
    for bit in (CSUM, HOST_TSO4, HOST_TSO6, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6):
        assert guest.has_feature(bit), f"virtio feature {bit} was not agreed on"
    row.tcp = " ".join(f"{rate:.0f}" for rate in rates_of_guest()) + " Mbit/s"
    wait_until(
        lambda: near.row("Interface", "vhost1", "link_state")["link_state"] == "up",
        "the database says that the guest is there",
    )
    numbers = [near.row("Interface", name, "ofport")["ofport"] for name in ("vhost1", "vif1.0")]

    guest.reboot()
    vif.restart()
    wait_for_both()

    guest.restart()
    wait_for_both()

    for number in (signal.SIGTERM, signal.SIGKILL):
        near.stop_switch(number)
        near.start_switch()
        wait_for_both()
    rates_of_guest()
    # The tunnel's kind changes under the same name.
    for switch in (near, far):
        switch.vsctl("set", "interface", "t0", "type=gre")
    wait_for_both()
    rates_of_guest()
    assert numbers == [near.row("Interface", name, "ofport")["ofport"] for name in ("vhost1", "vif1.0")]

    guest.process.stop()
    wait_until(
        lambda: near.row("Interface", "vhost1", "link_state")["link_state"] == "down",
        "the port is down with its guest",
    )
