"""Removes the parts of logs that need not be kept any longer, while everything runs.

Only whole segments are removed, and only those that are committed, applied and covered by a checkpoint: what
is removed is never needed for a restart. For records, the active segment is rolled when it has grown old, so
that records are removed at most an eighth of ``retention_ms`` late, however few they are. The log of a
machine that keeps its state only has to lead from one checkpoint to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import structlog
from floodmark.errors import Unavailable

from consensus.host.group_host import GroupHost
from node.replicas.manager import ReplicaManager
from node.replicas.replica_spec import KeepRecords, KeepState, OpenReplica
from storage.errors import StorageError

ROLL_PART: Final = 8
ROLL_MIN_MS: Final = 1_000
STATE_LOGS_S: Final = 5.0
"""How often logs are checked of which only the state is kept."""

K = TypeVar("K", KeepRecords, KeepState)
_log = structlog.get_logger(__name__)


class Retention:
    """For all replicas of this node. ``interval_s``: how often records are checked; ``wall_ms``: the wall
    clock by which they age.
    """

    def __init__(
        self, *, manager: ReplicaManager, host: GroupHost, interval_s: float, wall_ms: Callable[[], int]
    ) -> None:
        self._manager = manager
        self._host = host
        self._interval_s = interval_s
        self._wall_ms = wall_ms

    async def run(self) -> None:
        """Check every replica's records repeatedly, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            for replica, keep in self._kept(KeepRecords):
                if keep.retention_ms is not None or keep.retention_bytes is not None:
                    await self._remove_old(replica, keep)

    async def run_state_logs(self) -> None:
        """Likewise the logs of which only the state is kept."""
        while True:
            await asyncio.sleep(STATE_LOGS_S)
            for replica, keep in self._kept(KeepState):
                await self._shorten(replica, keep)

    def _kept(self, kind: type[K]) -> Iterator[tuple[OpenReplica, K]]:
        """The replicas of this kind, each with its spec as it is when its turn comes."""
        for raft_group in list(self._manager.running):
            replica, spec = self._manager.running.get(raft_group), self._manager.specs.get(raft_group)
            if replica is None or spec is None or replica.group.failed is not None:
                continue
            if isinstance(spec.keep, kind):
                yield replica, spec.keep

    async def _shorten(self, replica: OpenReplica, keep: KeepState) -> None:
        """Drop the segments that the checkpointed state covers, if there are any."""
        group, spec = replica.group, replica.spec
        if group.log.size_bytes <= keep.log_bytes_max:
            return
        try:
            base_index = await self._host.disk.truncate_head(spec.raft_group, group.applied_index + 1)
        except (StorageError, Unavailable) as error:
            _log.warning("log_not_trimmed", kind=spec.kind, group=spec.raft_group, reason=str(error))
        else:
            _log.info(f"{spec.log_name}_log_trimmed", group=spec.raft_group, base_index=base_index)

    async def _remove_old(self, replica: OpenReplica, keep: KeepRecords) -> None:
        spec, log = replica.spec, replica.log
        now_ms = self._wall_ms()
        try:
            if keep.retention_ms is not None:
                roll_ms = max(ROLL_MIN_MS, keep.retention_ms // ROLL_PART)
                await self._host.disk.roll(spec.raft_group, now_ms=now_ms, roll_ms=roll_ms)
            wanted = log.expired_before(
                now_ms=now_ms,
                retention_ms=keep.retention_ms,
                retention_bytes=keep.retention_bytes,
            )
            start = log.start_offset
            if wanted > log.base_index:
                await self._host.disk.truncate_head(spec.raft_group, wanted)
        except (StorageError, Unavailable) as error:
            _log.warning("retention_failed", **spec.log_fields, reason=str(error))
            return
        if log.start_offset > start:
            _log.info("retention", **spec.log_fields, removed_offsets=log.start_offset - start)
