# SPDX-License-Identifier: GPL-2.0-or-later
"""Two Culverts whose keys strongSwan negotiates, as Debian ships and configures it. Each Culvert is
in a QEMU guest, because its kernel has to take the security associations.

    guest 1                                                                guest 2
    vm0 10.0.0.1 ─┤net0├ t0 ~ br-phy 172.20.0.1 ─ eth0 ───wire─── eth0 ─ br-phy ~ t0 ┤net0├─ vm0
    vm1 10.1.0.1 ─┤net1├ t1 ~

The wire is captured over the whole life of the tunnels: before there are keys, while they change,
and when a daemon is killed and started again.
"""

from __future__ import annotations

import collections
import dataclasses

import pytest

from netlab import guest_image
from netlab.capture import Capture
from netlab.config import Config
from netlab.daemon import Build
from netlab.esp import NAT_PORT, esp_of, open_all, require_no_clear
from netlab.frames import mac_bytes
from netlab.guest_switch import MEMORY_MB, SwitchGuest
from netlab.lab import Lab, run, wait_until
from netlab.matrix import Row
from netlab.topology import underlay_address

PEER = "Culvert, strongSwan 5.9"
PINGS = 3
VM_MTU = 1400
MARK = b"culvert-in-clear"
KEY_FOLDER = "/etc/culvert"
IKE = {"esp_proposals": "aes256gcm16-esn", "rekey_s": 3600, "dpd_s": 5}

# The first test builds the guests' image and boots them.
pytestmark = pytest.mark.timeout(400)

Pair = tuple[SwitchGuest, SwitchGuest]


@dataclasses.dataclass(frozen=True)
class Network:
    """One tunnel with its machines; `family` is that of the hosts' addresses."""

    number: int
    protocol: str
    key: int
    family: int = 4
    udp: bool = False

    @property
    def tunnel(self) -> str:
        return f"t{self.number}"


@pytest.fixture(scope="module")
def booted(build: Build, esp_tools: None):
    """Two guests with the switch under test, at one wire."""
    with Lab() as laboratory:
        programs = build.culvertd, build.culvert_ctl
        image = guest_image.extend(
            guest_image.build(guest_image.ESP), programs, laboratory.directory / "guest.cpio"
        )
        first = SwitchGuest(laboratory, image, 1, memory_mb=MEMORY_MB).launch()
        second = SwitchGuest(laboratory, image, 2, first.ns, MEMORY_MB).launch()
        yield first.wait(), second.wait()


@pytest.fixture
def switches(lab: Lab, booted: Pair):
    lab.reporters += [switch.report for switch in booted]
    yield booted
    for switch in booted:
        switch.reset()


def configure(switch: SwitchGuest, networks: list[Network], **ike: object) -> Config:
    """A configuration without keys yet."""
    config = switch.new_config()
    config.section("ike", **IKE, **ike)
    for network in networks:
        switch.add_network(config, network.number, VM_MTU)
        config.tunnel(
            network.tunnel,
            f"net{network.number}",
            type=network.protocol,
            key=network.key,
            remote_ip=underlay_address(3 - switch.index, network.family),
            ike={"udp_encap": network.udp},
        )
    return config


def write_secret(switch: SwitchGuest, name: str, content: bytes) -> str:
    path = f"{KEY_FOLDER}/{name}"
    switch.sh(f"mkdir -p {KEY_FOLDER}", f"umask 077 && : >{path}")
    switch.write_file(path, content)
    return path


def reached(switches: Pair, network: Network, count: int = 1, wait_s: int = 10) -> int:
    """Answers each way, of `count`."""
    return sum(
        here.ping(
            there.machine_address(network.number),
            count,
            pattern=MARK.hex(),
            wait_s=wait_s,
            machine=f"vm{network.number}",
        )
        for here, there in (switches, switches[::-1])
    )


def wait_for_network(switches: Pair, network: Network) -> None:
    wait_until(
        lambda: reached(switches, network, wait_s=2) == 2, f"network {network.number} is joined", 90, 0.5
    )


def wait_until_agreed(switches: Pair, networks: list[Network]) -> None:
    """Until each tunnel has associations of its own. While one daemon is up and the other is not
    yet, the first one may take its peer for another make, and share them."""
    names = sorted(network.tunnel for network in networks)
    for switch in switches:
        wait_until(
            lambda: sorted(switch.children().values()) == names,
            f"guest {switch.index} has keys for {names} alone",
            90,
            0.5,
        )
    for network in networks:
        wait_for_network(switches, network)


