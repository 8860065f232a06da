"""Straight lines through medians: a cost is made of a fixed part and a growing part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.statistics import Spread


@dataclass(frozen=True, slots=True)
class Line:
    """``fixed + slope * x``."""

    fixed: float
    slope: float
    error: float
    """The largest deviation of a point from the line, as a share of the point."""

    def at(self, x: float) -> float:
        """What the line says."""
        return self.fixed + self.slope * x

    @property
    def knee(self) -> float:
        """The place where both parts are equal: below it the fixed part dominates, above it the growing
        one."""
        return self.fixed / self.slope if self.slope > 0 and self.fixed > 0 else float("nan")


def line(points: Mapping[float, Spread]) -> Line | None:
    """Least squares of relative deviations, so that small values count as much as large ones.

    None where there are fewer than two places, or a value of zero."""
    found = [(x, each.median) for x, each in points.items()]
    if len(found) < 2 or any(value <= 0 for _, value in found):
        return None
    weights = [1 / value**2 for _, value in found]
    total = sum(weights)
    mean_x = sum(weight * x for weight, (x, _) in zip(weights, found, strict=True)) / total
    mean_y = sum(weight * y for weight, (_, y) in zip(weights, found, strict=True)) / total
    across = sum(weight * (x - mean_x) ** 2 for weight, (x, _) in zip(weights, found, strict=True))
    along = sum(weight * (x - mean_x) * (y - mean_y) for weight, (x, y) in zip(weights, found, strict=True))
    slope = along / across
    fixed = mean_y - slope * mean_x
    return Line(fixed, slope, max(abs(fixed + slope * x - y) / y for x, y in found))
