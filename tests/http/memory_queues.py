"""A cluster in memory has no queues, and takes none."""

from __future__ import annotations

from collections.abc import Sequence

from floodmark.errors import TooManyQueues, UnknownQueue

from node.broker.queues import (
    DeadLetter,
    DeadName,
    QueueConfig,
    QueueInfo,
    QueueListed,
    Receive,
    Received,
    Replay,
    Settled,
    Settlement,
)


class NoQueues:
    """Implements ``node.broker.QueueAdmin``."""

    async def put(self, queue: str, config: QueueConfig, *, timeout_s: float) -> tuple[QueueInfo, bool]:
        raise TooManyQueues("there is room for none", limit=0)

    async def delete(self, queue: str, *, timeout_s: float) -> None:
        raise _unknown(queue)

    async def purge(self, queue: str, *, timeout_s: float) -> int:
        raise _unknown(queue)

    async def describe(self, queue: str, *, timeout_s: float) -> QueueInfo:
        raise _unknown(queue)

    async def page(
        self, shard: int, *, prefix: str, after: str, limit: int, timeout_s: float
    ) -> Sequence[QueueListed]:
        return []

    async def receive(self, queue: str, request: Receive, *, timeout_s: float) -> Received:
        raise _unknown(queue)

    async def settle(
        self, queue: str, settlements: Sequence[Settlement], *, timeout_s: float
    ) -> Sequence[Settled]:
        raise _unknown(queue)

    async def dead_letters(
        self, queue: str, *, after: DeadName | None, limit: int, timeout_s: float
    ) -> Sequence[DeadLetter]:
        raise _unknown(queue)

    async def replay(self, queue: str, request: Replay, *, timeout_s: float) -> int:
        raise _unknown(queue)

    async def purge_dead(self, queue: str, letters: Sequence[DeadName] | None, *, timeout_s: float) -> int:
        raise _unknown(queue)


def _unknown(queue: str) -> UnknownQueue:
    return UnknownQueue(f"there is no queue {queue}", queue=queue)
