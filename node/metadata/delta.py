"""What one change of the metadata changed, so that nobody has to walk the whole state to find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.metadata.state import Move, NodeEntry, TopicEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataDelta:
    """What differs from before: the new entry, or None where it was removed.

    ``is_whole``: a snapshot replaced the state, so anything may have changed. The other fields are empty
    then: look at the whole state.
    """

    is_whole: bool = False
    topics: Mapping[str, TopicEntry | None] = field(default_factory=dict)
    """By name. A topic that is deleted and created again under its name comes in two deltas."""
    configs: frozenset[str] = frozenset()
    """Names of existing topics whose configuration changed."""
    partitions: frozenset[int] = frozenset()
    """Groups of the partitions that were added or removed, or whose replicas or move changed."""
    nodes: Mapping[str, NodeEntry | None] = field(default_factory=dict)
    moves: Mapping[int, Move | None] = field(default_factory=dict)
    """By group."""
    members: frozenset[str] = frozenset()
    """The names of the other members of ``MetadataState`` that are different: ``level``, ``draining``, ..."""

    def __bool__(self) -> bool:
        return bool(self.is_whole or self.topics or self.nodes or self.moves or self.members)

    def concerns(self, *members: str) -> bool:
        """Whether any of these members of the state may have changed: ``nodes``, ``level``, ..."""
        if self.is_whole or not self.members.isdisjoint(members):
            return True
        return ("nodes" in members and bool(self.nodes)) or ("moves" in members and bool(self.moves))


WHOLE = MetadataDelta(is_whole=True)
