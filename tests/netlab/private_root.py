# SPDX-License-Identifier: GPL-2.0-or-later
"""A XenServer host inside a namespace: a root of its own, in which the host's scripts and ours run at
their real paths.

The root is an overlay: what the test writes is in memory, below it lie the files of a XenServer host
(netlab/xen_files) with the installed build, and below these the machine's own root, which is only
read. Debian's ovsdb-server, ovs-vsctl, ovs-ctl and iptables-legacy are the host's stock package.
Programs run in the root's mount namespace, in a PID namespace, so that all of them end with it, and
in the network namespace of the host.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Mapping

from netlab.daemon import Build
from netlab.lab import LabError, Namespace, Process, kill_inside, run, wait_until
from netlab.ovs_host import Database
from netlab.peers import ovs_vswitchd
from netlab.xen_records import HOST_UUID

XEN_FILES = pathlib.Path(__file__).resolve().parent / "xen_files"
COMPONENTS = ("xenserver", "ipsec", "modules")
G1 = "G1"  # SysV init and interface-reconfigure
G2 = "G2"  # systemd and xcp-networkd
PRODUCTS = {G1: ("XenServer", "6.2.0", "70446c"), G2: ("XCP-ng", "8.3.0", "cloud")}
DATABASES = {G1: "/etc/openvswitch", G2: "/run/openvswitch"}  # The folder of conf.db.
PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
# What the boot script puts into INPUT, before the host's own rule, which leads to a REJECT.
GRE = '-A INPUT -p gre -m comment --comment "culvert gre" -j ACCEPT'
JUMP = "-A INPUT -j RH-Firewall-1-INPUT"
_PYTHON = "usr/lib/python3/dist-packages"
_SCRIPTS = "usr/share/openvswitch/scripts"
_PLUGINS = "etc/xapi.d/plugins"

# Where the files of xen_files/ stand on a host, and on hosts of which generation.
FILES = (
    ("modprobe", "usr/sbin/modprobe", (G1, G2)),
    ("modprobe", "usr/sbin/rmmod", (G1, G2)),
    ("iptables.rules", "etc/sysconfig/iptables", (G1, G2)),
    ("XenAPI.py", f"{_PYTHON}/XenAPI.py", (G1, G2)),
    ("XenAPIPlugin.py", f"{_PYTHON}/XenAPIPlugin.py", (G1, G2)),
    ("firewall-port", f"{_PLUGINS}/firewall-port", (G1, G2)),
    ("ovs-xapi-sync", f"{_SCRIPTS}/ovs-xapi-sync", (G1, G2)),
    ("xe", "opt/xensource/bin/xe", (G1, G2)),
    ("xe", "usr/bin/xe", (G1, G2)),
    ("xe-switch-network-backend", "opt/xensource/bin/xe-switch-network-backend", (G1, G2)),
    ("chkconfig", "usr/sbin/chkconfig", (G1,)),
    ("stock-openvswitch", "etc/init.d/openvswitch", (G1,)),
    ("management-interface", "etc/init.d/management-interface", (G1,)),
    ("interface-reconfigure", "opt/xensource/libexec/interface-reconfigure", (G1,)),
    ("stock-plugin", f"{_PLUGINS}/openvswitch-cfg-update", (G1,)),
    ("openvswitch.service", "usr/lib/systemd/system/openvswitch.service", (G2,)),
    ("openvswitch-xapi-sync.service", "usr/lib/systemd/system/openvswitch-xapi-sync.service", (G2,)),
    ("ovs-start", f"{_SCRIPTS}/ovs-start", (G2,)),
    ("stock-plugin", f"{_PLUGINS}/openvswitch-config-update", (G2,)),
)
_LEGACY = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")

# What the machine has there is none of the host's business.
_HIDDEN = (
    *("etc/openvswitch", "etc/default/openvswitch-switch", "var/lib/openvswitch", "var/log/openvswitch"),
    *("var/lib/culvert", "var/xapi", "var/lib/xcp", "etc/culvert"),
    *(f"etc/rc{level}.d" for level in "0123456S"),
    "etc/systemd/system",
)

_MOUNT = r"""
mount -t tmpfs -o mode=0755 root "$1"
cd "$1"
mkdir upper work root
# Two layers on one file system would overlap, so this one moves into memory.
mv "$2" files
mount -t overlay -o "lowerdir=$1/files:/,upperdir=$1/upper,workdir=$1/work" overlay root
cd root
shift 2
rm -rf "$@"
mkdir -p run etc/openvswitch var/lib/openvswitch var/log/openvswitch var/lib/culvert
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=0755 module sys/module
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 shm dev/shm
mkdir tmp/old
pivot_root . tmp/old
umount -l /tmp/old
rmdir /tmp/old
mkdir -p /run/lock/subsys
: > /run/root-is-ready
# The first process of the PID namespace. It ignores SIGCHLD, so the kernel itself takes away what ends.
cd /
exec env --ignore-signal=CHLD sleep infinity
"""


def _stage(build: Build, generation: str, folder: pathlib.Path) -> None:
    """Everything that the host has beside Debian's files, as a tree."""
    for component in ("", *COMPONENTS):
        chosen = ["--component", component] if component else []
        command = ["cmake", "--install", str(build.directory), "--prefix", "/usr", *chosen]
        run(command, env={**os.environ, "DESTDIR": str(folder)})
    for merged in ("bin", "lib", "sbin"):  # Folders here would hide the links of a merged /usr.
        if (folder / merged).is_dir():
            shutil.copytree(folder / merged, folder / "usr" / merged, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder / merged)
    for name, inside, generations in FILES:
        source = XEN_FILES / name
        if generation in generations:
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            script = source.read_text(encoding="utf-8").startswith("#!")
            target.chmod(0o755 if script else 0o644)
    for name in _LEGACY:
        (folder / "usr/sbin" / name).symlink_to("xtables-legacy-multi")
    (folder / "usr/share/openvswitch/python").mkdir(parents=True)
    (folder / "usr/share/openvswitch/python/ovs").symlink_to(f"/{_PYTHON}/ovs")
    # As on the host, the daemon is a file and not a choice of update-alternatives.
    shutil.copyfile(ovs_vswitchd(), folder / "usr/sbin/ovs-vswitchd")
    (folder / "usr/sbin/ovs-vswitchd").chmod(0o755)
    if generation == G2:
        # Its package is built with the database in memory.
        library = pathlib.Path("/", _SCRIPTS, "ovs-lib").read_text(encoding="utf-8")
        (folder / _SCRIPTS / "ovs-lib").write_text(library.replace(DATABASES[G1], DATABASES[G2]), encoding="utf-8")
    brand, version, number = PRODUCTS[generation]
    inventory = {
        "PRODUCT_BRAND": brand,
        "PRODUCT_VERSION": version,
        "BUILD_NUMBER": number,
        "INSTALLATION_UUID": HOST_UUID,
        "MANAGEMENT_INTERFACE": "xenbr0",
        "CURRENT_INTERFACES": "xenbr0",
    }
    text = "".join(f"{name}='{value}'\n" for name, value in inventory.items())
    (folder / "etc/xensource").mkdir(parents=True)
    (folder / "etc/xensource-inventory").write_text(text, encoding="ascii")
    (folder / "etc/xensource/network.conf").write_text("openvswitch\n", encoding="ascii")
    (folder / "var/xen/openvswitch").mkdir(parents=True)


