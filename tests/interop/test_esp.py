# SPDX-License-Identifier: GPL-2.0-or-later
"""Culvert and the ESP of Debian's Linux kernel, in a QEMU guest, with configured keys.

    vm1 10.0.0.1 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ~ t0 10.0.0.2
                        h1         172.20.0.1               172.20.0.2  (guest)

Every row pings both ways in IPv4 and IPv6 and transfers both ways over TCP with the content
compared. Each packet of the wire is opened by scapy, and what was in it is held against what the
virtual machine sent and received.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet, Raw

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.esp import Sa, esp_of, open_all, pair, require_no_clear
from netlab.frames import PacketSocket, mac_bytes
from netlab.guest_esp import EspPeer
from netlab.lab import Lab, wait_until
from netlab.matrix import Row
from netlab.measure import ping, wait_for_ping
from netlab.topology import DEFAULT_KEY, Host, Vm, underlay_address, vm_mac

PEER = "Linux 6.1 ESP (guest)"
PINGS = 3
TCP_BYTES = 300_000
VM_MTU = 1400  # With ESP of VXLAN over IPv6 around it, less than the wire's 1600.
SPI = 0x1001
MARK = b"culvert-in-clear"  # As long as ping's pattern may be.
PORT = {"vxlan": 4789, "geneve": 6081}

# The first test of the run builds the guest's image and boots it.
pytestmark = pytest.mark.timeout(240)


@dataclasses.dataclass(frozen=True)
class Case:
    protocol: str
    algorithm: str
    family: int = 4
    esn: bool = True
    tunnel_mode: bool = False
    udp: bool = False

    @property
    def options(self) -> str:
        words = [self.algorithm, "ESN" if self.esn else "32-bit numbers"]
        words += ["tunnel mode"] if self.tunnel_mode else []
        return " ".join(words + (["in UDP"] if self.udp else []))

    def param(self) -> object:
        name = f"{self.protocol}-{self.options.replace(' ', '-')}-ipv{self.family}"
        mark = pytest.mark.row(PEER, self.protocol, self.options, f"IPv{self.family}")
        return pytest.param(self, id=name, marks=mark)

    @property
    def selector(self) -> str:
        """Of the packets that the guest encrypts, and takes encrypted alone."""
        port = PORT.get(self.protocol)
        return f"proto udp dport {port}" if port else "proto gre"

    def link(self, key: int = DEFAULT_KEY) -> tuple[str, str]:
        """Kind and options of the guest's tunnel."""
        remote, local = underlay_address(1, self.family), underlay_address(2, self.family)
        if self.protocol == "vxlan":
            return "vxlan", f"id {key} local {local} remote {remote} dev eth0 dstport 4789"
        if self.protocol == "geneve":
            return "geneve", f"id {key} remote {remote}"
        if self.family == 6:
            return "ip6gretap", f"local {local} remote {remote} key {key} encaplimit none"
        return "gretap", f"local {local} remote {remote} key {key}"


CASES = [
    Case("gre", "aes-gcm-128"),
    Case("gre", "aes-cbc-128-sha256"),
    Case("gre", "chacha20-poly1305", esn=False),
    Case("gre", "aes-gcm-256", family=6),
    Case("gre", "aes-gcm-256", tunnel_mode=True),
    Case("gre", "aes-cbc-256-sha256", esn=False, udp=True),
    Case("vxlan", "aes-gcm-256"),
    Case("vxlan", "aes-cbc-128-sha256", family=6),
    Case("vxlan", "aes-gcm-128", udp=True),
    Case("geneve", "aes-gcm-128", esn=False),
]


def esp_keys(
    directory: pathlib.Path, out: Sa, into: Sa, tunnel_mode: bool = False, udp: bool = False
) -> dict[str, object]:
    """[tunnel.esp] of Culvert, with the files that it names."""
    files = {}
    for word, sa in (("out", out), ("in", into)):
        path = directory / f"{sa.spi:x}.key"
        sa.write_key(path)
        files[f"key_{word}_file"] = str(path)
    return {
        **files,
        "algorithm": out.algorithm.name,
        "mode": "tunnel" if tunnel_mode else "transport",
        "spi_out": out.spi,
        "spi_in": into.spi,
        "esn": out.esn,
        "udp_encap": udp,
    }


def make_host(lab: Lab, build: Build, peer: EspPeer) -> Host:
    host = Host(lab, build, 1)
    peer.attach(host)
    host.config.daemon["state_dir"] = str(lab.directory)
    return host


