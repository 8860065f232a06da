"""Taking connections at a port: as sockets, and until it is closed."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from consensus.links import accept_loop
from consensus.links.accept_loop import AcceptLoop


class FullOnce(socket.socket):
    """Has no descriptor left for the first connection that it is asked for."""

    fails = 1

    def accept(self) -> tuple[socket.socket, object]:
        if self.fails:
            self.fails -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


def _listening(of: type[socket.socket]) -> socket.socket:
    made = of()
    made.setblocking(False)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


async def test_what_comes_is_taken_until_the_port_is_closed_however_often() -> None:
    """A node that is told that it has lost its data closes its ports, and closes them again as it ends."""
    taken: asyncio.Queue[tuple[socket.socket, str]] = asyncio.Queue()
    port = _listening(socket.socket)
    address = port.getsockname()
    loop = AcceptLoop([port], lambda accepted, host: taken.put_nowait((accepted, host)))
    _, writer = await asyncio.open_connection(*address)
    async with asyncio.timeout(60):
        accepted, host = await taken.get()
    assert (host, accepted.getblocking()) == ("127.0.0.1", False)
    accepted.close()
    writer.close()
    loop.close()
    loop.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


async def test_whoever_comes_while_no_descriptor_is_left_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told once, and the connection is taken later."""
    monkeypatch.setattr(accept_loop, "_AGAIN_S", 0.01)
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    told: list[OSError] = []
    port = _listening(FullOnce)
    loop = AcceptLoop([port], lambda accepted, _host: taken.put_nowait(accepted), told.append)
    try:
        _, writer = await asyncio.open_connection(*port.getsockname())
        async with asyncio.timeout(60):
            (await taken.get()).close()
        writer.close()
        assert [error.errno for error in told] == [errno.EMFILE]
    finally:
        loop.close()
