"""A page of records in JSON or MessagePack: encoded slice by slice up to its limits, sent piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web
from floodmark.errors import FloodmarkError, Unavailable
from floodmark.format import packed_heads

from node.http.context import HttpContext
from node.http.media import Media
from node.http.records_out import RecordEncoder, json_record, msgpack_record
from node.service import timestamps
from node.service.answer_budget import Hold
from node.service.topic_reader import TopicReader
from node.service.unpacking import Slice

PIECE_BYTES: Final = 64 << 10
WHOLE_BYTES: Final = 16 << 10
"""Pages up to this size are not counted while they are sent: a connection's buffer takes more."""
_PAUSE_S: Final = 0.05
"""Pause between two looks at partitions that have no leader."""

_JSON = msgspec.json.Encoder()
_MSGPACK = msgspec.msgpack.Encoder()


class Wanted(Protocol):
    """What is asked of a page; see ``fetch.Asked``."""

    media: Media
    max_bytes: int
    max_records: int
    wait_s: float


class Page:
    """Takes records up to ``bytes_max`` bytes or ``records_max`` records, but at least one.

    ``around``: how many of the bytes are for what surrounds the records.
    """

    def __init__(self, media: Media, *, bytes_max: int, records_max: int, around: int) -> None:
        self._media = media
        self._encode = msgpack_record if media is Media.MSGPACK else json_record
        self._separator = 0 if media is Media.MSGPACK else 1
        self._bytes_max = bytes_max - around
        self._records_max = records_max
        self._pieces: deque[bytes] = deque()
        self._items: list[bytes] = []
        self._cut_at = PIECE_BYTES
        self.size = 0
        self.count = 0
        self.is_full = False

    def add(self, part: Slice, encode: RecordEncoder | None = None) -> int:
        """Take what fits of a slice, as ``encode`` writes it. Returns the offset after that."""
        encode = encode or self._encode
        partition, append_time = part.partition, timestamps.text(part.append_time)
        offset, size, items = part.first_offset, self.size, self._items
        room = self._bytes_max if self.count else 1 << 63  # The first record fits, however large.
        count = 0
        for record in part.records[: self._records_max - self.count]:
            if record is None:  # It was removed.
                offset += 1
                continue
            item = encode(partition, offset, append_time, record)
            after = size + len(item) + self._separator
            if after > room:
                self.is_full = True
                break
            items.append(item)
            size, room = after, self._bytes_max
            offset += 1
            count += 1
            if size >= self._cut_at:
                self._cut()
                items, self._cut_at = self._items, size + PIECE_BYTES
        self.size = size
        self.count += count
        self.is_full = self.is_full or self.count >= self._records_max
        return offset

    def _cut(self) -> None:
        """Make a piece of the records so far."""
        if self._separator and self._pieces:
            self._items[0] = b"," + self._items[0]
        joint = b"," if self._separator else b""
        self._pieces.append(self._items[0] if len(self._items) == 1 else joint.join(self._items))
        self._items = []

    def finish(self, members: dict[str, Any]) -> deque[bytes]:
        """The pieces of ``{"records": [...]}`` with the other members; this page is used up."""
        if self._items:
            self._cut()
        if self._media is Media.MSGPACK:
            head = b"%c\xa7records%b" % (0x81 + len(members), packed_heads.array(self.count))
            tail = b"".join(_MSGPACK.encode(name) + _MSGPACK.encode(value) for name, value in members.items())
        else:
            head, tail = b'{"records":[', b"]," + _JSON.encode(members)[1:] + b"\n"
        self._pieces.appendleft(head)
        self._pieces.append(tail)
        return self._pieces


async def read_page(
    context: HttpContext, reader: TopicReader, hold: Hold, wanted: Wanted, *, around: int
) -> Page:
    """What there is; if that is nothing, what comes within ``wait_s``. Holds nothing while it waits."""
    deadline = time.monotonic() + wanted.wait_s
    while True:
        granted = hold.set_page_aside(wanted.max_bytes)
        page = Page(wanted.media, bytes_max=granted, records_max=wanted.max_records, around=around)
        left = deadline - time.monotonic()
        try:
            await _fill(page, reader, hold, granted)
        except Unavailable:
            if left <= 0 or not reader.by_cursor:
                raise
            await asyncio.sleep(_PAUSE_S)
        if page.count or left <= 0 or context.service.draining.is_set():
            return page
        hold.nothing()
        await context.service.unless_draining(reader.wait(left))


async def _fill(page: Page, reader: TopicReader, hold: Hold, granted: int) -> None:
    """Read from the reader's positions on until the page is full or nothing is left.

    A failure after the first record ends the page: the next read from there reports it. Afterwards ``hold``
    has the page and nothing else.
    """
    reader.begin(max_bytes=granted)
    counted = 0
    try:
        while not page.is_full:
            part = await reader.next()
            if part is None:
                break
            reader.move(part.partition, page.add(part))
            hold.more(page.size - counted)
            counted = page.size
    except FloodmarkError:
        if not counted:
            raise
    finally:
        reader.let_go()
    hold.page_is_made()


async def send(
    request: web.Request, headers: dict[str, str], pieces: deque[bytes], hold: Hold
) -> web.StreamResponse:
    """Send a page; what its client has taken is given back."""
    size = sum(len(piece) for piece in pieces)
    if size <= WHOLE_BYTES:
        return web.Response(body=b"".join(pieces), headers=headers)
    answer = web.StreamResponse(headers=headers)
    answer.content_length = size
    await answer.prepare(request)
    while pieces and request.method != "HEAD":
        piece = pieces.popleft()
        await answer.write(piece)
        hold.less(min(len(piece), hold.held))  # What surrounds the records is not counted.
    await answer.write_eof()
    return answer


async def send_in_pieces(
    request: web.Request, headers: dict[str, str], body: bytes | memoryview
) -> web.StreamResponse:
    """Send a body that is held as a whole; at the end its client has taken all but what the kernel holds."""
    answer = web.StreamResponse(headers=headers)
    answer.content_length = len(body)
    await answer.prepare(request)
    view = memoryview(body)
    if request.method != "HEAD":
        for begin in range(0, len(view), PIECE_BYTES):
            await answer.write(view[begin : begin + PIECE_BYTES])
    await answer.write_eof()
    return answer
