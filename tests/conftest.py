# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system, the interop and the XenServer tests share: the build under test and a laboratory for each test.

Nothing is skipped: a missing binary, tool or privilege is a failure that says what to do.
"""

from __future__ import annotations

import pathlib

import pytest

from netlab import storm
from netlab.daemon import Build
from netlab.lab import Lab, require_root_and_tools

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOLS = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "iperf3": "iperf3",
    "nft": "nftables",
    "strace": "strace",
    "c++": "g++",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--build",
        default=str(ROOT / "build" / "release"),
        help="build directory with ctl/culvertd and ctl/culvert-ctl (default: build/release)",
    )


def _fail_when_missing(missing: list[str]) -> None:
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


@pytest.fixture(scope="session")
def environment() -> None:
    """Root and the tools that every laboratory needs."""
    _fail_when_missing(require_root_and_tools(TOOLS))


@pytest.fixture(scope="session")
def build(request: pytest.FixtureRequest, environment: None) -> Build:
    found = Build(pathlib.Path(request.config.getoption("--build")).resolve())
    _fail_when_missing(found.missing())
    return found


@pytest.fixture
def lab(environment: None):
    """An empty laboratory, removed after the test."""
    with Lab() as laboratory:
        yield laboratory


@pytest.fixture(scope="session")
def storm_program(environment: None, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """frame_storm, compiled."""
    return storm.build(tmp_path_factory.mktemp("tools"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    report = outcome.get_result()
    laboratory = getattr(item, "funcargs", {}).get("lab")
    if report.failed and report.when in ("setup", "call") and laboratory is not None:
        if cancel_timeout := getattr(item, "cancel_timeout", None):
            cancel_timeout()  # The report has limits of its own.
        report.sections.append(("laboratory", laboratory.report()))
