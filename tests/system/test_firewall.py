# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's firewall on tunnel packets that never touch its kernel: the underlay's port is DPDK's.

    far  172.20.0.2, .3, fd20::2, ::3 ─ eth0 ───wire─── eth0 = p0 (net_af_packet) ┤br-phy├ 172.20.0.1
                                                        t-KIND-2, t-KIND-3 ┤br0├ vif ─ eth0  vm

The far end sends numbered frames through the tunnels of two peers; the machine says which came.
All tests share one laboratory, and each one takes its rules away.
"""

from __future__ import annotations

import collections
import contextlib
import ipaddress
import itertools
import pathlib
import re
import secrets
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from netlab.config import Config
from netlab.daemon import Build, Culvertd
from netlab.frames import ETHERTYPE_IPV6, ETHERTYPE_TEST, PacketSocket, Seen, frame
from netlab.frames import gre, ipv4, udp, vxlan
from netlab.lab import Lab, LabError, Namespace, wait_until

PEERS = (2, 3)
KINDS = ("gre", "vxlan", "geneve", "gre6")
KEYS = {"gre": 10, "vxlan": 20, "geneve": 30, "gre6": 40}
PORTS = {"vxlan": 4789, "geneve": 6081}
VM_MAC = "02:00:0a:00:00:01"
DEADLINE_S = 30.0
NOTHING_MORE = 20  # Frames in a row that do not arrive once a tunnel is closed.


def address(index: int, family: int = 4) -> str:
    return f"172.20.0.{index}" if family == 4 else f"fd20::{index}"


def family_of(kind: str) -> int:
    return 6 if kind == "gre6" else 4


def tunnel_name(kind: str, peer: int) -> str:
    return f"t-{kind}-{peer}"


def geneve(payload: bytes, vni: int) -> bytes:
    return struct.pack("!BBHI", 0, 0, 0x6558, vni << 8) + payload


def ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    ends = (ipaddress.IPv6Address(a).packed for a in (source, destination))
    return head + b"".join(ends) + payload


class Peer:
    """One end of one tunnel, which sends numbered frames."""

    def __init__(self, world: World, kind: str, index: int, source_port: int = 50000) -> None:
        self.world = world
        self.kind = kind
        self.index = index
        self.name = tunnel_name(kind, index)
        self.source_port = source_port
        self.sent: list[int] = []

    def send(self) -> None:
        number = next(self.world.numbers)
        inner_mac = f"02:00:0b:00:{KEYS[self.kind]:02x}:{self.index:02x}"
        inner = frame(inner_mac, VM_MAC, struct.pack("!I", number))
        self.sent.append(number)
        self.world.wire.send(self._outer(inner))

    def _outer(self, inner: bytes) -> bytes:
        family = family_of(self.kind)
        ends = address(self.index, family), address(1, family)
        if self.kind in ("gre", "gre6"):
            protocol, payload = 47, gre(inner, KEYS[self.kind])
        else:
            make = vxlan if self.kind == "vxlan" else geneve
            payload = udp(self.source_port, PORTS[self.kind], make(inner, KEYS[self.kind]))
            protocol = 17
        macs = self.world.far_mac, self.world.host_mac
        if family == 6:
            return frame(*macs, ipv6(*ends, protocol, payload), ETHERTYPE_IPV6)
        return frame(*macs, ipv4(*ends, protocol, payload), 0x0800)

    def arrived(self) -> int:
        self.world.take()
        return sum(number in self.world.seen for number in self.sent)

    def all_arrived(self) -> bool:
        return self.arrived() == len(self.sent)


class World:
    """The laboratory with its daemon; `rules` gives a test the firewall."""

    def __init__(self, lab: Lab, build: Build) -> None:
        self.lab = lab
        self.build = build
        self.host = lab.namespace("h1")
        self.far = lab.namespace("far")
        self.machine = lab.namespace("vm")
        lab.wire(self.host, "eth0", self.far, "eth0", mtu=1600)
        lab.wire(self.machine, "eth0", self.host, "vif", a_mac=VM_MAC)
        for peer in PEERS:
            self.far.add_address("eth0", f"{address(peer, 4)}/24")
            self.far.add_address("eth0", f"{address(peer, 6)}/64")
        self.config = self.standard_config()
        self.daemon = Culvertd(self.host, build, self.config).start()
        self.far_mac = self.far.mac("eth0")
        self.host_mac = self.host.mac("br-phy")
        self.wire = PacketSocket(self.far)
        self.inside = PacketSocket(self.machine)
        self.numbers = itertools.count()
        self.seen: collections.Counter[int] = collections.Counter()
        for kind in KINDS:
            for index in PEERS:
                self.expect_open(self.peer(kind, index))

    def close(self) -> None:
        self.wire.close()
        self.inside.close()

    @staticmethod
    def standard_config() -> Config:
        config = Config()
        addresses = [f"{address(1, 4)}/24", f"{address(1, 6)}/64"]
        config.bridge("br-phy", local={"addresses": addresses, "mtu": 1600})
        config.port("p0", "br-phy", kind="dpdk", devargs="net_af_packet0,iface=eth0")
        config.bridge("br0", static_mac=[{"mac": VM_MAC, "port": "vif"}], split_horizon=True)
        config.port("vif", "br0", kind="linux")
        for kind in KINDS:
            for peer in PEERS:
                config.tunnel(
                    tunnel_name(kind, peer),
                    "br0",
                    type=kind.rstrip("6"),
                    remote_ip=address(peer, family_of(kind)),
                    key=KEYS[kind],
                )
        return config

    def peer(self, kind: str, index: int, source_port: int = 50000) -> Peer:
        return Peer(self, kind, index, source_port)

    def take(self) -> None:
        def is_ours(seen: Seen) -> bool:
            return seen.ethertype == ETHERTYPE_TEST and seen.destination == VM_MAC

        for seen in self.inside.take(is_ours):
            self.seen[struct.unpack("!I", seen.payload[:4])[0]] += 1

    def send_until(self, peers: list[Peer], condition: Callable[[], bool], what: str) -> None:
        """Each peer sends a frame, and again, until the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(f"waited {DEADLINE_S:g} s in vain until {what}")
            for peer in peers:
                peer.send()
            time.sleep(0.005)
            self.take()

    def expect_open(self, peer: Peer, others: list[Peer] | None = None) -> None:
        def last_came() -> bool:
            return bool(peer.sent) and peer.sent[-1] in self.seen

        peer.sent.clear()
        self.send_until([peer, *(others or [])], last_came, f"{peer.name} is open")

    def expect_closed(self, peer: Peer, others: list[Peer] | None = None) -> None:
        """Nothing comes through any more, and all of it is counted as what it is."""

        def nothing_comes() -> bool:
            last = peer.sent[-NOTHING_MORE:]
            return len(last) == NOTHING_MORE and not any(number in self.seen for number in last)

        def dropped() -> int:
            return self.daemon.drops(peer.name).get("firewall", 0)

        peer.sent.clear()
        self.send_until([peer, *(others or [])], nothing_comes, f"{peer.name} is closed")
        wait_until(dropped, f"{peer.name} counts drops as firewall", DEADLINE_S)
        before = dropped()
        for _ in range(NOTHING_MORE):
            peer.send()
        wait_until(
            lambda: dropped() == before + NOTHING_MORE, f"{peer.name} drops all", DEADLINE_S
        )
        assert not any(number in self.seen for number in peer.sent[-NOTHING_MORE:])

    def verdict(self, kind: str, index: int) -> dict:
        return self.daemon.ctl_json("show", "tunnel", tunnel_name(kind, index))["firewall"]

    def wait_for_verdict(self, kind: str, index: int, verdict: str) -> dict:
        def found() -> dict | None:
            shown = self.verdict(kind, index)
            return shown if shown["verdict"] == verdict else None

        return wait_until(found, f"{kind} of {index} is {verdict}", DEADLINE_S, 0.1)

    def configure(self, **firewall: object) -> None:
        """Applies [firewall] with these keys and no others; tunnels as they are in `config`."""
        self.config.sections["firewall"] = firewall
        self.daemon.reload()

    def reset(self) -> None:
        for tool in ("iptables-legacy", "ip6tables-legacy"):
            self.host.run(tool, "-w", "-P", "INPUT", "ACCEPT")
            self.host.run(tool, "-w", "-F")
            self.host.run(tool, "-w", "-X")
        for table in ("inet t", "ip filter", "ip6 filter"):
            self.host.run("nft", "delete", "table", *table.split(), check=False)
        self.config.tunnels = self.standard_config().tunnels
        self.configure()
        self.seen.clear()
        for kind in KINDS:
            self.wait_for_verdict(kind, 2, "admitted")


