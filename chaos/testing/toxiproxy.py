"""Toxiproxy's server for tests: its program, or a reason to skip them that says what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from chaos.toxiproxy.binary import find_binary
from chaos.toxiproxy.errors import ToxiproxyMissing


def toxiproxy_or_skip() -> Path:
    """The program. Without one the test is skipped, but fails where CI has Go to build it with."""
    try:
        return find_binary()
    except ToxiproxyMissing as missing:
        if os.environ.get("CI") and shutil.which("go"):
            raise
        pytest.skip(f"no Toxiproxy: {missing}")
