"""The rounds: every variant once in each, in another order each time, within a bound on time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from bench.order import order_of
from bench.peers.servers.base import Servers
from bench.peers.starting import started
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.processes import Failed

G = TypeVar("G")


class Rounds(Generic[G]):
    """All rounds over some variants; ``figures`` and ``notes`` grow as they go."""

    def __init__(self, tools: Tools, *, line: Callable[[G], str], tell: Callable[[str], None]) -> None:
        """``line``: a figure in words."""
        self._tools = tools
        self._line = line
        self._tell = tell
        self.figures: list[G] = []
        self.notes: list[str] = []

    def run(
        self,
        variants: Sequence[Variant],
        measure: Callable[[Servers, int], Iterator[G]],
        *,
        rounds: int,
        minutes_max: float = math.inf,
    ) -> None:
        """Until done, or until the time is over: a round that has begun for one variant is ended for it.

        ``measure``: one variant's part of a round (from 0), against servers just started; each figure as soon
        as it is there.
        """
        deadline = time.monotonic() + minutes_max * 60
        for number in range(rounds):
            for variant in order_of(number, variants):
                if time.monotonic() > deadline:
                    self.note(f"the time was over before {in_words(variant, number)}")
                    continue
                self._one(variant, number, measure)

    def _one(self, variant: Variant, number: int, measure: Callable[[Servers, int], Iterator[G]]) -> None:
        """A failure is noted, and the others go on."""
        try:
            with started(variant, self._tools) as servers:
                for figure in measure(servers, number):
                    self.figures.append(figure)
                    self._tell(self._line(figure))
        except Failed as error:
            self.note(f"{in_words(variant, number)}: {error}")

    def note(self, text: str) -> None:
        """Something that belongs beside the figures."""
        self.notes.append(text)
        self._tell(text)


def in_words(variant: Variant, number: int) -> str:
    """One variant's part of a round, as notes begin with it."""
    return f"round {number + 1} of {variant.name}"
