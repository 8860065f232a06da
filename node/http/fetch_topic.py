"""GET of a whole topic's records: all partitions behind one opaque cursor, as a page or a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.context import HttpContext
from node.http.fetch import QUERY, Asked
from node.http.live_response import stream
from node.http.media import Media, accepted, answer_media
from node.http.page import read_page, send
from node.http.query import query_of, topic_name
from node.http.request_context import request_context
from node.http.topic_id import TOPIC_ID, asked_id
from node.service import cursor, positions
from node.service.answer_budget import Hold
from node.service.data_requests import ReadTopicRequest
from node.service.request_context import RequestContext
from node.service.topic_reader import TopicReader

TOPIC_QUERY: Final = QUERY | {"cursor"}
_AROUND_BYTES: Final = 64
_CURSOR_BYTES: Final = 12
"""Bytes of a page per partition, besides its records: an offset takes up to 9 bytes, in base64."""
_OFFERED: Final = (Media.JSON, Media.NDJSON, Media.MSGPACK, Media.EVENTS)


class TopicFetch:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Records of all partitions, each partition's in order."""
        context = self._context
        query = query_of(request, TOPIC_QUERY)
        wanted = _wanted(request, query)
        asked = Asked(query, context.settings, answer_media(accepted(request), _OFFERED))
        who = request_context(request)
        with context.hold_for(who) as hold:
            reader = await context.service.read_topic(who, wanted, hold)
            if asked.is_stream:
                return await stream(
                    context,
                    request,
                    who,
                    reader,
                    hold,
                    asked.media,
                    headers={"Vary": "Accept", TOPIC_ID: str(reader.topic_id)},
                    max_records=asked.stream_records,
                    wait_s=asked.wait_s,
                    follow=asked.follow,
                )
            return await self._page(request, who, reader, asked, hold)

    async def _page(
        self, request: web.Request, who: RequestContext, reader: TopicReader, asked: Asked, hold: Hold
    ) -> web.StreamResponse:
        context = self._context
        around = _AROUND_BYTES + _CURSOR_BYTES * len(reader.partitions)
        with context.task_ends_with_connection(request):
            await reader.pin()
            page = await read_page(context, reader, hold, asked, around=around)
        goes_on = cursor.encode(reader.topic_id, reader.offsets)
        headers = {
            "Content-Type": str(asked.media),
            "Cache-Control": "no-store",
            "Server": "floodmark",
            "Vary": "Accept",
            "Log-Cursor": goes_on,
            TOPIC_ID: str(reader.topic_id),
        }
        members: dict[str, Any] = {"cursor": goes_on}
        if reader.left_out:
            members["left_out"] = reader.left_out
        context.count_sent(who, page.size)
        return await send(request, headers, page.finish(members), hold)


def _wanted(request: web.Request, query: Mapping[str, str]) -> ReadTopicRequest:
    name = topic_name(request)
    text = request.headers.get("Last-Event-ID") or query.get("cursor")
    if text is None:
        begin = positions.check(query.get("from", "earliest"))
        return ReadTopicRequest(topic=name, begin=begin, topic_id=asked_id(request, query))
    if "from" in query and "cursor" in query:
        raise InvalidRequest("a cursor says where to go on; leave out from")
    goes_on = cursor.decode(text)
    return ReadTopicRequest(topic=name, begin=goes_on, topic_id=asked_id(request, query, goes_on.topic_id))
