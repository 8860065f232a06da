"""Draining, replacing, removing and rebalancing nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DrainInfo:
    """A node that is being drained: how many replicas it still has, and preferred leaders among them."""

    node_id: str
    draining: bool
    replicas: int
    preferred: int
    moving: int
    """Those that move now; the others wait for their turn."""
    done: bool
    removing: bool = False
    """When it is done the node is removed from the cluster."""
    replaced_by: str | None = None
    """The node that gets all its replicas."""
    waiting_for: Sequence[str] = ()
    """Where replicas are left and none moves: why each of the other nodes takes none."""


@dataclass(frozen=True, slots=True)
class TooFew:
    """A partition that would have fewer replicas than its topic wants. ``left``: nodes that can have one."""

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
    """What would happen to a node's partitions if it were removed now. ``alive``: whether it answers."""

    node_id: str
    alive: bool
    replicas: int
    too_few: Sequence[TooFew]
    blocked: Sequence[Blocked]


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A rebalance's move of one partition. ``bytes``: about what the new replicas have to fetch."""

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
    """Whether a rebalance is under way, and what is still to move, or would."""

    rebalancing: bool
    bytes: int
    nodes: Sequence[NodeShare]
    moves: Sequence[PlannedMove]


class NodeAdmin(Protocol):
    """Draining, replacing, removing and rebalancing nodes."""

    async def forget(self, node_id: str, *, timeout_s: float) -> None:
        """Forget a node that is not one of the cluster's own; only where ``metadata.leads_here``.

        Raises NotFound, Conflict (it belongs here, is connected, or is needed), Unavailable, OutcomeUnknown.
        """

    async def drain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Move all replicas and leaderships of a node elsewhere; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, NotFound, Conflict (they have no place to go), Unavailable, OutcomeUnknown.
        """

    async def undrain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Undo a drain; only where ``metadata.leads_here``. Raises as ``drain``."""

    async def drain_of(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """A drain's progress, as of after the call began. Raises NotFound, Unavailable."""

    async def removal(self, node_id: str, *, timeout_s: float) -> RemovalInfo:
        """What would happen to its partitions, as of after the call began. Raises NotFound, Unavailable."""

    async def retire(self, node_id: str, *, heir: str, timeout_s: float) -> DrainInfo:
        """Drain it, then remove it; only where ``metadata.leads_here``. Idempotent.

        ``heir``: the node that gets all that it has; "": partitions may have fewer replicas than they should.
        Raises FeatureLevelNeeded, NotFound, InvalidRequest, Conflict (something would be lost, or the heir
        cannot), Unavailable, OutcomeUnknown.
        """

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        """Begin a rebalance, or end it and undo its moves; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, Unavailable, OutcomeUnknown.
        """

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        """What a rebalance would move, and whether one is under way; as of after the call began.

        Raises Unavailable.
        """
