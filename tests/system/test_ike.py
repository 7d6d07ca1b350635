# SPDX-License-Identifier: GPL-2.0-or-later
"""culvertd holds strongSwan's charon at what its tunnels need.

    h1: culvertd ── vici ── charon   ───wire───   charon ── vici ── culvertd :h2
        172.20.0.1                                             172.20.0.2

Both charons agree on IKE SAs here; whether child SAs come of them depends on this machine's kernel,
which may have no ESP, so nothing here needs them. Where packets are encrypted is tests/interop.
"""

from __future__ import annotations

import pathlib
import signal

import pytest

from netlab import charon
from netlab.charon import Charon
from netlab.daemon import Build
from netlab.lab import Lab, require_root_and_tools, run, wait_until
from netlab.topology import Host, connect

KEYS = {"red": "the-key-of-red", "green": "the-key-of-green", "blue": "the-key-of-blue"}


@pytest.fixture(autouse=True)
def _charon_is_there() -> None:
    missing = [*charon.missing(), *require_root_and_tools({"openssl": "openssl"})]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


class IkeHost(Host):
    """With a charon, which is started later."""

    def __init__(self, lab: Lab, build: Build, index: int) -> None:
        super().__init__(lab, build, index)
        self.charon = Charon(self.ns)
        self.config.daemon["state_dir"] = str(lab.directory / f"state{index}")
        self.ike = {"vici": str(self.charon.socket)}
        self.config.section("ike", **self.ike)

    def file(self, name: str, text: str) -> str:
        """Of this host alone, and only for its owner."""
        path = self.lab.directory / f"{self.ns.name}-{name}"
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
        return str(path)

    def network(self, name: str, kind: str, peer: Host, key: int, **ike: object) -> None:
        self.config.bridge(name)
        self.add_tunnel(f"{name}-t", kind, peer.underlay(4), key, bridge=name)
        self.config.find_tunnel(f"{name}-t")["ike"] = ike

    def secret_network(self, name: str, kind: str, peer: Host, key: int, secret: str) -> None:
        path = self.file(f"{name}.psk", secret + "\n")
        self.network(name, kind, peer, key, psk_file=path)

    def three_networks(self, peer: Host, **other_keys: str) -> None:
        secrets = {**KEYS, **other_keys}
        self.secret_network("red", "gre", peer, 1, secrets["red"])
        self.secret_network("green", "gre", peer, 2, secrets["green"])
        self.secret_network("blue", "vxlan", peer, 1, secrets["blue"])

    def trouble(self, name: str) -> str:
        return self.daemon.ctl_json("show", "tunnel", f"{name}-t")["encryption"].get("trouble", "")

    def connection(self, name: str) -> str:
        """The whole name of culvertd's connection for a tunnel; empty: there is none."""
        found = [
            each for each in self.charon.connections() if each.startswith(f"culvert-{name}-t~")
        ]
        return found[0] if found else ""

    def ike_sas(self, name: str) -> list[str]:
        """The numbers of those that stand for a network."""
        connection = self.connection(name)
        return sorted(sa["uniqueid"] for sa in self.charon.established(connection))

    def wait_established(self, *names: str) -> None:
        for name in names:
            wait_until(
                lambda: self.ike_sas(name),  # pylint: disable=cell-var-from-loop
                f"{self.ns.name} has an IKE SA for {name}",
            )

    def said(self) -> str:
        """All that anybody could read."""
        shown = self.daemon.ctl("show", json_format=True).stdout
        parts = [self.daemon.log(), self.charon.log(), shown]
        parts += [self.daemon.ctl("show", "tunnel", f"{name}-t").stdout for name in KEYS]
        return "\n".join(parts)


@pytest.fixture
def hosts(lab: Lab, build: Build) -> tuple[IkeHost, IkeHost]:
    """Wired; nothing runs."""
    pair = IkeHost(lab, build, 1), IkeHost(lab, build, 2)
    connect(*pair)
    return pair


def start(hosts: tuple[IkeHost, IkeHost]) -> None:
    for host in hosts:
        host.charon.start()
    for host in hosts:
        host.start()


def test_three_networks_with_a_key_each(hosts: tuple[IkeHost, IkeHost]) -> None:
    """Between one pair of addresses; and what is somebody else's stays as it is."""
    a, b = hosts
    a.three_networks(b)
    b.three_networks(a)
    a.charon.start()
    home = {"version": 2, "remote_addrs": ["192.0.2.9"], "local": {"auth": "psk"},
            "remote": {"auth": "psk"}, "children": {"home": {"local_ts": ["dynamic"]}}}
    a.charon.ask("load-conn", {"home": home})
    a.charon.ask("load-shared", {"id": "home", "type": "ike", "data": "other", "owners": ["h"]})
    b.charon.start()
    a.start()
    b.start()
    a.wait_established("red", "green", "blue")
    b.wait_established("red", "green", "blue")
    identities = {
        sa["remote-id"] for name in KEYS for sa in a.charon.established(a.connection(name))
    }
    assert identities == {
        "culvert/gre/1/172.20.0.2/172.20.0.1",
        "culvert/gre/2/172.20.0.2/172.20.0.1",
        "culvert/vxlan:4789/1/172.20.0.2/172.20.0.1",
    }
    children = a.charon.connections()[a.connection("red")]["children"]
    assert [child["mode"] for child in children.values()] == ["TRANSPORT"]
    assert [child["local-ts"] for child in children.values()] == [["dynamic[gre]"]]

    before = {name: a.ike_sas(name) for name in ("red", "green")}
    a.daemon.stop(signal.SIGKILL)
    gone = a.connection("blue")
    a.config.tunnels[:] = [t for t in a.config.tunnels if t["name"] != "blue-t"]
    a.daemon.start()
    wait_until(lambda: gone not in a.charon.connections(), "blue's connection is gone")
    wait_until(lambda: gone not in a.charon.secrets(), "blue's key is gone")
    wait_until(lambda: not a.charon.established(gone), "blue's IKE SA is gone")
    assert {name: a.ike_sas(name) for name in ("red", "green")} == before

    a.config.tunnels[:] = []
    a.daemon.reload()
    wait_until(lambda: set(a.charon.connections()) == {"home"}, "only the other's is left")
    wait_until(lambda: a.charon.secrets() == ["home"], "and its key")
    wait_until(lambda: not a.charon.ike_sas(), "no IKE SA is left")
    for secret in KEYS.values():
        assert secret not in a.daemon.log() + a.charon.log() + b.said()


