"""The version of the Floodmark that runs here."""

from __future__ import annotations

import importlib.metadata
from typing import Final

DISTRIBUTION: Final = "floodmark-server"


def build_version() -> str | None:
    """As it was installed; None where the code runs without having been installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
