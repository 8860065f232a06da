"""Latencies in little memory: counted by size, each size at most 1/32 wide of itself."""

from __future__ import annotations

import math
from typing import Final

_BITS: Final = 5


class Latencies:
    """Takes microseconds, gives quantiles that are never too low and at most 1/32 too high."""

    __slots__ = ("_cells", "count", "max_us")

    def __init__(self) -> None:
        self._cells: dict[int, int] = {}
        self.count = 0
        self.max_us = 0

    def add(self, us: int) -> None:
        """One more."""
        shift = max(0, us.bit_length() - _BITS - 1)
        # The largest number that agrees with this one in its first six bits stands for the whole cell.
        cell = us | (1 << shift) - 1
        self._cells[cell] = self._cells.get(cell, 0) + 1
        self.count += 1
        self.max_us = max(self.max_us, us)

    def quantile_ms(self, share: float) -> float | None:
        """The latency that this share of them does not exceed; None if there are none."""
        left = math.ceil(share * self.count)
        for cell in sorted(self._cells):
            left -= self._cells[cell]
            if left <= 0:
                return min(cell, self.max_us) / 1e3
        return None

    @property
    def max_ms(self) -> float | None:
        """The longest one; None if there are none."""
        return self.max_us / 1e3 if self.count else None
