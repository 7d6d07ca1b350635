# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the interop tests alone."""

import pytest

from netlab.lab import require_root_and_tools
from netlab.peers import OVS_TOOLS


@pytest.fixture(scope="session")
def ovs_tools(environment: None) -> None:
    """Open vSwitch's programs are installed."""
    missing = require_root_and_tools(OVS_TOOLS)
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)
