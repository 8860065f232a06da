"""The partition senders of one producer, and which of them a record goes to."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from floodmark.errors import TopicDeleted, UnknownPartition
from floodmark.pin import Pin
from floodmark.producer.numbering import Numbering
from floodmark.producer.options import Acks
from floodmark.producer.partition_sender import PartitionSender
from floodmark.producer.partitioner import partition_for
from floodmark.producer.producer_batch import ProducerBatch
from floodmark.producer.sender_options import SenderHost, SenderOptions
from floodmark.transport.http import BATCH_MEDIA_TYPE, GRACE_S, Request, Transport

_SMALL_BYTES_MAX: Final = 64 << 10
"""A request up to this size leaves in one piece: aiohttp needs more time to send it than a node to handle
it."""
_SHARE_BYTES_MAX: Final = 64 << 10
"""Bytes of keyless records that a partition gets before the next one has its turn, when batches leave
early."""


class PartitionSenders:
    """One sender for each partition that is written to, made when it is first needed."""

    def __init__(
        self,
        topic: str,
        topic_id: int,
        partitions: int,
        options: SenderOptions,
        numbering: Numbering,
        *,
        acks: Acks,
        transport: Transport,
        settled: Callable[[ProducerBatch], None],
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
        self._senders: dict[int, PartitionSender] = {}
        self._sticky: PartitionSender | None = None
        self._sticky_bytes = 0
        self._share_bytes = min(_SHARE_BYTES_MAX, options.batch_bytes // 2)
        self._sticky_partition = random.randrange(partitions)

    def __iter__(self) -> Iterator[PartitionSender]:
        return iter(list(self._senders.values()))

    def find(self, key: bytes | None, partition: int | None, size: int) -> PartitionSender:
        """The sender for a record of ``size`` bytes. Raises ``UnknownPartition``, or the error that ended it.

        Keyless records stick to one partition until it has had its share and its batch has left or has no
        room for the next record: few large batches, one partition after the other.
        """
        if partition is not None:
            return self._sender(partition)
        if key is not None:
            return self._sender(partition_for(key, self._partitions))
        sender = self._sticky
        if sender is None or size > sender.accumulator.room:
            sender = self._for_new_batch()
        self._sticky_bytes += size
        return sender

    def room(self, partition: int | None, size: int) -> int:
        """The room in the batch that the next keyless record of ``size`` bytes joins; less than ``size`` if
        the record begins a new batch."""
        if partition is not None:
            return self._sender(partition).accumulator.room
        sender = self._sticky
        if sender is None or size > sender.accumulator.room:
            sender = self._for_new_batch()
        return sender.accumulator.room

    def _for_new_batch(self) -> PartitionSender:
        """Where the next batch of keyless records begins."""
        sender = self._sticky
        if sender is None or self._sticky_bytes >= self._share_bytes or sender.fatal is not None:
            self._sticky_partition = (self._sticky_partition + 1) % self._partitions
            sender = self._sticky = self._sender(self._sticky_partition)
            self._sticky_bytes = 0
        return sender

    def _sender(self, partition: int) -> PartitionSender:
        sender = self._senders.get(partition)
        if sender is None:
            if self._gone is not None:
                raise self._gone
            if not 0 <= partition < self._partitions:
                raise UnknownPartition(f"topic {self._topic!r} has partitions 0 to {self._partitions - 1}")
            host = SenderHost(self._attempt(partition), self._settled, self._transport.nodes.has_alternative)
            sender = self._senders[partition] = PartitionSender(
                partition, self._options, self._numbering, host
            )
        if sender.fatal is not None:
            raise sender.fatal
        return sender

    def _end(self, error: TopicDeleted) -> None:
        """The topic is gone, as one sender learned: end all of them."""
        self._gone = error
        for sender in self._senders.values():
            sender.end(error)

    def _attempt(self, partition: int) -> Callable[[ProducerBatch], Awaitable[int]]:
        path = f"/v1/topics/{self._topic}/partitions/{partition}/records"
        route = f"{self._topic}/{partition}"

        async def attempt(producer_batch: ProducerBatch) -> int:
            # The node gets less time than the connection, so that it can still say how the request ended.
            timeout_s = min(self._transport.request_timeout_s, producer_batch.deadline.remaining_s)
            query = {"acks": self._acks, "timeout": f"{max(1, round(timeout_s * 1000))}ms"}
            if (later := producer_batch.later) is not None:
                query[later.name] = later.value
            request = Request(
                method="POST",
                path=path,
                query=query,
                headers=self._headers,
                body=producer_batch.data,
                route=route,
                fast=self._numbering.current.is_idempotent and len(producer_batch.data) <= _SMALL_BYTES_MAX,
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
