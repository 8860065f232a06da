"""What nodes say of groups."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from floodmark.consumer.consumed import ConsumedRecord


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class GroupRecord(ConsumedRecord, frozen=True, gc=False):
    """One record as a group's consumer read it: with its topic."""

    topic: str


class Assigned(msgspec.Struct, frozen=True):
    """A partition that a member reads. ``topic_id``: of the topic, and of no later one with its name.

    ``epoch``: in which the member got it. Where it rises, the member begins again at what is committed.
    """

    topic: str
    topic_id: int
    partition: int
    epoch: int = 0


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """A member as its group has it: what it may read now, and in which epoch.

    ``waiting``: how many partitions it will have once others have given them up.
    """

    member_id: str
    member_epoch: int
    session_timeout_ms: int
    heartbeat_interval_ms: int
    assignment: list[Assigned]
    waiting: int = 0


class GroupListing(msgspec.Struct, frozen=True, kw_only=True):
    """A group in a list. ``type``: consumer, classic, or simple (it has offsets and never had members)."""

    group: str
    type: str
    state: str
    members: int = 0


class GroupMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member: what it wants to read, what it reads (``assignment``), what it is to read (``target``)."""

    member_id: str
    member_epoch: int
    instance_id: str | None = None
    client_id: str = ""
    address: str = ""
    topics: list[str] = []
    pattern: str | None = None
    assignment: list[Assigned] = []
    target: list[Assigned] = []


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group with its members."""

    group: str
    type: str
    state: str
    epoch: int
    assignor: str = ""
    members: list[GroupMember] = []


class CommittedOffset(msgspec.Struct, frozen=True, kw_only=True):
    """Where a group goes on in a partition. ``commit_ms``: when, in milliseconds since 1970."""

    topic: str
    topic_id: int
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    commit_ms: int = 0


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's offset before and after a reset; ``before`` is None where there was none."""

    topic: str
    topic_id: int
    partition: int
    before: int | None
    after: int


class PartitionLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a group is behind in a partition; figures are None where they are not known.

    lag      records that it has not read
    lag_ms   how long ago the first of these was stored
    member   the member that reads it, if one does
    """

    topic: str
    topic_id: int
    partition: int
    offset: int | None = None
    end: int | None = None
    lag: int | None = None
    lag_ms: int | None = None
    member_id: str | None = None


class GroupLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a group is behind, by partition and in all."""

    group: str
    lag: int
    lag_ms: int
    partitions: list[PartitionLag]
