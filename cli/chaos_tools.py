"""What ``floodmark chaos`` needs besides Floodmark."""

from __future__ import annotations

from pathlib import Path

from chaos.toxiproxy.binary import find_binary
from chaos.toxiproxy.errors import ToxiproxyMissing
from cli.exits import UNAVAILABLE, Failure
from cli.session import talk


def toxiproxy() -> Path:
    """Toxiproxy's server, downloaded and built if it is missing. Raises ``Failure``."""
    try:
        return find_binary(tell=talk)
    except ToxiproxyMissing as missing:
        raise Failure(f"no Toxiproxy: {missing.reason}", exit_code=UNAVAILABLE, hint=missing.fix) from missing
