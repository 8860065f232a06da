"""A few threads that wait for the disk in place of the event loop.

An fsync is so short that what ``concurrent.futures`` costs for each, several times as much, would matter.
Each thread has a queue of its own: one that several wait at wakes them one after the other for each work.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Work = Callable[[], Any]
Done = Callable[[Any, BaseException | None], None]
"""Gets the result, or the error, on the event loop."""


class DiskThreads:
    """At most ``count`` threads, started when work comes and all others are busy. Used on the event loop."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._idle: list[_Thread] = []
        self._all: list[_Thread] = []
        self._queue: deque[tuple[Work, Done]] = deque()

    def submit(self, work: Work, done: Done) -> None:
        """Run ``work`` in the next thread that is free, then ``done`` on the event loop."""
        if self._idle:
            self._idle.pop().give(work, done)
        elif len(self._all) < self._count:
            thread = _Thread(self._loop, self._ended, name=f"disk-{len(self._all)}")
            self._all.append(thread)
            thread.give(work, done)
        else:
            self._queue.append((work, done))

    def stop(self) -> None:
        """Return once the threads have ended, and with them what they do now."""
        assert not self._queue, "stopped with work waiting"
        for thread in self._all:
            thread.end()
        self._all.clear()
        self._idle.clear()

    def _ended(self, thread: _Thread, done: Done, result: Any, error: BaseException | None) -> None:
        if self._queue:
            thread.give(*self._queue.popleft())
        else:
            self._idle.append(thread)
        done(result, error)


class _Thread:
    """One thread, and the queue that it alone waits at."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ended: Callable[..., None], *, name: str) -> None:
        self._loop = loop
        self._ended = ended
        self._jobs: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def give(self, work: Work, done: Done) -> None:
        """Do this next."""
        self._jobs.put((work, done))

    def end(self) -> None:
        """Return once what it does is done and it has ended."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        call_soon = self._loop.call_soon_threadsafe
        while (job := self._jobs.get()) is not None:
            work, done = job
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001 - whoever submitted it decides
                error = raised
            call_soon(self._ended, self, done, result, error)
            del job, work, done, result, error
