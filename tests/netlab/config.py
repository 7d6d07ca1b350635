# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's TOML configuration as a value that tests change and write out."""

from __future__ import annotations

import copy


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _lines(table: dict) -> list[str]:
    return [f"{k} = {_value(v)}" for k, v in table.items() if not _is_nested(v)]


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _table_lines(header: str, path: str, table: dict) -> list[str]:
    lines = [header, *_lines(table)]
    for key, nested in table.items():
        inner = f"{path}.{key}"
        if isinstance(nested, dict):
            lines += _table_lines(f"[{inner}]", inner, nested)
        elif _is_nested(nested):
            for item in nested:
                lines += _table_lines(f"[[{inner}]]", inner, item)
    return lines


class Config:
    """Sections are dicts, repeated tables are lists of dicts, in the words of the file."""

    def __init__(self) -> None:
        self.daemon: dict = {}
        self.sections: dict[str, dict] = {}  # dpdk, workers, flow_cache
        self.bridges: list[dict] = []
        self.ports: list[dict] = []
        self.bonds: list[dict] = []
        self.tunnels: list[dict] = []

    def copy(self) -> Config:
        return copy.deepcopy(self)

    def section(self, name: str, **keys: object) -> None:
        self.sections.setdefault(name, {}).update(keys)

    def bridge(self, name: str, **keys: object) -> dict:
        """`local={...}` becomes [bridge.local], `static_mac=[{...}]` [[bridge.static_mac]], and so on
        at any depth."""
        self.bridges.append({"name": name, **keys})
        return self.bridges[-1]

    def port(self, name: str, bridge: str, **keys: object) -> dict:
        self.ports.append({"name": name, "bridge": bridge, **keys})
        return self.ports[-1]

    def bond(self, name: str, bridge: str, members: list[str], **keys: object) -> dict:
        """`members` name ports of the same bridge."""
        self.bonds.append({"name": name, "bridge": bridge, "members": members, **keys})
        return self.bonds[-1]

    def tunnel(self, name: str, bridge: str, **keys: object) -> dict:
        self.tunnels.append({"name": name, "bridge": bridge, **keys})
        return self.tunnels[-1]

    def find_bridge(self, name: str) -> dict:
        return next(b for b in self.bridges if b["name"] == name)

    def find_port(self, name: str) -> dict:
        return next(p for p in self.ports if p["name"] == name)

    def find_tunnel(self, name: str) -> dict:
        return next(t for t in self.tunnels if t["name"] == name)

    def text(self) -> str:
        lines: list[str] = []
        for name, table in {"daemon": self.daemon, **self.sections}.items():
            if table:
                lines += [f"[{name}]", *_lines(table), ""]
        for kind, tables in (
            ("bridge", self.bridges),
            ("port", self.ports),
            ("bond", self.bonds),
            ("tunnel", self.tunnels),
        ):
            for table in tables:
                lines += [*_table_lines(f"[[{kind}]]", kind, table), ""]
        return "\n".join(lines)
