# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots of a host with its XAPI, in order and with the real scripts, for both generations: bridges before
XAPI, the controller set, changed and removed, another pool, secure fail mode, XAPI dead, a second boot, and
one whose database is corrupt. After each step the database and the firewall are what they have to be.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, wait_until
from netlab.private_root import G1, G2, GRE, JUMP, PrivateRoot
from netlab.systemd import Systemd
from netlab.xapi import Xapi
from netlab.xen_records import HOST_UUID, Records

SERVICE = "/etc/init.d/openvswitch"
SYNC = "openvswitch-xapi-sync"
XAPI_UPDATE = "/etc/init.d/openvswitch-xapi-update"
CACHE = "/var/xapi/network.dbcache"
CACHE_FILE = pathlib.Path(__file__).with_name("network.dbcache")
NETWORK = "50000000-0000-4000-8000-000000000001"  # Of xenbr0, in the cache's file too.
VLAN_NETWORK = "50000000-0000-4000-8000-000000000002"  # In the cache's file only.
MAC = "00:16:3e:00:00:01"
KEY = "/etc/xensource/xapi-ssl.pem"
COOKIE = "/var/run/xapi_init_complete.cookie"
XAPI_JUMP = "-A INPUT -j xapi-INPUT"

# As xcp-networkd does at its start with the configuration that it keeps.
NETWORKD = f"""[Unit]
Before=xapi.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -ec 'ovs-vsctl --timeout=20 -- --may-exist add-br xenbr0 \\
    -- set bridge xenbr0 other-config:hwaddr="\\"{MAC}\\"" -- set bridge xenbr0 fail_mode=standalone \\
    -- remove bridge xenbr0 other_config disable-in-band -- br-set-external-id xenbr0 xs-network-uuids {NETWORK}; \\
    ovs-vsctl --timeout=20 -- --may-exist add-port xenbr0 eth0; \\
    ovs-vsctl --timeout=20 set Open_vSwitch . other_config:max-idle=5000'
[Install]
WantedBy=multi-user.target
"""


class Host:
    """dom0 with the network card eth0, and its pool's records."""

    def __init__(self, lab: Lab, build: Build, generation: str) -> None:
        self.root = PrivateRoot(lab.namespace("dom0"), build, generation, nics=("eth0",))
        self.root.run("/usr/libexec/culvert/culvert-setup", "install")
        lab.wire(self.root, "eth0", lab.namespace("far"), "e0")
        self.root.write(KEY, "no certificate, as no controller listens\n", 0o600)
        self.records = Records(1 if generation == G1 else 2)
        self.add_network(NETWORK)
        self.xapi = Xapi.in_root(self.root, self.records)

    def add_network(self, number: str) -> None:
        network = self.records.add_network("xenbr0", number=number)
        self.records.add_pif("eth0", network, MAC, management=True)

    @property
    def pool(self) -> dict:
        return self.records.get("pool", self.records.pool)

    def join_another_pool(self, network: str) -> None:
        """Its records are the pool's from here on."""
        for table in ("network", "PIF"):
            self.records.tables[table].clear()
        self.add_network(network)
        self.xapi.put(self.records)

    def column(self, name: str) -> object:
        (row,) = self.root.rows("Open_vSwitch", name)
        return row[name]

    def managers(self) -> list[str]:
        return self.root.vsctl("--no-wait", "get-manager").split()

    def authorities(self) -> list[tuple[str, bool]]:
        rows = self.root.rows("SSL", "ca_cert", "bootstrap_ca_cert")
        return [(row["ca_cert"], row["bootstrap_ca_cert"]) for row in rows]

    def bridges(self) -> dict[str, tuple[object, dict, dict]]:
        rows = self.root.rows("Bridge", "name", "fail_mode", "other_config", "external_ids")
        return {row["name"]: (row["fail_mode"], row["other_config"], row["external_ids"]) for row in rows}

    def check_identity(self, system: tuple[str, str]) -> None:
        ids = {"system-id": HOST_UUID, "xs-system-uuid": HOST_UUID, "rundir": "/var/run/openvswitch"}
        found = self.column("external_ids")
        assert isinstance(found, dict) and {key: found.get(key) for key in ids} == ids
        assert set(found) - set(ids) <= {"hostname"}
        assert (self.column("system_type"), self.column("system_version")) == system
        assert self.root.run("readlink", "-e", "/usr/sbin/ovs-vswitchd").stdout == "/usr/sbin/culvertd\n"


def bridge(network: str = NETWORK, mode: str = "standalone", **ids: str) -> dict[str, tuple[object, dict, dict]]:
    external = {"xs-network-uuids": network, **{key.replace("_", "-"): value for key, value in ids.items()}}
    return {"xenbr0": (mode, {"hwaddr": MAC}, external)}