@pytest.fixture(scope="module")
def lab(environment: None) -> Iterator[Lab]:
    """One for all tests here."""
    with Lab() as laboratory:
        yield laboratory


@pytest.fixture(scope="module")
def whole_world(lab: Lab, build: Build) -> Iterator[World]:
    world = World(lab, build)
    yield world
    world.close()


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    yield whole_world
    whole_world.reset()


def closing_rule(tool: str, kind: str, peer: int) -> tuple[list[list[str]], list[list[str]]]:
    """The commands that put a rule before all others, and that take it away."""
    source = address(peer, family_of(kind))
    if tool == "nft":
        chain = "type filter hook input priority 0 ; policy accept ;"
        family = "ip6" if kind == "gre6" else "ip"
        what = f"udp dport {PORTS[kind]}" if kind in PORTS else "meta l4proto gre"
        rule = f"insert rule inet t input {family} saddr {source} {what} drop"
        return (
            [
                ["nft", "add", "table", "inet", "t"],
                ["nft", "add", "chain", "inet", "t", "input", f"{{ {chain} }}"],
                ["nft", *rule.split()],
            ],
            [["nft", "flush", "chain", "inet", "t", "input"]],
        )
    if kind == "gre6":
        tool = tool.replace("iptables", "ip6tables")
    match = ["-p", "udp", "--dport", str(PORTS[kind])] if kind in PORTS else ["-p", "gre"]
    rule = ["INPUT", *match, "-s", source, "-j", "DROP"]
    return [[tool, "-w", "-I", *rule]], [[tool, "-w", "-D", *rule]]


