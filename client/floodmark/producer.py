"""The producer: records in, ordered and compressed batches out, one acknowledgement per record."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from floodmark.errors import FloodmarkError, InvalidRequest, TransportError, UnknownPartition
from floodmark.lane import Lane, LaneHost
from floodmark.memory import MemoryBudget
from floodmark.names import check_name
from floodmark.pacing import Deadline
from floodmark.parcel import Parcel, size_of
from floodmark.partitioner import partition_for
from floodmark.produced import Ack, AckList, BatchOutcome
from floodmark.producer_options import ProducerOptions
from floodmark.record import Record
from floodmark.topics import Topics
from floodmark.transport import BATCH_MEDIA_TYPE, GRACE_S, Request, Transport
from floodmark.values import Key, Timestamp, key_of, record_of, timestamp_of, value_of

_UNSEEN_MAX: Final = 100


class Producer:
    """Made by ``client.producer(topic, ...)``; use it as ``async with``, or call ``close()``.

    Records with one key go to one partition, in the order of the ``send`` calls; records without a key
    stay with one partition for a batch and then move on. Leaving ``async with`` flushes and raises the first
    error that no acknowledgement has shown.
    """

    def __init__(self, topic: str, options: ProducerOptions, transport: Transport, topics: Topics) -> None:
        self.topic = check_name(topic)
        self.options = options
        self._transport = transport
        self._topics = topics
        self._lane_options = options.for_lanes()
        self._lanes: dict[int, Lane] = {}
        self._memory = MemoryBudget(options.memory_bytes_max)
        self._partitions = 0
        self._record_bytes_max = 0
        self._opening = asyncio.Lock()
        self._sticky = -1
        self._unseen: list[BatchOutcome] = []
        self._closed = False

    async def open(self) -> None:
        """Learn the topic's partitions. Called by the first ``send``; raises ``UnknownTopic``."""
        if self._partitions == 0:
            async with self._opening:
                if self._partitions == 0:
                    topic = await self._topics.describe(self.topic, timeout_s=self.options.delivery_timeout_s)
                    self._record_bytes_max = topic.config.max_record_bytes
                    self._partitions = len(topic.partitions)

    async def send(
        self,
        value: Any,
        *,
        key: Key = None,
        partition: int | None = None,
        headers: Mapping[str, str] | None = None,
        timestamp: Timestamp = None,
    ) -> Ack:
        """Take one record in; waits only while ``memory_bytes_max`` are on their way. Await the result for
        the offset. Raises ``InvalidRequest`` or ``TooLarge`` for a record that can not be stored."""
        record = record_of(value, key=key, headers=headers, timestamp=timestamp)
        if not self._partitions:
            await self.open()
        size = self._size(record)
        if not self._memory.try_take(size):
            await self._wait_for_room(size)
        return Ack(*self._add(record, size, partition))

    async def send_many(
        self,
        values: Sequence[Any],
        *,
        keys: Sequence[Key] | None = None,
        partition: int | None = None,
        timestamp: Timestamp = None,
    ) -> AckList:
        """Take many records in, with little work for each. ``keys`` has one key for each value."""
        if keys is not None and len(keys) != len(values):
            raise InvalidRequest(f"{len(values)} values and {len(keys)} keys")
        time_ms = timestamp_of(timestamp)
        records = []
        for number, value in enumerate(values):
            data, is_json = (value, False) if type(value) is bytes else value_of(value)
            records.append(Record(time_ms, None if keys is None else key_of(keys[number]), data, is_json))
        await self.open()
        sizes = [self._size(record) for record in records]  # all are looked at before the first is taken in
        runs: list[tuple[BatchOutcome, int, int]] = []
        for record, size in zip(records, sizes, strict=True):
            if not self._memory.try_take(size):
                await self._wait_for_room(size)
            outcome, index = self._add(record, size, partition)
            if runs and runs[-1][0] is outcome:
                runs[-1] = (outcome, runs[-1][1], runs[-1][2] + 1)
            else:
                runs.append((outcome, index, 1))
        return AckList(runs)

    async def flush(self) -> None:
        """Wait until all that was taken in before is settled; at most ``delivery_timeout_s``.

        Raises the first error that no acknowledgement has shown to anybody.
        """
        await self._settle_all()
        unseen = [outcome for outcome in self._unseen if not outcome.was_seen]
        self._unseen.clear()
        if unseen:
            for outcome in unseen:
                outcome.was_seen = True
            unseen[0].check()

    async def close(self) -> None:
        """Send what was taken in, for at most ``delivery_timeout_s``, and end. Never raises for records that
        were not stored: their acknowledgements do."""
        self._closed = True
        try:
            with contextlib.suppress(TransportError):
                await self._settle_all()
        finally:
            for lane in list(self._lanes.values()):
                await lane.stop()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            await self.close()

    @property
    def memory_bytes(self) -> int:
        """Bytes of records that were taken in and are not settled."""
        return self._memory.used

    @property
    def is_idle(self) -> bool:
        """Whether everything that was taken in is settled."""
        return self._memory.used == 0

    async def _settle_all(self) -> None:
        # Batches have deadlines of their own; this one is for the case that a lane does not keep to them.
        deadline = Deadline(self.options.delivery_timeout_s + 2 * GRACE_S)
        outcomes = []
        for lane in self._lanes.values():
            lane.ripen()
            outcomes += lane.pending()
        try:
            async with asyncio.timeout(deadline.remaining_s):
                for outcome in outcomes:
                    await outcome.wait()
        except TimeoutError as error:
            raise TransportError("records are not settled although their time is up", sent=True) from error

    def _size(self, record: Record) -> int:
        size = size_of(record.value, record.key, record.headers)
        if size > self._record_bytes_max or record.headers:
            record.check(self._record_bytes_max)
        return size

    async def _wait_for_room(self, size: int) -> None:
        for lane in self._lanes.values():
            lane.ripen()
        await self._memory.take(size, timeout_s=self.options.delivery_timeout_s + GRACE_S)

    def _add(self, record: Record, size: int, partition: int | None) -> tuple[BatchOutcome, int]:
        try:
            return self._lane(record.key, partition).add(record, size)
        except FloodmarkError:
            self._memory.give(size)
            raise

    def _lane(self, key: bytes | None, partition: int | None) -> Lane:
        """The lane that a record goes to; nothing is awaited between this and adding it."""
        if partition is None:
            partition = self._sticky_partition() if key is None else partition_for(key, self._partitions)
        lane = self._lanes.get(partition)
        if self._closed:
            raise TransportError("this producer is closed", sent=False)
        if lane is None:
            if not 0 <= partition < self._partitions:
                raise UnknownPartition(f"topic {self.topic!r} has partitions 0 to {self._partitions - 1}")
            host = LaneHost(self._attempt(partition), self._settled, self._transport.nodes.has_alternative)
            lane = self._lanes[partition] = Lane(partition, self._lane_options, host)
        if lane.fatal is not None:
            raise lane.fatal
        return lane

    def _sticky_partition(self) -> int:
        """Keyless records share a partition until its batch leaves: few large batches, evenly spread."""
        lane = self._lanes.get(self._sticky)
        if lane is None or not lane.is_collecting or lane.fatal is not None:
            self._sticky = random.randrange(self._partitions)
        return self._sticky

    def _attempt(self, partition: int) -> Callable[[Parcel], Awaitable[int]]:
        path = f"/v1/topics/{self.topic}/partitions/{partition}/records"
        route = f"{self.topic}/{partition}"

        async def attempt(parcel: Parcel) -> int:
            # The node is given less time than the connection, so that it can say how it ended.
            timeout_s = min(self._transport.request_timeout_s, parcel.deadline.remaining_s)
            request = Request(
                method="POST",
                path=path,
                query={"acks": self.options.acks, "timeout": f"{max(1, round(timeout_s * 1000))}ms"},
                headers={"Content-Type": BATCH_MEDIA_TYPE},
                body=parcel.data,
                route=route,
            )
            answer = await self._transport.attempt(request, timeout_s + GRACE_S)
            return answer.convert(_Appended).first_offset

        return attempt

    def _settled(self, parcel: Parcel) -> None:
        self._memory.give(parcel.size)
        if parcel.outcome.error is not None and len(self._unseen) < _UNSEEN_MAX:
            self._unseen.append(parcel.outcome)


class _Appended(msgspec.Struct):
    first_offset: int
