"""POST of a queue's receive: records for a worker, each with a receipt."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from node.broker.queues import Action
from node.http.answers import JSON
from node.http.body import read_body
from node.http.context import HttpContext
from node.http.document_in import decoded
from node.http.leader_headers import leader_headers
from node.http.page import PIECE_BYTES, send
from node.http.plain_queue_head import PARAMETERS, RECEIVE
from node.http.query import capped, duration_s, number, query_of
from node.http.queue_settling import SettlementIn, ends_of
from node.http.queues import queue_name
from node.http.records_out import json_content, json_timestamp
from node.http.request_context import request_context
from node.service.answer_budget import Hold
from node.service.loop_share import LoopShare
from node.service.queue_receiving import RECORDS_MAX, WORKER_BYTES_MAX, Job, Wanted, receive
from node.service.queue_settling import End
from node.service.request_context import RequestContext

QUERY: Final = PARAMETERS[RECEIVE]
_EXAMPLE: Final = '{} or {"ack": ["..."]} with receipts'
_ENCODER = msgspec.json.Encoder()


class ReceiveBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is done before: receipts that are acknowledged, and others that end otherwise."""

    ack: list[str] = []
    settlements: list[SettlementIn] = []


_BODY = msgspec.json.Decoder(ReceiveBody)


class ReceivedAnswer(NamedTuple):
    """The document in pieces; it is in ``hold``."""

    leader: str
    pieces: deque[bytes]


async def received(
    context: HttpContext,
    who: RequestContext,
    queue: str,
    query: Mapping[str, str],
    body: bytes,
    hold: Hold,
    *,
    bytes_max: int,
) -> ReceivedAnswer:
    """Records, once there are any; meanwhile nothing but a short page is held. Raises as the service does."""
    said = decoded(body or b"{}", _BODY, _EXAMPLE)
    settings = context.settings
    wanted = Wanted(
        queue=queue,
        worker=query.get("worker") or _worker(who),
        max_records=number(query.get("max", "1"), "max", lowest=1, highest=RECORDS_MAX),
        max_bytes=capped(query, "max_bytes", default=min(settings.fetch_bytes, bytes_max), cap=bytes_max),
        wait_s=duration_s(query.get("wait", "0"), "wait", cap=settings.wait_s_max),
        ends=[*(End(receipt=each, action=Action.ACK) for each in said.ack), *ends_of(said.settlements)],
    )
    found = await receive(context.service, who, wanted, hold)
    members: dict[str, Any] = {}
    if wanted.ends:
        members["settled"] = found.settled
    if found.paused:
        members["paused"] = found.paused
    pieces = await _pieces(context.service.pages, found.jobs, members)
    context.count_sent(who, sum(map(len, pieces)))
    return ReceivedAnswer(found.leader, pieces)


class QueueReceive:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def post(self, request: web.Request) -> web.StreamResponse:
        """See ``received``."""
        context = self._context
        query = query_of(request, QUERY)
        with ExitStack() as held:
            body = await read_body(request, context, held)
        who = request_context(request)
        with context.hold_for(who) as hold, context.task_ends_with_connection(request):
            answer = await received(
                *(context, who, queue_name(request), query, body, hold),
                bytes_max=context.settings.fetch_bytes_max,
            )
            headers = {**JSON, **leader_headers(context.broker, answer.leader)}
            return await send(request, headers, answer.pieces, hold)


async def _pieces(pages: LoopShare, jobs: list[Job], members: dict[str, Any]) -> deque[bytes]:
    """The document. A turn of the event loop has its share of the records."""
    pieces: deque[bytes] = deque((b'{"records":[',))
    items: list[bytes] = []
    size = 0
    for job in jobs:
        items.append(_json_job(job))
        size += len(items[-1])
        if size >= PIECE_BYTES and job is not jobs[-1]:
            await pages.wait(size)
            pieces.append(b",".join(items) + b",")
            items, size = [], 0
    end = _ENCODER.encode(members)[1:]
    pieces.append(b"%b]%b%b\n" % (b",".join(items), b"," if members else b"", end))
    return pieces


def _json_job(job: Job) -> bytes:
    record = job.record
    return b'{"receipt":"%b","deliveries":%d,"visible_ms":%d,"topic":"%b",%b}' % (
        job.receipt.encode(),
        record.deliveries,
        record.visible_ms,
        job.topic.encode(),
        b'"partition":%d,"offset":%d,"timestamp":%b,%b'
        % (
            record.partition,
            record.offset,
            json_timestamp(record.timestamp_ms),
            json_content(record.key, record.value, record.value_is_json, record.headers),
        ),
    )


def _worker(who: RequestContext) -> str:
    """What a worker is called that does not say it."""
    return f"{who.client_id}@{who.address}".encode()[:WORKER_BYTES_MAX].decode(errors="ignore")
