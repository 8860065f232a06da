"""A broker in memory: nodes that share one truth, each partition led by one of them.

It keeps the whole contract of ``node.broker`` but durability: frames as on disk, offsets, long polls, bounds,
idempotent producers, conditional appends, errors with their fields. Tests move leaders and take them away.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from floodmark.errors import (
    Conflict,
    FloodmarkError,
    InvalidRequest,
    NotFound,
    OffsetBelowStart,
    OffsetMismatch,
    OffsetPastEnd,
    OutOfOrderSequence,
    PositionConflict,
    ProducerFenced,
    SequenceReused,
    TopicExists,
    Unavailable,
    UnknownPartition,
    UnknownTopic,
)
from floodmark.format import batch as codec
from floodmark.format import frame
from floodmark.format.batch import BatchHeader
from floodmark.format.delivery import with_attributes
from floodmark.format.frame_records import IMPLIED
from floodmark.format.limits import PARTITIONS_MAX, PRODUCER_EPOCH_MAX
from floodmark.format.names import check_name
from floodmark.format.position import Position, Source
from floodmark.format.record import Record
from floodmark.format.sequence import following

from node import outcomes
from node.broker import (
    Acks,
    Appended,
    Bounds,
    ClusterHealth,
    ClusterInfo,
    DrainInfo,
    Features,
    Fetched,
    Health,
    ListedNode,
    MoveInfo,
    MoveWanted,
    NodeHealth,
    NodeInfo,
    NodeLevels,
    NodeState,
    PartitionInfo,
    RebalanceInfo,
    RemovalInfo,
    SourcePosition,
    TopicInfo,
    TopicLimits,
)
from node.budget import Account, SharedBudget
from node.local_acls import LocalAcls
from node.local_quotas import LocalQuotas
from node.local_users import LocalUsers
from node.metadata.command import Command
from node.metadata.levels import BATCH_FORMAT_2, MEMBERSHIP, NUMBERED_PRODUCERS, QUEUES
from node.metadata.machine import applied
from node.metadata.state import COORDINATOR_TOPIC, Applied, MetadataState
from node.metadata.topic_config import TopicConfig
from node.partition.producers import key_of
from node.partition.slices import offset_reaching
from node.partition.source_positions import Begun, Moved, SourcePositions, shown
from node.replicas.deletions import Deletions
from tests.http.memory_groups import memory_groups
from tests.http.memory_queues import NoQueues


class MemoryLog:
    """One partition's frames and producers, the same for all nodes."""

    def __init__(self, leader: str | None) -> None:
        self.leader = leader
        self.frames: list[frame.Frame] = []
        self.start = 0
        self.next = 0
        self.producers: dict[bytes, tuple[int, list[tuple[int, int, int, int]]]] = {}
        self.positions = SourcePositions()
        self.changed = asyncio.Event()
        self.waiters = 0
        self.doubted: list[str] = []

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait(self, timeout_s: float) -> bool:
        """Whether something changed in time."""
        self.waiters += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self.changed.wait()
        except TimeoutError:
            return False
        finally:
            self.waiters -= 1
        return True

    async def awaited(self, by: int = 1) -> None:
        """Return once somebody waits, or so many do."""
        while self.waiters < by:  # noqa: ASYNC110  -- an event would only say that somebody did once
            await asyncio.sleep(0)

    def move(self, leader: str | None) -> None:
        """Another node leads, or none."""
        self.leader = leader
        self.wake()

    def truncate_head(self, before: int) -> None:
        """Drop whole frames below an offset, as retention does."""
        self.frames = [item for item in self.frames if item.next_offset > before]
        self.start = self.frames[0].first_offset if self.frames else self.next


