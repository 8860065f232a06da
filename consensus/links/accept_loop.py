"""Takes the connections that come at listening sockets, as sockets.

For ports whose connections count from when they are accepted, before TLS stands on them: the event loop's
own servers tell of a connection only after that.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Final

AT_ONCE: Final = 32
"""How many connections to accept in a turn of the event loop."""
_AGAIN_S: Final = 0.5
"""Until the next try, when there are no descriptors left."""


class AcceptLoop:
    """Until ``close`` it calls ``accepted`` with each socket, which does not block, and whose host it is.

    ``failed`` hears why nothing can be accepted for the moment: mostly, that no descriptors are left. The
    port stays open then, and whoever waits there waits on.
    """

    def __init__(
        self,
        listening: Iterable[socket.socket],
        accepted: Callable[[socket.socket, str], None],
        failed: Callable[[OSError], None] = lambda _error: None,
    ) -> None:
        self._listening = list(listening)
        self._accepted = accepted
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._later: asyncio.TimerHandle | None = None
        self._go_on()

    def close(self) -> None:
        """Close the port. It may be closed already."""
        self._pause()
        if self._later is not None:
            self._later.cancel()
        listening, self._listening = self._listening, []
        for each in listening:
            each.close()

    def _go_on(self) -> None:
        self._later = None
        for each in self._listening:
            self._loop.add_reader(each, self._accept, each)

    def _pause(self) -> None:
        for each in self._listening:
            self._loop.remove_reader(each)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._failed(error)
                self._pause()
                self._later = self._loop.call_later(_AGAIN_S, self._go_on)
                return
            accepted.setblocking(False)  # noqa: FBT003 - the name of the standard library's parameter is none
            self._accepted(accepted, str(address[0]))
