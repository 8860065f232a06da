"""What is asked of a group, and what it answers. Time is in milliseconds; topics are meant by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from node.coordinator.keys import TopicPartition

NO_LEADER_EPOCH = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A member comes, or comes back after it was fenced: it has no partitions. Repeating it is harmless.

    ``member_id`` is unique (a UUID) and chosen before the first try. With ``instance_id`` it takes the place
    of the member that had it, at once.
    """

    member_id: str
    instance_id: str | None = None
    topics: tuple[str, ...] = ()
    pattern: str | None = None
    assignor: str = ""
    """``sticky`` or ``range``; "" leaves it to the others, and is sticky where nobody says."""
    session_timeout_ms: int = 45_000
    rebalance_timeout_ms: int = 300_000
    client_id: str = ""
    address: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """A member lives. ``owned`` is what it holds, None if that did not change since its last answer came.

    ``topics`` and ``pattern`` are given where its subscription changes (``pattern`` "" takes it away).
    """

    member_id: str
    epoch: int
    instance_id: str | None = None
    owned: frozenset[TopicPartition] | None = None
    topics: tuple[str, ...] | None = None
    pattern: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Leave:
    """A member goes. With ``for_a_while`` a static member's partitions are kept until its session ends."""

    member_id: str
    epoch: int | None = None
    """None: whatever it is (an administrator removes the member)."""
    instance_id: str | None = None
    for_a_while: bool = False


class Granted(NamedTuple):
    """A partition that a member has. Where ``epoch`` rises, its position is void: it begins again at the
    committed offset."""

    topic_id: int
    partition: int
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberAnswer:
    """What a member is told: it works on ``owned`` and no other partition, in this ``epoch``."""

    member_id: str
    epoch: int
    group_epoch: int
    owned: tuple[Granted, ...]
    """In order of topic and partition."""
    revoking: tuple[TopicPartition, ...]
    """It commits what it has done there, and says with the ``owned`` of a heartbeat that it gave them up."""
    waiting: int
    """Partitions that it is to have as soon as others have given them up."""
    session_timeout_ms: int
    rebalance_timeout_ms: int


class Position(NamedTuple):
    """What is committed for one partition: the next offset to read."""

    offset: int
    leader_epoch: int = NO_LEADER_EPOCH
    metadata: str = ""
    commit_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """Of a member, or without ``member_id`` of somebody who is none, while the group has no members.

    A commit never moves an offset back, so that one that comes late harms nothing; ``back`` allows it.
    """

    positions: Mapping[TopicPartition, Position]
    member_id: str = ""
    epoch: int = -1
    instance_id: str | None = None
    back: bool = False
    partial: bool = False
    """Store what may be stored and list the rest, instead of refusing everything for one partition."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """``stored`` is what is committed now: where a commit would have moved back, what was there before."""

    stored: Mapping[TopicPartition, Position]
    refused: tuple[TopicPartition, ...] = ()
    """With ``partial``: not the member's, or not any more in the epoch that it said, or of a topic that is
    gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """Set offsets. While the group has members it is refused without ``force``: then those who have the
    partitions start from there, and what they commit of what they did before is refused."""

    positions: Mapping[TopicPartition, Position]
    force: bool = False
