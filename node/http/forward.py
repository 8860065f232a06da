"""Passing a request on to the node that can serve it: once, streaming the body in both directions.

Only addresses from the replicated metadata are ever connected to. ``Floodmark-Forwarded: 1`` marks what was
passed on; a node that gets such a request without being the leader answers 503 with the leader's name, so a
request is never passed on twice, whoever sends the header.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from typing import Final

import aiohttp
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError
from floodmark.errors import (
    FloodmarkError,
    LeaderNotAvailable,
    NotLeaderOrFollower,
    OutcomeUnknown,
    Unavailable,
)
from multidict import CIMultiDict
from yarl import URL

from node.broker import Partition
from node.budget import Account
from node.http.body import check_length
from node.http.context import HttpContext
from node.http.inside_line import FORWARDED
from node.http.node_address import base_url, in_pieces
from node.http.statuses import NOT_FOUND, UNAVAILABLE
from node.http.topic_id import TOPIC_ID
from node.service.loop_share import BODY_PIECE_BYTES, BODY_SMALL_BYTES, LoopShare
from node.service.while_heard import WhileHeard

LEADER: Final = "Floodmark-Leader"
LEADER_URL: Final = "Floodmark-Leader-Url"
_NOT_PASSED_ON: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"host", "expect", "floodmark-forwarded"}
    | {"origin", "referer", "cookie", "access-control-request-method", "access-control-request-headers"}
)
"""Of this connection, or of the web page that asks: that was judged here. All else goes on as it came."""
_FROM_BROWSERS: Final = "sec-"
_NOT_PASSED_BACK: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "date", "server"}
)
_RETRY_S: Final = 0.05
_LOOK_S: Final = 0.5
"""How long one view of a partition is waited with for its leader."""
_SMALL_BYTES: Final = 64 << 10
_READY_S: Final = 1.0
"""How long a request that was passed on waits for a new leader to be ready."""
_LEADER_TELLS_S: Final = 2.0
"""How long a stream's leader has to say that the topic is deleted before the connection is broken off."""
_READS: Final = ("GET", "HEAD")
_NO_BODY: Final = (*_READS, "DELETE")


class Upload:
    """A request's body on its way to another node. ``started``: the other side may have seen some of it."""

    def __init__(self, request: web.Request, cap: int, account: Account, bodies: LoopShare) -> None:
        self._request = request
        self._bodies = bodies
        self._cap = cap
        self._account = account
        self.started = False
        self.error: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes in, never more than ``cap`` bytes of it."""
        self.started = True
        total = 0
        number = self._bodies.number()
        content = self._request.content
        try:
            while chunk := await content.readany():
                total += len(chunk)
                check_length(total, self._cap)
                self._account.take(len(chunk))
                yield chunk
                if total > BODY_SMALL_BYTES:
                    await self._bodies.wait(BODY_PIECE_BYTES, number)
        except (FloodmarkError, RequestPayloadError, ConnectionError) as error:
            self.error = error
            raise


def is_forwarded(request: web.Request) -> bool:
    """Whether another node has passed this request on."""
    return FORWARDED in request.headers


def not_here(leader: str | None, what: str) -> Unavailable:
    """The answer to a request that was passed on to a node that does not lead (any more)."""
    return NotLeaderOrFollower(f"this node does not lead {what}", leader=leader, retry_after_s=0.1)


async def to_partition_leader(
    context: HttpContext,
    request: web.Request,
    partition: Partition,
    rest: str,
    *,
    timeout_s: float,
    waits: bool = False,
    body: bytes | None = None,
) -> web.StreamResponse | Partition:
    """Serve ``request`` from the partition's leader; waits for one to be elected within ``timeout_s``.

    When this node has become the leader meanwhile, the partition, which the caller then serves. The request
    belongs to its topic from here on. ``waits``: it is a long poll or a stream. ``body``: all of it as it
    came, where it was read already; with it the next leader is asked when one refuses. Raises
    ``TopicDeleted`` as soon as this node knows.
    """
    what = f"{partition.topic}/{partition.number}"
    if is_forwarded(request):
        if partition.leader == context.broker.node_id:  # Elected this moment, and not ready yet.
            await partition.wait_leader(deadline_s=min(timeout_s, _READY_S))
            partition = context.service.current(partition)
            if partition.leads_here:
                return partition
        raise not_here(partition.leader, what)
    with context.patience() if waits else nullcontext():
        return await _at_the_leader(
            context, request, partition, rest, timeout_s=timeout_s, waits=waits, body=body
        )


async def _at_the_leader(
    context: HttpContext,
    request: web.Request,
    partition: Partition,
    rest: str,
    *,
    timeout_s: float,
    waits: bool,
    body: bytes | None,
) -> web.StreamResponse | Partition:
    deadline = time.monotonic() + timeout_s
    path = f"/v1/topics/{partition.topic}/partitions/{partition.number}/{rest}"
    while (left := deadline - time.monotonic()) > 0:
        async with context.service.while_exists(partition):
            partition = context.service.current(partition)
            leader = await _leader_of(context, partition, left)
            partition = context.service.current(partition)
            if partition.leads_here:
                return partition
            answer = None
            if leader != context.broker.node_id:  # else: elected this moment, and not ready yet
                answer = await _attempt(
                    context,
                    request,
                    leader,
                    path,
                    partition.doubt_leader,
                    timeout_s=left,
                    topic_id=partition.topic_id,
                    waits=waits,
                    body=body,
                )
            if answer is None:
                await asyncio.sleep(_RETRY_S)
                continue
        try:
            if answer.status == NOT_FOUND:
                error = await context.service.not_found_there(partition)
                if error is not None:
                    raise error
            async with context.service.while_exists(partition, grace_s=_LEADER_TELLS_S):
                return await _pass_back(context, request, answer, leader)
        finally:
            answer.release()
    raise LeaderNotAvailable(
        f"no leader of partition {partition.number} of topic {partition.topic} answered in time",
        leader=partition.leader,
    )


async def _leader_of(context: HttpContext, partition: Partition, deadline_s: float) -> str:
    """Raises ``Unavailable``. Looks again: a replica of this node's may be closed meanwhile, or lead."""
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            left = deadline - time.monotonic()
            return await partition.wait_leader(deadline_s=min(left, _LOOK_S))
        except Unavailable:
            if time.monotonic() + _RETRY_S >= deadline:
                raise
        await asyncio.sleep(_RETRY_S)
        partition = context.service.current(partition)
        if partition.leads_here:
            return context.broker.node_id


