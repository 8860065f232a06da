"""Requested moves of replicas: checked against the cluster's state, and put into the metadata."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from floodmark.errors import Conflict, InvalidRequest, NotFound, UnknownPartition, UnknownTopic
from floodmark.format.names import check_name

from node import outcomes
from node.broker import MoveWanted
from node.control.partition_room import PartitionRoom
from node.control.placeable import Placeable
from node.metadata.domains.moves import CancelMoves, MoveReplicas, Reassignment
from node.metadata.group import Metadata
from node.metadata.levels import MEMBERSHIP
from node.metadata.state import PartitionEntry, TopicEntry
from node.planning.plan import Nodes


class Reassign:
    """Works on the metadata group's leader only."""

    def __init__(
        self,
        *,
        metadata: Metadata,
        placeable: Placeable,
        nodes: Callable[[], Awaitable[Nodes]],
        room: PartitionRoom,
    ) -> None:
        self._metadata = metadata
        self._placeable = placeable
        self._nodes = nodes
        self._room = room

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[int]:
        """The groups of the partitions. See ``node.broker.Broker.move``."""
        metadata = self._metadata
        metadata.check_leads()
        if metadata.state.level < MEMBERSHIP:
            raise outcomes.needs_level("a move of replicas", MEMBERSHIP, metadata.state.level)
        await metadata.confirm_lead(timeout_s=timeout_s)
        found = [(item, *self._find(item)) for item in wanted]
        groups = [entry.raft_group for _, _, entry in found]
        if len(set(groups)) < len(groups):
            raise InvalidRequest("a partition is named twice")
        changes = [
            self._change(topic, entry, item.replicas)
            for item, topic, entry in found
            if item.replicas is not None
        ]
        candidates = await self._placeable() if changes else None
        if candidates is not None:
            _check(changes, candidates.lacking)
            coming = [[node for node in change.replicas if node not in change.expected] for change in changes]
            with self._room.held(metadata.state, coming, candidates.limits):
                _check(changes, (await self._nodes()).lacking)
                await metadata.propose(MoveReplicas(changes, "asked for"), timeout_s=timeout_s)
        undone = dict(self._undone([entry for item, _, entry in found if item.replicas is None]))
        if undone:
            await metadata.propose(CancelMoves(undone, "undone"), timeout_s=timeout_s)
        return groups

    def _find(self, item: MoveWanted) -> tuple[TopicEntry, PartitionEntry]:
        topic = self._metadata.state.topics.get(item.topic)
        if topic is None:
            check_name(item.topic)
            raise UnknownTopic(f"there is no topic {item.topic}", topic=item.topic)
        if not 0 <= item.partition < len(topic.partitions):
            raise UnknownPartition(
                f"topic {item.topic} has partitions 0 to {len(topic.partitions) - 1}, not {item.partition}",
                topic=item.topic,
                partitions=len(topic.partitions),
            )
        return topic, topic.partitions[item.partition]

    def _change(self, topic: TopicEntry, entry: PartitionEntry, replicas: Sequence[str]) -> Reassignment:
        state = self._metadata.state
        named = f"{topic.name}/{entry.number}"
        if len(set(replicas)) < len(replicas):
            raise InvalidRequest(f"the replicas of {named}: a node is named twice")
        if len(replicas) != topic.replication_factor:
            raise InvalidRequest(
                f"topic {topic.name} has {topic.replication_factor} replicas of each partition: name as many "
                f"nodes for {named}, not {len(replicas)}",
                topic=topic.name,
                replication_factor=topic.replication_factor,
            )
        for node in replicas:
            if node not in state.nodes:
                raise NotFound(
                    f"the cluster knows no node {node[:64]}: {named} cannot move there", node=node[:64]
                )
        move = state.moves.get(entry.raft_group)
        return Reassignment(
            entry.raft_group, list(entry.replicas), list(replicas), move.number if move is not None else 0
        )

    def _undone(self, entries: Sequence[PartitionEntry]) -> Iterator[tuple[int, int]]:
        for entry in entries:
            move = self._metadata.state.moves.get(entry.raft_group)
            if move is not None:
                yield entry.raft_group, move.number


def _check(changes: Sequence[Reassignment], lacking: Mapping[str, str]) -> None:
    """Raises ``Conflict`` where a replica would move to a node that takes none."""
    for change in changes:
        for node in change.replicas:
            if node not in change.expected and node in lacking:
                raise Conflict(f"node {node} {lacking[node]}: nothing moves there", node=node)
