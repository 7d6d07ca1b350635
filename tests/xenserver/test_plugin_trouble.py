# SPDX-License-Identifier: GPL-2.0-or-later
"""The XAPI plugin when something fails: what it answers, and that the host is then as it was before."""

from __future__ import annotations

import ast
import concurrent.futures
import importlib.machinery
import importlib.util
import os
import pathlib
import signal
import sys
import types
import xmlrpc.client

import pytest

from netlab import xapi
from netlab.lab import Lab, run, wait_until
from netlab.plugin_host import BOOTSTRAP_CA, FOLDER, INSTALLED, INSTALLED_CA, NO_CHANGE, PLUGIN, PluginHost
from netlab.private_root import G2
from netlab.xapi import XapiFailure

ADDRESS = "192.0.2.1"
CONFIG = "VSWITCH_CONFIG_MOD_FAILURE"
FIREWALL_PORT = f"{FOLDER}/firewall-port"
# What waits for a dead switch gets the signal of its timeout as soon as its transaction is in the database: not
# after a second, in which a busy machine may not have come so far, and not after all of the plugin's patience.
IMPATIENT = """case "$*" in *--no-wait*) exec $real "$@" ;; esac
numbered() { $real --no-wait --timeout=20 get Open_vSwitch . next_cfg; }
before=$(numbered)
$real "$@" &
waiting=$!
(while [ "$(numbered)" = "$before" ]; do sleep 0.05; done; kill -ALRM $waiting) >/dev/null 2>&1 &
watch=$!
wait $waiting
status=$?
kill $watch 2>/dev/null
[ $status -le 128 ] || kill -ALRM $$
exit $status"""


@pytest.fixture(scope="module")
def machine(build):
    with Lab() as lab:
        yield PluginHost(lab, build, G2)


@pytest.fixture
def host(machine: PluginHost) -> PluginHost:
    """Its controller is the first one, and XAPI wants the second, which connects to the host."""
    machine.reset()
    assert machine.settle(ADDRESS) == machine.target(ADDRESS)
    machine.root.write(BOOTSTRAP_CA, "CA of the first")
    machine.root.write(INSTALLED_CA, "CA of the second")
    machine.want("pssl")
    machine.xapi.control("forget")
    return machine


def _state(host: PluginHost) -> tuple[str, str, list[int]]:
    return host.contents(), host.root.read(BOOTSTRAP_CA), host.open_ports()


def _fails(host: PluginHost, code: str, text: str, function: str = "update") -> None:
    """The function fails so, and nothing has changed."""
    before = _state(host)
    with pytest.raises(XapiFailure) as failure:
        host.xapi.call_plugin(host.plugin, function)
    assert failure.value.code == code
    assert text in " ".join(failure.value.data)
    assert _state(host) == before


def _succeeds(host: PluginHost) -> None:
    """The next update has nothing in its way."""
    host.xapi.recover()
    assert "Set controller to pssl:6640." in host.update()
    assert host.managers() == ["pssl:6640"] and host.open_ports() == [6640, 6653]
    assert not host.root.exists(BOOTSTRAP_CA) and not host.root.exists(BOOTSTRAP_CA + ".old")
    assert host.update() == NO_CHANGE


# XAPI


def test_xapi_fails_or_dies_in_the_middle(host: PluginHost) -> None:
    asked_for = ["pool.get_all_records", "SDN_controller.get_all_records", "network.get_all_records"]
    asked_for += ["PIF.get_all_records_where"]
    for method in asked_for:
        host.xapi.fail(method, "INTERNAL_ERROR", "disk full", times=1)
        _fails(host, "XENAPI_PLUGIN_FAILURE", "disk full")
        host.xapi.drop(method, times=2)  # Python's client tries twice.
        _fails(host, "XENAPI_PLUGIN_FAILURE", "")
    host.xapi.control("forget")
    _succeeds(host)
    asked = set(host.xapi.calls()) - {"host.get_all", "host.call_plugin"}
    assert asked == set(asked_for), "each call that it makes was tried"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (("ssl", "192.0.2.1; reboot", 0), "'192.0.2.1; reboot' is neither an IPv4 or IPv6 address nor a host's name"),
        (("ssl", "-", 0), "is neither"),
        (("ssl", "192.0.2.9", 70000), "port 70000; valid are ssl or pssl, and 1-65535"),
        (("tcp", "192.0.2.9", 6640), "protocol 'tcp'"),
    ],
)
def test_a_controller_that_no_manager_can_be_made_of(host: PluginHost, record: tuple, text: str) -> None:
    host.records.tables["SDN_controller"] = {}
    host.records.add_sdn_controller(*record)
    host.put()
    _fails(host, CONFIG, text)


