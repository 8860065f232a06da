"""What the tasks of a workload share."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from floodmark.transport.http import Answer, Request, Transport

from chaos.checker.options import Place
from chaos.scenario.model import Workload
from chaos.workload.pauses import Pauses
from chaos.workload.recorder import Recorder

ATTEMPT_TIMEOUT_S: Final = 1.5
"""How long one request may take. Short: what a fault swallowed is soon followed by other attempts."""
NODE_TIMEOUT_S: Final = 1.0
"""What a node is told: less, so that it can say how it ended."""
LEADER_HEADER: Final = "Floodmark-Leader"


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster as its clients see it, and what they are to do there."""

    urls: tuple[str, ...]
    places: tuple[Place, ...]
    workload: Workload
    recorder: Recorder
    seed: int
    race: Place | None = None
    """Where the racers write. Everybody else writes to ``places``."""
    pauses: Pauses = field(default_factory=Pauses)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Once it is set nothing new begins, and every task ends when what it has under way has ended."""

    @property
    def topics(self) -> list[str]:
        """The topics that records are written to."""
        return sorted({topic for topic, _ in self.places})

    def rng(self, process: str) -> random.Random:
        """A process's own random source: what one draws does not depend on when others do."""
        return random.Random(f"{self.seed}/{process}")

    def transport(self, process: str) -> Transport:
        """Connections of a process's own, to all nodes in an order of its own; follows leaders."""
        return Transport(self._shuffled(process), request_timeout_s=ATTEMPT_TIMEOUT_S)

    def rotation(self, process: str) -> Rotation:
        """Connections of a process's own that ask each node in turn."""
        return Rotation(self._shuffled(process))

    def _shuffled(self, process: str) -> list[str]:
        return self.rng(f"{process}/urls").sample(self.urls, len(self.urls))


class Rotation:
    """Asks one node after the other, as behind a load balancer: most requests meet a node that has to pass
    them on, and one that was deposed unawares is asked as often as the others."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._transports = [Transport([url], request_timeout_s=ATTEMPT_TIMEOUT_S) for url in urls]
        self._next = itertools.cycle(self._transports)

    async def attempt(self, request: Request, timeout_s: float) -> Answer:
        """One attempt at the node whose turn it is. Raises errors of the tree."""
        return await next(self._next).attempt(msgspec.structs.replace(request, route=None), timeout_s)

    async def close(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            await transport.close()


async def ticks(interval_s: float, stop: asyncio.Event) -> AsyncIterator[int]:
    """0, 1, 2, ... at this pace until the end. What was missed is left out: nothing comes in bursts."""
    loop = asyncio.get_running_loop()
    due, number = loop.time(), 0
    while not stop.is_set():
        yield number
        number += 1
        due = max(due + interval_s, loop.time())
        await asyncio.sleep(due - loop.time())


async def attempt(
    transport: Transport | Rotation, request: Request, *, wait_s: float = 0.0
) -> tuple[Answer, str]:
    """One attempt: the answer, and the node that served it where that is told. Raises errors of the tree."""
    answer = await transport.attempt(request, ATTEMPT_TIMEOUT_S + wait_s)
    return answer, answer.headers.get(LEADER_HEADER, "")
