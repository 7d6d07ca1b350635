# SPDX-License-Identifier: GPL-2.0-or-later
"""DPDK's telemetry socket: packets are counted there, and not by the word of who is measured."""

from __future__ import annotations

import json
import pathlib
import socket

_TIMEOUT_S = 5.0


class Telemetry:
    def __init__(self, path: pathlib.Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(str(path))
        self._bytes_max = int(json.loads(self._socket.recv(4096))["max_output_len"])

    def close(self) -> None:
        self._socket.close()

    def ask(self, command: str) -> object:
        self._socket.send(command.encode())
        answer = json.loads(self._socket.recv(self._bytes_max))
        return answer[command.partition(",")[0]]

    def ports(self) -> dict[str, int]:
        """The number of each device by its name."""
        return {self.ask(f"/ethdev/info,{port}")["name"]: port for port in self.ask("/ethdev/list")}

    def stats(self, port: int) -> dict[str, int]:
        return self.ask(f"/ethdev/stats,{port}")
