"""Small produces for a partition that is led elsewhere share batches on their way to its leader.

Forwarded one by one, each would cost this node and the leader a whole request between nodes. So here they are
checked and packed as they would be at the leader (``node/partition/coalescer.py``), and a batch is routed
like any other (``router.at_leader``): it goes to the next leader if it was certainly not stored, and is never
sent twice if it may have been.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from floodmark.errors import FloodmarkError, OutcomeUnknown, TooLarge, Unavailable
from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record

from node.broker import Acks, Appended, Partition
from node.partition import coalescer
from node.partition.coalescer import Coalescer, Ending
from node.service.data_requests import Produced
from node.service.leaders import Leader
from node.service.router import at_leader

if TYPE_CHECKING:
    from node.service.service import Service

SHARE_BYTES_MAX: Final = coalescer.SHARE_BYTES_MAX
"""A request above this is forwarded alone."""
_KNOWN_MAX: Final = 4096
_LAST_RESORT_S: Final = 1.0
"""A batch ends by its own deadline, before those of the requests in it."""


class ForwardBatcher:
    """One per application."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ways: dict[tuple[int, int], _Way] = {}
        """By topic id and partition: records sent to a topic never go to a later one of its name."""

    def produce(self, partition: Partition, records: Sequence[Record], size: int) -> Awaitable[Produced]:
        """Store ``records`` (``size`` bytes) at the leader, with the default timeout."""
        key = partition.topic_id, partition.number
        way = self._ways.get(key)
        if way is None:
            if len(self._ways) >= _KNOWN_MAX:
                self._ways.clear()  # Batches in flight keep theirs.
            way = self._ways[key] = _Way(self._service, partition)
        return way.produce(records, size)


class _Way:
    """To one partition's leader."""

    def __init__(self, service: Service, partition: Partition) -> None:
        self._service = service
        self._topic = partition.topic
        self._topic_id = partition.topic_id
        self._number = partition.number
        self._coalescer = Coalescer(self._begin, lambda: service.broker.batch_format)
        self._last = Produced(Appended(-1, -1, -1), "")
        self._travelling: set[asyncio.Task[Produced | FloodmarkError]] = set()
        """Referenced here, since the event loop keeps only weak references to tasks."""

    def produce(self, records: Sequence[Record], size: int) -> Awaitable[Produced]:
        """See ``ForwardBatcher``."""
        limits = self._service.limits
        count = len(records)
        return self._coalescer.produce(
            records,
            size,
            timeout_s=limits.produce_timeout_s + limits.forward_grace_s + _LAST_RESORT_S,
            answer=lambda first_offset: self._answer(first_offset, count),
        )

    def _answer(self, first_offset: int, count: int) -> Produced:
        appended, leader = self._last
        return Produced(Appended(first_offset, first_offset + count, appended.high_watermark), leader)

    def _begin(self, batch: bytes, header: BatchHeader) -> _Journey:
        task = asyncio.ensure_future(self._travel(batch, header))
        self._travelling.add(task)
        task.add_done_callback(self._travelling.discard)
        return _Journey(task, self._arrived)

    def _arrived(self, where: Produced) -> None:
        """The requests of this batch are answered next."""
        self._last = where

    async def _travel(self, batch: bytes, header: BatchHeader) -> Produced | FloodmarkError:
        service = self._service

        def send(leader: Leader, left: float) -> Awaitable[Appended]:
            return leader.append(batch, header, acks=Acks.QUORUM, timeout_s=left)

        try:
            partition = await service.topics.partition(self._topic, self._number, self._topic_id)
            timeout_s = service.limits.produce_timeout_s
            return Produced(*await at_leader(service, partition, send, timeout_s=timeout_s))
        except TooLarge as error:
            # Each of its records was small enough by what this node knows, which is about to change.
            return Unavailable(f"not stored: the leader refused a record of the same batch: {error.detail}")
        except FloodmarkError as error:
            return error


class _Journey:
    """A batch in flight to the leader."""

    def __init__(
        self, task: asyncio.Task[Produced | FloodmarkError], arrived: Callable[[Produced], None]
    ) -> None:
        self._task = task
        self._arrived = arrived

    def add_done_callback(self, callback: Callable[[Ending], None]) -> None:
        """Call back with how it ended."""

        def ended(task: asyncio.Task[Produced | FloodmarkError]) -> None:
            end = OutcomeUnknown("this node stops") if task.cancelled() else task.result()
            if isinstance(end, Produced):
                self._arrived(end)
                callback(end.appended)
            else:
                callback(end)

        self._task.add_done_callback(ended)
