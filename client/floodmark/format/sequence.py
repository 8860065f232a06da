"""How the sequences of idempotent producers count, for both sides of the wire.

A named producer's count batches: 0, 1, 2, ... A numbered producer's count records, as Kafka's do: a batch
has the number of its first record, the next batch that number plus the count of records, and 2^31 - 1 is
followed by 0. Because the numbers wrap around, one is before another if the way from it to the other is less
than half of the way round.
"""

from __future__ import annotations

from typing import Final

from floodmark.format.batch_header import RECORD_SEQUENCE_MAX, ProducerKind

_ROUND: Final = RECORD_SEQUENCE_MAX + 1


def following(kind: ProducerKind, sequence: int, count: int) -> int:
    """The sequence of the batch that follows one of ``count`` records."""
    return (sequence + count) % _ROUND if kind is ProducerKind.NUMBERED else sequence + 1


def is_before(kind: ProducerKind, sequence: int, other: int) -> bool:
    """Whether a sequence comes before another one."""
    if kind is ProducerKind.NUMBERED:
        return 0 < (other - sequence) % _ROUND <= _ROUND // 2
    return sequence < other


def covers(kind: ProducerKind, first: int, count: int, sequence: int) -> bool:
    """Whether a batch of ``count`` records with the sequence ``first`` includes the number ``sequence``."""
    if kind is ProducerKind.NUMBERED:
        return (sequence - first) % _ROUND < count
    return sequence == first
