# SPDX-License-Identifier: GPL-2.0-or-later
"""ESP by the kernel of a guest, with keys that a test gives it."""

from __future__ import annotations

from netlab.esp import NAT_PORT, Sa
from netlab.guest import GuestPeer
from netlab.lab import wait_until
from netlab.topology import underlay_address

_CHARON = "/usr/lib/ipsec/charon"


class EspPeer(GuestPeer):
    """Encrypts what a selector of `ip xfrm policy` says, as long as the test lasts."""

    def detach(self) -> None:
        self.guest.sh(
            "pid=$(pidof charon) && kill $pid; true",
            "while pidof charon >/dev/null; do sleep 0.1; done",
            "ip xfrm policy flush",
            "ip xfrm state flush",
            "for link in $(ls /sys/class/net | grep ^t); do ip link del $link; done",
        )
        super().detach()

    def encrypt(
        self,
        selector: str,
        out: Sa,
        into: Sa,
        family: int = 4,
        tunnel_mode: bool = False,
        udp: bool = False,
        reqid: int = 1,
    ) -> None:
        """`out` is the guest's direction."""
        ends = self.underlay(family), underlay_address(1, family)
        mode = "tunnel" if tunnel_mode else "transport"
        commands = []
        for sa, (source, target), way in ((out, ends, "out"), (into, ends[::-1], "in")):
            one = f"src {source} dst {target}"
            esn = "flag esn" if sa.esn else ""
            encap = f"encap espinudp {NAT_PORT} {NAT_PORT} 0.0.0.0" if udp else ""
            commands += [
                f"ip xfrm state add {one} proto esp spi {sa.spi:#x} reqid {reqid} mode {mode}"
                f" replay-window 64 {esn} {sa.linux()} {encap}",
                f"ip xfrm policy add {one} {selector} dir {way}"
                f" tmpl {one} proto esp reqid {reqid} mode {mode}",
            ]
        self.guest.sh(*commands)

    def receive_udp_encapsulation(self) -> None:
        """Somebody has to hold the socket that the kernel takes ESP in UDP from: charon does."""
        self.guest.sh(f"{{ {_CHARON} >/run/charon.log 2>&1 & }}")
        wait_until(
            lambda: ":4500" in self.guest.sh("netstat -lnu"), "charon has its sockets", 40
        )

    def refused(self) -> dict[str, int]:
        """What the kernel has counted of packets that a policy or an association refused."""
        lines = self.guest.sh("cat /proc/net/xfrm_stat").splitlines()
        return {name: int(value) for name, value in map(str.split, lines)}