def encrypted_pair(
    lab: Lab, build: Build, peer: EspPeer, case: Case, other_key: int | None = None
) -> tuple[Host, Vm, Sa, Sa]:
    """The host, its machine, and the associations: the host's outbound one first. `other_key`: of a
    second tunnel with associations of its own, which the guest does not have."""
    out, into = pair(SPI, case.algorithm, case.esn)
    host = make_host(lab, build, peer)
    machine = host.add_vm(1, mtu=VM_MTU)
    esp = esp_keys(lab.directory, out, into, case.tunnel_mode, case.udp)
    host.add_tunnel("t0", case.protocol, peer.underlay(case.family), esp=esp)
    if other_key is not None:
        other = esp_keys(lab.directory, *pair(SPI + 16, case.algorithm, case.esn))
        host.add_tunnel("other", case.protocol, peer.underlay(case.family), other_key, esp=other)
    peer.encrypt(case.selector, into, out, case.family, case.tunnel_mode, case.udp)
    if case.udp:
        peer.receive_udp_encapsulation()
    peer.add_tunnel(*case.link(), mtu=VM_MTU)
    host.start()
    wait_for_ping(machine.ns, peer.address())
    return host, machine, out, into


def is_in_udp(data: bytes) -> bool:
    ip, _esp = esp_of(data)
    return ip.payload.name == "UDP"


def spi_of(data: bytes) -> int | None:
    found = esp_of(data)
    return None if found is None else int.from_bytes(found[1][:4], "big")


def echoes(frames: list[bytes]) -> collections.Counter[bytes]:
    """The frames with an echo request or its answer."""
    found: collections.Counter[bytes] = collections.Counter()
    for data in frames:
        frame = Ether(data)
        ip = frame.getlayer(IP) or frame.getlayer(IPv6)
        if ip is not None and (
            (isinstance(ip, IP) and ip.proto == 1)
            or (isinstance(ip, IPv6) and ip.nh == 58 and bytes(ip.payload)[0] in (128, 129))
        ):
            found[data] += 1
    return found


def ping_all(machine: Vm, peer: EspPeer, row: Row) -> None:
    received = 0
    for family in (4, 6):
        received += ping(machine.ns, peer.address(family), count=PINGS).received
        received += peer.guest.ping(machine.address(family), count=PINGS, pattern=MARK.hex())
    row.ping = f"{received}/{4 * PINGS}"
    assert received == 4 * PINGS


@pytest.mark.parametrize("case", [case.param() for case in CASES])
def test_static_keys(lab: Lab, build: Build, esp_peer: EspPeer, row: Row, case: Case) -> None:
    host, machine, out, into = encrypted_pair(lab, build, esp_peer, case)
    refused = esp_peer.refused()
    secrets = [MARK, mac_bytes(machine.mac), mac_bytes(esp_peer.mac)]
    with Capture(esp_peer.guest.ns, "tap0") as wire, Capture(machine.ns, "eth0") as inner:
        ping_all(machine, esp_peer, row)
        frames = [seen.data for seen in wire.fetch()]
        counts = require_no_clear(frames, *secrets)
        assert set(counts) == {out.spi, into.spi}
        row.checksums = f"scapy opened {counts[out.spi]}+{counts[into.spi]}"
        opened = open_all(frames, (out, into))
        assert {key for _sa, key, _frame in opened} == {DEFAULT_KEY}
        sent = echoes([frame for _sa, _key, frame in opened])
        assert sent == echoes([seen.data for seen in inner.fetch()])
        assert sum(sent.values()) == 8 * PINGS
        assert {is_in_udp(data) for data in frames if esp_of(data)} == {case.udp}
        esp_peer.exchange_tcp(machine.ns, esp_peer.address(), TCP_BYTES, seed=1)
        row.tcp = f"{TCP_BYTES / 1e6:g} MB x 2"
        require_no_clear([seen.data for seen in wire.fetch()], *secrets)
    assert host.daemon.drops() == {}
    assert esp_peer.refused() == refused


def gre_packet(source: str, target: str, key: int) -> Packet:
    """A tunnel packet that nobody has encrypted."""
    frame = Ether(src=vm_mac(2), dst=vm_mac(1), type=0x88B5) / Raw(MARK * 3)
    ip = IP(src=source, dst=target, ttl=64)
    return ip / GRE(key_present=1, key=key, proto=0x6558) / frame


def cut(frame: bytes, size: int) -> bytes:
    """The frame's IPv4 packet with less at its end than it had, and a header that knows."""
    ip = IP(frame[14:size])
    ip.len, ip.chksum = size - 14, None
    return frame[:14] + bytes(ip)


