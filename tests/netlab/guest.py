# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU guest whose Linux kernel has the tunnels that the machine's own kernel may lack, as peer.

    host namespace          guest namespace                QEMU
    eth0 ───────────────── to-h1 ┤wire├ tap0 ─────── eth0 172.20.0.2 ~ t0 10.0.0.2

The guest is emulated (no /dev/kvm is needed), is booted once for many tests, and answers to a shell
on its second serial port. What a test makes in it is removed by `GuestPeer.detach`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import random
import re
import select
import signal
import socket
import time

from netlab import guest_image
from netlab.guest_image import GuestImage
from netlab.lab import Lab, LabError, Namespace, Process, wait_until
from netlab.topology import (
    UNDERLAY_MTU,
    VM_MTU,
    Host,
    underlay_address,
    vm_address,
    vm_mac,
)

_INDEX = 2
_MEMORY_MB = 256
_BOOT_TIMEOUT_S = 100.0
_TCP_PORT = 5001
_TIMEOUT_S = 40.0
_PIECE = 3600  # A multiple of four: each piece of base64 stands alone.


def underlay_mac(index: int) -> str:
    return f"02:00:ac:14:00:{index:02x}"


class Guest:
    """One running guest in a namespace of its own."""

    def __init__(
        self,
        lab: Lab,
        image: GuestImage,
        index: int = _INDEX,
        ns: Namespace | None = None,
        memory_mb: int = _MEMORY_MB,
    ) -> None:
        """`ns`: the namespace of another guest, whose wire this one shares."""
        self.lab = lab
        self.index = index
        self._shares_wire = ns is not None
        self.ns: Namespace = ns or lab.namespace("guest")
        self.tap = f"tap{index}" if self._shares_wire else "tap0"
        self._image = image
        self._memory_mb = memory_mb
        self._console = lab.directory / f"guest{index}-console.log"
        self._shell_path = lab.directory / f"guest{index}-shell"
        self._shell: socket.socket | None = None
        self._numbers = itertools.count()
        self.process: Process | None = None

    def _make_wire(self) -> None:
        if not self._shares_wire:
            self.ns.ip("link", "add", "name", "wire", "type", "bridge", "mcast_snooping", 0)
            self.ns.ip("link", "set", "dev", "wire", "up")
        self.ns.ip("tuntap", "add", self.tap, "mode", "tap")
        self.ns.ip("link", "set", "dev", self.tap, "mtu", UNDERLAY_MTU, "master", "wire", "up")
        self.ns.ip("link", "set", "dev", "wire", "mtu", UNDERLAY_MTU)

    def _network(self) -> tuple[str, ...]:
        """QEMU's words for the guest's NIC."""
        # The guest finishes its checksums itself (csum=off): with offload, the kernel would put the
        # GRE checksums of its tunnels on the wire as zero.
        return (
            *("-netdev", f"tap,id=n0,ifname={self.tap},script=no,downscript=no,vhost=off"),
            *("-device", f"virtio-net-pci,netdev=n0,romfile=,csum=off,mac={underlay_mac(self.index)}"),
            "-no-reboot",
        )

    def _set_addresses(self) -> None:
        self.sh(
            f"ip link set eth0 mtu {UNDERLAY_MTU} up",
            f"ip addr add {underlay_address(self.index, 4)}/24 dev eth0",
            f"ip addr add {underlay_address(self.index, 6)}/64 dev eth0 nodad",
        )

    def launch(self) -> Guest:
        """Lets it boot; several can do so at once."""
        self._make_wire()
        self.process = self.ns.spawn(
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", 1),
            # Time goes by instructions: on a busy machine the kernel would measure its clocks against
            # a time that jumps, and give up or run ten times too fast.
            *("-icount", "shift=auto"),
            *("-m", self._memory_mb),
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-serial", f"file:{self._console}"),
            *("-serial", f"unix:{self._shell_path},server=on,wait=off"),
            *("-kernel", self._image.kernel, "-initrd", self._image.initrd),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
            *self._network(),
            name=f"qemu{self.index}",
        )
        return self

    def wait(self) -> Guest:
        """Until it is up."""
        wait_until(self._ready, "the guest is up", _BOOT_TIMEOUT_S, interval_s=0.05)
        self._shell = socket.socket(socket.AF_UNIX)
        self._shell.connect(str(self._shell_path))
        self._wait_for_shell()
        self._set_addresses()
        return self

    def start(self) -> Guest:
        return self.launch().wait()

    def console(self) -> str:
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    def _ready(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise LabError(f"the guest ended: {self.process.output()} {self.console()}")
        return guest_image.READY in self.console()

    def _wait_for_shell(self) -> None:
        """Until the shell answers: what is sent while its terminal is set up loses characters."""
        assert self._shell is not None
        shell, number = self._shell, next(self._numbers)
        text = ""

        def answers() -> bool:
            nonlocal text
            # The quotes keep the terminal's echo from being the answer.
            shell.sendall(f"echo shell-''{number}\n".encode())
            shell.settimeout(1.0)
            with contextlib.suppress(TimeoutError):
                text += shell.recv(65536).decode(errors="replace")
            return f"shell-{number}" in text

        wait_until(answers, "the guest's shell answers", _TIMEOUT_S)

    def sh(self, *commands: str, check: bool = True, timeout_s: float = _TIMEOUT_S) -> str:
        """Runs commands until one fails; returns their output, standard error included."""
        status, output = self._execute(" && ".join(commands), timeout_s)
        if check and status != 0:
            raise LabError(f"the guest's '{'; '.join(commands)}' ended with {status}: {output}")
        return output

    def _execute(self, script: str, timeout_s: float) -> tuple[int, str]:
        if self._shell is None:
            raise LabError("the guest was not started")
        mark = f"{next(self._numbers)}"
        # A terminal line is 4095 bytes at most. What runs must not read the shell's own input.
        line = f"echo @{mark}@; ( {script} ) </dev/null 2>&1; echo @{mark}=$?@\n"
        if len(line) > 4000 or "\n" in script:
            raise LabError(f"this is too long for the guest's shell: {script}")
        self._shell.sendall(line.encode())
        text = ""
        pattern = re.compile(rf"@{mark}@\r?\n(.*)@{mark}=(\d+)@", re.DOTALL)
        deadline = time.monotonic() + timeout_s
        while (found := pattern.search(text)) is None:
            self._shell.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                data = self._shell.recv(65536)
            except TimeoutError:
                raise LabError(f"the guest's '{script}' did not end: {text}") from None
            if not data:
                raise LabError(f"the guest is gone: {self.console()[-2000:]}")
            text += data.decode(errors="replace")
        return int(found[2]), found[1].replace("\r", "").strip()

    def write_file(self, path: str, content: bytes) -> None:
        """In pieces that a line of the terminal takes."""
        self.sh(f": >{path}")
        text = base64.b64encode(content).decode()
        for start in range(0, len(text), _PIECE):
            self.sh(f"echo {text[start:start + _PIECE]} | base64 -d >>{path}")

    def report(self) -> str:
        lines = ["=== guest: console", *self.console().splitlines()[-30:]]
        if self.process is not None and self.process.running:
            state = "ip -s -d link; ip addr; ip route; ip neigh; dmesg"
            lines += ["=== guest", *self.sh(state, check=False).splitlines()[-200:]]
        return "\n".join(lines)

    def ping(
        self,
        target: str,
        count: int = 3,
        mark: int = 0,
        pattern: str = "",
        wait_s: int = 5,
        machine: str = "",
    ) -> int:
        """How many of the first `count` echo requests were answered; `machine` is the namespace in the
        guest that they come from. Loss is a result and not an error. By -c alone ping waits for the
        last reply no longer than two round trips and an interval, which a busy emulated machine
        exceeds; with -w it sends on until it has as many replies, or `wait_s` and a second for each
        request are over."""
        command = f"ping -n -c {count} -i 0.05 -w {count + wait_s}"
        command += (f" -m {mark}" if mark else "") + (f" -p {pattern}" if pattern else "")
        prefix = f"ip netns exec {machine} " if machine else ""
        timeout_s = _TIMEOUT_S + count
        text = self.sh(f"{prefix}{command} {target}", check=False, timeout_s=timeout_s)
        if "packets transmitted" not in text:
            raise LabError(f"the guest's ping {target} said: {text}")
        numbers = map(int, re.findall(r"bytes from .*icmp_seq=(\d+) ", text))
        return len(set(range(1, count + 1)).intersection(numbers))


class VhostGuest(Guest):
    """A guest whose NIC is a vhost-user port, with the offloads of a Linux guest on; QEMU has the
    socket, so that switch and guest find each other whichever starts last."""

    def __init__(self, lab: Lab, image: GuestImage, index: int) -> None:
        super().__init__(lab, image, index)
        self.socket = lab.directory / "vhost.sock"

    def _make_wire(self) -> None:
        pass

    def _network(self) -> tuple[str, ...]:
        # The switch maps the guest's memory. Interrupts by MSI-X crash this QEMU without KVM.
        return (
            *("-object", f"memory-backend-memfd,id=mem,size={self._memory_mb}M,share=on"),
            *("-machine", "pc,memory-backend=mem"),
            *("-chardev", f"socket,id=c0,path={self.socket},server=on,wait=off"),
            *("-netdev", "vhost-user,id=n0,chardev=c0,queues=1"),
            *("-device", f"virtio-net-pci,netdev=n0,romfile=,vectors=0,mac={vm_mac(self.index)}"),
        )

    def _set_addresses(self) -> None:
        self.sh("ip link set eth0 up", f"ip addr add {vm_address(self.index, 4)}/24 dev eth0")

    def has_feature(self, bit: int) -> bool:
        """Whether driver and switch have agreed on a feature bit of virtio-net."""
        return self.sh("cat /sys/class/net/eth0/device/features")[bit] == "1"

    def reboot(self) -> None:
        boots = self.console().count(guest_image.READY)
        assert self._shell is not None
        self._shell.sendall(b"busybox reboot -f\n")
        wait_until(
            lambda: self.console().count(guest_image.READY) > boots,
            "the guest is up again",
            _BOOT_TIMEOUT_S,
            interval_s=0.05,
        )
        self._wait_for_shell()
        self._set_addresses()

    def restart(self) -> None:
        """Ends QEMU as a crash would, and starts it anew."""
        assert self.process is not None and self._shell is not None
        self.process.stop(signal.SIGKILL)
        self._shell.close()
        for path in (self._shell_path, self.socket, self._console):
            path.unlink(missing_ok=True)
        self.start()


class GuestPeer:
    """The guest in the place of a second host, for one test: what it adds is `t0`."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.index = _INDEX
        self._port = ""

    def address(self, family: int = 4) -> str:
        return vm_address(self.index, family)

    @property
    def mac(self) -> str:
        return vm_mac(self.index)

    def underlay(self, family: int) -> str:
        return underlay_address(self.index, family)

    def attach(self, host: Host) -> None:
        """A cable from the host's eth0 to the guest."""
        self._port = f"to-{host.ns.name}"
        host.lab.reporters.append(self.guest.report)
        host.lab.wire(host.ns, "eth0", self.guest.ns, self._port, mtu=host.mtu)
        self.guest.ns.ip("link", "set", "dev", self._port, "master", "wire")

    def detach(self) -> None:
        """Leaves the guest as it was booted; its neighbours will be others."""
        if self._port:
            self.guest.ns.ip("link", "del", self._port, check=False)
            self._port = ""
        self.guest.sh(
            "{ [ ! -e /sys/class/net/t0 ] || ip link del t0; }",
            "ip neigh flush all nud all dev eth0",
            "rm -f /tmp/*",
        )

    def add_tunnel(
        self, kind: str, options: str, addresses: list[str] | None = None, mtu: int = VM_MTU
    ) -> None:
        """`ip link add t0 type KIND OPTIONS` with the VM addresses, unless others are given."""
        layer2 = kind not in ("gre", "ip6gre")
        address = f"address {self.mac}" if layer2 else ""
        commands = [
            f"ip link add t0 {address} type {kind} {options}",
            f"ip link set t0 mtu {mtu} up",
        ]
        if addresses is None:
            addresses = [f"{self.address(4)}/24", f"{self.address(6)}/64"]
        for one in addresses:
            commands.append(f"ip addr add {one} dev t0" + (" nodad" if ":" in one else ""))
        self.guest.sh(*commands)

    def exchange_tcp(self, vm: Namespace, address: str, size: int, seed: int) -> None:
        """Sends `size` bytes each way over one connection from the VM, and compares them."""
        guest = self.guest
        guest.sh(f"head -c {size} /dev/urandom >/tmp/sent")
        # The listener is a child of the guest's shell that outlives the command.
        guest.sh(f"{{ nc -l -p {_TCP_PORT} </tmp/sent >/tmp/got 2>/tmp/error & }}")
        content = random.Random(seed).randbytes(size)
        received = _exchange(vm, address, content, size)
        expected = guest.sh("sha256sum </tmp/sent").split()[0]
        if hashlib.sha256(received).hexdigest() != expected:
            raise LabError(f"TCP guest to {vm.name}: {len(received)} of {size} bytes, or others")

        def arrived() -> bool:
            return guest.sh("stat -c %s /tmp/got") == str(size)

        wait_until(arrived, f"the guest received {size} bytes", _TIMEOUT_S, interval_s=0.1)
        if guest.sh("sha256sum </tmp/got").split()[0] != hashlib.sha256(content).hexdigest():
            raise LabError(f"TCP {vm.name} to guest: the content differs")


def _connect(vm: Namespace, address: str) -> socket.socket | None:
    """None while nothing listens yet."""
    with vm.entered():
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    one.settimeout(_TIMEOUT_S)
    try:
        one.connect((address, _TCP_PORT))
    except ConnectionRefusedError:
        one.close()
        return None
    return one


def _exchange(vm: Namespace, address: str, content: bytes, size: int) -> bytes:
    connection = wait_until(lambda: _connect(vm, address), f"the guest listens at {address}")
    assert isinstance(connection, socket.socket)
    with connection:
        connection.setblocking(False)
        return _send_and_receive(connection, content, size)


def _send_and_receive(connection: socket.socket, content: bytes, size: int) -> bytes:
    """Both at once. The guest's nc gives up sending when it reads our end, so we end last."""
    received = bytearray()
    left = memoryview(content)
    ended = False  # The guest has sent all: it still reads.
    while (len(received) < size and not ended) or left:
        readers = [] if ended else [connection]
        writers = [connection] if left else []
        readable, writable, _ = select.select(readers, writers, [], _TIMEOUT_S)
        if not readable and not writable:
            raise LabError(f"TCP made no progress: {len(left)} to send, {len(received)} received")
        if writable:
            left = left[connection.send(left) :]
        if readable:
            data = connection.recv(1 << 18)
            ended = not data
            received += data
    return bytes(received)
