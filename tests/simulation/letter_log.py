"""The dead letter topic of a simulated queue: it keeps records, and of each source how far it came."""

from __future__ import annotations

from dataclasses import dataclass, field

from node.coordinator.keys import TopicPartition
from node.coordinator.queues.requests import Place
from tests.simulation.violation import require

Died = tuple[int, Place]
"""A number, and the record that died."""


@dataclass
class _Source:
    epoch: int = 0
    number: int = 0
    offsets: dict[int, int] = field(default_factory=dict)
    """Where each number is."""


class LetterLog:
    """Behaves as a partition with positions does: what does not rise, or is of an earlier epoch, is refused;
    the same batch in one epoch is stored once. ``careless``: it looks at none of that."""

    def __init__(self, *, careless: bool) -> None:
        self.letters: list[tuple[TopicPartition, int, Place]] = []
        self._sources: dict[TopicPartition, _Source] = {}
        self._careless = careless

    def take_over(self, source: TopicPartition) -> tuple[int, int, dict[int, int]]:
        """An epoch begins: its number, the number after the last letter, and where all are."""
        found = self._sources.setdefault(source, _Source())
        found.epoch += 1
        return found.epoch, found.number, dict(found.offsets)

    def store(self, source: TopicPartition, epoch: int, letters: list[Died]) -> dict[int, int] | None:
        """Where they are now; None: refused."""
        found = self._sources.setdefault(source, _Source())
        if not self._careless:
            if epoch != found.epoch:
                return None
            if letters[0][0] < found.number:
                return {number: found.offsets[number] for number, _ in letters}
        for number, place in letters:
            twice = any(each[:2] == (source, number) or each[2] == place for each in self.letters)
            require(not twice, "each dead letter is stored once", lambda at=place, n=number: f"{at} as {n}")
            found.offsets[number] = len(self.letters)
            found.number = number + 1
            self.letters.append((source, number, place))
        return {number: found.offsets[number] for number, _ in letters}
