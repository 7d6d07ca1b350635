# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of tunnels for which no peer is at hand, or which peers do not send: what Culvert sends
is read by tshark, and what scapy makes (or a hand, from the RFC) is sent to Culvert.

    vm1 10.0.0.1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0
                        h1         172.20.0.1               172.20.0.2  (this test)

In the layer 3 cases br0's own address is the gateway of vm1, and 10.2.0.0/24 is behind the tunnel.
"""

from __future__ import annotations

import dataclasses
import struct

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from netlab.capture import ABSENT, GOOD, Capture
from netlab.daemon import Build
from netlab.frames import PacketSocket, Seen
from netlab.lab import Lab, Namespace, wait_until
from netlab.matrix import Row
from netlab.measure import wait_for_ping
from netlab.topology import UNDERLAY_MTU, Host, underlay_address, vm_address, vm_mac

pytestmark = pytest.mark.usefixtures("tshark")

KEY = 0x123456
MARK = b"culvert-bytes"
GATEWAY = {4: "10.0.0.254", 6: "fd10::fe"}
FAR_PREFIX = {4: "10.2.0.0/24", 6: "fd12::/64"}
FAR = {4: "10.2.0.9", 6: "fd12::9"}
UDP_PORT = {"vxlan": 4789, "vxlan-gpe": 4790, "geneve": 6081, "lisp": 4341}


class Bench:
    """One host with a tunnel, and the far end of its wire in this test's hands."""

    def __init__(self, lab: Lab, build: Build, family: int, keys: dict[str, object]) -> None:
        self.family = family
        self.host = Host(lab, build, 1)
        self.far: Namespace = lab.namespace("far")
        lab.wire(self.host.ns, "eth0", self.far, "eth0", mtu=UNDERLAY_MTU)
        self.far.add_address("eth0", f"{underlay_address(2, 4)}/24")
        self.far.add_address("eth0", f"{underlay_address(2, 6)}/64")
        self.machine = self.host.add_vm(1)
        self.l3 = keys.get("packet_type") == "l3"
        self.host.config.tunnel("t0", "br0", remote_ip=underlay_address(2, family), **keys)
        if self.l3:
            bridge = self.host.config.find_bridge("br0")
            bridge["local"] = {"addresses": [f"{GATEWAY[4]}/24", f"{GATEWAY[6]}/64"]}
            rlocs = [{"tunnel": "t0", "priority": 1, "weight": 1}]
            bridge["eid"] = [{"prefix": FAR_PREFIX[f], "rloc": rlocs} for f in (4, 6)]
        self.host.start()
        if self.l3:
            for inner in (4, 6):
                wait_for_ping(self.machine.ns, GATEWAY[inner])

    def inner(self, family: int, inward: bool = False) -> Packet:
        """A UDP packet of the machine's to the far side, or (inward) of the far side to it."""
        near = vm_address(1, family)
        far = FAR[family] if self.l3 else vm_address(2, family)
        source, destination = (far, near) if inward else (near, far)
        make = IP if family == 4 else IPv6
        return make(src=source, dst=destination) / UDP(sport=7, dport=9) / Raw(MARK)

    def send_from_machine(self, family: int, count: int) -> None:
        gateway = self.host.ns.mac("br0") if self.l3 else vm_mac(2)
        packet = Ether(src=self.machine.mac, dst=gateway) / self.inner(family)
        with PacketSocket(self.machine.ns) as near:
            for _ in range(count):
                near.send(bytes(packet))

    def outer(self, protocol: str) -> Packet:
        """The headers before the tunnel's own, towards Culvert."""
        make = IP if self.family == 4 else IPv6
        head = Ether(src=self.far.mac("eth0"), dst=self.host.ns.mac("br-phy")) / make(
            src=underlay_address(2, self.family), dst=underlay_address(1, self.family)
        )
        port = UDP_PORT.get(protocol)
        return head if port is None else head / UDP(sport=50000, dport=port)


# What Culvert sends.


