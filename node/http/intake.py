"""The rest of a plain request's body, read from the socket straight into the bytes that are stored.

aiohttp takes a body through three buffers, each made anew, and hands it on in many small steps: for 256 KiB
that costs more than all that a leader does with them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.http.connection import Connection


class Intake(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol while a body comes in; what happens otherwise it passes on.

    ``whole`` gets the body once it is there, ``broken`` is called when the client leaves before that.
    """

    def __init__(
        self,
        connection: Connection,
        length: int,
        whole: Callable[[bytes], None],
        broken: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._whole = whole
        self._broken = broken
        # The one way to fill a ``bytes`` object without a copy: nobody else refers to what is given to it.
        self._buffer = io.BytesIO(bytes(length))
        self._view = self._buffer.getbuffer()
        self.filled = 0

    def add(self, part: memoryview) -> None:
        """Take in what came together with the head."""
        self._view[: len(part)] = part
        self.filled = len(part)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """No more than this body: what comes behind it is not read yet."""
        return self._view[self.filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes more are there."""
        self.filled += nbytes
        if self.filled == len(self._view):
            self._view.release()
            self._connection.end_intake()
            self._whole(self._buffer.getvalue())

    def eof_received(self) -> None:
        """The client sends no more: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left in its body."""
        self._broken()
        self._connection.break_intake(exc)

    def pause_writing(self) -> None:
        """Of the answers before."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Of the answers before."""
        self._connection.resume_writing()
