"""Queues over HTTP: make, change, list, describe, purge, delete."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.answers import TIMEOUT, Desk
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.query import capped, duration_s, query_of
from node.service.queue_admin import (
    PAGE,
    PAGE_MAX,
    DeleteQueue,
    DescribeQueue,
    ListQueues,
    PurgeQueue,
    PutQueue,
)
from node.service.queue_settings import QueueSettings

_LISTING: Final = TIMEOUT | {"prefix", "after", "limit"}
_EXAMPLE: Final = '{"topic": "orders"}'
_LONGEST_S: Final = 1e9
"""Longer than all that a setting takes, so that what is too long is refused and not shortened."""


class QueueBody(QueueSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings as they are sent: times in milliseconds, or as durations under the name without ``_ms``."""

    visibility_timeout: str | msgspec.UnsetType = msgspec.UNSET
    backoff: list[str] | msgspec.UnsetType = msgspec.UNSET

    def settings(self) -> QueueSettings:
        """In milliseconds. Raises ``InvalidRequest`` for what is no duration, or is said twice."""
        given = {name: getattr(self, name) for name in QueueSettings.__struct_fields__}
        if self.visibility_timeout is not msgspec.UNSET:
            _only_once(given, "visibility_timeout")
            given["visibility_timeout_ms"] = _milliseconds(self.visibility_timeout, "visibility_timeout")
        if self.backoff is not msgspec.UNSET:
            _only_once(given, "backoff")
            given["backoff_ms"] = [_milliseconds(each, "a delay in backoff") for each in self.backoff]
        return QueueSettings(**given)


def _only_once(given: dict[str, Any], name: str) -> None:
    if given[f"{name}_ms"] is not msgspec.UNSET:
        raise InvalidRequest(f"say {name} or {name}_ms, not both")


def _milliseconds(text: str, name: str) -> int:
    return round(duration_s(text, name, cap=_LONGEST_S) * 1000)


_SETTINGS = msgspec.json.Decoder(QueueBody)


def queue_name(request: web.Request) -> str:
    """The queue in the path."""
    return request.match_info["queue"]


class Queues:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Queues in order of name, a page at a time: for the next page, ``after`` is the last one's name."""
        query = query_of(request, _LISTING)
        asked = ListQueues(
            prefix=query.get("prefix", ""),
            after=query.get("after", ""),
            limit=capped(query, "limit", default=PAGE, cap=PAGE_MAX),
        )
        return await self._desk.show(request, asked, known=_LISTING)

    async def put(self, request: web.Request) -> web.StreamResponse:
        """201 when made now, 200 when it was there and has these settings now."""
        name, timeout_s = queue_name(request), self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _SETTINGS, _EXAMPLE)
        asked = PutQueue(queue=name, config=wanted.settings())
        stored, node, by_leader = await self._desk.ask(request, asked, timeout_s=timeout_s, size=size)
        status = 201 if stored.made else 200
        headers = {"Location": f"/v1/queues/{name}"}
        return self._desk.answer(stored.queue, node, by_leader, status=status, headers=headers)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """A queue with its settings and how much there is."""
        return await self._desk.show(request, DescribeQueue(queue=queue_name(request)))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a queue: 204."""
        return await self._desk.show(request, DeleteQueue(queue=queue_name(request)))

    async def purge(self, request: web.Request) -> web.StreamResponse:
        """Settle all that is there."""
        return await self._desk.show(request, PurgeQueue(queue=queue_name(request)))
