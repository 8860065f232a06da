"""One client connection: aiohttp's, with a clock on heads, bodies and slow readers, and problem documents.

Nothing here has a timer of its own: the server looks at all connections about once a second (``check``).
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aiohttp import web, web_protocol
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server
from floodmark.errors import FloodmarkError, InvalidRequest, RequestTimeout, ServerError

from node.http import problems
from node.http.admission import SPARE_HEAD_S, Admission, Place
from node.http.aiohttp_library import check_connection, check_library
from node.http.client_certificate import Certified, certified_by
from node.http.head_errors import TooManyHeaders
from node.http.statuses import status_of
from node.request_limits import RequestLimits

if TYPE_CHECKING:
    from node.http.fast_path import Approved, FastPath
    from node.http.intake import Intake

_TOO_MANY_HEADERS: Final = "Too many headers"
HELD_BACK_S: Final = (1.0, 2.0)
"""How late the refusal of somebody comes who asks again sooner than it was told: each time another time in
between, so that many connections of one client do not all come back in the same moment."""
_TLS_UNSENT_BYTES: Final = 64 << 10

check_library(web_protocol)


class Owned(Protocol):
    """The place of a connection among those of a principal."""

    @property
    def principal(self) -> str:
        """Whose it is."""

    def close(self) -> None:
        """Give it back."""


class Connection(RequestHandler):
    """See the module. The attributes below are this class's own; the rest is aiohttp's."""

    __slots__ = (
        "_admission",
        "_body",
        "_body_bytes",
        "_body_due",
        "_body_since",
        "_certified",
        "_early",
        "_fast_path",
        "_fast_path_task",
        "_head_since",
        "_intake",
        "_owed",
        "_place",
        "_settings",
        "_unsent_bytes",
        "_unsent_since",
        "address",
        "approved",
        "before_made",
        "ends_with_it",
        "has_room_at",
        "owned",
        "spare_for",
    )

    def __init__(
        self,
        manager: Server,
        settings: RequestLimits,
        admission: Admission,
        fast_path: FastPath,
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, **kwargs)
        self._settings = settings
        self._admission = admission
        self._fast_path = fast_path
        self._fast_path_task: asyncio.Future[Any] | None = None
        self._intake: Intake | None = None
        self._early = b""
        """What came behind a request that is served past aiohttp."""
        self._owed: int | None = 0
        """Bytes that aiohttp's parser has yet to get of the request it is in; None: not known any more."""
        self.address = ""
        """Of the client."""
        self.approved: Approved | None = None
        """Its last plain request that was allowed."""
        self.has_room_at = 0.0
        """When its client was told to ask again, once it had used up a quota; on the loop's clock."""
        self.owned: Owned | None = None
        """Whose it is, where that is counted."""
        self._certified: Certified | None = None
        self.before_made: Callable[[Connection], None] | None = None
        """Called once TLS stands, with this connection, to give it its place."""
        self._place: Place | None = None
        self.spare_for: FloodmarkError | None = None
        """Why there is no room for this connection, which may bring one request that helps."""
        self._head_since: float | None = None
        self._body: StreamReader = EMPTY_PAYLOAD
        self._body_since = 0.0
        self._body_due = 0.0
        self._body_bytes = 0
        self._unsent_since: float | None = None
        self._unsent_bytes = 0
        self.ends_with_it: asyncio.Task[Any] | None = None
        """The handler task to cancel when the client leaves; set only while it stores nothing."""

    @property
    def certified_as(self) -> str | None:
        """The principal that the client's certificate names, for as long as the certificate is valid."""
        return None if self._certified is None else self._certified.principal

    def take_place(self, address: str, place: Place, spare_for: FloodmarkError | None) -> None:
        """Hold the place that it was given before its ``connection_made``."""
        self.address, self._place, self.spare_for = address, place, spare_for

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or answer 503 and close it when there are too many."""
        if self.before_made is not None:
            self._begin_tls(cast(asyncio.Transport, transport))
        if self._place is None and not self._admit(transport):
            return
        super().connection_made(transport)
        self._head_since = self._loop.time()

    def check_certificate(self, is_trusted: Callable[[ssl.SSLObject], bool]) -> None:
        """Have the client come again if its certificate would not be taken any more."""
        if self._certified is not None and self.transport is not None:
            made_by = self.transport.get_extra_info("ssl_object")
            if made_by is not None and not is_trusted(made_by):
                self._forget_certificate()

    def _forget_certificate(self) -> None:
        """Whoever it was is nobody now; what is being answered is answered, and then the connection ends."""
        self._certified = None
        is_at_work = self._fast_path_task is not None or self._intake is not None
        if self._waiter is None or self._waiter.done() or is_at_work:
            self._close = True
        else:
            self.force_close()

    def _begin_tls(self, transport: asyncio.Transport) -> None:
        assert self.before_made is not None
        self.before_made(self)
        self.before_made = None
        self._certified = certified_by(transport)
        # As without TLS: what the client has not taken is seen to stand still, and held in small amounts.
        transport.set_write_buffer_limits(_TLS_UNSENT_BYTES)

    def _admit(self, transport: asyncio.BaseTransport) -> bool:
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else "local"
        accepted_as = transport.get_extra_info("socket")
        descriptor = -1 if accepted_as is None else accepted_as.fileno()
        refusal = self._admission.admit(self.address, descriptor)
        if refusal is None:
            self._place = Place.USUAL
        elif self._admission.admit_spare():
            self._place, self.spare_for = Place.SPARE, refusal
        else:
            self._force_close = True
            accepted = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio.
            accepted.write(problems.raw_answer(refusal))
            accepted.close()
        return self._place is not None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back, and end what was only done for this client."""
        if self._place is not None:
            self._admission.release(self.address, self._place)
            self._place = None
        if self.owned is not None:
            self.owned.close()
            self.owned = None
        if self.ends_with_it is not None:
            self.ends_with_it.cancel()
            self.ends_with_it = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note when a head begins and ends; aiohttp does the rest, where the request is not a plain one."""
        if self._fast_path_task is not None:
            self._wait_with(data)
        elif not (self._is_between_requests and self._fast_path.take(self, data)):
            self._usual(data)

    @property
    def _is_between_requests(self) -> bool:
        """Whether whatever comes now is the first byte of a request, and all before it are answered."""
        waiter = self._waiter
        return (
            self._owed == 0
            and waiter is not None
            and not waiter.done()
            and not (self._paused or self._close or self._force_close)
            and self.spare_for is None
        )

    def _usual(self, data: bytes) -> None:
        if self._head_since is None and self._body.is_eof():
            self._head_since = self._loop.time()
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_since = None
            if self._messages:
                self._body = self._messages[-1][1]
                if not self._body.is_eof():
                    message = self._messages[-1][0]
                    assert isinstance(message, RawRequestMessage), "what is no request has no body"
                    self._begin_body(message.headers.get("Content-Length"))
        if data or self._request_count != before:  # aiohttp has its parser go on by giving it nothing.
            self._count_owed(data, self._request_count - before)

    def _count_owed(self, data: bytes, requests: int) -> None:
        message = self._messages[-1][0] if self._messages else None
        if self._owed == 0 and requests == 1 and isinstance(message, RawRequestMessage):
            length = message.headers.get("Content-Length", "0")
            self._owed = None
            if not message.chunked and length.isdecimal():
                self._owed = data.find(b"\r\n\r\n") + 4 + int(length) - len(data)
        elif self._owed and not requests:
            self._owed -= len(data)
        else:
            self._owed = None
        if self._owed is not None and self._owed < 0:
            self._owed = None

    def _begin_body(self, length: str | None) -> None:
        """Of a body that has not come whole with its head. A chunked one may become the longest there is."""
        settings = self._settings
        size = settings.body_bytes_max
        if length is not None and length.isdecimal():
            size = min(size, int(length))
        self._body_since = self._loop.time()
        self._body_due = self._body_since + settings.body_timeout_s + size / settings.body_bytes_per_s
        self._body_bytes = 0

    def begin_intake(self, intake: Intake) -> None:
        """The rest of a request's body is read past aiohttp as well, until ``end_intake``."""
        self._head_since = None
        self._request_in_progress = True
        self._intake = intake
        self._begin_body(str(intake.length))
        self._read_by(intake, now=intake.may_read())

    def rest_intake(self) -> None:
        """Nothing more of the body is read until ``read_intake``."""
        if self.transport is not None:
            self.transport.pause_reading()

    def read_intake(self, intake: Intake) -> None:
        """Go on with this body, if it is still wanted."""
        if self._intake is intake and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def end_intake(self) -> None:
        """All of the body is there: what comes next is for this protocol again."""
        self._intake = None
        self._request_in_progress = False
        self._read_by(self)

    def break_intake(self, exc: BaseException | None) -> None:
        """The client left in its body."""
        self._intake = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        self.connection_lost(exc)

    def _read_by(self, protocol: asyncio.BaseProtocol, *, now: bool = True) -> None:
        transport = self.transport
        if transport is not None and not transport.is_closing():
            # A change in the middle of reading is not seen by every event loop.
            transport.pause_reading()
            transport.set_protocol(protocol)
            if now:
                transport.resume_reading()

    def begin_fast_path(self, work: asyncio.Future[Any]) -> None:
        """A request is served past aiohttp, which takes this connection for busy until ``end_fast_path``."""
        self._head_since = None
        self._request_in_progress = True
        self._fast_path_task = work

    def end_fast_path(self, answer: bytes | None) -> None:
        """Send the answer, and go on with what has come meanwhile."""
        self._fast_path_task = None
        self._request_in_progress = False
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        transport = self.transport
        if transport is not None and answer is not None:
            transport.write(answer)
        if self._handler_waiter is not None:
            self._handler_waiter.set_result(None)
        if self._close:
            self.force_close()
            return
        early, self._early = self._early, b""
        if early and transport is not None:
            transport.resume_reading()
            self.data_received(early)

    async def send_piece(self, piece: bytes) -> None:
        """A part of an answer past aiohttp; returns when its client has taken enough of it. Raises
        ``ConnectionError`` once the client has left."""
        if self.transport is not None:
            self.transport.write(piece)
        await self._drain_helper()

    def held_back_s(self, wait_s: float) -> float:
        """How late its client is told to wait ``wait_s``: not at all if it has waited as told before."""
        now = self._loop.time()
        late_s = random.uniform(*HELD_BACK_S) if now < self.has_room_at else 0.0
        self.has_room_at = now + late_s + wait_s
        return late_s

    def _wait_with(self, data: bytes) -> None:
        """Keep what a client sends ahead of its answer, and read no more for now."""
        if not self._early and self.transport is not None:
            self.transport.pause_reading()
        self._early += data

    def _process_keepalive(self) -> None:
        if self._fast_path_task is not None or self._intake is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def held_up(self, seconds: float) -> None:
        """This process did not run for so long: what came from the client meanwhile could not be seen."""
        if self._head_since is not None:
            self._head_since += seconds
        if self._unsent_since is not None:
            self._unsent_since += seconds
        self._body_since += seconds
        self._body_due += seconds

    def check(self, now: float) -> str | None:
        """Give the connection up if it is overdue; returns why."""
        transport = self.transport
        if transport is None:
            return None
        if self._certified is not None and self._certified.until_s <= time.time():
            self._forget_certificate()
        if self._paused and self._is_stuck(transport, now):
            transport.abort()
            return "slow_reader"
        settings = self._settings
        limit_s = settings.header_timeout_s if self.spare_for is None else SPARE_HEAD_S
        if self._head_since is not None and now - self._head_since > limit_s:
            if not self._request_in_progress:
                late = RequestTimeout(f"the request's head took longer than {settings.header_timeout_s:g} s")
                transport.write(problems.raw_answer(self.spare_for or late))
                self.force_close()
                return "slow_head"
            self._head_since = (
                None  # Piled up behind a request that is being served: not this client's delay.
            )
        if now - self._body_since > settings.body_window_s or now > self._body_due:
            if self._intake is not None:
                return self._check_intake(self._intake, now)
            if not self._body.is_eof():
                return self._check_body(now)
        return None

    def _check_intake(self, intake: Intake, now: float) -> str | None:
        if not self._is_too_slow(intake.filled, now) or intake.waits or self.transport is None:
            return None
        self.transport.write(problems.raw_answer(self._slow_body()))
        self.force_close()
        return "slow_body"

    def _is_too_slow(self, received: int, now: float) -> bool:
        """Whether less than asked for came since the last look; ``received`` is all of the body so far."""
        needed = self._settings.body_bytes_per_s_min * (now - self._body_since)
        more = received - self._body_bytes
        self._body_since = now
        self._body_bytes = received
        return more < needed or now > self._body_due

    def _slow_body(self) -> RequestTimeout:
        settings = self._settings
        return RequestTimeout(
            f"the body came with less than {settings.body_bytes_per_s_min} bytes a second, or took longer "
            f"than {settings.body_timeout_s:g} s and one more for each {settings.body_bytes_per_s} bytes"
        )

    def _check_body(self, now: float) -> str | None:
        too_slow = self._is_too_slow(self._body.total_bytes, now)
        if not too_slow or self._reading_paused or self._buffer_paused:
            return None
        self._lingering_time = 0.0
        self._body.set_exception(self._slow_body())
        return "slow_body"

    def _is_stuck(self, transport: asyncio.Transport, now: float) -> bool:
        unsent = transport.get_write_buffer_size()
        if self._unsent_since is None or unsent < self._unsent_bytes:
            self._unsent_since = now
        self._unsent_bytes = unsent
        return now - self._unsent_since > self._settings.write_stall_s

    def resume_writing(self) -> None:
        """The client reads again."""
        self._unsent_since = None
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What never reached a handler: heads that are no HTTP. Not worth a line in the log.

        Also what left the middleware: the client is gone, or has half of an answer, into which no other may
        be written. Raising here has aiohttp close the connection, and what is missing is seen to be missing.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if request.writer.output_size > 0:
            self.log_exception("error in the middle of an answer", exc_info=exc)
            raise ConnectionResetError("failed in the middle of an answer") from exc
        known: FloodmarkError
        if isinstance(exc, LineTooLong):
            # aiohttp tells targets from headers by the limit that was broken; the two limits differ by one.
            status = 414 if exc.args[1] == self.max_line_size else 431
            known = InvalidRequest("the request's target or one of its headers is too long")
        elif isinstance(exc, BadHttpMessage) and str(exc).find(_TOO_MANY_HEADERS) >= 0:
            known = TooManyHeaders(f"more than {self._settings.headers_max} headers")
            status = status_of(type(known))
        elif status < 500:
            known = InvalidRequest(f"malformed request: {_reason(exc, message)}")
        else:
            known = ServerError("something went wrong here")
            self.log_exception("error outside of any handler", exc_info=exc)
        answer = problems.respond(known, "-", status=status, headers={"Connection": "close"})
        answer.force_close()
        return answer


def _reason(exc: BaseException | None, message: str | None) -> str:
    """What the parser found, in one line: it adds the bytes, and under them a mark at the place."""
    text = exc.message if isinstance(exc, BadHttpMessage) else str(exc or message or "")
    words = " ".join(text.replace("^", " ").split())
    return words[:200].rstrip(":") or "it cannot be read"


class ConnectionServer(Server):
    """Makes ``Connection`` objects for the listening sockets."""

    def __init__(
        self,
        handler: Any,
        request_factory: Any,
        settings: RequestLimits,
        admission: Admission,
        fast_path: FastPath,
        **kwargs: Any,
    ) -> None:
        super().__init__(handler, request_factory=request_factory)
        self._settings = settings
        self._admission = admission
        self._fast_path = fast_path
        self._arguments = kwargs
        self.on_accepted: Callable[[], None] = lambda: None
        check_connection(self.protocol())

    def __call__(self) -> RequestHandler:
        """The protocol of a connection that the event loop has accepted."""
        self.on_accepted()
        return self.protocol()

    def protocol(self) -> Connection:
        """One accepted connection's protocol."""
        return Connection(
            self, self._settings, self._admission, self._fast_path, loop=self._loop, **self._arguments
        )
