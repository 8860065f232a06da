"""What the HTTP room needs of a node, and nothing more.

Every method raises classes of ``floodmark.errors`` only; their fields become members of the problem document.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from floodmark.errors import StorageUnavailable
from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record

from node.budget import Account
from node.metadata.topic_config import TopicConfig


class Acks(enum.StrEnum):
    """When a produce is answered."""

    QUORUM = "quorum"
    """Durable on a majority: the default, and the promise."""
    LEADER = "leader"
    """Durable on the leader's disk: lost with that disk if the leader fails right after."""
    NONE = "none"
    """Taken in by the leader: lost with its process."""


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """One partition as this node sees it; offsets are of the leader when known, else None."""

    partition: int
    leader: str | None
    replicas: Sequence[str]
    in_sync: Sequence[str]
    high_watermark: int | None
    log_start_offset: int | None
    term: int | None


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """One topic."""

    name: str
    topic_id: int
    replication_factor: int
    config: TopicConfig
    partitions: Sequence[PartitionInfo]
    uuid: str | None = None
    """None for a moment in a cluster that is just being formed."""


class TopicLimits(NamedTuple):
    """What a topic allows: enough for a produce, which cannot afford the whole picture."""

    partitions: int
    max_record_bytes: int
    topic_id: int


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One node of the cluster. ``http`` is the advertised base URL; ``alive`` as seen from this node."""

    node_id: str
    http: str
    peer: str
    alive: bool
    incarnation: str
    leads: int
    replicas: int
    number: int | None = None
    """An int32 above 0 that no other node ever has; None for one that is none of the cluster's own."""


class NodeState(enum.StrEnum):
    """What a node is doing, by its own word."""

    READY = "ready"
    NOT_READY = "not_ready"
    """It answers, and says why."""
    STOPPING = "stopping"
    SILENT = "silent"
    """It does not answer."""


@dataclass(frozen=True, slots=True)
class ListedNode:
    """One node, as all nodes say together. None: only the node itself could say it, and it is silent."""

    node_id: str
    http: str
    peer: str
    alive: bool
    """Whether it answered just now."""
    incarnation: str
    leads: int
    replicas: int
    """That are placed on it."""
    number: int | None
    state: NodeState
    reasons: Sequence[str]
    """Why it is not ready."""
    draining: bool
    """Its replicas are on their way to other nodes, or gone, and it gets none."""
    rack: str
    version: str | None
    data_bytes: int | None
    """Of its replicas' segment files."""
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    last_seen_ms: int | None
    """Unix milliseconds by the cluster's clock, when any node heard it last; None: not since they started."""


@dataclass(frozen=True, slots=True)
class RecoveryInfo:
    """A recovery from the loss of a majority. ``at_ms``: when it was decided, Unix milliseconds."""

    cluster_epoch: int
    at_ms: int
    lost_nodes: Sequence[str]
    recovered_partitions: int
    """Partitions that had lost their majority: the last records of each may be missing."""
    emptied_partitions: int
    """Partitions of which nothing was left."""


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """The cluster as this node sees it."""

    cluster_id: str
    node_id: str
    metadata_leader: str | None
    metadata_voters: Sequence[str]
    nodes: Sequence[NodeInfo]
    topics: int
    partitions: int
    leaderless_partitions: int
    under_replicated_partitions: int
    cluster_epoch: int = 0
    """How often it was recovered: nodes with data of an earlier epoch are refused."""
    recoveries: Sequence[RecoveryInfo] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a partition holds: offsets log_start_offset <= o < high_watermark can be read."""

    log_start_offset: int
    high_watermark: int


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer to a produce. With acks=none ``first_offset`` is -1. ``duplicate``: stored before."""

    first_offset: int
    next_offset: int
    high_watermark: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """Frames as they lie on disk (see floodmark.format.frame), and where to go on.

    ``next_offset`` is the offset behind the last frame, or the one asked for when there is none. The
    first frame may begin before the offset asked for: the reader skips.
    """

    frames: bytes
    next_offset: int
    bounds: Bounds


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this node is ready, and why not."""

    ready: bool
    reasons: Sequence[str] = field(default_factory=list)
    warnings: Sequence[str] = field(default_factory=list)
    """What somebody has to look at, though this node can serve."""


class Unreadable(StorageUnavailable):
    """A replica cannot read what it stores. It is mended or gives way: ask again, wherever the leader is."""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What a node says of itself, and of the partitions that it leads."""

    node_id: str
    ready: bool
    reasons: Sequence[str] = ()
    warnings: Sequence[str] = ()
    takes_replicas: bool = False
    """It has been ready since it started."""
    partitions_max: int = 0
    """So many replicas it takes; 0 where that is not known."""
    leads: int = 0
    under_replicated: int = 0
    """Of the partitions that it leads, those with a replica that is not in sync."""
    under_replicated_named: Sequence[str] = ()
    """Some of them, as topic/partition."""
    unreachable: Sequence[str] = ()
    """Nodes of the cluster that this one has no connection to."""
    stopping: bool = False
    version: str | None = None
    """Of the build; None from builds that do not say it, as the next three."""
    data_bytes: int | None = None
    """Of segment files."""
    disk_free_bytes: int | None = None
    """On the data folder's disk; None before it was first looked at, too."""
    disk_total_bytes: int | None = None
    heard_ms_ago: Mapping[str, int] = field(default_factory=dict)
    """The nodes that it has met since it started, and how long ago each was heard last."""


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """Whether anything is wrong anywhere, as all nodes say together."""

    healthy: bool
    node_id: str
    """Who was asked."""
    reasons: Sequence[str]
    nodes: Sequence[NodeHealth]
    """Those that answered."""


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """A replica that is on its way to be one: entries and, by their share of the log, bytes that it lacks."""

    node: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MoveInfo:
    """One partition whose replicas go to other nodes; Kafka calls it a reassignment.

    ``replicas`` are those that it has, ``target`` those that it is to have, the preferred leader first.
    ``leader``, ``voters``, ``catching_up`` and ``arrived`` are the leader's word: None and empty without it.
    """

    topic: str
    partition: int
    number: int
    started: bool
    reason: str
    replicas: Sequence[str]
    target: Sequence[str]
    adding: Sequence[str]
    removing: Sequence[str]
    leader: str | None = None
    voters: Sequence[str] = ()
    catching_up: Sequence[CatchingUp] = ()
    arrived: bool = False
    """The group's members are the target, and nobody else; committed."""


