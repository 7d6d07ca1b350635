# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines with an MTU of 9000 over an underlay that has room for the tunnel header.

    vm1 eth0 (9000) ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ══ 9100 ══ eth0 ─ br-phy ~ t0 ┤br0├ vif2 ─ vm2
"""

from __future__ import annotations

import pytest

from netlab.daemon import Build
from netlab.lab import Lab
from netlab.measure import ping
from netlab.storm import Storm
from netlab.topology import tunnel_pair
from netlab.transfer import tcp_both_ways

UNDERLAY = 9100
MACHINE = 9000
PING_OVERHEAD = {4: 28, 6: 48}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["vxlan", "gre"])
def test_full_size_packets_pass(
    lab: Lab, build: Build, storm_program, kind: str, family: int
) -> None:
    hosts = tunnel_pair(lab, build, kind, family, mtu=UNDERLAY, vm_mtu=MACHINE)
    near, far = (host.vms[0] for host in hosts)
    for inner in (4, 6):
        size = MACHINE - PING_OVERHEAD[inner]
        result = ping(near.ns, far.address(inner), size=size, do_not_fragment=True)
        assert result.received == 3, result.output
        tcp_both_ways(near.ns, far.ns, far.address(inner), size=10_000_000, seed=inner)
    storm = Storm(
        lab,
        storm_program,
        (near.ns, "eth0"),
        (far.ns, "eth0"),
        frames=20_000,
        bytes_max=MACHINE + 14,
    )
    result = storm.finish()
    assert result.perfect(), result
