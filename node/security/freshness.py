"""Whether this node knows what the cluster has agreed on lately: who was revoked, above all.

A node confirms with the metadata's leader, which confirms with a majority, that it has applied everything
that was acknowledged before. It does so while somebody asks and the last time is a while ago, so an idle
cluster stays idle, and the first request after that waits for one round.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from floodmark.errors import CredentialsUnconfirmed, FloodmarkError

UNHEARD_S: Final = 10.0
"""Whoever has confirmed nothing for so long knows of nobody any more."""
AGAIN_AFTER_S: Final = 3.0
"""It is confirmed again in the background once it is so long ago."""
WITHIN_S: Final = 2.0
"""Who waits for it waits so long at most."""
RETRY_S: Final = 0.5
ANEW_AFTER_S: Final = 0.1
"""Strangers who make up tokens have it confirmed no more often than this."""


class Freshness:
    """``confirm`` returns once everything that was acknowledged before its call is known here; it raises
    ``FloodmarkError`` where that cannot be had within so many seconds. ``leader`` is who leads as far as is
    known: whoever asks waits for a round with a leader that has not failed to answer yet.
    """

    def __init__(
        self,
        confirm: Callable[[float], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
        leader: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._confirm = confirm
        self.clock = clock
        self._leader = leader
        self._confirmed_at = self._tried_at = -math.inf
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        """Whether the last round failed."""
        self._failed_with: str | None = None
        """Who led when it did, as far as was known."""

    @property
    def holds(self) -> bool:
        """Whether what is known is recent enough; it is seen to that it stays so."""
        now = self.clock()
        age = now - self._confirmed_at
        if age >= AGAIN_AFTER_S and self._task is None and now - self._tried_at >= RETRY_S:
            self._begin()
        return age < UNHEARD_S

    async def confirm(self) -> None:
        """Raises ``CredentialsUnconfirmed`` where it is not recent enough, and cannot be had."""
        if not self.holds:
            if self._failing and self._leader() == self._failed_with:
                raise unconfirmed()  # It is tried again in the background: nobody else waits for that.
            await self._once()
            if self.clock() - self._confirmed_at >= UNHEARD_S:
                raise unconfirmed()

    async def anew(self) -> None:
        """Until everything is known that was acknowledged before this call. Raises likewise."""
        asked = self.clock()
        while self._confirmed_at < asked:
            if self._task is None and (wait := self._tried_at + ANEW_AFTER_S - asked) > 0:
                await asyncio.sleep(wait)
            began = await self._once()
            if self._confirmed_at < asked <= began:
                raise unconfirmed()

    async def _once(self) -> float:
        """Wait for the round that is under way, or for another one; when it began."""
        task = self._task or self._begin()
        began = self._tried_at
        await asyncio.shield(task)  # Others wait for it, too.
        return began

    def _begin(self) -> asyncio.Task[None]:
        self._tried_at = self.clock()
        self._task = asyncio.ensure_future(self._run(self._tried_at))
        return self._task

    async def _run(self, began: float) -> None:
        try:
            await self._confirm(WITHIN_S)
            self._confirmed_at = max(self._confirmed_at, began)
            self._failing = False
        except FloodmarkError:
            self._failing, self._failed_with = True, self._leader()
        finally:
            self._task = None


def unconfirmed() -> CredentialsUnconfirmed:
    """Nobody can be told from anybody here at the moment."""
    return CredentialsUnconfirmed(
        f"this node has not heard the leader of the cluster's metadata for {UNHEARD_S:g} s, or not since it "
        "started, and cannot know whether these credentials still hold: ask another node",
        retry_after_s=1.0,
    )