@dataclass(frozen=True, slots=True)
class MoveWanted:
    """Where a partition's replicas are to go, the preferred leader first; None undoes what is under way."""

    topic: str
    partition: int
    replicas: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class DrainInfo:
    """A node whose replicas go elsewhere: how many it has still, preferred leaders among them."""

    node_id: str
    draining: bool
    replicas: int
    preferred: int
    moving: int
    """Those that are on their way now; the others wait for their turn."""
    done: bool
    removing: bool = False
    """When it is done the node is removed from the cluster."""
    replaced_by: str | None = None
    """The node that gets all that this one has."""
    waiting_for: Sequence[str] = ()
    """Where replicas are left for which nothing moves: why each of the other nodes takes none."""


@dataclass(frozen=True, slots=True)
class TooFew:
    """A partition with fewer replicas than its topic wants. ``left``: the nodes that can have one."""

    topic: str
    partition: int
    replication_factor: int
    left: Sequence[str]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A partition that a node cannot leave now, and why."""

    topic: str
    partition: int
    reason: str


@dataclass(frozen=True, slots=True)
class RemovalInfo:
    """What would become of a node's partitions if it were removed now. ``alive``: whether it answers."""

    node_id: str
    alive: bool
    replicas: int
    too_few: Sequence[TooFew]
    blocked: Sequence[Blocked]


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """What a rebalance has one partition do. ``bytes`` is about what the new replicas have to fetch."""

    topic: str
    partition: int
    replicas: Sequence[str]
    target: Sequence[str]
    bytes: int


@dataclass(frozen=True, slots=True)
class NodeShare:
    """A node's replicas and preferred leaderships, now and after a rebalance."""

    node_id: str
    replicas: int
    replicas_then: int
    preferred: int
    preferred_then: int
    lacking: str | None = None
    """Why it takes no replicas now; None where it does."""


@dataclass(frozen=True, slots=True)
class RebalanceInfo:
    """Whether a rebalance goes on, and what is still to be moved, or would be."""

    rebalancing: bool
    bytes: int
    nodes: Sequence[NodeShare]
    moves: Sequence[PlannedMove]


@dataclass(frozen=True, slots=True)
class NodeLevels:
    """The feature levels that a registered node's build knows, both ends included."""

    node_id: str
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True)
class Features:
    """What the cluster has agreed to use. The same on every node."""

    level: int
    """The feature level that is finalized."""
    can_finalize: int | None
    """The highest level above it that every node of the cluster knows, if there is one."""
    nodes: Sequence[NodeLevels]
    """In order of id."""


