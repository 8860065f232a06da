"""POST to one partition: an atomic batch, with everything a producer may ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Final, NamedTuple, TypeVar

from aiohttp import web
from floodmark.errors import InvalidRequest, OutcomeUnknown, SequenceReused, Unavailable
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader
from floodmark.format.batch_check import check_if_light
from floodmark.format.record import Record

from node import outcomes
from node.broker import Acks, Appended, Partition
from node.http.body import decode, read_raw
from node.http.body_weight import is_heavy
from node.http.context import HttpContext
from node.http.forward import LEADER, is_forwarded, to_partition_leader
from node.http.media import Media
from node.http.packing import NOBODY, Order, Producer, of_partition, packed
from node.http.query import (
    OFFSET_MAX,
    acks_of,
    duration_s,
    is_copy,
    number,
    partition_number,
    query_of,
    topic_name,
)
from node.http.raw_value import RecordHead, check_head
from node.http.records_in import Reading, media_of, read_records
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.service.repeated_batches import TRACE, Repeats
from node.service.turns import Turns

QUERY: Final = frozenset({"acks", "timeout", "mode", TOPIC_ID_QUERY})
PRODUCER_HEADERS: Final = ("Producer-Id", "Producer-Epoch", "Producer-Seq")
_KEPT_BYTES: Final = 64 << 10
"""A larger body streams on to the leader, and cannot be sent twice."""
_EPOCH_MAX: Final = (1 << 32) - 1
T = TypeVar("T")


class Wanted(NamedTuple):
    """What a request asks for besides its body."""

    head: RecordHead
    media: Media
    acks: Acks
    timeout_s: float
    expected_offset: int | None = None
    copies: bool = False


class _LeadsNoMore(Exception):
    """This node led the partition when a request came, and does not any more."""

    def __init__(self, reason: Unavailable) -> None:
        super().__init__(str(reason))
        self.reason = reason


class PartitionProduce:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._turns = Turns()
        self._repeats = Repeats()
        self._head = {
            "Content-Type": "application/json",
            "Server": "floodmark",
            LEADER: context.broker.node_id,
        }

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Store the body's records, all or none, in their order."""
        context = self._context
        topic, number = topic_name(request), partition_number(request)
        query = query_of(request, QUERY)
        partition = await context.service.partition(topic, number, asked_id(request, query))
        timeout_s = timeout_of(query.get("timeout"), context)
        copies = is_copy(query)
        media = media_of(request, copies=copies)
        wanted = Wanted(request, media, acks_of(query), timeout_s, expected_offset(request), copies)
        if media is Media.BYTES and context.broker.batch_format == 1:
            await context.service.once_level_known(lambda: self._check_head(request))
        with context.uploads(request) as account:
            raw = await read_raw(request, context, account) if _is_small(request) else None
            body: bytes | None = None
            while True:
                began = time.monotonic()
                if not partition.leads_here:
                    answer = await to_partition_leader(
                        context, request, partition, "records", timeout_s=wanted.timeout_s, body=raw
                    )
                    if isinstance(answer, web.StreamResponse):
                        return answer
                    partition = answer
                    wanted = _later(wanted, began)
                    if not wanted.timeout_s:
                        raise outcomes.no_leader(topic, number)
                if body is None:
                    raw = raw if raw is not None else await read_raw(request, context, account)
                    body = await decode(request, raw, context, account)
                    began = time.monotonic()  # What it took to come counts for nothing.
                try:
                    appended = await self._stored_here(partition, wanted, body)
                    break
                except _LeadsNoMore as error:
                    partition = context.service.current(partition)
                    if is_forwarded(request):
                        raise error.reason from error
                    wanted = _later(wanted, began)
        headers = {**self._head, TOPIC_ID: str(partition.topic_id)}
        return web.Response(body=document(partition.number, appended), headers=headers)

    async def _stored_here(self, partition: Partition, wanted: Wanted, body: bytes) -> Appended:
        """Raises ``_LeadsNoMore`` where the next leader may be asked: nothing was stored."""
        context = self._context
        try:
            return await context.service.once_level_known(lambda: self.store(partition, wanted, body))
        except OutcomeUnknown as error:
            raise context.service.reason(error, partition) from error
        except Unavailable as error:
            if context.service.current(partition).leads_here:
                raise
            raise _LeadsNoMore(error) from error

    async def _check_head(self, head: RecordHead) -> None:
        """At every node: one of an earlier build that leads would take no notice of such headers."""
        check_head(head, self._context.broker.batch_format)

    def store(self, partition: Partition, wanted: Wanted, body: bytes) -> Awaitable[Appended]:
        """Begin to store the records of ``body``, which this node leads the partition of.

        Raises what the body is refused for, at once or when it is awaited.
        """
        media = wanted.media
        if media is Media.BATCH:
            return self._store_batch(partition, wanted, body)
        if is_plain(wanted) and not is_heavy(media, body):
            records = self.records(wanted, body, partition)
            return partition.produce_records(records, size=len(body), timeout_s=wanted.timeout_s)
        return self._context.service.once_level_known(lambda: self._store_packed(partition, wanted, body))

    def _store_batch(self, partition: Partition, wanted: Wanted, batch: bytes) -> Awaitable[Appended]:
        if not _is_anonymous(wanted.head):
            raise InvalidRequest("a record batch names its producer itself; leave out the Producer headers")
        header = check_if_light(batch, record_bytes_max=self._record_bytes_max(partition))
        if header is None:
            return self._store_checked_elsewhere(partition, wanted, batch)
        if header.is_idempotent and self._turns.is_waited_for(_name(partition, header.producer_id)):
            return self._append_in_turn(partition, wanted, batch, header)
        return _append(partition, wanted, batch, header, wanted.timeout_s)

    async def _store_checked_elsewhere(self, partition: Partition, wanted: Wanted, batch: bytes) -> Appended:
        began = time.monotonic()
        header = codec.decode_header(batch)
        order = Order(wanted.media, self._reading(partition, wanted))
        checking = self._context.packers.pack(order, batch, timeout_s=wanted.timeout_s)
        await self._in_turn(partition, header.producer_id, checking)
        return await _append(partition, wanted, batch, header, _left(wanted, began))

    async def _append_in_turn(
        self, partition: Partition, wanted: Wanted, batch: bytes, header: BatchHeader
    ) -> Appended:
        began = time.monotonic()
        await self._in_turn(partition, header.producer_id, asyncio.sleep(0))
        return await _append(partition, wanted, batch, header, _left(wanted, began))

    async def _store_packed(self, partition: Partition, wanted: Wanted, body: bytes) -> Appended:
        """A batch of its own for what is none yet, perhaps in a producer's name."""
        began = time.monotonic()
        producer = _producer(wanted.head)
        packing = self.batch_of(partition, wanted, body, producer, wanted.timeout_s)
        batch = await self._in_turn(partition, producer[0], packing)
        header = codec.decode_header(batch)
        try:
            return await _append(partition, wanted, batch, header, _left(wanted, began))
        except SequenceReused as refusal:

            async def read_at(now_ms: int) -> list[Record]:
                again = await self.batch_of(partition, wanted, body, producer, _left(wanted, began), now_ms)
                return await asyncio.to_thread(_decoded, again)

            before = await self._repeats.stored_before(
                partition, refusal, header.count, read_at, timeout_s=_left(wanted, began)
            )
            if before is None:
                raise
            return before

    async def batch_of(
        self,
        partition: Partition,
        wanted: Wanted,
        body: bytes,
        producer: Producer,
        timeout_s: float,
        again_at_ms: int | None = None,
    ) -> bytes:
        """One for all records of a body that is none yet; a heavy one is packed where it holds nobody up."""
        if not is_heavy(wanted.media, body):
            records = self.records(wanted, body, partition, again_at_ms=again_at_ms)
            return packed(records, producer, self._context.broker.batch_format)
        order = self._order(wanted, partition, producer, again_at_ms=again_at_ms)
        result = await self._context.packers.pack(order, body, timeout_s=timeout_s)
        return result.batches[partition.number]

    async def _in_turn(self, partition: Partition, producer_id: bytes, work: Awaitable[T]) -> T:
        """The result of ``work``, not before those of the same producer that came earlier."""
        if producer_id == codec.NO_PRODUCER:
            return await work
        return await self._turns.take(_name(partition, producer_id), work)

    def records(
        self, wanted: Wanted, body: bytes, partition: Partition, *, again_at_ms: int | None = None
    ) -> list[Record]:
        """The records of a light body that is no batch, as they are now. Raises what it is refused for.

        ``again_at_ms``: as the body says them itself, at another time, and without the request's trace.
        """
        reading = self._reading(partition, wanted, again_at_ms)
        return of_partition(read_records(wanted.head, wanted.media, body, reading), partition.number, reading)

    def _order(
        self,
        wanted: Wanted,
        partition: Partition,
        producer: Producer = NOBODY,
        *,
        again_at_ms: int | None = None,
    ) -> Order:
        """To have a heavy body decoded elsewhere."""
        return Order(
            wanted.media,
            self._reading(partition, wanted, again_at_ms),
            traceparent=wanted.head.headers.get(TRACE),
            partition=partition.number,
            producer=producer,
        )

    def _reading(self, partition: Partition, wanted: Wanted, again_at_ms: int | None = None) -> Reading:
        context = self._context
        return Reading(
            context.wall_ms() if again_at_ms is None else again_at_ms,
            self._record_bytes_max(partition),
            context.broker.batch_format,
            wanted.copies,
            again_at_ms is None,
        )

    def _record_bytes_max(self, partition: Partition) -> int:
        return self._context.broker.topic_limits(partition.topic).max_record_bytes


