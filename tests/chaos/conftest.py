"""What tests with real proxies need: the server's binary, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.testing.toxiproxy import toxiproxy_or_skip


@pytest.fixture(scope="session")
def toxiproxy_binary() -> Path:
    """The binary. Without one the test is skipped, but not with CI set."""
    return toxiproxy_or_skip()
