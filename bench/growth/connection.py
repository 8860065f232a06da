"""One HTTP connection that sends its next request as soon as it has an answer: only what a load tool needs.

It costs the client a tenth of what aiohttp does, so that on a machine shared by nodes and client the curves
show the nodes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from bench.processes import Failed

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ERROR_BYTES: Final = 300
_BUFFER_BYTES: Final = 1 << 18
_OK: Final = b"HTTP/1.1 200"
_UNAVAILABLE: Final = b"HTTP/1.1 503"
_ASK_AGAIN_S: Final = 0.02
"""After a 503: a partition has no leader at the moment, or another one."""

NextRequest = Callable[[bytes], Sequence[bytes] | None]
"""Given the head of the last answer (empty before the first): the pieces of the next request, or no more."""


class Connection(asyncio.BufferedProtocol):
    """``run`` asks until a deadline; ``latencies`` has the seconds of each answered request."""

    def __init__(self, next_request: NextRequest) -> None:
        self._next_request = next_request
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._head = b""
        self._left = -1
        """Bytes of the body that are still to come; below zero while the head is."""
        self._request: Sequence[bytes] = ()
        self._asked_at = 0.0
        self._deadline = 0.0
        self._done: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.latencies: list[float] = []
        self.body_bytes = 0
        self.refused = 0
        """Answers of 503. The request was sent again, and its time counts from the first attempt."""

    async def run(self, deadline: float) -> None:
        """Until ``time.perf_counter()`` says so, or no request is left. Raises ``Failed``."""
        self._deadline = deadline
        self._done = asyncio.get_running_loop().create_future()
        self._ask()
        await self._done

    def close(self) -> None:
        """Nothing more is asked."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails the run if a request is under way."""
        self._fail(f"the node closed the connection: {exc}")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Always the same buffer, because its content is handled at once."""
        del sizehint
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """A part of an answer; nothing is asked ahead, so no second one can stand behind it."""
        if self._left >= 0:
            self._left -= nbytes
        else:
            self._head += self._view[:nbytes]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._head, 0, end + 2)
            if length is None or not self._head.startswith((_OK, _UNAVAILABLE)):
                self._fail(f"answered with {self._head[: end + _ERROR_BYTES]!r}")
                return
            size = int(length[1])
            self._left = size - (len(self._head) - end - 4)
            self.body_bytes += size if self._head.startswith(_OK) else 0
            self._head = self._head[: end + 4]
        if self._left == 0:
            self._answered()

    def _answered(self) -> None:
        now = time.perf_counter()
        if self._head.startswith(_UNAVAILABLE):
            self.refused += 1
            if now < self._deadline:
                asyncio.get_running_loop().call_later(_ASK_AGAIN_S, self._send)
            else:
                self._end()
            return
        self.latencies.append(now - self._asked_at)
        if now < self._deadline:
            self._ask()
        else:
            self._end()

    def _ask(self) -> None:
        request = self._next_request(self._head)
        if request is None:
            self._end()
            return
        self._request = request
        self._asked_at = time.perf_counter()
        self._send()

    def _send(self) -> None:
        self._head, self._left = b"", -1
        if self._transport is None:
            self._end()
            return
        for piece in self._request:
            self._transport.write(piece)

    def _end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _fail(self, why: str) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(Failed(why))
