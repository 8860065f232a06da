"""The producer: records in, ordered and compressed batches out, one acknowledgement per record."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import itertools
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from floodmark.admin.feature_level import BATCH_FORMAT_2, QUEUES, feature_level, needs_format_2
from floodmark.admin.topics import Topic, Topics
from floodmark.errors import FloodmarkError, NotUsable, TooLarge, TransportError
from floodmark.format.headers import HeadersLike
from floodmark.format.limits import BATCH_RECORDS_MAX
from floodmark.format.names import check_name
from floodmark.format.record import Record
from floodmark.format.values import Key, Timestamp, record_of, records_of
from floodmark.producer.delivery import Delay, Later, later_of, needs_queues
from floodmark.producer.ids import new_producer_id
from floodmark.producer.memory import MemoryBudget
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.options import ProducerOptions
from floodmark.producer.partition_sender import PartitionSender
from floodmark.producer.partition_senders import PartitionSenders
from floodmark.producer.produced import Ack, AckList, BatchOutcome
from floodmark.producer.producer_batch import ProducerBatch, size_of
from floodmark.transport.http import GRACE_S, Transport
from floodmark.transport.pacing import Deadline

_UNSEEN_MAX: Final = 100
_PAUSE_BYTES: Final = 256 << 10
_LIMIT_KNOWN_S: Final = 1.0
"""A record above the topic's limit makes the producer look the limit up again, at most this often."""


