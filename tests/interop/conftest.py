# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the interop tests alone, and the matrix that they print.

A test marked `row(peer, protocol, options, outer)` is a row; its words may name the test's
parameters in braces. The test notes what it saw in the fixture `row`.
"""

import pytest

from netlab import guest_image
from netlab.capture import TSHARK_TOOLS
from netlab.guest import Guest, GuestPeer
from netlab.guest_esp import EspPeer
from netlab.guest_image import ESP_TOOLS, GUEST_TOOLS
from netlab.lab import Lab, require_root_and_tools
from netlab.matrix import Matrix, Row
from netlab.peers import OVS_TOOLS

MATRIX = pytest.StashKey[Matrix]()


def _require(tools: dict[str, str], *more: str) -> None:
    missing = [*require_root_and_tools(tools), *more]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


@pytest.fixture(scope="session")
def ovs_tools(environment: None) -> None:
    """Open vSwitch's programs are installed."""
    _require(OVS_TOOLS)


@pytest.fixture(scope="session")
def tshark(environment: None) -> None:
    """The dissector is installed."""
    _require(TSHARK_TOOLS)


@pytest.fixture(scope="session")
def guest_tools(environment: None) -> None:
    """QEMU, and what a guest's image is made of."""
    _require(GUEST_TOOLS, *guest_image.missing())


@pytest.fixture(scope="session")
def esp_tools(environment: None) -> None:
    """What the image of a guest with ESP and IKE is made of as well."""
    _require(ESP_TOOLS, *guest_image.missing(guest_image.ESP))


@pytest.fixture(scope="session")
def guest(esp_tools: None):
    """The QEMU guest, booted once."""
    image = guest_image.build(guest_image.ESP)
    with Lab() as laboratory:
        yield Guest(laboratory, image).start()


@pytest.fixture
def guest_peer(lab: Lab, guest: Guest):
    peer = GuestPeer(guest)
    yield peer
    peer.detach()


@pytest.fixture
def esp_peer(lab: Lab, guest: Guest):
    peer = EspPeer(guest)
    yield peer
    peer.detach()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """This test's row of the matrix."""
    return request.config.stash[MATRIX].rows[request.node.nodeid]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MATRIX] = Matrix()
    config.addinivalue_line(
        "markers", "row(peer, protocol, options, outer): a row of the interop matrix"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        if marker := item.get_closest_marker("row"):
            values = item.callspec.params if hasattr(item, "callspec") else {}
            words = [str(word).format(**values) for word in marker.args]
            session.config.stash[MATRIX].rows[item.nodeid] = Row(*words)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = (yield).get_result()
    found = item.config.stash[MATRIX].rows.get(item.nodeid)
    if found is not None:
        if report.failed:
            found.result = "FAILED"
        elif report.skipped:
            found.result = "SKIPPED"
        elif report.when == "call":
            found.result = "ok"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter, config: pytest.Config):
    yield  # The table comes last, behind the list of failures.
    matrix = config.stash[MATRIX]
    if matrix.rows:
        terminalreporter.section("interop matrix")
        for line in matrix.text():
            terminalreporter.write_line(line)
        terminalreporter.write_line(matrix.summary())