class PrivateRoot(Namespace, Database):
    """The host `host` with a root of its own; whatever runs in it sees only that root.

    `nics` are the devices of the network namespace that outlive a reboot, as hardware does.
    """

    def __init__(self, host: Namespace, build: Build, generation: str = G1, nics: tuple[str, ...] = ()) -> None:
        super().__init__(host.lab, host.name, host.full_name)
        if generation not in PRODUCTS:
            raise LabError(f"there is no generation {generation!r}; there are {', '.join(PRODUCTS)}")
        self.generation = generation
        self.nics = nics
        self.boots = 0
        self.folder = self.lab.directory / f"{host.name}-root"
        self.folder.mkdir()
        stage = self.lab.directory / f"{host.name}-stage"
        stage.mkdir()
        _stage(build, generation, stage)
        # Unlike what `spawn` starts this is in no PID namespace yet, but makes one and dies with us.
        self._keeper = super().spawn(
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
            *("sh", "-ec", _MOUNT, "root", self.folder, stage, *_HIDDEN),
            name=f"{host.name}-root",
            end_signal=signal.SIGKILL,  # unshare takes no notice of the polite ones while it waits.
        )
        self._init = 0
        wait_until(self._ready, f"the root of {host.name} is mounted")
        self.lab.reporters.append(self.report)
        if generation == G1:
            for script in ("openvswitch", "management-interface"):
                self.run("chkconfig", "--add", script)
        else:
            self.run("systemctl", "enable", "openvswitch", "openvswitch-xapi-sync")  # Links, without a systemd.
        self._power_on()

    @property
    def init(self) -> int:
        """The first process inside, by the number that it has outside."""
        if not self._keeper.running:
            raise LabError(f"the root of {self.name} could not be made: {self._keeper.output().strip()}")
        return self._init

    def _ready(self) -> bool:
        children = pathlib.Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children")
        self._init = int((children.read_text(encoding="ascii").split() or ["0"])[0])
        return bool(self.init) and os.path.lexists(f"/proc/{self._init}/root/run/root-is-ready")

    # commands inside

    def _command(self, argv: tuple[object, ...], env: Mapping[str, str] | None) -> list[str]:
        variables = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C", "TERM": "linux", **(env or {})}
        words = [f"{name}={value}" for name, value in variables.items()]
        entering = ["nsenter", f"--target={self.init}", "--mount", "--root", "--wd", "--pid", "--net"]
        return [*entering, "env", "-i", *words, *map(str, argv)]

    def run(
        self, *argv: object, env: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        return run(self._command(argv, env), **options)

    def spawn(
        self, *argv: object, name: str | None = None, env: Mapping[str, str] | None = None, **options: object
    ) -> Process:
        name = name or f"{self.name}-{os.path.basename(str(argv[0]))}"
        return self.lab.spawn(self._command(argv, env), name=name, **options)

    def status(self, *argv: object, **options: object) -> int:
        """The exit status of a command that may fail."""
        return self.run(*argv, check=False, **options).returncode

    # files inside

    def path(self, inside: str) -> pathlib.Path:
        """A file of the root, as this process reaches it. Links on the way, but for the last one, are
        followed inside the root, where the kernel would follow an absolute one outside."""
        top = pathlib.Path(f"/proc/{self.init}/root")
        found = pathlib.PurePosixPath("/")
        names = list(reversed(pathlib.PurePosixPath("/", inside).parts[1:]))
        for _ in range(100):
            if not names:
                return top / found.relative_to("/")
            name = names.pop()
            here = top / found.relative_to("/") / name
            if name == "..":
                found = found.parent
            elif names and here.is_symlink():
                link = pathlib.PurePosixPath(os.readlink(here))
                found = pathlib.PurePosixPath("/") if link.is_absolute() else found
                names += reversed(link.parts[1:] if link.is_absolute() else link.parts)
            else:
                found /= name
        raise LabError(f"{inside} in the root of {self.name} is a circle of links")

    def exists(self, inside: str) -> bool:
        """Whether there is something of this name, be it a link to nowhere."""
        return os.path.lexists(self.path(inside))

    def read(self, inside: str) -> str:
        return self.run("cat", "--", inside).stdout

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    # the processes inside

    def pids(self) -> list[int]:
        """What runs inside beside the first process, by the numbers that they have outside."""
        ours = os.stat(f"/proc/{self.init}/ns/pid").st_ino
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self._init:
                try:
                    if os.stat(entry / "ns/pid").st_ino == ours:
                        found.append(int(entry.name))
                except OSError:
                    pass  # It has ended.
        return found

    def kill_all(self) -> None:
        """Ends all of them at once, as a power cut does."""

        def none_left() -> bool:
            pids = self.pids()
            kill_inside(pids, "pid", os.stat(f"/proc/{self.init}/ns/pid").st_ino)
            return not pids

        wait_until(none_left, f"nothing runs in the root of {self.name}")

    # power

    def _power_on(self) -> None:
        """The kernel's state after it has started, and what Linux's first scripts do."""
        self.boots += 1
        self.run("mkdir", "-p", "/run/lock/subsys")
        self.run("iptables-restore", "/etc/sysconfig/iptables")  # Empties the table, too.
        self.run("ip6tables", "-F", "INPUT")

    def reboot(self) -> None:
        """A power cut and what the kernel is then: nothing runs, what was in /run, in the kernel's
        tables and on its devices is gone. `boot` starts the services."""
        self.kill_all()
        self.run("find", "/run", "/sys/module", "/dev/shm", "-xdev", "-mindepth", "1", "-delete")
        for name in self.links():
            if name in self.nics:
                self.ip("addr", "flush", "dev", name)
                self.ip("link", "set", name, "down")
            elif name != "lo":
                self.ip("link", "del", name, check=False)
        self._power_on()

    def _links(self, level: int, kind: str) -> list[str]:
        folder = self.path(f"/etc/rc{level}.d")
        return sorted(link.name for link in folder.iterdir() if link.name.startswith(kind))

    def boot(self, until: str = "", after: str = "") -> dict[str, subprocess.CompletedProcess[str]]:
        """Starts a G1 host's services by the S links of level 3, up to the one named `until`, from the one
        after `after`; by name, how each went. The units of a G2 host are started by netlab.systemd."""
        return self._go_through(3, "S", "start", until, after)

    def shut_down(self) -> dict[str, subprocess.CompletedProcess[str]]:
        """Stops them by the K links of level 6, as `reboot` alone does not."""
        return self._go_through(6, "K", "stop")

    def _go_through(
        self, level: int, kind: str, verb: str, until: str = "", after: str = ""
    ) -> dict[str, subprocess.CompletedProcess[str]]:
        if self.generation != G1:
            raise LabError(f"{self.name} has no init scripts")
        done = {}
        links = self._links(level, kind)
        names = [link[3:] for link in links]
        for link in links[names.index(after) + 1 if after else 0 :]:
            service = link[3:]
            done[service] = self.run(f"/etc/rc{level}.d/{link}", verb, check=False)
            if service == until:
                break
        return done

    # the database

    @property
    def database(self) -> str:
        return f"{DATABASES[self.generation]}/conf.db"

    def vsctl(self, *arguments: object, **options: object) -> str:
        """Stock ovs-vsctl on the host's database."""
        return self.run("ovs-vsctl", "--timeout=20", *arguments, **options).stdout

    def rules(self, chain: str = "INPUT") -> list[str]:
        """The rules of one chain of iptables, as iptables itself lists them."""
        lines = self.run("iptables", "-S", chain).stdout.splitlines()
        return [line for line in lines if line.startswith("-A")]

    def report(self) -> str:
        parts = []
        for log in ("ovs-ctl.log", "ovs-vswitchd.log", "ovs-xapi-sync.log"):
            inside = f"/var/log/openvswitch/{log}"
            if self.exists(inside):
                parts += [f"=== {self.name}: {inside}", *self.read(inside).splitlines()[-40:]]
        shown = self.run("ovs-vsctl", "--timeout=5", "show", check=False)
        return "\n".join([*parts, f"=== {self.name}: ovs-vsctl show", shown.stdout + shown.stderr])
