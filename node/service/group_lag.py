"""How far groups are behind: in records, and in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from floodmark.errors import FloodmarkError, OffsetBelowStart, OffsetPastEnd, UnknownTopic
from floodmark.format.frame import walk

from node.metadata.state import COORDINATOR_TOPIC
from node.service.answer_budget import Hold
from node.service.at_coordinator import at_coordinator
from node.service.group_admin import DescribeGroup
from node.service.group_offsets import FetchOffsets
from node.service.group_request import check_group
from node.service.inside_line import Found
from node.service.leaders import Leader
from node.service.policy import Operation, Resource, ResourceKind, topic
from node.service.request_context import A_NODE, RequestContext
from node.service.requests import Request
from node.service.router import at_leader

if TYPE_CHECKING:
    from node.service.service import Service

AT_ONCE: Final = 16
"""Partitions whose leaders are asked at the same time."""
_LEADER_S: Final = 1.0
_Place = tuple[str, int, int]


class PartitionLag(msgspec.Struct, frozen=True, kw_only=True):
    """How far a group is behind in a partition. What is not known is null.

    ``lag``: records that it has not read and that are still there; ``lag_ms``: how long ago the first of
    these was stored. ``member_id``: who reads it.
    """

    topic: str
    topic_id: int
    partition: int
    offset: int | None
    end: int | None
    lag: int | None
    lag_ms: int | None
    member_id: str | None


class GroupLag(msgspec.Struct, frozen=True, kw_only=True):
    """Of all partitions: the sum of records, and the longest time."""

    group: str
    lag: int
    lag_ms: int
    partitions: list[PartitionLag]


class DescribeLag(Request[GroupLag], frozen=True, kw_only=True):
    """How far a group is behind, in all partitions that it has committed offsets of or reads."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    group: str

    def resource(self) -> Resource:
        """The group."""
        return Resource(ResourceKind.GROUP, self.group)

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        check_group(self.group)

    async def execute(self, at: Service, context: RequestContext) -> GroupLag:
        """Partitions without a leader are told without their figures. Raises ``UnknownGroup``."""
        described = (await at_coordinator(at, context, DescribeGroup(group=self.group))).result
        committed = (await at_coordinator(at, context, FetchOffsets(group=self.group))).result
        offsets: dict[_Place, int | None] = {}
        readers: dict[_Place, str] = {}
        for member in described.members:
            for one in member.assignment:
                place = one.topic, one.topic_id, one.partition
                offsets[place] = None
                readers[place] = member.member_id
        offsets.update(
            {(each.topic, each.topic_id, each.partition): each.offset for each in committed.offsets}
        )
        may = {
            name: at.may(context, Operation.DESCRIBE, topic(name)) for name in {place[0] for place in offsets}
        }
        shown = [place for place in sorted(offsets) if may[place[0]]]
        found = await lags(at, context, [(place, offsets[place]) for place in shown], readers)
        return GroupLag(
            group=self.group,
            lag=sum(each.lag or 0 for each in found),
            lag_ms=max((each.lag_ms or 0 for each in found), default=0),
            partitions=found,
        )


async def lags_led_here(
    at: Service, *, limit: int, timeout_s: float
) -> tuple[list[tuple[str, PartitionLag]], bool]:
    """For metrics: of groups that this node coordinates, up to ``limit`` partitions, and whether that is
    all."""
    context = RequestContext(protocol="metrics", principal=A_NODE).within(timeout_s)
    found: list[tuple[str, PartitionLag]] = []
    try:
        limits = at.broker.topic_limits(COORDINATOR_TOPIC)
    except UnknownTopic:
        return found, True
    for number in range(limits.partitions if limits.is_coordinator else 0):
        if not at.broker.partition(COORDINATOR_TOPIC, number).leads_here:
            continue
        page = await at.broker.groups.page(
            number, prefix="", after="", limit=limit + 1, timeout_s=context.left_s()
        )
        for listed in page:
            room = limit - len(found)
            positions = await at.broker.groups.offsets(listed.group, None, timeout_s=context.left_s())
            named = ((at.broker.groups.topic_name(place[0]), place, it) for place, it in positions.items())
            places = [((name, *place), it.offset) for name, place, it in named if name is not None]
            if len(places) > room:
                return found, False
            found += [(listed.group, lag) for lag in await lags(at, context, places, {})]
    return found, True


async def lags(
    at: Service,
    context: RequestContext,
    offsets: Iterable[tuple[_Place, int | None]],
    readers: dict[_Place, str],
) -> list[PartitionLag]:
    """In the same order."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def look(place: _Place, offset: int | None) -> PartitionLag:
        end = lag = lag_ms = None
        async with turn:
            # Where nobody leads it, or it is gone, the others are told all the same.
            with contextlib.suppress(FloodmarkError):
                end, lag, lag_ms = await _lag(at, context, place, offset)
        return PartitionLag(
            topic=place[0],
            topic_id=place[1],
            partition=place[2],
            offset=offset,
            end=end,
            lag=lag,
            lag_ms=lag_ms,
            member_id=readers.get(place),
        )

    return list(await asyncio.gather(*(look(place, offset) for place, offset in offsets)))


async def _lag(
    at: Service, context: RequestContext, place: _Place, offset: int | None
) -> tuple[int, int | None, int | None]:
    """The end, the records that are left, and how old the first of them is."""
    with at.answers.hold(context.principal) as hold:
        try:
            found = await _first(at, place, "latest" if offset is None else str(offset), hold)
        except OffsetBelowStart:
            found = await _first(at, place, "earliest", hold)
        except OffsetPastEnd:
            found = await _first(at, place, "latest", hold)
        fetched = found.fetched
        end = fetched.bounds.high_watermark
        if offset is None:
            return end, None, None
        left = max(0, end - max(offset, fetched.bounds.log_start_offset))
        stored = next((frame.append_time for frame, _ in walk(fetched.frames)), None) if left else None
        return end, left, 0 if stored is None else max(0, at.wall_ms() - stored)


async def _first(at: Service, place: _Place, position: str, hold: Hold) -> Found:
    """One frame from there on, if there is one, with the partition's bounds."""
    name, topic_id, number = place

    def read(leader: Leader, _left: float) -> Awaitable[Found]:
        hold.nothing()
        return leader.fetch(position, max_bytes=1, verify=False, hold=hold)

    partition = await at.topics.partition(name, number, topic_id)
    if partition.topic_id != topic_id:
        raise UnknownTopic(f"topic {name} was made again")
    return (await at_leader(at, partition, read, timeout_s=_LEADER_S, once=True))[0]
