"""From a blocking iterator to an event loop: a thread reads, the loop takes what has arrived.

Reading a pipe or a terminal blocks, and must not delay what is already on its way to the cluster. The thread
is a daemon because such a read cannot be interrupted, and Ctrl-C must still end the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_HELD_MAX = 2_000
"""Items read ahead; then the thread waits."""


class Pump(Generic[T]):
    """Returns the items of an iterator in order, as many at a time as have arrived."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._held: list[T] = []
        self._ended = False
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        threading.Thread(target=self._read, name="input", daemon=True).start()

    async def take(self) -> list[T]:
        """At least one item, or an empty list at the end. Raises the iterator's error after its last item."""
        while True:
            await self._arrived.wait()
            with self._changed:
                taken, self._held = self._held, []
                self._changed.notify()
                if not self._ended:
                    self._arrived.clear()
                if taken:
                    return taken
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return []

    @property
    def is_dry(self) -> bool:
        """Whether ``take`` would have to wait."""
        return not self._held and not self._ended

    def _read(self) -> None:
        try:
            for item in self._items:
                self._put(item)
        except Exception as error:  # noqa: BLE001 - passed to the loop, which raises it
            self._error = error
        with self._changed:
            self._ended = True
        self._wake()

    def _put(self, item: T) -> None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._held) < _HELD_MAX)
            self._held.append(item)
            first = len(self._held) == 1
        if first:
            self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:
            return  # The loop is closed, so no caller waits any more.
