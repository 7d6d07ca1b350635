# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel and initial file system of a QEMU guest: Debian's own kernel, unpacked and not
installed, with the modules of its tunnels, busybox, and this machine's iproute2, ping and dash.
There is more than one kind, so that a guest which needs little is up sooner.

`.ci/deps test` puts the kernel's package into .cache/guest; what is made of it is in build/guest,
and is made again when the package, a tool or this file changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator

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


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a guest has: modules of its kernel, programs, and files that stay where they are."""

    name: str
    modules: tuple[str, ...]
    programs: tuple[str, ...]
    files: tuple[str, ...] = ()  # Patterns of files or folders.


PEER = Kind(
    "peer",
    (
        *("virtio_pci", "virtio_net"),
        *("ip_gre", "ip6_gre", "vxlan", "geneve"),
        *("sch_ingress", "cls_flower", "cls_fw", "act_gact"),
    ),
    ("dash", "ip", "tc", "ping", "iperf3"),
)
# The kernel's ESP, strongSwan as Debian ships it, and what a switch in the guest needs. Without a
# random number generator (drbg), the kernel refuses every security association.
ESP = Kind(
    "esp",
    (
        *PEER.modules,
        *("veth", "tun", "dummy", "virtio_rng", "nf_tables"),
        *("esp4", "esp6", "xfrm_user", "seqiv", "echainiv", "authenc", "authencesn"),
        *("gcm", "ccm", "ctr", "cbc", "hmac", "sha256_generic", "sha512_generic", "aes_generic"),
        *("aesni-intel", "ghash-generic", "ghash-clmulni-intel", "sha256-ssse3"),
        *("chacha20poly1305", "chacha_generic", "poly1305_generic"),
        *("drbg", "jitterentropy_rng"),
    ),
    (*PEER.programs, "swanctl", "ethtool", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"),
    (
        "/usr/lib/ipsec",
        *("/etc/strongswan.conf", "/etc/strongswan.d", "/etc/protocols"),
        "/usr/share/openvswitch/vswitch.ovsschema",
        # pthread_cancel() loads it by name.
        "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    ),
)
ESP_TOOLS = {
    **GUEST_TOOLS,
    "swanctl": "strongswan-swanctl",
    "pki": "strongswan-pki",
    "ethtool": "ethtool",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
}
# DPDK finds this driver in its folder, so that no program names it.
_DPDK_DRIVERS = "usr/lib/*/dpdk/pmds-*/librte_mempool_ring.so"
_CHARON = pathlib.Path("/usr/lib/ipsec/charon")
_FOLDERS = ("bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr", "var")

# Prints READY on the first serial port, then serves a shell on the second one. busybox's own shell
# would run busybox's ip and ping whatever PATH says, so the shell is dash.
READY = "guest is ready"
_INIT = f"""#!/bin/sh
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
modprobe virtio_pci
modprobe virtio_net
modprobe tun 2>/dev/null  # Who opens /dev/net/tun must find it there.
hostname guest
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


def missing(kind: Kind = PEER) -> list[str]:
    """What `require_root_and_tools` cannot see."""
    found = []
    if kernel_package() is None:
        found.append(
            f"No kernel for the guest in {PACKAGES}: run '.ci/deps test', which downloads one."
        )
    if kind is ESP and not _CHARON.exists():
        found.append(f"{_CHARON} is missing; Debian has it in strongswan-charon.")
    return found


class GuestImage:
    """Paths of a kernel and of an initial file system that fits it."""

    def __init__(self, kernel: pathlib.Path, initrd: pathlib.Path) -> None:
        self.kernel = kernel
        self.initrd = initrd


def build(kind: Kind = PEER) -> GuestImage:
    """The image, made now unless it is there already."""
    package = kernel_package()
    if package is None:
        raise LabError(missing()[0])
    IMAGES.mkdir(parents=True, exist_ok=True)
    stamp = f"{kind.name}-{_fingerprint(package, kind)}"
    image = GuestImage(IMAGES / f"vmlinuz-{stamp}", IMAGES / f"initrd-{stamp}.cpio")
    if not (image.kernel.exists() and image.initrd.exists()):
        for old in IMAGES.glob(f"*-{kind.name}-*"):
            old.unlink()
        with tempfile.TemporaryDirectory(dir=IMAGES.parent, prefix="guest-") as scratch:
            _make(package, pathlib.Path(scratch), image, kind)
    return image


