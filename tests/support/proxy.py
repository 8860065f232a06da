"""A small TCP proxy to put on one directed link: it can hold everything back, cut, and come back."""

from __future__ import annotations

import asyncio
import contextlib


class FaultProxy:
    """Forwards connections to a target for as long as nothing is wrong."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.address = ("127.0.0.1", 0)
        self.accepted = 0
        self.forwarded_bytes = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut = False
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> FaultProxy:
        """Listen on any free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    def pause(self) -> None:
        """Keep connections and forward nothing: what is sent waits."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward what waited."""
        self._flowing.set()

    def cut(self) -> None:
        """Break all connections and let none be made."""
        self._cut = True
        self.drop_connections()

    def heal(self) -> None:
        """Let connections be made again."""
        self._cut = False
        self._flowing.set()

    def drop_connections(self) -> None:
        """Break all connections, once."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for pipe in list(self._pipes):
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._cut:
            writer.transport.abort()
            return
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward_writer}
        for source, sink in ((reader, onward_writer), (onward_reader, writer)):
            pipe = asyncio.create_task(self._forward(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(1 << 16):
                    await self._flowing.wait()
                    writer.write(data)
                    self.forwarded_bytes += len(data)
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
