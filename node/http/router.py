"""Reading from and appending to a partition wherever its leader is: on this node, or over HTTP on another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from floodmark.errors import (
    FloodmarkError,
    LeaderNotAvailable,
    OutcomeUnknown,
    Unavailable,
    UnknownTopic,
    error_class,
)
from floodmark.format import batch as codec
from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record

from node.broker import Acks, Appended, Bounds, Fetched, Partition, Unreadable
from node.http import positions
from node.http.answers import Hold
from node.http.context import FORWARDED, HttpContext
from node.http.forward import base_url, in_pieces
from node.http.media import Media
from node.http.statuses import NOT_FOUND, UNAVAILABLE
from node.http.topic_id import TOPIC_ID
from node.http.while_heard import WhileHeard

T = TypeVar("T")
_RETRY_S: Final = 0.05
_STANDARD: Final = frozenset(
    {"type", "title", "status", "detail", "code", "cause", "retriable", "request_id"}
)
_APPENDED = msgspec.json.Decoder()


class Sending(msgspec.Struct, frozen=True):
    """One batch for one partition, in nobody's name, and what was asked for."""

    batch: bytes
    header: BatchHeader
    acks: Acks
    timeout_s: float

    def store(self, partition: Partition, timeout_s: float) -> Awaitable[Appended]:
        """At the leader."""
        return partition.produce(self.batch, self.header, acks=self.acks, timeout_s=timeout_s)

    def alone(self, _batch_format: int) -> Sending:
        """To travel to the leader."""
        return self


class Small(msgspec.Struct, frozen=True):
    """Some records in nobody's name, with acks=quorum, which may share a batch at the leader."""

    records: Sequence[Record]
    timeout_s: float

    def store(self, partition: Partition, timeout_s: float) -> Awaitable[Appended]:
        """At the leader."""
        size = sum(record.size for record in self.records)
        return partition.produce_records(self.records, size=size, timeout_s=timeout_s)

    def alone(self, _batch_format: int) -> Sending:
        """To travel to the leader."""
        batch = codec.encode(self.records, format=_batch_format)
        return Sending(batch, codec.decode_header(batch), Acks.QUORUM, self.timeout_s)


class Found(msgspec.Struct, frozen=True):
    """What a read brought. ``start``: the offset that the asked position means."""

    start: int
    fetched: Fetched


async def append(
    context: HttpContext, partition: Partition, sending: Sending | Small
) -> tuple[Appended, str]:
    """Append where the partition's leader is, waiting for one to be elected. Raises as ``produce`` does.

    Returns who that was, too. Raises ``TopicDeleted`` as soon as this node knows, as all here do.
    """
    return await _while_exists(context, partition, lambda: _append(context, partition, sending))


