"""What a member has, and the epoch in which it got each partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from node.coordinator import values
from node.coordinator.keys import TopicPartition
from node.coordinator.values import CurrentValue

Epochs = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Current:
    """``owned`` and ``revoking`` map partitions to the epochs in which the member got them.

    ``previous_epoch`` is the member's epoch before this one: an answer that was lost may have left it there.
    """

    epoch: int = 0
    previous_epoch: int = 0
    owned: Epochs = field(default_factory=dict)
    revoking: Epochs = field(default_factory=dict)

    @classmethod
    def of(cls, value: bytes) -> Current:
        """As stored."""
        found = values.decode(CurrentValue, value)
        return cls(found.epoch, found.previous_epoch, _flat(found.owned), _flat(found.revoking))

    def encode(self) -> bytes:
        """To be stored; equal ones have equal bytes."""
        return values.encode(
            CurrentValue(
                epoch=self.epoch,
                previous_epoch=self.previous_epoch,
                owned=_packed(self.owned),
                revoking=_packed(self.revoking),
            )
        )

    def held(self) -> Iterator[TopicPartition]:
        """All that nobody else may get yet."""
        yield from self.owned
        yield from self.revoking

    def epoch_of(self, partition: TopicPartition) -> int | None:
        """In which it got a partition that it holds; None where it does not."""
        epoch = self.owned.get(partition)
        return self.revoking.get(partition) if epoch is None else epoch

    def anew(self, raised: Mapping[TopicPartition, int]) -> Current:
        """The same partitions, and some of them as if it had got them in these epochs."""
        return replace(
            self,
            owned={each: raised.get(each, since) for each, since in self.owned.items()},
            revoking={each: raised.get(each, since) for each, since in self.revoking.items()},
        )


def _packed(epochs: Epochs) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    together: dict[tuple[int, int], list[int]] = {}
    for (topic_id, number), epoch in sorted(epochs.items()):
        together.setdefault((topic_id, epoch), []).append(number)
    return tuple((topic_id, epoch, tuple(numbers)) for (topic_id, epoch), numbers in together.items())


def _flat(packed: tuple[tuple[int, int, tuple[int, ...]], ...]) -> Epochs:
    return {(topic_id, number): epoch for topic_id, epoch, numbers in packed for number in numbers}
