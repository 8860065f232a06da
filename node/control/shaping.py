"""Drains and rebalances, as operators ask for them, and their progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from floodmark.errors import Conflict, NotFound

from node.broker import DrainInfo, NodeShare, PlannedMove, RebalanceInfo
from node.metadata.domains.shape import DrainNode, Rebalance, UndrainNode
from node.metadata.group import Metadata
from node.metadata.holders import holders
from node.metadata.state import INTERNAL_TOPICS
from node.planning.layout import Layout
from node.planning.plan import Nodes, plan_rebalance


class Shaping:
    """Changes are made on the metadata group's leader only. ``nodes`` asks all nodes."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        nodes: Callable[[], Awaitable[Nodes]],
        sizes: Callable[[], Awaitable[dict[int, int]]],
    ) -> None:
        self._metadata = metadata
        self._nodes = nodes
        self._sizes = sizes

    async def drain(self, node: str, *, timeout_s: float) -> DrainInfo:
        """Begin a drain; idempotent. Raises NotFound, Conflict (the replicas have no place to go), ..."""
        await self._metadata.must_lead(timeout_s=timeout_s)
        state = self._metadata.state
        self._check_known(node)
        left = len(state.nodes.keys() - state.draining.keys() - {node})
        lacking = [
            topic.name
            for topic in state.topics.values()
            if topic.replication_factor > left and topic.name not in INTERNAL_TOPICS
        ]
        if node not in state.draining and lacking:
            raise Conflict(
                f"without {node} there are {left} nodes, and {len(lacking)} topics want more replicas than "
                f"that, {lacking[0]} for one: add a node, or lower their replication factor",
                node=node,
                topics=lacking[:10],
            )
        await self._metadata.propose(DrainNode(node), timeout_s=timeout_s)
        return await self._drain_of(node)

    async def undrain(self, node: str, *, timeout_s: float) -> DrainInfo:
        """End a drain; moves under way turn back. Idempotent."""
        await self._metadata.must_lead(timeout_s=timeout_s)
        self._check_known(node)
        if node in self._metadata.state.draining:
            await self._metadata.propose(UndrainNode(node), timeout_s=timeout_s)
        return await self._drain_of(node)

    async def drain_of(self, node: str, *, timeout_s: float) -> DrainInfo:
        """A drain's progress, as of after the call began."""
        await self._metadata.catch_up(timeout_s=timeout_s)
        self._check_known(node)
        return await self._drain_of(node)

    async def _drain_of(self, node: str) -> DrainInfo:
        state = self._metadata.state
        replicas = preferred = moving = resting = 0
        for _, entry in state.partitions():
            move = state.moves.get(entry.raft_group)
            if node in holders(entry, move):
                replicas += 1
                preferred += entry.replicas[0] == node
                resting += move is None
                moving += move is not None and move.started and node not in move.replicas
        is_drained = node in state.draining
        lacking = (await self._nodes()).lacking if is_drained and resting else {}
        return DrainInfo(
            node_id=node,
            draining=is_drained,
            replicas=replicas,
            preferred=preferred,
            moving=moving,
            done=is_drained and replicas == 0,
            removing=node in state.retiring,
            replaced_by=state.retiring.get(node) or None,
            waiting_for=[f"{name} {why}" for name, why in sorted(lacking.items()) if name != node],
        )

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        """Begin a rebalance, or end it and undo its moves; idempotent."""
        await self._metadata.must_lead(timeout_s=timeout_s)
        await self._metadata.propose(Rebalance(begin=begin), timeout_s=timeout_s)
        return await self._plan()

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        """What a rebalance would move now, and whether one is under way."""
        await self._metadata.catch_up(timeout_s=timeout_s)
        return await self._plan()

    async def _plan(self) -> RebalanceInfo:
        nodes = await self._nodes()
        sizes = await self._sizes()
        state = self._metadata.state
        layout = Layout(state)
        load, leads = layout.load.copy(), layout.leads.copy()
        racks = {node: entry.rack for node, entry in state.nodes.items() if node not in state.draining}
        taking = {node: racks[node] for node in sorted(nodes.takes) if node in racks}
        if taking:
            # With many partitions this would block the event loop for too long.
            await asyncio.to_thread(plan_rebalance, layout, taking, sizes)
        moves = [
            PlannedMove(
                topic=part.topic.name,
                partition=part.entry.number,
                replicas=part.before,
                target=part.target,
                bytes=sizes.get(part.entry.raft_group, 0) * len(set(part.target) - set(part.before)),
            )
            for part in layout.changed()
        ]
        return RebalanceInfo(
            rebalancing=state.rebalancing != 0,
            bytes=sum(move.bytes for move in moves),
            nodes=[
                NodeShare(
                    node,
                    load[node],
                    layout.load[node],
                    leads[node],
                    layout.leads[node],
                    nodes.lacking.get(node),
                )
                for node in sorted(state.nodes)
            ],
            moves=moves,
        )

    def _check_known(self, node: str) -> None:
        if node not in self._metadata.state.nodes:
            raise NotFound(f"the cluster knows no node {node}", node=node)
