# SPDX-License-Identifier: GPL-2.0-or-later
"""What the checks in this folder share: the project's files, their includes, and a cache of passes."""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CODE = (".cpp", ".hpp")
# Beside the compiler's cache, not in the tree: a fresh clone finds it too.
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "culvert-lint"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def files():
    """Paths, relative to the root, of every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = sorted(set(listed.split("\0")) - {""})
    return [pathlib.PurePosixPath(name) for name in names if (ROOT / name).is_file()]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def includes(path):
    """(line, name, is_system) of each include of a file."""
    text = read(path)
    return [
        (text.count("\n", 0, match.start(2)) + 1, match[2], match[1] == "<")
        for match in INCLUDE.finditer(text)
    ]


def closure(path, seen=None):
    """The file and every file of ours that it includes, directly or not."""
    seen = set() if seen is None else seen
    if path not in seen:
        seen.add(path)
        for _, name, is_system in includes(path):
            for candidate in (pathlib.PurePosixPath(name), path.parent / name):
                if not is_system and (ROOT / candidate).is_file():
                    closure(candidate, seen)
                    break
    return seen


def commands_folder():
    """Where each source has a compiler's command of its own: the release build, or where that compiles several of the tests'
    sources as one, a folder that is configured and not built."""
    cache = ROOT / "build" / "release" / "CMakeCache.txt"
    if not cache.exists() or not re.search(r"^CULVERT_UNITY:\w+=.", cache.read_text(encoding="utf-8"), re.MULTILINE):
        return "build/release"
    subprocess.run(
        ["cmake", "--preset", "release", "-B", "build/lint", "-DCULVERT_UNITY="],
        cwd=ROOT, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    return "build/lint"


def compile_commands(build):
    """Arguments of the compiler by source file (relative), without launcher, input and output."""
    database = ROOT / build / "compile_commands.json"
    if not database.exists():
        sys.exit(f"{build} is not configured: run make, or cmake --preset release.")
    commands = {}
    for entry in json.loads(database.read_text(encoding="utf-8")):
        path = pathlib.Path(entry["file"])
        if not path.is_relative_to(ROOT):
            continue
        words = shlex.split(entry["command"])
        if pathlib.Path(words[0]).name == "ccache":
            words = words[1:]
        kept = []
        skip = False
        for word in words:
            if skip or word in ("-o", "-c"):
                skip = word == "-o"
            elif word != str(path):
                kept.append(word)
        commands[pathlib.PurePosixPath(path.relative_to(ROOT))] = kept
    return commands


def check_each(kind, items, context, command, shortcuts=lambda item: []):
    """Runs command(item) -> (arguments, standard input) for each item, on every CPU, and reports.

    An item passes when its command ends with status 0. A pass is remembered under a hash of the
    item's bytes, of all that it includes, of context(item) and of the command; not of shortcuts(item),
    more arguments that make the command faster. What fails with them is judged without.
    """

    def check(item):
        arguments, text = command(item)
        state = hashlib.sha256(repr((kind, context(item), arguments, text)).encode())
        for path in sorted(closure(item)):
            state.update(f"\0{path}\0".encode() + (ROOT / path).read_bytes())
        marker = CACHE / kind / state.hexdigest()
        if marker.exists():
            marker.touch()
            return item, 0, ""
        more = shortcuts(item)
        for words in [[*arguments, *more]] + ([arguments] if more else []):
            done = subprocess.run(words, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
        if done.returncode == 0:
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        return item, done.returncode, done.stdout + (done.stderr if done.returncode else "")

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for item, status, output in pool.map(check, items):
            if status != 0:
                failed += 1
                print(f"{kind}: {item}\n{output.rstrip()}", flush=True)
    print(f"{kind}: {len(items)} checked, {failed} with findings", flush=True)
    return failed


def report(kind, checked, findings):
    """Prints findings; returns the exit status."""
    for finding in findings:
        print(f"{kind}: {finding}")
    print(f"{kind}: {checked} checked, {len(findings)} findings", flush=True)
    return 1 if findings else 0
