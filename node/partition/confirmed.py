"""What a leader refuses, it refuses as the leader that it is, and for nothing but what is committed.

A node that was deposed does not know it for up to half a second, and what is under way may come to nothing.
So before a request is refused for the state of a partition's log, a majority confirms this node's leadership,
and what was under way when the request came has ended; then it is judged again. Nothing else waits for that.
"""

from __future__ import annotations

import time
from typing import Final

from floodmark.errors import Conflict, NotEnoughReplicas, OffsetMismatch, ProducerFenced, Unavailable
from floodmark.format.batch import BatchHeader

from consensus.core.group import Group
from consensus.host.group_host import GroupHost
from consensus.types import GroupStopped, NotLeader, Proposal
from node import outcomes
from node.partition.appender import Appender
from node.partition.newcomers import MakingRoom
from node.partition.producers import Remembered
from node.partition.sequences import Flying
from storage.errors import StorageError

REFUSALS: Final = (Conflict, ProducerFenced, OffsetMismatch, MakingRoom)
"""Of batches, for the state of the partition; all others are about this node or about the batch alone."""


class Confirmed:
    """One per local replica."""

    def __init__(self, host: GroupHost, raft_group: int, group: Group, appender: Appender) -> None:
        self._host = host
        self._raft_group = raft_group
        self._group = group
        self._appender = appender

    def check_leads(self) -> None:
        """Raises ``Unavailable`` with the leader as far as it is known."""
        if not self._group.is_ready_leader:
            raise outcomes.not_leader(self._group.leader)

    async def lead(self, *, after: Proposal | None = None, deadline_s: float) -> None:
        """A majority has confirmed since the call began that this node leads, and ``after`` has ended.

        Raises ``Unavailable``: it does not, or that could not be learned in time.
        """
        try:
            await self._host.confirm_lead(self._raft_group, after=after, deadline_s=max(0.0, deadline_s))
        except (NotLeader, GroupStopped) as error:
            raise outcomes.translated(error) from error
        except Unavailable as error:
            raise NotEnoughReplicas(
                f"{error.detail}; nothing was stored", retry_after_s=outcomes.RETRY_AFTER_S
            ) from error
        self.check_leads()

    def admit(
        self, batch: bytes, header: BatchHeader, *, expected_offset: int | None
    ) -> Proposal | Remembered | Flying:
        """As ``Appender.append`` does, in this leader's term. Raises classes of ``floodmark.errors``."""
        try:
            return self._appender.append(
                batch, header, term=self._group.term, expected_offset=expected_offset
            )
        except (NotLeader, GroupStopped, StorageError) as error:
            raise outcomes.translated(error) from error

    async def admit_after_refusal(
        self, batch: bytes, header: BatchHeader, *, expected_offset: int | None, timeout_s: float
    ) -> Proposal | Remembered | Flying:
        """``admit`` refused the batch: do so again, and refuse it for what is committed alone.

        Raises what ``admit`` raises; ``Unavailable`` (not stored) without leadership or out of time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            await self.lead(after=self._appender.newest, deadline_s=deadline - time.monotonic())
            try:
                return self.admit(batch, header, expected_offset=expected_offset)
            except REFUSALS:
                committed = self._group.high_watermark
                refusal = self._appender.refused(header, expected_offset, committed=committed)
                if refusal is not None:
                    raise refusal from None
                # It rests on what has come into the queue since: once more.
