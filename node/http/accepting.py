"""Accepts many connections that arrive at once.

The event loop accepts one connection per turn. Under load turns are long, so a few hundred clients that
connect at once would wait for seconds, and other nodes with them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Final

AT_ONCE: Final = 32
"""How many more to accept in a turn in which the loop has accepted one."""


class Accepting:
    """Accepts connections that wait at listening sockets. ``protocol`` makes one connection's protocol."""

    def __init__(self, protocol: Callable[[], asyncio.Protocol], listening: Iterable[int]) -> None:
        self._protocol = protocol
        # The loop's own sockets do not let others accept.
        self._sockets = [socket.socket(fileno=socket.dup(descriptor)) for descriptor in listening]
        for each in self._sockets:
            each.setblocking(False)  # noqa: FBT003 - the name of the standard library's parameter is none
        self._is_due = False
        self._tasks: set[asyncio.Task[None]] = set()

    def one_came(self) -> None:
        """The loop has accepted a connection: there may be more."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._accept)

    def stop(self) -> None:
        """Accept nothing more."""
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            each.close()

    def _accept(self) -> None:
        left = AT_ONCE
        for each in self._sockets:
            while left:
                try:
                    accepted, _ = each.accept()
                except OSError:  # Nobody waits, or there are no descriptors left: the loop reports that.
                    break
                left -= 1
                task = asyncio.create_task(self._connect(accepted))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._is_due = left == 0
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._accept)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            accepted.setblocking(False)  # noqa: FBT003 - see above
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, accepted)
        except OSError:  # It has left already.
            accepted.close()