@contextlib.contextmanager
def closed(host: Namespace, tool: str, kind: str, peer: int) -> Iterator[None]:
    insert, delete = closing_rule(tool, kind, peer)
    for command in insert:
        host.run(*command)
    yield
    for command in delete:
        host.run(*command)


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        ("iptables-legacy", "gre"),
        ("iptables-legacy", "vxlan"),
        ("iptables-legacy", "gre6"),
        ("nft", "gre"),
        ("nft", "geneve"),
        ("nft", "gre6"),
        ("iptables-nft", "gre"),
        ("iptables-nft", "vxlan"),
    ],
)
def test_a_rule_closes_one_peer_and_disturbs_no_other(world: World, tool: str, kind: str) -> None:
    peer, other = (world.peer(kind, index) for index in PEERS)
    with closed(world.host, tool, kind, 2):
        world.expect_closed(peer, [other])
        shown = world.verdict(kind, 2)
        assert shown["verdict"] == "dropped" and not shown["lets_in"], shown
        assert "INPUT" in shown["rule"] or "input" in shown["rule"], shown
        assert world.verdict(kind, 3)["verdict"] == "admitted"
    world.expect_open(peer, [other])
    wait_until(other.all_arrived, "all frames of the other peer are there", DEADLINE_S)
    assert world.daemon.drops(other.name).get("firewall", 0) == 0
    assert max(world.seen.values()) == 1


