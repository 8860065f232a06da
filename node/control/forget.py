"""Removes a node for good.

From feature level 3 on that can be any node without replicas, and its id is never reused. Below it only a
node that has no place in the cluster can be forgotten: an earlier build registered it because it knew the
secret. Its replicas have never run, and others get them; nodes that the cluster was formed of are never
forgotten there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from floodmark.errors import Conflict, NotFound

from node.broker import PartitionInfo, TopicInfo
from node.control.placeable import Placeable
from node.metadata.domains.nodes import ForgetNode
from node.metadata.group import Metadata
from node.metadata.holders import all_holders
from node.metadata.levels import MEMBERSHIP

NAMED_MAX = 10


class Forgetting:
    """Works on the metadata group's leader only. ``describe`` shows partitions as their leaders see them."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        placeable: Placeable,
        describe: Callable[[str], Awaitable[TopicInfo]],
        alive: Callable[[], Collection[str]],
    ) -> None:
        self._metadata = metadata
        self._placeable = placeable
        self._describe = describe
        self._alive = alive

    async def forget(self, node: str, *, timeout_s: float) -> None:
        """Raises NotFound, Conflict, Unavailable, OutcomeUnknown."""
        self._metadata.check_leads()
        if self._metadata.state.level >= MEMBERSHIP:
            await self._remove(node, timeout_s)
            return
        if node in self._metadata.membership.members:
            raise Conflict(
                f"{node} is one of the nodes that this cluster was formed of, and has a replica of the "
                "metadata: it cannot be forgotten. When its disk is lost, start it with an empty folder",
                node=node,
            )
        if node not in self._metadata.state.nodes:
            raise NotFound(f"the cluster knows no node {node}", node=node)
        if node in self._alive():
            raise Conflict(f"{node} is connected: stop it before it is forgotten", node=node)
        await self._check_partitions(node)
        command = ForgetNode(node, await self._replacements(node))
        await self._metadata.propose(command, timeout_s=timeout_s)

    async def _remove(self, node: str, timeout_s: float) -> None:
        """From feature level 3 on any node can be removed for good, once it has no replicas."""
        await self._metadata.confirm_lead(timeout_s=timeout_s)
        state = self._metadata.state
        held = [
            f"{topic.name}/{entry.number}"
            for topic, entry in state.partitions()
            if node in all_holders(entry, state.moves.get(entry.raft_group))
        ]
        if held:
            raise Conflict(
                f"{node} has, or is to have, replicas of {len(held)} partitions, such as {held[0]}: without "
                f"them these would have fewer than they should. `floodmark node drain {node}` moves them, "
                f"also where it is dead; `floodmark node remove {node} --force` does without",
                node=node,
                partitions=held[:NAMED_MAX],
            )
        await self._metadata.remove_node(node, timeout_s=timeout_s)

    async def _check_partitions(self, node: str) -> None:
        """Raises ``Conflict`` unless each of its partitions has a majority without it."""
        needing = []
        for name, topic in list(self._metadata.state.topics.items()):
            if not any(node in entry.replicas for entry in topic.partitions):
                continue
            described = await self._describe(name)
            needing += [f"{name}/{info.partition}" for info in described.partitions if _needs(info, node)]
        if needing:
            more = f" and {len(needing) - NAMED_MAX} more" if len(needing) > NAMED_MAX else ""
            raise Conflict(
                f"{node} cannot be forgotten now: without it there is no majority in sync, or no leader, of "
                f"{', '.join(needing[:NAMED_MAX])}{more}. Bring the others back, or delete the topics",
                node=node,
                partitions=needing[:NAMED_MAX],
            )

    async def _replacements(self, node: str) -> dict[int, str]:
        """For each of its partitions another node, the one with the fewest replicas, where there is one."""
        candidates = (await self._placeable()).racks
        topics = self._metadata.state.topics.values()
        load = Counter(name for topic in topics for entry in topic.partitions for name in entry.replicas)
        chosen: dict[int, str] = {}
        for topic in topics:
            for entry in topic.partitions:
                free = [name for name in candidates if name not in entry.replicas]
                if node in entry.replicas and free:
                    best = min(free, key=lambda name: (load[name], name))
                    load[best] += 1
                    chosen[entry.raft_group] = best
        return chosen


def _needs(info: PartitionInfo, node: str) -> bool:
    if node not in info.replicas:
        return False
    others = [name for name in info.in_sync if name != node]
    return info.leader in (None, node) or len(others) < len(info.replicas) // 2 + 1
