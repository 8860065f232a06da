"""Answers without an end in sight: events, lines, or length-prefixed MessagePack, as fast as a client reads.

Memory is bounded: one read of ``stream_bytes`` at a time, and the next one only once the client has taken
this one; a client that takes nothing is dropped by its connection's own clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import FloodmarkError

from node.http import cursor, problems, timestamps
from node.http.context import HttpContext
from node.http.media import Media
from node.http.reader import Reader
from node.http.records_out import Slice, stream_encoder, stream_item

_COMMENT: Final = b": keep-alive\n\n"
_YIELD_RECORDS: Final = 1_000


async def stream(
    context: HttpContext,
    request: web.Request,
    reader: Reader,
    media: Media,
    *,
    headers: Mapping[str, str],
    max_records: int,
    wait_s: float,
    follow: bool,
) -> web.StreamResponse:
    """Everything from the reader's positions on; without ``follow`` only up to what is there now.

    ``HEAD`` gets the head of the answer and nothing is read.
    """
    emitter = _Emitter(context, request, reader, media)
    if request.method == "HEAD":
        await emitter.begin(headers)
        await emitter.answer.write_eof()
        return emitter.answer
    with context.task_ends_with_connection(request):
        await reader.pin()
        if not follow:
            reader.ends = {}
        first = await context.unless_draining(
            reader.read(max_bytes=context.settings.stream_bytes, max_records=max_records, wait_s=0)
        )
        await emitter.begin(headers)
        try:
            await _pump(context, emitter, first or [], max_records=max_records, wait_s=wait_s, follow=follow)
        except FloodmarkError as error:
            if media is not Media.EVENTS:
                raise
            await emitter.fail(error)
        await emitter.answer.write_eof()
    return emitter.answer


async def _pump(
    context: HttpContext,
    emitter: _Emitter,
    found: list[Slice],
    *,
    max_records: int,
    wait_s: float,
    follow: bool,
) -> None:
    settings = context.settings
    reader = emitter.reader
    pause_s = settings.keep_alive_comment_s if follow else 0.0
    if not found and not follow and wait_s > 0:
        reader.ends, pause_s = None, wait_s
    while True:
        max_records -= await emitter.emit(found)
        if max_records <= 0 or context.draining.is_set():
            return
        found = (
            await context.unless_draining(
                reader.read(max_bytes=settings.stream_bytes, max_records=max_records, wait_s=pause_s)
            )
            or []
        )
        if not found:
            if not follow:
                return
            await emitter.keep_alive()
        if pause_s and not follow:
            reader.ends, pause_s = {}, 0.0


class _Emitter:
    """Writes slices of records in one media type."""

    def __init__(self, context: HttpContext, request: web.Request, reader: Reader, media: Media) -> None:
        self.reader = reader
        self.answer = web.StreamResponse()
        self._context = context
        self._request = request
        self._media = media
        self._encode = stream_encoder(media)
        self._offsets = reader.offsets
        self._places = {partition.number: index for index, partition in enumerate(reader.partitions)}

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Send the head of the answer."""
        self.answer.headers.update(
            {
                "Content-Type": str(self._media),
                "Cache-Control": "no-store",
                "Server": "floodmark",
                "X-Accel-Buffering": "no",
                **headers,
            }
        )
        await self.answer.prepare(self._request)

    async def emit(self, found: list[Slice]) -> int:
        """Write the records and return how many; waits while the client is behind."""
        count = 0
        for part in found:
            for begin in range(0, len(part.records), _YIELD_RECORDS):
                piece = b"".join(self._items(part, begin))
                self._context.check_room(len(piece))
                with self._context.responses.hold(len(piece)):
                    await self.answer.write(piece)
                await asyncio.sleep(0)  # Other connections get their turn between thousands of records.
            count += len(part.records)
        return count

    def _items(self, part: Slice, begin: int) -> list[bytes]:
        append_time = timestamps.text(part.append_time)
        place = self._places[part.partition]
        items = []
        for index, record in enumerate(part.records[begin : begin + _YIELD_RECORDS], begin):
            offset = part.first_offset + index
            self._offsets[place] = offset + 1
            encoded = self._encode(part.partition, offset, append_time, record)
            items.append(stream_item(self._media, encoded, self._position(offset + 1)))
        return items

    def _position(self, next_offset: int) -> str:
        if self._media is not Media.EVENTS:
            return ""
        if self.reader.by_cursor:
            return cursor.encode(self.reader.topic_id, self._offsets)
        return str(next_offset)

    async def keep_alive(self) -> None:
        """Show proxies that the stream lives. Only events have a form for that."""
        if self._media is Media.EVENTS:
            await self.answer.write(_COMMENT)

    async def fail(self, error: FloodmarkError) -> None:
        """Tell an event stream's reader what went wrong; it will connect again and go on at its last id."""
        body = problems.respond(error, self._context.next_request_id()).body
        assert isinstance(body, bytes)
        await self.answer.write(b"event: error\ndata: " + body.rstrip() + b"\n\n")
