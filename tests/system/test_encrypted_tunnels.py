# SPDX-License-Identifier: GPL-2.0-or-later
"""Encrypted tunnels between two hosts with keys from files: what is on the wire, over the whole life of
a tunnel, and what is done to it there."""

from __future__ import annotations

import signal

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN

from netlab.capture import Capture
from netlab.daemon import Build
from netlab.sealed import (
    Direction,
    assert_sealed,
    associations,
    encrypt_pair,
    is_clear_tunnel,
    is_esp,
    spi_and_sequence,
)
from netlab.frames import PacketSocket, mac_bytes
from netlab.lab import Lab, Process, wait_until
from netlab.topology import DEFAULT_KEY, Host, Vm, connect, tunnel_pair, vm_address
from netlab.transfer import tcp_both_ways

MARK = b"culvert!"
OCTETS = 2 << 20


def ping(vm: Vm, index: int, count: int = 3, family: int = 4, check: bool = True) -> bool:
    """Pings another machine with MARK in each packet."""
    done = vm.ns.run(
        "ping", f"-{family}", "-c", count, "-i", "0.05", "-W", "2", "-p", MARK.hex(),
        vm_address(index, family), check=check)
    return done.returncode == 0


def flood_of(vm: Vm, index: int) -> Process:
    """Pings another machine with MARK until it is ended."""
    return vm.ns.spawn("ping", "-i", "0.02", "-p", MARK.hex(), vm_address(index, 4))


def end(flood: Process) -> None:
    flood.send_signal(signal.SIGINT)
    assert flood.wait() in (0, 1)  # 1: no answer came, of which the test has its own opinion.


def wait_for_keys(*hosts: Host, tunnel: str = "t0") -> None:
    for host in hosts:
        wait_until(
            lambda h=host: h.daemon.shown(tunnel)["encryption"]["state"] == "established",
            f"{tunnel} has its keys at {host.ns.name}")


def opened(direction: Direction, frames: list[bytes], extended: bool = True) -> list[bytes]:
    """The tunnel packets in the frames of an SA, from their IP header on."""
    return [bytes(direction.open(frame, extended)) for frame in frames
            if spi_and_sequence(frame)[0] == direction.spi]


@pytest.mark.parametrize(
    ("kind", "family", "algorithm", "keys"),
    [
        ("gre", 4, "aes-gcm-256", {}),
        ("gre", 6, "aes-cbc-256-sha256", {"esn": False}),
        ("vxlan", 4, "chacha20-poly1305", {}),
        ("vxlan", 6, "aes-gcm-128", {"mode": "tunnel"}),
    ],
)
def test_what_is_on_the_wire_opens_with_the_keys(
    lab: Lab, build: Build, kind: str, family: int, algorithm: str, keys: dict
) -> None:
    a, b = tunnel_pair(lab, build, kind, family, start=False)
    forth, back = encrypt_pair(a, b, algorithm=algorithm, **keys)
    with Capture(b.ns) as wire:
        for host in (a, b):
            host.start()
        wait_for_keys(a, b)
        ping(a.vms[0], 2)
        ping(b.vms[0], 1, family=6)
        sealed = assert_sealed(wire.fetch(), [MARK, DEFAULT_KEY.to_bytes(3, "big") + b"\0"])
    extended = keys.get("esn", True)
    for direction, host in ((forth, a), (back, b)):
        inner = opened(direction, sealed, extended)
        with_mark = [packet for packet in inner if MARK in packet]
        assert len(with_mark) >= 6, "echo requests one way, replies the other"
        for data in inner:
            packet = (IP if family == 4 else IPv6)(data)
            assert packet.src == host.underlay(family)
            header = packet[GRE] if kind == "gre" else packet[VXLAN]
            assert (header.key if kind == "gre" else header.vni) == DEFAULT_KEY
            assert Ether in packet
        other_host = b if host is a else a

        def counters(at: Host, spi: int = direction.spi) -> tuple[int, int]:
            shown = associations(at)[spi]
            return shown["packets"], shown["bytes"]

        wait_until(
            lambda one=host, two=other_host: counters(one) == counters(two),
            "both ends have counted the same")
        shown = associations(host)[direction.spi]
        assert shown["packets"] >= len(inner)
        assert shown["algorithm"] == algorithm
        assert shown["state"] == "in use"
        assert associations(other_host)[direction.spi]["state"] == "accepted"
        rows = {int(row["spi"], 16): row for row in host.daemon.ctl_json("sa", "list")}
        assert set(rows) == {forth.spi, back.spi}
        assert rows[direction.spi]["packets"] >= len(inner)
        one = host.daemon.ctl_json("sa", "show", hex(direction.spi))["associations"]
        assert [found["spi"] for found in one] == [f"{direction.spi:#010x}"]
        refusal = host.daemon.ctl("sa", "show", "t9", check=False).stderr
        assert "no encrypted tunnel is named" in refusal
    for host in (a, b):
        assert host.daemon.drops("t0") == {}
        for text in (host.daemon.ctl("sa", "show").stdout, host.daemon.log()):
            assert forth.sa.key.hex() not in text and back.sa.key.hex() not in text


