"""The cluster and its nodes, as the node that answers sees them."""

from __future__ import annotations

import msgspec


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``http`` is the base URL that it advertises."""

    node_id: str
    http: str
    peer: str = ""
    alive: bool = True
    incarnation: str = ""
    leads: int = 0
    replicas: int = 0
    number: int | None = None
    """An int32 above 0, never given to another node. None when a node of an older build answers."""
    state: str = ""
    """ready, not_ready, stopping or silent. "" when a node of an older build answers, or a single node."""
    reasons: list[str] = []
    """Why it is not ready."""
    draining: bool = False
    """True while its replicas move to other nodes, and after that: it gets no new ones."""
    rack: str = ""
    version: str | None = None
    """None where the node did not report it, like the next three."""
    data_bytes: int | None = None
    """Bytes of its replicas' segment files."""
    disk_free_bytes: int | None = None
    disk_total_bytes: int | None = None
    last_seen_ms: int | None = None
    """When any node last heard from it, Unix milliseconds by the cluster's clock; None: not since they
    started."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery from the loss of a majority of the nodes."""

    cluster_epoch: int
    at_ms: int
    """When it was decided, Unix milliseconds."""
    lost_nodes: list[str] = []
    recovered_partitions: int = 0
    """Partitions that had lost their majority: the last records of each may be missing."""
    emptied_partitions: int = 0
    """Partitions of which no replica was left."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The whole cluster."""

    cluster_id: str
    node_id: str
    metadata_leader: str | None = None
    metadata_voters: list[str] = []
    nodes: list[Node] = []
    topics: int = 0
    partitions: int = 0
    leaderless_partitions: int = 0
    under_replicated_partitions: int = 0
    cluster_epoch: int = 0
    """How often it was recovered: nodes with data of an earlier epoch are refused."""
    recoveries: list[Recovery] = []
