"""The rounds: every axis once in each, in another order each time, within a bound on time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import aiohttp
from floodmark import FloodmarkError

from bench.growth.axes import RUNS
from bench.growth.figures import Figure, Gauge
from bench.growth.scale import Scale
from bench.order import order_of
from bench.processes import Failed
from local.errors import LocalClusterError

ROUNDS_MAX: Final[Mapping[str, int]] = {"log-size": 1}
"""An axis that takes minutes is walked along once."""
_FAILURES: Final = (Failed, FloodmarkError, LocalClusterError, OSError, aiohttp.ClientError)


class Rounds:
    """``figures``, ``gauges`` and ``notes`` grow as they go."""

    def __init__(self, scale: Scale, tell: Callable[[str], None]) -> None:
        self._scale = scale
        self._tell = tell
        self.figures: list[Figure] = []
        self.gauges: list[Gauge] = []
        self.notes: list[str] = []

    async def run(self, axes: Sequence[str]) -> None:
        """Until done, or until the time is over: what was measured by then stays."""
        deadline = time.monotonic() + self._scale.minutes_max * 60
        for number in range(self._scale.rounds):
            for axis in order_of(number, axes):
                if number >= ROUNDS_MAX.get(axis, self._scale.rounds):
                    continue
                if (left := deadline - time.monotonic()) <= 0:
                    self.note(f"the time was over before round {number + 1} of {axis}")
                    continue
                await self._one(axis, number, left)

    async def _one(self, axis: str, number: int, seconds: float) -> None:
        """A failure is noted, and the others go on."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(seconds) as bound:
                await RUNS[axis](self._scale, number, self._take)
        except _FAILURES as failure:
            reason = "the time was over" if bound.expired() else str(failure) or type(failure).__name__
            self.note(f"round {number + 1} of {axis}: {reason}")
        self._tell(f"round {number + 1}  {axis}: {time.monotonic() - begin:.0f} s")

    def _take(self, found: Figure | Gauge) -> None:
        if isinstance(found, Gauge):
            self.gauges.append(found)
            self._tell(
                f"round {found.round + 1}  {found.axis:<12} {found.x:>9g}  {found.name} {found.value:.2f}"
            )
            return
        self.figures.append(found)
        if found.refused:
            where = f"{found.axis}, {found.series} at {found.x:g}, round {found.round + 1}"
            self.note(
                f"{where}: {found.refused} requests met a partition without its leader and were sent again"
            )
        self._tell(
            f"round {found.round + 1}  {found.axis:<12} {found.x:>9g}  {found.series:<10} "
            f"{found.operations_s:>9,.0f}/s {found.megabytes_s:>7.1f} MB/s  p50 {found.p50_ms:.2f} ms  "
            f"p99 {found.p99_ms:.2f} ms  nodes {found.node_us:,.0f} us, client {found.client_us:,.0f} us each"
        )

    def note(self, text: str) -> None:
        """Something that belongs beside the figures."""
        self.notes.append(text)
        self._tell(text)
