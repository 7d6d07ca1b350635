# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of XenServer hosts need of the machine beside what every laboratory needs."""

import pathlib

import pytest

from netlab.lab import require_root_and_tools
from netlab.peers import OVS_TOOLS

TOOLS = {
    **OVS_TOOLS,
    "busybox": "busybox-static",
    "cmake": "cmake",
    "debugedit": "debugedit",
    "eu-strip": "elfutils",
    "git": "git",
    "nsenter": "util-linux",
    "rpmbuild": "rpm",
    "rpmlint": "rpmlint",
    "strace": "strace",
    "unshare": "util-linux",
    "xtables-legacy-multi": "iptables",
}
FILES = {
    "/usr/share/openvswitch/scripts/ovs-ctl": "openvswitch-switch",
    "/usr/lib/python3/dist-packages/ovs/unixctl/server.py": "python3-openvswitch",
    "/usr/lib/systemd/systemd": "systemd",
}


@pytest.fixture(scope="session", autouse=True)
def host_tools(environment: None) -> None:
    """The stock packages of a host, what its root is made with, and what makes and checks packages."""
    missing = require_root_and_tools(TOOLS)
    for name, package in FILES.items():
        if not pathlib.Path(name).exists():
            missing.append(f"The file {name} is missing; Debian has it in package {package}.")
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)