class Partition(Protocol):
    """One partition of a topic, from this node's point of view.

    It belongs to one topic id: it never becomes the partition of a topic that is made later under the name.
    """

    topic: str
    topic_id: int
    number: int

    @property
    def leader(self) -> str | None:
        """Node id of the leader as far as is known."""

    @property
    def leads_here(self) -> bool:
        """Whether this node is the leader and can serve."""

    async def wait_leader(self, *, deadline_s: float) -> str:
        """The leader's node id, waiting for an election to end. Raises ``Unavailable``."""

    def doubt_leader(self, node: str) -> None:
        """``node``, asked as the leader, did not serve: who relies on it without hearing it looks again."""

    async def produce(
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        acks: Acks,
        timeout_s: float,
        expected_offset: int | None = None,
    ) -> Appended:
        """Append one checked batch; only where ``leads_here``.

        Raises FeatureLevelNeeded (of the batch's format), Unavailable (not stored), OutcomeUnknown,
        TooManyRequests, TooManyProducers, ProducerFenced
        (current_epoch), OutOfOrderSequence (expected_sequence), SequenceReused (first_offset, next_offset:
        of the records that are stored under it), OffsetMismatch (next_offset), StorageFull.
        """

    def produce_records(
        self, records: Sequence[Record], *, size: int, timeout_s: float
    ) -> Awaitable[Appended]:
        """Append records of ``size`` bytes that no producer has packed, with acks=quorum.

        They stay together and in order; others' that arrive at the same time may share their batch.
        Only where ``leads_here``; raises as ``produce`` does.
        """

    async def fetch(self, offset: int, *, max_bytes: int, verify: bool = False) -> Fetched:
        """Committed frames from ``offset`` on; empty when there are none yet.

        ``verify``: payloads that fail their checksums are not handed out. Raises OffsetBelowStart,
        OffsetPastEnd (log_start_offset, high_watermark), Unavailable; Unreadable for what is damaged here.
        """

    async def wait_records(self, offset: int, *, wait_s: float) -> bool:
        """Wait until a record is committed at ``offset``; False when the time is up. Raises as ``fetch``."""

    def bounds(self) -> Bounds:
        """As known here, without asking anybody."""

    async def tail(self, *, timeout_s: float) -> Bounds:
        """The bounds, with leadership confirmed by a majority after the call began."""

    async def offset_at_time(self, timestamp_ms: int) -> int:
        """The offset of the first record with a timestamp of at least this; high watermark if none."""


