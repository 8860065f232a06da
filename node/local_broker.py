"""The broker: this node as HTTP sees it. See ``node.broker.Broker`` for what each method promises."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from floodmark.errors import UnknownPartition

from consensus.host.group_host import GroupHost
from node.broker import (
    ClusterHealth,
    ClusterInfo,
    DrainInfo,
    Features,
    Health,
    ListedNode,
    MoveInfo,
    MoveWanted,
    NodeHealth,
    Partition,
    RebalanceInfo,
    RemovalInfo,
    TopicInfo,
    TopicLimits,
)
from node.budget import Account, SharedBudget
from node.control.features import FeatureLevel
from node.control.forget import Forgetting
from node.control.moves_shown import MovesShown
from node.control.moving import Moving
from node.control.partition_room import PartitionRoom
from node.control.placeable import Placeable
from node.control.reassign import Reassign
from node.control.reshaping import Reshaping
from node.control.retiring import Retiring
from node.control.shaping import Shaping
from node.health import HealthQuery
from node.membership.discovery import Discovery
from node.membership.liveness import Liveness
from node.membership.node_list import NodeList
from node.metadata.delta import MetadataDelta
from node.metadata.group import Metadata
from node.metadata.holders import holders, wanted
from node.metadata.state import MetadataState, PartitionEntry, TopicEntry
from node.metadata.topic_config import TopicConfig
from node.partition.batch_format import BatchFormat
from node.partition.partition import LocalPartition, Replica
from node.partition.producer_ids import ProducerIds
from node.partition.remote_partition import LeaderLookup, RemotePartition
from node.partition.sizes import Sizes
from node.replicas.deletions import Deletions
from node.replicas.disk_reserve import DiskReserve
from node.replicas.partition_replicas import PartitionReplicas
from node.replicas.wanted import in_transit
from node.topic_query import TopicQuery, merged
from node.topics import Topics
from node.views import Views, clock_warnings, readiness

HEARD_WAIT_S: Final = 1.0
"""How long DELETE waits for the other nodes to hear of it; the topic is deleted whether or not they do."""
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
        query: TopicQuery,
        lookup: LeaderLookup,
        alive: Liveness,
        disk: DiskReserve,
        partitions_max: int,
        batch_format: BatchFormat,
        evacuate_after_s: float,
    ) -> None:
        self.node_id = node_id
        self._host = host
        self._metadata = metadata
        self._replicas = replicas
        self._discovery = discovery
        self._views = views
        self._budget = budget
        self._passed_on = passed_on
        self._query = query
        self._lookup = lookup
        self._alive = alive
        self._disk = disk
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
        self._node_list = NodeList(metadata, self._health, host.wall.now_ms)
        placeable = Placeable(
            node_id=node_id, metadata=metadata, discovery=discovery, health=self._health, alive=alive
        )
        room = PartitionRoom()
        self._topics = Topics(metadata, placeable, self._wait_leaders, disk, room)
        self._moves = MovesShown(
            node_id=node_id, host=host, metadata=metadata, local=replicas.local, query=query
        )
        self._sizes = Sizes(node_id=node_id, local=replicas.local, query=query, alive=alive)
        self.reshaping = Reshaping(
            metadata=metadata,
            health=self._health,
            alive=alive,
            sizes=self._sizes.everywhere,
            evacuate_after_s=evacuate_after_s,
        )
        """A task of its own, as the next one."""
        self._reassign = Reassign(
            metadata=metadata, placeable=placeable, nodes=self.reshaping.nodes, room=room
        )
        self._shaping = Shaping(metadata=metadata, nodes=self.reshaping.nodes, sizes=self._sizes.everywhere)
        self._retiring = Retiring(
            metadata=metadata,
            nodes=self.reshaping.nodes,
            describe=partial(self.describe_topic, timeout_s=DESCRIBE_S),
            alive=alive,
        )
        self.moving = Moving(metadata=metadata, shown=self._moves, alive=alive)
        """What the leader of the metadata does for moves under way; a task of its own runs it."""
        self._forgetting = Forgetting(
            metadata=metadata,
            placeable=placeable,
            describe=partial(self.describe_topic, timeout_s=DESCRIBE_S),
            alive=alive,
        )
        self._level = FeatureLevel(metadata)
        self._producer_ids = ProducerIds(metadata)
        self._format = batch_format
        self._partitions: dict[int, Partition] = {}
        self._deletions = Deletions(self._topics.id_of)

    def topic(self, name: str) -> TopicInfo:
        """One topic."""
        return self._views.topic(self._topics.find(name), self._alive())

    @property
    def batch_format(self) -> int:
        """As known here; it only ever rises."""
        return self._format.highest

    def topic_limits(self, name: str) -> TopicLimits:
        """From the replicated metadata alone."""
        entry = self._topics.find(name)
        return TopicLimits(len(entry.partitions), entry.config.max_record_bytes, entry.topic_id)

    async def describe_topic(self, name: str, *, timeout_s: float) -> TopicInfo:
        """One topic, its partitions as their leaders see them."""
        topic, alive = self.topic(name), self._alive()
        unsure = [info for info in topic.partitions if info.leader != self.node_id]
        asked = {
            info.leader or next((node for node in info.replicas if node in alive), "") for info in unsure
        }
        nodes = sorted(asked & alive - {self.node_id})
        try:
            async with asyncio.timeout(timeout_s):
                seen = await asyncio.gather(
                    *(self._query.partitions(node, name, topic.topic_id) for node in nodes)
                )
        except TimeoutError:
            return topic
        return merged(topic, dict(zip(nodes, seen, strict=True)))

    def topics(self, *, prefix: str, after: str, limit: int) -> list[TopicInfo]:
        """A page of them, in order of name."""
        known = self._metadata.state.topics
        names = sorted(name for name in known if name.startswith(prefix) and name > after)
        alive = self._alive()
        return [self._views.topic(known[name], alive) for name in names[:limit]]

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
        """Once this node has applied the deletion."""
        return self._deletions.watch(topic, topic_id, tell)

    def _partition(self, topic: TopicEntry, entry: PartitionEntry) -> Partition:
        found = self._partitions.get(entry.raft_group)
        replica = self._serving(entry)
        if isinstance(found, LocalPartition) and found.replica is replica:
            return found
        nodes = holders(entry, self._metadata.state.moves.get(entry.raft_group))
        if replica is not None:
            others = RemotePartition(topic, entry, nodes, self._lookup)
            found = LocalPartition(topic, entry, replica, self._host, others)
        elif not isinstance(found, RemotePartition):
            found = RemotePartition(topic, entry, nodes, self._lookup)
        self._partitions[entry.raft_group] = found
        return found

    def _serving(self, entry: PartitionEntry) -> Replica | None:
        """The replica here. One that is on its way to or from this node may know of no leader: others do."""
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
        """What was kept of partitions may be of the past; who waits on a topic that is gone is told."""
        if delta.is_whole:
            self._partitions.clear()
        for raft_group in delta.partitions:
            self._partitions.pop(raft_group, None)
        self._deletions.look(None if delta.is_whole else delta.topics)
        if delta.concerns("moves"):
            self.moving.reconcile()

    def check_current(self) -> None:
        """Where this node has stopped applying the metadata."""
        self._metadata.check()

    async def catch_up(self, *, timeout_s: float) -> None:
        """A read index on the metadata group."""
        await self._metadata.catch_up(timeout_s=timeout_s)

    @property
    def metadata_leads_here(self) -> bool:
        """Whether topic changes can be made here."""
        return self._metadata.leads_here

    async def wait_metadata_leader(self, *, timeout_s: float) -> str:
        """The metadata group's leader."""
        return await self._metadata.wait_leader(timeout_s=timeout_s)

    def doubt_metadata_leader(self, node: str) -> None:
        """Where the group sleeps it wakes up."""
        self._metadata.doubt_leader(node)

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        config: TopicConfig,
        timeout_s: float,
    ) -> tuple[TopicInfo, bool]:
        """Make a topic, or find that it is there as wanted."""
        topic, created = await self._topics.create(
            name,
            partitions=partitions,
            replication_factor=replication_factor,
            config=config,
            timeout_s=timeout_s,
        )
        return self._views.topic(topic, self._alive()), created

    async def alter_topic(self, name: str, changes: dict[str, Any], *, timeout_s: float) -> TopicInfo:
        """Change some of the configuration."""
        topic = await self._topics.alter(name, changes, timeout_s=timeout_s)
        return self._views.topic(topic, self._alive())

    async def change_replication_factor(self, name: str, factor: int, *, timeout_s: float) -> TopicInfo:
        """Have more replicas, or fewer."""
        topic = await self._topics.change_replication_factor(name, factor, timeout_s=timeout_s)
        return self._views.topic(topic, self._alive())

    async def add_partitions(self, name: str, partitions: int, *, timeout_s: float) -> tuple[TopicInfo, bool]:
        """Have more partitions."""
        topic, added = await self._topics.add_partitions(name, partitions, timeout_s=timeout_s)
        return self._views.topic(topic, self._alive()), added

    async def delete_topic(self, name: str, *, timeout_s: float) -> None:
        """Remove a topic, and give all nodes that are there the time to hear of it.

        Whoever has the answer finds it gone at each of them: a node that did not know yet could store records
        in what is deleted. One that is cut off is not waited for; its replicas have no majority.
        """
        topic = await self._topics.delete(name, timeout_s=timeout_s)
        others = self._alive() - {self.node_id}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD_WAIT_S):
                await asyncio.gather(
                    *(self._query.wait_deleted(node, name, topic.topic_id) for node in others)
                )

    def cluster(self) -> ClusterInfo:
        """The whole picture."""
        return self._views.cluster(self._alive())

    async def list_nodes(self) -> list[ListedNode]:
        """In order of id."""
        return await self._node_list.show()

    def node_url(self, node_id: str) -> str | None:
        """From the replicated metadata only."""
        return self._metadata.node_url(node_id)

    def hears(self, node_id: str) -> bool:
        """As its links tell."""
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
        if reasons:
            return Health(ready=False, reasons=[*reasons, *refusals], warnings=self._disk.warnings)
        return Health(
            ready=True, warnings=[*refusals, *clock_warnings(self._host.wall), *self._disk.warnings]
        )

    def _settled(self) -> dict[int, Replica]:
        """The replicas here without those that are coming or leaving."""
        passing = in_transit(self._metadata.state, self.node_id)
        return {group: replica for group, replica in self._replicas.local.items() if group not in passing}

    def node_health(self) -> NodeHealth:
        """This node alone."""
        return self._health.here()

    async def cluster_health(self) -> ClusterHealth:
        """All nodes, asked now."""
        return await self._health.cluster()

    async def forget_node(self, node_id: str, *, timeout_s: float) -> None:
        """Strike a node off."""
        await self._forgetting.forget(node_id, timeout_s=timeout_s)

    async def moves_led_here(self) -> list[MoveInfo]:
        """As this node sees them."""
        return await self._moves.led_here()

    async def moves(self, *, timeout_s: float) -> list[MoveInfo]:
        """All of them, asked now."""
        await self._metadata.catch_up(timeout_s=timeout_s)
        return await self._moves.everywhere(self._alive())

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[MoveInfo]:
        """Have replicas go to other nodes."""
        await self._reassign.move(wanted, timeout_s=timeout_s)
        meant = {(item.topic, item.partition) for item in wanted}
        infos = await self._moves.everywhere(self._alive())
        return [info for info in infos if (info.topic, info.partition) in meant]

    async def drain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Begin to have all replicas and leaderships of a node go elsewhere."""
        return await self._shaping.drain(node_id, timeout_s=timeout_s)

    async def undrain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Undo it."""
        return await self._shaping.undrain(node_id, timeout_s=timeout_s)

    async def drain_of(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """How far it is."""
        return await self._shaping.drain_of(node_id, timeout_s=timeout_s)

    async def removal(self, node_id: str, *, timeout_s: float) -> RemovalInfo:
        """What it would leave."""
        return await self._retiring.removal(node_id, timeout_s=timeout_s)

    async def retire(self, node_id: str, *, heir: str, timeout_s: float) -> DrainInfo:
        """Drain it and remove it, with another in its place or none."""
        if heir:
            await self._retiring.replace(node_id, heir, timeout_s=timeout_s)
        else:
            await self._retiring.remove(node_id, timeout_s=timeout_s)
        if node_id not in self._metadata.state.nodes:  # It had nothing, and is gone already.
            return DrainInfo(node_id, False, 0, 0, 0, True, removing=True)  # noqa: FBT003
        return await self._shaping.drain_of(node_id, timeout_s=timeout_s)

    async def leave_metadata_to_others(self, node_id: str, *, timeout_s: float) -> None:
        """Before this node is removed."""
        if node_id == self.node_id:
            await self._metadata.leave_to_others(self._alive, timeout_s=timeout_s)

    def sizes_led_here(self) -> dict[int, int]:
        """Of the partitions that this node leads."""
        return self._sizes.led_here()

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        """Even out replicas and leaders, or end and undo that."""
        return await self._shaping.rebalance(begin=begin, timeout_s=timeout_s)

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        """What it would do."""
        return await self._shaping.rebalance_plan(timeout_s=timeout_s)

    async def features(self, *, timeout_s: float) -> Features:
        """The feature level, and who knows which."""
        return await self._level.show(timeout_s=timeout_s)

    async def raise_level(self, level: int, *, timeout_s: float) -> Features:
        """Raise the feature level."""
        return await self._level.finalize(level, timeout_s=timeout_s)

    async def new_producer(self, *, timeout_s: float) -> tuple[int, int]:
        """Of this node's block."""
        return await self._producer_ids.next(timeout_s=timeout_s), 0

    async def next_epoch(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        """The next number, where there is one."""
        return await self._producer_ids.following(producer_id, epoch, timeout_s=timeout_s)

    def uploads(self, address: str, *, from_node: bool) -> Account:
        """Of the budget of clients, or of that of the other nodes, which all count as one."""
        return (self._passed_on if from_node else self._budget).account(address)

    async def _wait_leaders(self, topic: TopicEntry, timeout_s: float) -> None:
        """Until all partitions of a new topic have leaders that this node knows, or the time is up."""
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
