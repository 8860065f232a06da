"""GET of a whole topic's records: all partitions behind one opaque cursor, as a page or a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest

from node.broker import TopicInfo
from node.http import cursor, positions
from node.http.context import HttpContext
from node.http.fetch import QUERY, Asked
from node.http.media import Media, accepted, answer_media
from node.http.query import query_of, topic_name
from node.http.reader import Reader
from node.http.records_out import document
from node.http.stream import stream

TOPIC_QUERY: Final = QUERY | {"cursor"}
_OFFERED: Final = (Media.JSON, Media.NDJSON, Media.MSGPACK, Media.EVENTS)


class TopicFetch:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Records of all partitions, each partition's in order."""
        context = self._context
        topic = await context.topic(topic_name(request))
        query = query_of(request, TOPIC_QUERY)
        asked = Asked(query, context.settings, answer_media(accepted(request), _OFFERED))
        reader = await self._reader(request, query, topic)
        if asked.is_stream:
            return await stream(
                context,
                request,
                reader,
                asked.media,
                headers={"Vary": "Accept"},
                max_records=asked.stream_records,
                wait_s=asked.wait_s,
                follow=asked.follow,
            )
        return await self._page(request, reader, asked)

    async def _reader(self, request: web.Request, query: Mapping[str, str], topic: TopicInfo) -> Reader:
        text = request.headers.get("Last-Event-ID") or query.get("cursor")
        if text is None:
            specs = [positions.check(query.get("from", "earliest"))] * len(topic.partitions)
            if positions.is_offset(specs[0]):
                raise InvalidRequest(
                    "an offset belongs to one partition: read .../partitions/N/records?from=..."
                )
        else:
            if "from" in query and "cursor" in query:
                raise InvalidRequest("a cursor says where to go on; leave out from")
            offsets = cursor.decode(text, topic)
            specs = [str(offset) if offset >= 0 else "earliest" for offset in offsets]
        numbers = [info.partition for info in topic.partitions]
        partitions = [await self._context.partition(topic.name, number) for number in numbers]
        return Reader(self._context, topic, partitions, specs, by_cursor=True)

    async def _page(self, request: web.Request, reader: Reader, asked: Asked) -> web.StreamResponse:
        context = self._context
        context.check_room(asked.max_bytes)
        with context.responses.hold(asked.max_bytes):
            with context.task_ends_with_connection(request):
                await reader.pin()
                found = await context.unless_draining(
                    reader.read(max_bytes=asked.max_bytes, max_records=asked.max_records, wait_s=asked.wait_s)
                )
            goes_on = cursor.encode(reader.topic_id, reader.offsets)
            body = document(asked.media, found or [], {"cursor": goes_on})
            answer = web.Response(
                body=body,
                headers={
                    "Content-Type": str(asked.media),
                    "Cache-Control": "no-store",
                    "Server": "floodmark",
                    "Vary": "Accept",
                    "Log-Cursor": goes_on,
                },
            )
            await answer.prepare(request)
            await answer.write_eof()
        return answer
