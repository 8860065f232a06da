"""The id and epoch of a producer's batches: one at a time for all its partitions."""

from __future__ import annotations

import msgspec

from floodmark.errors import NotUsable
from floodmark.format import sequence as counting
from floodmark.format.batch import NO_PRODUCER, ProducerKind
from floodmark.format.limits import PRODUCER_EPOCH_MAX


class Epoch(msgspec.Struct, frozen=True):
    """One epoch of a producer: in each partition its sequences begin with 0."""

    producer_id: bytes = NO_PRODUCER
    number: int = 0
    kind: ProducerKind = ProducerKind.NONE

    @property
    def is_idempotent(self) -> bool:
        """Whether batches are numbered, so that one that is sent twice is stored once."""
        return self.kind is not ProducerKind.NONE

    def following(self, sequence: int, count: int) -> int:
        """The sequence that follows that of a batch of ``count`` records."""
        return counting.following(self.kind, sequence, count) if self.is_idempotent else 0

    def is_before(self, sequence: int, other: int) -> bool:
        """Whether a sequence comes before another one."""
        return counting.is_before(self.kind, sequence, other)


class Numbering:
    """The current epoch of a producer. ``owns_epoch``: the producer may raise it by itself.

    A sender that needs new numbers moves the whole producer on. The other senders follow, each once it has
    nothing under way in an earlier epoch: a partition never sees two epochs of a producer mixed.
    """

    def __init__(self, epoch: Epoch, *, owns_epoch: bool = True, batch_format: int = 1) -> None:
        self.current = epoch
        self.owns_epoch = owns_epoch
        self.batch_format = 2 if epoch.kind is ProducerKind.NUMBERED else batch_format
        """The format of new batches; it can rise with the cluster's feature level."""

    def move_on(self, seen: Epoch) -> Epoch:
        """The epoch that follows ``seen``: another sender may have begun it.

        Raises ``NotUsable`` after the last one. Going on under another id would be wrong: late requests of an
        epoch are fenced only by a later epoch of the same id.
        """
        if self.current is seen:
            if seen.kind is ProducerKind.NUMBERED and seen.number >= PRODUCER_EPOCH_MAX:
                raise NotUsable(
                    f"this producer has used all of its {PRODUCER_EPOCH_MAX + 1} epochs: open another one",
                    sent=False,
                )
            self.current = msgspec.structs.replace(seen, number=seen.number + 1)
        return self.current
