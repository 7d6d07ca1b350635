# SPDX-License-Identifier: GPL-2.0-or-later
"""Controllers that the XAPI plugin set, at work: over TLS, through the host's firewall; and tunnels
when there is an emergency.

    controller ─ eth0 ──wire── eth0 ─ xenbr0 (192.0.2.1) ─ ovsdb-server
"""

from __future__ import annotations

import json
import pathlib

import pytest

from netlab.lab import Lab, Namespace, run, wait_until
from netlab.measure import wait_for_ping
from netlab.ovs_host import OvsHost
from netlab.plugin_host import BOOTSTRAP_CA, INSTALLED_CA, KEY, PluginHost
from netlab.private_root import G1, G2
from netlab.xen import XenHost

HOST, OUTSIDE = "192.0.2.1", "192.0.2.2"

# A controller that hosts connect to: takes connections until one of them answers.
SERVER = """
import json, socket, ssl, sys
port, mine, hosts = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(mine)
context.load_verify_locations(hosts)
context.verify_mode = ssl.CERT_REQUIRED
listener = socket.create_server(("", int(port)))
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    connection.settimeout(10)
    try:
        stream = context.wrap_socket(connection, server_side=True)
        stream.sendall(json.dumps({"method": "list_dbs", "params": [], "id": 7}).encode())
        answer = stream.recv(65536)
    except OSError:
        continue  # A host that sees a new CA takes it, and connects again.
    if answer:
        print(answer.decode(), flush=True)
        break
"""

# What Xen Orchestra does: one connection for one request, whose certificate the host verifies.
CLIENT = """
import json, socket, ssl, sys
host, mine, request = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if mine:
    context.load_cert_chain(mine)
with socket.create_connection((host, 6640), timeout=5) as plain, context.wrap_socket(plain) as stream:
    stream.sendall(request.encode())
    text = ""
    while True:
        part = stream.recv(65536).decode()
        if not part:
            sys.exit("the host closed the connection")
        text += part
        try:
            print(json.dumps(json.loads(text)))
            break
        except ValueError:
            continue
"""


@pytest.fixture
def host(request: pytest.FixtureRequest, lab: Lab, build) -> PluginHost:
    made = PluginHost(lab, build, request.param)
    made.reset()
    made.root.run("ip", "link", "set", "xenbr0", "up")
    made.root.run("ip", "address", "add", f"{HOST}/24", "dev", "xenbr0")
    return made


def _certificate(folder: pathlib.Path, name: str, authority: str | None = None) -> pathlib.Path:
    """A file with a key and its certificate, signed by itself or by another of these."""
    key, certificate, both = (folder / f"{name}.{kind}" for kind in ("key", "crt", "pem"))
    signer = ["-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key"] if authority else []
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}",
         "-keyout", key, "-out", certificate, *signer])  # fmt: skip
    both.write_text(key.read_text() + certificate.read_text())
    return both


def _give_key(host: PluginHost, folder: pathlib.Path) -> None:
    host.root.write(KEY, _certificate(folder, "host").read_text(), 0o600)


@pytest.mark.parametrize("host", [G1, G2], indirect=True)
def test_a_controller_is_connected_to(host: PluginHost, tmp_path: pathlib.Path) -> None:
    """First one, then another in its place, whose CA is taken instead."""
    host.outside.add_address("eth0", f"{OUTSIDE}/24")
    wait_for_ping(host.outside, HOST)
    _give_key(host, tmp_path)
    port = host.target("x").split(":")[-1]
    for name, address in (("first", OUTSIDE), ("second", "192.0.2.3")):
        mine = _certificate(tmp_path, name)
        if address != OUTSIDE:
            host.outside.add_address("eth0", f"{address}/24")
        server = host.outside.spawn("python3", "-c", SERVER, port, mine, tmp_path / "host.crt", name=name)
        wait_until(lambda: "listening" in server.output(), "the controller listens")
        assert host.settle(address) == host.target(address)
        assert server.wait() == 0
        answer = json.loads(server.output().splitlines()[-1])
        assert answer["id"] == 7 and "Open_vSwitch" in answer["result"]
        lines = (tmp_path / f"{name}.crt").read_text().strip().splitlines()
        assert lines[1] in host.root.read(BOOTSTRAP_CA), f"the CA is that of the {name} one"


