# SPDX-License-Identifier: GPL-2.0-or-later
"""Precompiled headers for .ci/tidy: the headers of others that many of our files include, parsed once."""

import collections
import functools
import hashlib
import os
import pathlib
import re
import subprocess
import threading

import project

FOLDER = project.ROOT / "build" / "tidy"
# Flags that may differ between a precompiled header and the file that uses it. That there is optimization may
# not (it defines __OPTIMIZE__), its level may.
FREE = re.compile(r"-O[123]|-W.*|-DCULVERT_.*")
# Before all others: what stands in this one first is declared outside of any extern "C" {}, where
# bugprone-forward-declaration-namespace finds it.
FIRST = "sys/select.h"
# What the kernel and the C library both declare goes by the order in which a file includes it.
ORDERED = re.compile(r"(linux|net|netinet|arpa|libiptc)/.*")
# A definition that the headers after it read, as a library's setting.
SETTING = re.compile(r"^\s*#\s*define\s+(?!CULVERT_)\w+.*?^\s*#\s*include\s*<", re.MULTILINE | re.DOTALL)
# Of the files of a group, so many must include a header. What a file does not use of it costs it little.
SHARE = 0.25
# Fewer do not earn back what it takes to make.
FILES = 5


class Headers:
    """A precompiled header for each group of files with the same flags, made when first asked for."""

    def __init__(self, commands, compiled, sources):
        """compiled: all files that there are commands for; sources: those of them that are to be checked."""
        self._group_of = {}
        self._names = collections.defaultdict(collections.Counter)
        self._made = {}
        for source in compiled:
            flags = tuple(word for word in commands[source][1:] if not FREE.fullmatch(word))
            ours = project.closure(source)
            if any(_has_setting(path) for path in ours):
                continue
            self._group_of[source] = flags
            self._names[flags].update({
                name for path in ours for _, name, is_system in project.includes(path)
                if is_system and not ORDERED.fullmatch(name)
            })  # fmt: skip
        self._size = collections.Counter(self._group_of.values())
        self._asked = collections.Counter(self._group_of[source] for source in sources if source in self._group_of)
        self._locks = {flags: threading.Lock() for flags in self._size}

    def arguments(self, source):
        """What clang-tidy is to be told for this file; nothing where there is no precompiled header."""
        flags = self._group_of.get(source)
        if flags is None or self._asked[flags] < FILES:
            return []
        with self._locks[flags]:
            if flags not in self._made:
                self._made[flags] = self._make(flags)
        made = self._made[flags]
        if made is None:
            return []
        return ["--extra-arg=-Xclang", "--extra-arg=-include-pch", "--extra-arg=-Xclang", f"--extra-arg={made}"]

    def _make(self, flags):
        least = SHARE * self._size[flags]
        names = sorted(name for name, count in self._names[flags].items() if count >= least)
        text = "".join(f"#include <{name}>\n" for name in [FIRST, *names])
        group = hashlib.sha256(repr(flags).encode()).hexdigest()[:8]
        state = hashlib.sha256(text.encode()).hexdigest()[:8]
        made = FOLDER / f"headers-{group}-{state}.pch"
        if _is_current(made):
            return made
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.glob(f"headers-{group}-*"):
            if state not in old.name:
                old.unlink(missing_ok=True)
        # Another run may be making the same one.
        header = made.with_suffix(".hpp")
        if not header.exists():
            header.write_text(text, encoding="utf-8")
        partial = made.with_suffix(f".{os.getpid()}")
        try:
            done = subprocess.run(
                ["clang++-14", *flags, "-O1", "-w", "-Xclang", "-fno-cxx-modules", "-fpch-instantiate-templates",
                 "-Xclang", "-fno-pch-timestamp", "-MD", "-MF", made.with_suffix(".d"),
                 "-x", "c++-header", header, "-o", partial],
                cwd=project.ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            failure = done.stderr if done.returncode else None
        except OSError as error:
            failure = str(error)
        if failure is not None:
            partial.unlink(missing_ok=True)
            print(f"tidy: note: {header} could not be precompiled, so this takes longer:"
                  f"\n{failure[:1000].rstrip()}", flush=True)  # fmt: skip
            return None
        partial.rename(made)
        made.with_suffix(".stamp").write_text(_stamp(made), encoding="utf-8")
        return made


@functools.cache
def _has_setting(path):
    return SETTING.search(project.read(path)) is not None


def _is_current(made):
    try:
        return made.exists() and made.with_suffix(".stamp").read_text(encoding="utf-8") == _stamp(made)
    except FileNotFoundError:
        return False


def _stamp(made):
    """State of clang and of all files in it: by itself clang does not see that a system header has changed."""
    version = subprocess.run(["clang-tidy-14", "--version"], capture_output=True, text=True, check=True).stdout
    words = made.with_suffix(".d").read_text(encoding="utf-8").replace("\\\n", " ").split()[1:]
    states = []
    for name in words:
        facts = pathlib.Path(name).stat()
        states.append((name, facts.st_size, facts.st_mtime_ns))
    return hashlib.sha256(repr((version, states)).encode()).hexdigest()
