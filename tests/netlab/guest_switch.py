# SPDX-License-Identifier: GPL-2.0-or-later
"""culvertd and charon together in a QEMU guest, whose kernel takes the security associations that
charon negotiates.

    namespace vm0        guest                                          wire
    eth0 10.0.0.1 ── vif0 ┤net0├ tunnel ~ ~ br-phy 172.20.0.1 ┤br-phy├ eth0 ─────── other guest

Network 0 has its machine, its bridge and its tunnel, and so have the others.
"""

from __future__ import annotations

import json
import re

from netlab.config import Config
from netlab.esp import ALGORITHMS, Sa
from netlab.guest import Guest
from netlab.lab import LabError, wait_until
from netlab.topology import UNDERLAY_MTU, underlay_address, vm_mac

MEMORY_MB = 448
_SOCKET = "/run/culvertd.ctl"
_CHARON = "/usr/lib/ipsec/charon"
_LINUX_NAMES = {
    (row.linux_aead, row.cipher_bytes): name for name, row in ALGORITHMS.items() if row.linux_aead
}
_STATE = re.compile(r"spi (0x[0-9a-f]+) .*?aead (\S+) 0x([0-9a-f]+) 128", re.DOTALL)


class SwitchGuest(Guest):
    """The guest's own addresses are those of its switch."""

    def _set_addresses(self) -> None:
        self.sh(f"ip link set eth0 mtu {UNDERLAY_MTU} up")

    # The switch

    def new_config(self) -> Config:
        config = Config()
        config.daemon.update(socket=_SOCKET, state_dir="/run/state")
        config.section("dpdk", mbufs=4096)
        addresses = [f"{underlay_address(self.index, 4)}/24", f"{underlay_address(self.index, 6)}/64"]
        config.bridge("br-phy", local={"addresses": addresses, "mtu": UNDERLAY_MTU})
        config.port("eth0", "br-phy", kind="linux")
        return config

    def add_network(self, config: Config, number: int, mtu: int) -> None:
        """A machine at a bridge of its own; the tunnel is the test's."""
        config.bridge(f"net{number}")
        config.port(f"vif{number}", f"net{number}", kind="linux")
        namespace = f"vm{number}"
        self.sh(
            f"ip netns add {namespace}",
            f"ip link add vif{number} mtu {mtu} type veth peer name eth0 mtu {mtu}"
            f" address {self.machine_mac(number)} netns {namespace}",
            f"ip -n {namespace} addr add {self.machine_address(number)}/24 dev eth0",
            f"ip -n {namespace} link set eth0 up",
            f"ip link set vif{number} up",
        )

    def machine_address(self, number: int) -> str:
        return f"10.{number}.0.{self.index}"

    def machine_mac(self, number: int) -> str:
        return vm_mac(16 * self.index + number)

    def start_switch(self, config: Config) -> None:
        self.write_file("/run/culvert.toml", config.text().encode())
        self.sh("mkdir -p /run/state && { culvertd --config /run/culvert.toml >>/run/culvertd.log 2>&1 & }")
        wait_until(self._answers, f"the switch of guest {self.index} is up", 60, interval_s=0.2)

    def _answers(self) -> bool:
        if not self.sh("pidof culvertd", check=False):
            raise LabError(f"culvertd ended: {self.sh('cat /run/culvertd.log')}")
        return "yes" in self.sh(f"culvert-ctl --socket {_SOCKET} show >/dev/null && echo yes", check=False)

    def ctl_json(self, *arguments: str) -> object:
        text = self.sh(f"culvert-ctl --socket {_SOCKET} -f json {' '.join(arguments)}")
        return json.loads(text)

    def drops(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for row in self.ctl_json("drops"):
            sums[row["reason"]] = sums.get(row["reason"], 0) + row["packets"]
        return {reason: packets for reason, packets in sums.items() if packets}

    def kill_switch(self) -> None:
        self.sh("kill -9 $(pidof culvertd)")
        wait_until(lambda: not self.sh("pidof culvertd", check=False), "culvertd is gone")

    # charon

    def start_charon(self) -> None:
        self.sh(f"{{ {_CHARON} >>/run/charon.log 2>&1 & }}")

    def associations(self) -> list[Sa]:
        """Those of the kernel, with their keys."""
        found = []
        for spi, name, key in _STATE.findall(self.sh("ip xfrm state")):
            data = bytes.fromhex(key)
            algorithm = ALGORITHMS[_LINUX_NAMES[name, len(data)]]
            found.append(Sa(int(spi, 16), algorithm, True, data))
        return found

    def children(self) -> dict[int, str]:
        """The tunnel of each child association that stands, by charon's number; of one that several
        tunnels share, as with a peer that is no Culvert, its protocol."""
        text = self.sh("swanctl --list-sas 2>/dev/null", check=False)
        found = re.findall(r"^ *(\S+)~\S+: #(\d+), reqid \d+, INSTALLED", text, re.MULTILINE)
        return {int(number): name for name, number in found}

    def rekey(self) -> None:
        """New keys for everything, and the old ones are gone."""
        old = self.children()
        for number in old:
            self.sh(f"swanctl --rekey --child-id {number} 2>/dev/null")

        def replaced() -> bool:
            new = self.children()
            return not set(new) & set(old) and set(new.values()) == set(old.values())

        wait_until(replaced, f"guest {self.index} has new keys", 40, interval_s=0.2)

    def reset(self) -> None:
        """As it was booted, but for loaded modules."""
        self.sh(
            "for name in culvertd charon; do pid=$(pidof $name) && kill -9 $pid; done; true",
            "while pidof culvertd charon >/dev/null; do sleep 0.1; done",
            "ip xfrm state flush",
            "ip xfrm policy flush",
            "for name in $(ip netns list | cut -d' ' -f1); do ip netns del $name; done",
            "for link in $(ls /sys/class/net | grep ^vif); do ip link del $link; done",
            "rm -rf /run/state /run/*.log /run/charon.* /run/*.toml /run/*.ctl /etc/culvert",
            "nft flush ruleset 2>/dev/null || true",
        )

    def report(self) -> str:
        lines = [super().report()]
        if self.process is not None and self.process.running:
            for command in (
                *("cat /run/culvertd.log", "tail -60 /run/charon.log", "ip -s xfrm state | grep -v 0x.*bits"),
                *("swanctl --list-sas 2>/dev/null", f"culvert-ctl --socket {_SOCKET} sa list"),
                f"culvert-ctl --socket {_SOCKET} drops",
            ):
                lines += [f"=== guest {self.index}: {command}", self.sh(command, check=False)]
        return "\n".join(lines)
