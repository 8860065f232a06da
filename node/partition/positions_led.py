"""What the leader of a partition answers about the positions that it keeps, and does with them."""

from __future__ import annotations

import time
from collections.abc import Callable

from floodmark.format.position import Position, Source

from consensus.core.group import Group
from consensus.host import waiting
from consensus.types import GroupStopped, NotLeader, Proposal
from node import outcomes
from node.broker import SourcePosition
from node.partition.appender import Appender
from node.partition.confirmed import REFUSALS, Confirmed
from node.partition.source_positions import Moved
from storage.errors import StorageError


class PositionsLed:
    """One per local replica."""

    def __init__(self, group: Group, confirmed: Confirmed, appender: Appender) -> None:
        self._group = group
        self._confirmed = confirmed
        self._appender = appender

    async def of_group(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        """See ``node.broker.Partition.positions``."""
        await self._confirmed.lead(deadline_s=timeout_s)
        return self._appender.positions.of_group(group)

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        """See ``node.broker.Partition``."""
        epochs: list[int] = []

        def propose() -> Proposal:
            begun, proposal = self._appender.begin_epoch(source, producer, term=self._group.term)
            epochs.append(begun.epoch)
            return proposal

        await self._done(propose, timeout_s)
        kept = self._appender.positions.kept.get(source)
        next_offset = None if kept is None else kept.next_offset
        return SourcePosition(source.topic_id, source.partition, next_offset, epochs[0])

    async def move(self, position: Position, epoch: int, producer: bytes, *, timeout_s: float) -> None:
        """See ``node.broker.Partition.move_position``."""
        deadline = time.monotonic() + timeout_s
        moved = Moved(*position, epoch, producer)
        self._confirmed.check_leads()
        while True:
            try:
                proposal = self._appender.move_position(moved, term=self._group.term)
                break
            except REFUSALS:
                # As of batches: only a confirmed leader refuses, and for what is committed.
                newest = self._appender.newest
                await self._confirmed.lead(after=newest, deadline_s=deadline - time.monotonic())
                if (refusal := self._appender.refused_move(moved)) is not None:
                    raise refusal from None
            except (NotLeader, GroupStopped, StorageError) as error:
                raise outcomes.translated(error) from error
        if proposal is not None:
            await waiting.stored(proposal, deadline_s=max(0.0, deadline - time.monotonic()))

    async def remove(self, group: str, *, timeout_s: float) -> None:
        """See ``node.broker.Partition.remove_positions``."""
        await self._confirmed.lead(deadline_s=timeout_s)
        if self._appender.positions.of_group(group):
            await self._done(lambda: self._appender.remove_positions(group), timeout_s)

    async def _done(self, propose: Callable[[], Proposal], timeout_s: float) -> None:
        """The command is committed, and applied here.

        What is refused is refused by a confirmed leader, for what is committed.
        """
        deadline = time.monotonic() + timeout_s
        await self._confirmed.lead(after=self._appender.newest, deadline_s=timeout_s)
        try:
            proposal = propose()
        except (NotLeader, GroupStopped, StorageError) as error:
            raise outcomes.translated(error) from error
        await waiting.stored(proposal, deadline_s=max(0.0, deadline - time.monotonic()))
        # It is committed; whoever does not learn that it is applied asks again.
        await self._confirmed.lead(deadline_s=max(0.0, deadline - time.monotonic()))
