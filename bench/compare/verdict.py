"""The result of the turns of one case: this checkout relative to the other one, and that one to itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

WORSE_FROM: Final = 1.05
HEAD: Final = (
    f"{'processor, us':44} {'base':>10} {'here':>10}   {'here/base, quartiles':27}   base/base, quartiles"
)


class Ratio(NamedTuple):
    """The median and the quartiles of one side's turns over the other's, each beside its neighbour."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, mine: Sequence[float], theirs: Sequence[float]) -> Self:
        """Of turns in their order. One that is too short for the kernel's clock shows nothing."""
        ratios = sorted(one / other if other else 1.0 for one, other in zip(mine, theirs, strict=True))
        quarter = len(ratios) // 4
        return cls(statistics.median(ratios), ratios[quarter], ratios[-1 - quarter])

    def __str__(self) -> str:
        return f"{self.middle:.3f} [{self.low:.3f} to {self.high:.3f}]"


class Verdict(NamedTuple):
    """On one figure of one case, in microseconds of processor."""

    name: str
    base_us: float
    here_us: float
    ratio: Ratio
    noise: Ratio

    @classmethod
    def of(cls, name: str, base: Sequence[float], here: Sequence[float], again: Sequence[float]) -> Self:
        """``base`` and ``again``: the other checkout, twice."""
        both = [(one + other) / 2 for one, other in zip(base, again, strict=True)]
        return cls(
            name,
            statistics.median(both),
            statistics.median(here),
            Ratio.of(here, both),
            Ratio.of(again, base),
        )

    @property
    def is_worse(self) -> bool:
        """Above 5 percent, and above what the other checkout is from itself, either way round."""
        spread = max(self.noise.high, 1 / self.noise.low if self.noise.low else 1.0)
        return self.ratio.middle > max(WORSE_FROM, spread)

    def line(self) -> str:
        """One row of the table."""
        mark = "   worse" if self.is_worse else ""
        figures = f"{self.base_us:10.1f} {self.here_us:10.1f}   {self.ratio!s:27}   {self.noise!s}"
        return f"{self.name:44} {figures}{mark}"
