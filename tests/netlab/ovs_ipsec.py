# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch's own way of IPsec in a QEMU guest: its database, stock ovs-monitor-ipsec, and
strongSwan as that program sets it up and starts it.

The program is Python, of which the guest gets the interpreter and those modules that it imports.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

from netlab.guest import Guest
from netlab.guest_image import ESP, ESP_TOOLS, Kind
from netlab.guest_switch import SwitchGuest
from netlab.lab import LabError, run, wait_until

MEMORY_MB = 448
_INTERPRETER = pathlib.Path("/usr/bin/python3").resolve()
_SCRIPT = pathlib.Path("/usr/share/openvswitch/scripts/ovs-monitor-ipsec")
_IPSEC = pathlib.Path("/usr/sbin/ipsec")
_STARTER = pathlib.Path("/usr/lib/ipsec/starter")
_RUN = "/run/openvswitch"
_DATABASE = f"unix:{_RUN}/db.sock"
_LOG = "/run/ovs-monitor-ipsec.log"
_TIMEOUT_S = 180.0
# When the program takes its own connections for outdated (it misreads the names of those of UDP
# tunnels), it ends them while they are negotiated, and until the kernel has forgotten what it had
# asked for, which takes 165 s by default, it does not ask again.
_ACQUIRE = "charon { plugins { kernel-netlink { xfrm_acq_expires = 4 } } }"

IPSEC_TOOLS = {**ESP_TOOLS, "ipsec": "strongswan-starter"}

# Prints the files of every module that the program uses, with what they were compiled to.
_LIST_MODULES = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="listed")
import _strptime, encodings.ascii, encodings.idna, encodings.latin_1, ovs.stream, site, socket
for module in list(sys.modules.values()):
    for name in ("__file__", "__cached__"):
        if path := getattr(module, name, None):
            print(path)
"""


def missing() -> list[str]:
    """What `require_root_and_tools` cannot see."""
    return [] if _SCRIPT.exists() else [f"{_SCRIPT} is missing; Debian has it in openvswitch-ipsec."]


def _modules() -> tuple[str, ...]:
    listed = run([str(_INTERPRETER), "-I", "-c", _LIST_MODULES, str(_SCRIPT)]).stdout.split()
    return tuple(sorted({path for path in listed if pathlib.Path(path).is_file()}))


def kind() -> Kind:
    return dataclasses.replace(
        ESP,
        name="ovs-ipsec",
        files=(*ESP.files, str(_INTERPRETER), str(_SCRIPT), str(_IPSEC), *_modules()),
    )


class OvsIpsec:
    """The database and the programs that follow it, in a guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def start_server(self) -> None:
        self.guest.sh(
            f"mkdir -p {_RUN} /var/log/openvswitch",
            "for name in aacerts acerts cacerts certs crls ocspcerts private; do"
            " mkdir -p /etc/ipsec.d/$name; done",
            f"echo '{_ACQUIRE}' >/etc/strongswan.d/acquire.conf",
            f"ovsdb-tool create {_RUN}/conf.db /usr/share/openvswitch/vswitch.ovsschema",
            f"ovsdb-server {_RUN}/conf.db --remote=p{_DATABASE} --detach --no-chdir"
            f" --pidfile={_RUN}/ovsdb-server.pid --log-file={_RUN}/ovsdb-server.log",
        )
        self.vsctl("--no-wait", "init")

    def vsctl(self, *words: str) -> str:
        return self.guest.sh(f"ovs-vsctl --db={_DATABASE} --timeout=120 {' '.join(words)}")

    def add_tunnel(self, name: str, bridge: str, protocol: str, remote: str, **options: object) -> None:
        """Returns at once."""
        words = [f"options:{key}={value}" for key, value in options.items()]
        self.vsctl(
            *("--no-wait", "add-port", bridge, name, "--", "set", "interface", name),
            *(f"type={protocol}", f"options:remote_ip={remote}", *words),
        )

    def start_monitor(self) -> None:
        """It restarts strongSwan when it starts."""
        self.guest.sh(
            f"{{ {_INTERPRETER} {_SCRIPT} --ike-daemon=strongswan --pidfile={_RUN}/monitor.pid"
            f" {_DATABASE} >{_LOG} 2>&1 & }}"
        )

    def wait_for_connection(self, name: str) -> None:
        """Until strongSwan has the connection, and waits for a packet that wants it."""

        def is_loaded() -> bool:
            if "Traceback" in self.guest.sh(f"cat {_LOG}", check=False):
                raise LabError(f"ovs-monitor-ipsec: {self.guest.sh(f'cat {_LOG}')}")
            text = self.guest.sh(f"{_IPSEC} status 2>/dev/null", check=False)
            return re.search(rf"\b{name}\{{\d+\}}:\s+ROUTED", text) is not None

        wait_until(is_loaded, f"guest {self.guest.index} has {name}", _TIMEOUT_S, interval_s=0.3)

    def rekey(self, name: str) -> None:
        """Every association of a connection, whoever began it."""
        text = self.guest.sh(f"{_IPSEC} status 2>/dev/null")
        for number in re.findall(rf"\b{name}\{{(\d+)\}}:\s+INSTALLED", text):
            self.guest.sh(f"{_IPSEC} stroke rekey '{name}{{{number}}}' >/dev/null 2>&1")

    def stop(self) -> None:
        self.guest.sh(
            f"{_IPSEC} stop >/dev/null 2>&1; true",
            f"for file in {_RUN}/*.pid; do kill -9 $(cat $file); done; true",
            f"rm -rf {_RUN} {_LOG}",
        )

    def report(self) -> str:
        guest, parts = self.guest, []
        for command in (
            *(f"cat {_LOG}", "cat /etc/ipsec.conf", f"{_IPSEC} statusall 2>/dev/null"),
            *("ip xfrm policy", "ip -s xfrm state | grep -v 0x.*128", "cat /proc/net/xfrm_stat"),
            f"culvert-ctl --socket {_RUN}/switch.ctl sa list",
            f"culvert-ctl --socket {_RUN}/switch.ctl drops",
        ):
            parts += [f"=== guest {guest.index}: {command}", guest.sh(command, check=False)]
        return "\n".join(parts)


class OvsSwitchGuest(SwitchGuest):
    """culvertd in the place of ovs-vswitchd, with that database."""

    def start_ovs_switch(self) -> None:
        self.sh(
            "ln -sf /bin/culvertd /run/ovs-vswitchd",
            f"export OVS_RUNDIR={_RUN} OVS_LOGDIR={_RUN} OVS_DBDIR={_RUN} OVS_SYSCONFDIR={_RUN}",
            f"{{ /run/ovs-vswitchd {_DATABASE} -vconsole:info -vsyslog:off"
            f" --unixctl={_RUN}/switch.ctl >>/run/culvertd.log 2>&1 & }}",
        )
        # Returns when the switch has taken it, and what was there before.
        self.sh(
            f"ovs-vsctl --db={_DATABASE} --timeout=240 set Open_vSwitch . external_ids:started=1",
            timeout_s=250,
        )

    def ctl_json(self, *arguments: str) -> object:
        text = self.sh(f"culvert-ctl --socket {_RUN}/switch.ctl -f json {' '.join(arguments)}")
        return json.loads(text)