def test_what_is_wrong_is_said(hosts: tuple[IkeHost, IkeHost]) -> None:
    """No charon at first, then one key that is not the peer's, which is put right."""
    a, b = hosts
    a.three_networks(b)
    b.three_networks(a, green="not-the-key-of-green")
    a.start()
    path = str(a.charon.socket)
    wait_until(lambda: f'vici socket "{path}" is not there' in a.trouble("red"), "that is said")
    assert "strongswan-swanctl" in a.trouble("red")
    a.charon.start()
    wait_until(
        lambda: a.trouble("red") == "172.20.0.2 does not answer: nothing comes back from its UDP "
        "ports 500 and 4500",
        "a silent peer is called so",
    )
    # What the peer was not there for is tried again soon enough.
    b.charon.start()
    b.start()
    a.wait_established("red", "blue")
    wait_until(lambda: "has another pre-shared key" in b.trouble("green"), "b knows why")
    wait_until(lambda: "another pre-shared key" in a.trouble("green"), "a was told")
    assert not a.ike_sas("green")
    before = a.ike_sas("red")
    pathlib.Path(b.file("green.psk", KEYS["green"] + "\n"))
    b.daemon.reload()
    a.wait_established("green")
    assert a.ike_sas("red") == before
    for secret in (*KEYS.values(), "not-the-key-of-green"):
        assert secret not in a.said() + b.said()


def _certificate(directory: pathlib.Path, name: str) -> tuple[str, str]:
    """A certificate of `name` and its key, as PEM, signed by an authority in the folder."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not (directory / "ca.pem").exists():
        run(["openssl", "req", "-x509", *key, "-subj", "/CN=authority", "-days", "9",
             "-keyout", directory / "ca.key", "-out", directory / "ca.pem"])
    paths = {suffix: directory / f"{name}.{suffix}" for suffix in ("csr", "key", "pem", "ext")}
    paths["ext"].write_text(f"subjectAltName=DNS:{name}\n", encoding="ascii")
    run(["openssl", "req", *key, "-subj", f"/O=Test/CN={name}",
         "-keyout", paths["key"], "-out", paths["csr"]])
    run(["openssl", "x509", "-req", "-in", paths["csr"], "-CA", directory / "ca.pem",
         "-CAkey", directory / "ca.key", "-CAcreateserial", "-days", "9",
         "-extfile", paths["ext"], "-out", paths["pem"]])
    return paths["pem"].read_text(), paths["key"].read_text()


def test_certificates(hosts: tuple[IkeHost, IkeHost]) -> None:
    """All tunnels to a peer are one connection; a peer with another name is none."""
    a, b = hosts
    directory = a.lab.directory
    for host, name in ((a, "host-a"), (b, "host-b")):
        certificate, key = _certificate(directory, name)
        host.config.section(
            "ike",
            **host.ike,
            certificate=host.file("own.pem", certificate),
            private_key=host.file("own.key", key),
            ca_cert=str(directory / "ca.pem"),
        )
    for host, peer, name in ((a, b, "host-b"), (b, a, "host-a")):
        host.network("red", "gre", peer, 1, remote_name=name)
        host.network("green", "gre", peer, 2, remote_name=name)
    start(hosts)

    def standing(host: IkeHost) -> list[dict]:
        return [sa for name, sa in host.charon.ike_sas()
                if name.startswith("culvert-peer-172.20.0.") and sa["state"] == "ESTABLISHED"]

    wait_until(lambda: standing(a) and standing(b), "an IKE SA stands")
    assert [sa["remote-id"] for sa in standing(a)] == ["host-b"]
    assert [sa["remote-id"] for sa in standing(b)] == ["host-a"]
    (connection,) = a.charon.connections().values()
    labels = [child.get("label") for child in connection["children"].values()]
    assert len(labels) == 3 and len(set(labels)) == 3

    for name in ("red", "green"):
        b.config.find_tunnel(f"{name}-t")["ike"] = {"remote_name": "host-c"}
    b.daemon.reload()
    wait_until(lambda: not standing(a) and not standing(b), "host-a is not host-c")
    wait_until(lambda: "172.20.0.2 refuses this host" in a.trouble("red"), "that is said")
