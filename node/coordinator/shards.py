"""The shards that have replicas on this node, and which of them keeps a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from consensus.host.group_host import GroupHost
from node import outcomes
from node.coordinator.lead import Lead
from node.coordinator.shard import Shard, ShardReplica
from node.metadata.domains.coordinator import COORDINATOR_TOPIC, shard_of
from node.metadata.state import MetadataState
from node.replicas.replica_spec import OpenReplica


class Shards:
    """One per node. ``state``: what this node knows of the cluster."""

    def __init__(
        self,
        *,
        host: GroupHost,
        state: Callable[[], MetadataState],
        catch_up: Callable[[float], Awaitable[None]],
    ) -> None:
        self._host = host
        self._state = state
        self._catch_up = catch_up
        self._here: dict[int, Shard] = {}

    def opened(self, replica: OpenReplica) -> ShardReplica:
        """A replica is about to run here."""
        shard = Shard(replica, self._host, self._catch_up)
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