def _later(wanted: Wanted, began: float) -> Wanted:
    """What is left of its time, of which some has passed since ``began``."""
    return wanted._replace(timeout_s=_left(wanted, began))


def _is_small(request: web.Request) -> bool:
    """Whether the body is read before anything else: then every node that comes to lead can be asked."""
    length = request.content_length
    return length is not None and length <= _KEPT_BYTES


def _decoded(batch: bytes) -> list[Record]:
    """Of a batch that was just made, from which nothing was removed."""
    return [record for record in codec.decode(batch) if record is not None]


def is_plain(wanted: Wanted) -> bool:
    """Whether the records may share a batch with those of others."""
    return (
        wanted.media is not Media.BATCH
        and wanted.acks is Acks.QUORUM
        and wanted.expected_offset is None
        and _is_anonymous(wanted.head)
    )


def _is_anonymous(head: RecordHead) -> bool:
    """Whether no producer is named in the headers."""
    headers = head.headers
    return not headers or not any(name in headers for name in PRODUCER_HEADERS)


def _name(partition: Partition, producer_id: bytes) -> tuple[str, int, bytes]:
    return partition.topic, partition.number, producer_id


def _append(
    partition: Partition, wanted: Wanted, batch: bytes, header: BatchHeader, timeout_s: float
) -> Awaitable[Appended]:
    return partition.produce(
        batch, header, acks=wanted.acks, timeout_s=timeout_s, expected_offset=wanted.expected_offset
    )


