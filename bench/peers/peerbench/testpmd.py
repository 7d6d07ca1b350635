# SPDX-License-Identifier: GPL-2.0-or-later
"""dpdk-testpmd: what the devices allow, by a program that hardly looks at packets."""

from __future__ import annotations

import os

from peerbench.rows import Row
from peerbench.systems import Devices, System

_PROGRAM = "dpdk-testpmd"
_BUFFERS = 16384
_MEMORY_MB = 256


class Testpmd(System):
    """Mode mac: both MAC addresses of each frame are written."""

    name = "testpmd"
    title = "testpmd mac"
    mode = "mac"

    @staticmethod
    def can(row: Row) -> bool:
        return True

    def launch(self, row: Row, devices: Devices) -> None:
        place = self.place
        reader, self._writer = os.pipe()  # It ends when its input does.
        with self.both_cpus():
            self.process = self.lab.spawn(
                [_PROGRAM, "-l", f"{place.control_cpu},{place.forward_cpu}"]
                + ["--main-lcore", str(place.control_cpu), "--file-prefix", self.file_prefix]
                + [*self.memory_arguments(_MEMORY_MB), "--no-pci", "-d", str(place.plugin)]
                + ["--vdev", devices.source, "--vdev", devices.sink, "--", "--nb-cores=1"]
                + [f"--forward-mode={self.mode}", f"--total-num-mbufs={_BUFFERS}"]
                + ["--no-mlockall", "--auto-start"],
                name=self.label,
                stdin=reader,
            )
        os.close(reader)

    def end(self) -> None:
        super().end()
        os.close(self._writer)


class TestpmdIo(Testpmd):
    """Mode io: packets are not touched at all."""

    name = "testpmd-io"
    title = "testpmd io"
    mode = "io"
