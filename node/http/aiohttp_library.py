"""The aiohttp that connections can bypass: one version, one file, these private names.

``connection.py`` alone reads and writes them. Another version may keep the names and mean other things by
them, so a server runs with the one that it was written against.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from types import ModuleType
from typing import Final

VERSION: Final = "3.14.5"
SOURCE_SHA256: Final = "64a27fa5d0ae7906d705dd95318601a59908f74b2594d99d5c4ae5bf72e28f80"

METHODS: Final = ("_process_keepalive",)
"""Of its class, replaced."""

ATTRIBUTES: Final = (
    "_buffer_paused",
    "_close",
    "_drain_helper",
    "_force_close",
    "_handler_waiter",
    "_keepalive_timeout",
    "_lingering_time",
    "_loop",
    "_messages",
    "_next_keepalive_close_time",
    "_paused",
    "_reading_paused",
    "_request_count",
    "_request_in_progress",
    "_waiter",
)
"""Of each connection, read or written."""


def check_library(library: ModuleType) -> None:
    """Refuse a module ``aiohttp.web_protocol`` that is not the one connections were written against."""
    found = importlib.metadata.version("aiohttp")
    if found != VERSION:
        raise ImportError(f"the HTTP server needs aiohttp {VERSION}, found {found}")
    assert library.__file__ is not None
    if hashlib.sha256(Path(library.__file__).read_bytes()).hexdigest() != SOURCE_SHA256:
        raise ImportError("aiohttp's web_protocol.py is not the file that connections were written against")
    missing = [name for name in METHODS if not hasattr(library.RequestHandler, name)]
    if missing:
        raise ImportError(f"aiohttp lacks {missing}")


def check_connection(connection: object) -> None:
    """The attributes are there on a connection that was just made."""
    missing = [name for name in ATTRIBUTES if not hasattr(connection, name)]
    if missing:
        raise ImportError(f"aiohttp's connections lack {missing}")
