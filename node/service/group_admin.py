"""Groups as a whole: list, describe, delete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from node.broker import Granted, GroupInfo
from node.metadata.levels import GROUPS
from node.service.coordinator_request import ShardRequest
from node.service.group_members import AssignedPartition
from node.service.group_request import GroupRequest
from node.service.policy import Operation, Resource, ResourceKind, topic
from node.service.request_context import RequestContext
from node.service.requests import Request
from node.service.shard_pages import listed

if TYPE_CHECKING:
    from node.service.service import Service

PAGE: Final = 100
PAGE_MAX: Final = 1_000


class GroupListing(msgspec.Struct, frozen=True, kw_only=True):
    """A group in a list. ``type``: consumer or classic; ``state``: empty, stable, or reconciling."""

    group: str
    type: str
    state: str
    members: int


class GroupList(msgspec.Struct, frozen=True):
    """A page of groups, in order of name."""

    groups: list[GroupListing]


class GroupMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member: what it wants to read, what it reads (``assignment``), what it is to read (``target``)."""

    member_id: str
    member_epoch: int
    instance_id: str | None
    client_id: str
    address: str
    topics: list[str]
    pattern: str | None
    session_timeout_ms: int
    assignment: list[AssignedPartition]
    target: list[AssignedPartition]


class GroupDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A group with its members."""

    group: str
    type: str
    state: str
    epoch: int
    assignor: str
    members: list[GroupMember]


class ShardGroups(ShardRequest[list[GroupListing]], frozen=True, kw_only=True):
    """The groups of one shard: so many whose names begin with ``prefix``, behind ``after``."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    prefix: str = ""
    after: str = ""
    limit: int = PAGE_MAX

    async def execute(self, at: Service, context: RequestContext) -> list[GroupListing]:
        """See ``GroupAdmin.page``."""
        found = await at.broker.groups.page(
            self.shard, prefix=self.prefix, after=self.after, limit=self.limit, timeout_s=context.left_s()
        )
        return [
            GroupListing(group=each.group, type=each.type, state=each.state, members=each.members)
            for each in found
        ]


class ListGroups(Request[GroupList], frozen=True, kw_only=True):
    """Groups in order of name, as far as they may be described."""

    operation: ClassVar[Operation] = Operation.DESCRIBE
    needs_level: ClassVar[int] = GROUPS

    prefix: str = ""
    after: str = ""
    limit: int = PAGE

    def resource(self) -> None:
        """Each group is authorized on its own."""

    async def execute(self, at: Service, context: RequestContext) -> GroupList:
        """At most ``PAGE_MAX``. Raises ``Unavailable`` where a shard has no leader."""

        def of_shard(number: int, after: str, limit: int) -> ShardGroups:
            return ShardGroups(shard=number, prefix=self.prefix, after=after, limit=limit)

        def may(found: GroupListing) -> bool:
            return at.may(context, Operation.DESCRIBE, Resource(ResourceKind.GROUP, found.group))

        limit = min(self.limit, PAGE_MAX)
        return GroupList(
            await listed(at, context, of_shard, may, name=lambda it: it.group, after=self.after, limit=limit)
        )


class DescribeGroup(GroupRequest[GroupDescription], frozen=True, kw_only=True):
    """A group with its members."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    async def execute(self, at: Service, context: RequestContext) -> GroupDescription:
        """See ``GroupAdmin.describe``."""
        return described(at, await at.broker.groups.describe(self.group, timeout_s=context.left_s()))

    def shown(self, result: GroupDescription, at: Service, context: RequestContext) -> GroupDescription:
        """Without topics that whoever asks may not know of."""
        named = {name for member in result.members for name in member.topics}
        named |= {one.topic for member in result.members for one in (*member.assignment, *member.target)}
        may = {name: at.may(context, Operation.DESCRIBE, topic(name)) for name in named}
        return msgspec.structs.replace(
            result,
            members=[
                msgspec.structs.replace(
                    member,
                    topics=[name for name in member.topics if may[name]],
                    assignment=[one for one in member.assignment if may[one.topic]],
                    target=[one for one in member.target if may[one.topic]],
                )
                for member in result.members
            ],
        )


class DeleteGroup(GroupRequest[None], frozen=True, kw_only=True):
    """Delete a group and its offsets."""

    operation: ClassVar[Operation] = Operation.DELETE
    stores: ClassVar[bool] = True

    async def execute(self, at: Service, context: RequestContext) -> None:
        """Raises ``UnknownGroup``, ``GroupNotEmpty``."""
        await at.broker.groups.delete(self.group, timeout_s=context.left_s())


def described(at: Service, info: GroupInfo) -> GroupDescription:
    """With the names of the topics; what is of a topic that is gone is left out."""

    def named(partitions: Iterable[Granted]) -> list[AssignedPartition]:
        return [
            AssignedPartition(topic=name, topic_id=topic_id, partition=number, epoch=epoch)
            for topic_id, number, epoch in partitions
            if (name := at.broker.groups.topic_name(topic_id)) is not None
        ]

    return GroupDescription(
        group=info.group,
        type=info.type,
        state=info.state,
        epoch=info.epoch,
        assignor=info.assignor,
        members=[
            GroupMember(
                member_id=member.member_id,
                member_epoch=member.epoch,
                instance_id=member.instance_id,
                client_id=member.client_id,
                address=member.address,
                topics=list(member.topics),
                pattern=member.pattern,
                session_timeout_ms=member.session_timeout_ms,
                assignment=named(member.owned),
                target=named(member.target),
            )
            for member in info.members
        ],
    )
