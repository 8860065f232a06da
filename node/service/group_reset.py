"""Have a group go on elsewhere, and forget where it is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.names import check_name

from node.broker import Position, Reset
from node.metadata.levels import GROUPS
from node.service import positions
from node.service.at_coordinator import at_coordinator
from node.service.data_requests import ListOffsetsRequest
from node.service.group_lag import AT_ONCE
from node.service.group_offsets import FetchOffsets, OffsetOf, PartitionOf, check_numbers
from node.service.group_request import GroupRequest, check_group
from node.service.policy import Operation, Resource, ResourceKind, topic
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

PARTITIONS_MAX: Final = 1_000
"""In one step at the coordinator."""
_SHIFT: Final = re.compile(r"[+-][0-9]{1,19}", re.ASCII)
_OFFSET_MAX: Final = (1 << 63) - 1
Place = tuple[str, int, int]
"""A topic's name and id, and a partition."""


class ResetPartition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's offset before (null: there was none) and after."""

    topic: str
    topic_id: int
    partition: int
    before: int | None
    after: int


class ResetResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was changed, or with ``dry_run`` would be."""

    dry_run: bool
    offsets: list[ResetPartition]


class StoreReset(GroupRequest[None], frozen=True, kw_only=True):
    """Set these offsets, at the coordinator: all or none of them."""

    operation: ClassVar[Operation] = Operation.READ
    stores: ClassVar[bool] = True
    makes_it: ClassVar[bool] = True

    offsets: list[tuple[int, int, int]]
    """Topic ids, partitions, offsets."""
    force: bool

    async def execute(self, at: Service, context: RequestContext) -> None:
        """Raises ``GroupNotEmpty`` without ``force``."""
        wanted = Reset(
            positions={(topic_id, number): Position(offset) for topic_id, number, offset in self.offsets},
            force=self.force,
        )
        await at.broker.groups.reset(self.group, wanted, timeout_s=context.left_s())


class ResetOffsets(Request[ResetResult], frozen=True, kw_only=True):
    """Have a group go on elsewhere.

    ``to``: an offset, ``earliest``, ``latest``, ``@time``, or a shift of what is committed (``+10``,
    ``-10``); or ``offsets``, one for each partition. Of ``partitions``, of all of ``topics``, or of all
    that the group has committed. What lies outside of what is stored becomes the nearest offset that can be
    read, or written next.
    """

    operation: ClassVar[Operation] = Operation.READ
    needs_level: ClassVar[int] = GROUPS

    group: str
    to: str | None = None
    offsets: tuple[OffsetOf, ...] = ()
    topics: tuple[str, ...] = ()
    partitions: tuple[PartitionOf, ...] = ()
    dry_run: bool = False
    force: bool = False

    def is_told(self) -> bool:
        """Whether anything is to change."""
        return not self.dry_run

    def resource(self) -> Resource:
        """The group."""
        return Resource(ResourceKind.GROUP, self.group)

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """The topics that are named; others are judged once they are known."""
        named = {*self.topics}
        named |= {each.topic for each in self.offsets} | {each.topic for each in self.partitions}
        return ((Operation.READ, topic(name)) for name in sorted(named))

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        check_group(self.group)
        if (self.to is None) == (not self.offsets):
            raise InvalidRequest(
                "say where to: with to (an offset, earliest, latest, @time, or a shift such as -10), or with "
                "offsets, one for each partition"
            )
        if self.offsets and (self.topics or self.partitions):
            raise InvalidRequest("offsets name their partitions: leave out topics and partitions")
        if self.to is not None:
            _check_to(self.to)
        check_numbers(self.offsets)
        for name in self.topics:
            check_name(name)

    async def execute(self, at: Service, context: RequestContext) -> ResetResult:
        """Raises ``GroupNotEmpty``, ``UnknownTopic``, ``UnknownPartition``, and ``Unavailable`` where a
        partition has no leader: then nothing was changed."""
        committed = (await at_coordinator(at, context, FetchOffsets(group=self.group))).result
        before = {(each.topic, each.topic_id, each.partition): each.offset for each in committed.offsets}
        places = await self._places(at, context, before)
        if not places:
            raise InvalidRequest(
                f'group {self.group} has committed nothing: say which topics, as in topics: ["orders"]'
            )
        turn = asyncio.Semaphore(AT_ONCE)

        async def look(place: Place, spec: str) -> ResetPartition:
            async with turn:
                return await self._look(at, context, place, spec, before.get(place))

        found = await asyncio.gather(*(look(place, spec) for place, spec in places.items()))
        if not self.dry_run:
            await self._store(at, context, found)
        return ResetResult(dry_run=self.dry_run, offsets=list(found))

    async def _places(
        self, at: Service, context: RequestContext, before: Mapping[Place, int]
    ) -> dict[Place, str]:
        """The partitions, each with where it is to go on."""
        if self.to is None:
            return {
                await _place(at, each.topic, each.topic_id, each.partition): str(each.offset)
                for each in self.offsets
            }
        places = [await _place(at, each.topic, each.topic_id, each.partition) for each in self.partitions]
        for name in self.topics:
            limits = await at.topics.limits(name)
            places += [(name, limits.topic_id, number) for number in range(limits.partitions)]
        if not self.topics and not self.partitions:
            for name in sorted({place[0] for place in before}):
                at.authorize(context, Operation.READ, topic(name))
            places = sorted(before)
        return dict.fromkeys(places, self.to)

    async def _look(
        self, at: Service, context: RequestContext, place: Place, spec: str, before: int | None
    ) -> ResetPartition:
        name, topic_id, number = place
        is_shift = self.to is not None and _SHIFT.fullmatch(spec) is not None
        if is_shift and before is None:
            raise InvalidRequest(
                f"the group has no offset in partition {number} of topic {name} to shift: say an offset, "
                "earliest or latest"
            )
        position = "latest" if is_shift or positions.is_offset(spec) else positions.check(spec)
        found = await at.fetching.offsets_of(
            await at.topics.partition(name, number, topic_id),
            ListOffsetsRequest(
                topic=name,
                partition=number,
                position=position,
                timeout_s=min(context.left_s(), at.fetching.leader_s()),
                topic_id=topic_id,
            ),
        )
        after = found.offset
        if is_shift:
            after = (before or 0) + int(spec)
        elif positions.is_offset(spec):
            after = int(spec)
        after = min(max(after, found.bounds.log_start_offset), found.bounds.high_watermark)
        return ResetPartition(topic=name, topic_id=topic_id, partition=number, before=before, after=after)

    async def _store(self, at: Service, context: RequestContext, found: Sequence[ResetPartition]) -> None:
        for begin in range(0, len(found), PARTITIONS_MAX):
            some = found[begin : begin + PARTITIONS_MAX]
            wanted = [(each.topic_id, each.partition, each.after) for each in some]
            await at_coordinator(at, context, StoreReset(group=self.group, offsets=wanted, force=self.force))


class DeleteOffsets(GroupRequest[None], frozen=True, kw_only=True):
    """Forget what is committed in a topic, or in one partition of it."""

    operation: ClassVar[Operation] = Operation.DELETE
    stores: ClassVar[bool] = True

    topic: str
    partition: int | None = None
    topic_id: int = 0
    partitions: int = 0
    """How many the topic has, as it was known where this arrived."""

    def also(self) -> Iterable[tuple[Operation, Resource]]:
        """As for a commit."""
        return ((Operation.READ, topic(self.topic)),)

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        GroupRequest.check(self)
        check_name(self.topic)

    async def prepared(self, at: Service) -> DeleteOffsets:
        """With the id of the topic. Raises ``UnknownTopic``."""
        limits = await at.topics.limits(self.topic)
        return msgspec.structs.replace(self, topic_id=limits.topic_id, partitions=limits.partitions)

    async def execute(self, at: Service, context: RequestContext) -> None:
        """Raises ``UnknownGroup``, and ``GroupNotEmpty`` while members read the topic."""
        numbers = range(self.partitions) if self.partition is None else (self.partition,)
        wanted = [(self.topic_id, number) for number in numbers]
        await at.broker.groups.delete_offsets(self.group, wanted, timeout_s=context.left_s())


def _check_to(to: str) -> None:
    if _SHIFT.fullmatch(to):
        return
    try:
        positions.check(to)
    except InvalidRequest:
        if to.startswith("@"):
            raise
        raise InvalidRequest(
            "to is an offset, earliest, latest, @time (@2026-01-31T10:00Z or @milliseconds), or a shift of "
            f"what is committed (+10 or -10), not {to[:100]!r}"
        ) from None


async def _place(at: Service, name: str, topic_id: int, number: int) -> Place:
    partition = await at.topics.partition(name, number, topic_id or None)
    return name, partition.topic_id, number
