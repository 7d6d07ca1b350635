# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of tunnels as they show on the wire."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netlab.daemon import Build
from netlab.far_end import FarEnd, ip_of
from netlab.frames import ETHERTYPE_IPV4, PacketSocket, Seen, mac_bytes
from netlab.lab import Lab, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.topology import DEFAULT_KEY, tunnel_pair
from netlab.transfer import tcp_both_ways

PORTS = (4789, 8472)


def udp_ports(seen: Seen) -> tuple[int, int]:
    """Of the outer header of a packet that is known to be UDP."""
    assert seen.ip_protocol == 17
    return struct.unpack_from("!HH", seen.payload, 20 if seen.ethertype == ETHERTYPE_IPV4 else 40)


@pytest.mark.parametrize("family", [4, 6])
def test_several_udp_ports_at_once(lab: Lab, build: Build, family: int) -> None:
    """The same peer and the same VNI, told apart by the port alone: two bridges, one port each."""
    hosts = tunnel_pair(lab, build, "vxlan", family, start=False)
    for index, (host, other) in enumerate((hosts, reversed(hosts)), 3):
        host.config.bridge("br1")
        host.add_vm(index, bridge="br1")
        host.add_tunnel("t1", "vxlan", other.underlay(family), bridge="br1", dst_port=PORTS[1])
        host.start()
    with PacketSocket(hosts[1].ns) as wire:
        for number, port in enumerate(PORTS):
            near, far = hosts[0].vms[number], hosts[1].vms[number]
            wait_for_ping(near.ns, far.address())
            wire.take(lambda _seen: True)
            assert ping(near.ns, far.address()).received == 3
            seen = wire.take(lambda one, mac=mac_bytes(near.mac): mac in one.data)
            assert seen
            assert {udp_ports(one)[1] for one in seen} == {port}
            for inner in (4, 6):
                tcp_both_ways(near.ns, far.ns, far.address(inner), 1_000_000, seed=inner)
    # The other bridge is another world.
    assert ping(hosts[0].vms[0].ns, hosts[1].vms[1].address(), wait_s=0.5).received == 0
    # A reload closes one port and leaves the other.
    hosts[1].config.tunnels.pop()
    hosts[1].daemon.reload()
    assert ping(hosts[0].vms[0].ns, hosts[1].vms[0].address()).received == 3
    assert ping(hosts[0].vms[1].ns, hosts[1].vms[1].address(), wait_s=0.5).received == 0


