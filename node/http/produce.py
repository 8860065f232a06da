"""POST to one partition: an atomic batch, with everything a producer may ask for."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest
from floodmark.format import batch as codec
from floodmark.format.position import HEADER as POSITION
from floodmark.format.position import Position, of_header

from node.broker import Appended
from node.http.body import decode, read_raw
from node.http.context import HttpContext
from node.http.delivery import DELIVERY_QUERY, deliver_at_of
from node.http.leader_headers import leader_headers
from node.http.media import Media
from node.http.produce_body import ProduceBody
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
from node.http.records_in import media_of
from node.http.request_context import request_context
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.service.data_requests import ProduceRequest
from node.service.division import NOBODY, Producer
from node.service.policy import Operation

QUERY: Final = frozenset({"acks", "timeout", "mode", TOPIC_ID_QUERY}) | DELIVERY_QUERY
PRODUCER_HEADERS: Final = ("Producer-Id", "Producer-Epoch", "Producer-Seq")
_HEAD: Final = {"Content-Type": "application/json", "Server": "floodmark"}
_EPOCH_MAX: Final = (1 << 32) - 1


class PartitionProduce:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Store the body's records, all or none, in their order."""
        context = self._context
        service, who = context.service, request_context(request)
        topic, number = topic_name(request), partition_number(request)
        query = query_of(request, QUERY)
        named = asked_id(request, query)
        partition = await service.find(who, Operation.WRITE, topic, number, named)
        if service.quotas.are_set:
            service.quotas.check(who, Operation.WRITE, request.content_length or 0)
        timeout_s = timeout_of(query.get("timeout"), context)
        copies = is_copy(query)
        media = media_of(request, copies=copies)
        acks, expected, position = acks_of(query), expected_offset(request), position_of(request)
        deliver_at_ms = deliver_at_of(query, service.wall_ms())
        if media is Media.BYTES and context.broker.batch_format == 1:
            await service.once_level_known(lambda: self._check_head(request))
        with context.uploads(request) as account:
            raw = await read_raw(request, context, account)
            raw = await decode(request, raw, context, account)
            body = ProduceBody(context.packers, request, media, raw, copies=copies)
            del raw
            produced = await service.produce(
                who,
                ProduceRequest(
                    topic=topic,
                    partition=number,
                    body=body,
                    timeout_s=timeout_s,
                    topic_id=partition.topic_id,
                    acks=acks,
                    expected_offset=expected,
                    producer=producer_of(request, media),
                    position=position,
                    deliver_at_ms=deliver_at_ms,
                    here_only=context.is_passed_on(request),
                ),
            )
        headers = {
            **_HEAD,
            **leader_headers(context.broker, produced.leader),
            TOPIC_ID: str(partition.topic_id),
        }
        return web.Response(body=document(number, produced.appended), headers=headers)

    async def _check_head(self, head: RecordHead) -> None:
        """At every node: one of an earlier build that leads would take no notice of such headers."""
        check_head(head, self._context.broker.batch_format)


def is_anonymous(head: RecordHead) -> bool:
    """Whether no producer is named in the headers."""
    headers = head.headers
    id_, epoch, sequence = PRODUCER_HEADERS
    return id_ not in headers and epoch not in headers and sequence not in headers


def producer_of(head: RecordHead, media: Media) -> Producer:
    """Whom the request's headers name, if anybody. Raises ``InvalidRequest``."""
    if is_anonymous(head):
        return NOBODY
    if media is Media.BATCH:
        raise InvalidRequest("a record batch names its producer itself; leave out the Producer headers")
    name = head.headers.get("Producer-Id")
    if name is None:
        raise InvalidRequest("Producer-Epoch and Producer-Seq need a Producer-Id")
    checked_name(name)
    sequence = head.headers.get("Producer-Seq")
    if sequence is None:
        raise InvalidRequest("Producer-Id needs a Producer-Seq, the batch's number among its producer's")
    epoch = head.headers.get("Producer-Epoch", "0")
    return (
        codec.producer_id_of(name),
        number(epoch, "Producer-Epoch", highest=_EPOCH_MAX),
        number(sequence, "Producer-Seq", highest=OFFSET_MAX),
    )


def checked_name(name: str) -> str:
    """A producer's name itself. Raises ``InvalidRequest``."""
    if not name or not name.isprintable() or len(name) > 249:
        raise InvalidRequest("Producer-Id has 1 to 249 printable characters")
    return name


def expected_offset(request: web.Request) -> int | None:
    """``If-Offset``: append only if this is the partition's next offset."""
    text = request.headers.get("If-Offset")
    return None if text is None else number(text, "If-Offset", highest=OFFSET_MAX)


def position_of(request: web.Request) -> Position | None:
    """What the records were made from, which is stored with them. Raises ``InvalidRequest``."""
    text = request.headers.get(POSITION)
    return None if text is None else of_header(text)


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
