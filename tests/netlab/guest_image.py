# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel and initial file system of the QEMU guest: Debian's own kernel, unpacked and not
installed, with the modules of its tunnels, busybox, and this machine's iproute2, ping and dash.

`.ci/deps test` puts the kernel's package into .cache/guest; what is made of it is in build/guest,
and is made again when the package, a tool or this file changes.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator

from netlab.lab import LabError, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".cache" / "guest"
IMAGES = ROOT / "build" / "guest"

GUEST_TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "depmod": "kmod",
    "modprobe": "kmod",
    "dash": "dash",
    "tc": "iproute2",
    "ldd": "libc-bin",
    "iperf3": "iperf3",
}
_COPIED = ("dash", "ip", "tc", "ping", "iperf3")
_MODULES = (
    *("virtio_pci", "virtio_net"),
    *("ip_gre", "ip6_gre", "vxlan", "geneve"),
    *("sch_ingress", "cls_flower", "cls_fw", "act_gact"),
)
_FOLDERS = ("bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr", "var")

# Prints READY on the first serial port, then serves a shell on the second one. busybox's own shell
# would run busybox's ip and ping whatever PATH says, so the shell is dash.
READY = "guest is ready"
_INIT = f"""#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
modprobe virtio_pci
modprobe virtio_net
for name in accept_dad dad_transmits accept_ra; do
    echo 0 >/proc/sys/net/ipv6/conf/default/$name
done
ip link set lo up
stty -F /dev/ttyS1 -echo -onlcr
echo "{READY}"
while :; do
    setsid dash </dev/ttyS1 >/dev/ttyS1 2>&1
done
"""


def kernel_package() -> pathlib.Path | None:
    found = sorted(PACKAGES.glob("linux-image-*_amd64.deb"), key=os.path.getmtime)
    return found[-1] if found else None


def missing() -> list[str]:
    """What `require_root_and_tools` cannot see."""
    if kernel_package() is not None:
        return []
    return [f"No kernel for the guest in {PACKAGES}: run '.ci/deps test', which downloads one."]


class GuestImage:
    """Paths of a kernel and of an initial file system that fits it."""

    def __init__(self, kernel: pathlib.Path, initrd: pathlib.Path) -> None:
        self.kernel = kernel
        self.initrd = initrd


def build() -> GuestImage:
    """The image, made now unless it is there already."""
    package = kernel_package()
    if package is None:
        raise LabError(missing()[0])
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamp = _fingerprint(package)
    image = GuestImage(IMAGES / f"vmlinuz-{stamp}", IMAGES / f"initrd-{stamp}.cpio")
    if not (image.kernel.exists() and image.initrd.exists()):
        for old in IMAGES.glob("*"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=IMAGES.parent, prefix="guest-") as scratch:
            _make(package, pathlib.Path(scratch), image)
    return image


def _program(name: str) -> pathlib.Path:
    # The folders of the administrator's programs are not in everybody's PATH.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise LabError(f"The program '{name}' is missing; Debian has it in {GUEST_TOOLS[name]}.")
    return pathlib.Path(path)


def _fingerprint(package: pathlib.Path) -> str:
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    for path in (package, *map(_program, (*_COPIED, "busybox"))):
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _libraries(program: pathlib.Path) -> Iterator[pathlib.Path]:
    """None for a static program, of which `ldd` says that by failing."""
    for path in re.findall(r"(/\S+) \(0x", run(["ldd", str(program)], check=False).stdout):
        yield pathlib.Path(path)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)


def _copy_modules(unpacked: pathlib.Path, root: pathlib.Path, version: str) -> None:
    """The wanted modules and those that they need; the package comes without an index of them."""
    run(["depmod", "-b", str(unpacked), version])
    for module in _MODULES:
        command = ["modprobe", "-d", str(unpacked), "-S", version, "--show-depends", module]
        for line in run(command).stdout.splitlines():
            kind, path, *_ = line.split()
            if kind == "insmod":
                _copy(pathlib.Path(path), root / pathlib.Path(path).relative_to(unpacked))
    for name in ("modules.builtin", "modules.order"):
        _copy(unpacked / "lib/modules" / version / name, root / "lib/modules" / version / name)
    run(["depmod", "-b", str(root), version])


def _make(package: pathlib.Path, scratch: pathlib.Path, image: GuestImage) -> None:
    unpacked, root = scratch / "package", scratch / "root"
    run(["dpkg-deb", "-x", str(package), str(unpacked)], timeout_s=120)
    kernel = next((unpacked / "boot").glob("vmlinuz-*"))
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True)
    _copy_modules(unpacked, root, kernel.name.removeprefix("vmlinuz-"))

    busybox = _program("busybox")
    if any(_libraries(busybox)):
        raise LabError("busybox is not the static one; Debian has that in busybox-static.")
    _copy(busybox, root / "bin" / "busybox")
    for name in _COPIED:
        program = _program(name)
        _copy(program, root / "bin" / name)
        for library in _libraries(program):
            _copy(library, root / library.relative_to("/"))
    for applet in run([str(busybox), "--list"]).stdout.split():
        if applet != "sh" and not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "sh").symlink_to("dash")
    (root / "sbin" / "modprobe").symlink_to("../bin/busybox")  # Where the kernel looks for it.
    (root / "init").write_text(_INIT, encoding="ascii")
    (root / "init").chmod(0o755)

    made = scratch / "initrd.cpio"
    run(["sh", "-c", f"find . | cpio --quiet -o -H newc -F '{made}'"], cwd=root)
    shutil.copy(kernel, image.kernel)
    made.rename(image.initrd)  # Last: its presence says that the image is whole.
