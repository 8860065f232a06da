"""Which nodes new replicas may be placed on: the cluster's own that are alive and have been ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from floodmark.errors import Conflict

from node.health import HealthQuery
from node.membership.discovery import Discovery
from node.metadata.group import Metadata


@dataclass(frozen=True, slots=True)
class Candidates:
    """``racks``: the nodes that take replicas, and their racks. ``lacking``: why the others do not.

    ``limits``: how many replicas nodes of ``racks`` take.
    """

    racks: dict[str, str]
    lacking: dict[str, str]
    limits: dict[str, int]

    def check(self, replication_factor: int) -> None:
        """Raises ``Conflict`` where there are too few for now."""
        if replication_factor <= len(self.racks) or not self.lacking:
            return
        reasons = ", ".join(f"{node} {why}" for node, why in self.lacking.items())
        raise Conflict(
            f"replication_factor {replication_factor} is not possible now: {len(self.racks)} nodes can take "
            f"replicas ({reasons}). Try again once they are ready, or ask for a smaller one",
            nodes=len(self.racks),
        )


class Placeable:
    """Once a process has been ready it counts while it is alive: what it lacks for a moment comes back."""

    def __init__(
        self,
        *,
        node_id: str,
        metadata: Metadata,
        discovery: Discovery,
        health: HealthQuery,
        alive: Callable[[], Collection[str]],
    ) -> None:
        self._node_id = node_id
        self._metadata = metadata
        self._discovery = discovery
        self._health = health
        self._alive = alive
        self._been_ready: dict[str, tuple[str, int]] = {}
        """Node -> its process that has been ready, and how many replicas that one takes."""

    async def __call__(self) -> Candidates:
        """Look now; asks nodes that are not known to have been ready."""
        nodes, members = self._metadata.state.nodes, self._metadata.membership.members
        known = sorted({*nodes, *members})
        lacking = dict(zip(known, await asyncio.gather(*map(self._lacks, known)), strict=True))
        return Candidates(
            {node: nodes[node].rack for node, why in lacking.items() if not why},
            {node: why for node, why in lacking.items() if why},
            {node: self._limit_of(node) for node, why in lacking.items() if not why},
        )

    def _limit_of(self, node: str) -> int:
        """A node's limit; for one that does not tell it (earlier builds), this node's."""
        _, limit = self._been_ready.get(node, ("", 0))
        return limit or self._health.here().partitions_max

    async def _lacks(self, node: str) -> str:
        """What keeps replicas from a node; "" when nothing does."""
        if node not in self._metadata.membership.members:
            return "is not one of the cluster's nodes"
        if node not in self._metadata.state.nodes:
            return "has not joined"
        if node in self._metadata.state.draining:
            return "is being drained"
        if node == self._node_id:
            return "" if self._health.here().takes_replicas else "is not ready yet"
        return await self._lacks_there(node) if node in self._alive() else "does not answer"

    async def _lacks_there(self, node: str) -> str:
        said = self._discovery.nodes.get(node)
        process = said.process if said is not None else ""
        if process and self._been_ready.get(node, ("", 0))[0] == process:
            return ""
        health = await self._health.there(node)
        if health is None:
            return "does not answer"
        if not health.takes_replicas:
            return "is not ready yet"
        self._been_ready[node] = process, health.partitions_max
        return ""
