"""Removes what topics do not want to keep any longer, while everything runs.

Whole segments go, never a part of one, and only those that are committed, applied and covered by a
checkpoint: what is removed is never needed for a restart. The segment that is written to is closed when it
has grown old, so that records go at most an eighth of ``retention_ms`` later than asked for, however few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from floodmark.errors import Unavailable

from consensus.host.group_host import GroupHost
from node.metadata.state import MetadataState, PartitionEntry, TopicEntry
from node.partition.partition import Replica
from storage.errors import StorageError

ROLL_PART: Final = 8
ROLL_MIN_MS: Final = 1_000

_log = structlog.get_logger(__name__)


class Retention:
    """One task for all local replicas."""

    def __init__(
        self,
        *,
        state: Callable[[], MetadataState],
        local: Mapping[int, Replica],
        host: GroupHost,
        interval_s: float,
        wall_ms: Callable[[], int],
    ) -> None:
        self._state = state
        self._local = local
        self._host = host
        self._interval_s = interval_s
        self._wall_ms = wall_ms

    async def run(self) -> None:
        """Look at every replica again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.look()

    async def look(self) -> None:
        """Look at every replica once."""
        for topic in list(self._state().topics.values()):
            if topic.config.retention_ms is None and topic.config.retention_bytes is None:
                continue
            for entry in topic.partitions:
                replica = self._local.get(entry.raft_group)
                if replica is not None and replica.group.failed is None:
                    await self._truncate_head(topic, entry, replica)

    async def _truncate_head(self, topic: TopicEntry, entry: PartitionEntry, replica: Replica) -> None:
        log, config = replica.log, topic.config
        now_ms = self._wall_ms()
        try:
            if config.retention_ms is not None:
                roll_ms = max(ROLL_MIN_MS, config.retention_ms // ROLL_PART)
                await self._host.roll(entry.raft_group, now_ms=now_ms, roll_ms=roll_ms)
            wanted = log.expired_before(
                now_ms=now_ms,
                retention_ms=config.retention_ms,
                retention_bytes=config.retention_bytes,
            )
            start = log.start_offset
            if wanted > log.base_index:
                await self._host.truncate_head(entry.raft_group, wanted)
        except (StorageError, Unavailable) as error:
            _log.warning("retention_failed", topic=topic.name, partition=entry.number, reason=str(error))
            return
        if log.start_offset > start:
            removed = log.start_offset - start
            _log.info("retention", topic=topic.name, partition=entry.number, removed_offsets=removed)
