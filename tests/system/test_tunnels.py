# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes into a tunnel comes out of it: every byte, once, in order, with and without offloads.

    vm1 eth0 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ─ br-phy ~ t0 ┤br0├ vif2 ─ eth0 vm2
    10.0.0.1        h1         172.20.0.1               172.20.0.2         h2        10.0.0.2
"""

from __future__ import annotations

import pathlib

import pytest

from netlab import frames
from netlab.daemon import Build
from netlab.frames import BROADCAST, PacketSocket, Seen, frame
from netlab.lab import Lab, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.storm import Storm
from netlab.topology import DEFAULT_KEY, Host, tunnel_pair
from netlab.transfer import tcp_both_ways, udp_one_way

KINDS = ["vxlan", "gre"]
FAMILIES = [4, 6]
STORM_FRAMES = 200_000
BULK_BYTES = 50_000_000

# A tunnel that lost a packet has a reason for it; these reasons do not concern the test's traffic
# (the kernels' own multicast listener reports find nobody to go to).
HARMLESS_DROPS = {"no_destination", "link_local_multicast"}


def end_of(host: Host):
    return host.vms[0].ns, "eth0"


def start_storm(lab: Lab, program: pathlib.Path, hosts: tuple[Host, Host], **options) -> Storm:
    for host in hosts:
        host.wait_for_next_hop()
    return Storm(lab, program, *map(end_of, hosts), **options)


def assert_no_drops(*hosts: Host) -> None:
    for host in hosts:
        drops = {r: n for r, n in host.daemon.drops().items() if r not in HARMLESS_DROPS}
        assert drops == {}, f"{host.ns.name} dropped"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_arrives_once_unchanged_and_in_order(
    lab: Lab, build: Build, storm_program, kind: str, family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, family)
    storm = start_storm(lab, storm_program, hosts, frames=STORM_FRAMES, seed=family)
    result = storm.finish()
    assert result.perfect(), result
    assert result.sent >= 2 * STORM_FRAMES
    assert_no_drops(*hosts)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_a_reload_that_adds_a_port_disturbs_nobody(
    lab: Lab, build: Build, storm_program, kind: str
) -> None:
    hosts = tunnel_pair(lab, build, kind, 4)
    storm = start_storm(lab, storm_program, hosts, frames=STORM_FRAMES // 2, until_told=True)
    before = storm.wait_for_progress(20_000)
    for index, host in enumerate(hosts, 3):
        host.add_vm(index)
        host.daemon.send_reload_signal()
        host.wait_for_port(f"vif{index}")
    after = storm.wait_for_progress(before + 20_000)
    result = storm.finish()
    assert result.perfect(), (result, before, after)
    wait_for_ping(hosts[0].vms[1].ns, hosts[1].vms[1].address())


@pytest.mark.timeout(180)
def test_a_reload_that_removes_another_port_disturbs_nobody(
    lab: Lab, build: Build, storm_program
) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4, start=False)
    for index, host in enumerate(hosts, 3):
        host.add_vm(index)
        host.start()
    storm = start_storm(lab, storm_program, hosts, frames=20_000, until_told=True)
    before = storm.wait_for_progress(20_000)
    for host in hosts:
        gone = host.config.ports.pop()["name"]
        host.daemon.send_reload_signal()
        wait_until(lambda h=host, p=gone: h.daemon.shown(p) is None, f"{gone} is gone")
    storm.wait_for_progress(before + 20_000)
    result = storm.finish()
    assert result.perfect(), result


class SuperFrameWatch:
    """Sees whether the machine's kernel really leaves segmentation to the device."""

    def __init__(self, host: Host) -> None:
        self._socket = PacketSocket(host.vms[0].ns)

    def saw_one(self) -> bool:
        def is_large(seen: Seen) -> bool:
            return seen.outgoing and len(seen.data) > 1514

        return bool(self._socket.take(is_large, incoming_only=False))

    def close(self) -> None:
        self._socket.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("inner_family", FAMILIES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_tcp_super_frames_arrive_as_sent(
    lab: Lab, build: Build, kind: str, family: int, inner_family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, family)
    near, far = (host.vms[0] for host in hosts)
    watch = SuperFrameWatch(hosts[0])
    size = BULK_BYTES if inner_family == 4 else BULK_BYTES // 5
    tcp_both_ways(near.ns, far.ns, far.address(inner_family), size, seed=family)
    assert watch.saw_one(), "the machine sent no super-frame: the test proves nothing"
    watch.close()


@pytest.mark.parametrize("inner_family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_udp_with_unfinished_checksums_arrives_as_sent(
    lab: Lab, build: Build, kind: str, inner_family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, 4)
    near, far = (host.vms[0] for host in hosts)
    for source, target in ((near, far), (far, near)):
        udp_one_way(source.ns, target.ns, target.address(inner_family), datagrams=500, seed=1)
    assert_no_drops(*hosts)


@pytest.mark.parametrize("inner_family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_udp_super_frames_arrive_cut_into_datagrams(
    lab: Lab, build: Build, kind: str, inner_family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, 4)
    near, far = (host.vms[0] for host in hosts)
    target = far.address(inner_family)
    udp_one_way(near.ns, far.ns, target, datagrams=50, seed=1, segment_bytes=1111)
    assert_no_drops(*hosts)


@pytest.mark.timeout(120)
def test_super_frames_between_machines_of_one_host_arrive_as_sent(lab: Lab, build: Build) -> None:
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0")
    near, far = host.add_vm(1), host.add_vm(2)
    host.start()
    for family in FAMILIES:
        tcp_both_ways(near.ns, far.ns, far.address(family), BULK_BYTES, seed=family)
        udp_one_way(near.ns, far.ns, far.address(family), datagrams=200, seed=family)
        udp_one_way(near.ns, far.ns, far.address(family), 20, seed=family, segment_bytes=1200)


def encapsulated(seen: Seen) -> bytes | None:
    """The UDP or GRE part of a captured outer packet."""
    if seen.ip_protocol not in (17, 47):
        return None
    return seen.payload[20 if seen.ethertype == frames.ETHERTYPE_IPV4 else 40 :]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("kind", "key", "expected_header"),
    [
        ("vxlan", DEFAULT_KEY, frames.vxlan(b"", DEFAULT_KEY)),
        ("vxlan", 0, frames.vxlan(b"", 0)),
        ("vxlan", 0xFFFFFF, frames.vxlan(b"", 0xFFFFFF)),
        ("gre", DEFAULT_KEY, frames.gre(b"", DEFAULT_KEY)),
        ("gre", None, frames.gre(b"", None)),
        ("gre", 0xFFFFFFFF, frames.gre(b"", 0xFFFFFFFF)),
    ],
)
def test_the_wire_shows_the_header_that_the_rfc_draws(
    lab: Lab, build: Build, kind: str, key: int | None, expected_header: bytes, family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, family, key)
    sent = frame(hosts[0].vms[0].mac, BROADCAST, b"header test")
    with PacketSocket(hosts[1].ns) as wire, PacketSocket(hosts[0].vms[0].ns) as machine:
        machine.send(sent)

        def carries_it(seen: Seen) -> bool:
            return sent in seen.data and encapsulated(seen) is not None

        seen = wire.wait_for(carries_it)
    assert seen is not None
    outer = encapsulated(seen)
    if kind == "vxlan":
        source_port, port, length, checksum = frames.struct.unpack("!HHHH", outer[:8])
        assert (port, length) == (4789, len(outer))
        assert 32768 <= source_port <= 61000  # As Open vSwitch chooses; src_port_min and _max.
        # RFC 6935: over IPv6 zero is only for those who agreed on it.
        assert (checksum != 0) == (family == 6)
        outer = outer[8:]
    assert outer == expected_header + sent
    if family == 4:
        assert frames.internet_checksum(seen.payload[:20]) == 0
        assert seen.payload[6] & 0x40, "don't fragment is set by default"
    assert seen.payload[8 if family == 4 else 7] == 64  # TTL