class Producer:
    """Created by ``client.producer(topic, ...)``; use it in ``async with``, or call ``close()``.

    Records with one key go to one partition, in the order of the ``send`` calls; records without a key
    stay with one partition for a batch, or for several small ones, and then move on. Leaving ``async with``
    flushes and raises the first error that no acknowledgement has raised.
    """

    def __init__(self, topic: str, options: ProducerOptions, transport: Transport, topics: Topics) -> None:
        self.topic = check_name(topic)
        self.options = options
        self._transport = transport
        self._topics = topics
        self._senders: PartitionSenders | None = None
        self._numbering = Numbering(Epoch())
        self._memory = MemoryBudget(options.memory_bytes_max)
        self._record_bytes_max = 0
        self._limit_until = 0.0
        self._opening = asyncio.Lock()
        self._unseen: list[BatchOutcome] = []
        self._since_pause = 0
        self._closed = False

    async def open(self) -> None:
        """Learn the topic's id and partitions. Called by the first ``send``; raises ``UnknownTopic``.

        From here on the producer belongs to that id: when that topic is deleted, all that is not stored ends
        with ``TopicDeleted``, also where there is a topic of the same name again.
        """
        self._transport.home.check()
        if self._senders is None:
            async with self._opening:
                if self._senders is None:
                    topic = await self._topics.describe(self.topic, timeout_s=self.options.delivery_timeout_s)
                    self._learn(topic)
                    self._numbering = await self.options.numbering(min(topic.batch_format, 2), self._new_id)
                    self._senders = PartitionSenders(
                        self.topic,
                        topic.topic_id,
                        len(topic.partitions),
                        self.options.for_senders(),
                        self._numbering,
                        acks=self.options.acks,
                        transport=self._transport,
                        settled=self._settled,
                    )

    async def send(
        self,
        value: Any,
        *,
        key: Key = None,
        partition: int | None = None,
        headers: HeadersLike | None = None,
        timestamp: Timestamp = None,
        delay: Delay = None,
        deliver_at: Timestamp = None,
    ) -> Ack:
        """Accept one record; waits only while ``memory_bytes_max`` are under way. Await the result for the
        offset. ``TOMBSTONE`` as ``value`` deletes the key. ``delay`` (seconds, from when it leaves) or
        ``deliver_at``: queues deliver it then; records of one batch have the same.

        Raises ``InvalidRequest``, ``TooLarge`` or ``FeatureLevelNeeded`` for a record that cannot be stored.
        """
        record = record_of(value, key, headers, timestamp)
        later = None
        self._transport.home.check()
        if self._senders is None:
            await self.open()
        if delay is not None or deliver_at is not None:
            later = await self._later(delay, deliver_at)
        size = size_of(record)
        if size > self._record_bytes_max or record.pairs or record.value is None:
            await self._check_limits([record])
        if not self._memory.try_take(size):
            await self._wait_for_room(size)
        ack = Ack(*self._sender(record.key, partition, size).accumulator.add(record, size, later))
        self._since_pause += size
        if self._since_pause > _PAUSE_BYTES:
            await self._let_others_run()
        return ack

    async def send_many(
        self,
        values: Sequence[Any],
        *,
        keys: Sequence[Key] | None = None,
        partition: int | None = None,
        timestamp: Timestamp = None,
        delay: Delay = None,
        deliver_at: Timestamp = None,
    ) -> AckList:
        """Accept many records, with little work for each. ``keys`` has one key for each value."""
        records = records_of(values, keys, timestamp)
        await self.open()
        later = await self._later(delay, deliver_at)
        sizes = await self._sizes(records)  # All are checked before the first is accepted.
        if keys is None or partition is not None:
            return AckList(await self._send_run(records, sizes, partition, later))
        runs = []
        for record, size in zip(records, sizes, strict=True):
            if not self._memory.try_take(size):
                await self._wait_for_room(size)
            accumulator = self._sender(record.key, None, size).accumulator
            runs.append((*accumulator.add(record, size, later), 1))
            self._since_pause += size
            if self._since_pause > _PAUSE_BYTES:
                await self._let_others_run()
        return AckList(runs)

    async def _send_run(
        self, records: Sequence[Record], sizes: Sequence[int], partition: int | None, later: Later | None
    ) -> list[tuple[BatchOutcome, int, int]]:
        """Send records without keys in runs as large as a batch has room for, not one by one."""
        ends = list(itertools.accumulate(sizes))
        runs: list[tuple[BatchOutcome, int, int]] = []
        start = taken = 0
        while start < len(records):
            room = min(self._room(sizes[start], partition), self._memory.limit)
            stop = min(max(bisect.bisect_right(ends, taken + room), start + 1), start + BATCH_RECORDS_MAX)
            size = ends[stop - 1] - taken
            if not self._memory.try_take(size):
                await self._wait_for_room(size)
            sender = self._sender(None, partition, size)
            runs.append((*sender.accumulator.add_run(records[start:stop], size, later), stop - start))
            start, taken = stop, ends[stop - 1]
            self._since_pause += size
            if self._since_pause > _PAUSE_BYTES:
                await self._let_others_run()
        return runs

    async def flush(self) -> None:
        """Wait until all records accepted so far are settled; at most ``delivery_timeout_s``.

        Raises the first error that no acknowledgement has raised.
        """
        self._transport.home.check()
        await self._settle_all()
        unseen = [outcome for outcome in self._unseen if not outcome.was_seen]
        self._unseen.clear()
        if unseen:
            for outcome in unseen:
                outcome.was_seen = True
            unseen[0].check()

    async def close(self) -> None:
        """Send all accepted records, for at most ``delivery_timeout_s``, and end. Never raises for records
        that were not stored: their acknowledgements do."""
        self._closed = True
        if not self._transport.home.is_here:
            return  # The senders run in another event loop; they cannot be awaited here.
        try:
            with contextlib.suppress(TransportError):
                await self._settle_all()
        finally:
            for sender in self._senders or ():
                await sender.stop()

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
        """Bytes of records that were accepted and are not settled."""
        return self._memory.used

    @property
    def is_idle(self) -> bool:
        """Whether every accepted record is settled."""
        return self._memory.used == 0

    async def _new_id(self) -> int | None:
        return await new_producer_id(self._transport, timeout_s=self.options.delivery_timeout_s)

    async def _settle_all(self) -> None:
        # Batches have deadlines of their own; this is a safeguard should a sender miss them.
        deadline = Deadline(self.options.delivery_timeout_s + 2 * GRACE_S)
        outcomes = []
        for sender in self._senders or ():
            sender.accumulator.ripen()
            outcomes += sender.pending()
        try:
            async with asyncio.timeout(deadline.remaining_s):
                for outcome in outcomes:
                    await outcome.wait()
        except TimeoutError as error:
            raise TransportError("records are not settled although their time is up", sent=True) from error

    async def _let_others_run(self) -> None:
        """Yield to the event loop: sends in a loop that never wait would keep full batches from leaving."""
        self._since_pause = 0
        await asyncio.sleep(0)

    async def _sizes(self, records: Sequence[Record]) -> list[int]:
        sizes = [size_of(record) for record in records]
        has_tombstones = self._numbering.batch_format == 1 and None in [record.value for record in records]
        if has_tombstones or (sizes and max(sizes) > self._record_bytes_max):
            await self._check_limits(records)
        return sizes

    async def _check_limits(self, records: Sequence[Record]) -> None:
        """Raise ``TooLarge`` by the topic's current limit, which may have been altered.

        Raises ``FeatureLevelNeeded`` likewise: one such record would fail its whole batch.
        """
        if self._numbering.batch_format == 1:
            await self._check_format(records)
        try:
            for record in records:
                record.check(self._record_bytes_max)
        except TooLarge:
            if time.monotonic() < self._limit_until:
                raise
            topic = await self._topics.describe(self.topic, timeout_s=self.options.delivery_timeout_s)
            self._learn(topic)
            for record in records:
                record.check(self._record_bytes_max)

    async def _check_format(self, records: Sequence[Record]) -> None:
        found = (record.beyond_format_1() for record in records)
        what = next((each for each in found if each is not None), None)
        if what is not None:
            level = await feature_level(self._transport, timeout_s=self.options.delivery_timeout_s)
            if level < BATCH_FORMAT_2:
                raise needs_format_2(what, level)
            self._numbering.batch_format = 2

    async def _later(self, delay: Delay, deliver_at: Timestamp) -> Later | None:
        later = later_of(delay, deliver_at)
        if later is not None and self._numbering.batch_format == 1:
            level = await feature_level(self._transport, timeout_s=self.options.delivery_timeout_s)
            if level < QUEUES:
                raise needs_queues(level)
            self._numbering.batch_format = 2
        return later

    def _learn(self, topic: Topic) -> None:
        self._record_bytes_max = topic.config.max_record_bytes
        self._limit_until = time.monotonic() + _LIMIT_KNOWN_S

    def _room(self, size: int, partition: int | None) -> int:
        """The room in the batch that the next keyless record of ``size`` bytes joins."""
        if self._senders is None:
            return self.options.batch_bytes
        room = self._senders.room(partition, size)
        return room if room >= size else self.options.batch_bytes

    async def _wait_for_room(self, size: int) -> None:
        for sender in self._senders or ():
            sender.accumulator.ripen()
        await self._memory.take(size, timeout_s=self.options.delivery_timeout_s + GRACE_S)

    def _sender(self, key: bytes | None, partition: int | None, size: int) -> PartitionSender:
        """The sender for records of ``size`` bytes, which hold that much memory; on an error it is given
        back.

        The caller awaits nothing between this and adding them.
        """
        try:
            if self._closed or self._senders is None:
                raise NotUsable("this producer is closed", sent=False)
            return self._senders.find(key, partition, size)
        except FloodmarkError:
            self._memory.give(size)
            raise

    def _settled(self, producer_batch: ProducerBatch) -> None:
        self._memory.give(producer_batch.size)
        if isinstance(producer_batch.outcome.error, TooLarge):
            self._record_bytes_max, self._limit_until = (
                0,
                0.0,
            )  # The limit was lowered: ask before the next one.
        if producer_batch.outcome.error is not None and len(self._unseen) < _UNSEEN_MAX:
            self._unseen.append(producer_batch.outcome)
