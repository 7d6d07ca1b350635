# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert and the tunnels of Debian's Linux kernel, in a QEMU guest.

    vm1 10.0.0.1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ~ t0 10.0.0.2
                        h1         172.20.0.1               172.20.0.2  (guest)

Every row pings both ways in IPv4 and IPv6, transfers both ways over TCP with the content compared,
and has each packet of the wire read by tshark.
"""

from __future__ import annotations

import dataclasses

import pytest

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.guest import Guest, GuestPeer
from netlab.lab import Lab, wait_until
from netlab.matrix import Row
from netlab.measure import ping, wait_for_ping
from netlab.outer import Outer
from netlab.topology import DEFAULT_KEY, Host, Vm, underlay_address

PEER = "Linux 6.1 (guest)"
PINGS = 3
TCP_BYTES = 1_000_000
# The first test of the run builds the guest's image and boots it.
pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("tshark")]


@dataclasses.dataclass(frozen=True)
class Case:
    """`link` is what the guest says to `ip link add type`; `keys`, the tunnel in Culvert's file."""

    protocol: str
    options: str
    family: int
    link: str
    keys: dict[str, object] = dataclasses.field(default_factory=dict)
    key: int | None = DEFAULT_KEY

    @property
    def checksum(self) -> bool:
        """Whether the outer packets carry checksums: over IPv6, UDP does unless told otherwise."""
        if self.protocol != "gre" and self.family == 6:
            return not self.keys.get("udp6_zero_csum_tx", False)
        return bool(self.keys.get("csum", False))

    def param(self, kind: str) -> object:
        name = f"{kind}-{self.options.replace(' ', '-')}-ipv{self.family}"
        mark = pytest.mark.row(PEER, kind, self.options, f"IPv{self.family}")
        return pytest.param(self, id=name, marks=mark)

    def text(self, key_word: str) -> str:
        """The guest's words with its addresses and the key."""
        ends = f"local {underlay_address(2, self.family)} remote {underlay_address(1, self.family)}"
        key = "" if self.key is None else f"{key_word} {self.key}"
        return f"{ends} {key} {self.link}"


ZERO6 = {"udp6_zero_csum_tx": True, "udp6_zero_csum_rx": True}
GRETAP = [
    Case("gre", "no key", 4, "", key=None),
    Case("gre", "key", 4, ""),
    Case("gre", "key csum", 4, "csum", {"csum": True}),
    Case("gre", "key seq", 4, "seq", {"seq": True}),
    Case("gre", "key csum seq", 4, "csum seq", {"csum": True, "seq": True}),
    Case("gre", "key", 6, "encaplimit none"),
    Case("gre", "key csum seq", 6, "csum seq encaplimit none", {"csum": True, "seq": True}),
]
VXLAN = [
    Case("vxlan", "no checksum", 4, "dstport 4789 noudpcsum"),
    Case("vxlan", "checksum", 4, "dstport 4789 udpcsum", {"csum": True}),
    Case("vxlan", "checksum", 6, "dstport 4789"),
    Case("vxlan", "zero checksum", 6, "dstport 4789 udp6zerocsumtx udp6zerocsumrx", ZERO6),
]
GENEVE = [
    Case("geneve", "no checksum", 4, "noudpcsum"),
    Case("geneve", "checksum", 4, "udpcsum", {"csum": True}),
    Case("geneve", "checksum", 6, ""),
    Case("geneve", "zero checksum", 6, "udp6zerocsumtx udp6zerocsumrx", ZERO6),
]


def make_host(lab: Lab, build: Build, peer: GuestPeer, case: Case, **more: object) -> Host:
    host = Host(lab, build, 1)
    peer.attach(host)
    host.add_vm(1)
    keys = {**case.keys, **more}
    host.add_tunnel("t0", case.protocol, peer.underlay(case.family), case.key, **keys)
    return host


def ping_all(machine: Vm, guest: Guest, row: Row, pairs: list[tuple[str, str]]) -> None:
    """`pairs`: an address of the guest and one of the machine, in each family."""
    wait_for_ping(machine.ns, pairs[0][0])
    received = 0
    for guest_address, machine_address in pairs:
        received += ping(machine.ns, guest_address, count=PINGS).received
        received += guest.ping(machine_address, count=PINGS)
    row.ping = f"{received}/{2 * PINGS * len(pairs)}"
    assert received == 2 * PINGS * len(pairs)