def test_two_controllers(host: PluginHost) -> None:
    host.records.add_sdn_controller("ssl", "192.0.2.9")
    host.put()
    _fails(host, CONFIG, "The pool has 2 SDN controllers")


# the database


def test_a_database_that_does_not_answer(host: PluginHost) -> None:
    with host.instead_of("ovs-vsctl", 'echo "ovs-vsctl: unix:db.sock: connection failed" >&2; exit 1'):
        _fails(host, CONFIG, "cannot be read, nothing was changed: ovs-vsctl: unix:db.sock")
    with host.instead_of("ovs-vsctl", "echo nonsense"):
        _fails(host, CONFIG, "cannot be read, nothing was changed")
    _succeeds(host)


def test_a_transaction_that_is_refused(host: PluginHost) -> None:
    refuse = 'case "$*" in *set-manager*) echo "ovs-vsctl: constraint violation" >&2; exit 1 ;; esac\nexec $real "$@"'
    with host.instead_of("ovs-vsctl", refuse):
        _fails(host, CONFIG, "constraint violation")
    _succeeds(host)


def test_a_transaction_that_was_given_up(host: PluginHost) -> None:
    with host.instead_of("ovs-vsctl", 'case "$*" in *set-manager*) kill -ALRM $$ ;; esac\nexec $real "$@"'):
        _fails(host, CONFIG, "-14")
    _succeeds(host)


def test_a_transaction_of_which_nobody_knows(host: PluginHost) -> None:
    """The server went away after the commit: an absent CA and an open port are right in any case."""
    leave = '$real "$@"; : >/run/gone; kill -ALRM $$'
    script = f'[ ! -e /run/gone ] || exit 1\ncase "$*" in *set-manager*) {leave} ;; esac\nexec $real "$@"'
    with host.instead_of("ovs-vsctl", script):
        with pytest.raises(XapiFailure, match="whether it has the change is not known"):
            host.update()
    host.root.run("rm", "/run/gone")
    assert host.managers() == ["pssl:6640"] and host.open_ports() == [6640, 6653]
    assert not host.root.exists(BOOTSTRAP_CA)
    assert host.update() == NO_CHANGE


def test_a_bridge_that_is_removed_meanwhile(host: PluginHost) -> None:
    script = '$real "$@" || exit\ncase "$*" in *"list Bridge"*) $real --if-exists del-br xapi0 ;; esac'
    with host.instead_of("ovs-vsctl", script):
        assert "Set controller to pssl:6640." in host.update()
    assert host.fail_modes() == {"xenbr0": "standalone", "br-own": ""}
    # The same for the setting that is taken away, which needs no reset.
    words = ("--", "set", "Bridge", "xapi0", "fail_mode=standalone", "other_config:disable-in-band=true")
    host.root.vsctl("add-br", "xapi0", *words)
    with host.instead_of("ovs-vsctl", script):
        assert host.update() == "Updated in-band management."


def test_every_command_of_the_database_has_a_limit(host: PluginHost) -> None:
    host.root.run("rm", "-f", "/run/commands")
    with host.instead_of("ovs-vsctl", 'echo "$*" >>/run/commands\nexec $real "$@"'):
        host.update()
        host.xapi.call_plugin(host.plugin, "emergency_reset")
    commands = host.root.read("/run/commands").splitlines()
    assert [line.split()[0] for line in commands] == ["--timeout=5"] * len(commands) and len(commands) == 3
    assert sum("set-manager" in line and "emer-reset" in line for line in commands) == 1, "one transaction"


# the switch