def test_large_packets_are_carried_and_path_mtu_is_told(lab: Lab, build: Build) -> None:
    """TCP of full speed through a wire that holds no more than the machines' own packets: segments
    become as small as the headers of ESP want them."""
    a, b = tunnel_pair(lab, build, "gre", 4, mtu=1500, start=False)
    encrypt_pair(a, b)
    with Capture(b.ns) as wire:
        for host in (a, b):
            host.start()
        wait_for_keys(a, b)
        ping(a.vms[0], 2)
        tcp_both_ways(a.vms[0].ns, b.vms[0].ns, vm_address(2, 4), OCTETS, seed=1)
        sealed = assert_sealed(wire.fetch(), [MARK])
    assert max(len(frame) for frame in sealed) <= 14 + 1500
    assert sum(len(frame) for frame in sealed) > 2 * OCTETS


def test_without_keys_nothing_leaves(lab: Lab, build: Build) -> None:
    """The folder of the sequence numbers is no folder at host 1; host 2 asks an IKE daemon that is not
    there."""
    a, b = tunnel_pair(lab, build, "gre", 4, start=False)
    encrypt_pair(a, b)
    state = lab.directory / "no-folder"
    state.write_text("", encoding="ascii")
    a.config.daemon["state_dir"] = str(state)
    del b.config.find_tunnel("t0")["esp"]
    psk = lab.directory / "psk"
    psk.touch(mode=0o600)
    psk.write_text("secret", encoding="ascii")
    b.config.find_tunnel("t0")["ike"] = {"psk_file": str(psk)}
    b.config.section("ike", vici=str(lab.directory / "no-charon.vici"))
    with Capture(b.ns) as wire:
        for host in (a, b):
            host.start()
        for host in (a, b):
            host.wait_for_next_hop()
        assert not ping(a.vms[0], 2, check=False)
        assert not ping(b.vms[0], 1, check=False)
        for host in (a, b):
            host.daemon.wait_for_drops("esp_required")
            encryption = host.daemon.shown("t0")["encryption"]
            assert encryption["state"] == "no key"
            assert encryption["trouble"]
        assert assert_sealed(wire.fetch(), [MARK]) == []
        # When the folder can be had, it goes on by itself.
        state.unlink()
        wait_for_keys(a)
        a.vms[0].ns.run("ping", "-c", "1", "-W", "0.2", vm_address(2, 4), check=False)
        wait_until(
            lambda: assert_sealed(wire.fetch(), [MARK]), "what host 1 sends is on the wire")


def test_a_packet_in_clear_is_not_accepted(lab: Lab, build: Build) -> None:
    a, b = tunnel_pair(lab, build, "gre", 4, start=False)
    encrypt_pair(a, b)
    del a.config.find_tunnel("t0")["esp"]  # Host 1 sends in clear.
    for host in (a, b):
        host.start()
    for host in (a, b):
        host.wait_for_next_hop()
    with PacketSocket(b.vms[0].ns) as machine:
        assert not ping(a.vms[0], 2, check=False)
        b.daemon.wait_for_drops("esp_required")
        assert machine.take(lambda one: MARK in one.data) == []


