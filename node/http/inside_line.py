"""Asking other nodes over their public HTTP, with a mark that only this cluster's nodes know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from floodmark.errors import OutcomeUnknown, Unavailable, UnknownTopic

from node.broker import Appended, Bounds, Fetched, Partition, Unreadable
from node.http.forwarded import FORWARDED
from node.http.media import Media
from node.http.node_address import base_url, in_pieces
from node.http.older_metadata_leader import ask_older_leader
from node.http.problem_in import error_of
from node.http.statuses import NOT_FOUND, UNAVAILABLE
from node.http.topic_id import TOPIC_ID
from node.service.answer_budget import Hold
from node.service.inside_line import AppendRequest, Found
from node.service.inside_requests import InsideRequest, R
from node.service.requests import Request
from node.service.while_heard import WhileHeard

if TYPE_CHECKING:
    from node.http.context import HttpContext

_APPENDED = msgspec.json.Decoder()
_READY = msgspec.json.Decoder(dict[str, list[int]])


class HttpInsideLine:
    """One per application."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context

    async def ask(
        self,
        node: str,
        request: InsideRequest[R],
        *,
        timeout_s: float,
        hold: Hold | None = None,  # noqa: ARG002
    ) -> R:
        """See ``InsideLine``; for requests of the metadata's leader."""
        assert isinstance(request, Request), "only administration is asked like this"
        mark = {FORWARDED: self._context.node_mark}
        return await ask_older_leader(self._context, node, request, mark=mark, timeout_s=timeout_s)

    async def append(
        self, node: str, partition: Partition, request: AppendRequest, *, timeout_s: float
    ) -> Appended:
        """See ``InsideLine``."""
        context = self._context
        url = base_url(context.broker, node) + _path(partition)
        query = {"acks": str(request.acks), "timeout": _milliseconds(timeout_s)}
        headers = {
            "Content-Type": str(Media.BATCH),
            FORWARDED: context.node_mark,
            TOPIC_ID: str(partition.topic_id),
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
            if answer.status == UNAVAILABLE:
                partition.doubt_leader(node)
            raise error_of(answer.status, body)
        found: dict[str, Any] = _APPENDED.decode(body)
        return Appended(
            found["first_offset"],
            found["next_offset"],
            found["high_watermark"],
            duplicate=found.get("duplicate", False),
        )

    async def fetch(
        self, node: str, partition: Partition, position: str, *, max_bytes: int, verify: bool, hold: Hold
    ) -> Found:
        """See ``InsideLine``."""
        query = {"from": position, "max_bytes": str(max_bytes)}
        if verify:
            query["verify"] = "true"
        async with self._asked(node, partition, "GET", "records", query) as answer:
            size = answer.content_length or 0
            hold.more(size)
            try:
                body = await answer.read()
            except BaseException:
                hold.less(size)
                raise
        return _found(answer, body)

    async def list_offsets(self, node: str, partition: Partition, position: str) -> Found:
        """See ``InsideLine``."""
        query = {"from": position, "max_bytes": "1"}
        async with self._asked(node, partition, "HEAD", "records", query) as answer:
            head = _found(answer, b"")
        return Found(head.start, Fetched(b"", head.start, head.fetched.bounds))

    async def tail(self, node: str, partition: Partition, *, timeout_s: float) -> Bounds:
        """See ``InsideLine``."""
        query = {"timeout": _milliseconds(timeout_s)}
        async with self._asked(node, partition, "GET", "tail", query, timeout_s=timeout_s) as answer:
            return _found(answer, b"").fetched.bounds

    async def wait(
        self, node: str, topic: str, topic_id: int, cursor: str, *, wait_s: float
    ) -> Collection[int]:
        """See ``InsideLine``."""
        context = self._context
        url = f"{base_url(context.broker, node)}/v1/topics/{topic}/wait"
        query = {"cursor": cursor, "wait": f"{wait_s:g}s"}
        headers = {FORWARDED: context.node_mark, TOPIC_ID: str(topic_id)}
        try:
            with context.patience():
                async with (
                    asyncio.timeout(wait_s + context.settings.forward_grace_s),
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
        partition: Partition,
        method: str,
        rest: str,
        query: dict[str, str],
        *,
        timeout_s: float = 0.0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A leader's answer about its records, of which the body is still to be read."""
        context = self._context
        url = base_url(context.broker, node) + _path(partition, rest)
        headers = {
            "Accept": Media.BATCH,
            "Cache-Control": "no-store",
            FORWARDED: context.node_mark,
            TOPIC_ID: str(partition.topic_id),
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
                        raise UnknownTopic(f"node {node} knows no such topic {partition.topic}")
                    error = error_of(answer.status, await answer.read())
                    if isinstance(error, Unavailable):
                        partition.doubt_leader(node)
                        raise Unreadable(error.detail, **error.fields)
                    raise error
                yield answer
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(f"node {node} did not answer", leader=node) from error


def _path(partition: Partition, rest: str = "records") -> str:
    return f"/v1/topics/{partition.topic}/partitions/{partition.number}/{rest}"


def _milliseconds(seconds: float) -> str:
    return f"{max(1, int(seconds * 1000))}ms"


def _found(answer: aiohttp.ClientResponse, frames: bytes) -> Found:
    head = answer.headers
    bounds = Bounds(int(head["Log-Start-Offset"]), int(head["Log-High-Watermark"]))
    next_offset = int(head["Log-Next-Offset"])
    return Found(int(head.get("Log-From-Offset", next_offset)), Fetched(frames, next_offset, bounds))
