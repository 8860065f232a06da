"""What the workers of a queue call. It breaks now and then, and then all of their work fails.

Drawn from the run's seed, like pauses.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final, NamedTuple

_FOR_S: Final = (3.5, 6.0)
"""Some pauses of the queue's breaker."""
_FIRST_SHARE: Final = 0.4


class Break(NamedTuple):
    """Times are seconds after the workload began."""

    at_s: float
    for_s: float


def plan_breaks(duration_s: float, every_s: float, seed: int) -> list[Break]:
    """When it is broken, about every so often; 0: never."""
    rng = random.Random(f"{seed}/downstream")
    breaks: list[Break] = []
    at_s = every_s * _FIRST_SHARE
    while every_s and at_s < duration_s:
        breaks.append(Break(round(at_s, 2), round(rng.uniform(*_FOR_S), 2)))
        at_s += breaks[-1].for_s + every_s * rng.uniform(0.5, 1.5)
    return breaks


class Downstream:
    """Carries out a plan."""

    def __init__(self, plan: Sequence[Break] = ()) -> None:
        self.plan = plan
        self.is_broken = False

    async def play(self) -> None:
        """From the beginning of the workload on. Cancelled at its end: it works from then on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for at_s, for_s in self.plan:
            await asyncio.sleep(began + at_s - loop.time())
            self.is_broken = True
            try:
                await asyncio.sleep(for_s)
            finally:
                self.is_broken = False