def test_from_clear_to_encrypted_while_packets_flow(lab: Lab, build: Build) -> None:
    """The first packet after the change is sealed."""
    a, b = tunnel_pair(lab, build, "gre", 4)
    ping(a.vms[0], 2)
    encrypt_pair(a, b)
    with Capture(b.ns) as wire:
        flood = flood_of(a.vms[0], 2)
        wait_until(lambda: any(MARK in one.data for one in wire.fetch()), "pings leave in clear")
        b.daemon.reload()
        a.daemon.reload()
        senders = [mac_bytes(host.ns.mac("br-phy")) for host in (a, b)]
        wait_until(
            lambda: {one.data[6:12] for one in wire.fetch() if is_esp(one.data)} == set(senders),
            "both send ESP")
        end(flood)
        frames = [one.data for one in wire.fetch()]
    for sender in senders:
        sent = [data for data in frames if data[6:12] == sender]
        kinds = [is_esp(data) for data in sent if is_esp(data) or is_clear_tunnel(data)]
        assert False in kinds and True in kinds
        assert False not in kinds[kinds.index(True) :], "one left in clear after the change"
    ping(a.vms[0], 2)


def test_kill_minus_nine_repeats_no_number(lab: Lab, build: Build) -> None:
    """Over three lives of a daemon that is killed amid traffic the wire sees no byte in clear and no
    sequence number twice, and nothing comes in twice at the other host."""
    a, b = tunnel_pair(lab, build, "vxlan", 4, start=False)
    forth, _ = encrypt_pair(a, b)
    with Capture(b.ns) as wire:
        for host in (a, b):
            host.start()
        wait_for_keys(a, b)
        ping(a.vms[0], 2)
        flood = flood_of(a.vms[0], 2)
        lives = []
        for _life in range(3):
            before = len([one for one in wire.fetch() if is_esp(one.data)])
            wait_until(
                lambda n=before: len([o for o in wire.fetch() if is_esp(o.data)]) > n + 20,
                "packets are on the wire")
            lives.append(associations(a)[forth.spi]["sequence"])
            assert a.daemon.stop(signal.SIGKILL) == -signal.SIGKILL
            a.daemon.start()
            wait_for_keys(a)
        end(flood)
        ping(a.vms[0], 2)
        lives.append(associations(a)[forth.spi]["sequence"])

        def all_received() -> bool:
            sent = [f.data for f in wire.fetch() if is_esp(f.data)]
            sent = [data for data in sent if spi_and_sequence(data)[0] == forth.spi]
            return associations(b)[forth.spi]["packets"] == len(sent)

        wait_until(all_received, "all that was sent came in, once")
        sealed = assert_sealed(wire.fetch(), [MARK])
    assert all(later - earlier > 1 << 20 for earlier, later in zip(lives, lives[1:]))
    assert opened(forth, sealed), "they are of the key"
    assert associations(b)[forth.spi]["drops"]["replayed"] == 0


def test_three_networks_between_two_hosts_do_not_mix(lab: Lab, build: Build) -> None:
    a, b = Host(lab, build, 1), Host(lab, build, 2)
    connect(a, b)
    directions = {}
    for number in range(3):
        for host, other in ((a, b), (b, a)):
            host.config.bridge(f"net{number}")
            host.add_vm(10 * host.index + number, f"net{number}")
            host.add_tunnel(
                f"t{number}", "gre", other.underlay(4), 100 + number, f"net{number}")
        directions[number] = encrypt_pair(a, b, f"t{number}", 0x1000 + 0x100 * number)
    for host in (a, b):
        host.start()
    for number in range(3):
        wait_for_keys(a, b, tunnel=f"t{number}")
    with Capture(b.ns) as wire:
        for number in range(3):
            ping(a.vms[number], 20 + number)
            assert not ping(a.vms[number], 20 + (number + 1) % 3, count=1, check=False)
        sealed = assert_sealed(wire.fetch(), [MARK])
    for number, (forth, back) in directions.items():
        for direction in (forth, back):
            inner = [IP(data) for data in opened(direction, sealed)]
            assert inner, f"t{number} has its own SAs"
            assert {packet[GRE].key for packet in inner} == {100 + number}
    # A host that knows the key of one network sends into another one with it.
    forth, _ = directions[0]
    intruder = (
        IP(src=a.underlay(4), dst=b.underlay(4)) / GRE(key_present=1, key=101, proto=0x6558)
        / Ether(src="02:00:00:00:00:66", dst=b.vms[1].mac) / IP(src="10.0.0.66", dst="10.0.0.21")
        / UDP(sport=7, dport=9) / MARK)
    frame = Ether(src=a.ns.mac("br-phy"), dst=b.ns.mac("br-phy")) / forth.seal(intruder, 100_000)
    with PacketSocket(b.vms[1].ns) as machine, PacketSocket(a.ns) as wire_end:
        wire_end.send(bytes(frame))
        b.daemon.wait_for_drops("esp_policy")
        assert machine.take(lambda one: MARK in one.data) == []


