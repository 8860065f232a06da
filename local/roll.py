"""Restarts the nodes of a cluster one after the other; clients notice only some latency.

No node is stopped unless the whole cluster is healthy: every node is ready and every partition has all of its
replicas in sync. A node hands over its leaderships when it is stopped, and after its restart the roll waits
until the cluster is healthy again. So each partition always has a majority with all acknowledged records.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

import aiohttp

from local.access import ANYBODY, Access
from local.errors import NotHealthy
from local.health import unhealthy, wait_healthy

TELL_EVERY_S: Final = 5.0
WAIT_S: Final = 300.0
"""How long the cluster may take to be healthy after a restart: the node may have much to catch up with."""
_ANSWER_S: Final = 5.0


class Roll:
    """``urls``: node -> base URL. ``restart`` stops a node and starts it again; it need not wait longer."""

    def __init__(
        self,
        urls: Mapping[str, str],
        restart: Callable[[str], Awaitable[None]],
        *,
        tell: Callable[[str], None],
        wait_s: float = WAIT_S,
        access: Access = ANYBODY,
    ) -> None:
        self._access = access
        self._urls = urls
        self._restart = restart
        self._tell = tell
        self._wait_s = wait_s

    async def run(self, left: Collection[str], *, goes_on: bool = False) -> None:
        """Restart the nodes that are ``left``. Raises ``NotHealthy``: then no further node is restarted.

        A roll that ``goes_on`` first waits for the cluster to recover from its own last restart; a new roll
        refuses at once if the cluster is not healthy.
        """
        if goes_on:
            await self._wait_healthy("the roll that was interrupted")
        elif reasons := await unhealthy(self._urls, self._access):
            raise NotHealthy(
                f"no node is restarted while something is wrong: {'; '.join(reasons)}",
                hint="'floodmark cluster health' shows what is wrong",
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

        await wait_healthy(self._urls, timeout_s=self._wait_s, tell=tell, access=self._access)

    async def _in_order(self, left: Collection[str]) -> list[str]:
        """By name, but the metadata's leader last, so that its leadership moves once, or at most twice."""
        leader = await self._metadata_leader()
        return sorted(left, key=lambda name: (name == leader, name))

    async def _metadata_leader(self) -> str | None:
        """The metadata's leader, according to the first node that answers."""
        async with self._access.session(timeout_s=_ANSWER_S) as session:
            for url in self._urls.values():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                    async with session.get(f"{url}/v1/cluster") as answer:
                        leader: str | None = (await answer.json(content_type=None))["metadata_leader"]
                        return leader
        return None