def _ask(outside: Namespace, mine: pathlib.Path | str, request: dict) -> tuple[dict | None, str]:
    done = outside.run("python3", "-c", CLIENT, HOST, mine, json.dumps(request), check=False)
    return (json.loads(done.stdout) if done.returncode == 0 else None), done.stderr


@pytest.mark.parametrize("host", [G2], indirect=True)
def test_xen_orchestra_connects_to_the_host(host: PluginHost, tmp_path: pathlib.Path) -> None:
    host.outside.add_address("eth0", f"{OUTSIDE}/24")
    wait_for_ping(host.outside, HOST)
    _give_key(host, tmp_path)
    _certificate(tmp_path, "orchestra-ca")
    mine = _certificate(tmp_path, "orchestra", "orchestra-ca")
    host.root.write(INSTALLED_CA, (tmp_path / "orchestra-ca.crt").read_text())
    list_dbs = {"method": "list_dbs", "params": [], "id": 1}
    answer, error = _ask(host.outside, mine, list_dbs)
    assert answer is None and "Connection refused" not in error, "the stock rules reject it before"

    ref = host.xapi.call("SDN_controller.introduce", "pssl", "", 0)
    answer, error = _ask(host.outside, mine, list_dbs)
    assert answer is not None and "Open_vSwitch" in answer["result"], error
    select = {"op": "select", "table": "Bridge", "where": [["name", "==", "xapi0"]], "columns": ["name"]}
    request = {"method": "transact", "params": ["Open_vSwitch", select], "id": 2}
    answer, error = _ask(host.outside, mine, request)
    assert answer is not None and answer["result"] == [{"rows": [{"name": "xapi0"}]}], error
    for stranger in ("", _certificate(tmp_path, "stranger")):
        assert _ask(host.outside, stranger, list_dbs)[0] is None

    host.xapi.call("SDN_controller.forget", ref)
    assert _ask(host.outside, mine, list_dbs)[0] is None


@pytest.mark.parametrize("host", [G2], indirect=True)
def test_tunnels_go_on_after_an_emergency_reset(host: PluginHost, lab: Lab, build) -> None:
    """A virtual machine here, one at the other end of a GRE tunnel that the controller made."""
    host.root.run("iptables", "-I", "INPUT", "-p", "gre", "-j", "ACCEPT")
    near, far = (lab.namespace(name) for name in ("vm1", "vm2"))
    lab.wire(host.root, "vif1.0", near, "eth0")
    lab.wire(host.outside, "vif2.0", far, "eth0")
    near.add_address("eth0", "10.0.0.1/24")
    far.add_address("eth0", "10.0.0.2/24")
    other = OvsHost(host.outside, build)
    other.start()
    xen = XenHost(other)
    xen.create_bridge("xenbr0", "02:00:ac:14:00:02", "management", ("eth0",))
    host.outside.ip("link", "set", "xenbr0", "up")
    host.outside.add_address("xenbr0", f"{OUTSIDE}/24")
    xen.create_bridge("xapi0", "02:00:00:00:a0:02", "private")
    xen.plug_vif("vif2.0", "xapi0", "02:00:00:00:00:02", "private")
    xen.add_tunnel("private", "gre", HOST, 7, "net")
    host.root.vsctl("add-port", "xapi0", "vif1.0", "--", "set", "Interface", "gre0", f"options:remote_ip={OUTSIDE}")
    host.settle("192.0.2.99")
    wait_for_ping(near, "10.0.0.2")
    before = host.root.row("Interface", "gre0", "ofport", "error")

    ping = near.spawn("ping", "-i", "0.02", "-c", "100", "-W", "1", "10.0.0.2", name="ping")
    wait_until(lambda: "icmp_seq=10 " in ping.output(), "packets flow")
    assert host.xapi.call_plugin(host.plugin, "emergency_reset") == "Reset configuration."
    assert ping.wait() == 0
    assert "100 packets transmitted, 100 received" in ping.output()
    assert host.managers() == []
    assert host.root.row("Interface", "gre0", "ofport", "error") == before