async def _while_exists(
    context: HttpContext, partition: Partition, ask: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    try:
        async with context.while_exists(partition):
            return await ask()
    except (Unavailable, OutcomeUnknown) as error:
        raise context.reason(error, partition) from error
    except UnknownTopic as error:
        if context.gone(partition) is not None:
            raise
        raise await context.not_found_there(partition) or error from error


async def _append(
    context: HttpContext, partition: Partition, sending: Sending | Small
) -> tuple[Appended, str]:
    deadline = time.monotonic() + sending.timeout_s
    while (left := deadline - time.monotonic()) > 0:
        partition = context.current(partition)
        try:
            if partition.leads_here:
                return await sending.store(partition, left), context.broker.node_id
            leader = await partition.wait_leader(deadline_s=left)
            if leader != context.broker.node_id:
                return await _append_there(
                    context, partition, sending.alone(context.broker.batch_format), leader, left
                ), leader
        except Unavailable:  # Nothing was stored: the next leader may do it.
            if time.monotonic() + _RETRY_S >= deadline:
                raise
        await asyncio.sleep(_RETRY_S)
    raise LeaderNotAvailable(f"no leader of {partition.topic}/{partition.number} took the batch in time")


async def read(context: HttpContext, partition: Partition, spec: str, *, max_bytes: int, hold: Hold) -> Found:
    """Read what is there from the position ``spec`` on, at the partition's leader. Nothing that fails
    its checksum is read. Raises as ``fetch`` does.

    The frames are in ``hold`` then, or ``TooManyRequests`` is raised.
    """
    return await _while_exists(
        context, partition, lambda: _read(context, partition, spec, max_bytes=max_bytes, hold=hold)
    )


async def _read(
    context: HttpContext, partition: Partition, spec: str, *, max_bytes: int, hold: Hold
) -> Found:
    partition = context.current(partition)
    if partition.leads_here:
        start = await positions.resolve(spec, partition)
        found = Found(start, await partition.fetch(start, max_bytes=max_bytes, verify=True))
        hold.more(len(found.fetched.frames))
        return found
    leader = await _leader(context, partition, 1.0)
    query = {"from": spec, "max_bytes": str(max_bytes), "verify": "true"}
    async with _asked(context, partition, leader, "GET", query) as answer:
        size = answer.content_length or 0
        hold.more(size)
        try:
            body = await answer.read()
        except BaseException:
            hold.less(size)
            raise
    head = answer.headers
    bounds = Bounds(int(head["Log-Start-Offset"]), int(head["Log-High-Watermark"]))
    return Found(int(head["Log-From-Offset"]), Fetched(body, int(head["Log-Next-Offset"]), bounds))


async def resolve(context: HttpContext, partition: Partition, spec: str) -> int:
    """The offset that the position ``spec`` means at the partition's leader now. Raises as ``fetch`` does."""
    return await _while_exists(context, partition, lambda: _resolve(context, partition, spec))


async def _resolve(context: HttpContext, partition: Partition, spec: str) -> int:
    partition = context.current(partition)
    if partition.leads_here:
        return await positions.resolve(spec, partition)
    leader = await _leader(context, partition, 1.0)
    query = {"from": spec, "max_bytes": "1"}
    async with _asked(context, partition, leader, "HEAD", query) as answer:
        return int(answer.headers["Log-From-Offset"])


async def _leader(context: HttpContext, partition: Partition, deadline_s: float) -> str:
    """The other node that leads."""
    leader = await partition.wait_leader(deadline_s=deadline_s)
    if leader == context.broker.node_id:
        raise LeaderNotAvailable(f"the leader of {partition.topic}/{partition.number} is not ready yet")
    return leader


@asynccontextmanager
async def _asked(
    context: HttpContext, partition: Partition, leader: str, method: str, query: dict[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A leader's answer about its records, of which the body is still to be read."""
    url = f"{base_url(context, leader)}/v1/topics/{partition.topic}/partitions/{partition.number}/records"
    headers = {
        "Accept": Media.BATCH,
        "Cache-Control": "no-store",
        FORWARDED: context.node_mark,
        TOPIC_ID: str(partition.topic_id),
    }
    try:
        async with (
            asyncio.timeout(context.settings.forward_grace_s),
            WhileHeard(context.broker, leader),
            context.session.request(
                method, url, params=query, headers=headers, allow_redirects=False
            ) as answer,
        ):
            if answer.status != 200:
                if answer.status == NOT_FOUND:  # Also for HEAD, whose answer has no body.
                    raise UnknownTopic(f"node {leader} knows no such topic {partition.topic}")
                error = error_of(answer.status, await answer.read())
                if isinstance(error, Unavailable):
                    partition.doubt_leader(leader)
                    raise Unreadable(error.detail, **error.fields)
                raise error
            yield answer
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise Unavailable(f"node {leader} did not answer", leader=leader) from error


async def _append_there(
    context: HttpContext, partition: Partition, sending: Sending, leader: str, left: float
) -> Appended:
    url = f"{base_url(context, leader)}/v1/topics/{partition.topic}/partitions/{partition.number}/records"
    query = {"acks": str(sending.acks), "timeout": f"{max(1, int(left * 1000))}ms"}
    headers = {
        "Content-Type": str(Media.BATCH),
        FORWARDED: context.node_mark,
        TOPIC_ID: str(partition.topic_id),
    }
    try:
        async with (
            asyncio.timeout(left + context.settings.forward_grace_s),
            WhileHeard(context.broker, leader),
            context.session.post(
                url, params=query, data=in_pieces(sending.batch), headers=headers, allow_redirects=False
            ) as answer,
        ):
            body = await answer.read()
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unavailable(f"node {leader} cannot be reached", leader=leader) from error
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise OutcomeUnknown(f"node {leader} did not answer; it may have done it", leader=leader) from error
    if answer.status != 200:
        if answer.status == UNAVAILABLE:
            partition.doubt_leader(leader)
        raise error_of(answer.status, body)
    found: dict[str, Any] = _APPENDED.decode(body)
    return Appended(found["first_offset"], found["next_offset"], found["high_watermark"])


def error_of(status: int, body: bytes) -> FloodmarkError:
    """Another node's problem document as the exception that it was there."""
    try:
        problem = _APPENDED.decode(body)
        cls = error_class(problem["code"], problem.get("cause"))
        detail = str(problem["detail"])
    except (ValueError, TypeError, KeyError):
        cls, detail = None, ""
    if cls is None:
        return Unavailable(f"a node answered {status} without a problem document")
    return cls(detail, **{name: value for name, value in problem.items() if name not in _STANDARD})
