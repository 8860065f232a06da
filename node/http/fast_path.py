"""The plainest produce requests, past aiohttp: it costs several times what storing a small record does. And
those of queues (``fast_queues.py``).

Same port, same answers, same code behind the head: what is not plain (``plain_head``), or would be refused,
or would be passed on and cannot share a batch (``forward_batcher``), goes the usual way. A request is only
taken when its head has come whole and nothing else is under way on its connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from floodmark.errors import (
    FeatureLevelNeeded,
    FloodmarkError,
    OutcomeUnknown,
    TooManyRequests,
    TopicDeleted,
    Unavailable,
)

from node.broker import Acks, Appended, Partition
from node.budget import Account
from node.http import problems
from node.http.authentication import plain_identity
from node.http.fast_queues import FastQueues
from node.http.intake import Intake
from node.http.leader_headers import leader_headers
from node.http.media import Media
from node.http.origins import Origins
from node.http.owned import NotAnotherConnection, is_owned, own
from node.http.plain_head import PlainHead, PlainHeads
from node.http.produce import document, timeout_of
from node.http.produce_body import ProduceBody
from node.http.request_context import plain_request_context
from node.http.topic_id import TOPIC_ID
from node.service.authentication import Identity
from node.service.data_requests import Produced, ProduceRequest
from node.service.forward_batcher import SHARE_BYTES_MAX
from node.service.policy import Operation, Policy
from node.service.produce import Made
from node.service.request_context import RequestContext
from node.service.topic_identity import told

if TYPE_CHECKING:
    from node.http.connection import Connection
    from node.http.context import HttpContext

_LOG: Final = structlog.get_logger("floodmark.http")
_HEAD: Final = {
    "Content-Type": "application/json",
    "Server": "floodmark",
    "X-Content-Type-Options": "nosniff",
}
_ROUTE: Final = "/v1/topics/{topic}/partitions/{partition}/records"


_AskNext = Callable[[Unavailable | OutcomeUnknown], Awaitable[Appended | Produced] | None]
"""Has the next leader store it, or tell what became of it; None where nobody else can."""


class _NoHeaders(NamedTuple):
    """None of a plain request's headers says anything about its records."""

    headers: dict[str, str]
    raw_headers: tuple[tuple[bytes, bytes], ...]


_NO_HEADERS: Final = _NoHeaders({}, ())


class _Admitted(NamedTuple):
    partition: Partition
    timeout_s: float
    held: Account
    """Room for what has come."""
    refusal: TooManyRequests | None
    """A quota is used up, and all of the request is there."""


class Approved(NamedTuple):
    """A request that the policy has allowed, as it was then."""

    head: PlainHead
    identity: Identity
    policy: Policy
    version: int
    context: RequestContext


