"""A few threads that wait for the disk in place of the event loop.

An fsync is so short that what ``concurrent.futures`` costs per call, several times as much, would matter.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Work = Callable[[], Any]
Done = Callable[[Any, BaseException | None], None]
"""Gets the result, or the error, on the event loop."""


class DiskThreads:
    """Threads start with the first work and end with ``stop``. Made on the event loop."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._queue: SimpleQueue[tuple[Work, Done] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, work: Work, done: Done) -> None:
        """Run ``work`` in the next thread that is free, then ``done`` on the event loop."""
        if len(self._threads) < self._count:
            name = f"log-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
            self._threads[-1].start()
        self._queue.put((work, done))

    def stop(self) -> None:
        """Return once all submitted work is done and the threads have ended."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _run(self) -> None:
        call_soon = self._loop.call_soon_threadsafe
        while (job := self._queue.get()) is not None:
            work, done = job
            result, error = None, None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001 - whoever submitted it decides
                error = raised
            call_soon(done, result, error)
            del job, work, done, result, error
