"""Asking nodes of older builds, over their public HTTP, with a mark that only this cluster's nodes know.

Builds that take no requests over their links (peer protocol below 6) are asked this way, until upgrades from
them are no longer supported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from floodmark.errors import OutcomeUnknown, TooNew, Unavailable, UnknownTopic

from node.broker import Appended, Bounds
from node.http.forwarded import FORWARDED
from node.http.media import Media
from node.http.node_address import base_url, in_pieces
from node.http.older_metadata_leader import ask_older_leader
from node.http.older_questions import OlderQuestions
from node.http.problem_in import error_of
from node.http.statuses import NOT_FOUND
from node.http.topic_id import TOPIC_ID
from node.service.answer_budget import Hold
from node.service.inside_requests import InsideRequest, R, type_of
from node.service.partition_requests import (
    AppendThere,
    FetchThere,
    Frames,
    ListOffsetsThere,
    OfPartition,
    TailThere,
    WaitThere,
)
from node.service.requests import Request
from node.service.while_heard import WhileHeard

if TYPE_CHECKING:
    from node.http.context import HttpContext

_APPENDED = msgspec.json.Decoder()
_READY = msgspec.json.Decoder(dict[str, list[int]])


class OlderNodes:
    """Implements ``Line`` for nodes whose builds take no requests over their links: one per application.

    It asks only for what such builds offer at their HTTP ports.
    """

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._ways: dict[type, Callable[[str, Any, float, Hold | None], Awaitable[Any]]] = {
            AppendThere: self._append,
            FetchThere: self._fetch,
            ListOffsetsThere: self._list_offsets,
            TailThere: self._tail,
            WaitThere: self._wait,
            **OlderQuestions(context).ways,
        }

    async def ask(
        self,
        node: str,
        request: InsideRequest[R],
        *,
        timeout_s: float,
        hold: Hold | None = None,
        order: Hashable = None,  # noqa: ARG002 - each request has a connection of its own
    ) -> R:
        """See ``Line``."""
        if isinstance(request, Request):
            mark = {FORWARDED: self._context.node_mark}
            return await ask_older_leader(self._context, node, request, mark=mark, timeout_s=timeout_s)
        way = self._ways.get(type(request))
        if way is None:
            name = type_of(request).name
            raise TooNew(f"node {node} does not know requests of type {name}: start a newer one", unlike=name)
        result: R = await way(node, request, timeout_s, hold)
        return result

    async def _append(
        self, node: str, request: AppendThere, timeout_s: float, _hold: Hold | None
    ) -> Appended:
        assert request.position is None, "no such node is in a cluster of that feature level"
        assert request.deliver_at_ms is None, "nor of that one"
        context = self._context
        url = base_url(context.broker, node) + _path(request)
        query = {"acks": str(request.acks), "timeout": _milliseconds(timeout_s)}
        headers = {
            "Content-Type": str(Media.BATCH),
            FORWARDED: context.node_mark,
            TOPIC_ID: str(request.topic_id),
        }
        if request.expected_offset is not None:
            headers["If-Offset"] = str(request.expected_offset)
        try:
            async with (
                asyncio.timeout(timeout_s + context.settings.forward_grace_s),
                WhileHeard(context.broker, node),
                context.session.post(
                    url, params=query, data=in_pieces(request.batch), headers=headers, allow_redirects=False
                ) as answer,
            ):
                body = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable(f"node {node} cannot be reached", leader=node) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise OutcomeUnknown(f"node {node} did not answer; it may have done it", leader=node) from error
        if answer.status != 200:
            raise error_of(answer.status, body)
        found: dict[str, Any] = _APPENDED.decode(body)
        return Appended(
            found["first_offset"],
            found["next_offset"],
            found["high_watermark"],
            duplicate=found.get("duplicate", False),
        )

    async def _fetch(self, node: str, request: FetchThere, _timeout_s: float, hold: Hold | None) -> Frames:
        query = {"from": request.position, "max_bytes": str(request.max_bytes)}
        if request.verify:
            query["verify"] = "true"
        async with self._asked(node, request, "GET", "records", query) as answer:
            size = answer.content_length or 0
            if hold is not None:
                hold.more(size)
            try:
                body = await answer.read()
            except BaseException:
                if hold is not None:
                    hold.less(size)
                raise
        return _found(answer, body)

    async def _list_offsets(
        self, node: str, request: ListOffsetsThere, _timeout_s: float, _hold: Hold | None
    ) -> Frames:
        query = {"from": request.position, "max_bytes": "1"}
        async with self._asked(node, request, "HEAD", "records", query) as answer:
            found = _found(answer, b"")
        return msgspec.structs.replace(found, next_offset=found.start)

    async def _tail(self, node: str, request: TailThere, timeout_s: float, _hold: Hold | None) -> Bounds:
        query = {"timeout": _milliseconds(timeout_s)}
        async with self._asked(node, request, "GET", "tail", query, timeout_s=timeout_s) as answer:
            found = _found(answer, b"")
        return Bounds(found.log_start_offset, found.high_watermark)

    async def _wait(self, node: str, request: WaitThere, timeout_s: float, _hold: Hold | None) -> list[int]:
        context = self._context
        url = f"{base_url(context.broker, node)}/v1/topics/{request.topic}/wait"
        query = {"cursor": request.cursor, "wait": f"{timeout_s:g}s"}
        headers = {FORWARDED: context.node_mark, TOPIC_ID: str(request.topic_id)}
        try:
            with context.patience():
                async with (
                    asyncio.timeout(timeout_s + context.settings.forward_grace_s),
                    WhileHeard(context.broker, node),
                    context.patient_session.get(
                        url, params=query, headers=headers, allow_redirects=False
                    ) as answer,
                ):
                    body = await answer.read()
            if answer.status == 200:
                return _READY.decode(body)["ready"]
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError, KeyError) as error:
            raise Unavailable(f"node {node} did not answer", leader=node) from error
        raise Unavailable(f"node {node} cannot tell", leader=node)

    @asynccontextmanager
    async def _asked(
        self,
        node: str,
        request: OfPartition,
        method: str,
        rest: str,
        query: dict[str, str],
        *,
        timeout_s: float = 0.0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A leader's answer about its records, of which the body is still to be read."""
        context = self._context
        url = base_url(context.broker, node) + _path(request, rest)
        headers = {
            "Accept": Media.BATCH,
            "Cache-Control": "no-store",
            FORWARDED: context.node_mark,
            TOPIC_ID: str(request.topic_id),
        }
        try:
            async with (
                asyncio.timeout(timeout_s + context.settings.forward_grace_s),
                WhileHeard(context.broker, node),
                context.session.request(
                    method, url, params=query, headers=headers, allow_redirects=False
                ) as answer,
            ):
                if answer.status != 200:
                    if answer.status == NOT_FOUND:  # Also for HEAD, whose answer has no body.
                        raise UnknownTopic(f"node {node} knows no such topic {request.topic}")
                    raise error_of(answer.status, await answer.read())
                yield answer
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(f"node {node} did not answer", leader=node) from error


def _path(request: OfPartition, rest: str = "records") -> str:
    return f"/v1/topics/{request.topic}/partitions/{request.partition}/{rest}"


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"


def _found(answer: aiohttp.ClientResponse, frames: bytes) -> Frames:
    head = answer.headers
    next_offset = int(head["Log-Next-Offset"])
    return Frames(
        int(head.get("Log-From-Offset", next_offset)),
        next_offset,
        int(head["Log-Start-Offset"]),
        int(head["Log-High-Watermark"]),
        frames,
    )
