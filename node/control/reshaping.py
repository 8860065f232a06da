"""On the metadata's leader: plans the moves towards the wanted shape of the cluster, a part at a time.

The wanted shape (drains, replication factors, a rebalance) is in the metadata; the plan follows from that and
from the live nodes, so none of it is stored, and another leader goes on with the same.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog
from floodmark.errors import FloodmarkError

from node.control import internal_topics
from node.control.lacking import is_full, lacks
from node.health import HealthQuery
from node.membership.liveness import Silence
from node.metadata.command import Command
from node.metadata.domains.moves import CancelMoves
from node.metadata.domains.shape import Rebalance
from node.metadata.group import Metadata
from node.metadata.holders import all_holders
from node.metadata.levels import MEMBERSHIP
from node.planning.plan import Nodes, is_wanted, next_moves

LOOK_S: Final = 0.5
PROPOSE_S: Final = 2.0

_log = structlog.get_logger(__name__)


class Reshaping:
    """One task per node. ``evacuate_after_s``: how long a node is dead until it is given up; 0: never."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        health: HealthQuery,
        alive: Callable[[], Collection[str]],
        sizes: Callable[[], Awaitable[dict[int, int]]],
        evacuate_after_s: float,
    ) -> None:
        self._metadata = metadata
        self._health = health
        self._alive = alive
        self._sizes = sizes
        self._evacuate_after_s = evacuate_after_s
        self._silence = Silence(alive)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._dead()  # The next leader then knows it already.
            if not self._metadata.leads_here or self._metadata.state.level < MEMBERSHIP:
                continue
            try:
                await self._look()
            except FloodmarkError as error:
                _log.warning("moves_not_planned", reason=error.detail)

    async def nodes(self) -> Nodes:
        """The nodes that take replicas, the dead ones, and the sizes of partitions; asks every node."""
        said, _ = await self._health.everybody()
        state = self._metadata.state
        held = Counter(
            node
            for _, entry in state.partitions()
            for node in all_holders(entry, state.moves.get(entry.raft_group))
        )
        lacking = {
            node: why
            for node in {*state.nodes, *said}
            if (why := lacks(said.get(node), held[node], drained=node in state.draining))
        }
        return Nodes(
            [node for node in said if node not in lacking],
            dead=self._dead(),
            sizes=await self._sizes() if state.rebalancing else {},
            lacking=lacking,
            unsaid=set(self._alive()) & state.nodes.keys() - said.keys(),
        )

    async def _look(self) -> None:
        state = self._metadata.state
        for change in list(internal_topics.due(state)):
            await self._propose(change)
            _log.info("replication_factor_changed", topic=change.name, to=change.replication_factor)
        dead = self._dead()
        if any(move.started for move in state.moves.values()):
            await self._undo_to_full_disks()
        if not is_wanted(state, dead):
            return
        nodes = await self.nodes()
        if not self._metadata.leads_here:
            return
        planned = next_moves(state, nodes)
        await self._remove_retired()
        for command in planned:
            await self._propose(command)
            _log.info("moves_planned", count=len(command.moves), reason=command.reason)
        all_said = set(self._alive()) & state.nodes.keys() <= {*nodes.takes, *state.draining}
        if not planned and not state.moves and state.rebalancing and all_said:
            await self._propose(Rebalance(begin=False, number=state.rebalancing))
            _log.info("rebalanced")

    async def _remove_retired(self) -> None:
        """Remove retiring nodes once they hold nothing; one that leads the metadata transfers that first."""
        state = self._metadata.state
        if not state.retiring:
            return
        needed = {
            node
            for _, entry in state.partitions()
            for node in all_holders(entry, state.moves.get(entry.raft_group))
        }
        for node in sorted(state.retiring.keys() - needed - {self._metadata.leader}):
            await self._metadata.remove_node(node, timeout_s=PROPOSE_S)
            _log.info("node_removed", removed=node)

    def _dead(self) -> set[str]:
        """The nodes that have been silent for so long that they are given up."""
        seconds = self._evacuate_after_s or math.inf
        return self._silence.longer_than(seconds, self._metadata.state.nodes)

    async def _undo_to_full_disks(self) -> None:
        """Undo moves to nodes whose disks they would fill."""
        said, _ = await self._health.everybody()
        full = {node for node, own in said.items() if is_full(own)}
        state = self._metadata.state
        undone = {
            entry.raft_group: move.number
            for _, entry in state.partitions()
            if (move := state.moves.get(entry.raft_group)) is not None
            and move.started
            and full.intersection(move.replicas).difference(entry.replicas)
        }
        if undone:
            _log.warning("moves_undone", count=len(undone), reason=f"the disks of {sorted(full)} are full")
            await self._propose(CancelMoves(undone, "disk full"))

    async def _propose(self, command: Command) -> None:
        await self._metadata.propose(command, timeout_s=PROPOSE_S)
