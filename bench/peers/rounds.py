"""The rounds: every variant once in each, in another order each time, within a bound on time."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bench.order import order_of
from bench.peers.servers.base import Servers
from bench.peers.systems import servers_of
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.processes import Failed

F_co = TypeVar("F_co", covariant=True)
G = TypeVar("G")


class Session(Protocol[F_co]):
    """All measurements of one variant in one round."""

    notes: list[str]

    def run(self) -> Iterator[F_co]:
        """Each figure as soon as it is there."""


class Rounds(Generic[G]):
    """All rounds over some variants; ``figures`` and ``notes`` grow as they go."""

    def __init__(
        self,
        tools: Tools,
        begin: Callable[[Servers, int], Session[G]],
        *,
        line: Callable[[G], str],
        tell: Callable[[str], None],
    ) -> None:
        """``begin``: the session with these servers in this round, from 0. ``line``: a figure in words."""
        self._tools = tools
        self._begin = begin
        self._line = line
        self._tell = tell
        self.figures: list[G] = []
        self.notes: list[str] = []

    def run(self, variants: Sequence[Variant], *, rounds: int, minutes_max: float) -> None:
        """Until done, or until the time is over: a round that has begun for one variant is ended for it."""
        deadline = time.monotonic() + minutes_max * 60
        for number in range(rounds):
            for variant in order_of(number, variants):
                if time.monotonic() > deadline:
                    self.note(f"the time was over before round {number + 1} of {variant.name}")
                    continue
                self._one(variant, number)

    def _one(self, variant: Variant, number: int) -> None:
        """A failure is noted, and the others go on."""
        folder = Path(tempfile.mkdtemp(prefix=f"{variant.name}-", dir=self._tools.folder))
        try:
            with servers_of(variant)(variant, self._tools, folder) as servers:
                session = self._begin(servers, number)
                for figure in session.run():
                    self.figures.append(figure)
                    self._tell(self._line(figure))
                for note in session.notes:
                    self.note(f"round {number + 1} of {variant.name}: {note}")
        except Failed as error:
            self.note(f"round {number + 1} of {variant.name}: {error}")
        finally:
            shutil.rmtree(folder)

    def note(self, text: str) -> None:
        """Something that belongs beside the figures."""
        self.notes.append(text)
        self._tell(text)
