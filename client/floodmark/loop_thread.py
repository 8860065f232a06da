"""An event loop in a thread of its own, for ``floodmark.sync``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from floodmark.errors import NotUsable
from floodmark.home import Home

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._home = Home()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="floodmark", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether work can begin. In a forked child the thread does not exist."""
        return not self._home.is_closing and not self._home.is_forked

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin on the loop. Raises ``NotUsable``."""
        try:
            self._home.check_new()
            with self._lock:
                self._home.check_new()
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        except NotUsable:
            work.close()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop and wait here; an interrupt here cancels it there."""
        future = self.start(work)
        try:
            return future.result()
        except CancelledError:
            raise NotUsable("this client was closed meanwhile", sent=True) from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread and cancel what is under way in it; waiting callers get an error."""
        with self._lock:
            if self._home.is_closing:
                return
            self._home.is_closing = True
            ended = asyncio.run_coroutine_threadsafe(_end_all(), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
