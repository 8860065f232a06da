"""The mended fault of asyncio: nothing is left of a connection that its server accepted while closing."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings


async def test_a_connection_accepted_while_its_server_closes_is_closed() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    accept = loop._accept_connection2  # type: ignore[attr-defined]
    late = []

    def accept_as_it_closes(factory: object, connection: socket.socket, *rest: object) -> object:
        late.append(connection)
        server.close()
        return accept(factory, connection, *rest)

    loop._accept_connection2 = accept_as_it_closes  # type: ignore[attr-defined]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert [connection.fileno() for connection in late] == [-1]
        gc.collect()
    assert not [each for each in warned if issubclass(each.category, ResourceWarning)]
