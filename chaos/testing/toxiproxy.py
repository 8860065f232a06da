"""Toxiproxy's server for tests: its program, or a reason to skip them that says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos.toxiproxy.binary import find_binary
from chaos.toxiproxy.errors import ToxiproxyMissing


def toxiproxy_or_skip() -> Path:
    """The program, built if it is missing. If that fails the test is skipped, but not with CI set."""
    try:
        return find_binary()
    except ToxiproxyMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no Toxiproxy: {missing}")
