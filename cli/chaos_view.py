"""The display of a chaos run while it goes on: live on a terminal, else one line per event."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chaos.scenario.model import Scenario
from chaos.status import Status
from cli.session import talk

_REFRESH_S = 0.25
_RATE_OVER_S = 2.0
_STYLES = {"up": "green", "paused": "yellow", "down": "red"}


@contextlib.asynccontextmanager
async def watching(scenario: Scenario) -> AsyncIterator[Status]:
    """The status object for a run; it is displayed until the context ends."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Status(talk)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        status = Status(lambda line: live.console.print(Text(line, style="dim")))
        drawing = asyncio.create_task(_draw(live, _Picture(scenario, status)))
        try:
            yield status
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)


async def _draw(live: Live, picture: _Picture) -> None:
    while True:
        live.update(picture.draw(), refresh=True)
        await asyncio.sleep(_REFRESH_S)


class _Picture:
    """The live display of a run."""

    def __init__(self, scenario: Scenario, status: Status) -> None:
        self._scenario = scenario
        self._status = status
        self._stored: deque[tuple[float, int]] = deque()

    def draw(self) -> RenderableType:
        """The whole display."""
        status = self._status
        of = f"  {status.elapsed_s:.0f} of {self._scenario.duration_s:g} s" if status.is_playing else ""
        head = Text(f"{self._scenario.name}: {status.phase}{of}", style="bold")
        faults = Text("faults: " + ("; ".join(status.faults.values()) or "none in force"))
        faults.stylize("red" if status.faults else "green")
        return Group(head, self._nodes(), faults, self._figures())

    def _nodes(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, state in self._status.nodes().items():
            leads = sorted(group for group, leader in self._status.leaders.items() if leader == name)
            table.add_row(name, Text(state, style=_STYLES[state]), "leads " + (", ".join(leads) or "nothing"))
        return table

    def _figures(self) -> Text:
        tally = self._status.tally
        longest_s = max(tally.longest_gap_s, tally.open_gap_s())
        return Text(
            f"{self._rate():6.0f} records/s   {tally.stored} stored, {tally.refused} refused, "
            f"{tally.unknown} unknown   gap now {tally.open_gap_s():.1f} s, longest {longest_s:.1f} s"
        )

    def _rate(self) -> float:
        """Records per second over the last seconds."""
        now = time.monotonic()
        self._stored.append((now, self._status.tally.stored))
        while now - self._stored[0][0] > _RATE_OVER_S:
            self._stored.popleft()
        then, stored = self._stored[0]
        return (self._stored[-1][1] - stored) / (now - then) if now > then else 0.0
