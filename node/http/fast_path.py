"""The plainest produce requests, past aiohttp: it costs several times what storing a small record does.

Same port, same answers, same code behind the head: what is not plain (``plain_head``), or would be refused,
or would be passed on and cannot share a batch (``forward_batcher``), goes the usual way. A request is only
taken when its head has come whole and nothing else is under way on its connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from floodmark.errors import FeatureLevelNeeded, FloodmarkError, TopicDeleted, Unavailable
from floodmark.format import batch as codec

from node.broker import Acks, Appended, Partition
from node.budget import Account
from node.http import problems
from node.http.body_weight import is_heavy
from node.http.forward import LEADER, LEADER_URL
from node.http.intake import Intake
from node.http.media import Media
from node.http.origins import Origins
from node.http.packing import NOBODY
from node.http.plain_head import PlainHead, PlainHeads
from node.http.produce import PartitionProduce, Wanted, document, timeout_of
from node.http.topic_id import TOPIC_ID
from node.partition.coalescer import SHARE_BYTES_MAX
from node.service.forward_batcher import Elsewhere, ForwardBatcher
from node.service.inside_line import AppendRequest
from node.service.router import append
from node.service.topic_identity import told

if TYPE_CHECKING:
    from node.http.connection import Connection
    from node.http.context import HttpContext

_HEAD: Final = {
    "Content-Type": "application/json",
    "Server": "floodmark",
    "X-Content-Type-Options": "nosniff",
}
_ROUTE: Final = "/v1/topics/{topic}/partitions/{partition}/records"


class _NoHeaders(NamedTuple):
    """None of a plain request's headers says anything about its records."""

    headers: dict[str, str]
    raw_headers: tuple[tuple[bytes, bytes], ...]


_NO_HEADERS: Final = _NoHeaders({}, ())