@dataclasses.dataclass(frozen=True)
class Sent:
    """`keys`: the tunnel in Culvert's file; `fields`: what tshark must read in each packet."""

    name: str
    keys: dict[str, object]
    fields: dict[str, list[str]]
    inner: int = 4

    def param(self, family: int) -> object:
        mark = pytest.mark.row("tshark reads", *self.name.split(": "), f"IPv{family}")
        name = f"{self.name.replace(': ', '-').replace(' ', '-')}-ipv{family}"
        return pytest.param(self, family, id=name, marks=mark)

    def checksum(self, family: int) -> tuple[str, list[str], str]:
        """tshark's field, its values, and the words of the table."""
        csum = bool(self.keys.get("csum"))
        if self.keys["type"] == "gre":
            words = "GRE good" if csum else "GRE none"
            return "gre.checksum.status", [GOOD] if csum else [], words
        good = csum or family == 6
        # The first is the tunnel's, the second the machine's.
        return (
            "udp.checksum.status",
            [GOOD if good else ABSENT, GOOD],
            f"UDP {'good' if good else 'zero'}, inner good",
        )


def gre(name: str, flags: str, protocol: str, inner: int = 4, **keys: object) -> Sent:
    fields = {"gre.flags_and_version": [flags], "gre.proto": [protocol]}
    if "key" in keys and "nvgre" not in keys:
        fields["gre.key"] = [f"0x{KEY:08x}"]
    return Sent(name, {"type": "gre", **keys}, fields, inner)


def gpe(name: str, next_protocol: int, inner: int = 4, **keys: object) -> Sent:
    fields = {
        "vxlan.ver": ["0"],
        "vxlan.i_bit": ["1"],
        "vxlan.p_bit": ["1"],
        "vxlan.o_bit": ["0"],
        "vxlan.next_proto": [str(next_protocol)],
        "vxlan.vni": [str(KEY)],
        "udp.dstport": ["4790", "9"],
    }
    return Sent(f"VXLAN-GPE: {name}", {"type": "vxlan-gpe", "key": KEY, **keys}, fields, inner)


def lisp(name: str, inner: int, iid: int, **keys: object) -> Sent:
    """The instance id is always there, and of its locators the sender has one, which is up."""
    fields = {
        "lisp-data.flags": ["0x48"],
        "lisp-data.iid": [str(iid)],
        "lisp-data.lsb8": ["0x01"],
        "udp.dstport": ["4341", "9"],
    }
    return Sent(f"LISP: {name}", {"type": "lisp", "packet_type": "l3", **keys}, fields, inner)


SENT = [
    gre("GRE: key csum seq", "0xb000", "0x6558", key=KEY, csum=True, seq=True),
    gre("NVGRE: VSID", "0x2000", "0x6558", key=KEY, nvgre=True),
    gre("GRE: IPv4", "0x2000", "0x0800", key=KEY, packet_type="l3"),
    gre("GRE: IPv6", "0x2000", "0x86dd", 6, key=KEY, packet_type="l3"),
    gre("GRE: IPv4 csum seq", "0x9000", "0x0800", packet_type="l3", csum=True, seq=True),
    Sent(
        "VXLAN: group policy",
        {"type": "vxlan", "key": KEY, "gbp": True, "gbp_id": 0x2A7},
        {
            "vxlan.flags": ["0x8800"],
            "vxlan.gbp": [str(0x2A7)],
            "vxlan.vni": [str(KEY)],
            "udp.dstport": ["4789", "9"],
        },
    ),
    gpe("Ethernet", 3),
    gpe("IPv4", 1, packet_type="l3"),
    gpe("IPv6", 2, 6, packet_type="l3"),
    Sent(
        "Geneve: two options",
        {
            "type": "geneve",
            "key": KEY,
            "options": ["0x0102:0x80:1a2b3c4d", "0x0103:0x01:0011223344556677"],
        },
        {
            "geneve.version": ["0"],
            "geneve.flags.oam": ["0"],
            "geneve.flags.critical": ["1"],
            "geneve.proto_type": ["0x6558"],
            "geneve.vni": [f"0x{KEY:06x}"],
            "geneve.option.class": ["0x0102", "0x0103"],
            "geneve.option.type": ["0x80", "0x01"],
            "geneve.option.unknown.data": ["1a2b3c4d", "0011223344556677"],
            "udp.dstport": ["6081", "9"],
        },
    ),
    Sent(
        "Geneve: option without critical bit",
        {"type": "geneve", "key": KEY, "options": ["0x0103:0x01:00112233"], "csum": True},
        {
            "geneve.flags.critical": ["0"],
            "geneve.option.class": ["0x0103"],
            "geneve.option.type": ["0x01"],
            "geneve.option.unknown.data": ["00112233"],
        },
    ),
    lisp("IPv4", 4, 0),
    lisp("IPv6", 6, 0),
    lisp("IPv4 instance id", 4, KEY, key=KEY),
    lisp("IPv6 instance id", 6, KEY, key=KEY),
]


