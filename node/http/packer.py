"""One process that decodes large bodies (``packer_process.py``), from the node's side."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from array import array
from typing import Final

import msgspec
from floodmark.errors import ERRORS_BY_CODE

from node.http.packer_process import LENGTHS, Answer
from node.http.packing import Order
from node.service.division import Packed

COMMAND: Final = (sys.executable, "-P", "-m", "node.http.packer_process")
_PIECE_BYTES: Final = 256 << 10
_END_S: Final = 2.0
_ENCODER = msgspec.msgpack.Encoder()
_ANSWERS = msgspec.msgpack.Decoder(Answer)


class Gone(Exception):
    """The process ended before it had answered."""


class Packer:
    """A running process; one body at a time."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self.rest: asyncio.TimerHandle | None = None
        """Ends the process when it has been idle for long."""

    @classmethod
    async def start(cls) -> Packer:
        """Start a process. Raises ``OSError`` where that fails.

        It is executed, not only forked: it inherits no descriptor and no lock. It has a session of its own,
        so that Ctrl-C reaches the node alone.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.to_thread(_started, theirs)
            except BaseException:
                ours.close()
                raise
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=4 * _PIECE_BYTES)
        return cls(process, reader, writer)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def pack(self, order: Order, body: bytes) -> tuple[Answer, bytes]:
        """The process's answer, and its batches concatenated. Raises ``Gone``."""
        head = _ENCODER.encode(order)
        try:
            self._writer.write(LENGTHS.pack(len(head), len(body)) + head)
            view = memoryview(body)
            for begin in range(0, len(body), _PIECE_BYTES):
                self._writer.write(view[begin : begin + _PIECE_BYTES])
                await self._writer.drain()
            head_length, batches_length = LENGTHS.unpack(await self._reader.readexactly(LENGTHS.size))
            answer = _ANSWERS.decode(await self._reader.readexactly(head_length))
            return answer, await self._reader.readexactly(batches_length)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Gone from error

    async def end(self) -> None:
        """End the process, by force if need be; returns when it is gone."""
        if self.rest is not None:
            self.rest.cancel()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _started(stdin: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own program, and nothing of a request is in its arguments
        COMMAND, stdin=stdin.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
    )


def result(answer: Answer, batches: bytes) -> Packed:
    """The answer's result. Raises the refusal if it is one."""
    if answer.code:
        raise ERRORS_BY_CODE[answer.code](answer.detail, **answer.fields)
    places = array("H")
    places.frombytes(answer.places)
    found = {}
    begin = 0
    for number, length in answer.batches:
        found[number] = batches[begin : begin + length]
        begin += length
    return Packed(places, found)
