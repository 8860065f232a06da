"""The cluster: its nodes, what is wrong with them, and what they have agreed on."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


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
    """An int32 above 0 that no other node ever has; None for a node that is not the cluster's own."""


class NodeState(enum.StrEnum):
    """What a node is doing, as it says itself."""

    READY = "ready"
    NOT_READY = "not_ready"
    """It answers, and says why."""
    STOPPING = "stopping"
    SILENT = "silent"
    """It does not answer."""


@dataclass(frozen=True, slots=True)
class ListedNode:
    """One node, as all nodes together see it. None: only the node itself could tell, and it is silent."""

    node_id: str
    http: str
    peer: str
    alive: bool
    """Whether it answered just now."""
    incarnation: str
    leads: int
    replicas: int
    """How many are placed on it."""
    number: int | None
    state: NodeState
    reasons: Sequence[str]
    """Why it is not ready."""
    draining: bool
    """Its replicas are on their way to other nodes, or gone, and it gets none."""
    rack: str
    version: str | None
    data_bytes: int | None
    """What its replicas take up: segment files, checkpoints, state files of shards."""
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    last_seen_ms: int | None
    """When any node last heard it, Unix milliseconds by the cluster's clock; None: not since they started."""


@dataclass(frozen=True, slots=True)
class RecoveryInfo:
    """A recovery from the loss of a majority. ``at_ms``: when it was decided, Unix milliseconds."""

    cluster_epoch: int
    at_ms: int
    lost_nodes: Sequence[str]
    recovered_partitions: int
    """Partitions that had lost their majority: the last records of each may be missing."""
    emptied_partitions: int
    """Partitions that had no replica left."""


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
    """How often it was recovered; nodes with data of an earlier epoch are refused."""
    recoveries: Sequence[RecoveryInfo] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """Whether this node is ready, and why not."""

    ready: bool
    reasons: Sequence[str] = field(default_factory=list)
    warnings: Sequence[str] = field(default_factory=list)
    """What an operator should look at, though this node can serve."""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What a node tells of itself and of the partitions that it leads."""

    node_id: str
    ready: bool
    reasons: Sequence[str] = ()
    warnings: Sequence[str] = ()
    takes_replicas: bool = False
    """It has been ready since it started."""
    partitions_max: int = 0
    """How many replicas it takes; 0 where that is not known."""
    leads: int = 0
    shards_led: int = 0
    """How many of those are shards of the coordinator."""
    under_replicated: int = 0
    """How many of the partitions that it leads have a replica that is not in sync."""
    under_replicated_named: Sequence[str] = ()
    """Some of them, as topic/partition."""
    unreachable: Sequence[str] = ()
    """Nodes of the cluster that this one has no connection to."""
    stopping: bool = False
    version: str | None = None
    """The build's version; None, like the next three, from builds that do not tell it."""
    data_bytes: int | None = None
    """Size of all segment files."""
    disk_free_bytes: int | None = None
    """Free on the data folder's disk; also None before the first look."""
    disk_total_bytes: int | None = None
    heard_ms_ago: Mapping[str, int] = field(default_factory=dict)
    """Node met since the start -> milliseconds since it was last heard."""


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """Whether anything is wrong anywhere, as all nodes together see it."""

    healthy: bool
    node_id: str
    """Who was asked."""
    reasons: Sequence[str]
    nodes: Sequence[NodeHealth]
    """Those that answered."""


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
    """The finalized feature level."""
    can_finalize: int | None
    """The highest level above it that every node of the cluster knows, if there is one."""
    nodes: Sequence[NodeLevels]
    """In order of id."""


class ClusterView(Protocol):
    """The cluster as a whole, and the feature level that it has agreed on."""

    def show(self) -> ClusterInfo:
        """The whole picture."""

    async def list_nodes(self) -> list[ListedNode]:
        """All nodes, in order of id, asked now: the same answer whichever node is asked."""

    def node_health(self) -> NodeHealth:
        """This node alone."""

    async def health(self) -> ClusterHealth:
        """All nodes, asked now."""

    async def features(self, *, timeout_s: float) -> Features:
        """As of after the call began. Raises Unavailable."""

    async def raise_level(self, level: int, *, timeout_s: float) -> Features:
        """Raise the feature level, for good; only where ``metadata.leads_here``. The present level is fine.

        Raises Conflict (that would lower it, or a node does not know it), Unavailable, OutcomeUnknown.
        """
