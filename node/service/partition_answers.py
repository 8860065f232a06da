"""What this node answers to requests for partitions that it leads. Nothing is passed on from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.format import batch as codec

from node.broker import Appended, Bounds, Partition
from node.service import cursor
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_line import Found
from node.service.leaders import LeaderHere
from node.service.partition_requests import (
    AppendThere,
    FetchThere,
    Frames,
    ListOffsetsThere,
    TailThere,
    WaitThere,
)
from node.service.router import led_here

if TYPE_CHECKING:
    from node.service.service import Service


class PartitionAnswers:
    """``register`` has them answered."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, answers: InsideAnswers) -> None:
        """All of ``partition_requests``."""
        answers.on(AppendThere, self._append)
        answers.on(FetchThere, self._fetch)
        answers.on(ListOffsetsThere, self._list_offsets)
        answers.on(TailThere, self._tail)
        answers.on(WaitThere, self._wait)

    async def _led(self, topic: str, number: int, topic_id: int, asked: Asked) -> Partition:
        """The partition, which this node leads and can serve. Raises ``NotLeaderOrFollower``."""
        partition = await self._service.partition(topic, number, topic_id)
        return await led_here(self._service, partition, asked.left_s)

    async def _append(self, request: AppendThere, asked: Asked) -> Appended:
        service = self._service
        partition = await self._led(request.topic, request.partition, request.topic_id, asked)
        # The asking node has checked it; on its way it may have been damaged. Nothing is waited for here: a
        # producer's batches are admitted in the order in which they came.
        header = codec.decode_header(request.batch)
        codec.check_sums(request.batch, header)

        async def append() -> Appended:
            return await partition.produce(
                request.batch,
                header,
                acks=request.acks,
                timeout_s=asked.left_s,
                expected_offset=request.expected_offset,
            )

        return await service.once_level_known(append)

    async def _fetch(self, request: FetchThere, asked: Asked) -> Frames:
        leader = LeaderHere(await self._led(request.topic, request.partition, request.topic_id, asked))
        found = await leader.fetch(
            request.position, max_bytes=request.max_bytes, verify=request.verify, hold=asked.hold
        )
        return _frames(found)

    async def _list_offsets(self, request: ListOffsetsThere, asked: Asked) -> Frames:
        leader = LeaderHere(await self._led(request.topic, request.partition, request.topic_id, asked))
        return _frames(await leader.list_offsets(request.position))

    async def _tail(self, request: TailThere, asked: Asked) -> Bounds:
        partition = await self._led(request.topic, request.partition, request.topic_id, asked)
        return await partition.tail(timeout_s=asked.left_s)

    async def _wait(self, request: WaitThere, asked: Asked) -> list[int]:
        service = self._service
        limits = await service.topic_limits(request.topic, request.topic_id)
        offsets = cursor.decode(request.cursor).offsets_in(limits.partitions)
        partitions = [
            await self._led(request.topic, number, request.topic_id, asked)
            for number, offset in enumerate(offsets)
            if offset >= 0
        ]
        if not partitions:
            return []
        waited = [offset for offset in offsets if offset >= 0]
        async with service.while_exists(partitions[0]):
            return sorted(await service.watches.wait(partitions, waited, wait_s=asked.left_s))


def _frames(found: Found) -> Frames:
    fetched, bounds = found.fetched, found.fetched.bounds
    return Frames(
        found.start, fetched.next_offset, bounds.log_start_offset, bounds.high_watermark, fetched.frames
    )
