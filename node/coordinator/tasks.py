"""Work in the background of whatever ends with a leadership."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

_log = structlog.get_logger(__name__)
K = TypeVar("K", bound=Hashable)


class Tasks:
    """They run until they are done, or all are cancelled. One that fails is logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """One more."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """All of them."""
        for task in list(self._running):
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        _log_failure(task)


class KeyedTasks(Generic[K]):
    """At most one for each key. They run until they are done, or all are cancelled. One that fails is
    logged."""

    def __init__(self, work: Callable[[K], Coroutine[Any, Any, None]], ended: Callable[[K], None]) -> None:
        """``work``: for a key. ``ended``: called once it has ended, unless it was cancelled."""
        self._work = work
        self._ended_with = ended
        self._running: dict[K, asyncio.Task[None]] = {}

    def begin(self, key: K) -> None:
        """Unless there is one for this key."""
        if key not in self._running:
            task = asyncio.get_running_loop().create_task(self._work(key))
            self._running[key] = task
            task.add_done_callback(partial(self._ended, key))

    @property
    def running(self) -> Collection[asyncio.Task[None]]:
        """All of them."""
        return self._running.values()

    def cancel(self) -> None:
        """All of them."""
        for task in self._running.values():
            task.cancel()

    def _ended(self, key: K, task: asyncio.Task[None]) -> None:
        del self._running[key]
        _log_failure(task)
        if not task.cancelled():
            self._ended_with(key)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task_failed", exc_info=error)
