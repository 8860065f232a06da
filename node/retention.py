"""Removes what topics do not want to keep any longer, while everything runs.

Whole segments go, never a part of one, and only those that are committed, applied and covered by a
checkpoint: what is removed is never needed for a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

import structlog

from consensus.group import Group
from node.broker import TopicConfig
from node.metadata.state import MetadataState
from node.partition import Replica
from storage.errors import StorageError
from storage.log import Log

_log = structlog.get_logger(__name__)


class Retention:
    """One task for all local replicas."""

    def __init__(
        self,
        *,
        state: Callable[[], MetadataState],
        local: Mapping[int, Replica],
        executor: Executor,
        interval_s: float,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._state = state
        self._local = local
        self._executor = executor
        self._interval_s = interval_s
        self._clock_ms = clock_ms

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
                replica = self._local.get(entry.group_id)
                if replica is not None and replica.group.failed is None:
                    await self._trim(topic.name, entry.number, topic.config, replica)

    async def _trim(self, topic: str, partition: int, config: TopicConfig, replica: Replica) -> None:
        log = replica.log
        try:
            wanted = log.expired_before(
                now_ms=self._clock_ms(),
                retention_ms=config.retention_ms,
                retention_bytes=config.retention_bytes,
            )
            start = log.start_offset
            if wanted > log.base_index:
                await compact(replica.group, log, self._executor, before_index=wanted)
        except StorageError as error:
            _log.warning("retention_failed", topic=topic, partition=partition, reason=str(error))
            return
        if log.start_offset > start:
            _log.info("retention", topic=topic, partition=partition, removed_offsets=log.start_offset - start)


async def compact(group: Group, log: Log, executor: Executor, *, before_index: int) -> None:
    """Drop whole segments of applied entries below ``before_index``, the checkpoint first; off the loop.

    Raises ``StorageError``.
    """
    # All three belong to one moment: the checkpoint says what is applied, and a scan goes on behind
    # ``durable``.
    state, durable = group.checkpoint_state(), log.durable_index
    before = min(before_index, group.applied_index + 1)

    def work() -> None:
        log.checkpoint(state, index=durable)
        log.trim(before_index=before)

    await asyncio.get_running_loop().run_in_executor(executor, work)
