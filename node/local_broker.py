"""This node as its service layer sees it: its parts put together, and its partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from floodmark.errors import UnknownPartition

from consensus.host.group_host import GroupHost
from node.broker import (
    Health,
    Partition,
    TopicInfo,
    TopicLimits,
)
from node.budget import Account, SharedBudget
from node.control.forget import Forgetting
from node.control.moves_shown import MovesShown
from node.control.moving import Moving
from node.control.partition_room import PartitionRoom
from node.control.placeable import Placeable
from node.control.reassign import Reassign
from node.control.reshaping import Reshaping
from node.control.retiring import Retiring
from node.control.shaping import Shaping
from node.coordinator.coordinator import Coordinator
from node.coordinator.shard_partition import ShardPartition
from node.health import HealthQuery
from node.local_acls import LocalAcls
from node.local_cluster import LocalCluster, LocalLeadership, LocalProducers
from node.local_groups import LocalGroups
from node.local_nodes import LocalMoves, LocalNodes
from node.local_queues import LocalQueues
from node.local_quotas import LocalQuotas
from node.local_topics import LocalTopics
from node.local_users import LocalUsers
from node.membership.discovery import Discovery
from node.membership.liveness import Liveness
from node.membership.node_list import NodeList
from node.metadata.delta import MetadataDelta
from node.metadata.group import Metadata
from node.metadata.holders import holders, wanted
from node.metadata.state import MetadataState, PartitionEntry, TopicEntry
from node.node_query import NodeQuery
from node.partition.batch_format import BatchFormat
from node.partition.partition import LocalPartition, Replica
from node.partition.remote_partition import LeaderLookup, RemotePartition
from node.partition.sizes import Sizes
from node.replicas.deletions import Deletions
from node.replicas.disk_reserve import DiskReserve
from node.replicas.partition_replicas import PartitionReplicas
from node.replicas.replica_here import ReplicaHere
from node.replicas.wanted import in_transit
from node.security.credentials import Credentials
from node.topics import Topics
from node.views import Views, clock_warnings, readiness

DESCRIBE_S: Final = 2.0


class LocalBroker:
    """Implements ``node.broker.Broker``."""

    def __init__(
        self,
        *,
        node_id: str,
        host: GroupHost,
        metadata: Metadata,
        replicas: PartitionReplicas,
        discovery: Discovery,
        views: Views,
        budget: SharedBudget,
        passed_on: SharedBudget,
        query: NodeQuery,
        lookup: LeaderLookup,
        alive: Liveness,
        disk: DiskReserve,
        partitions_max: int,
        batch_format: BatchFormat,
        evacuate_after_s: float,
        credentials: Credentials,
        coordinator: Coordinator,
        queue_warnings: Callable[[], Sequence[str]],
        wall_ms: Callable[[], int],
    ) -> None:
        self.node_id = node_id
        self._host = host
        self._metadata = metadata
        self._replicas = replicas
        self._discovery = discovery
        self._views = views
        self._budget = budget
        self._passed_on = passed_on
        self._lookup = lookup
        self._alive = alive
        self._disk = disk
        self._credentials = credentials
        self._queue_warnings = queue_warnings
        self._health = HealthQuery(
            node_id=node_id,
            metadata=metadata,
            local=replicas.local,
            own=self.health,
            partitions_max=partitions_max,
            is_opening=lambda: replicas.opening,
            query=query,
            alive=alive,
            disk=disk,
            heard_ms_ago=lambda: alive.heard_ms_ago(discovery.nodes),
        )
        self.cluster = LocalCluster(
            metadata=metadata,
            views=views,
            health=self._health,
            node_list=NodeList(metadata, self._health, host.wall.now_ms),
            alive=alive,
        )
        self.metadata = LocalLeadership(node_id, metadata, alive)
        self.producers = LocalProducers(metadata)
        self.acls = LocalAcls(metadata)
        self.quotas = LocalQuotas(metadata)
        self.users = LocalUsers(metadata, wall_ms)
        placeable = Placeable(
            node_id=node_id, metadata=metadata, discovery=discovery, health=self._health, alive=alive
        )
        room = PartitionRoom()
        self._topics = Topics(metadata, placeable, self._wait_leaders, disk, room)
        self.topics = LocalTopics(
            node_id=node_id, metadata=metadata, topics=self._topics, views=views, query=query, alive=alive
        )
        self.groups = LocalGroups(
            topics=self._topics,
            shards=coordinator.shards,
            view=coordinator.topics,
            steps=coordinator.steps,
        )
        self.queues = LocalQueues(shards=coordinator.shards, around=coordinator.queues)
        shown = MovesShown(node_id=node_id, host=host, metadata=metadata, local=replicas.local, query=query)
        sizes = Sizes(node_id=node_id, local=replicas.local, query=query, alive=alive)
        self.reshaping = Reshaping(
            metadata=metadata,
            health=self._health,
            alive=alive,
            sizes=sizes.everywhere,
            evacuate_after_s=evacuate_after_s,
        )
        """Runs in a task of its own, like the next one."""
        nodes = self.reshaping.nodes
        reassign = Reassign(metadata=metadata, placeable=placeable, nodes=nodes, room=room)
        self.moves = LocalMoves(metadata=metadata, shown=shown, reassign=reassign, sizes=sizes, alive=alive)
        describe = partial(self.topics.describe, timeout_s=DESCRIBE_S)
        self.nodes = LocalNodes(
            metadata=metadata,
            shaping=Shaping(metadata=metadata, nodes=nodes, sizes=sizes.everywhere),
            retiring=Retiring(metadata=metadata, nodes=nodes, describe=describe, alive=alive),
            forgetting=Forgetting(metadata=metadata, placeable=placeable, describe=describe, alive=alive),
        )
        self.moving = Moving(metadata=metadata, shown=shown, alive=alive)
        """What the metadata's leader does for moves under way; runs in a task of its own."""
        self._format = batch_format
        self._partitions: dict[int, Partition] = {}
        self._deletions = Deletions(self._topics.id_of)

    def topic(self, name: str) -> TopicInfo:
        """One topic."""
        return self._views.topic(self._topics.find(name), self._alive())

    @property
    def batch_format(self) -> int:
        """As known here; it never falls."""
        return self._format.highest

    @property
    def feature_level(self) -> int:
        """The cluster's feature level, as known here."""
        return self._metadata.state.level

    def topic_limits(self, name: str) -> TopicLimits:
        """From the replicated metadata alone."""
        entry = self._topics.find(name)
        config = entry.config
        return TopicLimits(
            len(entry.partitions),
            config.max_record_bytes,
            entry.topic_id,
            config.retention_ms,
            entry.is_coordinator,
        )

    def partition(self, topic: str, number: int) -> Partition:
        """One partition, local or not."""
        entry = self._topics.find(topic)
        if not 0 <= number < len(entry.partitions):
            raise UnknownPartition(
                f"topic {topic} has partitions 0 to {len(entry.partitions) - 1}, not {number}",
                topic=topic,
                partitions=len(entry.partitions),
            )
        return self._partition(entry, entry.partitions[number])

    def when_deleted(self, topic: str, topic_id: int, tell: Callable[[], None]) -> Callable[[], None]:
        """Have ``tell`` called once this node has applied the deletion."""
        return self._deletions.watch(topic, topic_id, tell)

    def _partition(self, topic: TopicEntry, entry: PartitionEntry) -> Partition:
        found = self._partitions.get(entry.raft_group)
        replica = self._serving(entry)
        if isinstance(found, LocalPartition | ShardPartition) and found.replica is replica:
            return found
        nodes = holders(entry, self._metadata.state.moves.get(entry.raft_group))
        if replica is not None:
            others = RemotePartition(topic, entry, nodes, self._lookup)
            if isinstance(replica, Replica):
                found = LocalPartition(topic, entry, replica, self._host, others)
            else:
                found = ShardPartition(topic, entry, replica, self._host, others)
        elif not isinstance(found, RemotePartition) or isinstance(found, ShardPartition):
            found = RemotePartition(topic, entry, nodes, self._lookup)
        self._partitions[entry.raft_group] = found
        return found

    def _serving(self, entry: PartitionEntry) -> ReplicaHere | None:
        """The replica here, if it can serve: one that is arriving or leaving may know of no leader."""
        replica = self._replicas.local.get(entry.raft_group)
        moves = self._metadata.state.moves
        if replica is None or (not moves and self.node_id in entry.replicas):
            return replica
        if replica.group.leader is not None:
            return replica
        settled = self.node_id in entry.replicas and self.node_id in wanted(
            entry, moves.get(entry.raft_group)
        )
        return replica if settled else None

    def metadata_changed(self, _state: MetadataState, delta: MetadataDelta) -> None:
        """Drop cached partitions that may be outdated; tell those that wait on a deleted topic."""
        if delta.is_whole:
            self._partitions.clear()
        for raft_group in delta.partitions:
            self._partitions.pop(raft_group, None)
        self._deletions.look(None if delta.is_whole else delta.topics)
        if delta.concerns("moves"):
            self.moving.reconcile()

    def check_current(self) -> None:
        """Raises where this node has stopped applying the metadata."""
        self._metadata.check()

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait for a read index of the metadata group."""
        await self._metadata.catch_up(timeout_s=timeout_s)

    def node_url(self, node_id: str) -> str | None:
        """From the replicated metadata only."""
        return self._metadata.node_url(node_id)

    def hears(self, node_id: str) -> bool:
        """As its links report."""
        return node_id in self._alive()

    def health(self) -> Health:
        """For /readyz."""
        reasons = readiness(
            self._metadata.group,
            self._settled(),
            current=self._metadata.is_current,
            registered=self.node_id in self._metadata.state.nodes,
            formed=bool(self._metadata.state.formation),
            opening=self._replicas.opening,
            broken=self._replicas.broken,
            too_new=self._replicas.too_new,
            obstacles=self._discovery.obstacles,
            halted=self._metadata.halted,
            draining=self._metadata.state.draining,
        )
        if self._discovery.removed is not None:
            reasons = [self._discovery.removed]
        refusals = self._discovery.refusals
        warnings = [*self._credentials.warnings, *self._disk.warnings, *self._queue_warnings()]
        if reasons:
            return Health(ready=False, reasons=[*reasons, *refusals], warnings=warnings)
        return Health(ready=True, warnings=[*refusals, *clock_warnings(self._host.wall), *warnings])

    def _settled(self) -> dict[int, ReplicaHere]:
        """The replicas here, without those that are arriving or leaving."""
        passing = in_transit(self._metadata.state, self.node_id)
        return {group: replica for group, replica in self._replicas.local.items() if group not in passing}

    def uploads(self, party: str, *, from_node: bool) -> Account:
        """From the clients' budget, or from that of the other nodes, each of which counts as one party."""
        return (self._passed_on if from_node else self._budget).account(party)

    async def _wait_leaders(self, topic: TopicEntry, timeout_s: float) -> None:
        """Wait until this node knows leaders of all partitions of a new topic, or the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._replicas.wait_local(
                    [entry.raft_group for entry in topic.partitions], timeout_s=timeout_s
                )
                partitions = [self._partition(topic, entry) for entry in topic.partitions]
                await asyncio.gather(
                    *(partition.wait_leader(deadline_s=timeout_s) for partition in partitions),
                    return_exceptions=True,
                )
        except TimeoutError:
            return