@pytest.mark.parametrize(
    ("case", "family"), [case.param(family) for case in SENT for family in (4, 6)]
)
def test_sent(lab: Lab, build: Build, row: Row, case: Sent, family: int) -> None:
    bench = Bench(lab, build, family, case.keys)
    count = 3
    # Incoming only: the far end's kernel knows no tunnel and quotes what it refuses.
    with Capture(bench.far, incoming_only=True) as capture:
        bench.send_from_machine(case.inner, count)
        wait_until(
            lambda: sum(MARK in seen.data for seen in capture.fetch()) >= count,
            f"{count} packets are on the wire",
        )
        status, expected_status, words = case.checksum(family)
        extra = ["gre.sequence_number", "gre.key", "ip.dst", "ipv6.dst"]
        rows = capture.dissect(
            [*case.fields, status, *extra], f'frame contains "{MARK.decode()}"'
        )
    assert len(rows) == count
    for one in rows:
        assert {field: one[field] for field in case.fields} == case.fields
        assert one[status] == expected_status
        outer, inner = underlay_address(2, family), bench.inner(case.inner).dst
        # The outer address first, the inner one behind it, each in the list of its family.
        assert one["ip.dst"] == [a for a in (outer, inner) if ":" not in a]
        assert one["ipv6.dst"] == [a for a in (outer, inner) if ":" in a]
        if case.keys.get("nvgre"):
            assert int(one["gre.key"][0], 0) >> 8 == KEY
    if case.keys.get("seq"):
        numbers = [int(one["gre.sequence_number"][0]) for one in rows]
        assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]
    row.checksums = words


# What Culvert receives.


def lisp_header(flags: int, nonce: int, second_word: int) -> Raw:
    """RFC 9300 section 5.3: N L E V I R K K, nonce, instance id and status bits."""
    return Raw(struct.pack("!II", flags << 24 | nonce, second_word))


def gpe_header(next_protocol: int) -> Raw:
    """The I and the P flag (draft-ietf-nvo3-vxlan-gpe), the VNI above a reserved byte."""
    return Raw(struct.pack("!BHBI", 0x0C, 0, next_protocol, KEY << 8))


def option(option_class: int, kind: int, data: bytes) -> GeneveOptions:
    return GeneveOptions(classid=option_class, type=kind, data=data)


@dataclasses.dataclass(frozen=True)
class Received:
    """`header`: between the outer headers and the inner packet."""

    name: str
    keys: dict[str, object]
    header: Packet
    inner: int = 4
    maker: str = "scapy sends"
    drop: str = ""  # The reason, when the packet must not arrive.

    def param(self, family: int) -> object:
        mark = pytest.mark.row(self.maker, *self.name.split(": "), f"IPv{family}")
        name = f"{self.name.replace(': ', '-').replace(' ', '-')}-ipv{family}"
        return pytest.param(self, family, id=name, marks=mark)


GRE_KEYS = {"type": "gre", "key": KEY}
GRE_IP_KEYS = {**GRE_KEYS, "packet_type": "l3"}
GENEVE_KEYS = {"type": "geneve", "key": KEY, "options": ["0x0102:0x80:1a2b3c4d"]}
GPE_KEYS = {"type": "vxlan-gpe", "key": KEY}
LISP_KEYS = {"type": "lisp", "packet_type": "l3"}
KNOWN = option(0x0102, 0x80, b"\x1a\x2b\x3c\x4d")
UNKNOWN_CRITICAL = option(0x0105, 0x81, b"\1\2\3\4")
HAND = "sent by hand"


def geneve(name: str, options: list[GeneveOptions], critical: int, drop: str = "") -> Received:
    header = GENEVE(vni=KEY, proto=0x6558, critical=critical, options=options)
    return Received(f"Geneve: {name}", GENEVE_KEYS, header, drop=drop)


