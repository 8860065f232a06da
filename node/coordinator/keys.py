"""Keys of a coordinator shard's state: a kind, the name of the group or queue, and what is its own.

A key is one byte of kind, one byte with the length of the name in UTF-8, the name, and the rest: nothing for
the group or queue itself, a member's id in UTF-8, or for a committed offset the topic's id (8 bytes) and
the partition (4 bytes), big-endian. Kinds from ``QUEUES_FROM`` on are those of queues: what follows the
name is the same topic's id and partition, and for all but a source an offset or a number (8 bytes). Keys
never change: what another build needs is another kind.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from floodmark.errors import InvalidRequest

NAME_BYTES_MAX: Final = 255
"""Of a group's name, and of a member's id and instance id."""

QUEUES_FROM: Final = 16
"""Keys of this kind and above are of queues: a queue and a group may have the same name."""

_OFFSET: Final = struct.Struct(">QI")
_NUMBER: Final = struct.Struct(">QIQ")
_NOUNS: Final = ("group", "queue")
TopicPartition = tuple[int, int]
"""A topic's id and the number of a partition."""


class Kind(IntEnum):
    """What a key stands for. The numbers are stored."""

    GROUP = 1
    MEMBER = 2
    TARGET = 3
    """What a member is to have."""
    CURRENT = 4
    """What a member has, and its epoch."""
    OFFSET = 5

    QUEUE = 16
    SOURCE = 17
    """How far a queue is in a partition."""
    RUN = 18
    """Records in one state, by the first offset of them."""
    TIMES = 19
    """Records that are not to be delivered yet, by the first offset of them."""
    LEFT = 20
    """Which ones of such records still wait for that."""
    DEAD = 21
    """A dead letter, by its number."""


class Key(NamedTuple):
    """A key in its parts. ``member`` is "" and ``partition`` None where it has none."""

    kind: int
    group: str
    member: str = ""
    partition: TopicPartition | None = None


def group_key(group: str) -> bytes:
    """Of the group itself. Raises ``InvalidRequest`` for a name that is empty or too long."""
    return _head(Kind.GROUP, group)


def member_key(group: str, member: str) -> bytes:
    """What a member said of itself."""
    return _head(Kind.MEMBER, group) + member.encode()


def target_key(group: str, member: str) -> bytes:
    """What a member is to have."""
    return _head(Kind.TARGET, group) + member.encode()


def current_key(group: str, member: str) -> bytes:
    """What a member has."""
    return _head(Kind.CURRENT, group) + member.encode()


def offset_key(group: str, partition: TopicPartition) -> bytes:
    """The offset that a group has committed for a partition."""
    return _head(Kind.OFFSET, group) + _OFFSET.pack(*partition)


def queue_key(queue: str) -> bytes:
    """Of the queue itself. Raises ``InvalidRequest`` for a name that is empty or too long."""
    return _head(Kind.QUEUE, queue)


def source_key(queue: str, partition: TopicPartition) -> bytes:
    """How far a queue is in a partition."""
    return _head(Kind.SOURCE, queue) + _OFFSET.pack(*partition)


def numbered_key(kind: Kind, queue: str, partition: TopicPartition, number: int) -> bytes:
    """Of a run, of times and what is left of them (by offset), of a dead letter (by number)."""
    return _head(kind, queue) + _NUMBER.pack(*partition, number)


def queue_of(key: bytes) -> str:
    """The queue that a key belongs to; "" for another key. Raises ``ValueError`` for bytes that are none."""
    return name_of(key) if key[0] >= QUEUES_FROM else ""


def numbered(key: bytes) -> tuple[int, int, int]:
    """Topic's id, partition and number of a queue's key; the number is 0 where it has none.

    Raises ``ValueError`` for another.
    """
    rest = len(key) - 2 - key[1] if len(key) > 2 else -1
    if rest == _NUMBER.size:
        topic_id, partition, number = _NUMBER.unpack_from(key, 2 + key[1])
        return topic_id, partition, number
    if rest != _OFFSET.size:
        raise ValueError("a queue's key that names no partition")
    topic_id, partition = _OFFSET.unpack_from(key, 2 + key[1])
    return topic_id, partition, 0


def kind_of(key: bytes) -> int:
    """The kind, which this build may not know."""
    return key[0]


def group_of(key: bytes) -> str:
    """The group that a key belongs to; "" for one of a queue. Raises ``ValueError`` for bytes that are no
    key."""
    name = name_of(key)
    return name if key[0] < QUEUES_FROM else ""


def partition_of(key: bytes) -> TopicPartition:
    """Of a key of an offset. Raises ``ValueError`` for another."""
    if len(key) < 2 or key[0] != Kind.OFFSET or len(key) != 2 + key[1] + _OFFSET.size:
        raise ValueError("not the key of an offset")
    topic_id, partition = _OFFSET.unpack_from(key, 2 + key[1])
    return topic_id, partition


def parse(key: bytes) -> Key:
    """All parts of it. Raises ``ValueError`` for bytes that are no key."""
    group = name_of(key)
    if key[0] == Kind.OFFSET:
        return Key(Kind.OFFSET, group, partition=partition_of(key))
    return Key(key[0], group, key[2 + key[1] :].decode())


def name_of(key: bytes) -> str:
    """The group's or queue's, whatever the kind. Raises ``ValueError`` for bytes that are no key."""
    if len(key) < 2 or len(key) < 2 + key[1]:
        raise ValueError("a key that ends within its name")
    return key[2 : 2 + key[1]].decode()


def _head(kind: Kind, group: str) -> bytes:
    name = group.encode()
    if not 0 < len(name) <= NAME_BYTES_MAX:
        raise InvalidRequest(f"the name of a {_NOUNS[kind >= QUEUES_FROM]} has 1 to {NAME_BYTES_MAX} bytes")
    return bytes((kind, len(name))) + name
