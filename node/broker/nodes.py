"""Nodes that are drained, replaced, removed or evened out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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


class NodeAdmin(Protocol):
    """Nodes that are drained, replaced, removed or evened out."""

    async def forget(self, node_id: str, *, timeout_s: float) -> None:
        """Strike a node off that is none of the cluster's own; only where ``metadata.leads_here``.

        Raises NotFound, Conflict (it belongs here, is connected, or is needed), Unavailable, OutcomeUnknown.
        """

    async def drain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Have all replicas and leaderships of a node go elsewhere; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, NotFound, Conflict (they have no place to go), Unavailable, OutcomeUnknown.
        """

    async def undrain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Undo it; likewise."""

    async def drain_of(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """How far it is; as of after the call began. Raises NotFound, Unavailable."""

    async def removal(self, node_id: str, *, timeout_s: float) -> RemovalInfo:
        """What would become of its partitions; as of after the call began. Raises NotFound, Unavailable."""

    async def retire(self, node_id: str, *, heir: str, timeout_s: float) -> DrainInfo:
        """Drain it, and then remove it; only where ``metadata.leads_here``. What is so already is fine.

        ``heir``: the node that gets all that it has; "": partitions may have fewer replicas than they should.
        Raises FeatureLevelNeeded, NotFound, InvalidRequest, Conflict (something would be lost, or the heir
        cannot), Unavailable, OutcomeUnknown.
        """

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        """Even out replicas and leaders, or end and undo that; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, Unavailable, OutcomeUnknown.
        """

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        """What it would do, and whether it goes on; as of after the call began. Raises Unavailable."""