def _left(wanted: Wanted, began: float) -> float:
    return max(0.0, wanted.timeout_s - (time.monotonic() - began))


def _producer(head: RecordHead) -> Producer:
    """Whom the request's headers name, if anybody."""
    name = head.headers.get("Producer-Id")
    if name is None:
        if not _is_anonymous(head):
            raise InvalidRequest("Producer-Epoch and Producer-Seq need a Producer-Id")
        return NOBODY
    if not name or not name.isprintable() or len(name) > 249:
        raise InvalidRequest("Producer-Id has 1 to 249 printable characters")
    sequence = head.headers.get("Producer-Seq")
    if sequence is None:
        raise InvalidRequest("Producer-Id needs a Producer-Seq, the batch's number among its producer's")
    epoch = head.headers.get("Producer-Epoch", "0")
    return (
        codec.producer_id_of(name),
        number(epoch, "Producer-Epoch", highest=_EPOCH_MAX),
        number(sequence, "Producer-Seq", highest=OFFSET_MAX),
    )


def expected_offset(request: web.Request) -> int | None:
    """``If-Offset``: append only if this is the partition's next offset."""
    text = request.headers.get("If-Offset")
    return None if text is None else number(text, "If-Offset", highest=OFFSET_MAX)


def timeout_of(text: str | None, context: HttpContext) -> float:
    """How long the request may take: ``timeout``, with its default and cap."""
    settings = context.settings
    if text is None:
        return settings.produce_timeout_s
    seconds = duration_s(text, "timeout", cap=settings.produce_timeout_s_max)
    if seconds <= 0:
        raise InvalidRequest("timeout is longer than 0")
    return seconds


def document(partition: int, appended: Appended) -> bytes:
    """The answer's body."""
    tail = b',"duplicate":true}\n' if appended.duplicate else b"}\n"
    return b'{"partition":%d,"first_offset":%d,"next_offset":%d,"high_watermark":%d%b' % (
        partition,
        appended.first_offset,
        appended.next_offset,
        appended.high_watermark,
        tail,
    )
