# SPDX-License-Identifier: GPL-2.0-or-later
"""strongSwan's IKE daemon in a host's namespace, with a /run and a vici socket of its own.

Two of them agree on IKE SAs with each other on any kernel. What comes of the child SAs depends on
the kernel that they would be installed in: one without ESP refuses them.
"""

from __future__ import annotations

import pathlib
import signal
import socket
import struct
from collections.abc import Iterator

from netlab.lab import Namespace, Process, wait_until

PROGRAM = pathlib.Path("/usr/lib/ipsec/charon")
# The vici plugin is in a package of its own, and so is openssl's; `.ci/deps test` has them.
FILES = {
    PROGRAM: "strongswan-charon",
    PROGRAM.parent / "plugins" / "libstrongswan-vici.so": "strongswan-swanctl",
    PROGRAM.parent / "plugins" / "libstrongswan-openssl.so": "libstrongswan-standard-plugins",
}
_PLUGINS = (
    "random nonce aes sha1 sha2 hmac kdf gcm openssl pem pkcs1 pkcs8 x509 pubkey "
    "constraints revocation kernel-netlink socket-default vici"
)
# ESP of charon's own (package libcharon-extra-plugins), which has to come before the kernel's; and
# before strongSwan's own ciphers OpenSSL's, which use the CPU's.
LIBIPSEC = "openssl kernel-libipsec"


def missing() -> list[str]:
    """What is missing to start one, one sentence each."""
    return [
        f"{path} is missing; Debian has it in package {package}."
        for path, package in FILES.items()
        if not path.exists()
    ]


class ViciError(Exception):
    """charon's refusal of a command."""


def _name(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _encode(message: dict) -> bytes:
    parts = []
    for key, value in message.items():
        if isinstance(value, dict):
            parts.append(b"\x01" + _name(key) + _encode(value) + b"\x02")
        elif isinstance(value, (list, tuple)):
            items = [b"\x05" + struct.pack(">H", len(str(i))) + str(i).encode() for i in value]
            parts.append(b"\x04" + _name(key) + b"".join(items) + b"\x06")
        else:
            text = str(value).encode()
            parts.append(b"\x03" + _name(key) + struct.pack(">H", len(text)) + text)
    return b"".join(parts)


def _decode(stream: Iterator[int]) -> dict:
    """Up to the end of the section, or of all."""

    def text(width: int) -> str:
        length = int.from_bytes(bytes(next(stream) for _ in range(width)), "big")
        return bytes(next(stream) for _ in range(length)).decode(errors="replace")

    message: dict = {}
    for kind in stream:
        if kind == 2:
            break
        key = text(1)
        if kind == 1:
            message[key] = _decode(stream)
        elif kind == 3:
            message[key] = text(2)
        else:
            message[key] = []
            while next(stream) == 5:
                message[key].append(text(2))
    return message


class Vici:
    """One connection to a vici socket."""

    def __init__(self, path: pathlib.Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(20)
        self._socket.connect(str(path))

    def close(self) -> None:
        self._socket.close()

    def _send(self, packet: bytes) -> None:
        self._socket.sendall(struct.pack(">I", len(packet)) + packet)

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            piece = self._socket.recv(count - len(taken))
            if not piece:
                raise ViciError("charon closed the connection")
            taken += piece
        return taken

    def _receive(self) -> tuple[int, str, dict]:
        packet = self._take(struct.unpack(">I", self._take(4))[0])
        if packet[0] == 7:
            end = 2 + packet[1]
            return 7, packet[2:end].decode(), _decode(iter(packet[end:]))
        return packet[0], "", _decode(iter(packet[1:]))

    def ask(self, command: str, message: dict | None = None, stream: str = "") -> list[dict]:
        """The streamed messages, if any, and then the answer."""
        if stream:
            self._send(b"\x03" + _name(stream))
            self._receive()
        self._send(b"\x00" + _name(command) + _encode(message or {}))
        received = []
        while True:
            kind, name, content = self._receive()
            if kind == 7:
                if name == stream:
                    received.append(content)
                continue
            if content.get("success") == "no":
                raise ViciError(f"{command}: {content.get('errmsg')}")
            return [*received, content]


class Charon:
    """One daemon."""

    def __init__(self, host: Namespace, name: str = "", first_plugins: str = "") -> None:
        self.host = host
        self.name = name or f"{host.name}-charon"
        self.directory = host.lab.directory / self.name
        self.directory.mkdir()
        self.socket = self.directory / "vici"
        self.log_path = self.directory / "log"
        (self.directory / "strongswan.conf").write_text(
            f"""charon {{
  load = {first_plugins} {_PLUGINS}
  retransmit_timeout = 1
  plugins {{
    vici {{
      socket = unix://{self.socket}
    }}
  }}
  filelog {{
    all {{
      path = {self.log_path}
      default = 1
      flush_line = yes
    }}
  }}
}}
""",
            encoding="ascii",
        )
        self.process: Process | None = None
        self._starts = 0
        host.lab.reporters.append(self.report)

    def start(self) -> Charon:
        self._starts += 1
        self.socket.unlink(missing_ok=True)
        # charon has its pidfile in /run, at a path that cannot be configured.
        self.process = self.host.spawn(
            *("unshare", "--mount", "sh", "-c", f"mount -t tmpfs tmpfs /run && exec {PROGRAM}"),
            name=f"{self.name}-{self._starts}",
            env={"STRONGSWAN_CONF": str(self.directory / "strongswan.conf")},
        )
        wait_until(self._answers, f"{self.name} answers")
        return self

    def _answers(self) -> bool:
        try:
            vici = Vici(self.socket)
        except OSError:
            return False
        vici.close()
        return True

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        return self.process.stop(number)

    def ask(self, command: str, message: dict | None = None, stream: str = "") -> list[dict]:
        vici = Vici(self.socket)
        try:
            return vici.ask(command, message, stream)
        finally:
            vici.close()

    def connections(self) -> dict[str, dict]:
        """By name, as charon has them."""
        found: dict[str, dict] = {}
        for each in self.ask("list-conns", stream="list-conn")[:-1]:
            found.update(each)
        return found

    def secrets(self) -> list[str]:
        return sorted(self.ask("get-shared")[-1].get("keys", []))

    def ike_sas(self) -> list[tuple[str, dict]]:
        """Name of the connection and facts, one for each."""
        return [pair for each in self.ask("list-sas", stream="list-sa")[:-1] for pair in each.items()]

    def established(self, connection: str) -> list[dict]:
        return [
            sa
            for name, sa in self.ike_sas()
            if name == connection and sa["state"] == "ESTABLISHED"
        ]

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def report(self) -> str:
        return f"---- log of {self.name} ----\n{self.log()[-6000:]}"
