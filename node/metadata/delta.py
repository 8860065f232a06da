"""What one change of the metadata has changed, so that nobody has to walk over all of them to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.metadata.state import Move, NodeEntry, TopicEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataDelta:
    """What is another one than before; the new entry, or None where there is none any more.

    ``is_whole``: the state was replaced, by a snapshot, and anything may be another one. Nothing else is said
    then: look at the whole state.
    """

    is_whole: bool = False
    topics: Mapping[str, TopicEntry | None] = field(default_factory=dict)
    """By name. One that was deleted and made again under its name comes in two deltas."""
    configs: frozenset[str] = frozenset()
    """Names of the topics that were there and have another configuration."""
    partitions: frozenset[int] = frozenset()
    """Groups of the partitions that were added or removed, or have other replicas, or another move."""
    nodes: Mapping[str, NodeEntry | None] = field(default_factory=dict)
    moves: Mapping[int, Move | None] = field(default_factory=dict)
    """By group."""
    members: frozenset[str] = frozenset()
    """The names of the other members of ``MetadataState`` that are different: ``level``, ``draining``, ..."""

    def __bool__(self) -> bool:
        return bool(self.is_whole or self.topics or self.nodes or self.moves or self.members)

    def concerns(self, *members: str) -> bool:
        """Whether any of these members of the state may be another one: ``nodes``, ``level``, ..."""
        if self.is_whole or not self.members.isdisjoint(members):
            return True
        return ("nodes" in members and bool(self.nodes)) or ("moves" in members and bool(self.moves))


WHOLE = MetadataDelta(is_whole=True)
