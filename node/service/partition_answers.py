"""This node's answers to other nodes' requests for partitions that it leads. It never forwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from floodmark.format import batch as codec

from node.broker import Appended, Bounds, SourcePosition
from node.service import cursor
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_line import Found
from node.service.leaders import Leader
from node.service.partition_requests import (
    AppendThere,
    BeginEpochThere,
    FetchThere,
    Frames,
    ListOffsetsThere,
    MovePositionThere,
    OfPartition,
    PositionsThere,
    RemovePositionsThere,
    TailThere,
    WaitThere,
)
from node.service.router import Ask, at_leader, led_here

if TYPE_CHECKING:
    from node.service.service import Service

T = TypeVar("T")


class PartitionAnswers:
    """``register`` installs the handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, answers: InsideAnswers) -> None:
        """All of ``partition_requests``."""
        answers.on(AppendThere, self._append)
        answers.on(FetchThere, self._fetch)
        answers.on(ListOffsetsThere, self._list_offsets)
        answers.on(TailThere, self._tail)
        answers.on(PositionsThere, self._positions)
        answers.on(BeginEpochThere, self._begin_epoch)
        answers.on(MovePositionThere, self._move_position)
        answers.on(RemovePositionsThere, self._remove_positions)
        answers.on(WaitThere, self._wait)

    async def _here(self, request: OfPartition, asked: Asked, ask: Ask[T]) -> T:
        """This node's answer as the partition's leader. Raises ``NotLeaderOrFollower``, ``TopicDeleted``."""
        service = self._service
        partition = await service.topics.partition(request.topic, request.partition, request.topic_id)
        return (await at_leader(service, partition, ask, timeout_s=asked.left_s, here_only=True))[0]

    async def _append(self, request: AppendThere, asked: Asked) -> Appended:
        # The asking node has checked it, but it may have been damaged on its way. Await nothing before: a
        # producer's batches are admitted in the order of their arrival.
        header = codec.decode_header(request.batch)
        codec.check_sums(request.batch, header)

        async def append(leader: Leader, timeout_s: float) -> Appended:
            return await leader.append(
                request.batch,
                header,
                acks=request.acks,
                timeout_s=timeout_s,
                expected_offset=request.expected_offset,
                position=request.position,
                deliver_at_ms=request.deliver_at_ms,
            )

        once_known = self._service.once_level_known
        return await once_known(lambda: self._here(request, asked, append))

    async def _fetch(self, request: FetchThere, asked: Asked) -> Frames:
        async def fetch(leader: Leader, _timeout_s: float) -> Found:
            return await leader.fetch(
                request.position, max_bytes=request.max_bytes, verify=request.verify, hold=asked.hold
            )

        return _frames(await self._here(request, asked, fetch))

    async def _list_offsets(self, request: ListOffsetsThere, asked: Asked) -> Frames:
        async def look(leader: Leader, _timeout_s: float) -> Found:
            return await leader.list_offsets(request.position)

        return _frames(await self._here(request, asked, look))

    async def _tail(self, request: TailThere, asked: Asked) -> Bounds:
        async def look(leader: Leader, timeout_s: float) -> Bounds:
            return await leader.tail(timeout_s=timeout_s)

        return await self._here(request, asked, look)

    async def _positions(self, request: PositionsThere, asked: Asked) -> list[SourcePosition]:
        async def look(leader: Leader, timeout_s: float) -> list[SourcePosition]:
            return await leader.positions(request.group, timeout_s=timeout_s)

        return await self._here(request, asked, look)

    async def _begin_epoch(self, request: BeginEpochThere, asked: Asked) -> SourcePosition:
        async def begin(leader: Leader, timeout_s: float) -> SourcePosition:
            return await leader.begin_epoch(request.source, request.producer, timeout_s=timeout_s)

        return await self._here(request, asked, begin)

    async def _move_position(self, request: MovePositionThere, asked: Asked) -> None:
        async def move(leader: Leader, timeout_s: float) -> None:
            await leader.move_position(request.position, request.epoch, request.producer, timeout_s=timeout_s)

        await self._here(request, asked, move)

    async def _remove_positions(self, request: RemovePositionsThere, asked: Asked) -> None:
        async def remove(leader: Leader, timeout_s: float) -> None:
            await leader.remove_positions(request.group, timeout_s=timeout_s)

        await self._here(request, asked, remove)

    async def _wait(self, request: WaitThere, asked: Asked) -> list[int]:
        service = self._service
        limits = await service.topics.limits(request.topic, request.topic_id)
        offsets = cursor.decode(request.cursor).offsets_in(limits.partitions)
        found = [
            await service.topics.partition(request.topic, number, request.topic_id)
            for number, offset in enumerate(offsets)
            if offset >= 0
        ]
        partitions = [await led_here(service, partition, asked.left_s) for partition in found]
        if not partitions:
            return []
        waited = [offset for offset in offsets if offset >= 0]
        async with service.topics.while_exists(partitions[0]):
            return sorted(await service.watches.wait(partitions, waited, wait_s=asked.left_s))


def _frames(found: Found) -> Frames:
    fetched, bounds = found.fetched, found.fetched.bounds
    return Frames(
        found.start, fetched.next_offset, bounds.log_start_offset, bounds.high_watermark, fetched.frames
    )
