"""How long the test of two builds goes on."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--rounds``: for a run of this folder alone."""
    parser.addoption("--rounds", type=int, default=0, help="to this build and all the way back, so often")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """What the command line says; a plain run makes no round."""
    return int(request.config.getoption("--rounds", default=0))
