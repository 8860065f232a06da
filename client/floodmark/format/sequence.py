"""How the sequences of idempotent producers count, for both sides of the wire.

A named producer's count batches: 0, 1, 2, ... A numbered producer's count records, as Kafka's do: a batch
bears the number of its first record, the next one that number and the count of records, and behind 2^31 - 1
comes 0. What wraps around has no first and no last: of two such numbers the earlier is the one from which it
is less than half of the way round to the other.
"""

from __future__ import annotations

from typing import Final

from floodmark.format.batch_header import RECORD_SEQUENCE_MAX, ProducerKind

_ROUND: Final = RECORD_SEQUENCE_MAX + 1


def following(kind: ProducerKind, sequence: int, count: int) -> int:
    """The sequence of the batch behind one of ``count`` records."""
    return (sequence + count) % _ROUND if kind is ProducerKind.NUMBERED else sequence + 1


def is_before(kind: ProducerKind, sequence: int, other: int) -> bool:
    """Whether a sequence comes before another one."""
    if kind is ProducerKind.NUMBERED:
        return 0 < (other - sequence) % _ROUND <= _ROUND // 2
    return sequence < other


def covers(kind: ProducerKind, first: int, count: int, sequence: int) -> bool:
    """Whether a batch of ``count`` records that bears ``first`` takes up the number ``sequence``."""
    if kind is ProducerKind.NUMBERED:
        return (sequence - first) % _ROUND < count
    return sequence == first