def test_a_dead_switch(host: PluginHost) -> None:
    host.stop_switch()
    try:
        with host.instead_of("ovs-vsctl", IMPATIENT):
            answer = host.update()
            assert "Set controller to pssl:6640." in answer
            assert "ovs-vswitchd has not taken the change" in answer
            assert host.managers() == ["pssl:6640"] and host.open_ports() == [6640, 6653]
            assert host.update() == NO_CHANGE

            # Flows for management cannot be added: management is not given up.
            host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
            host.put()
            with pytest.raises(XapiFailure) as failure:
                host.update()
            assert failure.value.code == "VSWITCH_ADD_FLOW_FAILURE"
            assert "so xenbr0 has fail_mode=standalone until the next update" in failure.value.data[-1]
            assert host.fail_modes() == {"xenbr0": "standalone", "xapi0": "secure", "br-own": ""}

            answer = host.xapi.call_plugin(host.plugin, "emergency_reset")
            assert answer.startswith("Reset configuration.  Warning: ovs-vswitchd has not taken the change")
            assert host.managers() == [] and host.fail_modes()["xapi0"] == ""
    finally:
        host.start_switch()
    assert "Updated fail_mode." in host.update()
    assert host.fail_modes()["xenbr0"] == "secure"


def test_an_emergency_reset_that_fails(host: PluginHost) -> None:
    with host.instead_of("ovs-vsctl", 'echo "ovs-vsctl: connection failed" >&2; exit 1'):
        _fails(host, "VSWITCH_EMER_RESET_FAILURE", "connection failed", "emergency_reset")


# flows for management


def test_a_flow_that_is_refused(host: PluginHost) -> None:
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.put()
    refuse = 'case "$*" in *dl_dst*) echo "ovs-ofctl: table full" >&2; exit 1 ;; esac'
    for _ in range(2):
        with host.instead_of("ovs-ofctl", refuse), pytest.raises(XapiFailure) as failure:
            host.update()
        assert failure.value.code == "VSWITCH_ADD_FLOW_FAILURE"
        assert failure.value.data[:2] == ["1", "xenbr0"] and "dl_dst" in failure.value.data[2]
        assert "table full" in failure.value.data[3]
        assert host.fail_modes() == {"xenbr0": "standalone", "xapi0": "secure", "br-own": ""}
        assert host.managers() == ["pssl:6640"]
    assert "Updated fail_mode." in host.update()
    assert host.fail_modes()["xenbr0"] == "secure"


def test_a_management_interface_that_is_not_in_its_bridge(host: PluginHost) -> None:
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.put()
    host.root.vsctl("del-port", "eth0")
    with pytest.raises(XapiFailure, match="xenbr0 has no port for the management interface eth0"):
        host.update()
    assert host.fail_modes()["xenbr0"] == "standalone"


# files and the firewall


def test_a_ca_that_cannot_be_removed(host: PluginHost) -> None:
    host.root.run("mount", "--bind", BOOTSTRAP_CA, BOOTSTRAP_CA)
    try:
        _fails(host, CONFIG, f"{BOOTSTRAP_CA}, the CA of the last controller, cannot be removed")
    finally:
        host.root.run("umount", BOOTSTRAP_CA)
    _succeeds(host)


def test_a_firewall_that_cannot_be_opened(host: PluginHost) -> None:
    script = 'case "$*" in "open 6653") echo "iptables: no memory" >&2; exit 4 ;; esac\nexec $real "$@"'
    with host.replaced(FIREWALL_PORT, script):
        _fails(host, CONFIG, "could not open TCP port 6653 (iptables: no memory); nothing was changed.")
    _succeeds(host)


def test_a_firewall_that_cannot_be_closed(host: PluginHost) -> None:
    _succeeds(host)
    host.want("")
    with host.replaced(FIREWALL_PORT, 'case $1 in close) exit 4 ;; esac\nexec $real "$@"'):
        answer = host.update()
    assert "Removed controller configuration." in answer
    assert "could not close TCP port 6640, on which nothing listens any more: status 4" in answer
    assert host.managers() == []
    host.root.run(FIREWALL_PORT, "close", "6640")
    host.root.run(FIREWALL_PORT, "close", "6653")


