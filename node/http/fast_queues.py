"""The plainest requests to receive from a queue and to settle, past aiohttp, as ``fast_path.py`` does it for
produce requests: same answers, same code behind the head. What has not come whole goes the usual way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp.helpers import rfc822_formatted_time

from node.budget import Account
from node.http import problems
from node.http.answers import JSON
from node.http.authentication import plain_identity
from node.http.context import EndsWithConnection
from node.http.holding_back import hold_back
from node.http.leader_headers import leader_headers
from node.http.origins import Origins
from node.http.owned import NotAnotherConnection, is_owned, own
from node.http.page import WHOLE_BYTES
from node.http.plain_queue_head import PARAMETERS, RECEIVE, PlainQueueHead, PlainQueueHeads
from node.http.queue_receive import received
from node.http.queue_settling import settled
from node.http.request_context import plain_request_context
from node.service.answer_budget import Hold
from node.service.authentication import Identity

if TYPE_CHECKING:
    from node.http.connection import Connection
    from node.http.context import HttpContext

_LOG: Final = structlog.get_logger("floodmark.http")
_ROUTES: Final = {action: f"/v1/queues/{{queue}}/{action}" for action in PARAMETERS}


class FastQueues:
    """One per application."""

    begins: Final = PlainQueueHeads.begins
    """Nothing else is taken."""

    def __init__(self, context: HttpContext, origins: Origins) -> None:
        self._context = context
        self._service = context.service
        self._heads = PlainQueueHeads(origins.knows_host, context.is_from_node)
        self._vary = {"Vary": "Origin"} if origins.listed else {}
        self._own_head = self._head_of(200, context.broker.node_id)

    def take(self, connection: Connection, data: bytes) -> bool:
        """Begin to answer ``data`` if it is one plain request."""
        found = self._heads.read(data)
        if found is None:
            return False
        head, begin = found
        if len(data) - begin != head.content_length or head.is_from_node:
            return False
        admitted = self._admit(connection, head)
        if admitted is None:
            return False  # It is answered, or fails, on the usual way.
        identity, held = admitted
        work = asyncio.ensure_future(self._serve(connection, head, data[begin:], identity, held))
        connection.begin_fast_path(work)
        return True

    def _admit(self, connection: Connection, head: PlainQueueHead) -> tuple[Identity, Account] | None:
        """Who it is, and room for the body. None where it is not served here; that is told on the usual way,
        and a defect is."""
        quotas = self._service.quotas
        held: Account | None = None
        try:
            identity = plain_identity(head, connection, self._context)
            if identity is None:
                return None
            if quotas.count_connections and not is_owned(connection, identity.principal):
                own(connection, identity.principal, self._service)
            held = self._context.uploads_of(identity.principal, connection.address, from_node=False)
            held.take(head.content_length)
        except Exception as error:  # noqa: BLE001  -- see above
            if held is not None:
                held.close()
            if isinstance(error, NotAnotherConnection):
                quotas.uncount_refusal()
            return None
        return identity, held

    async def _serve(
        self, connection: Connection, head: PlainQueueHead, body: bytes, identity: Identity, held: Account
    ) -> None:
        """Always ends the fast path: the client would wait for ever."""
        started = time.perf_counter()
        status, last = 500, None
        try:
            status, last = await self._answer(connection, head, body, identity, held)
        except ConnectionError:
            pass  # The client is gone; there is nobody to answer.
        except Exception:  # noqa: BLE001  -- the last resort before the connection
            _LOG.exception("a request is not answered", path=head.path[:500])
        finally:
            held.close()
            if last is None:
                connection.force_close()
            connection.end_fast_path(last)
        self._context.metrics.observe(_ROUTES[head.action], "POST", status, time.perf_counter() - started)

    async def _answer(
        self, connection: Connection, head: PlainQueueHead, body: bytes, identity: Identity, held: Account
    ) -> tuple[int, bytes]:
        """The status and what is left to be sent."""
        context = self._context
        who = plain_request_context(head, connection.address, identity)
        with context.hold_for(who) as hold:
            try:
                if head.action != RECEIVE:
                    answer = await settled(context, who, head.queue, head.action, head.query, body)
                    return answer.status, self._whole(answer.status, answer.leader, answer.body)
                held.close()  # Receiving may take long; what it brings is in ``hold``.
                with EndsWithConnection(connection):
                    found = await received(
                        *(context, who, head.queue, head.query, body, hold),
                        bytes_max=context.settings.fetch_bytes_max,
                    )
            except Exception as error:  # noqa: BLE001  -- all that a handler may raise
                return await self._refused(connection, head, error)
            return 200, await self._send(connection, found.leader, found.pieces, hold)

    async def _send(self, connection: Connection, leader: str, pieces: deque[bytes], hold: Hold) -> bytes:
        """Send what is large; what its client has taken is given back."""
        size = sum(map(len, pieces))
        if size <= WHOLE_BYTES:
            return self._whole(200, leader, b"".join(pieces))
        await connection.send_piece(self._begin(200, leader, size) + pieces.popleft())
        while pieces:
            piece = pieces.popleft()
            await connection.send_piece(piece)
            hold.less(min(len(piece), hold.held))  # What surrounds the records is not counted.
        return b""

    async def _refused(
        self, connection: Connection, head: PlainQueueHead, error: Exception
    ) -> tuple[int, bytes]:
        await hold_back(connection, error, self._service)
        refusal = self._context.refusals.answer(error, "POST", head.path, head.path)
        refusal.headers.update(self._vary)
        return refusal.status, problems.as_bytes(refusal)

    def _whole(self, status: int, leader: str, body: bytes) -> bytes:
        return self._begin(status, leader, len(body)) + body

    def _begin(self, status: int, leader: str, size: int) -> bytes:
        is_usual = status == HTTPStatus.OK and leader == self._context.broker.node_id
        head = self._own_head if is_usual else self._head_of(status, leader)
        return b"%bContent-Length: %d\r\nDate: %b\r\n\r\n" % (head, size, rfc822_formatted_time().encode())

    def _head_of(self, status: int, leader: str) -> bytes:
        headers = {**JSON, **self._vary, **leader_headers(self._context.broker, leader)}
        headers["X-Content-Type-Options"] = "nosniff"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}".encode()
