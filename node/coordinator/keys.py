"""Keys of a coordinator shard's state: a kind, the group's name, and what is the group's own.

A key is one byte of kind, one byte with the length of the group's name in UTF-8, the name, and the rest:
nothing for the group itself, a member's id in UTF-8, or for a committed offset the topic's id (8 bytes) and
the partition (4 bytes), big-endian. Keys never change: what another build needs is another kind.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from floodmark.errors import InvalidRequest

NAME_BYTES_MAX: Final = 255
"""Of a group's name, and of a member's id and instance id."""

_OFFSET: Final = struct.Struct(">QI")
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


def kind_of(key: bytes) -> int:
    """The kind, which this build may not know."""
    return key[0]


def group_of(key: bytes) -> str:
    """The group that a key belongs to, whatever its kind. Raises ``ValueError`` for bytes that are no key."""
    if len(key) < 2 or len(key) < 2 + key[1]:
        raise ValueError("a key that ends within its group's name")
    return key[2 : 2 + key[1]].decode()


def partition_of(key: bytes) -> TopicPartition:
    """Of a key of an offset. Raises ``ValueError`` for another."""
    if len(key) < 2 or key[0] != Kind.OFFSET or len(key) != 2 + key[1] + _OFFSET.size:
        raise ValueError("not the key of an offset")
    topic_id, partition = _OFFSET.unpack_from(key, 2 + key[1])
    return topic_id, partition


def parse(key: bytes) -> Key:
    """All parts of it. Raises ``ValueError`` for bytes that are no key."""
    group = group_of(key)
    if key[0] == Kind.OFFSET:
        return Key(Kind.OFFSET, group, partition=partition_of(key))
    return Key(key[0], group, key[2 + key[1] :].decode())


def _head(kind: Kind, group: str) -> bytes:
    name = group.encode()
    if not 0 < len(name) <= NAME_BYTES_MAX:
        raise InvalidRequest(f"a group's name has 1 to {NAME_BYTES_MAX} bytes")
    return bytes((kind, len(name))) + name
