"""Records that were fetched ahead of the program."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from floodmark.consumer.consumed import ReadBatch
from floodmark.errors import OffsetPastEnd
from floodmark.groups.callbacks import tell
from floodmark.groups.options import ConsumeOptions
from floodmark.groups.owned import Arrival, Chunk, Owned
from floodmark.producer.memory import MemoryBudget

_LOG: Final = logging.getLogger("floodmark")


class Arrivals:
    """Of all partitions of one member, within one budget; each partition's in order."""

    def __init__(self, options: ConsumeOptions) -> None:
        self._options = options
        self._arrived: asyncio.Queue[Arrival | None] = asyncio.Queue()
        """None: something else needs attention."""
        self._chunks: deque[tuple[Owned, ReadBatch, int]] = deque()
        self._held = 0
        """Bytes of the budget that the chunk in hand takes up."""
        self.budget = MemoryBudget(options.prefetch_bytes)

    def put(self, arrival: Arrival) -> None:
        """It has come."""
        self._arrived.put_nowait(arrival)

    def wake(self) -> None:
        """Have ``wait`` return."""
        self._arrived.put_nowait(None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there."""
        return not self._chunks and self._arrived.empty()

    def pop(self) -> Chunk | None:
        """The next records of one partition that is still read; None where there are none yet. ``give_back``
        before the next ones are taken."""
        while self._chunks:
            owned, batch, size = self._chunks.popleft()
            if not owned.is_gone:
                self._held = size
                return Chunk(owned, batch)
            self.budget.give(size)
        return None

    def give_back(self) -> None:
        """The chunk in hand is done with."""
        size, self._held = self._held, 0
        self.budget.give(size)

    async def wait(self) -> None:
        """Until something has come, or needs attention. Raises what a partition cannot be read for."""
        arrival = await self._arrived.get()
        if arrival is None:
            return
        owned = arrival.owned
        if owned.is_gone:
            self.budget.give(arrival.size)
            return
        if isinstance(arrival.error, OffsetPastEnd):
            raise self._past_end(owned, arrival.error) from arrival.error
        if arrival.error is not None:
            raise arrival.error
        if arrival.gap is not None:
            await self._tell_gap(owned, *arrival.gap)
        owned.has_ended = arrival.is_end
        last = len(arrival.batches) - 1
        for number, batch in enumerate(arrival.batches):
            self._chunks.append((owned, batch, arrival.size if number == last else 0))

    def _past_end(self, owned: Owned, error: OffsetPastEnd) -> OffsetPastEnd:
        """Which of all partitions it is, and what helps."""
        topic, partition = owned.place.topic, owned.place.partition
        return OffsetPastEnd(
            f"group {self._options.group} cannot go on in partition {partition} of topic {topic}: "
            f"{error.detail}; send it elsewhere, with client.groups.reset or 'floodmark group seek'",
            **{**error.fields, "topic": topic, "partition": partition},
        )

    async def _tell_gap(self, owned: Owned, first: int, following: int) -> None:
        owned.at = following
        place = owned.place
        if self._options.on_gap is not None:
            await tell(self._options.on_gap, place, first, following)
            return
        _LOG.warning(
            "group %s: %d records of partition %d of topic %s, offsets %d to %d, were removed by "
            "retention before they were read",
            self._options.group,
            following - first,
            place.partition,
            place.topic,
            first,
            following - 1,
        )
