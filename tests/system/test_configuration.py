# SPDX-License-Identifier: GPL-2.0-or-later
"""Configurations, good and bad: what the daemon says of them before it touches anything.

    a host namespace without any wire but eth0 and vif1
"""

from __future__ import annotations

import pathlib
import subprocess

import pytest

from netlab.daemon import Build
from netlab.lab import Lab, Namespace

GOOD = """\
[daemon]
socket = "@SOCKET@"

[[bridge]]
name = "br-phy"
[bridge.local]
addresses = ["172.20.0.1/24", "fd20::1/64"]
mtu = 1600

[[bridge]]
name = "br0"
mac_ageing_s = 300

[[port]]
name = "eth0"
bridge = "br-phy"
kind = "linux"

[[port]]
name = "vif1"
bridge = "br0"
tag = 10

[[tunnel]]
name = "t1"
bridge = "br0"
type = "vxlan"
remote_ip = "172.20.0.2"
key = 100
"""


@pytest.fixture
def host(lab: Lab) -> Namespace:
    space = lab.namespace("h1")
    lab.wire(space, "eth0", lab.namespace("wire"), "eth0", mtu=1600)
    lab.wire(space, "vif1", lab.namespace("vm1"), "eth0")
    return space


def devices(host: Namespace) -> list[str]:
    """Names of the devices; their states change by themselves while links come up."""
    return [line.split()[0] for line in host.ip("-brief", "link").stdout.splitlines()]


def run_culvertd(
    host: Namespace, build: Build, text: str, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], pathlib.Path]:
    path = host.lab.directory / "culvert.toml"
    path.write_text(text.replace("@SOCKET@", str(host.lab.directory / "s.ctl")), encoding="utf-8")
    done = host.run(build.culvertd, "--config", path, *arguments, check=False)
    return done, path


def test_check_prints_what_would_be_done_and_touches_nothing(host, build) -> None:
    before = devices(host)
    done, _ = run_culvertd(host, build, GOOD, "--check")
    assert done.returncode == 0, done.stderr
    for name in ("br-phy", "br0", "eth0", "vif1", "t1"):
        assert name in done.stdout
    assert devices(host) == before
    assert host.run("nft", "list", "tables").stdout == ""
    assert not (host.lab.directory / "s.ctl").exists()


def test_the_version_is_printed(host, build) -> None:
    done = host.run(build.culvertd, "--version")
    assert done.stdout.startswith("culvertd ")


def test_an_unknown_option_is_refused(host, build) -> None:
    done = host.run(build.culvertd, "--frobnicate", check=False)
    assert done.returncode == 2
    assert "frobnicate" in done.stderr


def test_a_missing_file_is_named(host, build) -> None:
    done = host.run(build.culvertd, "--config", "/nonexistent/culvert.toml", check=False)
    assert done.returncode == 2
    assert "/nonexistent/culvert.toml" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# What is replaced in GOOD, by what, and the words that the sentence must have: the key, the value
