"""What this node answers to requests for partitions that it leads. Nothing is passed on from here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from floodmark.errors import NotLeaderOrFollower
from floodmark.format import batch_check
from floodmark.format.batch import BatchHeader

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

if TYPE_CHECKING:
    from node.service.service import Service

_READY_S: Final = 1.0
"""How long a new leader is waited for to be ready."""
RETRY_AFTER_S: Final = 0.1


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
        service = self._service
        partition = await service.partition(topic, number, topic_id)
        if not partition.leads_here and partition.leader == service.broker.node_id:
            # Elected this moment, and not ready yet.
            await partition.wait_leader(deadline_s=min(asked.left_s, _READY_S))
            partition = service.current(partition)
        if not partition.leads_here:
            raise not_here(partition.leader, f"{topic}/{number}")
        return partition

    async def _append(self, request: AppendThere, asked: Asked) -> Appended:
        service = self._service
        partition = await self._led(request.topic, request.partition, request.topic_id, asked)
        header = await self._checked(request)

        async def append() -> Appended:
            return await partition.produce(
                request.batch,
                header,
                acks=request.acks,
                timeout_s=asked.left_s,
                expected_offset=request.expected_offset,
            )

        return await service.once_level_known(append)

    async def _checked(self, request: AppendThere) -> BatchHeader:
        """The asking node has checked it, by the limits that it knew; on its way it may have been damaged."""
        record_bytes_max = self._service.broker.topic_limits(request.topic).max_record_bytes
        header = batch_check.check_if_light(request.batch, record_bytes_max=record_bytes_max)
        if header is None:
            async with self._service.unpacking:
                header = await asyncio.to_thread(
                    batch_check.check, request.batch, record_bytes_max=record_bytes_max
                )
        return header

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


def not_here(leader: str | None, what: str) -> NotLeaderOrFollower:
    """The answer to a node that takes this one for the leader."""
    return NotLeaderOrFollower(f"this node does not lead {what}", leader=leader, retry_after_s=RETRY_AFTER_S)
