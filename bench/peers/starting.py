"""Servers of a system for as long as something is measured."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.servers.base import Servers
from bench.peers.systems import servers_of
from bench.peers.tools import Tools
from bench.peers.variant import Variant


@contextmanager
def started(variant: Variant, tools: Tools) -> Iterator[Servers]:
    """They are ready inside; after, they are gone and their data with them. Raises ``Failed``."""
    folder = Path(tempfile.mkdtemp(prefix=f"{variant.name}-", dir=tools.folder))
    try:
        with servers_of(variant)(variant, tools, folder) as servers:
            yield servers
    finally:
        shutil.rmtree(folder)