class MemoryCluster:
    """The truth that the nodes share."""

    def __init__(self, nodes: int = 1, *, budget_bytes: int = 64 << 20) -> None:
        self.urls: dict[str, str] = {f"n{number}": "" for number in range(1, nodes + 1)}
        self.topics: dict[str, TopicInfo] = {}
        self.logs: dict[tuple[str, int], MemoryLog] = {}
        self.metadata_leader = "n1"
        self.doubted: list[str] = []
        self.silent: set[str] = set()
        """Nodes that no other one hears."""
        self.last_topic_id = 0
        self.last_producer_id = 0
        self.level = 1
        self.levels: dict[str, tuple[int, int]] = {}
        """The feature levels that nodes know, where these are others than 1 alone."""
        self.groups: dict[bytes, bytes] = {}
        """What the coordinator keeps."""
        self.moves: list[MoveInfo] = []
        self.draining: set[str] = set()
        self.rebalancing = False
        self.metadata = MemoryMetadata()
        self.brokers = {node: MemoryBroker(self, node, budget_bytes) for node in self.urls}


class MemoryMetadata:
    """Users and tokens."""

    def __init__(self) -> None:
        self.state = MetadataState(level=QUEUES)

    async def propose(self, command: Command, *, timeout_s: float) -> Applied:
        outcome = applied(self.state, command)
        if isinstance(outcome, FloodmarkError):
            raise outcome
        return outcome