class FastPath:
    """One per application."""

    def __init__(self, context: HttpContext, produce: PartitionProduce, origins: Origins) -> None:
        self._context = context
        self._produce = produce
        self._batcher = ForwardBatcher(context.service)
        self._heads = PlainHeads(origins.knows_host)
        self._vary = {"Vary": "Origin"} if origins.listed else {}
        self._answer_head = self._head_of(context.broker.node_id)

    def take(self, connection: Connection, data: bytes) -> bool:
        """Begin to answer ``data`` if it is one plain request, for this node or fit to share a batch."""
        found = self._heads.read(data)
        if found is None:
            return False
        head, begin = found
        context = self._context
        if head.content_length > context.settings.body_bytes_max:
            return False
        try:
            partition = context.broker.partition(head.topic, head.partition)
            timeout_s = timeout_of(head.timeout, context)
        except FloodmarkError:
            return False
        if not _is_plain_for(head, partition):
            return False
        wanted = Wanted(_NO_HEADERS, head.media, head.acks, timeout_s)
        held = context.broker.uploads(connection.address, from_node=context.is_from_node(head.forwarded))
        try:
            held.take(len(data) - begin)
        except FloodmarkError:
            return False
        if len(data) - begin == head.content_length:
            self._serve(connection, head, partition, wanted, data[begin:], held)
        else:
            intake = Intake(
                connection,
                head.content_length,
                held,
                context.bodies,
                lambda body: self._serve(connection, head, partition, wanted, body, held),
                lambda refusal: self._refuse(connection, head, partition, refusal, held),
            )
            intake.add(memoryview(data)[begin:])
            connection.begin_intake(intake)
        return True

    def _serve(
        self,
        connection: Connection,
        head: PlainHead,
        partition: Partition,
        wanted: Wanted,
        body: bytes,
        held: Account,
    ) -> None:
        """By callbacks: a task would cost as much as all that it waits for."""
        started = time.perf_counter()
        led = partition.leads_here
        work: asyncio.Future[Appended | Elsewhere]
        try:
            work = asyncio.ensure_future(self._store(head, partition, wanted, body, leads_here=led))
        except FeatureLevelNeeded:
            work = asyncio.ensure_future(self._store_once_known(head, partition, wanted, body))
        except Exception as error:  # noqa: BLE001  -- answered like what fails later
            work = _failed(error)

        def ask_next() -> Awaitable[Appended | Elsewhere] | None:
            if not led or head.forwarded is not None or self._context.service.current(partition).leads_here:
                return None
            return self._store_at_next(partition, wanted, body, started)

        self._answer_when_done(connection, head, partition, work, held, started, ask_next)

    def _answer_when_done(
        self,
        connection: Connection,
        head: PlainHead,
        partition: Partition,
        work: asyncio.Future[Appended | Elsewhere],
        held: Account,
        started: float,
        ask_next: Callable[[], Awaitable[Appended | Elsewhere] | None] = lambda: None,
    ) -> None:
        """``ask_next``: stores at the next leader what this node surely did not store."""

        def ended(work: asyncio.Future[Appended | Elsewhere]) -> None:
            if work.cancelled():
                held.close()
                connection.end_fast_path(None)
                return
            if isinstance(work.exception(), Unavailable):
                try:
                    storing = ask_next()
                except TopicDeleted:
                    storing = None  # The answer says so.
                if storing is not None:
                    again = asyncio.ensure_future(storing)
                    self._answer_when_done(connection, head, partition, again, held, started)
                    return
            held.close()
            status, answer = self._answer(head, partition, work)
            connection.end_fast_path(answer)
            self._context.metrics.observe(_ROUTE, "POST", status, time.perf_counter() - started)

        connection.begin_fast_path(work)
        work.add_done_callback(ended)

    def _refuse(
        self,
        connection: Connection,
        head: PlainHead,
        partition: Partition,
        refusal: FloodmarkError,
        held: Account,
    ) -> None:
        """There was no room for all of a body, which has been read to its end."""
        work = _failed(refusal)
        self._answer_when_done(connection, head, partition, work, held, time.perf_counter())

    def _store(
        self, head: PlainHead, partition: Partition, wanted: Wanted, body: bytes, *, leads_here: bool
    ) -> Awaitable[Appended] | Awaitable[Elsewhere]:
        if leads_here or not _may_share(head):
            return self._produce.store(partition, wanted, body)
        if is_heavy(wanted.media, body):
            return self._context.service.once_level_known(lambda: self._share_packed(partition, wanted, body))
        records = self._produce.records(wanted, body, partition)
        return self._batcher.produce(partition, records, len(body))

    async def _store_once_known(
        self, head: PlainHead, partition: Partition, wanted: Wanted, body: bytes
    ) -> Appended | Elsewhere:
        storing = self._context.service.once_level_known(
            lambda: self._store(head, partition, wanted, body, leads_here=partition.leads_here)
        )
        return cast(Appended | Elsewhere, await storing)

    async def _store_at_next(
        self, partition: Partition, wanted: Wanted, body: bytes, started: float
    ) -> Appended | Elsewhere:
        """This node led when the request came, and does not any more; nothing was stored."""
        context = self._context
        left = wanted.timeout_s - (time.perf_counter() - started)
        batch = body
        if wanted.media is not Media.BATCH:
            batch = await context.service.once_level_known(
                lambda: self._produce.batch_of(partition, wanted, body, NOBODY, left)
            )
        sending = AppendRequest(batch, codec.decode_header(batch), wanted.acks, left)
        return Elsewhere(*await append(context.service, partition, sending))

    async def _share_packed(self, partition: Partition, wanted: Wanted, body: bytes) -> Elsewhere:
        """Many records in few bytes, which have a batch of their own."""
        batch = await self._produce.batch_of(partition, wanted, body, NOBODY, wanted.timeout_s)
        sending = AppendRequest(batch, codec.decode_header(batch), wanted.acks, wanted.timeout_s)
        return Elsewhere(*await append(self._context.service, partition, sending))

    def _answer(
        self, head: PlainHead, partition: Partition, work: asyncio.Future[Appended | Elsewhere]
    ) -> tuple[int, bytes]:
        answer_head = self._answer_head
        try:
            appended = work.result()
            if isinstance(appended, Elsewhere):
                answer_head = self._head_of(appended.leader)
                appended = appended.appended
            body = document(head.partition, appended)
        except Exception as error:  # noqa: BLE001  -- the last resort before the connection
            reason = told(self._context.service.reason(error, partition), head.topic_id)
            refusal = self._context.refusals.answer(reason, "POST", head.path, head.path)
            refusal.headers.update(self._vary)
            return refusal.status, problems.as_bytes(refusal)
        date = rfc822_formatted_time().encode()
        topic_id = partition.topic_id
        return 200, b"%b%d\r\nContent-Length: %d\r\nDate: %b\r\n\r\n%b" % (
            answer_head,
            topic_id,
            len(body),
            date,
            body,
        )

    def _head_of(self, leader: str) -> bytes:
        broker = self._context.broker
        headers = {**_HEAD, **self._vary, LEADER: leader}
        url = None if leader == broker.node_id else broker.node_url(leader)
        if url is not None:
            headers[LEADER_URL] = url.rstrip("/")
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 200 OK\r\n{lines}{TOPIC_ID}: ".encode()


def _failed(error: Exception) -> asyncio.Future[Appended | Elsewhere]:
    work: asyncio.Future[Appended | Elsewhere] = asyncio.get_running_loop().create_future()
    work.set_exception(error)
    return work


def _is_plain_for(head: PlainHead, partition: Partition) -> bool:
    """Whether it is for this topic, and for this node or fit to share a batch."""
    if head.topic_id is not None and head.topic_id != partition.topic_id:
        return False
    return partition.leads_here or _may_share(head)


def _may_share(head: PlainHead) -> bool:
    """Whether it may travel to its leader in one batch with others."""
    return (
        head.forwarded is None
        and head.media is not Media.BATCH
        and head.acks is Acks.QUORUM
        and head.timeout is None
        and head.content_length <= SHARE_BYTES_MAX
    )


FAST_PATH: Final = web.AppKey("floodmark_fast_path", FastPath)