class FastPath:
    """One per application."""

    def __init__(self, context: HttpContext, origins: Origins) -> None:
        self._context = context
        self._service = context.service
        self._producing = context.service.producing
        self._heads = PlainHeads(origins.knows_host, context.is_from_node)
        self._queues = FastQueues(context, origins)
        self._vary = {"Vary": "Origin"} if origins.listed else {}
        self._answer_head = self._head_of(context.broker.node_id)

    def take(self, connection: Connection, data: bytes) -> bool:
        """Begin to answer ``data`` if it is one plain request, for this node or fit to share a batch."""
        found = self._heads.read(data)
        if found is None:
            return data.startswith(FastQueues.begins) and self._queues.take(connection, data)
        head, begin = found
        admitted = self._admit(connection, head, len(data) - begin)
        if admitted is None:
            return False  # It is answered, or fails, on the usual way.
        partition, timeout_s, held, refusal = admitted
        if refusal is not None:
            self._over_quota(connection, head, partition, refusal, held)
        elif len(data) - begin == head.content_length:
            self._serve(connection, head, partition, timeout_s, data[begin:], held)
        else:
            intake = Intake(
                connection,
                head.content_length,
                held,
                self._context.bodies,
                lambda body: self._serve(connection, head, partition, timeout_s, body, held),
                lambda refusal: self._refuse(connection, head, partition, refusal, held),
            )
            intake.add(memoryview(data)[begin:])
            connection.begin_intake(intake)
        return True

    def _admit(self, connection: Connection, head: PlainHead, size: int) -> _Admitted | None:
        """None where it is not served here: of ``size`` bytes that have come what is refused goes the usual
        way, unless they are all. A defect, say of a policy, is one there as well, where it is told."""
        context, quotas = self._context, self._service.quotas
        if head.content_length > context.settings.body_bytes_max:
            return None
        held: Account | None = None
        refusal: TooManyRequests | None = None
        try:
            partition = context.broker.partition(head.topic, head.partition)
            timeout_s = timeout_of(head.timeout, context)
            if not _is_plain_for(head, partition):
                return None
            identity = plain_identity(head, connection, context)
            if identity is None:
                return None
            if quotas.count_connections and not is_owned(connection, identity.principal):
                own(connection, identity.principal, self._service)
            held = context.uploads_of(identity.principal, connection.address, from_node=head.is_from_node)
            held.take(size)
            try:
                self._approve(connection, head, identity)
            except TooManyRequests as error:
                if size < head.content_length:
                    quotas.uncount_refusal()
                    raise
                refusal = error
        except Exception as error:  # noqa: BLE001  -- see above
            if held is not None:
                held.close()
            if isinstance(error, NotAnotherConnection):
                quotas.uncount_refusal()
            return None
        return _Admitted(partition, timeout_s, held, refusal)

    def _over_quota(
        self,
        connection: Connection,
        head: PlainHead,
        partition: Partition,
        refusal: TooManyRequests,
        held: Account,
    ) -> None:
        """Nothing that was sent is held meanwhile."""
        held.close()
        work = _failed(refusal)
        if late_s := connection.held_back_s(refusal.retry_after_s or 0.0):
            work = asyncio.ensure_future(self._late(refusal, late_s))
        self._answer_when_done(connection, head, partition, work, held, time.perf_counter())

    async def _late(self, refusal: TooManyRequests, late_s: float) -> Appended:
        await self._service.unless_draining(asyncio.sleep(late_s))
        raise refusal

    def _approve(self, connection: Connection, head: PlainHead, identity: Identity) -> None:
        """Authorize and count a request. Raises what the policy does, and ``TooManyRequests``.

        Clients send the same head again and again. While the policy is the same, what it has said to the
        first of these it would say to the others.
        """
        service = self._service
        policy = service.policy
        before = connection.approved
        if (
            before is not None
            and before.head is head
            and before.identity is identity
            and before.policy is policy
            and before.version == policy.version
        ):
            if service.quotas.are_set:
                service.quotas.admit(before.context, Operation.WRITE, head.content_length)
            return
        who = plain_request_context(head, connection.address, identity)
        service.judge(who, Operation.WRITE, head.resource)
        service.admit(who, Operation.WRITE, head.content_length)
        if (version := policy.version) is not None:
            connection.approved = Approved(head, identity, policy, version, who)

    def _serve(
        self,
        connection: Connection,
        head: PlainHead,
        partition: Partition,
        timeout_s: float,
        body: bytes,
        held: Account,
    ) -> None:
        """By callbacks: a task would cost as much as all that it waits for."""
        started = time.perf_counter()
        producing = self._producing
        led = False
        made = Made()
        request = ProduceRequest(
            topic=head.topic,
            partition=head.partition,
            body=ProduceBody(self._context.packers, _NO_HEADERS, head.media, body),
            timeout_s=timeout_s,
            topic_id=partition.topic_id,
            acks=head.acks,
            here_only=head.is_from_node,
        )
        work: asyncio.Future[Appended | Produced]
        try:
            led = partition.leads_here
            here = led or not _may_share(head)
            storing: Awaitable[Appended] | Awaitable[Produced] = (
                producing.begin_here(partition, request, made)
                if here
                else producing.share(partition, request)
            )
            work = asyncio.ensure_future(storing)
        except FeatureLevelNeeded:
            work = asyncio.ensure_future(producing.at_leader(partition, request, timeout_s))
        except Exception as error:  # noqa: BLE001  -- answered like what fails later
            work = _failed(error)

        def ask_next(error: Unavailable | OutcomeUnknown) -> Awaitable[Appended | Produced] | None:
            """What becomes of a request that this node was given as the leader, if another one can tell."""
            if not led or request.here_only or self._service.topics.current(partition).leads_here:
                return None
            left = timeout_s - (time.perf_counter() - started)
            return producing.at_leader(partition, request, left, made, error)

        self._answer_when_done(connection, head, partition, work, held, started, ask_next)

    def _answer_when_done(
        self,
        connection: Connection,
        head: PlainHead,
        partition: Partition,
        work: asyncio.Future[Appended | Produced],
        held: Account,
        started: float,
        ask_next: _AskNext = lambda _error: None,
    ) -> None:
        def ended(work: asyncio.Future[Appended | Produced]) -> None:
            if work.cancelled():
                held.close()
                connection.end_fast_path(None)
                return
            error = work.exception()
            if isinstance(error, Unavailable | OutcomeUnknown):
                try:
                    storing = ask_next(error)
                except TopicDeleted:
                    storing = None  # The answer says so.
                except Exception as defect:  # noqa: BLE001  -- raised here, nobody would be answered
                    storing, work = None, _failed(defect)
                if storing is not None:
                    again = asyncio.ensure_future(storing)
                    self._answer_when_done(connection, head, partition, again, held, started)
                    return
            held.close()
            status, answer = self._answer(head, partition, work)
            if answer is None:
                connection.force_close()
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

    def _answer(
        self, head: PlainHead, partition: Partition, work: asyncio.Future[Appended | Produced]
    ) -> tuple[int, bytes | None]:
        """None where not even a refusal could be made. Never raises: the client would wait for ever."""
        try:
            try:
                return 200, self._stored(head, partition, work.result())
            except Exception as error:  # noqa: BLE001  -- the last resort before the connection
                return self._refused(head, partition, error)
        except Exception:  # noqa: BLE001  -- likewise
            _LOG.exception("a request is not answered", path=head.path[:500])
            return 500, None

    def _stored(self, head: PlainHead, partition: Partition, appended: Appended | Produced) -> bytes:
        answer_head = self._answer_head
        if isinstance(appended, Produced):
            answer_head = self._head_of(appended.leader)
            appended = appended.appended
        body = document(head.partition, appended)
        date = rfc822_formatted_time().encode()
        return b"%b%d\r\nContent-Length: %d\r\nDate: %b\r\n\r\n%b" % (
            answer_head,
            partition.topic_id,
            len(body),
            date,
            body,
        )

    def _refused(self, head: PlainHead, partition: Partition, error: Exception) -> tuple[int, bytes]:
        try:
            reason = told(self._service.topics.reason(error, partition), head.topic_id)
        except Exception as defect:  # noqa: BLE001  -- likewise
            reason = defect
        refusal = self._context.refusals.answer(reason, "POST", head.path, head.path)
        refusal.headers.update(self._vary)
        return refusal.status, problems.as_bytes(refusal)

    def _head_of(self, leader: str) -> bytes:
        headers = {**_HEAD, **self._vary, **leader_headers(self._context.broker, leader)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 200 OK\r\n{lines}{TOPIC_ID}: ".encode()


def _failed(error: Exception) -> asyncio.Future[Appended | Produced]:
    work: asyncio.Future[Appended | Produced] = asyncio.get_running_loop().create_future()
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
        not head.is_from_node
        and head.media is not Media.BATCH
        and head.acks is Acks.QUORUM
        and head.timeout is None
        and head.content_length <= SHARE_BYTES_MAX
    )


FAST_PATH: Final = web.AppKey("floodmark_fast_path", FastPath)
