"""Waiting for records of a topic without reading any: what nodes ask each other for those who wait there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.context import HttpContext
from node.http.forwarded import is_forwarded
from node.http.query import duration_s, query_of, topic_name
from node.http.request_context import request_context
from node.http.topic_id import TOPIC_ID, TOPIC_ID_QUERY, asked_id
from node.service import cursor, policy
from node.service.policy import Operation
from node.service.router import not_here

_ENCODER = msgspec.json.Encoder()
_QUERY: Final = frozenset({"cursor", "wait", TOPIC_ID_QUERY})


class TopicWait:
    """The handler."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        """The partitions that have records behind a cursor, as soon as one has; none when the time is up.

        Another node asks for partitions that are led here; the others have no offset in its cursor.
        """
        context = self._context
        query = query_of(request, _QUERY)
        name = topic_name(request)
        context.service.authorize(request_context(request), Operation.READ, policy.topic(name))
        if "cursor" not in query:
            raise InvalidRequest("cursor says behind what to wait for records: a read of the topic gives one")
        goes_on = cursor.decode(query["cursor"])
        limits = await context.service.topic_limits(name, asked_id(request, query, goes_on.topic_id))
        offsets = goes_on.offsets_in(limits.partitions)
        wait_s = duration_s(query.get("wait", "0"), "wait", cap=context.settings.wait_s_max)
        passed_on = is_forwarded(request)
        numbers = [number for number, offset in enumerate(offsets) if offset >= 0 or not passed_on]
        topic_id = limits.topic_id
        partitions = [await context.service.partition(name, number, topic_id) for number in numbers]
        if passed_on:
            for partition in partitions:
                if not partition.leads_here:
                    raise not_here(partition.leader, f"{name}/{partition.number}")
        ready: Collection[int] = ()
        if partitions:
            waited = [offsets[number] for number in numbers]
            with context.task_ends_with_connection(request):
                async with context.service.while_exists(partitions[0]):
                    found = await context.service.unless_draining(
                        context.service.watches.wait(partitions, waited, wait_s=wait_s)
                    )
            ready = found or ()
        return web.Response(
            body=_ENCODER.encode({"ready": sorted(ready)}) + b"\n",
            headers={
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                "Server": "floodmark",
                TOPIC_ID: str(topic_id),
            },
        )
