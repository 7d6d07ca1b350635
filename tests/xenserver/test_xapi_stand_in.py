# SPDX-License-Identifier: GPL-2.0-or-later
"""The XAPI that the tests of this folder talk to: that it speaks the protocols of a real one."""

from __future__ import annotations

import concurrent.futures
import http.client
import importlib.util
import json
import pathlib
import types

import pytest

from netlab import xapi as driver
from netlab.lab import Lab, wait_until
from netlab.xapi import Xapi, XapiFailure
from netlab.xen_records import HOST_UUID, NULL, Records

FILES = pathlib.Path(driver.__file__).with_name("xen_files")
PLUGIN = """#!/usr/bin/python3
import sys
import XenAPIPlugin

def echo(session, args):
    return "%s in a pool of %d" % (args["word"], len(session.xenapi.pool.get_all()))

def refuse(session, args):
    raise XenAPIPlugin.Failure("NOT_TODAY", ["because", "of rain"])

def break_down(session, args):
    return 1 // 0

def vanish(session, args):
    sys.exit(3)

XenAPIPlugin.dispatch({"echo": echo, "refuse": refuse, "break_down": break_down, "vanish": vanish})
"""


def load_xen_api(environment: pytest.MonkeyPatch, path: pathlib.Path) -> types.ModuleType:
    """The hosts' module XenAPI, of this socket."""
    environment.setenv("XAPI_SOCKET", str(path))
    specification = importlib.util.spec_from_file_location("XenAPI", FILES / "XenAPI.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def records() -> Records:
    made = Records(2)
    network = made.add_network("xenbr0", vswitch_disable_in_band="true")
    pif = made.add_pif("eth0", network, "02:00:00:00:00:01", management=True)
    made.add_vlan(pif, made.add_network("xapi1"), 30)
    made.add_tunnel(pif, made.add_network("xapi2"), "02:00:00:00:00:02", "vxlan")
    return made


@pytest.fixture
def xapi(lab: Lab, records: Records) -> Xapi:
    plugins = lab.directory / "plugins"
    plugins.mkdir()
    plugin = plugins / "example"
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    path = lab.directory / "xapi"
    environment = {"PYTHONPATH": str(FILES), "XAPI_SOCKET": str(path)}
    return Xapi(lab.namespace("host").spawn, records, str(path), str(plugins), environment).start()


def test_xml_rpc_as_a_host_s_scripts_speak_it(
    xapi: Xapi, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    xen_api = load_xen_api(monkeypatch, pathlib.Path(xapi.path))
    session = xen_api.xapi_local()
    session._session = "OpaqueRef:of-nobody"
    with pytest.raises(xen_api.Failure) as failure:
        session.xenapi.pool.get_all()
    assert failure.value.details == ["SESSION_INVALID", "OpaqueRef:of-nobody"]

    session.xenapi.login_with_password("root", "")
    assert session.handle.startswith("OpaqueRef:")
    host = session.xenapi.host.get_by_uuid(HOST_UUID)
    assert host == records.host == session.xenapi.session.get_this_host(session.handle)
    (management,) = session.xenapi.PIF.get_all_records_where('field "management"="true"').values()
    assert management["device"] == "eth0"
    assert management["VLAN"] == "-1", "an integer is a string in XML-RPC"
    assert management["bond_slave_of"] == NULL
    tagged = session.xenapi.PIF.get_all_records_where(
        'not field "VLAN"="-1" and (field "device"="eth0" or field "device"="eth1")'
    )
    assert [pif["VLAN"] for pif in tagged.values()] == ["30"]
    (tunnel,) = session.xenapi.tunnel.get_all_records().values()
    assert session.xenapi.PIF.get_record(tunnel["transport_PIF"])["device"] == "eth0"

    network = session.xenapi.PIF.get_network(tunnel["transport_PIF"])
    assert session.xenapi.network.get_other_config(network) == {"vswitch-disable-in-band": "true"}
    session.xenapi.network.remove_from_other_config(network, "vswitch-disable-in-band")
    session.xenapi.network.add_to_other_config(network, "key", "value")
    assert session.xenapi.network.get_record(network)["other_config"] == {"key": "value"}
    for call, error in (
        (lambda: session.xenapi.network.add_to_other_config(network, "key", "b"), "MAP_DUPLICATE_KEY"),
        (lambda: session.xenapi.network.get_record("OpaqueRef:none"), "HANDLE_INVALID"),
        (lambda: session.xenapi.network.get_by_uuid("none"), "UUID_INVALID"),
        (lambda: session.xenapi.network.explode("x"), "MESSAGE_METHOD_UNKNOWN"),
        (lambda: session.xenapi.network.get_record(), "MESSAGE_PARAMETER_COUNT_MISMATCH"),
        (lambda: session.xenapi.PIF.get_all_records_where('field "a"'), "INVALID_VALUE"),
    ):
        with pytest.raises(xen_api.Failure) as failure:
            call()
        assert failure.value.details[0] == error

    session.xenapi.logout()
    with pytest.raises(xen_api.Failure) as failure:
        session.xenapi.pool.get_all()
    assert failure.value.details[0] == "SESSION_INVALID"


def test_json_rpc_of_both_versions(xapi: Xapi) -> None:
    def ask(version: dict, method: str, *params: object) -> dict:
        return xapi._post("/jsonrpc", {**version, "id": 7, "method": method, "params": params})

    old, new = {}, {"jsonrpc": "2.0"}
    session = ask(old, "session.login_with_password", "root", "")["result"]
    (pool,) = ask(old, "pool.get_all", session)["result"]
    assert ask(old, "pool.get_master", session, pool) == {
        "result": xapi.call("host.get_all")[0], "error": None, "id": 7,
    }  # fmt: skip
    assert ask(old, "pool.get_all", "x") == {"result": None, "error": ["SESSION_INVALID", "x"], "id": 7}
    assert ask(new, "pool.get_all", session) == {"jsonrpc": "2.0", "result": [pool], "id": 7}
    assert ask(new, "pool.get_all", "x") == {
        "jsonrpc": "2.0", "error": {"code": 1, "message": "SESSION_INVALID", "data": ["x"]}, "id": 7,
    }  # fmt: skip
    vlans = ask(new, "PIF.get_all_records", session)["result"].values()
    assert sorted(pif["VLAN"] for pif in vlans) == [-1, -1, 30], "an integer is a number in JSON"
    assert ask(new, "session.logout", session)["result"] == ""


def test_plugins_are_run_as_xapi_runs_them(xapi: Xapi) -> None:
    assert xapi.call_plugin("example", "echo", word="alone") == "alone in a pool of 1"
    for function, code, data in (
        ("refuse", "NOT_TODAY", ["because", "of rain"]),
        ("break_down", "XENAPI_PLUGIN_FAILURE", ["break_down", "ZeroDivisionError"]),
        ("vanish", "XENAPI_PLUGIN_FAILURE", ["non-zero exit (3)"]),
        ("sing", "UNKNOWN_XENAPI_PLUGIN_FUNCTION", ["sing"]),
    ):
        with pytest.raises(XapiFailure) as failure:
            xapi.call_plugin("example", function)
        assert failure.value.code == code
        assert failure.value.data[: len(data)] == data
    with pytest.raises(XapiFailure, match="XENAPI_MISSING_PLUGIN"):
        xapi.call_plugin("absent", "echo")
    assert [run["function"] for run in xapi.plugin_runs()] == ["echo", "refuse", "break_down", "vanish", "sing"]
    assert len(xapi.control("sessions")) == 1, "a plugin's session ends with it"


def test_an_sdn_controller_at_a_time(xapi: Xapi) -> None:
    ref = xapi.call("SDN_controller.introduce", "pssl", "", 0)
    with pytest.raises(XapiFailure, match="ALREADY"):
        xapi.call("SDN_controller.introduce", "ssl", "192.0.2.1", 0)
    xapi.call("SDN_controller.forget", ref)
    with pytest.raises(XapiFailure, match="INVALID_VALUE"):
        xapi.call("SDN_controller.introduce", "pssl", "192.0.2.1", 0)
    xapi.call("pool.set_vswitch_controller", "192.0.2.9")
    (controller,) = xapi.call("SDN_controller.get_all_records").values()
    del controller["uuid"]
    assert controller == {"protocol": "ssl", "address": "192.0.2.9", "port": 6632}


def test_trouble(xapi: Xapi) -> None:
    xapi.fail("pool.*", "OUT_OF_SPACE", "disk", skip=1, times=1)
    xapi.drop("PIF.get_all")
    assert len(xapi.call("pool.get_all")) == 1
    with pytest.raises(XapiFailure, match="OUT_OF_SPACE"):
        xapi.call("pool.get_all")
    assert len(xapi.call("pool.get_all")) == 1
    with pytest.raises(http.client.RemoteDisconnected):
        xapi.call("PIF.get_all")
    xapi.recover()
    xapi.delay("PIF.get_all", 0.01, times=1)
    assert len(xapi.call("PIF.get_all")) == 3
    xapi.hold("VIF.get_all")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(xapi.call, "VIF.get_all")
        try:
            wait_until(lambda: xapi.calls()[-1] == "VIF.get_all", "the slow call is there")
            assert len(xapi.call("pool.get_all")) == 1, "others are answered meanwhile"
            assert not slow.done()
        finally:
            xapi.recover()
        assert slow.result(30) == []
    pool = xapi.call("pool.get_all")[0]
    xapi.call("pool.set_name_label", pool, "renamed")

    xapi.stop()
    connection = driver._Connection(xapi.path, 5)
    with pytest.raises(ConnectionRefusedError):
        connection.request("POST", "/", "")
    xapi.start()
    assert xapi.call("pool.get_name_label", pool) == "renamed"


def test_it_runs_by_itself_with_records_of_a_file(lab: Lab, records: Records) -> None:
    path = lab.directory / "records.json"
    path.write_text(json.dumps(records.tables))
    where = str(lab.directory / "sub" / "xapi")
    command = ["/usr/bin/python3", str(driver.PROGRAM), "--socket", where, "--records", str(path)]
    child = lab.spawn(command, "xapi")
    login = {"id": 1, "method": "session.login_with_password", "params": ["root", ""]}

    def answers() -> bool:
        connection = driver._Connection(where, 5)
        try:
            connection.request("POST", "/jsonrpc", json.dumps(login))
            return json.loads(connection.getresponse().read())["error"] is None
        except OSError:
            assert child.running, child.output()
            return False
        finally:
            connection.close()

    wait_until(answers, "XAPI answers")