def test_what_is_done_to_packets_on_their_way_is_refused(lab: Lab, build: Build) -> None:
    a, b = tunnel_pair(lab, build, "gre", 4, start=False)
    forth, _ = encrypt_pair(a, b)
    for host in (a, b):
        host.start()
    wait_for_keys(a, b)
    with Capture(b.ns) as wire:
        ping(a.vms[0], 2)
        recorded = [frame for frame in assert_sealed(wire.fetch(), [MARK])
                    if spi_and_sequence(frame)[0] == forth.spi]
    assert len(recorded) >= 3

    def refused() -> dict:
        return associations(b)[forth.spi]["drops"]

    with PacketSocket(a.ns) as wire_end:
        with PacketSocket(b.vms[0].ns) as machine:
            for frame in recorded:
                wire_end.send(frame)
            wait_until(lambda: refused()["replayed"] == len(recorded), "replays are counted")
            assert machine.take(lambda one: MARK in one.data) == []
        assert b.daemon.drops()["esp_replay"] == len(recorded)
        changed = 0
        for at in range(14 + 20 + 16, len(recorded[-1]), 7):
            data = bytearray(recorded[-1])
            data[at] ^= 0x10
            data[14 + 20 + 4 : 14 + 20 + 8] = (50_000 + at).to_bytes(4, "big")
            wire_end.send(bytes(data))
            changed += 1
        wait_until(lambda: refused()["not_authentic"] == changed, "changed ones are counted")
        data = bytearray(recorded[-1])
        data[14 + 20 : 14 + 24] = (0x7777).to_bytes(4, "big")
        wire_end.send(bytes(data))
        b.daemon.wait_for_drops("esp_unknown_spi")
        # A restart forgets nothing of it: not orderly, and not after a kill.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if number == signal.SIGKILL:  # What came in is noted once a second.
                state = lab.directory / f"{b.daemon.name}.state" / "esp-received"
                written = state.stat().st_mtime_ns
                ping(a.vms[0], 2)
                wait_until(lambda w=written: state.stat().st_mtime_ns != w, "it is noted")
            b.daemon.stop(number)
            b.daemon.start()
            wait_for_keys(b)
            for frame in recorded:
                wire_end.send(frame)
            wait_until(
                lambda: refused()["replayed"] + refused()["late"] == len(recorded),
                "replays are counted after a restart")
    ping(a.vms[0], 2)


def test_lifetimes_end_what_is_sent(lab: Lab, build: Build) -> None:
    a, b = tunnel_pair(lab, build, "gre", 4, start=False)
    forth, _ = encrypt_pair(a, b)
    a.config.find_tunnel("t0")["esp"].update(soft_packets=20, hard_packets=40)
    with Capture(b.ns) as wire:
        for host in (a, b):
            host.start()
        wait_for_keys(a, b)
        ping(a.vms[0], 2, count=60, check=False)
        wait_until(
            lambda: a.daemon.shown("t0")["encryption"]["state"] == "no key", "the SA has ended")
        sealed = assert_sealed(wire.fetch(), [MARK])
    numbers = [spi_and_sequence(f)[1] for f in sealed if spi_and_sequence(f)[0] == forth.spi]
    assert max(numbers) == 40
    assert "hard lifetime of 40 packets" in a.daemon.shown("t0")["encryption"]["trouble"]
    warnings = [line for line in a.daemon.log().splitlines()
                if "outbound SA" in line and "soft lifetime of 20 packets" in line]
    assert len(warnings) == 1
    a.daemon.wait_for_drops("esp_required")
