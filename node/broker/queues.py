"""Queues: views on topics whose records are settled one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from node.coordinator.queues.requests import (
    Action,
    Breaker,
    DeadLetter,
    DeadName,
    Delivered,
    Place,
    QueueConfig,
    QueueInfo,
    QueueListed,
    QueuePartition,
    Receive,
    Received,
    Replay,
    Settled,
    Settlement,
)

__all__ = [
    "Action",
    "Breaker",
    "DeadLetter",
    "DeadName",
    "Delivered",
    "Place",
    "QueueAdmin",
    "QueueConfig",
    "QueueInfo",
    "QueueListed",
    "QueuePartition",
    "Receive",
    "Received",
    "Replay",
    "Settled",
    "Settlement",
]


class QueueAdmin(Protocol):
    """Queues, where this node leads the shards of the coordinator that keep them.

    Every method raises ``Unavailable`` (nothing was stored) where this node does not lead the queue's shard,
    and those that store something ``OutcomeUnknown``. All but ``put`` raise ``UnknownQueue``. Times are
    seconds.
    """

    async def put(self, queue: str, config: QueueConfig, *, timeout_s: float) -> tuple[QueueInfo, bool]:
        """Make the queue, or give it these settings; and whether it was made.

        Raises Conflict where it is of another topic or has another ordering; InvalidRequest, TooManyQueues.
        """

    async def delete(self, queue: str, *, timeout_s: float) -> None:
        """Forget it, with what is not settled; the topic's records stay."""

    async def purge(self, queue: str, *, timeout_s: float) -> int:
        """Settle all that is there now; returns how many records that were, about."""

    async def describe(self, queue: str, *, timeout_s: float) -> QueueInfo:
        """Confirmed: all that was acknowledged before the call."""

    async def page(
        self, shard: int, *, prefix: str, after: str, limit: int, timeout_s: float
    ) -> Sequence[QueueListed]:
        """Some of a shard's queues, in order of name."""

    async def receive(self, queue: str, request: Receive, *, timeout_s: float) -> Received:
        """Deliver records; each delivery is stored before it is answered. ``timeout_s``: besides ``wait_s``.

        Raises InvalidRequest, TooManyRequests.
        """

    async def settle(
        self, queue: str, settlements: Sequence[Settlement], *, timeout_s: float
    ) -> Sequence[Settled]:
        """What came of each, in their order, once it is stored. To repeat it does no harm."""

    async def dead_letters(
        self, queue: str, *, after: DeadName | None, limit: int, timeout_s: float
    ) -> Sequence[DeadLetter]:
        """Some of the listed dead letters, in order of partition and number."""

    async def replay(self, queue: str, request: Replay, *, timeout_s: float) -> int:
        """How many will be delivered again. Those that are already on their way are not counted."""

    async def purge_dead(self, queue: str, letters: Sequence[DeadName] | None, *, timeout_s: float) -> int:
        """Take dead letters (None: all) off the list; returns how many. Their records stay in their topic."""
