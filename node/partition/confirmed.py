"""A leader refuses requests only while it still leads, and only because of what is committed.

A deposed leader may not know it for up to half a second, and what is in flight may come to nothing. So before
a request is refused for the state of a partition's log, a majority confirms this node's leadership, and what
was in flight when the request came has ended; then the request is judged again. Nothing else waits for that.
"""

from __future__ import annotations

import time
from typing import Final

from floodmark.errors import Conflict, NotEnoughReplicas, OffsetMismatch, ProducerFenced, Unavailable
from floodmark.format.batch import BatchHeader
from floodmark.format.position import Position

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
"""Refusals of batches for the state of the partition; others concern this node or the batch alone."""


class Confirmed:
    """One per local replica."""

    def __init__(self, host: GroupHost, raft_group: int, group: Group, appender: Appender) -> None:
        self._host = host
        self._raft_group = raft_group
        self._group = group
        self._appender = appender

    def check_leads(self) -> None:
        """Raises ``Unavailable``, with the leader where it is known."""
        if not self._group.is_ready_leader:
            raise outcomes.not_leader(self._group.leader)

    async def lead(self, *, after: Proposal | None = None, deadline_s: float) -> None:
        """Wait until a majority has confirmed the lead since the call began, and ``after`` has ended.

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
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        expected_offset: int | None,
        position: Position | None,
        deliver_at_ms: int | None,
    ) -> Proposal | Remembered | Flying:
        """As ``Appender.append`` does, in this leader's term. Raises classes of ``floodmark.errors``."""
        try:
            return self._appender.append(
                batch,
                header,
                term=self._group.term,
                expected_offset=expected_offset,
                position=position,
                deliver_at_ms=deliver_at_ms,
            )
        except (NotLeader, GroupStopped, StorageError) as error:
            raise outcomes.translated(error) from error

    async def admit_after_refusal(
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        expected_offset: int | None,
        position: Position | None,
        deliver_at_ms: int | None,
        timeout_s: float,
    ) -> Proposal | Remembered | Flying:
        """``admit`` refused the batch: judge it again, by committed batches alone.

        Raises what ``admit`` raises; ``Unavailable`` (not stored) without leadership or when the time is up.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            await self.lead(after=self._appender.newest, deadline_s=deadline - time.monotonic())
            try:
                return self.admit(
                    batch,
                    header,
                    expected_offset=expected_offset,
                    position=position,
                    deliver_at_ms=deliver_at_ms,
                )
            except REFUSALS:
                committed = self._group.high_watermark
                refusal = self._appender.refused(
                    header, expected_offset, committed=committed, position=position
                )
                if refusal is not None:
                    raise refusal from None
                # The refusal depends on batches that were proposed meanwhile: once more.