@pytest.mark.parametrize(
    ("kind", "family", "low", "high"),
    [
        ("vxlan", 4, 50000, 50007),
        ("vxlan", 6, 2000, 2000),
        ("geneve", 4, 1024, 65535),
        ("geneve", 6, 50000, 50007),
    ],
)
def test_source_ports_stay_in_their_range(
    lab: Lab, build: Build, kind: str, family: int, low: int, high: int
) -> None:
    far = FarEnd(lab, build)
    remote = far.underlay(family)
    far.host.add_tunnel("t0", kind, remote, src_port_min=low, src_port_max=high)
    far.host.start()
    far.host.wait_for_next_hop()
    flows = 200
    frames = []
    for number in range(flows):
        inner = far.inner(4, inward=False) / Raw(b"flow")
        inner[UDP].sport = 10000 + number
        frames.append(bytes(inner))
    sources: dict[bytes, set[int]] = {data: set() for data in frames}
    with PacketSocket(far.ns) as wire, PacketSocket(far.machine.ns) as machine:
        # Only so many packets wait for the first decision.
        machine.send(bytes(far.inner(4, inward=False) / Raw(b"first")))
        assert wire.wait_for(lambda seen: seen.data.endswith(b"first")) is not None
        for data in frames * 2:
            machine.send(data)
        arrived = 0

        def all_there() -> bool:
            nonlocal arrived
            for one in wire.take(lambda seen: seen.data.endswith(b"flow")):
                arrived += 1
                sources[one.data[-len(frames[0]) :]].add(udp_ports(one)[0])
            return arrived >= 2 * flows

        wait_until(all_there, "every packet is on the wire")
    assert {len(ports) for ports in sources.values()} == {1}, "a flow keeps its port"
    used = set().union(*sources.values())
    assert min(used) >= low and max(used) <= high
    # Flows spread over the range.
    assert len(used) >= min(high - low + 1, flows // 4)


def test_tos_and_ttl_may_be_the_inner_ones(lab: Lab, build: Build) -> None:
    """Each frame to the unknown machine leaves by a tunnel of every kind."""
    far = FarEnd(lab, build)
    tunnels: dict[tuple[int, int], dict[str, object]] = {}
    for key, options in (
        (1, {"tos": "inherit", "ttl": "inherit"}),
        (2, {"tos": "inherit", "ttl": 7}),
        (3, {"tos": 0x20, "ttl": "inherit"}),
        (4, {}),
    ):
        for family in (4, 6):
            tunnels[family, key] = options
            far.host.add_tunnel(f"t{key}-{family}", "vxlan", far.underlay(family), key, **options)
    far.host.start()
    for tunnel in far.host.config.tunnels:
        far.host.wait_for_next_hop(tunnel["name"])
    with PacketSocket(far.ns) as wire, PacketSocket(far.machine.ns) as machine:
        for version in (4, 6):
            for tos, ttl in ((0, 64), (0xB8, 1), (0x48 | 2, 255)):
                mark = f"<{version} {tos} {ttl}>".encode()
                sent = bytes(far.inner(version, inward=False, tos=tos, ttl=ttl) / Raw(mark))
                machine.send(sent)
                seen: dict[tuple[int, int], bytes] = {}

                def all_of_them(mark: bytes = mark, sent: bytes = sent, seen: dict = seen) -> bool:
                    for one in wire.take(lambda s: mark in s.data):
                        vni = int.from_bytes(one.data[one.data.index(sent) - 4 :][:3], "big")
                        seen[6 if one.ethertype == 0x86DD else 4, vni] = one.data
                    return set(seen) == set(tunnels)

                wait_until(all_of_them, f"{mark!r} leaves by {len(tunnels)} tunnels")
                for where, options in tunnels.items():
                    outer_tos, outer_ttl = ip_of(Ether(seen[where]))
                    wanted_tos, wanted_ttl = options.get("tos", 0), options.get("ttl", 64)
                    dscp = tos & 0xFC if wanted_tos == "inherit" else wanted_tos
                    assert outer_tos == dscp | tos & 3, (where, mark)
                    hops = ttl if wanted_ttl == "inherit" else wanted_ttl
                    assert outer_ttl == hops, (where, mark)


@pytest.mark.parametrize("df", [True, False])
def test_df_is_as_configured(lab: Lab, build: Build, df: bool) -> None:
    far = FarEnd(lab, build)
    far.host.add_tunnel("t0", "vxlan", far.underlay(4), DEFAULT_KEY, df=df)
    far.host.start()
    far.host.wait_for_next_hop()
    with PacketSocket(far.ns) as wire, PacketSocket(far.machine.ns) as machine:
        identifications = set()
        for number in range(4):
            mark = b"<df %d>" % number
            machine.send(bytes(far.inner(4, inward=False) / Raw(mark)))
            seen = wire.wait_for(lambda one, m=mark: m in one.data)
            assert seen is not None
            outer = Ether(seen.data)[IP]
            assert bool(outer.flags.DF) == df
            identifications.add(outer.id)
    # RFC 6864: what may be fragmented is told apart by its identification.
    assert df or len(identifications) == 4


def test_a_tunnel_that_turns_to_packets_forgets_its_frames(lab: Lab, build: Build) -> None:
    """What was learned behind it would otherwise be sent without its Ethernet header."""
    hosts = tunnel_pair(lab, build, "gre", 4)
    near, far = (host.vms[0] for host in hosts)
    wait_for_ping(near.ns, far.address())
    assert far.mac in hosts[0].daemon.ctl("fdb", "show").stdout
    with PacketSocket(hosts[1].ns) as wire:
        hosts[0].config.find_tunnel("t0")["packet_type"] = "l3"
        hosts[0].daemon.reload()
        assert far.mac not in hosts[0].daemon.ctl("fdb", "show").stdout
        wire.take(lambda _seen: True)
        assert ping(near.ns, far.address(), wait_s=0.5).received == 0
        assert wire.take(lambda one: one.ip_protocol == 47) == []
