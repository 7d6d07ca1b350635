# SPDX-License-Identifier: GPL-2.0-or-later
"""Start, reload, stop and crash of the daemon, and what becomes of the host's devices meanwhile.

    vm1 eth0 ─ vif1 ┤br0├ t0 ~ br-phy ─ eth0 ───wire─── eth0 ─ br-phy ~ t0 ┤br0├ vif2 ─ eth0 vm2
                    h1         172.20.0.1               172.20.0.2         h2
"""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import time

import pytest

from netlab.daemon import Build, Culvertd
from netlab.lab import Lab, LabError, wait_until
from netlab.measure import ping, wait_for_ping
from netlab.topology import Host, Vm, tunnel_pair


def lone_host(lab: Lab, build: Build, machines: int = 2) -> Host:
    """A host whose uplink leads nowhere."""
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    for number in range(1, machines + 1):
        host.add_vm(number)
    return host


def nft_tables(host: Host) -> str:
    return host.ns.run("nft", "list", "tables").stdout


# Start


def test_readiness_is_reported_after_everything_works(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    assert "READY=1" in host.daemon.notify.messages
    assert any(line.startswith("STATUS=") for line in host.daemon.notify.messages)
    # No waiting here: what is ready forwards and answers.
    assert host.daemon.ctl("show").returncode == 0
    assert ping(host.vms[0].ns, host.vms[1].address(), count=1).received == 1


def test_the_local_port_carries_what_the_file_says(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    mac = "02:00:ac:14:00:01"
    host.config.find_bridge("br-phy")["local"]["mac"] = mac
    host.start()
    link = host.ns.links()["br-phy"]
    assert (link["mtu"], link["address"]) == (1600, mac)
    assert "UP" in link["flags"]
    addresses = host.ns.ip("addr", "show", "dev", "br-phy").stdout
    assert f"{host.underlay(4)}/24" in addresses and f"{host.underlay(6)}/64" in addresses


def test_a_socket_that_is_in_use_is_refused(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build, machines=0)
    host.start()
    second = Host(lab, build, 2)
    lab.wire(second.ns, "eth0", lab.namespace("nobody2"), "eth0", mtu=host.mtu)
    second.config.daemon["socket"] = str(host.daemon.socket_path)
    with pytest.raises(LabError, match="before it was ready"):
        second.start()
    assert second.daemon.process.wait() == 1
    assert str(host.daemon.socket_path) in second.daemon.log()
    assert host.daemon.ctl("version").returncode == 0


def test_two_daemons_live_on_one_host(lab: Lab, build: Build) -> None:
    """In one namespace, each with its own bridges, ports and socket."""
    first = lone_host(lab, build)
    first.start()
    config = first.config.copy()
    config.daemon = {}
    config.bridges, config.ports, config.tunnels = [], [], []
    config.bridge("br5")
    machines = [first.wire_vm(number) for number in (5, 6)]
    for machine in machines:
        config.port(machine.port, "br5", kind="linux")
    second = Culvertd(first.ns, build, config, name="second")
    second.start()
    assert ping(machines[0].ns, machines[1].address()).received == 3
    assert ping(first.vms[0].ns, first.vms[1].address()).received == 3
    assert second.stop() == 0
    assert ping(first.vms[0].ns, first.vms[1].address()).received == 3
    # The second daemon's claims went with it, the first one's stayed.
    assert "vif5" not in first.ns.run("nft", "list", "ruleset").stdout
    assert "vif1" in first.ns.run("nft", "list", "ruleset").stdout


# Stop and crash


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_nothing(lab: Lab, build: Build, number: signal.Signals) -> None:
    host = lone_host(lab, build)
    before = set(host.ns.links())
    host.start()
    pid = host.daemon.pid
    assert set(host.ns.links()) == before | {"br-phy"}
    assert nft_tables(host) != ""
    assert host.daemon.socket_path.exists()
    assert host.daemon.stop(number) == 0
    assert set(host.ns.links()) == before
    assert nft_tables(host) == ""
    assert not host.daemon.socket_path.exists()
    for folder in ("/run/dpdk", "/var/run/dpdk"):
        assert not pathlib.Path(folder, f"culvert-{pid}").exists()


def test_a_stop_gives_the_interfaces_back_to_the_kernel(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    host.daemon.stop()
    host.ns.add_address("vif1", "10.0.0.100/24")
    assert ping(host.vms[0].ns, "10.0.0.100").received == 3


def test_stopping_is_reported(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    notify = host.daemon.notify
    host.daemon.process.send_signal(signal.SIGTERM)
    wait_until(
        lambda: notify.receive(0.1) and "STOPPING=1" in notify.messages, "STOPPING=1 is sent"
    )


@pytest.mark.parametrize("times", [1, 3])
def test_a_killed_daemon_starts_again(lab: Lab, build: Build, times: int) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4)
    near, far = (host.vms[0] for host in hosts)
    assert ping(near.ns, far.address()).received == 3
    for _ in range(times):
        assert hosts[0].daemon.stop(signal.SIGKILL) == -signal.SIGKILL
        hosts[0].daemon.start()
        wait_for_ping(near.ns, far.address())
    assert hosts[0].daemon.stop() == 0
    assert nft_tables(hosts[0]) == ""
    assert "br-phy" not in hosts[0].ns.links()


# Reload


def test_reload_is_reported_to_the_service_manager(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    notify = host.daemon.notify
    notify.messages.clear()
    host.daemon.send_reload_signal()
    wait_until(lambda: notify.receive(0.1) and "READY=1" in notify.messages, "READY=1 comes again")
    assert notify.messages.index("RELOADING=1") < notify.messages.index("READY=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in notify.messages)


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_bad_file_at_reload_changes_nothing(lab: Lab, build: Build, by_signal: bool) -> None:
    host = lone_host(lab, build)
    host.start()
    shown = host.daemon.ctl("show").stdout
    host.config.find_port("vif2")["bridge"] = "br9"
    host.config.port("vif7", "br0", hotplug=True)
    if by_signal:
        host.daemon.send_reload_signal()
        wait_until(lambda: "br9" in host.daemon.log(), "the log names the mistake")
        assert f"{host.daemon.config_path}:" in host.daemon.log()
    else:
        host.daemon.write_config()
        done = host.daemon.ctl("reload", check=False)
        assert done.returncode == 1
        assert f"{host.daemon.config_path}:" in done.stderr and "br9" in done.stderr
    assert host.daemon.ctl("show").stdout == shown
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    host.config.find_port("vif2")["bridge"] = "br0"
    host.daemon.reload()
    assert host.daemon.shown("vif7") is not None


def test_a_change_that_needs_a_restart_says_so(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    host.config.section("workers", count=2)
    host.daemon.write_config()
    done = host.daemon.ctl("reload", check=False)
    assert done.returncode == 1
    assert "restart" in done.stderr and "workers" in done.stderr
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3


def test_a_reload_adds_and_removes_bridges_ports_and_tunnels(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4, start=False)
    tunnels = [host.config.tunnels.pop() for host in hosts]
    for host in hosts:
        host.start()
    near, far = (host.vms[0] for host in hosts)
    assert ping(near.ns, far.address(), count=1, wait_s=0.5).received == 0
    for host, tunnel in zip(hosts, tunnels):
        host.config.tunnels.append(tunnel)
        host.daemon.reload()
    assert ping(near.ns, far.address()).received == 3
    hosts[0].config.tunnels.clear()
    hosts[0].daemon.reload()
    assert hosts[0].daemon.shown("t0") is None
    assert ping(near.ns, far.address(), count=1, wait_s=0.5).received == 0
    hosts[0].config.bridges.pop()
    hosts[0].config.ports.pop()
    hosts[0].daemon.reload()
    assert hosts[0].daemon.shown("br0") is None
    assert "vif1" not in hosts[0].ns.run("nft", "list", "ruleset").stdout


def test_a_bridge_gains_and_loses_its_local_port(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    host.config.find_bridge("br0")["local"] = {"addresses": ["10.0.0.100/24"]}
    host.daemon.reload()
    assert "br0" in host.ns.links()
    wait_for_ping(host.vms[0].ns, "10.0.0.100")
    del host.config.find_bridge("br0")["local"]
    host.daemon.reload()
    wait_until(lambda: "br0" not in host.ns.links(), "the device br0 is gone")
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3


# Devices that come, go and change


def reboot(host: Host, machine: Vm) -> None:
    host.unplug(machine)
    host.plug(machine)


@pytest.mark.parametrize("hotplug", [True, False])
def test_a_rebooted_machine_is_connected_again(lab: Lab, build: Build, hotplug: bool) -> None:
    """Its interface vanishes from the host and comes back under the same name."""
    host = lone_host(lab, build)
    for port in ("vif1", "vif2"):
        host.config.find_port(port)["hotplug"] = hotplug
    host.start()
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    for _ in range(3):
        reboot(host, host.vms[1])
        wait_for_ping(host.vms[0].ns, host.vms[1].address())
    # The new interface is claimed as the old one was: the host's kernel does not hear it.
    assert "vif2" in host.ns.run("nft", "list", "ruleset").stdout


def test_a_deleted_local_port_is_made_anew(lab: Lab, build: Build) -> None:
    hosts = tunnel_pair(lab, build, "vxlan", 4)
    near, far = hosts[0].vms[0], hosts[1].vms[0]
    wait_for_ping(near.ns, far.address())
    hosts[0].ns.ip("link", "del", "br-phy")
    wait_until(
        lambda: hosts[0].underlay(4) in hosts[0].ns.ip("addr", "show").stdout,
        "br-phy is back with its address",
    )
    wait_for_ping(near.ns, far.address())


def test_an_interface_that_left_and_returned_unseen_is_read_again(lab: Lab, build: Build) -> None:
    """While the daemon stands still, the interface visits another namespace and comes back."""
    host = lone_host(lab, build)
    elsewhere = lab.namespace("elsewhere")
    host.start()
    wait_for_ping(host.vms[0].ns, host.vms[1].address())
    os.kill(host.daemon.pid, signal.SIGSTOP)
    try:
        host.ns.ip("link", "set", "vif2", "netns", elsewhere.full_name)
        elsewhere.ip("link", "set", "vif2", "netns", host.ns.full_name)
        host.ns.ip("link", "set", "vif2", "up")
    finally:
        os.kill(host.daemon.pid, signal.SIGCONT)
    wait_for_ping(host.vms[0].ns, host.vms[1].address())


def test_an_address_left_on_the_uplink_is_pointed_out(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build, machines=0)
    host.ns.add_address("eth0", "172.20.0.77/24")
    host.start()
    assert "ip addr flush dev eth0" in host.daemon.log()


def test_a_hotplug_port_joins_when_it_appears(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build, machines=1)
    host.config.port("vif2", "br0", hotplug=True)
    host.start()
    second = host.wire_vm(2)
    wait_for_ping(host.vms[0].ns, second.address())


def test_an_interface_that_goes_down_and_up_again(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    host.ns.ip("link", "set", "vif2", "down")
    wait_until(lambda: host.daemon.shown("vif2")["link"] == "down", "vif2 is shown as down")
    assert ping(host.vms[0].ns, host.vms[1].address(), count=1, wait_s=0.3).received == 0
    host.ns.ip("link", "set", "vif2", "up")
    wait_for_ping(host.vms[0].ns, host.vms[1].address())


def test_the_mtu_of_an_interface_is_followed(lab: Lab, build: Build) -> None:
    host = Host(lab, build, 1)
    lab.wire(host.ns, "eth0", lab.namespace("nobody"), "eth0", mtu=host.mtu)
    near, far = host.add_vm(1, mtu=4000), host.add_vm(2, mtu=1500)
    host.start()
    assert host.daemon.shown("vif2")["mtu"] == 1500
    large = {"size": 3000, "do_not_fragment": True}
    assert ping(near.ns, far.address(), count=2, wait_s=0.3, **large).received == 0
    host.daemon.wait_for_drops("port_mtu_exceeded", 2)
    host.ns.ip("link", "set", "vif2", "mtu", 4000)
    far.ns.ip("link", "set", "eth0", "mtu", 4000)
    wait_until(lambda: host.daemon.shown("vif2")["mtu"] == 4000, "the new MTU is shown")
    assert ping(near.ns, far.address(), **large).received == 3


def test_an_mtu_in_the_file_is_set_on_the_interface(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.config.find_port("vif1")["mtu"] = 1400
    host.start()
    assert host.ns.mtu("vif1") == 1400
    host.config.find_port("vif1")["mtu"] = 1450
    host.daemon.reload()
    assert host.ns.mtu("vif1") == 1450


def test_a_tap_port_is_a_device_of_the_host(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build, machines=1)
    host.config.port("tap9", "br0", kind="tap", mac="02:00:0a:00:00:09", mtu=1400)
    host.start()
    link = host.ns.links()["tap9"]
    assert (link["address"], link["mtu"]) == ("02:00:0a:00:00:09", 1400)
    host.ns.add_address("tap9", "10.0.0.9/24")
    host.ns.ip("link", "set", "tap9", "up")
    wait_for_ping(host.vms[0].ns, "10.0.0.9")
    host.config.ports.pop()
    host.daemon.reload()
    wait_until(lambda: "tap9" not in host.ns.links(), "the device tap9 is gone")


# Running quietly


def test_an_idle_daemon_sleeps(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.start()
    assert ping(host.vms[0].ns, host.vms[1].address()).received == 3
    before, started = host.daemon.cpu_seconds(), time.monotonic()
    time.sleep(2)  # The time over which the processor's use is measured.
    used = host.daemon.cpu_seconds() - before
    assert used < 0.2 * (time.monotonic() - started)


def test_the_log_goes_where_the_file_says(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    path = lab.directory / "culvertd.log"
    host.config.daemon["log_file"] = str(path)
    host.start()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines and all("|info|" in line or "|warning|" in line for line in lines)
    rotated = lab.directory / "culvertd.log.1"
    os.rename(path, rotated)
    host.daemon.ctl("log", "reopen")
    assert path.exists()
    host.daemon.stop()
    assert "stopping" in path.read_text(encoding="utf-8")
    assert "stopping" not in rotated.read_text(encoding="utf-8")


def test_a_log_level_hides_what_is_below_it(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build)
    host.config.daemon["log_level"] = "error"
    host.start()
    assert host.daemon.log() == ""
    host.daemon.ctl("log", "set", "debug")
    host.daemon.stop()
    assert "|info|" in host.daemon.log()


def test_without_a_service_manager_it_runs_as_well(lab: Lab, build: Build) -> None:
    host = lone_host(lab, build, machines=0)
    host.daemon.write_config()
    process = host.ns.spawn(build.culvertd, "--config", host.daemon.config_path)

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(host.daemon.socket_path)) == 0

    wait_until(answers, "the control socket accepts")
    assert host.daemon.ctl("version").returncode == 0
    assert process.stop() == 0