class MemoryPartition:
    """See ``node.broker.Partition``."""

    def __init__(
        self, node_id: str, topic: TopicInfo, number: int, log: MemoryLog, batch_format: Callable[[], int]
    ) -> None:
        self.topic = topic.name
        self.topic_id = topic.topic_id
        self.number = number
        self._node_id = node_id
        self._log = log
        self._batch_format = batch_format

    @property
    def leader(self) -> str | None:
        return self._log.leader

    @property
    def leads_here(self) -> bool:
        return self._log.leader == self._node_id

    async def wait_leader(self, *, deadline_s: float) -> str:
        deadline = time.monotonic() + deadline_s
        while (leader := self._log.leader) is None:
            if not await self._log.wait(max(0.0, deadline - time.monotonic())):
                raise Unavailable(f"{self.topic}/{self.number} has no leader")
        return leader

    def doubt_leader(self, node: str) -> None:
        self._log.doubted.append(node)

    async def produce(
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        acks: Acks,
        timeout_s: float,
        expected_offset: int | None = None,
        position: Position | None = None,
        deliver_at_ms: int | None = None,
    ) -> Appended:
        self._check_leads()
        log = self._log
        earlier = self._earlier(header)
        if earlier is not None:
            if earlier[2:] != (header.count, header.records_crc):
                raise SequenceReused(
                    "sequence is used", first_offset=earlier[1], next_offset=earlier[1] + earlier[2]
                )
            return Appended(earlier[1], earlier[1] + earlier[2], log.next, duplicate=True)
        if expected_offset not in (None, log.next):
            raise OffsetMismatch(f"the next offset is {log.next}", next_offset=log.next)
        first = log.next
        now_ms = time.time_ns() // 1_000_000
        index = len(log.frames) + 2
        payload, form = batch, IMPLIED
        if position is not None or deliver_at_ms is not None:
            payload, form = with_attributes(batch, header, position, deliver_at_ms)
        crc = frame.crc_of(payload)
        stored = frame.Frame(index, 1, first, now_ms, header.count, frame.FrameKind.RECORDS, payload, crc)
        stored = msgspec.structs.replace(stored, **form._asdict())
        if position is not None:
            self._check_position(position, header.producer_epoch)
            log.positions.note(stored, key_of(header), header.producer_epoch)
        log.frames.append(stored)
        log.next += header.count
        if header.is_idempotent:
            self._remember(header, first)
        log.wake()
        if acks is Acks.NONE:
            return Appended(-1, -1, log.next)
        return Appended(first, log.next, log.next)

    async def produce_records(self, records: Sequence[Record], *, size: int, timeout_s: float) -> Appended:
        batch = codec.encode(records, format=self._batch_format())
        return await self.produce(batch, codec.decode_header(batch), acks=Acks.QUORUM, timeout_s=timeout_s)

    def _earlier(self, header: BatchHeader) -> tuple[int, int, int, int] | None:
        if not header.is_idempotent:
            return None
        epoch, batches = self._log.producers.get(header.producer_id, (header.producer_epoch, []))
        if header.producer_epoch < epoch:
            raise ProducerFenced(f"epoch {epoch} took over", current_epoch=epoch)
        kind, expected = header.producer_kind, 0
        if batches and header.producer_epoch == epoch:
            expected = following(kind, batches[-1][0], batches[-1][2])
        if header.sequence == expected:
            return None
        known = next((item for item in batches if item[0] == header.sequence), None)
        if known is None or header.producer_epoch > epoch:
            raise OutOfOrderSequence(
                f"sequence {expected} is next", expected_sequence=expected, current_epoch=epoch
            )
        return known

    def _remember(self, header: BatchHeader, first: int) -> None:
        epoch, batches = self._log.producers.get(header.producer_id, (header.producer_epoch, []))
        kept = batches if epoch == header.producer_epoch else []
        kept = [*kept, (header.sequence, first, header.count, header.records_crc)][-5:]
        self._log.producers[header.producer_id] = header.producer_epoch, kept

    def _check_position(self, position: Position, epoch: int, *, is_moved: bool = False) -> None:
        kept = self._log.positions.kept.get(position.source)
        if kept is None:
            return
        if epoch < kept.epoch:
            raise ProducerFenced(f"epoch {kept.epoch} took over", current_epoch=kept.epoch)
        least = -1 if kept.next_offset is None else kept.next_offset
        if position.next_offset < least or (position.next_offset == least and not is_moved):
            raise PositionConflict(f"{kept.next_offset} is kept", next_offset=kept.next_offset)

    async def positions(self, group: str, *, timeout_s: float) -> list[SourcePosition]:
        self._check_leads()
        return self._log.positions.of_group(group)

    async def begin_epoch(self, source: Source, producer: bytes, *, timeout_s: float) -> SourcePosition:
        self._check_leads()
        positions = self._log.positions
        kept = positions.kept.get(source)
        known = self._log.producers.get(producer)
        least = 0 if known is None else known[0] + 1
        epoch = max(least, 0 if kept is None else kept.epoch + 1)
        positions.begin(Begun(*source, epoch, producer))
        return shown(source, positions.kept[source])

    async def move_position(
        self, position: Position, epoch: int, producer: bytes, *, timeout_s: float
    ) -> None:
        self._check_leads()
        self._check_position(position, epoch, is_moved=True)
        self._log.positions.move(Moved(*position, epoch, producer))

    async def remove_positions(self, group: str, *, timeout_s: float) -> None:
        self._check_leads()
        self._log.positions.remove(group)

    async def wait_records(self, offset: int, *, wait_s: float) -> bool:
        self._check_leads()
        self._check_bounds(offset)
        log = self._log
        deadline = time.monotonic() + wait_s
        while offset == log.next and (left := deadline - time.monotonic()) > 0:
            await log.wait(left)
            self._check_leads()
        self._check_bounds(offset)
        return offset < log.next

    async def fetch(self, offset: int, *, max_bytes: int, verify: bool = False) -> Fetched:
        self._check_leads()
        self._check_bounds(offset)
        log = self._log
        if offset == log.next:
            return Fetched(b"", offset, self.bounds())
        taken: list[bytes] = []
        size = 0
        behind = offset
        for item in log.frames:
            if item.next_offset <= offset:
                continue
            if taken and size + item.size > max_bytes:
                break
            taken += (item.pack_header(), item.payload)
            size += item.size
            behind = item.next_offset
        return Fetched(b"".join(taken), behind, self.bounds())

    def bounds(self) -> Bounds:
        return Bounds(self._log.start, self._log.next)

    async def tail(self, *, timeout_s: float) -> Bounds:
        self._check_leads()
        return self.bounds()

    async def offset_at_time(self, timestamp_ms: int) -> int:
        for item in self._log.frames:
            header = frame_batch_header(item)
            if header.max_timestamp >= timestamp_ms:
                return offset_reaching(item, timestamp_ms)
        return self._log.next

    def _check_leads(self) -> None:
        if not self.leads_here:
            raise Unavailable("not the leader", leader=self._log.leader)

    def _check_bounds(self, offset: int) -> None:
        bounds = {"log_start_offset": self._log.start, "high_watermark": self._log.next}
        if offset < self._log.start:
            raise OffsetBelowStart(f"offset {offset} is gone", **bounds)
        if offset > self._log.next:
            raise OffsetPastEnd(f"offset {offset} is past the end", **bounds)


