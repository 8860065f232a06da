"""Removes and replaces nodes that still hold replicas.

Both are drains that end with the node's removal. This checks what has to hold before anything begins; the
moves are planned from the metadata (node/planning/repair.py), and so go on under any leader.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

from floodmark.errors import Conflict, InvalidRequest, NotFound

from node.broker import Blocked, PartitionInfo, RemovalInfo, TooFew, TopicInfo
from node.metadata.domains.shape import RetireNode
from node.metadata.group import Metadata
from node.metadata.holders import all_holders, targets_of
from node.metadata.state import INTERNAL_TOPICS, MetadataState, PartitionEntry, TopicEntry
from node.planning.plan import Nodes

NAMED_MAX = 10
_ELECTION_S = 2.0
"""Longer than an election takes, and short enough to wait for a refusal."""
_LOOK_S = 0.1


class Retiring:
    """Changes are made on the metadata group's leader only. ``nodes`` asks all nodes; ``describe`` shows
    partitions as their leaders see them.
    """

    def __init__(
        self,
        *,
        metadata: Metadata,
        nodes: Callable[[], Awaitable[Nodes]],
        describe: Callable[[str], Awaitable[TopicInfo]],
        alive: Callable[[], Collection[str]],
    ) -> None:
        self._metadata = metadata
        self._nodes = nodes
        self._describe = describe
        self._alive = alive

    async def removal(self, node: str, *, timeout_s: float) -> RemovalInfo:
        """What would happen to its partitions if it were removed now; as of after the call began."""
        await self._metadata.catch_up(timeout_s=timeout_s)
        self._check_known(node)
        plan = await self._removal(node, await self._nodes())
        if node in self._metadata.state.retiring:  # It was judged before its removal began.
            return dataclasses.replace(plan, blocked=())
        return plan

    async def remove(self, node: str, *, timeout_s: float) -> None:
        """Begin a removal; idempotent. Raises NotFound, Conflict (what would be lost), ..."""
        await self._metadata.must_lead(timeout_s=timeout_s)
        self._check_known(node)
        if node not in self._metadata.state.retiring:
            plan = await self._removal(node, await self._nodes())
            _check(node, plan.blocked)
        await self._metadata.propose(RetireNode(node), timeout_s=timeout_s)

    async def replace(self, node: str, heir: str, *, timeout_s: float) -> None:
        """Begin a replacement; idempotent. Raises NotFound, InvalidRequest, Conflict, ..."""
        await self._metadata.must_lead(timeout_s=timeout_s)
        state = self._metadata.state
        self._check_known(node)
        if heir == node:
            raise InvalidRequest(
                f"a machine that comes back as {node} with an empty disk is rebuilt by itself: start it; "
                "a replacement is for one that comes under another name",
                node=node,
            )
        if state.retiring.get(node) != heir:
            nodes = await self._nodes()
            self._check_heir(node, heir, nodes)
            _check(node, (await self._removal(node, nodes)).blocked)
        await self._metadata.propose(RetireNode(node, heir), timeout_s=timeout_s)

    def _check_heir(self, node: str, heir: str, nodes: Nodes) -> None:
        state = self._metadata.state
        if heir in state.removed:
            raise Conflict(
                f"{heir} was removed from the cluster, and its id never returns: start the new machine under "
                "another name",
                node=heir,
            )
        if heir not in state.nodes:
            raise Conflict(
                f"the cluster has no node {heir[:64]}: start the new machine with --join first",
                node=heir[:64],
            )
        if node in self._alive():
            raise Conflict(
                f"{node} runs: `floodmark node drain {node}` and then `floodmark node remove {node}` need no "
                "replacement for it; stop it first if it is to be given up",
                node=node,
            )
        if why := nodes.lacking.get(heir):
            raise Conflict(f"{heir} {why}: it cannot take the place of {node}", node=heir)
        check_places(state, node, heir)

    async def _removal(self, node: str, nodes: Nodes) -> RemovalInfo:
        state = self._metadata.state
        held = [
            (topic, entry)
            for topic, entry in state.partitions()
            if node in all_holders(entry, state.moves.get(entry.raft_group))
        ]
        free = set(nodes.takes) - {node} - state.draining.keys()
        seen = await self._once_led(held)
        is_there = node in self._alive()
        return RemovalInfo(
            node_id=node,
            alive=is_there,
            replicas=len(held),
            too_few=list(_too_few(node, held, free, state.draining)),
            blocked=[
                Blocked(topic.name, entry.number, why)
                for topic, entry in held
                if (why := _blocked(node, entry, seen.get((topic.name, entry.number)), free, there=is_there))
            ],
        )

    async def _once_led(
        self, held: list[tuple[TopicEntry, PartitionEntry]]
    ) -> dict[tuple[str, int], PartitionInfo]:
        """The partitions as their leaders see them; waits for elections, which are not a reason to refuse."""
        until = time.monotonic() + _ELECTION_S
        while True:
            seen = await self._seen({topic.name for topic, _ in held})
            found = [seen.get((topic.name, entry.number)) for topic, entry in held]
            if all(info is not None and info.leader for info in found) or time.monotonic() >= until:
                return seen
            await asyncio.sleep(_LOOK_S)

    async def _seen(self, topics: Collection[str]) -> dict[tuple[str, int], PartitionInfo]:
        infos = await asyncio.gather(*map(self._describe, sorted(topics)))
        return {(topic.name, info.partition): info for topic in infos for info in topic.partitions}

    def _check_known(self, node: str) -> None:
        if node not in self._metadata.state.nodes:
            raise NotFound(f"the cluster knows no node {node}", node=node)


def check_places(state: MetadataState, node: str, heir: str) -> None:
    """Check that each of the node's partitions can have as many replicas, in as many racks, with the heir.

    Raises ``Conflict``.
    """
    racks = {name: entry.rack for name, entry in state.nodes.items()}
    others = state.nodes.keys() - state.draining.keys() - {node}
    placeless, crowded = [], []
    for topic, entry in state.partitions():
        targets = targets_of(entry, state.moves.get(entry.raft_group))
        if node not in targets:
            continue
        named = f"{topic.name}/{entry.number}"
        rest = [racks.get(name, "") for name in targets if name != node]
        if heir in targets:
            if len(others) < topic.replication_factor and topic.name not in INTERNAL_TOPICS:
                placeless.append(named)
        elif len({*rest, racks[heir]}) < len({*rest, racks[node]}):
            crowded.append(named)
    if placeless:
        raise Conflict(
            f"{heir} has a replica itself of {len(placeless)} partitions of {node}, {placeless[0]} for "
            "one, and there is no other node for a further one: let one more node join",
            node=heir,
            partitions=placeless[:NAMED_MAX],
        )
    if crowded:
        raise Conflict(
            f"{len(crowded)} partitions of {node}, {crowded[0]} for one, would be in fewer racks with "
            f"{heir} (rack {racks[heir]!r}) in place of {node} (rack {racks[node]!r}): take a node of "
            f"that rack, or let `floodmark node drain {node}` choose",
            node=heir,
            partitions=crowded[:NAMED_MAX],
        )


def _too_few(
    node: str,
    held: list[tuple[TopicEntry, PartitionEntry]],
    free: Collection[str],
    draining: Mapping[str, int],
) -> Iterator[TooFew]:
    """The partitions that would have fewer replicas than their topics want."""
    for topic, entry in held:
        rest = [name for name in entry.replicas if name != node and name not in draining]
        places = [name for name in free if name not in rest]
        if len(rest) + len(places) < topic.replication_factor and topic.name not in INTERNAL_TOPICS:
            left = [name for name in entry.replicas if name != node]
            yield TooFew(topic.name, entry.number, topic.replication_factor, [*left, *sorted(places)])


def _blocked(
    node: str, entry: PartitionEntry, seen: PartitionInfo | None, free: Collection[str], *, there: bool
) -> str:
    """What would be lost or unavailable; "" where the others have everything, and a majority."""
    others = [name for name in entry.replicas if name != node]
    if not others and not (there and free):
        return "its only replica is there: delete the topic, if its records may be lost"
    if seen is None or seen.leader is None:
        return "it has no leader: bring the nodes of its other replicas back, or see `floodmark recover`"
    in_sync = [name for name in seen.in_sync if name in others]
    if others and 2 * len(in_sync) <= len(others):
        lacking = ", ".join(sorted(set(others) - set(in_sync)))
        return f"without {node} no majority of its replicas is in sync ({lacking} not): wait for them"
    return ""


def _check(node: str, blocked: Collection[Blocked]) -> None:
    if blocked:
        first = next(iter(blocked))
        raise Conflict(
            f"{node} cannot go: of {len(blocked)} partitions records could be lost or not be served any "
            f"more; {first.topic}/{first.partition}: {first.reason}",
            node=node,
            partitions=[f"{each.topic}/{each.partition}" for each in blocked][:NAMED_MAX],
        )
