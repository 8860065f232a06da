"""The cluster and its nodes, as one of them sees them."""

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
    """An int32 above 0, never another node's. None where nodes of an older build answer."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """The whole picture."""

    cluster_id: str
    node_id: str
    metadata_leader: str | None = None
    metadata_voters: list[str] = []
    nodes: list[Node] = []
    topics: int = 0
    partitions: int = 0
    leaderless_partitions: int = 0
    under_replicated_partitions: int = 0
