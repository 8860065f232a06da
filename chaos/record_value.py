"""The records that workloads write: each is unique and names its producer, its number and its partition.

A value id is one number: the producer's number times 2^40, plus the record's number among its producer's,
rising in the order of the sends. As text it is ``3.17``; as a record's value it is ``3.17@orders/0|`` and a
filler that repeats the id, so that bytes of one record in the place of another's are noticed.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final

NUMBER_BITS: Final = 40
NUMBER_MAX: Final = (1 << NUMBER_BITS) - 1
PRODUCER_MAX: Final = (1 << 22) - 1
"""So that every value id is a positive signed integer of 64 bits."""

KEYS: Final = 40

FOREIGN: Final = -1
"""In place of the value of a record that no workload wrote."""

_HEAD = re.compile(rb"(\d{1,7})\.(\d{1,13})@([A-Za-z0-9._-]{1,249})/(\d{1,4})\|")


@dataclass(frozen=True, slots=True)
class RecordValue:
    """The content of a record's value."""

    value: int
    topic: str
    partition: int


def value_id(producer: int, number: int) -> int:
    """The id of a producer's record."""
    assert 0 <= producer <= PRODUCER_MAX, f"producers are numbered 0 to {PRODUCER_MAX}"
    assert 0 <= number <= NUMBER_MAX, f"records are numbered 0 to {NUMBER_MAX}"
    return producer << NUMBER_BITS | number


def producer_of(value: int) -> int:
    """The number of the producer that wrote a value."""
    return value >> NUMBER_BITS


def number_of(value: int) -> int:
    """The number of a value among its producer's."""
    return value & NUMBER_MAX


def key_of(value: int) -> bytes:
    """The key of a record in topics whose records have keys: some for all producers together."""
    return b"k%d" % (zlib.crc32(value.to_bytes(8, "little")) % KEYS)


def name_of(value: int) -> str:
    """A value id as text for people."""
    return "foreign" if value < 0 else f"{producer_of(value)}.{number_of(value)}"


def encode(value: int, topic: str, partition: int, *, size_bytes: int = 0) -> bytes:
    """The bytes of a record, at least ``size_bytes`` long where the head is shorter."""
    head = f"{name_of(value)}@{topic}/{partition}|".encode()
    return head + _filler(name_of(value).encode(), size_bytes - len(head))


def decode(data: bytes) -> RecordValue | None:
    """The content of a record's value, or None if any byte differs from what a workload wrote."""
    head = _HEAD.match(data)
    if head is None:
        return None
    producer, number = int(head[1]), int(head[2])
    if producer > PRODUCER_MAX or number > NUMBER_MAX:
        return None
    value = value_id(producer, number)
    if data[head.end() :] != _filler(name_of(value).encode(), len(data) - head.end()):
        return None
    return RecordValue(value, head[3].decode(), int(head[4]))


def _filler(name: bytes, length: int) -> bytes:
    if length <= 0:
        return b""
    unit = name + b" "
    return (unit * (length // len(unit) + 1))[:length]
