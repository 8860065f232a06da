"""Progress messages of a benchmark; only figures go to standard output."""

from __future__ import annotations

import os
import sys

_QUIET_LOAD = 0.7


def names_in(option: str) -> list[str]:
    """What stands between the commas."""
    return [name for name in option.split(",") if name]


def to_stderr(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def not_quiet() -> str | None:
    """A note for the figures if other processes keep this machine busy."""
    if (load := os.getloadavg()[0]) > _QUIET_LOAD:
        return f"the machine was not quiet: {load:.1f} processes wanted to run before this began"
    return None
