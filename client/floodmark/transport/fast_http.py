"""The client's fast path: large fetches and small produces over HTTP/1.1 without aiohttp, over TLS too.

aiohttp passes a body through three buffers, each allocated for it, and needs as much time for a small request
as a node: docs/decisions/0012-client-fast-path.md has the figures. Only answers of the form that nodes send
are understood here; everything else is left to aiohttp.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from floodmark.transport import http_head
from floodmark.transport.http_head import Head
from floodmark.transport.tls import TlsOptions

_HEAD_BYTES_MAX: Final = 64 << 10
_BODY_BYTES_MAX: Final = 80 << 20
"""More than any answer: a frame has at most 64 MiB. No memory is allocated for a larger claim."""
_IDLE_S: Final = 15.0
"""A connection idle for longer is not used again: the other side may be closing it."""
_END_OF_HEAD: Final = b"\r\n\r\n"


class FastAnswer(NamedTuple):
    """One answer."""

    head: Head
    body: bytearray


class NotConnected(ConnectionError):
    """No connection could be made, so nothing was sent. Its cause says why."""


class UnexpectedAnswer(Exception):
    """The answer does not have the form that is understood here."""


class FastHttp:
    """Connections to nodes, each kept for the next request to the same one."""

    def __init__(self, user_agent: str, tls: TlsOptions | None = None) -> None:
        self._user_agent = user_agent
        self._tls = tls or TlsOptions()
        self._idle: dict[str, list[_Connection]] = defaultdict(list)
        self._busy: set[_Connection] = set()
        self._unexpected: set[str] = set()

    def can(self, url: str) -> bool:
        """Whether a base URL can be asked here: no unexpected answer has come from it yet."""
        is_known = url.startswith(("http://", "https://"))
        return is_known and "@" not in url and url.isascii() and url not in self._unexpected

    async def get(
        self, url: str, target: str, headers: Mapping[str, str], *, connect_timeout_s: float
    ) -> FastAnswer | None:
        """The answer to a GET of ``target`` (path and query) below the base URL ``url``.

        None if it is an unexpected one; ``can`` is false from then on. Raises ``NotConnected`` and other
        ``OSError``s.
        """
        return await self._ask(url, self._head("GET", url, target, headers), connect_timeout_s)

    async def post(
        self, url: str, target: str, headers: Mapping[str, str], body: bytes, *, connect_timeout_s: float
    ) -> FastAnswer | None:
        """The same for a POST, which may have been carried out even if the answer is an unexpected one."""
        headers = {**headers, "Content-Length": str(len(body))}
        return await self._ask(url, self._head("POST", url, target, headers) + body, connect_timeout_s)

    def _head(self, method: str, url: str, target: str, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(url)
        rest = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return (
            f"{method} {parts.path}{target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"User-Agent: {self._user_agent}\r\n{rest}\r\n"
        ).encode("ascii")

    async def _ask(self, url: str, request: bytes, connect_timeout_s: float) -> FastAnswer | None:
        connection = self._idle_one(url) or await self._connect(url, connect_timeout_s)
        self._busy.add(connection)
        try:
            answer = await connection.ask(request)
        except UnexpectedAnswer:
            self._unexpected.add(url)
            return None
        finally:
            self._busy.discard(connection)
            if connection.is_open:
                self._idle[url].append(connection)
        return answer

    async def _connect(self, url: str, timeout_s: float) -> _Connection:
        parts = urlsplit(url)
        context = self._tls.context if parts.scheme == "https" else None
        port = parts.port or (80 if context is None else 443)
        try:
            async with asyncio.timeout(timeout_s):
                return await _connected(parts.hostname or "", port, context)
        except TimeoutError as error:
            raise NotConnected("out of time") from error
        except OSError as error:
            raise NotConnected(str(error)) from error

    def _idle_one(self, url: str) -> _Connection | None:
        oldest = asyncio.get_running_loop().time() - _IDLE_S
        found = None
        for connection in self._idle.pop(url, ()):
            if not connection.is_open:
                continue
            if connection.idle_since < oldest:
                connection.close()
            elif found is None:
                found = connection
            else:
                self._idle[url].append(connection)
        return found

    def close(self) -> None:
        """Close all connections; requests that are under way fail."""
        for connection in [*self._busy, *(each for idle in self._idle.values() for each in idle)]:
            connection.close()
        self._idle.clear()


async def _connected(host: str, port: int, context: ssl.SSLContext | None) -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, host, port, ssl=context)
    return connection


class _Connection(asyncio.BufferedProtocol):
    """One connection with one request at a time under way. Anything unexpected closes it."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._scratch = memoryview(bytearray(_HEAD_BYTES_MAX))
        self._head: Head | None = None
        self._body = bytearray()
        self._target = self._scratch
        self._filled = 0
        self._answered: asyncio.Future[FastAnswer] | None = None

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> FastAnswer:
        """Send a request and read its answer. Raises ``ConnectionError`` and ``UnexpectedAnswer``."""
        if self._transport is None:
            raise ConnectionResetError("the connection is closed")
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answered
        except BaseException:
            self.close()
            raise
        finally:
            self._answered = None

    def close(self) -> None:
        """Close it; a request under way fails."""
        self._fail(ConnectionAbortedError("the connection was closed here"))

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # uvloop's transports are not of asyncio's classes.

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(exc or ConnectionResetError("the other side closed the connection"))

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._target[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._answered is None or self._answered.done():
            self._fail(ConnectionAbortedError("bytes arrived without a request"))
            return
        if self._head is None and not self._take_head():
            return
        if self._filled == len(self._target):
            self._finish()

    def _take_head(self) -> bool:
        """Whether the head is complete; then the body's buffer is allocated and holds what has arrived."""
        data = bytes(self._scratch[: self._filled])
        end = data.find(_END_OF_HEAD)
        if end < 0:
            if self._filled == len(self._scratch):
                self._fail(UnexpectedAnswer())
            return False
        head = http_head.parse(data[:end])
        rest = data[end + len(_END_OF_HEAD) :]
        if head is None or len(rest) > head.length or head.length > _BODY_BYTES_MAX:
            self._fail(UnexpectedAnswer())
            return False
        self._head, self._body = head, bytearray(head.length)
        self._target = memoryview(self._body)
        self._target[: len(rest)] = rest
        self._filled = len(rest)
        return True

    def _finish(self) -> None:
        head, body, answered = self._head, self._body, self._answered
        assert head is not None
        assert answered is not None
        self._head, self._body, self._target, self._filled = None, bytearray(), self._scratch, 0
        self.idle_since = asyncio.get_running_loop().time()
        if head.closes and self._transport is not None:
            self._transport.close()
        answered.set_result(FastAnswer(head, body))

    def _fail(self, error: Exception) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
