"""Restarting the nodes of a cluster one after the other, so that clients notice nothing but some latency.

No node is stopped unless the whole cluster is healthy: every node is ready and every partition has all of its
replicas in sync. A node hands its leaderships over when it is stopped, and when it runs again all of that is
waited for anew. So a majority of each partition is there all the time, with all that was acknowledged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

import aiohttp

from local.errors import NotHealthy
from local.health import unhealthy, wait_healthy

TELL_EVERY_S: Final = 5.0
WAIT_S: Final = 300.0
"""How long one node may take until the cluster is healthy again: it may have much to catch up with."""
_ANSWER_S: Final = 5.0


class Roll:
    """``urls``: node -> base URL. ``restart`` stops a node, starts it again, and need not wait for more."""

    def __init__(
        self,
        urls: Mapping[str, str],
        restart: Callable[[str], Awaitable[None]],
        *,
        tell: Callable[[str], None],
        wait_s: float = WAIT_S,
    ) -> None:
        self._urls = urls
        self._restart = restart
        self._tell = tell
        self._wait_s = wait_s

    async def run(self, left: Collection[str], *, goes_on: bool = False) -> None:
        """Restart those that are ``left``. Raises ``NotHealthy``: then nothing more is restarted.

        A roll that ``goes_on`` waits for what its own last restart may have left behind; one that begins
        refuses at once.
        """
        if goes_on:
            await self._wait_healthy("the roll that was interrupted")
        elif reasons := await unhealthy(self._urls):
            raise NotHealthy(
                f"no node is restarted while something is wrong: {'; '.join(reasons)}",
                hint="'floodmark cluster health' says when all is well",
            )
        order = await self._in_order(left)
        for number, name in enumerate(order, start=len(self._urls) - len(order) + 1):
            began, place = time.monotonic(), f"{number}/{len(self._urls)} {name}"
            self._tell(f"{place}: hands its leaderships over and stops")
            await self._restart(name)
            self._tell(f"{place}: runs again after {time.monotonic() - began:.1f} s, and catches up")
            await self._wait_healthy(name)
            self._tell(f"{place}: all is in sync {time.monotonic() - began:.1f} s after its stop began")

    async def _wait_healthy(self, whose: str) -> None:
        told_at = time.monotonic()

        def tell(reasons: list[str]) -> None:
            nonlocal told_at
            if time.monotonic() - told_at > TELL_EVERY_S:
                told_at = time.monotonic()
                self._tell(f"waiting for the cluster after {whose}: {'; '.join(reasons)}")

        await wait_healthy(self._urls, timeout_s=self._wait_s, tell=tell)

    async def _in_order(self, left: Collection[str]) -> list[str]:
        """By name, and the metadata's leader last: so its leadership moves once, or twice at the most."""
        leader = await self._metadata_leader()
        return sorted(left, key=lambda name: (name == leader, name))

    async def _metadata_leader(self) -> str | None:
        """As the first node that answers knows it."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
            for url in self._urls.values():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                    async with session.get(f"{url}/v1/cluster") as answer:
                        leader: str | None = (await answer.json(content_type=None))["metadata_leader"]
                        return leader
        return None