@pytest.mark.row(PEER, "gre", "replayed, changed and foreign packets", "IPv4")
def test_packets_that_are_refused(lab: Lab, build: Build, esp_peer: EspPeer, row: Row) -> None:
    """A packet that the guest sent is kept from the host, then sent to it with a bit of each byte
    changed, as it was, and once more."""
    case = Case("gre", "aes-gcm-128")
    other_key = DEFAULT_KEY + 1
    host, machine, _out, into = encrypted_pair(lab, build, esp_peer, case, other_key)
    guest, cable = esp_peer.guest, f"to-{host.ns.name}"
    ends = esp_peer.underlay(4), host.underlay(4)
    guest.ns.ip("link", "set", "dev", cable, "nomaster")
    with Capture(guest.ns, "tap0") as wire:
        assert guest.ping(machine.address(), 1, pattern=MARK.hex(), wait_s=2) == 0
        kept = [seen.data for seen in wire.fetch() if esp_of(seen.data) is not None]
    packet = next(data for data in kept if MARK in open_all([data], (into,))[0][2])
    size = len(esp_of(packet)[1])
    start = len(packet) - size
    assert host.daemon.drops() == {}

    def arrived() -> int:
        return sum(echoes([seen.data for seen in inner.fetch()]).values())

    with (
        PacketSocket(guest.ns, cable) as sender,
        Capture(machine.ns, "eth0", incoming_only=True) as inner,
    ):
        for index in range(start, len(packet)):
            changed = bytearray(packet)
            # Of the number, which is small yet, none that was received results.
            changed[index] ^= 0x40
            sender.send(bytes(changed))
        host.daemon.wait_for_drops("esp_unknown_spi", 4)
        host.daemon.wait_for_drops("esp_not_authentic", size - 4)
        assert arrived() == 0
        sender.send(packet)
        wait_until(lambda: arrived() == 1, "the packet itself arrives")
        sender.send(packet)
        host.daemon.wait_for_drops("esp_replay")
        # Sealed with the right key, but it is another tunnel's, or no tunnel's at all.
        no_tunnel = IP(src=ends[0], dst=ends[1]) / UDP(dport=9) / Raw(MARK)
        for number, foreign in enumerate((gre_packet(*ends, other_key), no_tunnel)):
            sender.send(packet[:14] + bytes(into.seal(foreign, 1000 + number)))
        host.daemon.wait_for_drops("esp_policy", 2)
        sender.send(packet[:14] + bytes(gre_packet(*ends, DEFAULT_KEY)))
        host.daemon.wait_for_drops("esp_required")
        for shorter in (start + 11, start + 8 + 8 + 15):
            sender.send(cut(packet, shorter))
        host.daemon.wait_for_drops("esp_malformed", 2)
        assert arrived() == 1
        assert host.daemon.drops() == {
            **{"esp_unknown_spi": 4, "esp_not_authentic": size - 4, "esp_replay": 1},
            **{"esp_policy": 2, "esp_required": 1, "esp_malformed": 2},
        }
    guest.ns.ip("link", "set", "dev", cable, "master", "wire")
    wait_for_ping(machine.ns, esp_peer.address())
    row.ping = "refused, and counted"


NETWORKS = (1, 2, 3)


@pytest.mark.row(PEER, "gre", "three networks, each with its keys", "IPv4")
def test_networks_side_by_side(lab: Lab, build: Build, esp_peer: EspPeer, row: Row) -> None:
    """Between one pair of addresses. The guest tells its tunnels apart by the key of GRE."""
    guest, host = esp_peer.guest, make_host(lab, build, esp_peer)
    keys, machines = {}, {}
    for number in NETWORKS:
        keys[number] = out, into = pair(SPI + 16 * number, "aes-gcm-128", True)
        bridge, key = f"net{number}", 100 + number
        host.config.bridge(bridge)
        machines[number] = host.add_vm(number, bridge, mtu=VM_MTU)
        esp = esp_keys(lab.directory, out, into)
        host.add_tunnel(f"t{number}", "gre", esp_peer.underlay(4), key, bridge, esp=esp)
        esp_peer.encrypt(f"proto gre key {key}", into, out, reqid=number)
        kind, options = Case("gre", "aes-gcm-128").link(key)
        guest.sh(
            f"ip link add t{number} address {vm_mac(100 + number)} type {kind} {options}",
            f"ip link set t{number} mtu {VM_MTU} up",
            f"ip addr add 10.0.0.{100 + number}/32 dev t{number}",
            f"ip route add 10.0.0.{number}/32 dev t{number} src 10.0.0.{100 + number}",
        )
    host.start()
    for number, machine in machines.items():
        wait_for_ping(machine.ns, f"10.0.0.{100 + number}")
    captures = {number: Capture(machine.ns) for number, machine in machines.items()}
    with Capture(guest.ns, "tap0") as wire:
        received = 0
        for number, machine in machines.items():
            received += ping(machine.ns, f"10.0.0.{100 + number}", count=PINGS).received
            received += guest.ping(machine.address(), count=PINGS)
            # Nobody of this network has it: the question is flooded into the tunnel.
            ping(machine.ns, f"10.0.0.{200 + number}", count=1, wait_s=0.2)
        assert received == 2 * PINGS * len(NETWORKS)
        frames = [seen.data for seen in wire.fetch()]
    require_no_clear(frames, MARK, *(mac_bytes(one.mac) for one in machines.values()))
    for number, (out, into) in keys.items():
        opened = open_all([data for data in frames if spi_of(data) in (out.spi, into.spi)], (out, into))
        assert {key for _sa, key, _frame in opened} == {100 + number}
        ours = {machines[number].mac, vm_mac(100 + number)}
        assert {Ether(frame).src for _sa, _key, frame in opened} == ours
        seen = {Ether(one.data).src for one in captures[number].fetch()}
        assert seen == ours
        captures[number].__exit__()
    assert host.daemon.drops() == {}
    row.ping = f"{received}/{2 * PINGS * len(NETWORKS)}"