def exercise(
    host: Host, peer: GuestPeer, row: Row, case: Case, pairs: list[tuple[str, str]] | None = None
) -> None:
    machine = host.vms[0]
    pairs = pairs or [(peer.address(family), machine.address(family)) for family in (4, 6)]
    with Capture(peer.guest.ns, "tap0") as capture:
        ping_all(machine, peer.guest, row, pairs)
        peer.exchange_tcp(machine.ns, pairs[0][0], TCP_BYTES, seed=1)
        row.tcp = f"{TCP_BYTES / 1e6:g} MB x 2"
        outer = Outer(case.protocol, case.family, case.key, case.checksum)
        ends = underlay_address(1, case.family), peer.underlay(case.family)
        row.checksums = outer.check(capture, *ends)


@pytest.mark.parametrize("case", [case.param("GRE Ethernet") for case in GRETAP])
def test_gretap(lab: Lab, build: Build, guest_peer: GuestPeer, row: Row, case: Case) -> None:
    host = make_host(lab, build, guest_peer, case)
    guest_peer.add_tunnel("gretap" if case.family == 4 else "ip6gretap", case.text("key"))
    host.start()
    exercise(host, guest_peer, row, case)


@pytest.mark.parametrize("case", [case.param("VXLAN") for case in VXLAN])
def test_vxlan(lab: Lab, build: Build, guest_peer: GuestPeer, row: Row, case: Case) -> None:
    host = make_host(lab, build, guest_peer, case)
    guest_peer.add_tunnel("vxlan", f"{case.text('id')} dev eth0")
    host.start()
    exercise(host, guest_peer, row, case)


@pytest.mark.parametrize("case", [case.param("Geneve") for case in GENEVE])
def test_geneve(lab: Lab, build: Build, guest_peer: GuestPeer, row: Row, case: Case) -> None:
    host = make_host(lab, build, guest_peer, case)
    remote = underlay_address(1, case.family)
    guest_peer.add_tunnel("geneve", f"id {case.key} remote {remote} {case.link}")
    host.start()
    exercise(host, guest_peer, row, case)


# IP in GRE: the hosts behind the guest are of another prefix, and the bridge's own address is the
# gateway of the VMs.
GATEWAY = {4: "10.0.0.254", 6: "fd10::fe"}
FAR_PREFIX = {4: "10.2.0.0/24", 6: "fd12::/64"}
FAR = {4: "10.2.0.1", 6: "fd12::1"}
GRE_IP = [
    Case("gre", "key", 4, ""),
    Case("gre", "key csum seq", 4, "csum seq", {"csum": True, "seq": True}),
    Case("gre", "key", 6, "encaplimit none"),
]


@pytest.mark.parametrize("case", [case.param("GRE IP") for case in GRE_IP])
def test_gre_ip(lab: Lab, build: Build, guest_peer: GuestPeer, row: Row, case: Case) -> None:
    host = make_host(lab, build, guest_peer, case, packet_type="l3")
    bridge = host.config.find_bridge("br0")
    bridge["local"] = {"addresses": [f"{GATEWAY[4]}/24", f"{GATEWAY[6]}/64"]}
    rlocs = [{"tunnel": "t0", "priority": 1, "weight": 1}]
    bridge["eid"] = [{"prefix": FAR_PREFIX[family], "rloc": rlocs} for family in (4, 6)]
    guest_peer.add_tunnel(
        "gre" if case.family == 4 else "ip6gre",
        case.text("key"),
        [f"{FAR[4]}/24", f"{FAR[6]}/64"],
    )
    guest_peer.guest.sh(
        "ip route add 10.0.0.0/24 dev t0 src 10.2.0.1", "ip -6 route add fd10::/64 dev t0"
    )
    machine = host.vms[0]
    for family in (4, 6):
        machine.ns.ip("route", "add", FAR_PREFIX[family], "via", GATEWAY[family])
    host.start()
    exercise(host, guest_peer, row, case, [(FAR[f], machine.address(f)) for f in (4, 6)])


def counted(guest: Guest, interface: str = "t0") -> int:
    """Packets that the guest's filter on `interface` has matched."""
    text = guest.sh(f"tc -s filter show dev {interface} ingress")
    words = text.split()
    return int(words[words.index("pkt") - 1]) if "pkt" in words else 0


SENT_GROUP, RECEIVED_GROUP, OTHER_GROUP = 0x2A7, 0x155, 0x156


