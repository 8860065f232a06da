"""Waiting for records of a topic without reading any; nodes ask each other this way for their clients."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.context import HttpContext
from node.http.query import duration_s, query_of, topic_name
from node.http.request_context import request_context
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.service import cursor
from node.service.data_requests import WaitRequest

_ENCODER = msgspec.json.Encoder()
_QUERY: Final = frozenset({"cursor", "wait", TOPIC_ID_QUERY})


class TopicWait:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The partitions that have records behind a cursor, as soon as one has; empty when the time is up.

        Another node asks for partitions that are led here; the others have no offset in its cursor.
        """
        context = self._context
        query = query_of(request, _QUERY)
        name = topic_name(request)
        if "cursor" not in query:
            raise InvalidRequest("cursor is missing: use the one that a read of the topic returned")
        goes_on = cursor.decode(query["cursor"])
        wanted = WaitRequest(
            topic=name,
            behind=goes_on,
            wait_s=duration_s(query.get("wait", "0"), "wait", cap=context.settings.wait_s_max),
            topic_id=asked_id(request, query, goes_on.topic_id),
            here_only=context.is_passed_on(request),
        )
        with context.task_ends_with_connection(request):
            news = await context.service.wait_topic(request_context(request), wanted)
        return web.Response(
            body=_ENCODER.encode({"ready": news.ready}) + b"\n",
            headers={
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                "Server": "floodmark",
                TOPIC_ID: str(news.topic_id),
            },
        )
