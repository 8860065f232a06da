"""Dead letters over HTTP: list, look at one, replay, take off the list."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.answers import JSON, TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.page import send
from node.http.query import capped, query_of
from node.http.queues import queue_name
from node.http.records_out import json_record
from node.http.request_context import request_context
from node.service import timestamps
from node.service.queue_dead import (
    PAGE,
    PAGE_MAX,
    ListDeadLetters,
    PurgeDeadLetters,
    ReplayDeadLetters,
    Shown,
    show,
)

_LISTING: Final = TIMEOUT | {"after", "limit"}
_NO_QUERY: Final[frozenset[str]] = frozenset()
_EXAMPLE: Final = '{"ids": ["7-0-3"]} or {"all": true}'
_ENCODER = msgspec.json.Encoder()


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letters, and how fast."""

    ids: list[str] | None = None
    all: bool = False
    key_prefix: str | None = None
    headers: dict[str, str] | None = None
    per_second: float = 0.0


class PurgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which dead letters."""

    ids: list[str] | None = None
    all: bool = False


_REPLAY = msgspec.json.Decoder(ReplayBody)
_PURGE = msgspec.json.Decoder(PurgeBody)


class QueueDead:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """In order of partition and number, a page at a time: ``after`` is the last one's id."""
        query = query_of(request, _LISTING)
        asked = ListDeadLetters(
            queue=queue_name(request),
            after=query.get("after"),
            limit=capped(query, "limit", default=PAGE, cap=PAGE_MAX),
        )
        return await self._desk.show(request, asked, known=_LISTING)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """One, with its record."""
        context = self._context
        query_of(request, _NO_QUERY)
        who = request_context(request)
        with context.hold_for(who) as hold, context.task_ends_with_connection(request):
            shown = await show(context.service, who, queue_name(request), request.match_info["id"], hold)
            body = _document(shown)
            context.count_sent(who, len(body))
            return await send(request, JSON, deque((body,)), hold)

    async def replay(self, request: web.Request) -> web.StreamResponse:
        """Deliver them again."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _REPLAY, _EXAMPLE)
        chosen = said.key_prefix is not None or said.headers is not None
        if [said.ids is not None, said.all, chosen].count(True) != 1:
            raise InvalidRequest(
                'say which: {"ids": [...]}, or {"all": true}, or key_prefix and headers that they have'
            )
        headers = None
        if said.headers is not None:
            headers = {name: value.encode() for name, value in said.headers.items()}
        asked = ReplayDeadLetters(
            queue=queue_name(request),
            letters=said.ids,
            key_prefix=None if said.key_prefix is None else said.key_prefix.encode(),
            headers=headers,
            per_second=said.per_second,
        )
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def purge(self, request: web.Request) -> web.StreamResponse:
        """Take them off the list."""
        timeout_s = self._desk.timeout_of(request)
        said, size = await read_document(request, self._context, _PURGE, _EXAMPLE)
        if (said.ids is not None) == said.all:
            raise InvalidRequest('say which: {"ids": [...]}, or {"all": true}')
        asked = PurgeDeadLetters(queue=queue_name(request), letters=said.ids)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))


def _document(shown: Shown) -> bytes:
    part = shown.record
    record = b"null"
    if part is not None and (found := part.records[0]) is not None:
        record = json_record(part.partition, part.first_offset, timestamps.text(part.append_time), found)
    return b'%b,"record":%b}\n' % (_ENCODER.encode(shown.letter)[:-1], record)