def test_ports_that_were_open_before_stay_open_after_a_failure(host: PluginHost) -> None:
    host.root.run(FIREWALL_PORT, "open", "6640")
    refuse = 'case "$*" in *set-manager*) exit 1 ;; esac\nexec $real "$@"'
    with host.instead_of("ovs-vsctl", refuse):
        _fails(host, CONFIG, "")
    assert host.open_ports() == [6640]


def test_without_a_firewall_port_there_is_nothing_to_open(host: PluginHost) -> None:
    host.root.run("mv", FIREWALL_PORT, "/run/firewall-port")
    try:
        assert "Set controller to pssl:6640." in host.update()
    finally:
        host.root.run("mv", "/run/firewall-port", FIREWALL_PORT)
    assert host.open_ports() == []


def test_a_failing_rewrite_of_interfaces_does_not_stop_the_rest(host: PluginHost) -> None:
    path = "/opt/xensource/libexec/interface-reconfigure"
    host.root.write(path, '#!/bin/sh\n[ "$*" = rewrite ] && echo "no such PIF" >&2\nexit 1\n', 0o755)
    try:
        answer = host.update()
    finally:
        host.root.run("rm", path)
    assert f"Warning: {path} rewrite ended with status 1: no such PIF" in answer
    assert host.managers() == ["pssl:6640"]


# the program


def test_one_call_at_a_time(host: PluginHost) -> None:
    lock = "/run/openvswitch-cfg-update.lock"
    host.root.run("mkfifo", "/run/holding")
    holder = host.root.spawn("flock", lock, "cat", "/run/holding", name="holder")

    def holding_or_waiting() -> int:
        file = os.stat(host.root.path(lock))
        name = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        lines = pathlib.Path("/proc/locks").read_text(encoding="ascii").splitlines()
        return sum("FLOCK" in line and name in line.split() for line in lines)

    wait_until(lambda: host.root.exists(lock) and holding_or_waiting() == 1, "the lock is held")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(host.update)
        try:
            wait_until(lambda: answer.done() or holding_or_waiting() == 2, "the plugin waits")
            assert not answer.done()
            assert host.managers() == [host.target(ADDRESS)]
        finally:
            host.root.run("sh", "-c", ": >/run/holding")
        assert "Set controller" in answer.result(30)
    holder.wait()
    host.root.run("rm", "/run/holding")


def test_an_emergency_reset_does_not_wait_for_xapi(host: PluginHost) -> None:
    """Nor does an update, without an end."""
    host.xapi.hold("network.get_all_records")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(host.update)
        try:
            wait_until(lambda: "network.get_all_records" in host.xapi.calls(), "the update waits for XAPI")
            assert host.xapi.call_plugin(host.plugin, "emergency_reset") == "Reset configuration."
            assert host.managers() == [] and not answer.done()
        finally:
            host.xapi.recover()
        assert "Set controller" in answer.result(30)
    hurried = PLUGIN.read_text(encoding="utf-8").replace("XAPI_SECONDS = 300", "XAPI_SECONDS = 0.5")
    host.root.write("/run/hurried", hurried, 0o755)
    host.root.run("mount", "--bind", "/run/hurried", INSTALLED)
    host.xapi.hold("network.get_all_records")
    try:
        with pytest.raises(XapiFailure, match="timed out"):
            host.update()
    finally:
        host.xapi.recover()
        host.root.run("umount", INSTALLED)


def test_it_starts_again_with_the_python_that_has_xapi_s_module(host: PluginHost) -> None:
    """As on a host with a Python 3 beside the one that XAPI's own plugins run with."""
    module = "/usr/lib/python3/dist-packages/XenAPIPlugin.py"
    host.root.run("mv", module, f"{module}.away")
    try:
        answer = host.root.run(f"{FOLDER}/{host.plugin}", "x", check=False)
        assert answer.returncode != 0 and "No module named 'XenAPIPlugin'" in answer.stderr
        script = '#!/bin/sh\nexport PYTHONPATH=/run/modules\nexec python3 "$@"\n'
        host.root.write("/usr/bin/python2.7", script, 0o755)
        host.root.run("install", "-D", f"{module}.away", "/run/modules/XenAPIPlugin.py")
        assert "Set controller" in host.update()
    finally:
        host.root.run("mv", f"{module}.away", module)
        host.root.run("rm", "-f", "/usr/bin/python2.7")