async def _attempt(
    context: HttpContext,
    request: web.Request,
    leader: str,
    path: str,
    doubt: Callable[[str], None],
    *,
    timeout_s: float,
    topic_id: int | None = None,
    waits: bool = False,
    body: bytes | None = None,
) -> aiohttp.ClientResponse | None:
    """The leader's answer, or None to try again: nothing was sent, it refused and no body is gone, or it is
    not heard any more and was only to be read from.

    ``doubt`` is told of a node that does not serve: whoever took it for the leader may rely on it asleep.
    """
    base = base_url(context.broker, leader)
    query = request.rel_url.raw_query_string
    url = URL(f"{base}{path}?{query}" if query else base + path, encoded=True)
    headers = _passed_on(context, request, topic_id)
    streams = body is None and request.can_read_body
    cap = context.settings.body_bytes_max
    if request.content_length is not None:
        check_length(request.content_length, cap)
    account = context.uploads(request)
    upload = Upload(request, cap, account, context.bodies)
    try:
        async with (
            asyncio.timeout(timeout_s + context.settings.forward_grace_s),
            WhileHeard(context.broker, leader),
        ):
            session = context.patient_session if waits else context.session
            answer = await session.request(
                request.method,
                url,
                headers=headers,
                data=upload.chunks() if streams else None if body is None else in_pieces(body),
                allow_redirects=False,
            )
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        if upload.started:
            raise
        return None
    except (aiohttp.ClientError, TimeoutError, ConnectionError, FloodmarkError) as error:
        if upload.error is not None:
            raise upload.error from error
        if _may_ask_another(context, request, leader, doubt):
            return None
        raise _lost(request, leader, started=upload.started or body is not None) from error
    finally:
        account.close()
    if answer.status == UNAVAILABLE:
        doubt(leader)
        if not streams:
            answer.release()
            return None
    return answer


def _may_ask_another(
    context: HttpContext, request: web.Request, leader: str, doubt: Callable[[str], None]
) -> bool:
    """Whether a request that got no answer does no harm twice, and not for want of time."""
    if context.broker.hears(leader):
        return False
    doubt(leader)
    return request.method in _READS


def _lost(request: web.Request, leader: str, *, started: bool) -> FloodmarkError:
    """What to say when the connection to the leader ended without an answer."""
    if request.method == "GET":
        return Unavailable(f"node {leader} did not answer", leader=leader)
    if request.method in _NO_BODY or started:
        return OutcomeUnknown(f"node {leader} did not answer; it may have done it", leader=leader)
    return Unavailable(f"node {leader} did not take the request", leader=leader)


def _passed_on(context: HttpContext, request: web.Request, topic_id: int | None) -> CIMultiDict[str]:
    # In one spelling: of two that differ in that alone aiohttp's client would send the last one only.
    headers = CIMultiDict(
        (lower, value)
        for name, value in request.headers.items()
        if (lower := name.lower()) not in _NOT_PASSED_ON and not lower.startswith(_FROM_BROWSERS)
    )
    headers[FORWARDED] = context.node_mark
    if topic_id is not None:
        headers[TOPIC_ID] = str(topic_id)
    return headers


async def _pass_back(
    context: HttpContext, request: web.Request, answer: aiohttp.ClientResponse, leader: str
) -> web.StreamResponse:
    try:
        async with WhileHeard(context.broker, leader):
            return await _relay(context, request, answer, leader)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionResetError(f"node {leader} broke off its answer") from error


async def _relay(
    context: HttpContext, request: web.Request, answer: aiohttp.ClientResponse, leader: str
) -> web.StreamResponse:
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_PASSED_BACK}
    headers[LEADER] = leader
    headers[LEADER_URL] = str(answer.url.origin())
    length = answer.content_length
    # The length of what HEAD or a 304 leaves out is told all the same.
    has_body = request.method != "HEAD" and answer.status != 304
    if has_body and length is not None and length <= _SMALL_BYTES:
        headers.pop("Content-Length", None)
        return web.Response(status=answer.status, body=await answer.read(), headers=headers)
    back = web.StreamResponse(status=answer.status, headers=headers)
    with context.task_ends_with_connection(request):
        await back.prepare(request)
        async for chunk in answer.content.iter_any():
            await back.write(chunk)
        await back.write_eof()
    return back
