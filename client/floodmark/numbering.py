"""Under which id and epoch a producer's batches go: one for all its partitions at a time."""

from __future__ import annotations

import msgspec

from floodmark.batch import NO_PRODUCER


class Epoch(msgspec.Struct, frozen=True):
    """One stretch of numbering: in each partition its batches count from 0 on."""

    producer_id: bytes
    number: int

    @property
    def is_idempotent(self) -> bool:
        """Whether batches are numbered, so that one that is sent twice is stored once."""
        return self.producer_id != NO_PRODUCER

    def following(self, sequence: int) -> int:
        """The sequence behind a batch's."""
        return sequence + 1 if self.is_idempotent else 0

    def is_before(self, sequence: int, other: int) -> bool:
        """Whether a sequence comes before another one."""
        return sequence < other


class Numbering:
    """The epoch that a producer is in. ``owns_epoch``: it may be raised without asking anybody.

    A lane that needs new numbers moves the whole producer on. The others follow, each once nothing of its own
    is under way in an earlier epoch: a partition never sees two epochs of a producer mixed.
    """

    def __init__(self, producer_id: bytes = NO_PRODUCER, epoch: int = 0, *, owns_epoch: bool = True) -> None:
        self.current = Epoch(producer_id, epoch)
        self.owns_epoch = owns_epoch

    def move_on(self, seen: Epoch) -> Epoch:
        """The epoch that follows ``seen``: another lane may have begun it."""
        if self.current is seen:
            self.current = Epoch(seen.producer_id, seen.number + 1)
        return self.current
