"""Where all replicas are to be, as a plan is made; it starts from the targets of the present moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from node.metadata.domains.moves import Reassignment
from node.metadata.holders import targets_of
from node.metadata.state import MetadataState, Move, PartitionEntry, TopicEntry


@dataclass(slots=True)
class Part:
    """One partition. ``target``: where its replicas go by this plan, the preferred leader first."""

    topic: TopicEntry
    entry: PartitionEntry
    move: Move | None
    target: tuple[str, ...]

    @property
    def before(self) -> tuple[str, ...]:
        """Where they would go without this plan."""
        return targets_of(self.entry, self.move)

    def reassignment(self) -> Reassignment:
        """The change, relative to the state that the plan was made from."""
        number = self.move.number if self.move is not None else 0
        return Reassignment(self.entry.raft_group, list(self.entry.replicas), list(self.target), number)


class Layout:
    """All partitions in order of group id, and how many replicas and leaders each node is to have."""

    def __init__(self, state: MetadataState) -> None:
        self.parts = sorted(_parts(state), key=lambda part: part.entry.raft_group)
        self.load = Counter[str]()
        self.leads = Counter[str]()
        for part in self.parts:
            self._count(part, 1)

    def put(self, part: Part, target: tuple[str, ...]) -> None:
        """Plan other replicas for a partition."""
        self._count(part, -1)
        part.target = target
        self._count(part, 1)

    def changed(self) -> list[Part]:
        """The partitions that this plan moves, or gives another preferred leader."""
        return [part for part in self.parts if part.target != part.before]

    def _count(self, part: Part, by: int) -> None:
        for node in part.target:
            self.load[node] += by
        self.leads[part.target[0]] += by


def _parts(state: MetadataState) -> Iterator[Part]:
    for topic in state.topics.values():
        for entry in topic.partitions:
            move = state.moves.get(entry.raft_group)
            yield Part(topic, entry, move, targets_of(entry, move))