# and something of what would be valid. The line is one of the replacement's.
BAD = {
    "syntax": ("mtu = 1600", "mtu = = 1600", []),
    "unknown section": ("[[tunnel]]", "[[tunel]]", ["tunel", "[[tunnel]]"]),
    "unknown key": ("key = 100", "keyy = 100", ["keyy", "key"]),
    "unknown port kind": ('kind = "linux"', 'kind = "veth"', ["kind", '"veth"', '"linux"']),
    "unknown tunnel type": (
        'type = "vxlan"',
        'type = "stt"',
        ["type", '"stt"', '"vxlan"', '"gre"'],
    ),
    "address that is none": (
        'remote_ip = "172.20.0.2"',
        'remote_ip = "172.20.0.256"',
        ["remote_ip", "172.20.0.256"],
    ),
    "multicast peer": (
        'remote_ip = "172.20.0.2"',
        'remote_ip = "239.0.0.1"',
        ["remote_ip", "239.0.0.1", "multicast"],
    ),
    "families differ": (
        'remote_ip = "172.20.0.2"',
        'remote_ip = "172.20.0.2"\nlocal_ip = "fd20::1"',
        ["local_ip", "fd20::1", "IPv4"],
    ),
    "key too wide": ("key = 100", "key = 16777216", ["key", "16777216", "16777215", "vxlan"]),
    "negative number": ("key = 100", "key = -1", ["key", "-1", "0-16777215"]),
    "text for a number": ("key = 100", 'key = "100"', ["key", '"100"', "0-16777215"]),
    "VLAN out of range": ("tag = 10", "tag = 4095", ["tag", "4095", "1-4094"]),
    "trunk with a tag": (
        "tag = 10",
        'vlan_mode = "trunk"\ntag = 10',
        ["tag", "trunk", "access"],
    ),
    "unknown VLAN mode": (
        "tag = 10",
        'tag = 10\nvlan_mode = "hybrid"',
        ["vlan_mode", "hybrid", "native-untagged"],
    ),
    "MTU out of range": ("mtu = 1600", "mtu = 20", ["mtu", "20", "68-65521"]),
    "prefix missing": (
        'addresses = ["172.20.0.1/24", "fd20::1/64"]',
        'addresses = ["172.20.0.1"]',
        ["addresses", "172.20.0.1", "/24"],
    ),
    "ageing out of range": (
        "mac_ageing_s = 300",
        "mac_ageing_s = 9",
        ["mac_ageing_s", "9", "10-1000000"],
    ),
    "bridge that is none": (
        'bridge = "br0"\ntag = 10',
        'tag = 10\nbridge = "br1"',
        ["bridge", "br1", "br0"],
    ),
    "name taken": ('name = "t1"', 'name = "vif1"', ["vif1", "taken"]),
    "device name too long": (
        'name = "br-phy"',
        'name = "a-bridge-with-a-long-name"',
        ["name", "a-bridge-with-a-long-name", "1-15"],
    ),
    "devargs on a Linux port": (
        'kind = "linux"',
        'kind = "linux"\ndevargs = "net_null0"',
        ["devargs", "linux", "dpdk"],
    ),
    "UDP port of GRE": (
        'type = "vxlan"',
        'type = "gre"\ndst_port = 4789',
        ["dst_port", "gre"],
    ),
    "interface that is none": ('name = "vif1"', 'name = "vif9"', ["interface", "vif9", "hotplug"]),
    "unknown log level": (
        "[daemon]",
        '[daemon]\nlog_level = "loud"',
        ["log_level", "loud", "warning"],
    ),
    "socket that is no path": (
        "[daemon]\nsocket = \"@SOCKET@\"",
        '[daemon]\nsocket = "relative.ctl"',
        ["socket", "relative.ctl", "absolute"],
    ),
}

# Sentences about an item as a whole give the line where the item begins.
ITEM_LINE_CASES = {"name taken", "bridge that is none", "interface that is none"}


@pytest.mark.parametrize("arguments", [(), ("--check",)], ids=["start", "check"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration_is_one_sentence(
    host: Namespace, build: Build, case: str, arguments: tuple[str, ...]
) -> None:
    old, new, words = BAD[case]
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    before = devices(host)
    done, path = run_culvertd(host, build, text, *arguments)
    assert done.returncode == 2
    sentence = done.stderr.strip()
    assert len(sentence.splitlines()) == 1, sentence
    at = GOOD.index(old)
    if case in ITEM_LINE_CASES:
        at = GOOD.rindex("[[", 0, at)
    first = GOOD[:at].count("\n") + 1
    last = GOOD[: GOOD.index(old)].count("\n") + 1 + new.count("\n")
    lines = range(first, last + 1)
    assert any(f"{path}:{line}:" in sentence for line in lines), sentence
    for word in words:
        assert word in sentence, f"'{word}' in: {sentence}"
    assert devices(host) == before


def test_two_tunnels_that_would_take_the_same_packets_are_refused(host, build) -> None:
    second = '[[tunnel]]\nname = "t2"\nbridge = "br0"\ntype = "vxlan"\n'
    second += 'remote_ip = "172.20.0.2"\nkey = 100\n'
    done, _ = run_culvertd(host, build, GOOD + "\n" + second, "--check")
    assert done.returncode == 2
    assert "t1" in done.stderr and "t2" in done.stderr


def test_a_cpu_that_is_not_there_is_refused(host, build) -> None:
    done, path = run_culvertd(host, build, GOOD + "\n[workers]\ncpus = [1000]\n", "--check")
    assert done.returncode == 2
    assert "1000" in done.stderr and str(path) in done.stderr