class Load:
    """Numbered requests from the first guest's machine to the second one's, fifty a second."""

    def __init__(self, switches: Pair, network: Network) -> None:
        self._switch = switches[0]
        target = switches[1].machine_address(network.number)
        self._switch.sh(
            f"{{ ip netns exec vm{network.number} ping -n -i 0.02 -p {MARK.hex()} {target}"
            " >/run/load.log 2>&1 & echo $! >/run/load.pid; }"
        )

    def stop(self) -> int:
        """How many were answered: each from the first to that number. What was on its way when
        ping was ended is neither here nor there."""
        self._switch.sh("kill -INT $(cat /run/load.pid)")
        wait_until(
            lambda: "transmitted" in self._switch.sh("tail -n 4 /run/load.log"), "ping has ended"
        )
        log = self._switch.sh(
            "sed -n 's/.*icmp_seq=\\([0-9]*\\) .*/\\1/p' /run/load.log | sort -n | tr '\\n' ' '"
        )
        numbers = list(map(int, log.split()))
        missing = set(range(1, numbers[-1])) - set(numbers)
        assert not missing, f"requests without an answer, of {numbers[-1]}: {sorted(missing)}"
        assert len(set(numbers)) == len(numbers)
        return len(numbers)


def rekey_under_load(switches: Pair, network: Network) -> str:
    """Both ends ask for new keys, one after the other."""
    before = {sa.spi for sa in switches[0].associations()}
    load = Load(switches, network)
    for switch in switches:
        switch.rekey()
    answered = load.stop()
    assert answered > 100
    wait_until(
        lambda: not before & {sa.spi for sa in switches[0].associations()}, "the old keys are gone"
    )
    return f"{answered} pings while rekeying"


def judge(
    switches: Pair, networks: list[Network], frames: list[bytes]
) -> collections.Counter[int]:
    macs = [mac_bytes(s.machine_mac(n.number)) for s in switches for n in networks]
    return require_no_clear(frames, MARK, *macs)


def keys_by_spi(frames: list[bytes], switch: SwitchGuest) -> dict[int, set[int]]:
    """Which tunnels' packets were under which association, of those that stand."""
    associations = switch.associations()
    spis = {sa.spi for sa in associations}
    frames = [
        data
        for data in frames
        if (found := esp_of(data)) and int.from_bytes(found[1][:4], "big") in spis
    ]
    found: dict[int, set[int]] = collections.defaultdict(set)
    for sa, key, frame in open_all(frames, associations):
        found[sa.spi].add(key)
    return found


PSK_NETWORKS = [
    Network(0, "gre", 5),
    Network(1, "gre", 6),
    Network(2, "vxlan", 7),
    Network(3, "geneve", 8, family=6),
]


@pytest.mark.row(PEER, "gre vxlan geneve", "a pre-shared key each, rekeyed, killed", "IPv4, IPv6")
def test_pre_shared_keys(switches: Pair, lab: Lab, row: Row) -> None:
    first, second = switches
    with Capture(first.ns, "tap0") as wire:
        configs = []
        for switch in switches:
            config = configure(switch, PSK_NETWORKS)
            for network in PSK_NETWORKS:
                secret = f"secret of network {network.number}".encode()
                path = write_secret(switch, network.tunnel, secret)
                config.find_tunnel(network.tunnel)["ike"]["psk_file"] = path
            configs.append(config)
            switch.start_switch(config)
        # Nobody negotiates yet, so there is no key, and nothing leaves.
        assert reached(switches, PSK_NETWORKS[0], PINGS, 1) == 0
        for switch in switches:
            wait_until(lambda: switch.drops().get("esp_required"), "packets without keys drop")
        assert not any(esp_of(seen.data) for seen in wire.fetch())

        for switch in switches:
            switch.start_charon()
        wait_until_agreed(switches, PSK_NETWORKS)
        received = sum(reached(switches, network, PINGS) for network in PSK_NETWORKS)
        row.ping = f"{received}/{2 * PINGS * len(PSK_NETWORKS)}"
        assert received == 2 * PINGS * len(PSK_NETWORKS)
        # Each association is for one tunnel, and each tunnel has its own.
        tunnels = keys_by_spi([seen.data for seen in wire.fetch()], first)
        assert all(len(keys) == 1 for keys in tunnels.values())
        assert set().union(*tunnels.values()) == {network.key for network in PSK_NETWORKS}

        row.tcp = rekey_under_load(switches, PSK_NETWORKS[0])

        first.kill_switch()
        assert reached(switches, PSK_NETWORKS[0], PINGS, 1) == 0
        first.start_switch(configs[0])
        for network in PSK_NETWORKS:
            wait_for_network(switches, network)
        counts = judge(switches, PSK_NETWORKS, [seen.data for seen in wire.fetch()])
    row.checksums = f"{sum(counts.values())} packets of {len(counts)} SPIs, none in clear"


