# SPDX-License-Identifier: GPL-2.0-or-later
"""The rows of the matrix: which work, on which traffic."""

from __future__ import annotations

import dataclasses

from peerbench.traffic import Traffic

TUNNELS = ("vxlan", "gre", "geneve")
SIZES = (64, "imix", 1420)
FLOWS = (1, 1000, 100_000, 1_000_000)
HUB_KEY = 200
HUB_IP = "172.31.1.3"
HUB_MAC = "02:00:00:00:01:03"


@dataclasses.dataclass(frozen=True)
class Row:
    """`work` is plain, hub, or a tunnel with -encap or -decap."""

    work: str
    traffic: Traffic

    @property
    def kind(self) -> str:
        return self.work.rpartition("-")[2]

    @property
    def tunnel(self) -> str:
        """The protocol; of a hub, that of what comes in."""
        return "vxlan" if self.kind == "hub" else self.work.rpartition("-")[0]

    @property
    def tunnel_out(self) -> str:
        """The protocol of what goes out."""
        return "geneve" if self.kind == "hub" else self.tunnel

    @property
    def by_mac(self) -> bool:
        """Open vSwitch learns as well, instead of being told where packets go."""
        return self.traffic.macs > 0

    @property
    def name(self) -> str:
        flows = f"{self.traffic.macs}x{self.traffic.macs}-macs" if self.by_mac else self.traffic.flows
        return f"{self.work}/{self.traffic.size}/{flows}"

    @property
    def flows(self) -> int:
        return self.traffic.macs**2 or self.traffic.flows


def make_row(work: str, size: int | str = 64, flows: int = 1000, macs: int = 0) -> Row:
    kind = work.rpartition("-")[2]
    tunnel = "vxlan" if work == "hub" else work.rpartition("-")[0] if kind == "decap" else ""
    lisp = work.startswith("lisp")
    return Row(
        work,
        Traffic(
            size=size,
            flows=macs * macs or flows,
            macs=macs,
            tunnel=tunnel,
            gateway=lisp,
            one_host=lisp and kind == "decap",
        ),
    )


def works() -> list[str]:
    ways = [f"{tunnel}-{way}" for tunnel in (*TUNNELS, "lisp") for way in ("encap", "decap")]
    return ["plain", *ways, "hub"]


def default_matrix() -> list[Row]:
    """What the tables of docs/benchmarks.md need, in about ten minutes."""
    rows = []
    for work in works():
        rows += [make_row(work, flows=flows) for flows in (1000, 1_000_000)]
    for work in ("plain", "vxlan-encap", "vxlan-decap"):
        rows += [make_row(work, flows=flows) for flows in (1, 100_000)]
        rows += [make_row(work, size=size) for size in ("imix", 1420)]
    rows += [make_row("plain", macs=macs) for macs in (300, 1000)]
    return sorted(rows, key=_order)


def full_matrix() -> list[Row]:
    rows = [
        make_row(work, size, flows)
        for work in works()
        for size in SIZES
        for flows in FLOWS
        # A file of a million long frames would be 1.5 GB, in the memory of each program.
        if size == 64 or flows < 1_000_000
    ]
    rows += [make_row("plain", macs=macs) for macs in (300, 1000)]
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple:
    return works().index(row.work), str(row.traffic.size) != "64", str(row.traffic.size), row.by_mac, row.flows