def xenserver_chains(host: Namespace) -> None:
    """What dom0 has: xapi-INPUT, then RH-Firewall-1-INPUT, which ends in REJECT."""

    def add(*arguments: str) -> None:
        host.run("iptables-legacy", "-w", *arguments)

    tcp_new = ["-p", "tcp", "-m", "conntrack", "--ctstate", "NEW", "-m", "tcp", "--dport"]
    redhat = "RH-Firewall-1-INPUT"
    add("-N", redhat)
    add("-A", "INPUT", "-j", redhat)
    add("-A", redhat, "-i", "lo", "-j", "ACCEPT")
    add("-A", redhat, "-p", "icmp", "--icmp-type", "any", "-j", "ACCEPT")
    add("-A", redhat, "-p", "udp", "-i", "xenapi", "--dport", "67", "-j", "ACCEPT")
    add("-A", redhat, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
    for port in ("22", "80", "443"):
        add("-A", redhat, *tcp_new, port, "-j", "ACCEPT")
    add("-A", redhat, "-j", "REJECT", "--reject-with", "icmp-host-prohibited")
    add("-N", "xapi-INPUT")
    add("-I", "INPUT", "-j", "xapi-INPUT")
    add("-A", "xapi-INPUT", *tcp_new, "8443", "-j", "ACCEPT")
    add("-A", "xapi-INPUT", "-j", "RETURN")


def test_on_xenserver_gre_passes_only_once_it_is_enabled(world: World) -> None:
    xenserver_chains(world.host)
    peer = world.peer("gre", 2)
    world.expect_closed(peer)
    assert "RH-Firewall-1-INPUT" in world.verdict("gre", 2)["rule"]
    world.host.run(world.build.culvert_ctl, "enable-protocol", "gre")
    world.expect_open(peer)
    world.expect_closed(world.peer("vxlan", 2))
    world.host.run(world.build.culvert_ctl, "disable-protocol", "gre")
    world.expect_closed(peer)


def test_a_rule_about_the_senders_port_judges_each_flow(world: World) -> None:
    rule = ["INPUT", "-p", "udp", "--sport", "40001", "--dport", "4789", "-j", "DROP"]
    world.host.run("iptables-legacy", "-w", "-I", *rule)
    refused, admitted = (world.peer("vxlan", 2, port) for port in (40001, 40002))
    world.expect_closed(refused, [admitted])
    world.expect_open(admitted, [refused])
    wait_until(admitted.all_arrived, "all frames of the other flow are there", DEADLINE_S)
    assert world.verdict("vxlan", 2)["verdict"] == "by port"
    assert world.verdict("gre", 2)["verdict"] == "admitted"


def test_a_set_of_peers_is_followed(world: World) -> None:
    peer, other = (world.peer("gre", index) for index in PEERS)
    world.host.run("ipset", "create", "peers", "hash:ip")
    try:
        world.host.run("iptables-legacy", "-w", "-P", "INPUT", "DROP")
        rule = ["INPUT", "-m", "set", "--match-set", "peers", "src", "-j", "ACCEPT"]
        world.host.run("iptables-legacy", "-w", "-I", *rule)
        world.expect_closed(peer)
        world.host.run("ipset", "add", "peers", address(2))
        world.expect_open(peer)
        world.expect_closed(other, [peer])
        world.host.run("ipset", "del", "peers", address(2))
        world.expect_closed(peer)
    finally:
        world.host.run("iptables-legacy", "-w", "-F")
        world.host.run("ipset", "destroy", "peers")


def test_what_cannot_be_evaluated_goes_by_the_configuration(world: World) -> None:
    peer = world.peer("gre", 2)
    rule = ["INPUT", "-p", "gre", "-m", "recent", "--name", "bad", "--rcheck", "-j", "DROP"]
    world.host.run("iptables-legacy", "-w", "-I", *rule)
    shown = world.wait_for_verdict("gre", 2, "unknown")
    assert shown["lets_in"] and "recent" in shown["unknowns"][0], shown
    world.expect_open(peer)
    assert "cannot be evaluated; packets that depend on it are let in" in world.daemon.log()
    world.configure(unknown="drop")
    world.expect_closed(peer)
    tree = world.daemon.ctl_json("firewall", "show")
    assert tree["not_evaluable"] == 1 and "recent" in tree["not_evaluable_rules"][0], tree
    assert tree["policy_in"] == ["iptables-legacy"], tree


def test_without_enforce_everything_is_let_in(world: World) -> None:
    peer = world.peer("gre", 2)
    world.host.run("iptables-legacy", "-w", "-P", "INPUT", "DROP")
    world.expect_closed(peer)
    world.configure(enforce=False)
    world.expect_open(peer)
    assert "(not enforced)" in world.daemon.ctl("show").stdout
    world.configure(enforce=True)
    world.expect_closed(peer)


def input_rules(host: Namespace, tool: str = "iptables-legacy") -> list[str]:
    lines = host.run(tool, "-w", "-S", "INPUT").stdout.splitlines()
    return [line for line in lines if line.startswith("-A")]


def test_gre_is_kept_open(world: World) -> None:
    peer = world.peer("gre", 2)
    world.host.run("iptables-legacy", "-w", "-P", "INPUT", "DROP")
    world.host.run("ip6tables-legacy", "-w", "-P", "INPUT", "DROP")
    world.expect_closed(peer)
    world.configure(manage="gre")
    world.expect_open(peer)
    world.expect_open(world.peer("gre6", 2))
    world.expect_closed(world.peer("vxlan", 2))
    ours = input_rules(world.host)
    assert len(ours) == 1 and "-p gre" in ours[0] and "culvert auto gre" in ours[0], ours
    world.host.run("iptables-legacy", "-w", "-F", "INPUT")
    wait_until(lambda: input_rules(world.host) == ours, "the rule is back", DEADLINE_S, 0.1)
    world.expect_open(peer)
    world.configure(manage="off")
    world.expect_closed(peer)
    assert input_rules(world.host) == input_rules(world.host, "ip6tables-legacy") == []


def sources_of(host: Namespace, protocol: str, tool: str = "iptables-legacy") -> set[str]:
    """From where rules of INPUT take packets of the protocol."""
    found = (re.search(rf"-s (\S+) -p {protocol}", rule) for rule in input_rules(host, tool))
    return {match[1] for match in found if match}


def test_of_an_encrypted_tunnel_esp_is_opened_and_judged_too(
    world: World, tmp_path: pathlib.Path
) -> None:
    keys = [tmp_path / name for name in ("in", "out")]
    for key in keys:
        key.write_text(secrets.token_hex(36))
        key.chmod(0o600)
    world.host.run("iptables-legacy", "-w", "-P", "INPUT", "DROP")
    world.config.tunnels = [t for t in world.config.tunnels if t["name"] == tunnel_name("gre", 2)]
    world.config.tunnels[0]["esp"] = {
        "spi_in": 0x1001,
        "spi_out": 0x1002,
        "key_in_file": str(keys[0]),
        "key_out_file": str(keys[1]),
    }
    world.configure(manage="tunnels")
    peer = {f"{address(2)}/32"}
    wait_until(lambda: sources_of(world.host, "esp") == peer, "ESP is open", DEADLINE_S, 0.1)
    assert sources_of(world.host, "gre") == peer and sources_of(world.host, "udp") == set()
    world.wait_for_verdict("gre", 2, "admitted")
    world.host.run("iptables-legacy", "-w", "-I", "INPUT", "-p", "esp", "-j", "DROP")
    shown = world.wait_for_verdict("gre", 2, "dropped")
    assert "-p esp -j DROP" in shown["rule"], shown
    # A key that others may read is not taken, nor shown.
    keys[0].chmod(0o644)
    refused = world.daemon.ctl("reload", check=False)
    assert refused.returncode != 0
    assert "mode 0644" in refused.stderr and "the running configuration stays" in refused.stderr
    shown = world.daemon.ctl("show", "tunnel", tunnel_name("gre", 2)).stdout
    assert str(keys[0]) in shown and "aes-gcm-256" in shown
    for key in keys:
        assert key.read_text() not in shown + refused.stderr + world.daemon.log()


def test_tunnels_are_opened_and_closed_with_the_last(world: World) -> None:
    def sources(protocol: str, tool: str = "iptables-legacy") -> set[str]:
        return sources_of(world.host, protocol, tool)

    world.host.run("iptables-legacy", "-w", "-P", "INPUT", "DROP")
    world.host.run("ip6tables-legacy", "-w", "-P", "INPUT", "DROP")
    theirs = ["-A", "INPUT", "-s", "192.0.2.0/24", "-j", "ACCEPT"]
    world.host.run("iptables-legacy", "-w", *theirs)
    world.configure(manage="tunnels")
    for kind in KINDS:
        world.expect_open(world.peer(kind, 2))
        world.expect_open(world.peer(kind, 3))
    both = {f"{address(peer)}/32" for peer in PEERS}
    assert sources("gre") == both and sources("udp") == both
    assert sources("gre", "ip6tables-legacy") == {f"{address(peer, 6)}/128" for peer in PEERS}
    world.config.tunnels = [t for t in world.config.tunnels if t["name"] == "t-gre-3"]
    world.configure(manage="tunnels")
    wait_until(lambda: sources("gre") == {f"{address(3)}/32"}, "one is left", DEADLINE_S, 0.1)
    world.expect_open(world.peer("gre", 3))
    assert sources("udp") == set()
    world.config.tunnels = []
    world.configure(manage="tunnels")
    wait_until(
        lambda: input_rules(world.host) == [" ".join(theirs)], "all are closed", DEADLINE_S, 0.1
    )
