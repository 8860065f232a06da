"""Passwords are checked and turned into verifiers on few threads, and only so many at a time.

Both take processor time on purpose. Who asks more often than people do is refused, for each address and each
user, so that passwords cannot be guessed here and the node stays responsive.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from floodmark.errors import TooManyRequests

from node.metadata.state import Verifier
from node.security import scram

THREADS: Final = 2
WAITING_MAX: Final = 16
AT_ONCE: Final = 10
PER_S: Final = 0.5
"""Attempts of one address, and for one user: so many at once, then so many a second."""
_REMEMBERED_MAX: Final = 10_000
T = TypeVar("T")


class Attempts:
    """Token buckets by name, of a bounded number of names."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def count(self, name: str) -> None:
        """Raises ``TooManyRequests``."""
        now = self._clock()
        left, at = self._left.pop(name, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - at) * PER_S)
        self._left[name] = (max(0.0, left - 1), now)
        if len(self._left) > _REMEMBERED_MAX:
            self._left.popitem(last=False)
        if left < 1:
            raise TooManyRequests(
                "too many attempts to log in: wait a moment", retry_after_s=round((1 - left) / PER_S, 1)
            )


class Passwords:
    """One per node."""

    def __init__(self) -> None:
        self.by_address = Attempts()
        self.by_user = Attempts()
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def verifiers(self, password: str) -> list[Verifier]:
        """Of a new password. Raises InvalidRequest, TooManyRequests."""
        scram.check_password(password)
        return await self._in_thread(lambda: scram.verifiers_of(password))

    async def matching(self, password: str, verifiers: Sequence[Verifier]) -> Verifier | None:
        """See ``scram.matching``. Raises TooManyRequests."""
        return await self._in_thread(lambda: scram.matching(password, verifiers))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise TooManyRequests("too many passwords are being checked here", retry_after_s=1.0)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
