"""Streaming answers: events, lines, or length-prefixed MessagePack, as fast as a client reads.

Memory is bounded: one slice of records at a time, and the next one only once the client has taken this one.
What was read ahead is released when the client is slow; a client that reads nothing is dropped by its
connection's own deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import FloodmarkError, Forbidden, TooManyRequests, Unauthorized, UnknownTopic

from node.http import problems
from node.http.context import HttpContext
from node.http.event_id import EventId
from node.http.media import Media
from node.http.page import PIECE_BYTES
from node.http.records_out import stream_encoder, stream_failure, stream_item
from node.service import cursor, timestamps
from node.service.answer_budget import Hold
from node.service.following import Following
from node.service.request_context import RequestContext
from node.service.topic_reader import TopicReader
from node.service.unpacking import Slice

_COMMENT: Final = b": keep-alive\n\n"
_NEVER_AGAIN: Final = (UnknownTopic, Forbidden, Unauthorized)
"""What ends a stream that would go on, and is no fault of it: its last item says so."""
_PATIENCE_S: Final = 0.25
"""How long a client may take for a piece before what was read ahead for it is released."""


async def stream(
    context: HttpContext,
    request: web.Request,
    who: RequestContext,
    reader: TopicReader,
    hold: Hold,
    media: Media,
    *,
    headers: Mapping[str, str],
    max_records: int,
    wait_s: float,
    follow: bool,
) -> web.StreamResponse:
    """Everything from the reader's positions on; without ``follow`` only up to what is there now.

    ``HEAD`` gets the head of the answer; nothing is read.
    """
    emitter = _Emitter(context, request, who, reader, hold, media)
    if request.method == "HEAD":
        await emitter.begin(headers)
        await emitter.answer.write_eof()
        return emitter.answer
    with context.task_ends_with_connection(request):
        await reader.pin()
        following = Following(context.service, reader, follow=follow, wait_s=wait_s)
        first = await following.next()
        await emitter.begin(headers)
        pause_s = context.settings.keep_alive_comment_s
        try:
            async with contextlib.aclosing(following.slices(first, pause_s=pause_s)) as slices:
                await emitter.emit_all(slices, max_records)
        except FloodmarkError as error:
            await emitter.fail(error)
            ends_so = media is Media.EVENTS or isinstance(error, _NEVER_AGAIN)
            if not (follow and ends_so):
                raise  # It has an end, which it has not come to, or it would go on: that is to be seen.
        await emitter.answer.write_eof()
    return emitter.answer


class _Emitter:
    """Writes slices of records in one media type."""

    def __init__(
        self,
        context: HttpContext,
        request: web.Request,
        who: RequestContext,
        reader: TopicReader,
        hold: Hold,
        media: Media,
    ) -> None:
        self.reader = reader
        self.answer = web.StreamResponse()
        self._context = context
        self._request = request
        self._who = who
        self._hold = hold
        self._media = media
        self._encode = stream_encoder(media)

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

    async def emit_all(self, slices: AsyncIterator[Slice | None], left: int) -> None:
        """Write at most ``left`` records; keep the connection alive while none come."""
        async for part in slices:
            if part is None:
                await self.keep_alive()
                continue
            left -= await self.emit(part, left)
            if left <= 0:
                return

    async def emit(self, part: Slice, limit: int) -> int:
        """Write at most ``limit`` records and return how many; waits while the client is behind."""
        encode, media, partition = self._encode, self._media, part.partition
        append_time = timestamps.text(part.append_time)
        items: list[bytes] = []
        size = 0
        offset = part.first_offset
        count = 0
        for record in part.records[:limit]:
            if record is None:  # It was removed.
                offset += 1
                continue
            encoded = encode(partition, offset, append_time, record)
            offset += 1
            count += 1
            position = self._position(partition, offset) if media is Media.EVENTS else ""
            items.append(stream_item(media, encoded, position))
            size += len(items[-1])
            if size >= PIECE_BYTES:
                self.reader.move(partition, offset)
                await self._write(b"".join(items))
                items, size = [], 0
        if items:
            self.reader.move(partition, offset)
            await self._write(b"".join(items))
        self.reader.move(partition, offset)
        return count

    async def _write(self, piece: bytes) -> None:
        """Write a piece; it counts as held while it waits for the client, and soon only it does."""
        while True:
            try:
                self._hold.more(len(piece))
                break
            except TooManyRequests:
                self.reader.let_go()
                await self._context.service.answers.room()
        late = asyncio.get_running_loop().call_later(_PATIENCE_S, self.reader.let_go)
        try:
            await self.answer.write(piece)
        finally:
            late.cancel()
            self._hold.less(len(piece))
        if self._context.service.quotas.are_set:
            await self._slow_down(self._context.service.quotas.sent(self._who, len(piece)))

    async def _slow_down(self, wait_s: float) -> None:
        """Send nothing for as long as its reader's quota needs to make up for what was sent."""
        if wait_s > _PATIENCE_S:
            self.reader.let_go()
        pause_s = self._context.settings.keep_alive_comment_s
        while wait_s > 0 and not self._context.service.draining.is_set():
            await self._context.service.unless_draining(asyncio.sleep(min(wait_s, pause_s)))
            wait_s -= pause_s
            if wait_s > 0:
                await self.keep_alive()

    def _position(self, partition: int, next_offset: int) -> str:
        """An event's id: where its reader goes on, in all partitions or in this one."""
        if self.reader.by_cursor:
            self.reader.move(partition, next_offset)
            return cursor.encode(self.reader.topic_id, self.reader.offsets)
        return str(EventId(self.reader.topic_id, partition, next_offset))

    async def keep_alive(self) -> None:
        """Send a comment so that proxies keep the stream open. Only event streams have comments."""
        if self._media is Media.EVENTS:
            await self.answer.write(_COMMENT)

    async def fail(self, error: FloodmarkError) -> None:
        """Send the error as the stream's last item.

        The reader of an event stream reconnects and goes on at its last id.
        """
        problem = problems.document(error, self._context.next_request_id())
        await self.answer.write(stream_failure(self._media, problem))
