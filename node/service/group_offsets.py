"""Committed offsets of groups: the two requests that every consumer makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec
from floodmark.errors import InvalidRequest, UnknownTopic

from node.broker import Commit, Position, TopicPartition
from node.coordinator.groups.member_checks import check_ids
from node.service.group_request import GroupRequest
from node.service.policy import Operation, Resource, topic
from node.service.request_context import RequestContext

if TYPE_CHECKING:
    from node.service.service import Service


class OffsetOf(msgspec.Struct, frozen=True, omit_defaults=True):
    """A committed offset: the next one to read. ``topic_id`` says which topic of this name is meant."""

    topic: str
    partition: int
    offset: int
    topic_id: int = 0
    leader_epoch: int = -1
    metadata: str = ""
    commit_ms: int = 0
    """When it was committed, in milliseconds since 1970; only in answers."""


class PartitionOf(msgspec.Struct, frozen=True, omit_defaults=True):
    """A partition of a topic."""

    topic: str
    partition: int
    topic_id: int = 0


class CommittedOffsets(msgspec.Struct, frozen=True):
    """What is committed now. ``refused``: with ``partial``, what is not the member's (any more)."""

    offsets: list[OffsetOf]
    refused: list[PartitionOf] = []


class CommitOffsets(GroupRequest[CommittedOffsets], frozen=True, kw_only=True):
    """Commit offsets: of a member, or of anybody while the group has no members."""

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True
    makes_it: ClassVar[bool] = True

    offsets: list[OffsetOf]
    member_id: str = ""
    epoch: int = -1
    instance_id: str | None = None
    back: bool = False
    """Whether offsets may go back."""
    partial: bool = False
    """Store what may be stored, and tell what was refused."""

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """To commit an offset tells of reading."""
        return ((Operation.READ, topic(name)) for name in sorted({each.topic for each in self.offsets}))

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        GroupRequest.check(self)
        if self.member_id:
            check_ids(self.member_id, self.instance_id)
        check_numbers(self.offsets)

    def is_repeatable(self) -> bool:
        """What is late moves nothing back."""
        return not self.back

    async def prepared(self, at: Service) -> Self:
        """With the ids of the topics, as the node knows them where the offsets were read."""
        ids = await _ids(at, self.offsets, leave_out=self.partial)
        named = [
            msgspec.structs.replace(each, topic_id=topic_id)
            for each in self.offsets
            if (topic_id := ids.get((each.topic, each.topic_id))) is not None
        ]
        return msgspec.structs.replace(self, offsets=named)

    def shown(
        self,
        result: CommittedOffsets,
        at: Service,  # noqa: ARG002
        context: RequestContext,  # noqa: ARG002
    ) -> CommittedOffsets:
        """With what was left out because its topic is gone."""
        told = {(each.topic, each.partition) for each in result.offsets}
        told |= {(each.topic, each.partition) for each in result.refused}
        gone = [
            PartitionOf(each.topic, each.partition, each.topic_id)
            for each in self.offsets
            if (each.topic, each.partition) not in told
        ]
        return CommittedOffsets(result.offsets, [*result.refused, *gone]) if gone else result

    async def execute(self, at: Service, context: RequestContext) -> CommittedOffsets:
        """See ``GroupAdmin.commit``."""
        names = {each.topic_id: each.topic for each in self.offsets}
        request = Commit(
            positions={
                (each.topic_id, each.partition): Position(each.offset, each.leader_epoch, each.metadata)
                for each in self.offsets
            },
            member_id=self.member_id,
            epoch=self.epoch,
            instance_id=self.instance_id,
            back=self.back,
            partial=self.partial,
        )
        done = await at.broker.groups.commit(self.group, request, timeout_s=context.left_s())
        return CommittedOffsets(
            [shown(names[at_[0]], at_, position) for at_, position in done.stored.items()],
            [PartitionOf(names[at_[0]], at_[1], at_[0]) for at_ in done.refused],
        )


class FetchOffsets(GroupRequest[CommittedOffsets], frozen=True, kw_only=True):
    """What a group has committed: for these partitions, or for all of topics that may be described."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    partitions: list[PartitionOf] | None = None

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """Where topics are named they may be described."""
        return (
            (Operation.DESCRIBE, topic(name))
            for name in sorted({each.topic for each in self.partitions or ()})
        )

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        GroupRequest.check(self)
        check_numbers(self.partitions or ())

    async def prepared(self, at: Service) -> Self:
        """With the ids of the topics."""
        if self.partitions is None:
            return self
        ids = await _ids(at, self.partitions)
        named = [
            msgspec.structs.replace(each, topic_id=ids[each.topic, each.topic_id]) for each in self.partitions
        ]
        return msgspec.structs.replace(self, partitions=named)

    def of_none(self) -> CommittedOffsets:
        """It has committed nothing."""
        return CommittedOffsets([])

    def shown(self, result: CommittedOffsets, at: Service, context: RequestContext) -> CommittedOffsets:
        """Without topics that whoever asks may not know of."""
        if self.partitions is not None:
            return result
        may = {
            name: at.may(context, Operation.DESCRIBE, topic(name))
            for name in {each.topic for each in result.offsets}
        }
        return CommittedOffsets([each for each in result.offsets if may[each.topic]])

    async def execute(self, at: Service, context: RequestContext) -> CommittedOffsets:
        """See ``GroupAdmin.offsets``."""
        asked = None
        if self.partitions is not None:
            asked = [(each.topic_id, each.partition) for each in self.partitions]
        found = await at.broker.groups.offsets(self.group, asked, timeout_s=context.left_s())
        named = (
            (at.broker.groups.topic_name(each[0]), each, position) for each, position in sorted(found.items())
        )
        return CommittedOffsets([shown(name, each, position) for name, each, position in named if name])


def shown(name: str, partition: TopicPartition, position: Position) -> OffsetOf:
    """A committed offset as it is told."""
    topic_id, number = partition
    return OffsetOf(
        name, number, position.offset, topic_id, position.leader_epoch, position.metadata, position.commit_ms
    )


async def _ids(
    at: Service, named: Iterable[OffsetOf | PartitionOf], *, leave_out: bool = False
) -> dict[tuple[str, int], int]:
    """By name and the id that is meant, if it is said. Topics that are gone are left out, or raise
    ``UnknownTopic``, ``TopicDeleted``."""
    found: dict[tuple[str, int], int] = {}
    for name, meant in sorted({(each.topic, each.topic_id) for each in named}):
        try:
            found[name, meant] = (await at.topics.limits(name, meant or None)).topic_id
        except UnknownTopic:
            if not leave_out:
                raise
    return found


def check_numbers(named: Iterable[OffsetOf | PartitionOf]) -> None:
    """Raises ``InvalidRequest``, also where a partition is named twice."""
    seen: set[tuple[str, int]] = set()
    for each in named:
        place = each.topic, each.partition
        if place in seen:
            raise InvalidRequest(f"partition {each.partition} of topic {each.topic} is named twice")
        seen.add(place)
        if each.partition < 0:
            raise InvalidRequest(f"partitions have numbers from 0 on, not {each.partition}")
