"""The rest of a plain request's body, read from the socket straight into the bytes that are stored.

aiohttp copies a body through three new buffers in many small steps: for 256 KiB that costs more than
everything that a leader does with them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from floodmark.errors import TooManyRequests

from node.budget import Account
from node.service.loop_share import BODY_SMALL_BYTES, LoopShare

if TYPE_CHECKING:
    from node.http.connection import Connection

_AT_FIRST_BYTES: Final = 2 << 20
"""A client that announces more has to send this much before memory for all of it is allocated."""
_SCRAP_BYTES: Final = 64 << 10


class Intake(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol while a body arrives, and passes all other events on.

    ``whole`` gets the complete body. What has arrived is ``held``; where there is no room for more, the rest
    is read and dropped before ``refused`` is told why, so that the client sees the answer and can go on.
    """

    def __init__(
        self,
        connection: Connection,
        length: int,
        held: Account,
        bodies: LoopShare,
        whole: Callable[[bytes], None],
        refused: Callable[[TooManyRequests], None],
    ) -> None:
        self._connection = connection
        self._held = held
        self._bodies = bodies
        self._number = bodies.number()
        self._whole = whole
        self._refused = refused
        self._refusal: TooManyRequests | None = None
        # The only way to fill a ``bytes`` object without a copy: nothing else refers to its buffer.
        self._buffer = io.BytesIO(bytes(min(length, _AT_FIRST_BYTES)))
        self._view = self._buffer.getbuffer()
        self.length = length
        self.filled = 0
        self.waits = False
        """Whether it waits for its turn to be read."""

    def add(self, part: memoryview) -> None:
        """Take in what came with the head, which is already counted."""
        self._view[: len(part)] = part
        self.filled = len(part)

    def may_read(self) -> bool:
        """Whether more may be read in this turn of the loop; if not, the connection is told when it may."""
        rest = self.length - self.filled
        self.waits = rest > BODY_SMALL_BYTES and not self._bodies.ask(self._number, rest, self._go_on)
        return not self.waits

    def _go_on(self) -> None:
        self.waits = False
        self._connection.read_intake(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Room for this body only: what follows it is not read yet."""
        if self._refusal is not None:
            return self._view[: self.length - self.filled]
        return self._view[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """``nbytes`` more bytes have arrived."""
        self.filled += nbytes
        if self._refusal is None:
            try:
                self._held.take(nbytes)
            except TooManyRequests as refusal:
                self._refuse(refusal)
        if self.filled == self.length:
            self._view.release()
            self._connection.end_intake()
            if self._refusal is None:
                self._whole(self._buffer.getvalue())
            else:
                self._refused(self._refusal)
            return
        if self._refusal is None and self.filled == len(self._view):
            self._grow()
        if not self.may_read():
            self._connection.rest_intake()

    def _grow(self) -> None:
        first = self._view
        self._buffer = io.BytesIO(bytes(self.length))
        self._view = self._buffer.getbuffer()
        self._view[: len(first)] = first
        first.release()

    def _refuse(self, refusal: TooManyRequests) -> None:
        self._refusal = refusal
        self._held.close()
        self._view.release()
        self._view = memoryview(bytearray(_SCRAP_BYTES))
        self._buffer = io.BytesIO()

    def eof_received(self) -> None:
        """The client sends no more: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left in the middle of its body."""
        self._held.close()
        self._connection.break_intake(exc)

    def pause_writing(self) -> None:
        """For answers to earlier requests."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """For answers to earlier requests."""
        self._connection.resume_writing()
