"""The values of records in benchmarks."""

from __future__ import annotations

import random


def payload(size: int) -> bytes:
    """The same bytes in every run; they cannot be compressed."""
    return random.Random(size).randbytes(size)
