# SPDX-License-Identifier: GPL-2.0-or-later
"""All rows of a run, as JSON and as documents."""

from __future__ import annotations

import dataclasses
import pathlib

from peerbench.results import RowResult, as_json


@dataclasses.dataclass
class Report:
    facts: dict[str, str]
    titles: dict[str, str]
    rows: list[RowResult] = dataclasses.field(default_factory=list)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict:
        return {
            "machine": self.facts,
            "rows": [as_json(row) for row in self.rows],
            "failures": self.failures,
        }

    def status(self, smoke: bool) -> int:
        """Figures are judged by readers; what fails is that there are none."""
        return 1 if self.failures or not self.rows else 0

    def write_documents(self, folder: pathlib.Path) -> None:
        raise NotImplementedError
