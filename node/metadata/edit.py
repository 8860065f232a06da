"""The state while one command is applied to it: every write is recorded, and they come out as a delta."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Final

from node.metadata.delta import MetadataDelta
from node.metadata.state import MetadataState, Move, NodeEntry, PartitionEntry, TopicEntry

_NOTED: Final = frozenset({"applied_index", "topics", "nodes", "moves"})
_MEMBERS: Final = tuple(name for name in MetadataState.__struct_fields__ if name not in _NOTED)


class Edit:
    """Reads go to ``state``. Topics, nodes and moves are written by the methods here; the other members of
    the state are assigned, never changed in place: comparing tells which of them differ.
    """

    def __init__(self, state: MetadataState) -> None:
        self.state = state
        self._before: dict[str, Any] = {name: getattr(state, name) for name in _MEMBERS}
        self._topics: dict[str, TopicEntry | None] = {}
        self._configs: set[str] = set()
        self._partitions: set[int] = set()
        self._nodes: dict[str, NodeEntry | None] = {}
        self._moves: dict[int, Move | None] = {}

    def put_topic(self, topic: TopicEntry) -> None:
        """Add it, or replace the one of its name."""
        old = self.state.topics.get(topic.name)
        self.state.topics[topic.name] = self._topics[topic.name] = topic
        if old is not None and old.config != topic.config:
            self._configs.add(topic.name)
        had: tuple[PartitionEntry, ...] = old.partitions if old is not None else ()
        if had is topic.partitions:
            return
        places = self.state.places
        for before, after in zip_longest(had, topic.partitions):
            if before is not after:
                assert after is not None, "partitions are never taken away"
                places[after.raft_group] = (topic.name, after.number)
                self._partitions.add(after.raft_group)

    def remove_topic(self, topic: TopicEntry) -> None:
        """Remove it, and the moves of its partitions."""
        del self.state.topics[topic.name]
        self._topics[topic.name] = None
        for entry in topic.partitions:
            self.state.places.pop(entry.raft_group, None)
            self._partitions.add(entry.raft_group)
            self.remove_move(entry.raft_group)

    def put_node(self, node: NodeEntry) -> None:
        """Add it, or replace the one of its id."""
        self.state.nodes[node.node_id] = self._nodes[node.node_id] = node

    def remove_node(self, node_id: str) -> None:
        """Remove it, if it is there."""
        if self.state.nodes.pop(node_id, None) is not None:
            self._nodes[node_id] = None

    def put_move(self, raft_group: int, move: Move) -> None:
        """Set the partition's move."""
        self.state.moves[raft_group] = self._moves[raft_group] = move
        self._partitions.add(raft_group)

    def remove_move(self, raft_group: int) -> None:
        """Remove the partition's move, if it has one."""
        if self.state.moves.pop(raft_group, None) is not None:
            self._moves[raft_group] = None
            self._partitions.add(raft_group)

    def delta(self) -> MetadataDelta:
        """Everything that has changed so far."""
        state = self.state
        return MetadataDelta(
            topics=self._topics,
            configs=frozenset(self._configs),
            partitions=frozenset(self._partitions),
            nodes=self._nodes,
            moves=self._moves,
            members=frozenset(
                name
                for name, before in self._before.items()
                if (after := getattr(state, name)) is not before and after != before
            ),
        )
