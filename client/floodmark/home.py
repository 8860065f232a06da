"""The process and the event loop that a client belongs to: a call from anywhere else would never return.

Connections, locks and tasks belong to one loop, and a forked child shares its parent's connections without
having the threads and tasks that serve them.
"""

from __future__ import annotations

import asyncio
import os

from floodmark.errors import NotUsable

_forks = 0


def _forked() -> None:
    global _forks  # noqa: PLW0603 - it counts for the whole process
    _forks += 1


os.register_at_fork(after_in_child=_forked)


class Home:
    """The home of one client, fixed by its first use."""

    __slots__ = ("_forks", "_loop", "is_closed", "is_closing")

    def __init__(self) -> None:
        self._forks = _forks
        self._loop: asyncio.AbstractEventLoop | None = None
        self.is_closing = False
        """No new call begins; those under way may end."""
        self.is_closed = False

    @property
    def is_forked(self) -> bool:
        """Whether this is a child of the process that the client was made in."""
        return self._forks != _forks

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop; None before the first use."""
        return self._loop

    @property
    def is_here(self) -> bool:
        """Whether the caller, a coroutine, runs where the client is used."""
        return not self.is_forked and self._loop in (None, asyncio.get_running_loop())

    def check(self) -> None:
        """Called by every coroutine first. Raises ``NotUsable``."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self.is_closed or self._forks != _forks:
            self._settle(loop)

    def check_new(self) -> None:
        """The same for calls that begin something; also fails once closed. Needs no event loop."""
        if self.is_forked:
            raise NotUsable(
                "this client was created before a fork: create one in the child process", sent=False
            )
        if self.is_closing:
            raise NotUsable("this client is closed", sent=False)

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        self.check_new()
        if self._loop is not None:
            raise NotUsable(
                "this client belongs to another event loop: create one in each (each asyncio.run has its "
                "own)",
                sent=False,
            )
        self._loop = loop