def test_a_command_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "XenAPIPlugin", types.ModuleType("XenAPIPlugin"))
    loader = importlib.machinery.SourceFileLoader("cfg_update", str(PLUGIN))
    specification = importlib.util.spec_from_loader("cfg_update", loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    loader.exec_module(module)
    assert module.run(["sleep", "infinity"], 0.1) == (-signal.SIGKILL, "", "")
    # Nor does what it has started hold us up.
    assert module.run(["sh", "-c", "sleep infinity; :"], 0.1) == (-signal.SIGKILL, "", "")
    assert module.run(["sh", "-c", "sleep infinity & echo said"], 0.1) == (0, "said\n", "")
    assert module.run(["/no/such/program"]) == (127, "", "/no/such/program: No such file or directory")


def test_it_finds_its_programs_without_a_path(host: PluginHost) -> None:
    command = [f"{FOLDER}/{host.plugin}", xmlrpc.client.dumps(("no session", {}), "emergency_reset")]
    for path in ("", "/opt/xensource/bin"):
        answer = host.root.run("/usr/bin/python3", *command, env={"PATH": path})
        assert "Reset configuration." in answer.stdout


def test_text_is_utf_8_without_a_locale(host: PluginHost) -> None:
    """XAPI gives its plugins none; so is Python before 3.7 then."""
    host.root.run("cp", INSTALLED, "/run/plugin")
    start = "exec env LC_ALL=C PYTHONCOERCECLOCALE=0 /usr/bin/python3 -X utf8=0 /run/plugin"
    host.root.write("/run/start", f'#!/bin/sh\n{start} "$@"\n', 0o755)
    host.root.run("mount", "--bind", "/run/start", INSTALLED)
    try:
        host.root.vsctl("set", "Bridge", "xenbr0", "other_config:note=\u00fcber \u2603")
        host.network("xenbr0")["other_config"]["vswitch-disable-in-band"] = "n\u00f6"
        host.put()
        answer = host.update()
    finally:
        host.root.run("umount", INSTALLED)
        host.root.vsctl("remove", "Bridge", "xenbr0", "other_config", "note")
    assert 'Warning: "n\u00f6" is an invalid value' in answer and "Set controller to pssl:6640." in answer


HOST_S_PYTHON = [PLUGIN, *(pathlib.Path(xapi.__file__).parent / "xen_files").glob("XenAPI*.py")]


@pytest.mark.parametrize("path", HOST_S_PYTHON, ids=lambda path: path.name)
def test_hosts_with_python_2_7_can_read_it(path: pathlib.Path) -> None:
    """What Python 3 has in its grammar and 2.7 does not; names of modules are not looked at."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    newer = (
        *(ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal, ast.Starred, ast.YieldFrom, ast.Await),
        *(ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Match, ast.MatMult),
    )
    assert "print_function" in {
        name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    for node in ast.walk(tree):
        where = f"{path.name}:{getattr(node, 'lineno', '?')}: {ast.dump(node)[:80]}"
        # f(*arguments) is older than the rest of what a star may do.
        if isinstance(node, ast.Call):
            assert sum(isinstance(value, ast.Starred) for value in node.args) <= 1, where
            assert not any(isinstance(value, ast.Starred) for value in node.args[:-1]), where
            for value in node.args:
                if isinstance(value, ast.Starred):
                    value.ctx = ast.Del()  # Seen.
        assert not isinstance(node, newer) or isinstance(getattr(node, "ctx", None), ast.Del), where
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            assert not (arguments.kwonlyargs or arguments.posonlyargs or node.returns), where
            assert not any(argument.annotation for argument in arguments.args), where
        if isinstance(node, ast.Raise):
            assert node.cause is None, where
        if isinstance(node, ast.ClassDef):
            assert not node.keywords and node.bases, where
        if isinstance(node, ast.Dict):
            assert None not in node.keys, where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super":
            assert node.args, where


def test_its_syntax_is_old_enough_for_python_3_4() -> None:
    code = f"import ast; ast.parse(open({str(PLUGIN)!r}).read(), feature_version=(3, 4))"
    run(["/usr/bin/python3", "-c", code])
