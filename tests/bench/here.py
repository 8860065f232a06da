"""Clients without an installation of their own."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.peers.tools import Tools


class Here(Tools):
    """Workers run with this Python: what they need for Floodmark is here."""

    @property
    def python(self) -> Path:
        return Path(sys.executable)
