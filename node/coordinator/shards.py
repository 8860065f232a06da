"""The shards that have replicas on this node, and which of them keeps a group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Final

import structlog
from floodmark.errors import FloodmarkError

from consensus.host.group_host import GroupHost
from node import outcomes
from node.coordinator.groups.deletion import Removed
from node.coordinator.lead import Around, Lead
from node.coordinator.shard import Shard, ShardReplica
from node.metadata.domains.coordinator import shard_of
from node.metadata.state import COORDINATOR_TOPIC, MetadataState
from node.replicas.replica_spec import OpenReplica

EXPIRY_FIRST_S: Final = 600.0
"""After a start others have more to do."""
EXPIRY_PART: Final = 8
"""So what has expired is removed at most this part of the retention late."""
EXPIRY_MIN_S: Final = 1.0
EXPIRY_MAX_S: Final = 86_400.0
EXPIRY_S: Final = 10.0

_log = structlog.get_logger(__name__)


class Shards:
    """One per node. ``state``: what this node knows of the cluster."""

    def __init__(
        self,
        *,
        host: GroupHost,
        state: Callable[[], MetadataState],
        around: Around,
    ) -> None:
        self._host = host
        self._state = state
        self._around = around
        self._here: dict[int, Shard] = {}

    @property
    def here(self) -> Collection[Shard]:
        """Those that have a replica on this node."""
        return self._here.values()

    def opened(self, replica: OpenReplica) -> ShardReplica:
        """A replica is about to run here."""
        shard = Shard(replica, self._host, self._around)
        self._here[replica.spec.raft_group] = shard
        return shard.replica

    def closed(self, raft_group: int) -> None:
        """It is about to stop; fine for groups of other kinds."""
        shard = self._here.pop(raft_group, None)
        if shard is not None:
            shard.close()

    def look(self, raft_group: int) -> None:
        """A group has another leader or term, or its leader here is ready."""
        shard = self._here.get(raft_group)
        if shard is not None:
            shard.look()

    def lead_of(self, name: str) -> Lead:
        """The shard of a group, which this node leads. Raises ``Unavailable``."""
        topic = self._state().topics.get(COORDINATOR_TOPIC)
        if topic is None or not topic.is_coordinator:
            raise outcomes.not_leader(None)
        return self.lead(shard_of(name, len(topic.partitions)))

    def lead(self, number: int) -> Lead:
        """The shard of this number, which this node leads. Raises ``Unavailable``."""
        topic = self._state().topics.get(COORDINATOR_TOPIC)
        if topic is None or not topic.is_coordinator or not 0 <= number < len(topic.partitions):
            raise outcomes.not_leader(None)
        shard = self._here.get(topic.partitions[number].raft_group)
        if shard is None:
            raise outcomes.not_leader(None)
        return shard.lead

    def led_here(self) -> Iterator[Shard]:
        """Those that this node leads and serves."""
        return (shard for shard in list(self._here.values()) if shard.replica.leads)

    def topics_changed(self) -> None:
        """Topics that users may see came, went or grew: members may be given others."""
        for shard in self._here.values():
            if shard.replica.leads:
                shard.lead.clock.topics_changed()

    async def expire(self) -> None:
        """Remove what nobody has used for long, again and again, until cancelled."""
        await asyncio.sleep(EXPIRY_FIRST_S)
        retention_s = self._around.steps.retention_ms / 1_000
        while True:
            await self.expire_once()
            await asyncio.sleep(min(max(retention_s / EXPIRY_PART, EXPIRY_MIN_S), EXPIRY_MAX_S))

    async def expire_once(self) -> None:
        """Look at all groups that are led here, one at a time."""
        for shard in list(self.led_here()):
            for name in shard.machine.names():
                try:
                    while (await self._expire(shard, name)).more:
                        continue
                except FloodmarkError as error:
                    _log.info("offsets_not_expired", group=name, reason=error.detail)
                    break  # It leads no more, or cannot store anything now.
                await asyncio.sleep(0)

    async def _expire(self, shard: Shard, name: str) -> Removed:
        deadline = asyncio.get_running_loop().time() + EXPIRY_S
        removed = await shard.lead.decide(name, self._around.steps.expire(), deadline=deadline, quick=True)
        if removed.offsets or removed.group:
            _log.info("offsets_expired", group=name, offsets=removed.offsets, group_removed=removed.group)
        return removed