class MemoryTopics:
    """See ``node.broker.TopicAdmin``."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker) -> None:
        self._cluster = cluster
        self._broker = broker

    async def describe(self, name: str, *, timeout_s: float) -> TopicInfo:
        return self._broker.topic(name)

    def page(self, *, prefix: str, after: str, limit: int) -> list[TopicInfo]:
        names = sorted(name for name in self._cluster.topics if name.startswith(prefix) and name > after)
        return [self._cluster.topics[name] for name in names[:limit]]

    async def create(
        self, name: str, *, partitions: int, replication_factor: int, config: TopicConfig, timeout_s: float
    ) -> tuple[TopicInfo, bool]:
        check_name(name)
        nodes = list(self._cluster.urls)
        replication_factor = replication_factor or min(3, len(nodes))
        existing = self._cluster.topics.get(name)
        if existing is not None:
            same = len(existing.partitions) == partitions and existing.config == config
            if not same or existing.replication_factor != replication_factor:
                raise TopicExists(f"topic {name} exists with another configuration")
            return existing, False
        if replication_factor > len(nodes):
            raise InvalidRequest(f"{replication_factor} replicas need as many nodes; there are {len(nodes)}")
        infos = []
        for number in range(partitions):
            leader = nodes[number % len(nodes)]
            self._cluster.logs[name, number] = MemoryLog(leader)
            infos.append(PartitionInfo(number, leader, nodes[:replication_factor], nodes, 0, 0, 1))
        self._cluster.last_topic_id += 1
        topic = TopicInfo(name, self._cluster.last_topic_id, replication_factor, config, infos)
        self._cluster.topics[name] = topic
        return topic, True

    async def alter(self, name: str, changes: dict[str, Any], *, timeout_s: float) -> TopicInfo:
        topic = self._broker.topic(name)
        fields = {key: getattr(topic.config, key) for key in TopicConfig.__slots__}
        config = TopicConfig(**{**fields, **changes})
        changed = TopicInfo(name, topic.topic_id, topic.replication_factor, config, topic.partitions)
        self._cluster.topics[name] = changed
        return changed

    async def change_replication_factor(self, name: str, factor: int, *, timeout_s: float) -> TopicInfo:
        topic = self._broker.topic(name)
        self._broker.check_level("command change_replication_factor")
        if not 1 <= factor <= len(self._cluster.urls):
            raise InvalidRequest(f"{factor} replicas need as many nodes; there are {len(self._cluster.urls)}")
        changed = dataclasses.replace(topic, replication_factor=factor)
        self._cluster.topics[name] = changed
        return changed

    async def add_partitions(self, name: str, partitions: int, *, timeout_s: float) -> tuple[TopicInfo, bool]:
        topic = self._broker.topic(name)
        count = len(topic.partitions)
        if not count <= partitions <= PARTITIONS_MAX:
            raise InvalidRequest(f"topic {name} has {count} partitions, and never fewer")
        if partitions == count:
            return topic, False
        self._broker.check_level("command add_partitions")
        infos = list(topic.partitions)
        for number in range(count, partitions):
            self._cluster.logs[name, number] = MemoryLog(self._broker.node_id)
            nodes = list(self._cluster.urls)
            infos.append(PartitionInfo(number, self._broker.node_id, nodes, nodes, 0, 0, 1))
        changed = dataclasses.replace(topic, partitions=infos)
        self._cluster.topics[name] = changed
        return changed, True

    async def delete(self, name: str, *, timeout_s: float) -> None:
        topic = self._broker.topic(name)
        del self._cluster.topics[name]
        for info in topic.partitions:
            self._cluster.logs.pop((name, info.partition)).wake()
        for broker in self._cluster.brokers.values():
            broker.deletions.look()


class MemoryClusterView:
    """See ``node.broker.ClusterView``."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker) -> None:
        self._cluster = cluster
        self._broker = broker

    def show(self) -> ClusterInfo:
        cluster = self._cluster
        return ClusterInfo(
            "memory",
            self._broker.node_id,
            cluster.metadata_leader,
            list(cluster.urls),
            self._nodes(),
            len(cluster.topics),
            len(cluster.logs),
            sum(log.leader is None for log in cluster.logs.values()),
            0,
        )

    async def list_nodes(self) -> list[ListedNode]:
        return [
            ListedNode(
                **dataclasses.asdict(node),
                state=NodeState.READY,
                reasons=[],
                draining=False,
                rack="",
                version=None,
                data_bytes=None,
                disk_free_bytes=None,
                disk_total_bytes=None,
                last_seen_ms=None,
            )
            for node in self._nodes()
        ]

    def node_health(self) -> NodeHealth:
        leads = sum(log.leader == self._broker.node_id for log in self._cluster.logs.values())
        return NodeHealth(
            self._broker.node_id, self._broker.healthy.ready, self._broker.healthy.reasons, leads=leads
        )

    async def health(self) -> ClusterHealth:
        nodes = [broker.cluster.node_health() for broker in self._cluster.brokers.values()]
        reasons = [reason for node in nodes for reason in node.reasons]
        return ClusterHealth(not reasons, self._broker.node_id, reasons, nodes)

    async def features(self, *, timeout_s: float) -> Features:
        known = self._cluster.levels
        nodes = [NodeLevels(name, *known.get(name, (1, 1))) for name in sorted(self._cluster.urls)]
        highest = min(node.highest for node in nodes)
        return Features(
            level=self._cluster.level,
            can_finalize=highest if highest > self._cluster.level else None,
            nodes=nodes,
        )

    async def raise_level(self, level: int, *, timeout_s: float) -> Features:
        features = await self.features(timeout_s=timeout_s)
        if not features.level <= level <= max(features.level, features.can_finalize or 0):
            raise Conflict(f"not {level}", level=features.level)
        self._cluster.level = level
        return await self.features(timeout_s=timeout_s)

    def _nodes(self) -> list[NodeInfo]:
        logs = self._cluster.logs.values()
        return [
            NodeInfo(node, url, "", True, "1", sum(log.leader == node for log in logs), len(logs))
            for node, url in self._cluster.urls.items()
        ]


