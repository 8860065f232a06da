"""A figure of a benchmark with its goal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``goal``: it is at most this, if there is a goal."""

    what: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def cells(self) -> list[str]:
        """As they stand in the table."""
        if self.goal is None:
            return [self.what, f"{self.value:,.1f} {self.unit}", ""]
        met = "MISSED" if self.is_missed else "met"
        return [self.what, f"{self.value:,.1f} {self.unit}", f"{self.goal:,g} {self.unit}: {met}"]

    @property
    def is_missed(self) -> bool:
        """Whether there is a goal, and it was not met."""
        return self.goal is not None and self.value > self.goal