@pytest.mark.parametrize("kind", KINDS)
def test_tunnels_with_different_keys_do_not_mix(lab: Lab, build: Build, kind: str) -> None:
    """br0 and br1 of each host are joined by a tunnel each, between the same two addresses."""
    hosts = tunnel_pair(lab, build, kind, 4, key=1, start=False)
    for index, (host, other) in enumerate((hosts, reversed(hosts)), 3):
        host.config.bridge("br1")
        host.add_vm(index, bridge="br1")
        host.add_tunnel("t1", kind, other.underlay(4), key=2, bridge="br1")
        host.start()
    sender, same, different = hosts[0].vms[0], hosts[1].vms[0], hosts[1].vms[1]
    wait_for_ping(sender.ns, same.address())
    wait_for_ping(hosts[0].vms[1].ns, different.address())
    with PacketSocket(different.ns) as stranger, PacketSocket(same.ns) as friend:
        with PacketSocket(sender.ns) as out:
            out.send(frame(sender.mac, BROADCAST, b"for key 1"))
        assert friend.wait_for(lambda s: b"for key 1" in s.data) is not None
        assert stranger.take(lambda s: b"for key 1" in s.data) == []


def test_in_key_and_out_key_may_differ(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "gre", 4, key=None, start=False)
    hosts[0].config.find_tunnel("t0").update(in_key=10, out_key=20)
    hosts[1].config.find_tunnel("t0").update(in_key=20, out_key=10)
    for host in hosts:
        host.start()
    near, far = (host.vms[0] for host in hosts)
    assert ping(near.ns, far.address()).received == 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_is_counted_and_goes_nowhere(lab: Lab, build: Build, kind: str) -> None:
    hosts = tunnel_pair(lab, build, kind, 4, start=False)
    hosts[1].config.find_tunnel("t0")["key"] = DEFAULT_KEY + 1
    for host in hosts:
        host.start()
    near, far = (host.vms[0] for host in hosts)
    assert ping(near.ns, far.address(), wait_s=0.5).received == 0
    hosts[1].daemon.wait_for_drops("tunnel_unknown_key")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_peer_is_counted_and_goes_nowhere(lab: Lab, build: Build, kind: str) -> None:
    hosts = tunnel_pair(lab, build, kind, 4, start=False)
    hosts[1].config.find_tunnel("t0")["remote_ip"] = "172.20.0.77"
    for host in hosts:
        host.start()
    near, far = (host.vms[0] for host in hosts)
    assert ping(near.ns, far.address(), wait_s=0.5).received == 0
    hosts[1].daemon.wait_for_drops("tunnel_unknown_peer")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_underlay_cannot_carry_is_counted(
    lab: Lab, build: Build, kind: str, family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, family, mtu=1500, start=False)
    for host in hosts:
        host.config.find_tunnel("t0")["oversize"] = "drop"
        host.start()
    near, far = (host.vms[0] for host in hosts)
    assert ping(near.ns, far.address(), size=1000).received == 3
    assert ping(near.ns, far.address(), count=2, size=1472, wait_s=0.5).received == 0
    hosts[0].daemon.wait_for_drops("tunnel_mtu_exceeded", 2)


def test_a_tunnel_without_a_route_counts(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4, start=False)
    hosts[0].config.find_tunnel("t0")["remote_ip"] = "203.0.113.1"
    hosts[0].start()
    assert ping(hosts[0].vms[0].ns, "10.0.0.2", wait_s=0.5).received == 0
    hosts[0].daemon.wait_for_drops("tunnel_no_route")