class MemoryNodes:
    """See ``node.broker.NodeAdmin``."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker) -> None:
        self._cluster = cluster
        self._broker = broker

    async def forget(self, node_id: str, *, timeout_s: float) -> None:
        if node_id in self._cluster.urls:
            raise Conflict(f"{node_id} is one of the nodes", node=node_id)
        raise NotFound(f"the cluster knows no node {node_id}", node=node_id)

    async def drain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        self._broker.check_level("command drain_node")
        self._check_node(node_id)
        self._cluster.draining.add(node_id)
        return await self.drain_of(node_id, timeout_s=timeout_s)

    async def undrain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        self._check_node(node_id)
        self._cluster.draining.discard(node_id)
        return await self.drain_of(node_id, timeout_s=timeout_s)

    async def drain_of(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        self._check_node(node_id)
        draining = node_id in self._cluster.draining
        held = 0 if draining else len(self._cluster.logs)
        return DrainInfo(node_id, draining, held, 0, 0, draining)

    async def removal(self, node_id: str, *, timeout_s: float) -> RemovalInfo:
        self._check_node(node_id)
        return RemovalInfo(node_id, True, len(self._cluster.logs), [], [])

    async def retire(self, node_id: str, *, heir: str, timeout_s: float) -> DrainInfo:
        self._broker.check_level("command retire_node")
        self._check_node(node_id)
        if heir:
            self._check_node(heir)
        return await self.drain(node_id, timeout_s=timeout_s)

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        self._broker.check_level("command rebalance")
        self._cluster.rebalancing = begin
        return await self.rebalance_plan(timeout_s=timeout_s)

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        return RebalanceInfo(self._cluster.rebalancing, 0, [], [])

    def _check_node(self, node_id: str) -> None:
        if node_id not in self._cluster.urls:
            raise NotFound(f"the cluster knows no node {node_id}", node=node_id)


class MemoryMoves:
    """See ``node.broker.MoveAdmin``."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker) -> None:
        self._cluster = cluster
        self._broker = broker

    async def led_here(self) -> list[MoveInfo]:
        return [
            info
            for info in self._cluster.moves
            if self._cluster.logs[info.topic, info.partition].leader == self._broker.node_id
        ]

    async def everywhere(self, *, timeout_s: float) -> list[MoveInfo]:
        return self._cluster.moves

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[MoveInfo]:
        self._broker.check_level("a move of replicas")
        rows = {(info.topic, info.partition): info for info in self._cluster.moves}
        for item in wanted:
            topic = self._broker.topic(item.topic)
            self._broker.partition(item.topic, item.partition)
            rows.pop((item.topic, item.partition), None)
            if item.replicas is None:
                continue
            has = topic.partitions[item.partition].replicas
            if unknown := [node for node in item.replicas if node not in self._cluster.urls]:
                raise NotFound(f"the cluster knows no node {unknown[0]}", node=unknown[0])
            rows[item.topic, item.partition] = MoveInfo(
                item.topic, item.partition, 1, True, "asked for", has, item.replicas, [], []
            )
        self._cluster.moves = list(rows.values())
        return [rows[key] for key in rows if key in {(item.topic, item.partition) for item in wanted}]

    def sizes_led_here(self) -> dict[int, int]:
        return {
            number: log.next
            for number, log in enumerate(self._cluster.logs.values(), 1)
            if log.leader == self._broker.node_id
        }


