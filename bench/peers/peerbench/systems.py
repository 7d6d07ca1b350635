# SPDX-License-Identifier: GPL-2.0-or-later
"""What all programs under test have in common: devices, processes, and being stopped and continued.

A program is started once for each row and then takes turns with the others: while one is measured
the others stand still (SIGSTOP), so that tables stay warm and a round of turns takes seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
from collections.abc import Iterator

from netlab.lab import Lab, LabError, Process, wait_until

from peerbench.rows import Row
from peerbench.telemetry import Telemetry

SOURCE = "net_replay0"
START_S = 30.0


@dataclasses.dataclass(frozen=True)
class Place:
    """Where things are and where they run."""

    build: pathlib.Path
    tools: pathlib.Path
    plugin: pathlib.Path
    forward_cpu: int
    control_cpu: int
    hugepages: bool


@dataclasses.dataclass(frozen=True)
class Devices:
    """Devargs of the source and of the sink."""

    source: str
    sink: str

    @property
    def sink_name(self) -> str:
        return self.sink.partition(",")[0]


def replay_devices(frames: pathlib.Path) -> Devices:
    # Without no-rx the sink would also receive.
    return Devices(f"{SOURCE},file={frames}", "net_null1,no-rx=1")


def capture_devices(frames: pathlib.Path, capture: pathlib.Path, rate: int) -> Devices:
    """Slowly, into a file that others can read."""
    return Devices(f"{SOURCE},file={frames},rate={rate}", f"net_pcap1,tx_pcap={capture}")


def listens(path: pathlib.Path) -> bool:
    """A socket's file is there a moment before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


class System:
    """One program; a subclass says how it is started and configured."""

    name = ""
    title = ""

    def __init__(self, lab: Lab, place: Place, label: str) -> None:
        self.lab = lab
        self.place = place
        self.label = label  # Unique in the laboratory.
        self.process: Process | None = None
        self.stopped = False
        self._telemetry: Telemetry | None = None
        self._ports: dict[str, int] = {}
        self._sink = ""

    # What a subclass has.

    @staticmethod
    def can(row: Row) -> bool:
        raise NotImplementedError

    def launch(self, row: Row, devices: Devices) -> None:
        """Starts `self.process` and configures it, up to the first packet."""
        raise NotImplementedError

    def runtime_folder(self) -> pathlib.Path:
        return pathlib.Path("/var/run/dpdk") / self.file_prefix

    def troubles(self) -> str:
        """What the program itself says of packets it dropped."""
        return ""

    # What all do alike.

    @property
    def file_prefix(self) -> str:
        return f"cvpeers-{self.lab.run_id}-{self.label}"

    def memory_arguments(self, megabytes: int) -> list[str]:
        if self.place.hugepages:
            return ["--in-memory"]
        return ["--no-huge", "--no-shconf", "-m", str(megabytes)]

    @contextlib.contextmanager
    def both_cpus(self) -> Iterator[None]:
        """Children may use the forwarding CPU too, from which the harness itself stays away."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.place.control_cpu, self.place.forward_cpu})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def start(self, row: Row, devices: Devices) -> None:
        self._sink = devices.sink_name
        self.launch(row, devices)
        self.wait(self._find_telemetry, f"{self.title} opens DPDK's telemetry socket")
        self.wait(self._find_ports, f"{self.title} has {SOURCE} and {self._sink}")
        assert self.process is not None
        # A session of its own has a share of the CPU of its own, against other sessions.
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{self.process.pid}/autogroup").write_text("-20", encoding="ascii")
        self.wait(lambda: self.sent() > 0, f"{self.title} forwards")

    def wait(self, condition, what: str) -> None:
        def checked() -> object:
            if self.process is not None and not self.process.running:
                raise LabError(f"{self.title} ended: {self.process.output().strip()[-2000:]}")
            return condition()

        try:
            wait_until(checked, what, START_S)
        except LabError as error:
            text = self.process.output().strip()[-2000:] if self.process is not None else ""
            raise LabError(f"{error}\n{text}") from None

    def _find_telemetry(self) -> bool:
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            self._telemetry = Telemetry(self.runtime_folder() / "dpdk_telemetry.v2")
        return self._telemetry is not None

    def _find_ports(self) -> bool:
        assert self._telemetry is not None
        self._ports = self._telemetry.ports()
        return SOURCE in self._ports and self._sink in self._ports

    def sent(self) -> int:
        """Packets that reached the sink."""
        assert self._telemetry is not None
        return self._telemetry.stats(self._ports[self._sink])["opackets"]

    def received(self) -> int:
        """Packets that the program took from the source."""
        assert self._telemetry is not None
        return self._telemetry.stats(self._ports[SOURCE])["ipackets"]

    def forwarding_thread(self) -> int:
        """Of the threads that may run on the forwarding CPU only, the one that ran most."""
        assert self.process is not None
        best = (-1, 0)
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                thread = int(task.name)
                if os.sched_getaffinity(thread) == {self.place.forward_cpu}:
                    ran = int((task / "schedstat").read_text(encoding="ascii").split()[0])
                    best = max(best, (ran, thread))
        if best[1] == 0:
            raise LabError(f"{self.title} has no thread on CPU {self.place.forward_cpu} alone")
        return best[1]

    def suspend(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def memory_mb(self) -> float:
        """Resident memory, hugepages not counted."""
        assert self.process is not None
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        if self._telemetry is not None:
            self._telemetry.close()
            self._telemetry = None
        if self.process is not None:
            if self.stopped:
                self.resume()
            self.end()
        # Of these programs only ours removes it.
        shutil.rmtree(pathlib.Path("/var/run/dpdk") / self.file_prefix, ignore_errors=True)

    def end(self) -> None:
        assert self.process is not None
        self.process.stop()