CERTIFICATE_NETWORKS = [Network(0, "gre", 5), Network(1, "vxlan", 7), Network(2, "vxlan", 9)]


def make_certificates(lab: Lab) -> None:
    """ca.pem, and host1.pem and host2.pem with their keys, in the laboratory's folder."""

    def pki(command: str) -> None:
        run(["sh", "-c", f"cd {lab.directory} && {command}"])

    generate = "pki --gen --type ecdsa --size 256 --outform pem"
    pki(f"{generate} >ca.key && pki --self --ca --in ca.key --type ecdsa --dn CN=ca --outform pem >ca.pem")
    for name in ("host1", "host2"):
        pki(
            f"{generate} >{name}.key && pki --pub --in {name}.key --type ecdsa | pki --issue"
            f" --cacert ca.pem --cakey ca.key --dn CN={name} --san {name} --outform pem >{name}.pem"
        )


@pytest.mark.row(PEER, "gre vxlan", "certificates, rekeyed", "IPv4")
def test_certificates(switches: Pair, lab: Lab, row: Row) -> None:
    make_certificates(lab)
    networks = CERTIFICATE_NETWORKS
    with Capture(switches[0].ns, "tap0") as wire:
        for switch in switches:
            paths = {}
            for word, name in (
                ("certificate", f"host{switch.index}.pem"),
                ("private_key", f"host{switch.index}.key"),
                ("ca_cert", "ca.pem"),
            ):
                paths[word] = write_secret(switch, name, (lab.directory / name).read_bytes())
            config = configure(switch, networks, **paths)
            for network in networks:
                ike = config.find_tunnel(network.tunnel)["ike"]
                ike["remote_name"] = f"host{3 - switch.index}"
            switch.start_charon()
            switch.start_switch(config)
        wait_until_agreed(switches, networks)
        received = sum(reached(switches, network, PINGS) for network in networks)
        row.ping = f"{received}/{2 * PINGS * len(networks)}"
        assert received == 2 * PINGS * len(networks)
        tunnels = keys_by_spi([seen.data for seen in wire.fetch()], switches[0])
        assert all(len(keys) == 1 for keys in tunnels.values())
        row.tcp = rekey_under_load(switches, networks[1])
        counts = judge(switches, networks, [seen.data for seen in wire.fetch()])
    row.checksums = f"{sum(counts.values())} packets of {len(counts)} SPIs, none in clear"


@pytest.mark.row(PEER, "gre", "in UDP; and a peer with another pre-shared key", "IPv4")
def test_udp_encapsulation_and_a_wrong_key(switches: Pair, lab: Lab, row: Row) -> None:
    networks = [Network(0, "gre", 5, udp=True), Network(1, "gre", 6)]
    with Capture(switches[0].ns, "tap0") as wire:
        for switch in switches:
            config = configure(switch, networks)
            # Of the second network, each has a key of its own.
            for network, secret in zip(networks, ("same", f"of host {switch.index}")):
                path = write_secret(switch, network.tunnel, secret.encode())
                config.find_tunnel(network.tunnel)["ike"]["psk_file"] = path
            switch.start_charon()
            switch.start_switch(config)
        wait_until_agreed(switches, networks[:1])
        received = reached(switches, networks[0], PINGS)
        row.ping = f"{received}/{2 * PINGS}"
        assert received == 2 * PINGS
        assert reached(switches, networks[1], PINGS, 1) == 0
        assert switches[0].drops()["esp_required"] >= PINGS
        frames = [seen.data for seen in wire.fetch()]
        counts = judge(switches, networks, frames)
        for ip, _esp in filter(None, map(esp_of, frames)):
            assert ip.payload.name == "UDP" and ip.payload.dport == NAT_PORT
    row.checksums = f"{sum(counts.values())} packets in UDP, none in clear"
