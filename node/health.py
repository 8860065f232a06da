"""The cluster's health, from what every node says of itself: every node gives the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from floodmark.errors import Unavailable

from node.broker import ClusterHealth, Health, NodeHealth
from node.build_version import build_version
from node.metadata.group import Metadata
from node.metadata.state import COORDINATOR_TOPIC
from node.node_query import NodeQuery
from node.replicas.disk_reserve import DiskReserve
from node.replicas.replica_here import ReplicaHere
from node.views import lacks_replicas

CONFIRMED_WITHIN_S: Final = 2.0
NAMED_MAX: Final = 10
"""How many partitions a node names; it counts the others."""


class HealthQuery:
    """Asks all nodes at once. ``own`` is what this node's /readyz says."""

    def __init__(
        self,
        *,
        node_id: str,
        metadata: Metadata,
        local: Mapping[int, ReplicaHere],
        own: Callable[[], Health],
        partitions_max: int,
        is_opening: Callable[[], bool],
        query: NodeQuery,
        alive: Callable[[], Collection[str]],
        disk: DiskReserve,
        heard_ms_ago: Callable[[], Mapping[str, int]],
    ) -> None:
        self._node_id = node_id
        self._metadata = metadata
        self._local = local
        self._own = own
        self._partitions_max = partitions_max
        self._is_opening = is_opening
        self._query = query
        self._alive = alive
        self._disk = disk
        self._heard_ms_ago = heard_ms_ago
        self._version = build_version()

    def here(self) -> NodeHealth:
        """What this node tells of itself and of the partitions that it leads."""
        own, alive = self._own(), self._alive()
        leads, shards, lacking = 0, 0, []
        moves = self._metadata.state.moves
        for topic in self._metadata.state.topics.values():
            for entry in topic.partitions:
                replica = self._local.get(entry.raft_group)
                if replica is None or not replica.group.is_ready_leader:
                    continue
                leads += 1
                shards += topic.is_coordinator
                if lacks_replicas(replica.group, entry, moves.get(entry.raft_group), alive):
                    lacking.append(f"{topic.name}/{entry.number}")
        return NodeHealth(
            node_id=self._node_id,
            ready=own.ready,
            reasons=own.reasons,
            warnings=own.warnings,
            takes_replicas=self._metadata.is_current
            and self._metadata.halted is None
            and not self._is_opening(),
            partitions_max=self._partitions_max,
            leads=leads,
            shards_led=shards,
            under_replicated=len(lacking),
            under_replicated_named=lacking[:NAMED_MAX],
            unreachable=sorted(self._metadata.membership.members - set(alive)),
            version=self._version,
            data_bytes=sum(replica.data_bytes for replica in self._local.values()),
            disk_free_bytes=self._disk.free_bytes if self._disk.total_bytes else None,
            disk_total_bytes=self._disk.total_bytes or None,
            heard_ms_ago=self._heard_ms_ago(),
        )

    async def there(self, node: str) -> NodeHealth | None:
        """What another node says of itself; None when it does not answer."""
        return await self._query.health(node)

    async def cluster(self) -> ClusterHealth:
        """All nodes that belong to the cluster or are registered in it."""
        if self._metadata.group is None:
            here = self.here()
            return ClusterHealth(
                healthy=False, node_id=self._node_id, reasons=[_not_ready(here)], nodes=[here]
            )
        nodes, is_confirmed = await self.everybody()
        known = sorted({*self._others(), self._node_id})
        reasons = list(self._reasons([node for node in known if node not in nodes], nodes))
        if not is_confirmed:
            reasons.append("no leader of the metadata group is confirmed by a majority")
        return ClusterHealth(
            healthy=not reasons,
            node_id=self._node_id,
            reasons=reasons,
            nodes=[nodes[node] for node in sorted(nodes)],
        )

    async def everybody(self) -> tuple[dict[str, NodeHealth], bool]:
        """What each node that answers says of itself, and whether this node's metadata is up to date."""
        answering = asyncio.gather(*(self.there(node) for node in self._others()))
        is_confirmed = await self._is_confirmed()
        nodes = {answer.node_id: answer for answer in await answering if answer is not None}
        nodes[self._node_id] = self.here()
        return nodes, is_confirmed

    def _others(self) -> set[str]:
        return {*self._metadata.membership.members, *self._metadata.state.nodes} - {self._node_id}

    async def _is_confirmed(self) -> bool:
        """Whether this node's picture of the cluster is up to date."""
        try:
            await self._metadata.catch_up(timeout_s=CONFIRMED_WITHIN_S)
        except Unavailable:
            return False
        return True

    def _reasons(self, silent: list[str], nodes: Mapping[str, NodeHealth]) -> Iterator[str]:
        state, members = self._metadata.state, self._metadata.membership.members
        for node in silent:
            if node not in members:
                yield (
                    f"node {node} does not answer, and is not one of the cluster's nodes: "
                    f"`floodmark node forget {node}` takes it away"
                )
            else:
                yield f"node {node} does not answer" if node in state.nodes else f"node {node} has not joined"
        for node, health in sorted(nodes.items()):
            if not health.ready:
                yield _not_ready(health)
            cut_off = sorted(set(health.unreachable) - set(silent))
            if cut_off:
                yield f"node {node} cannot reach {', '.join(cut_off)}"
        total = sum(len(topic.partitions) for topic in state.topics.values())
        coordinator = state.topics.get(COORDINATOR_TOPIC)
        shards = len(coordinator.partitions) if coordinator is not None else 0
        unled = max(0, shards - sum(health.shards_led for health in nodes.values()))
        leaderless = total - unled - sum(health.leads for health in nodes.values())
        if leaderless > 0:
            yield f"{leaderless} partitions have no leader"
        if unled:
            yield (
                f"{unled} of {shards} shards of the coordinator have no leader: the groups that they keep "
                "neither commit nor rebalance"
            )
        lacking = sum(health.under_replicated for health in nodes.values())
        if lacking:
            named = sorted(name for health in nodes.values() for name in health.under_replicated_named)
            more = ", ..." if lacking > NAMED_MAX else ""
            yield f"{lacking} partitions have too few replicas in sync: {', '.join(named[:NAMED_MAX])}{more}"


def _not_ready(health: NodeHealth) -> str:
    return f"node {health.node_id} is not ready: {'; '.join(health.reasons)}"
