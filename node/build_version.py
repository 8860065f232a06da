"""The version of the Floodmark build that runs here."""

from __future__ import annotations

import importlib.metadata
from typing import Final

DISTRIBUTION: Final = "floodmark-server"


def build_version() -> str | None:
    """As installed; None where the code runs without being installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
