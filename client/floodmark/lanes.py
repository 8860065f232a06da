"""The lanes of one producer, and how a record finds its own."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from floodmark.errors import TopicDeleted, UnknownPartition
from floodmark.lane import Lane
from floodmark.lane_options import LaneHost, LaneOptions
from floodmark.numbering import Numbering
from floodmark.parcel import Parcel
from floodmark.partitioner import partition_for
from floodmark.pin import Pin
from floodmark.producer_options import Acks
from floodmark.transport import BATCH_MEDIA_TYPE, GRACE_S, Request, Transport

_SMALL_BYTES_MAX: Final = 64 << 10
"""A request that leaves in one piece: it costs aiohttp more to send it than a node to take it in."""
_SHARE_BYTES_MAX: Final = 64 << 10
"""What a partition gets of keyless records before the next one has its turn, when batches leave early."""


class Lanes:
    """One lane for each partition that is written to, made when it is first needed."""

    def __init__(
        self,
        topic: str,
        topic_id: int,
        partitions: int,
        options: LaneOptions,
        numbering: Numbering,
        *,
        acks: Acks,
        transport: Transport,
        settled: Callable[[Parcel], None],
    ) -> None:
        self._topic = topic
        self._headers = Pin(topic_id).headers({"Content-Type": BATCH_MEDIA_TYPE})
        self._gone: TopicDeleted | None = None
        self._partitions = partitions
        self._options = options
        self._numbering = numbering
        self._acks = acks
        self._transport = transport
        self._settled = settled
        self._lanes: dict[int, Lane] = {}
        self._sticky: Lane | None = None
        self._sticky_bytes = 0
        self._share_bytes = min(_SHARE_BYTES_MAX, options.batch_bytes // 2)
        self._sticky_partition = random.randrange(partitions)

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def find(self, key: bytes | None, partition: int | None, size: int) -> Lane:
        """The lane for a record of ``size`` bytes. Raises ``UnknownPartition``, or what has ended the lane.

        Keyless records share a partition until it has had its share and its batch has left or has no room
        for the next one: few large batches, one partition after the other.
        """
        if partition is not None:
            return self._lane(partition)
        if key is not None:
            return self._lane(partition_for(key, self._partitions))
        lane = self._sticky
        if lane is None or size > lane.collector.room:
            lane = self._for_new_batch()
        self._sticky_bytes += size
        return lane

    def room(self, partition: int | None, size: int) -> int:
        """What the batch has room for that takes a keyless record of ``size`` bytes next; less than that when
        a new one begins with it."""
        if partition is not None:
            return self._lane(partition).collector.room
        lane = self._sticky
        if lane is None or size > lane.collector.room:
            lane = self._for_new_batch()
        return lane.collector.room

    def _for_new_batch(self) -> Lane:
        """Where the next batch of keyless records begins."""
        lane = self._sticky
        if lane is None or self._sticky_bytes >= self._share_bytes or lane.fatal is not None:
            self._sticky_partition = (self._sticky_partition + 1) % self._partitions
            lane = self._sticky = self._lane(self._sticky_partition)
            self._sticky_bytes = 0
        return lane

    def _lane(self, partition: int) -> Lane:
        lane = self._lanes.get(partition)
        if lane is None:
            if self._gone is not None:
                raise self._gone
            if not 0 <= partition < self._partitions:
                raise UnknownPartition(f"topic {self._topic!r} has partitions 0 to {self._partitions - 1}")
            host = LaneHost(self._attempt(partition), self._settled, self._transport.nodes.has_alternative)
            lane = self._lanes[partition] = Lane(partition, self._options, self._numbering, host)
        if lane.fatal is not None:
            raise lane.fatal
        return lane

    def _end(self, error: TopicDeleted) -> None:
        """One lane was told; none has anything to do any more."""
        self._gone = error
        for lane in self._lanes.values():
            lane.end(error)

    def _attempt(self, partition: int) -> Callable[[Parcel], Awaitable[int]]:
        path = f"/v1/topics/{self._topic}/partitions/{partition}/records"
        route = f"{self._topic}/{partition}"

        async def attempt(parcel: Parcel) -> int:
            # The node is given less time than the connection, so that it can say how it ended.
            timeout_s = min(self._transport.request_timeout_s, parcel.deadline.remaining_s)
            request = Request(
                method="POST",
                path=path,
                query={"acks": self._acks, "timeout": f"{max(1, round(timeout_s * 1000))}ms"},
                headers=self._headers,
                body=parcel.data,
                route=route,
                is_lean=self._numbering.current.is_idempotent and len(parcel.data) <= _SMALL_BYTES_MAX,
            )
            try:
                answer = await self._transport.attempt(request, timeout_s + GRACE_S)
            except TopicDeleted as error:
                self._end(error)
                raise
            return answer.convert(_Appended).first_offset

        return attempt


class _Appended(msgspec.Struct):
    first_offset: int
