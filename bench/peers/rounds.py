"""The rounds: every variant once in each, in another order each time, within a bound on time."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.order import order_of
from bench.peers.results import Figure
from bench.peers.session import Session
from bench.peers.systems import servers_of
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from bench.peers.work import Scale
from bench.processes import Failed


class Rounds:
    """All rounds over some variants; ``figures`` and ``notes`` grow as they go."""

    def __init__(self, tools: Tools, scale: Scale, tell: Callable[[str], None]) -> None:
        self._tools = tools
        self._scale = scale
        self._tell = tell
        self._rates: dict[str, int] = {}
        self.figures: list[Figure] = []
        self.notes: list[str] = []

    def run(self, variants: Sequence[Variant]) -> None:
        """Until done, or until the time is over: a round that has begun for one variant is ended for it."""
        deadline = time.monotonic() + self._scale.minutes_max * 60
        for number in range(self._scale.rounds):
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
                session = Session(servers, self._scale, number, self._rates)
                for figure in session.run():
                    self.figures.append(figure)
                    self._tell(_line(figure))
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


def _line(figure: Figure) -> str:
    latency = (
        f"  p50 {figure.p50_ms:.2f} ms  p99 {figure.p99_ms:.2f} ms" if figure.p50_ms and figure.p99_ms else ""
    )
    name = f"{figure.variant} {figure.way}".strip()
    asked = f"  of {figure.target_rate:,}/s asked for" if figure.target_rate else ""
    return (
        f"round {figure.round + 1}  {name:<18} {figure.work:<6} {figure.size:>5} B "
        f"{figure.rate:>11,.0f}/s {figure.megabytes_s:>7.1f} MB/s{latency}{asked}"
    )
