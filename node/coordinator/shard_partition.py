"""A shard of the coordinator as a partition: it tells who leads it, and holds no records."""

from __future__ import annotations

from typing import NoReturn

from floodmark.errors import Forbidden

from consensus.host.group_host import GroupHost
from node.metadata.state import PartitionEntry, TopicEntry
from node.partition.leader_wait import wait_leader
from node.partition.remote_partition import RemotePartition
from node.replicas.replica_here import ReplicaHere


class ShardPartition(RemotePartition):
    """Implements ``node.broker.Partition``. ``others``: what is known without the replica here."""

    def __init__(
        self,
        topic: TopicEntry,
        entry: PartitionEntry,
        replica: ReplicaHere,
        host: GroupHost,
        others: RemotePartition,
    ) -> None:
        self.topic = topic.name
        self.topic_id = topic.topic_id
        self.number = entry.number
        self.replica = replica
        self._host = host
        self._others = others

    @property
    def leader(self) -> str | None:
        """Node id of the leader, as far as this replica knows."""
        return self.replica.group.leader

    @property
    def leads_here(self) -> bool:
        """Elected, and its own first entry is committed and applied."""
        return self.replica.leads

    async def wait_leader(self, *, deadline_s: float) -> str:
        """See ``node.broker.Partition``."""
        return await wait_leader(self._host, self.replica.group, self._others, deadline_s=deadline_s)

    def doubt_leader(self, node: str) -> None:
        """Wake the group if it sleeps: it elects a leader if there is none."""
        self._host.doubt_leader(self.replica.group.raft_group, node)
        self._others.doubt_leader(node)

    def _refuse(self) -> NoReturn:
        raise Forbidden(f"{self.topic} holds the state of groups, and no records", topic=self.topic)