@pytest.mark.timeout(120)
def test_boots_by_init_scripts(lab: Lab, build: Build) -> None:
    host = Host(lab, build, G1)
    root = host.root
    root.write(CACHE, CACHE_FILE.read_text(encoding="utf-8"))

    def boot() -> None:
        done = root.boot("management-interface")
        assert list(done) == ["openvswitch", "management-interface"]
        assert [script.returncode for script in done.values()] == [0, 0], done
        host.check_identity(("XenServer", "6.2.0-70446c"))
        assert root.rules() == [GRE, JUMP]

    def update(status: int = 0) -> str:
        done = root.run(XAPI_UPDATE, "start", check=False)
        assert done.returncode == status and root.exists("/var/lock/subsys/openvswitch-xapi-update"), done
        return done.stdout + done.stderr

    def ask_for(mode: str) -> None:
        """The pool's fail mode; ovs-xapi-sync keeps what it was told by XAPI until the service is reloaded."""
        host.pool["other_config"]["vswitch-controller-fail-mode"] = mode
        host.xapi.put(host.records)
        root.run(SERVICE, "reload")
        wait_until(lambda: host.bridges()["xenbr0"][0] == mode, f"ovs-xapi-sync has seen that the mode is {mode}")

    # The first boot, and S95 with XAPI dead: the host is as it was.
    boot()
    assert host.bridges() == bridge(f"{NETWORK};{VLAN_NETWORK}")
    assert (host.managers(), host.authorities()) == ([], [])
    before = host.bridges()
    assert "the controller is as it was" in update(status=1)
    assert host.bridges() == before

    # XAPI is up: its sync gives bridges their ids, and there is no controller yet.
    host.xapi.start()
    root.write(COOKIE, "")
    update()
    wait_until(lambda: host.bridges() == bridge(bridge_id=NETWORK), "ovs-xapi-sync has seen the bridge")
    assert (host.managers(), host.authorities()) == ([], [])

    host.pool["vswitch_controller"] = "192.0.2.9"
    host.xapi.put(host.records)
    assert "Set controller to 192.0.2.9" in update()
    assert host.managers() == ["ssl:192.0.2.9:6640"]
    assert host.authorities() == [("/etc/openvswitch/vswitchd.cacert", True)]
    assert "No change" in update()
    host.pool["vswitch_controller"] = "192.0.2.10"
    ask_for("secure")
    update()
    assert host.managers() == ["ssl:192.0.2.10:6640"] and host.bridges() == bridge(mode="secure", bridge_id=NETWORK)

    # A restart of the service is none of the bridges' and the controller's business.
    root.run(SERVICE, "restart")
    assert host.managers() == ["ssl:192.0.2.10:6640"] and host.bridges() == bridge(mode="secure", bridge_id=NETWORK)
    assert root.rules() == [GRE, JUMP]
    assert root.run(SERVICE, "status").stdout.count("is running with pid") == 3

    # Another pool has other networks and no controller; its bridge is known by the new network at once.
    joined = "50000000-0000-4000-8000-00000000000a"
    host.pool["vswitch_controller"] = ""
    ask_for("standalone")
    host.join_another_pool(joined)
    assert "Removed controller" in update()
    assert (host.managers(), host.authorities()) == ([], [])
    wait_until(lambda: host.bridges() == bridge(joined, bridge_id=joined), "ovs-xapi-sync has seen the new network")
    host.pool["vswitch_controller"] = "192.0.2.11"
    ask_for("secure")
    update()

    # The second boot: no bridge of the first until management-interface makes it of the cache, which
    # is that of the new pool; the database still has the controller.
    host.xapi.stop()
    root.reboot()
    root.boot("openvswitch")
    assert host.bridges() == {} and host.managers() == ["ssl:192.0.2.11:6640"]
    boot()
    assert host.bridges() == bridge(joined, "secure")

    # A database that is no more: the bridge comes of the cache, the controller when XAPI says so.
    root.reboot()
    root.path("/etc/openvswitch/conf.db").write_bytes(b"\0" * 512)
    boot()
    assert host.bridges() == bridge(joined, "secure") and host.managers() == []
    host.xapi.start()
    update()
    assert host.managers() == ["ssl:192.0.2.11:6640"]


@pytest.fixture
def modern(lab: Lab, build: Build) -> Iterator[tuple[Host, Systemd]]:
    host = Host(lab, build, G2)
    systemd = Systemd(host.root)
    host.root.write("/usr/lib/systemd/system/xcp-networkd.service", NETWORKD)
    host.root.run("systemctl", "enable", "openvswitch", "openvswitch-xapi-sync", "xcp-networkd")
    yield host, systemd
    systemd.power_cut()


