"""POST of a group's records: commit what came before, and get the next ones. The smallest consumer there
is."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import msgspec
from aiohttp import web
from floodmark.errors import FloodmarkError, Unavailable
from floodmark.format.record import Record

from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.groups import group_name
from node.http.media import Media
from node.http.page import Page, send
from node.http.query import capped, duration_s, query_of
from node.http.records_out import RecordEncoder, json_record
from node.http.request_context import request_context
from node.service.answer_budget import Hold
from node.service.group_poll import PollGroup
from node.service.group_records import GroupReading

_QUERY: Final = frozenset({"topics", "wait", "start", "max_records", "max_bytes"})
_EXAMPLE: Final = '{} or {"commit": "..."} with what the last answer had'
_AROUND_BYTES: Final = 512
_TOKEN_BYTES: Final = 40
"""Of a token, for each partition: four numbers, in base64."""


class PollBody(msgspec.Struct, forbid_unknown_fields=True):
    """``commit``: the last answer's; its records are done with. ``leave``: and no more are wanted."""

    commit: str | None = None
    leave: bool = False


_BODY = msgspec.json.Decoder(PollBody)


class GroupRecords:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Records, and the token that commits them with the next call."""
        context = self._context
        settings = context.settings
        query = query_of(request, _QUERY)
        wait_s = duration_s(query.get("wait", "0"), "wait", cap=settings.wait_s_max)
        max_bytes = capped(query, "max_bytes", default=settings.fetch_bytes, cap=settings.fetch_bytes_max)
        records = capped(query, "max_records", default=settings.fetch_records, cap=settings.fetch_records_max)
        said, _ = await read_document(request, context, _BODY, _EXAMPLE, may_be_missing=True)
        asked = PollGroup(
            group=group_name(request),
            topics=[name for name in query.get("topics", "").split(",") if name],
            token=said.commit,
            start=query.get("start", "earliest"),
            leave=said.leave,
        )
        who = request_context(request)
        with context.hold_for(who) as hold, context.task_ends_with_connection(request):
            reading = GroupReading(context.service, who, asked, hold)
            try:
                await reading.begin()
                page = await _page(context, reading, hold, max_bytes, records, wait_s)
                members: dict[str, Any] = {"commit": await reading.end()}
            except (FloodmarkError, asyncio.CancelledError):  # Also where its client has left.
                await reading.give_up()
                raise
            if reading.lost:
                members["lost"] = [
                    {**lost._asdict(), "records": lost.next_offset - lost.first_offset}
                    for lost in reading.lost
                ]
            context.count_sent(who, page.size)
            headers = {
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                "Server": "floodmark",
            }
            return await send(request, headers, page.finish(members), hold)


async def _page(
    context: HttpContext, reading: GroupReading, hold: Hold, max_bytes: int, max_records: int, wait_s: float
) -> Page:
    """What there is; if that is nothing, what comes within ``wait_s``. Holds nothing while it waits."""
    deadline = time.monotonic() + wait_s
    while True:
        granted = hold.set_page_aside(max_bytes)
        around = _AROUND_BYTES + _TOKEN_BYTES * reading.partitions
        page = Page(Media.JSON, bytes_max=granted, records_max=max_records, around=around)
        try:
            await _fill(page, reading, hold, granted)
        except Unavailable:
            if deadline <= time.monotonic():
                raise
        left = deadline - time.monotonic()
        if page.count or left <= 0 or reading.has_left or context.service.draining.is_set():
            return page
        hold.nothing()
        await context.service.unless_draining(reading.wait(left))


async def _fill(page: Page, reading: GroupReading, hold: Hold, granted: int) -> None:
    """Until the page is full or nothing is left. A failure after the first record is for the next call."""
    reading.begin_round(max_bytes=granted)
    counted = 0
    try:
        while not page.is_full:
            found = await reading.next()
            if found is None:
                break
            name, part = found
            reading.move(name, part.partition, page.add(part, encode=_encoder(name)))
            hold.more(page.size - counted)
            counted = page.size
    except FloodmarkError:
        if not counted:
            raise
    finally:
        reading.let_go()
    hold.page_is_made()


def _encoder(name: str) -> RecordEncoder:
    head = b'{"topic":"%b",' % name.encode()

    def encode(partition: int, offset: int, append_time: str | int, record: Record) -> bytes:
        return head + json_record(partition, offset, append_time, record)[1:]

    return encode
