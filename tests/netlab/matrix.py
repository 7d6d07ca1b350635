# SPDX-License-Identifier: GPL-2.0-or-later
"""The interop matrix: one row for each combination of peer, protocol, options and family that a
test drives, printed when the run ends. A row whose test failed, was skipped or did not run says so.
"""

from __future__ import annotations

import dataclasses

_COLUMNS = (
    *("peer", "protocol", "options", "outer"),
    *("ping", "TCP", "checksums on the wire", "result"),
)


@dataclasses.dataclass
class Row:
    """The first four say what is driven; the test fills in what it saw."""

    peer: str
    protocol: str
    options: str
    outer: str
    ping: str = "-"
    tcp: str = "-"
    checksums: str = "-"
    result: str = "NOT RUN"

    def cells(self) -> tuple[str, ...]:
        return dataclasses.astuple(self)


class Matrix:
    """The rows of one run, in the order in which their tests were collected."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}  # By the test's identifier.

    def text(self) -> list[str]:
        table = [_COLUMNS, *(row.cells() for row in self.rows.values())]
        widths = [max(len(line[i]) for line in table) for i in range(len(_COLUMNS))]
        return ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in table]

    def summary(self) -> str:
        failed = sum(row.result != "ok" for row in self.rows.values())
        return f"{len(self.rows)} rows, {failed} not ok"