@pytest.mark.timeout(120)
def test_boots_by_units(modern: tuple[Host, Systemd]) -> None:
    host, systemd = modern
    root = host.root

    def sync_runs() -> None:
        """To systemd it is active as soon as it has a process, also one that is about to fail."""
        answer = ("ovs-appctl", "--timeout=5", "-t", "ovs-xapi-sync", "version")
        wait_until(lambda: systemd.run(*answer, check=False).returncode == 0, "ovs-xapi-sync answers")
        pid = systemd.run("cat", "/var/run/openvswitch/ovs-xapi-sync.pid").stdout.strip()
        assert (systemd.show(SYNC, "MainPID"), systemd.show(SYNC, "NRestarts")) == (pid, "0"), systemd.output()

    def boot() -> None:
        systemd.boot()
        units = ("openvswitch", SYNC, "xcp-networkd")
        assert systemd.ctl("is-active", *units).stdout.split() == ["active"] * 3, systemd.output()
        sync_runs()
        host.check_identity(("XCP-ng", "8.3.0-cloud"))
        assert host.bridges() == bridge() and host.column("other_config") == {"max-idle": "5000"}
        # The database is new at each boot, so the controller comes when XAPI starts.
        assert (host.managers(), host.authorities()) == ([], [])

    def want(*controller: str) -> str:
        host.records.tables["SDN_controller"].clear()
        if controller:
            host.records.add_sdn_controller(*controller)
        host.xapi.put(host.records)
        return host.xapi.update_vswitch_controller()

    boot()
    assert root.rules() == [GRE, JUMP]
    host.xapi.start()
    assert want() == "No change to configuration"
    want("ssl", "192.0.2.9")
    assert host.managers() == ["ssl:192.0.2.9:6632"]
    assert host.authorities() == [("/etc/openvswitch/vswitchd.cacert", True)]
    # Xen Orchestra's: it comes to us. What the plugin opens goes before the rule for GRE.
    want("pssl")
    assert host.managers() == ["pssl:6640"]
    assert host.authorities() == [("/etc/stunnel/certs/sdn-controller-ca.pem", False)]
    assert root.rules() == [XAPI_JUMP, GRE, JUMP]
    assert [" 6640 " in rule or " 6653 " in rule for rule in root.rules("xapi-INPUT")] == [True, True, False]

    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    (network,) = host.records.tables["network"].values()
    network["other_config"]["vswitch-disable-in-band"] = "true"
    want("pssl")
    ((mode, settings, _),) = host.bridges().values()
    assert (mode, settings) == ("secure", {"hwaddr": MAC, "disable-in-band": "true"})
    network["other_config"].clear()
    want("pssl")
    assert host.bridges() == bridge(mode="secure")
    systemd.ctl("restart", "openvswitch")
    assert host.managers() == ["pssl:6640"] and host.bridges() == bridge(mode="secure")
    sync_runs()  # It needs the switch, and so is started again with it.
    assert root.rules() == [XAPI_JUMP, GRE, JUMP]

    # XAPI dies under the plugin: all or nothing.
    host.xapi.drop("network.get_all_records")
    with pytest.raises(Exception):
        want()
    host.xapi.recover()
    assert host.managers() == ["pssl:6640"] and host.bridges() == bridge(mode="secure")
    host.pool["other_config"].clear()
    assert "Removed controller" in want()
    assert (host.managers(), host.authorities(), host.bridges()) == ([], [], bridge())
    # Another pool, with another controller and other networks, whose UUIDs XAPI itself writes here.
    host.join_another_pool("50000000-0000-4000-8000-00000000000a")
    want("ssl", "192.0.2.11")
    assert (host.managers(), host.bridges()) == (["ssl:192.0.2.11:6632"], bridge())
    want("pssl")

    # The second boot, with the firewall that was saved meanwhile: there still is one rule of each.
    saved = root.run("iptables-save").stdout
    root.write("/etc/sysconfig/iptables", saved)
    host.xapi.stop()
    systemd.shut_down()
    root.reboot()
    boot()
    assert root.rules() == [XAPI_JUMP, GRE, JUMP]
    host.xapi.start()
    assert "Set controller" in want("pssl")
    assert host.managers() == ["pssl:6640"] and root.rules() == [XAPI_JUMP, GRE, JUMP]

    # XAPI is ready, for which ovs-xapi-sync has waited: bridges get their ids.
    root.write(COOKIE, "")
    wait_until(lambda: host.bridges() == bridge(bridge_id=NETWORK), "ovs-xapi-sync has seen the bridge")
    # XAPI changes its mind, and the service is reloaded: ovs-xapi-sync asks again.
    host.pool["other_config"]["vswitch-controller-fail-mode"] = "secure"
    host.xapi.put(host.records)
    systemd.ctl("reload", "openvswitch")
    wanted = bridge(mode="secure", bridge_id=NETWORK)
    wait_until(lambda: host.bridges() == wanted, "ovs-xapi-sync has seen that the mode is secure")
