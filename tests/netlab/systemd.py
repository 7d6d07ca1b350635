# SPDX-License-Identifier: GPL-2.0-or-later
"""A real systemd in a private root: the first process of a PID namespace of its own, with the units of the
host and none of the machine's.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess

from netlab.lab import LabError, run, wait_until
from netlab.private_root import PATH, PrivateRoot

# What the units of a host order themselves by, without what a whole machine has there.
_TARGETS = ("sysinit", "basic", "shutdown", "network-pre", "network", "multi-user")
_CGROUPS = "/sys/fs/cgroup"
_OUTPUT = "/run/services.log"

# systemd has the whole of a cgroup namespace, whose root is a group that is removed in the end. Its control
# groups are those of version 2 also where controllers are attached to version 1: it needs none of them.
_START = r"""
mountpoint -q "$1" || mount -t cgroup2 cgroup2 "$1"
mkdir -p "$1/$2"
echo $$ >"$1/$2/cgroup.procs"
shift 2
exec unshare --cgroup --mount --pid --fork --kill-child --propagation private sh -ec '
    umount "$1"
    mount -t cgroup2 cgroup2 "$1"
    mount -t proc proc /proc
    exec env -i container=lxc "PATH=$2" /usr/lib/systemd/systemd --system --unit=multi-user.target \
        --log-target=console --show-status=no \
        systemd.unified_cgroup_hierarchy=1
' systemd "$@"
"""


class Systemd:
    """Runs from `boot` to `shut_down` or `power_cut`."""

    def __init__(self, root: PrivateRoot) -> None:
        self.root = root
        self.group = f"culvert-{root.lab.run_id}-{root.name}"
        self._boots = 0
        self._pid = 0
        # The stand-in of the private root goes; the machine's units, and what would generate more, too.
        shutil.copyfile("/usr/bin/systemctl", root.path("/usr/bin/systemctl"))
        keep = "openvswitch*.service", "openvswitch*.service.d", "culvert*.service"
        chosen = " ".join(f"! -name '{name}'" for name in keep)
        units = "/usr/lib/systemd/system"
        root.run("sh", "-ec", f"find {units} -mindepth 1 -maxdepth 1 {chosen} -exec rm -rf {{}} +")
        root.run("sh", "-ec", "rm -rf /usr/lib/systemd/system-generators /etc/systemd/system/*")
        root.run("rm", "-rf", f"{units}/openvswitch-switch.service", f"{units}/openvswitch-ipsec.service")
        for name in _TARGETS:
            root.write(f"{units}/{name}.target", f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
        # There is no journal, and the console is the machine's.
        output = f"[Service]\nStandardOutput=append:{_OUTPUT}\nStandardError=inherit\n"
        root.write("/etc/systemd/system/service.d/output.conf", output)
        root.lab.reporters.append(lambda: f"=== {root.name}: {_OUTPUT}\n{self.output()[-4000:]}")

    def boot(self) -> None:
        """Comes back when every unit that is enabled has been started, or has failed. The caller sees to it that
        `power_cut` is called in the end."""
        self._boots += 1
        self.process = self.root.spawn(
            *("sh", "-ec", _START, "systemd", _CGROUPS, self.group, _CGROUPS, PATH),
            name=f"{self.root.name}-systemd-{self._boots}",
        )
        wait_until(self._answers, "systemd answers")
        self.ctl("is-system-running", "--wait", check=False)

    def _answers(self) -> bool:
        if not self.process.running:
            raise LabError(f"systemd did not start: {self.process.output()[-2000:]}")
        self._pid = self._find()
        state = self.ctl("is-system-running", check=False).stdout.strip() if self._pid else ""
        return state not in ("", "offline", "unknown")

    def _find(self) -> int:
        """The last of nsenter, unshare and systemd, each the child of the one before."""
        pid = self.process.pid
        with contextlib.suppress(OSError):
            while children := pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
                pid = int(children[0])
                if pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "systemd\n":
                    return pid
        return 0

    def run(self, *argv: object, **options: object) -> subprocess.CompletedProcess[str]:
        """A command among systemd's processes, in the control group of none of its units."""
        entering = ["nsenter", f"--target={self._pid}", "--mount", "--root", "--wd", "--pid", "--net", "--cgroup"]
        return run([*entering, "env", "-i", f"PATH={PATH}", "LC_ALL=C", *map(str, argv)], **options)

    def ctl(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", "--no-pager", *words, **options)

    def show(self, unit: str, name: str) -> str:
        return self.ctl("show", "--value", "-p", name, unit).stdout.strip()

    def output(self) -> str:
        """What the services of this boot have said."""
        return self.root.read(_OUTPUT) if self.root.exists(_OUTPUT) else ""

    def shut_down(self) -> None:
        """Stops every unit in its order, then the power is cut."""
        self.ctl("start", "shutdown.target")
        self.power_cut()

    def power_cut(self) -> None:
        """Nothing of it runs any more; files and the kernel's state are the private root's."""
        if not self._pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._pid = 0
        self.process.wait()
        self._remove_group()

    def _remove_group(self) -> None:
        top = self.root.path(f"{_CGROUPS}/{self.group}")

        def removed() -> bool:
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()
            return not top.exists()

        wait_until(removed, f"the control group {self.group} is empty")