RECEIVED = [
    Received(
        "GRE: key csum seq",
        {**GRE_KEYS, "csum": True, "seq": True, "late": "drop"},
        GRE(
            proto=0x6558,
            key_present=1,
            key=KEY,
            chksum_present=1,
            seqnum_present=1,
            sequence_number=7,
        ),
    ),
    Received(
        "NVGRE: VSID",
        {**GRE_KEYS, "nvgre": True},
        GRE(proto=0x6558, key_present=1, key=KEY << 8 | 0x9A),
    ),
    Received("GRE: IPv4", GRE_IP_KEYS, GRE(proto=0x0800, key_present=1, key=KEY)),
    Received("GRE: IPv6", GRE_IP_KEYS, GRE(proto=0x86DD, key_present=1, key=KEY), 6),
    Received(
        "VXLAN: group policy",
        {"type": "vxlan", "key": KEY, "gbp": True, "gbp_admit": 99},
        VXLAN(vni=KEY, flags=0x88, gpid=99),
    ),
    Received(
        "VXLAN: another group",
        {"type": "vxlan", "key": KEY, "gbp": True, "gbp_admit": 98},
        VXLAN(vni=KEY, flags=0x88, gpid=99),
        drop="vxlan_group_policy",
    ),
    Received("VXLAN-GPE: Ethernet", GPE_KEYS, gpe_header(3), maker=HAND),
    Received("VXLAN-GPE: IPv4", {**GPE_KEYS, "packet_type": "l3"}, gpe_header(1), maker=HAND),
    Received("VXLAN-GPE: IPv6", {**GPE_KEYS, "packet_type": "l3"}, gpe_header(2), 6, maker=HAND),
    geneve("known critical option", [KNOWN], critical=1),
    geneve("known critical option, C bit clear", [KNOWN], critical=0),
    geneve("unknown option", [option(0x0104, 0x02, b"\0" * 8)], critical=0),
    geneve("unknown critical option", [UNKNOWN_CRITICAL], 1, drop="geneve_critical_option"),
    Received("LISP: IPv4", LISP_KEYS, lisp_header(0, 0, 0), maker=HAND),
    Received("LISP: IPv6", LISP_KEYS, lisp_header(0, 0, 0), 6, maker=HAND),
    Received(
        "LISP: instance id",
        {**LISP_KEYS, "key": KEY},
        lisp_header(0x08, 0, KEY << 8),
        maker=HAND,
    ),
    Received(
        "LISP: nonce, status bits, instance id",
        {**LISP_KEYS, "key": KEY},
        lisp_header(0xC8, 0xABCDEF, KEY << 8 | 1),
        maker=HAND,
    ),
]


def has_arrived(bench: Bench, seen: Seen, family: int) -> bool:
    """The frame as it was inside. Through layer 3 its Ethernet header is new and it may be older."""
    packet = bench.inner(family, inward=True)
    if not bench.l3:
        return seen.data == bytes(Ether(src=vm_mac(2), dst=bench.machine.mac) / packet)
    if seen.destination != bench.machine.mac:
        return False
    found = (IP if family == 4 else IPv6)(seen.payload)
    aged = found.ttl if family == 4 else found.hlim
    again = bench.inner(family, inward=True)
    if family == 4:
        again.ttl = aged
    else:
        again.hlim = aged
    return 60 < aged <= 64 and seen.payload[: len(again)] == bytes(again)


@pytest.mark.parametrize(
    ("case", "family"), [case.param(family) for case in RECEIVED for family in (4, 6)]
)
def test_received(lab: Lab, build: Build, row: Row, case: Received, family: int) -> None:
    bench = Bench(lab, build, family, case.keys)
    packet = bench.inner(case.inner, inward=True)
    if not bench.l3:
        packet = Ether(src=vm_mac(2), dst=bench.machine.mac) / packet
    whole = bytes(bench.outer(str(case.keys["type"])) / case.header / packet)
    with PacketSocket(bench.machine.ns) as near, PacketSocket(bench.far) as far:
        far.send(whole)
        if case.drop:
            bench.host.daemon.wait_for_drops(case.drop)
            assert not near.take(lambda seen: MARK in seen.data)
            row.checksums = f"dropped: {case.drop}"
        else:
            seen = near.wait_for(lambda one: MARK in one.data)
            assert seen is not None and has_arrived(bench, seen, case.inner), seen
            row.checksums = "arrived as sent"