def extend(image: GuestImage, programs: Iterable[pathlib.Path], target: pathlib.Path) -> GuestImage:
    """The image with programs that use DPDK, without their symbols, in /bin: the kernel unpacks one
    archive after the other."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="guest-") as scratch:
        root, more = pathlib.Path(scratch) / "root", pathlib.Path(scratch) / "more.cpio"
        for program in programs:
            _copy_program(program, root)
            run(["strip", "--strip-all", str(root / "bin" / program.name)], timeout_s=120)
        for driver in pathlib.Path("/").glob(_DPDK_DRIVERS):
            _copy_with_libraries(driver, root / driver.relative_to("/"), root)
        _archive(root, more)
        with open(target, "wb") as file:
            for part in (image.initrd, more):
                file.write(part.read_bytes())
    return GuestImage(image.kernel, target)


def _program(name: str) -> pathlib.Path:
    # The folders of the administrator's programs are not in everybody's PATH.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise LabError(f"The program '{name}' is missing; Debian has it in {GUEST_TOOLS[name]}.")
    return pathlib.Path(path)


def _fingerprint(package: pathlib.Path, kind: Kind) -> str:
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    tools = map(_program, (*kind.programs, "busybox"))
    for path in (package, *tools, *_files(kind)):
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _files(kind: Kind) -> Iterator[pathlib.Path]:
    for name in map(pathlib.Path, kind.files):
        yield from (path for path in sorted(name.rglob("*")) if path.is_file())
        if name.is_file():
            yield name


def _libraries(program: pathlib.Path) -> Iterator[pathlib.Path]:
    """None for a static program, of which `ldd` says that by failing."""
    for path in re.findall(r"(/\S+) \(0x", run(["ldd", str(program)], check=False).stdout):
        yield pathlib.Path(path)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)


def _copy_with_libraries(source: pathlib.Path, target: pathlib.Path, root: pathlib.Path) -> None:
    _copy(source, target)
    for library in _libraries(source):
        _copy(library, root / library.relative_to("/"))


def _copy_program(program: pathlib.Path, root: pathlib.Path) -> None:
    _copy_with_libraries(program, root / "bin" / program.name, root)


def _archive(root: pathlib.Path, target: pathlib.Path) -> None:
    run(["sh", "-c", f"find . | cpio --quiet -o -H newc -F '{target}'"], cwd=root, timeout_s=120)


def _copy_modules(
    unpacked: pathlib.Path, root: pathlib.Path, version: str, modules: Iterable[str]
) -> None:
    """The wanted modules and those that they need; the package comes without an index of them."""
    run(["depmod", "-b", str(unpacked), version])
    for module in modules:
        command = ["modprobe", "-d", str(unpacked), "-S", version, "--show-depends", module]
        for line in run(command).stdout.splitlines():
            kind, path, *_ = line.split()
            if kind == "insmod":
                _copy(pathlib.Path(path), root / pathlib.Path(path).relative_to(unpacked))
    for name in ("modules.builtin", "modules.order"):
        _copy(unpacked / "lib/modules" / version / name, root / "lib/modules" / version / name)
    run(["depmod", "-b", str(root), version])


def _make(package: pathlib.Path, scratch: pathlib.Path, image: GuestImage, kind: Kind) -> None:
    unpacked, root = scratch / "package", scratch / "root"
    run(["dpkg-deb", "-x", str(package), str(unpacked)], timeout_s=120)
    kernel = next((unpacked / "boot").glob("vmlinuz-*"))
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True)
    (root / "var" / "run").symlink_to("../run")
    _copy_modules(unpacked, root, kernel.name.removeprefix("vmlinuz-"), kind.modules)

    busybox = _program("busybox")
    if any(_libraries(busybox)):
        raise LabError("busybox is not the static one; Debian has that in busybox-static.")
    _copy(busybox, root / "bin" / "busybox")
    for name in kind.programs:
        _copy_program(_program(name), root)
    for path in _files(kind):
        _copy_with_libraries(path, root / path.relative_to("/"), root)
    for applet in run([str(busybox), "--list"]).stdout.split():
        if applet != "sh" and not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")
    (root / "bin" / "sh").symlink_to("dash")
    (root / "sbin" / "modprobe").symlink_to("../bin/busybox")  # Where the kernel looks for it.
    (root / "init").write_text(_INIT, encoding="ascii")
    (root / "init").chmod(0o755)

    made = scratch / "initrd.cpio"
    _archive(root, made)
    shutil.copy(kernel, image.kernel)
    made.rename(image.initrd)  # Last: its presence says that the image is whole.