class Broker(Protocol):
    """A node."""

    node_id: str

    def topic(self, name: str) -> TopicInfo:
        """Raises UnknownTopic, InvalidName."""

    @property
    def batch_format(self) -> int:
        """The highest format of record batches that the cluster's feature level takes, as known here."""

    def topic_limits(self, name: str) -> TopicLimits:
        """Raises UnknownTopic, InvalidName."""

    async def describe_topic(self, name: str, *, timeout_s: float) -> TopicInfo:
        """The topic with every partition as its leader sees it, where that one answers in time.

        Raises UnknownTopic, InvalidName.
        """

    def topics(self, *, prefix: str, after: str, limit: int) -> list[TopicInfo]:
        """In order of name."""

    def partition(self, topic: str, number: int) -> Partition:
        """Raises UnknownTopic, UnknownPartition."""

    def when_deleted(self, topic: str, topic_id: int, tell: Callable[[], None]) -> Callable[[], None]:
        """Have ``tell`` called once when this node learns that the topic is deleted; what undoes that.

        The topic is there when this is called.
        """

    def check_current(self) -> None:
        """Raises Unavailable where what this node knows of topics and nodes is of the past, and stays so.

        The HTTP room calls it before it shows them; those who ask for one topic hear it anyway.
        """

    async def catch_up(self, *, timeout_s: float) -> None:
        """Wait until this node knows every topic change that was acknowledged before the call.

        The HTTP room calls it once before it answers that a topic does not exist.
        """

    @property
    def metadata_leads_here(self) -> bool:
        """Whether topic changes can be made on this node; else forward to ``wait_metadata_leader``."""

    async def wait_metadata_leader(self, *, timeout_s: float) -> str:
        """Node id of the metadata group's leader. Raises ``Unavailable``."""

    def doubt_metadata_leader(self, node: str) -> None:
        """``node``, asked as the metadata's leader, did not serve."""

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int,
        replication_factor: int,
        config: TopicConfig,
        timeout_s: float,
    ) -> tuple[TopicInfo, bool]:
        """(the topic, whether it was created now). Only where ``metadata_leads_here``, as the next two.

        A ``replication_factor`` of 0: three, or one per node where these are fewer. Raises TopicExists,
        InvalidRequest, Conflict (too few nodes are ready), Unavailable, OutcomeUnknown.

        Returns once this node has applied it and, where that happens in time, all partitions have leaders.
        """

    async def alter_topic(self, name: str, changes: dict[str, Any], *, timeout_s: float) -> TopicInfo:
        """Change some of the configuration."""

    async def change_replication_factor(self, name: str, factor: int, *, timeout_s: float) -> TopicInfo:
        """Have more replicas of each partition, or fewer; moves bring them there by and by.

        Only where ``metadata_leads_here``, as the next one. Raises FeatureLevelNeeded, InvalidRequest,
        Conflict (too few nodes are there), UnknownTopic, Unavailable, OutcomeUnknown.
        """

    async def add_partitions(self, name: str, partitions: int, *, timeout_s: float) -> tuple[TopicInfo, bool]:
        """Have so many partitions, and whether they are more than before: then keys go to others.

        Raises as the one before, and as ``create_topic``.
        """

    async def delete_topic(self, name: str, *, timeout_s: float) -> None:
        """Remove the topic and its data on every node."""

    def cluster(self) -> ClusterInfo:
        """The whole picture."""

    async def list_nodes(self) -> list[ListedNode]:
        """In order of id, asked now: the same whoever is asked."""

    def node_url(self, node_id: str) -> str | None:
        """The advertised HTTP base URL of a node, from the replicated metadata only."""

    def hears(self, node_id: str) -> bool:
        """Whether this node has heard of another one a moment ago."""

    def health(self) -> Health:
        """For /readyz."""

    def node_health(self) -> NodeHealth:
        """This node alone."""

    async def cluster_health(self) -> ClusterHealth:
        """All nodes, asked now."""

    async def forget_node(self, node_id: str, *, timeout_s: float) -> None:
        """Strike a node off that is none of the cluster's own; only where ``metadata_leads_here``.

        Raises NotFound, Conflict (it belongs here, is connected, or is needed), Unavailable, OutcomeUnknown.
        """

    async def moves_led_here(self) -> list[MoveInfo]:
        """The moves of partitions that this node leads, as it sees them."""

    async def moves(self, *, timeout_s: float) -> list[MoveInfo]:
        """All that are queued or under way, in order of topic and partition; as of after the call began.

        Raises Unavailable.
        """

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[MoveInfo]:
        """Have replicas go to other nodes, or none of them; only where ``metadata_leads_here``.

        Those of ``moves`` that are meant. Raises FeatureLevelNeeded, UnknownTopic, UnknownPartition,
        InvalidRequest, Conflict (a node can take no replicas, or somebody else moved them meanwhile),
        TooManyPartitions, Unavailable, OutcomeUnknown.
        """

    async def drain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Have all replicas and leaderships of a node go elsewhere; only where ``metadata_leads_here``.

        Raises FeatureLevelNeeded, NotFound, Conflict (they have no place to go), Unavailable, OutcomeUnknown.
        """

    async def undrain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Undo it; likewise."""

    async def drain_of(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """How far it is; as of after the call began. Raises NotFound, Unavailable."""

    async def removal(self, node_id: str, *, timeout_s: float) -> RemovalInfo:
        """What would become of its partitions; as of after the call began. Raises NotFound, Unavailable."""

    async def retire(self, node_id: str, *, heir: str, timeout_s: float) -> DrainInfo:
        """Drain it, and then remove it; only where ``metadata_leads_here``. What is so already is fine.

        ``heir``: the node that gets all that it has; "": partitions may have fewer replicas than they should.
        Raises FeatureLevelNeeded, NotFound, InvalidRequest, Conflict (something would be lost, or the heir
        cannot), Unavailable, OutcomeUnknown.
        """

    async def leave_metadata_to_others(self, node_id: str, *, timeout_s: float) -> None:
        """Where this is that node and leads the metadata: somebody else does, if anybody can."""

    def sizes_led_here(self) -> dict[int, int]:
        """Bytes of the partitions that this node leads, by group id."""

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        """Even out replicas and leaders, or end and undo that; only where ``metadata_leads_here``.

        Raises FeatureLevelNeeded, Unavailable, OutcomeUnknown.
        """

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        """What it would do, and whether it goes on; as of after the call began. Raises Unavailable."""

    async def features(self, *, timeout_s: float) -> Features:
        """As of after the call began. Raises Unavailable."""

    async def raise_level(self, level: int, *, timeout_s: float) -> Features:
        """Raise the feature level, for good; only where ``metadata_leads_here``. The present one is fine.

        Raises Conflict (it would be lowered, or a node does not know it), Unavailable, OutcomeUnknown.
        """

    async def new_producer(self, *, timeout_s: float) -> tuple[int, int]:
        """An id above 0 that no producer has had, and its first epoch; only where ``metadata_leads_here``.

        Raises FeatureLevelNeeded, Unavailable.
        """

    async def next_epoch(self, producer_id: int, epoch: int, *, timeout_s: float) -> tuple[int, int]:
        """What the producer goes on with behind this epoch; only where ``metadata_leads_here``.

        A new id where it has no epoch any more. Raises NotFound (the id was given to nobody) besides.
        """

    def uploads(self, address: str, *, from_node: bool) -> Account:
        """What one request from ``address`` may hold of the bytes of bodies that this node has under way.

        What other nodes pass on is counted apart: whoever fills the one leaves room in the other.
        """
