"""Ids of numbered producers: each is given out once, by the metadata's leader, from a block of its own.

A block is a command in the metadata's log, so no two leaders ever have the same one; what is left of it when
a process ends is never used. An id's epochs need no command: a partition's table holds the highest epoch that
it has met and refuses lower ones, so a new epoch takes effect wherever its producer writes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from floodmark.errors import NotFound, OutcomeUnknown, TimedOut
from floodmark.format.limits import PRODUCER_EPOCH_MAX

from node import outcomes
from node.metadata.domains.producers import AllocateProducerIds
from node.metadata.group import Metadata
from node.metadata.levels import NUMBERED_PRODUCERS

BLOCK: Final = 1_000
ALLOCATE_S: Final = 5.0


class ProducerIds:
    """Works on the metadata group's leader only."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._next = self._end = 0
        self._allocating: asyncio.Task[None] | None = None

    async def next(self, *, timeout_s: float) -> int:
        """An id that was never given out before. Raises FeatureLevelNeeded, Unavailable."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._check(timeout_s)
                    if self._next < self._end:
                        self._next += 1
                        return self._next - 1
                    if self._allocating is None:
                        self._allocating = asyncio.create_task(self._allocate())
                        self._allocating.add_done_callback(self._allocated)
                    # Concurrent callers wait for one block; a cancelled one does not end it for the others.
                    await asyncio.shield(self._allocating)
        except (TimeoutError, OutcomeUnknown) as error:
            raise TimedOut(
                "no block of producer ids could be allocated in time, and no id was given out: ask again",
                retry_after_s=outcomes.RETRY_AFTER_S,
            ) from error

    async def following(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        """The id and epoch that follow these: the next epoch, or a new id when the epochs are used up.

        Raises NotFound for an id that was never given out; and as ``next`` does.
        """
        await self._check(timeout_s)
        if producer_id >= self._metadata.state.next_producer_id:
            await self._metadata.confirm_lead(timeout_s=timeout_s)
        if producer_id >= self._metadata.state.next_producer_id:
            raise NotFound(
                f"no producer was ever given the id {producer_id}: ask for one without naming an id",
                producer_id=producer_id,
            )
        if epoch < PRODUCER_EPOCH_MAX:
            return producer_id, epoch + 1
        return await self.next(timeout_s=timeout_s), 0

    async def _check(self, timeout_s: float) -> None:
        """Raises where this node cannot give out ids; a too low level only after catching up."""
        if not self._metadata.leads_here:
            raise outcomes.not_leader(self._metadata.leader)
        if self._metadata.state.level < NUMBERED_PRODUCERS:
            await self._metadata.confirm_lead(timeout_s=timeout_s)
        level = self._metadata.state.level
        if level < NUMBERED_PRODUCERS:
            raise outcomes.needs_level("a numbered producer", NUMBERED_PRODUCERS, level)

    async def _allocate(self) -> None:
        first = await self._metadata.propose(AllocateProducerIds(BLOCK), timeout_s=ALLOCATE_S)
        assert isinstance(first, int), "a block begins with a number"
        self._next, self._end = first, first + BLOCK

    def _allocated(self, task: asyncio.Task[None]) -> None:
        self._allocating = None
        if not task.cancelled():
            task.exception()  # Waiters get it raised; there may be none left.
