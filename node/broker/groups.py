"""Groups of consumers: what they have committed, and who belongs to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from node.coordinator.groups.requests import (
    Commit,
    Committed,
    Granted,
    Heartbeat,
    Join,
    Leave,
    MemberAnswer,
    Position,
    Reset,
)
from node.coordinator.keys import TopicPartition

__all__ = [
    "Commit",
    "Committed",
    "Granted",
    "GroupAdmin",
    "GroupInfo",
    "GroupListed",
    "GroupMemberInfo",
    "Heartbeat",
    "Join",
    "Leave",
    "MemberAnswer",
    "Position",
    "Reset",
    "TopicPartition",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupListed:
    """A group in a list. ``type``: consumer or classic.

    ``state``: empty (no members), stable (each has what it is to have), reconciling; or a classic group's.
    """

    group: str
    type: str
    state: str
    members: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMemberInfo:
    """A member. ``owned`` and ``target``: what it has, and what it is to have, each partition with the epoch
    in which the member got it (0 in a target)."""

    member_id: str
    epoch: int
    instance_id: str | None
    client_id: str
    address: str
    topics: Sequence[str]
    pattern: str | None
    session_timeout_ms: int
    owned: list[Granted]
    target: list[Granted]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """A group with its members, in order of their ids."""

    group: str
    type: str
    state: str
    epoch: int
    assignor: str
    members: list[GroupMemberInfo]


class GroupAdmin(Protocol):
    """Groups, where this node leads the shards of the coordinator that keep them.

    Every method but ``topic_name`` and ``make_coordinator`` raises ``Unavailable`` (nothing was stored) where
    this node does not lead the group's shard, and those that store something ``OutcomeUnknown``. Times are
    seconds.
    """

    def topic_name(self, topic_id: int) -> str | None:
        """The name of the topic with this id, if users may see one."""

    async def make_coordinator(self, *, timeout_s: float) -> None:
        """Make the coordinator's shards, unless they are there; only where ``metadata.leads_here``.

        Raises FeatureLevelNeeded, StorageFull, Conflict, Unavailable.
        """

    async def join(self, group: str, request: Join, *, timeout_s: float) -> MemberAnswer:
        """Raises InvalidRequest, TooManyMembers, TooManyGroups, InconsistentGroupType."""

    async def heartbeat(self, group: str, request: Heartbeat, *, timeout_s: float) -> MemberAnswer:
        """Raises UnknownMember, FencedMemberEpoch, FencedInstanceId, InvalidRequest, TooManyMembers."""

    async def leave(self, group: str, request: Leave, *, timeout_s: float) -> None:
        """Raises UnknownMember, FencedMemberEpoch, FencedInstanceId."""

    async def commit(self, group: str, request: Commit, *, timeout_s: float) -> Committed:
        """Store offsets. Raises GroupNotEmpty, UnknownMember, FencedMemberEpoch, FencedInstanceId,
        StaleMemberEpoch, UnknownTopic, UnknownPartition, TooLarge, TooManyGroups, InvalidRequest."""

    async def offsets(
        self, group: str, partitions: Collection[TopicPartition] | None, *, timeout_s: float
    ) -> Mapping[TopicPartition, Position]:
        """What is committed for these partitions, or for all: all that was acknowledged before the call.

        Partitions without a committed offset are left out.
        """

    async def reset(
        self, group: str, request: Reset, *, timeout_s: float
    ) -> Mapping[TopicPartition, Position]:
        """Set offsets. Raises GroupNotEmpty, UnknownTopic, UnknownPartition, InvalidRequest, ...."""

    async def delete_offsets(
        self, group: str, partitions: Sequence[TopicPartition], *, timeout_s: float
    ) -> Sequence[TopicPartition]:
        """Forget them; returns those that were there. Raises UnknownGroup, GroupNotEmpty."""

    async def delete(self, group: str, *, timeout_s: float) -> None:
        """Delete a group with its offsets. Raises UnknownGroup, GroupNotEmpty."""

    async def describe(self, group: str, *, timeout_s: float) -> GroupInfo:
        """Raises UnknownGroup."""

    async def page(
        self, shard: int, *, prefix: str, after: str, limit: int, timeout_s: float
    ) -> Sequence[GroupListed]:
        """Some of a shard's groups, in order of name."""
