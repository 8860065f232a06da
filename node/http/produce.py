"""POST to one partition: an atomic batch, with everything a producer may ask for."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import ExitStack
from typing import Final, NamedTuple, TypedDict

from aiohttp import web
from floodmark import batch as codec
from floodmark.batch import BatchHeader
from floodmark.errors import InvalidRequest, OutcomeUnknown, SequenceReused, Unavailable
from floodmark.record import Record

from node.broker import Acks, Appended, Partition
from node.http import repeated
from node.http.body import read_body
from node.http.context import HttpContext
from node.http.forward import LEADER, to_partition_leader
from node.http.media import Media, body_media
from node.http.query import OFFSET_MAX, acks_of, duration_s, number, partition_number, query_of, topic_name
from node.http.records_in import Reading, RecordHead, read_records
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id

QUERY: Final = frozenset({"acks", "timeout", TOPIC_ID_QUERY})
PRODUCER_HEADERS: Final = ("Producer-Id", "Producer-Epoch", "Producer-Seq")
_EPOCH_MAX: Final = (1 << 32) - 1


class _Producer(TypedDict):
    producer_id: bytes
    producer_epoch: int
    sequence: int


class Wanted(NamedTuple):
    """What a request asks for besides its body."""

    head: RecordHead
    media: Media
    acks: Acks
    timeout_s: float
    expected_offset: int | None = None


class PartitionProduce:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
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
        partition = await context.partition(topic, number, asked_id(request, query))
        timeout_s = timeout_of(query.get("timeout"), context)
        media = body_media(request.headers.get("Content-Type"))
        wanted = Wanted(request, media, acks_of(query), timeout_s, expected_offset(request))
        if not partition.leads_here:
            answer = await to_partition_leader(context, request, partition, "records", timeout_s=timeout_s)
            if isinstance(answer, web.StreamResponse):
                return answer
            partition = answer
        with ExitStack() as held:
            body = await read_body(request, context, held)
            try:
                appended = await self.store(partition, wanted, body)
            except (Unavailable, OutcomeUnknown) as error:
                raise context.reason(error, partition) from error
        headers = {**self._head, TOPIC_ID: str(partition.topic_id)}
        return web.Response(body=document(partition.number, appended), headers=headers)

    def store(self, partition: Partition, wanted: Wanted, body: bytes) -> Awaitable[Appended]:
        """Begin to store the records of ``body``, which this node leads the partition of.

        Raises what the body is refused for, at once or when it is awaited.
        """
        head, media = wanted.head, wanted.media
        if is_plain(wanted):
            records = self.records(head, media, body, partition)
            return partition.produce_records(records, size=len(body), timeout_s=wanted.timeout_s)
        if media is not Media.BATCH:
            return self._store_packed(partition, wanted, body)
        if not _is_anonymous(head):
            raise InvalidRequest("a record batch names its producer itself; leave out the Producer headers")
        return _produce(
            partition, wanted, body, codec.check(body, record_bytes_max=self._record_bytes_max(partition))
        )

    async def _store_packed(self, partition: Partition, wanted: Wanted, body: bytes) -> Appended:
        """A batch of its own for what is none yet, perhaps in a producer's name."""
        head, media = wanted.head, wanted.media
        batch, header = _encoded(self.records(head, media, body, partition), head)
        try:
            return await _produce(partition, wanted, batch, header)
        except SequenceReused as refusal:
            before = await repeated.stored_before(
                partition,
                refusal,
                header.count,
                lambda now_ms: self.records(head, media, body, partition, now_ms=now_ms),
            )
            if before is None:
                raise
            return before

    def records(
        self,
        head: RecordHead,
        media: Media,
        body: bytes,
        partition: Partition,
        *,
        now_ms: int | None = None,
    ) -> list[Record]:
        """The records of a body that is no batch, as they are now. Raises what it is refused for."""
        reading = Reading(
            self._context.wall_ms() if now_ms is None else now_ms, self._record_bytes_max(partition)
        )
        found = read_records(head, media, body, reading)
        for item in found:
            if item.partition is not None and item.partition != partition.number:
                raise InvalidRequest(
                    f"a record asks for partition {item.partition}, the path for {partition.number}"
                )
        return [item.record for item in found]

    def _record_bytes_max(self, partition: Partition) -> int:
        return self._context.broker.topic_limits(partition.topic).max_record_bytes


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


def _produce(partition: Partition, wanted: Wanted, batch: bytes, header: BatchHeader) -> Awaitable[Appended]:
    return partition.produce(
        batch,
        header,
        acks=wanted.acks,
        timeout_s=wanted.timeout_s,
        expected_offset=wanted.expected_offset,
    )


def _encoded(records: list[Record], head: RecordHead) -> tuple[bytes, BatchHeader]:
    """One batch of ``records`` in the name of the producer that the request's headers give, if any."""
    name = head.headers.get("Producer-Id")
    if name is None:
        if not _is_anonymous(head):
            raise InvalidRequest("Producer-Epoch and Producer-Seq need a Producer-Id")
        batch = codec.encode(records)
    else:
        batch = codec.encode(records, **_producer(head, name))
    return batch, codec.decode_header(batch)


def _producer(head: RecordHead, name: str) -> _Producer:
    if not name or not name.isprintable() or len(name) > 249:
        raise InvalidRequest("Producer-Id has 1 to 249 printable characters")
    sequence = head.headers.get("Producer-Seq")
    if sequence is None:
        raise InvalidRequest("Producer-Id needs a Producer-Seq, the batch's number among its producer's")
    epoch = head.headers.get("Producer-Epoch", "0")
    return _Producer(
        producer_id=codec.producer_id_of(name),
        producer_epoch=number(epoch, "Producer-Epoch", highest=_EPOCH_MAX),
        sequence=number(sequence, "Producer-Seq", highest=OFFSET_MAX),
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