@pytest.mark.row(PEER, "VXLAN-GBP", "group policy both ways", "IPv4")
def test_vxlan_group_policy(lab: Lab, build: Build, guest_peer: GuestPeer, row: Row) -> None:
    """The guest's kernel keeps the group of a packet in the packet's mark."""
    guest = guest_peer.guest
    case = Case("vxlan", "gbp", 4, "dstport 4789 noudpcsum gbp", {"gbp": True})
    host = make_host(lab, build, guest_peer, case, gbp_id=SENT_GROUP)
    guest_peer.add_tunnel("vxlan", f"{case.text('id')} dev eth0")
    guest.sh(
        "tc qdisc add dev t0 ingress",
        f"tc filter add dev t0 ingress protocol all handle {SENT_GROUP} fw action ok",
    )
    host.start()
    exercise(host, guest_peer, row, case)
    assert counted(guest) >= 2 * PINGS
    machine = host.vms[0]
    with Capture(guest.ns, "tap0") as capture:
        assert guest.ping(machine.address(), mark=RECEIVED_GROUP) == PINGS
        rows = capture.dissect(["ip.src", "vxlan.flag_g", "vxlan.gbp"], "vxlan && icmp")
    groups = {(one["ip.src"][0], *one["vxlan.flag_g"], int(one["vxlan.gbp"][0], 0)) for one in rows}
    assert groups == {
        (underlay_address(1, 4), "1", SENT_GROUP),
        (guest_peer.underlay(4), "1", RECEIVED_GROUP),
    }
    host.config.find_tunnel("t0")["gbp_admit"] = RECEIVED_GROUP
    host.daemon.reload()
    assert guest.ping(machine.address(), mark=OTHER_GROUP, wait_s=2) == 0
    host.daemon.wait_for_drops("vxlan_group_policy", PINGS)
    assert guest.ping(machine.address(), mark=RECEIVED_GROUP) == PINGS


GUEST_OPTION = "0x0102:0x80:deadbeef"


@pytest.mark.row(PEER, "Geneve", "TLV option both ways", "IPv4")
def test_geneve_options(lab: Lab, build: Build, guest_peer: GuestPeer, row: Row) -> None:
    """The guest sends its option by a route, and a filter says that it received ours."""
    guest = guest_peer.guest
    case = Case("geneve", "option", 4, "", {"options": ["0x0102:0x80:1a2b3c4d"]})
    host = make_host(lab, build, guest_peer, case)
    machine = host.vms[0]
    # Without `id` and `remote` the guest's device sends only what a route tells it to.
    guest_peer.add_tunnel("geneve", "external", [f"{guest_peer.address()}/32"])
    guest.sh(
        f"ip neigh replace {machine.address()} lladdr {machine.mac} dev t0",
        f"ip route add {machine.address()}/32 encap ip id {case.key} dst {underlay_address(1, 4)}"
        f" key geneve_opts {GUEST_OPTION} dev t0 src {guest_peer.address()}",
        "tc qdisc add dev t0 ingress",
        "tc filter add dev t0 ingress protocol all flower geneve_opts 0102:80:1a2b3c4d action ok",
    )
    machine.ns.ip(
        *("neigh", "replace", guest_peer.address(), "lladdr", guest_peer.mac, "dev", "eth0")
    )
    host.start()
    pairs = [(guest_peer.address(), machine.address())]
    exercise(host, guest_peer, row, case, pairs)
    assert counted(guest) >= 2 * PINGS
    with Capture(guest.ns, "tap0") as capture:
        assert guest.ping(machine.address()) == PINGS
        fields = [f"geneve.option.{name}" for name in ("class", "type", "unknown.data")]
        rows = capture.dissect(["ip.src", "geneve.flags.critical", *fields], "geneve && icmp")
    options = {(one["ip.src"][0], *(one[field][0] for field in fields)) for one in rows}
    assert options == {
        (underlay_address(1, 4), "0x0102", "0x80", "1a2b3c4d"),
        (guest_peer.underlay(4), "0x0102", "0x80", "deadbeef"),
    }
    # Linux leaves the header's critical flag clear; RFC 8926 section 3.4 asks for it.
    ours = [one for one in rows if one["ip.src"][0] == underlay_address(1, 4)]
    critical = {one["geneve.flags.critical"][0] for one in ours}
    assert critical == {"1"}


def test_the_guest_is_left_as_it_was_booted(guest: Guest) -> None:
    """What one row leaves behind would decide the next one."""
    wait_until(lambda: "t0" not in guest.sh("ls /sys/class/net").split(), "t0 is gone")
    assert guest.sh("ls /tmp") == ""
