"""A fault of asyncio, mended for tests: a connection accepted in the turn in which its server closes leaks.

``Server._attach`` refuses it by an assertion, with the transport half made, and nobody closes its socket
(CPython gh-109564, in 3.11 for good). A node that closes its server ends, and its sockets with it; in a
process of many tests the collector reports such a socket as a failure of whichever test runs by then.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from typing import Any


def close_late_connections() -> None:
    """Close such connections at once, on every loop that is made of asyncio's own selector loop."""
    accept = BaseSelectorEventLoop._accept_connection2

    async def accept_or_close(
        loop: BaseSelectorEventLoop,
        factory: Any,
        connection: socket.socket,
        extra: Any,
        sslcontext: Any = None,
        server: asyncio.Server | None = None,
        *timeouts: Any,
        **named: Any,
    ) -> None:
        if server is not None and not server.is_serving():
            connection.close()
            return
        await accept(loop, factory, connection, extra, sslcontext, server, *timeouts, **named)

    BaseSelectorEventLoop._accept_connection2 = accept_or_close
