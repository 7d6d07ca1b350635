# SPDX-License-Identifier: GPL-2.0-or-later
"""A clean Debian host with openvswitch-switch inside a namespace, made of the packages in .cache/debian-root
by its own dpkg. It is in memory, and hosts are overlays of it, so each test has one of its own.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess

from netlab.lab import Lab, LabError, Namespace, Process, run, wait_until

PACKAGES = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "debian-root"
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NOWARNINGS": "yes",
}
# What dpkg itself runs on, and what the first packages' scripts call.
_FIRST = (
    *("base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils"),
    *("gcc-12-base", "grep", "gzip", "init-system-helpers", "libacl1", "libattr1", "libbz2-1.0", "libc-bin", "libc6"),
    *("libcrypt1", "libdebconfclient0", "libgcc-s1", "libgmp10", "liblzma5", "libmd0", "libpcre2-8-0", "libselinux1"),
    *("libtinfo6", "libzstd1", "mawk", "perl-base", "sed", "tar", "zlib1g"),
)


# It ignores SIGTERM, and all that is inside ends with it.
_UNSHARE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")

_MAKE = r"""
set -e
mount -t tmpfs -o mode=0755 root "$1"
cd "$1"
packages=$2
shift 2
mkdir -p usr/bin usr/lib usr/lib64 usr/sbin etc/dpkg/dpkg.cfg.d var/lib/dpkg/info var/lib/dpkg/updates \
    dev/net dev/shm proc sys run tmp packages
for name in bin lib lib64 sbin; do
    ln -s "usr/$name" "$name"
done
: >var/lib/dpkg/status
: >var/lib/dpkg/available
echo amd64 >var/lib/dpkg/arch
# In memory nothing has to be synchronised, and nobody reads here.
printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/locale/*' 'path-exclude=/usr/share/man/*' \
    >etc/dpkg/dpkg.cfg.d/test
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/net/tun c 10 200
ln -s /proc/self/fd dev/fd
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
mount -t proc proc proc
mount --bind "$packages" packages
for name; do
    # As dpkg-deb --extract would not, this goes by the links.
    dpkg-deb --fsys-tarfile packages/"$name"_*.deb | tar --extract --keep-directory-symlink
done
ln -s mawk usr/bin/awk
chroot . sh -c 'dpkg --force-depends --install /packages/base-passwd_*.deb /packages/base-files_*.deb'
chroot . sh -c 'dpkg --force-depends --unpack /packages/*.deb'
chroot . dpkg --configure --pending
umount packages
umount proc
rmdir packages
rm etc/dpkg/dpkg.cfg.d/test usr/sbin/policy-rc.d
# Open vSwitch's module is not for a test to load; a machine may have none.
printf '#!/bin/sh\nexit 0\n' >usr/local/sbin/modprobe
chmod 755 usr/local/sbin/modprobe
ln -sf /usr/local/sbin/modprobe usr/sbin/modprobe
exec sleep infinity
"""

_OVERLAY = r"""
set -e
mkdir -p "$1/run/host"
mount -t tmpfs host "$1/run/host"
cd "$1/run/host"
mkdir upper work root
mount -t overlay -o "lowerdir=$1,upperdir=upper,workdir=work" overlay root
cd root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=1777 shm dev/shm
mkdir -p tmp/old run/lock
pivot_root . tmp/old
umount -l /tmp/old
cd /
: >/run/ready
# The first process of the PID namespace. It ignores SIGCHLD, so the kernel itself takes away what ends.
exec env --ignore-signal=CHLD sleep infinity
"""


def _child(process: Process) -> int | None:
    try:
        text = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    except OSError:  # It ended.
        return None
    return int(text) if text.strip() else None


def _command(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class DebianRoot:
    """The root that hosts are made of. It ends with the laboratory."""

    def __init__(self, lab: Lab) -> None:
        if not (PACKAGES / "names").exists():
            raise LabError(f"{PACKAGES} is missing: .ci/deps test downloads the packages of a Debian root")
        self.path = lab.directory / "debian"
        self.path.mkdir()
        self.process = lab.spawn(
            [*_UNSHARE, "--propagation", "slave", "sh", "-c", _MAKE, "sh", self.path, PACKAGES, *_FIRST],
            name="debian-root",
            env=ENVIRONMENT,
        )
        wait_until(self._made, "dpkg configured the Debian root", timeout_s=180)

    def _made(self) -> bool:
        if not self.process.running:
            raise LabError(f"the Debian root was not made: {self.process.output()[-3000:]}")
        first = _child(self.process)
        return first is not None and _command(first) == "sleep"

    def end(self) -> None:
        self.process.stop(signal.SIGKILL)


class DebianHost:
    """A host with a root of its own: mounts, processes and network are its namespaces'."""

    def __init__(self, root: DebianRoot, network: Namespace) -> None:
        self.network = network
        self.process = network.spawn(
            *("nsenter", f"--mount=/proc/{root.process.pid}/ns/mnt"),
            *_UNSHARE,
            *("sh", "-c", _OVERLAY, "sh", root.path),
            name=f"{network.name}-debian",
            env=ENVIRONMENT,
        )
        self.first = int(str(wait_until(self._first, "the host's root is there")))

    def _first(self) -> int | None:
        if not self.process.running:
            raise LabError(f"the host was not made: {self.process.output()}")
        first = _child(self.process)
        return first if first and os.path.exists(f"/proc/{first}/root/run/ready") else None

    def end(self) -> None:
        self.process.stop(signal.SIGKILL)

    @property
    def root(self) -> pathlib.Path:
        """The host's files, as this machine reaches them."""
        return pathlib.Path(f"/proc/{self.first}/root")

    def run(self, *argv: object, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return run(self._command(argv, {}), check=check, timeout_s=timeout_s)

    def _command(self, argv: tuple[object, ...], variables: dict[str, str]) -> list[str]:
        words = [f"{name}={value}" for name, value in (ENVIRONMENT | variables).items()]
        enter = ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", "--root", "--"]
        return [*enter, "env", "-i", "--chdir=/", *words, *map(str, argv)]

    def spawn(self, *argv: object, name: str, **variables: str) -> Process:
        """Its process is nsenter's, which ends when the program ends."""
        return self.network.lab.spawn(self._command(argv, variables), name=name)

    def text(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")

    def put(self, source: pathlib.Path) -> str:
        """Copies a file to /tmp of the host; its name there."""
        target = self.root / "tmp" / source.name
        target.write_bytes(source.read_bytes())
        return f"/tmp/{source.name}"