class MemoryProducers:
    """See ``node.broker.ProducerNumbers``."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker) -> None:
        self._cluster = cluster
        self._broker = broker

    async def new(self, *, timeout_s: float) -> tuple[int, int]:
        if self._cluster.level < NUMBERED_PRODUCERS:
            raise outcomes.needs_level("a numbered producer", NUMBERED_PRODUCERS, self._cluster.level)
        self._cluster.last_producer_id += 1
        return self._cluster.last_producer_id, 0

    async def next_epoch(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        if self._cluster.level < NUMBERED_PRODUCERS:
            raise outcomes.needs_level("a numbered producer", NUMBERED_PRODUCERS, self._cluster.level)
        if producer_id > self._cluster.last_producer_id:
            raise NotFound("no such producer")
        if epoch == PRODUCER_EPOCH_MAX:
            return await self.new(timeout_s=timeout_s)
        return producer_id, epoch + 1


class MemoryLeadership:
    """See ``node.broker.MetadataLeadership``."""

    def __init__(self, cluster: MemoryCluster, broker: MemoryBroker) -> None:
        self._cluster = cluster
        self._broker = broker

    @property
    def leads_here(self) -> bool:
        return self._cluster.metadata_leader == self._broker.node_id

    async def wait_leader(self, *, timeout_s: float) -> str:
        return self._cluster.metadata_leader

    def doubt_leader(self, node: str) -> None:
        self._cluster.doubted.append(node)

    async def leave_to_others(self, node_id: str, *, timeout_s: float) -> None:
        pass


class MemoryBroker:
    """See ``node.broker.Broker``."""

    def __init__(self, cluster: MemoryCluster, node_id: str, budget_bytes: int) -> None:
        self.node_id = node_id
        self.healthy = Health(ready=True)
        self.budget = SharedBudget(budget_bytes, budget_bytes // 4, "this node")
        self.passed_on = SharedBudget(budget_bytes, budget_bytes, "this node")
        self.deletions = Deletions(self._id_of)
        self.behind: dict[str, TopicInfo] | None = None
        """The topics as this node knows them until it catches up; None: as they are."""
        self.level_behind: int | None = None
        """Likewise the feature level."""
        self._cluster = cluster
        self.topics = MemoryTopics(cluster, self)
        self.cluster = MemoryClusterView(cluster, self)
        self.nodes = MemoryNodes(cluster, self)
        self.moves = MemoryMoves(cluster, self)
        self.producers = MemoryProducers(cluster, self)
        self.acls = LocalAcls(cluster.metadata)
        self.quotas = LocalQuotas(cluster.metadata)
        self.users = LocalUsers(cluster.metadata, lambda: 1_000)
        self.groups = memory_groups(cluster, self)
        self.queues = NoQueues()
        self.metadata = MemoryLeadership(cluster, self)

    def topic(self, name: str) -> TopicInfo:
        check_name(name)
        topic = (self._cluster.topics if self.behind is None else self.behind).get(name)
        if topic is None:
            raise UnknownTopic(f"there is no topic {name}", topic=name)
        return topic

    @property
    def batch_format(self) -> int:
        level = self._cluster.level if self.level_behind is None else self.level_behind
        return 2 if level >= BATCH_FORMAT_2 else 1

    @property
    def feature_level(self) -> int:
        return self._cluster.level if self.level_behind is None else self.level_behind

    def topic_limits(self, name: str) -> TopicLimits:
        topic = self.topic(name)
        config = topic.config
        return TopicLimits(
            len(topic.partitions),
            config.max_record_bytes,
            topic.topic_id,
            config.retention_ms,
            name == COORDINATOR_TOPIC,
        )

    def partition(self, topic: str, number: int) -> MemoryPartition:
        known = self.topic(topic)
        log = self._cluster.logs.get((topic, number))
        if log is None:
            raise UnknownPartition(f"{topic} has no partition {number}", topic=topic)
        return MemoryPartition(self.node_id, known, number, log, lambda: self.batch_format)

    def when_deleted(self, topic: str, topic_id: int, tell: Callable[[], None]) -> Callable[[], None]:
        return self.deletions.watch(topic, topic_id, tell)

    def _id_of(self, name: str) -> int | None:
        topic = (self._cluster.topics if self.behind is None else self.behind).get(name)
        return None if topic is None else topic.topic_id

    def check_current(self) -> None:
        return

    async def catch_up(self, *, timeout_s: float) -> None:
        self.behind = self.level_behind = None
        await asyncio.sleep(0)

    def node_url(self, node_id: str) -> str | None:
        return self._cluster.urls.get(node_id)

    def hears(self, node_id: str) -> bool:
        return node_id not in self._cluster.silent

    def health(self) -> Health:
        return self.healthy

    def check_level(self, what: str) -> None:
        if self._cluster.level < MEMBERSHIP:
            raise outcomes.needs_level(what, MEMBERSHIP, self._cluster.level)

    def uploads(self, party: str, *, from_node: bool) -> Account:
        return (self.passed_on if from_node else self.budget).account(party)


def frame_batch_header(item: frame.Frame) -> BatchHeader:
    """The header of the batch in a frame."""
    from floodmark.format import batch

    return batch.decode_header(item.payload)
