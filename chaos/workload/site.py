"""What the tasks of a workload share."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from floodmark.transport.http import Answer, Request, Transport
from floodmark.transport.tls import TlsOptions

from chaos.checker.options import Place
from chaos.scenario.model import Workload
from chaos.workload.downstream import Downstream
from chaos.workload.pauses import Pauses
from chaos.workload.recorder import Recorder
from local.access import ANYBODY, Access

ATTEMPT_TIMEOUT_S: Final = 1.5
"""Timeout of one request. Short, so that an attempt swallowed by a fault is soon followed by others."""
NODE_TIMEOUT_S: Final = 1.0
"""Timeout given to the node: less, so that it can still say how the request ended."""
LEADER_HEADER: Final = "Floodmark-Leader"


@dataclass(frozen=True, slots=True)
class Site:
    """The cluster as its clients see it, and their workload."""

    urls: tuple[str, ...]
    places: tuple[Place, ...]
    workload: Workload
    recorder: Recorder
    seed: int
    access: Access = ANYBODY
    """How its nodes are asked."""
    race: Place | None = None
    """The partition of the racers. All other tasks write to ``places``."""
    pauses: Pauses = field(default_factory=Pauses)
    downstream: Downstream = field(default_factory=Downstream)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Once set, nothing new begins, and every task ends when its operations under way have ended."""

    @property
    def topics(self) -> list[str]:
        """The topics that records are written to."""
        return sorted({topic for topic, _ in self.places})

    @property
    def queue_topic(self) -> str | None:
        """The topic that a queue delivers, whose records have keys; None where there is no queue."""
        return self.topics[0] if self.workload.queue_workers else None

    def rng(self, process: str) -> random.Random:
        """A process's own random source, so that its draws do not depend on those of others."""
        return random.Random(f"{self.seed}/{process}")

    def transport(self, process: str) -> Transport:
        """A process's own connections to all nodes, in its own order; follows leaders."""
        return _transport(self._shuffled(process), self.access)

    def rotation(self, process: str) -> Rotation:
        """A process's own connections that ask each node in turn."""
        return Rotation(self._shuffled(process), self.access)

    def _shuffled(self, process: str) -> list[str]:
        return self.rng(f"{process}/urls").sample(self.urls, len(self.urls))


class Rotation:
    """Asks one node after the other, as behind a load balancer: most requests reach a node that has to
    forward them, and a node that was deposed without knowing it is asked as often as the others."""

    def __init__(self, urls: Sequence[str], access: Access = ANYBODY) -> None:
        self._transports = [_transport([url], access) for url in urls]
        self._next = itertools.cycle(self._transports)

    async def attempt(self, request: Request, timeout_s: float) -> Answer:
        """One attempt at the node whose turn it is. Raises errors of the tree."""
        return await next(self._next).attempt(msgspec.structs.replace(request, route=None), timeout_s)

    async def close(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            await transport.close()


def _transport(urls: Sequence[str], access: Access) -> Transport:
    tls = TlsOptions(access.ca)
    return Transport(urls, request_timeout_s=ATTEMPT_TIMEOUT_S, token=access.token, tls=tls)


async def ticks(interval_s: float, stop: asyncio.Event) -> AsyncIterator[int]:
    """0, 1, 2, ... at this pace until the end. Missed ticks are skipped, so there are no bursts."""
    loop = asyncio.get_running_loop()
    due, number = loop.time(), 0
    while not stop.is_set():
        yield number
        number += 1
        due = max(due + interval_s, loop.time())
        await asyncio.sleep(due - loop.time())


def within_time(query: dict[str, str | int]) -> dict[str, str | int]:
    """The parameters of a request, with how long a node may take for it."""
    return {**query, "timeout": f"{round(NODE_TIMEOUT_S * 1000)}ms"}


def json_request(
    method: str, path: str, body: dict[str, Any] | None, query: Mapping[str, str | int]
) -> Request:
    """With a document, or without one."""
    return Request(
        method=method,
        path=path,
        query=query,
        headers={"Content-Type": "application/json"} if body is not None else {},
        body=msgspec.json.encode(body) if body is not None else None,
    )


async def attempt(
    transport: Transport | Rotation, request: Request, *, wait_s: float = 0.0
) -> tuple[Answer, str]:
    """One attempt: the answer, and the node that served it if known. Raises errors of the tree."""
    answer = await transport.attempt(request, ATTEMPT_TIMEOUT_S + wait_s)
    return answer, answer.headers.get(LEADER_HEADER, "")
