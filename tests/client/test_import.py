"""What importing the package costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys
from enum import Enum

import floodmark


def test_codecs_come_without_an_event_loop_or_network() -> None:
    """Storage imports the codecs; neither aiohttp nor asyncio may come with them."""
    code = (
        "import sys, floodmark, floodmark.format.batch, floodmark.format.frame\n"
        "import floodmark.format.record, floodmark.errors\n"
        "print([name for name in ('aiohttp', 'asyncio', 'socket', 'ssl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_client_without_an_event_loop_is_there_unasked() -> None:
    """As the documentation writes it: ``import floodmark`` is enough."""
    code = "import floodmark; print(floodmark.sync.Client.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "floodmark.sync"


def test_every_public_name_is_there() -> None:
    """All of ``__all__`` can be had, and nothing that does not exist."""
    for name in floodmark.__all__:
        found = getattr(floodmark, name)
        assert (found.name if isinstance(found, Enum) else found.__name__) == name
    assert not hasattr(floodmark, "nothing")
