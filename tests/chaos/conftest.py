"""What tests with real proxies need: the server's binary, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chaos.toxiproxy.binary import find_binary
from chaos.toxiproxy.errors import ToxiproxyMissing


@pytest.fixture(scope="session")
def toxiproxy_binary() -> Path:
    """The binary. Without one the test is skipped, but not where CI has Go to build it with."""
    try:
        return find_binary()
    except ToxiproxyMissing as missing:
        if os.environ.get("CI") and shutil.which("go"):
            raise
        pytest.skip(f"no Toxiproxy: {missing}")
