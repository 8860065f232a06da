"""Boot numbers while nodes run: this folder's own rises now and then, and those of peers are remembered.

A copy that was made while a node ran would differ from the folder by one start only, the one on the copy
itself. So the number rises as time passes: then a copy comes back under a number that peers have seen from
another process. Beats carry it, and no number is sent before it is on disk: the next start is always above
all that were sent. A peer that was away hears the present number when it is back.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

import structlog

from node.membership.discovery import Discovery
from node.membership.identity import IdentityProblem
from node.membership.registry import Registry

_log = structlog.get_logger(__name__)


class Boots:
    """Used on the event loop; both tasks write in ``executor``, since a disk may be slow."""

    def __init__(
        self, discovery: Discovery, registry: Registry, executor: Executor, interval_s: float
    ) -> None:
        self._discovery = discovery
        self._registry = registry
        self._executor = executor
        self._interval_s = interval_s
        self._told: dict[tuple[str, str], int] = {}
        """By node and incarnation; not durable yet."""
        self._news = asyncio.Event()

    def told(self, peer: str, incarnation: str, number: int) -> None:
        """A peer's beats now carry this number."""
        self._told[peer, incarnation] = number
        self._news.set()

    async def rise(self) -> None:
        """Raise it now and then while this node runs; a disk that fails may work again later."""
        loop = asyncio.get_running_loop()
        fails = False
        while True:
            await asyncio.sleep(self._interval_s)
            if len(self._discovery.members) == 1:
                continue  # No peer is connected.
            try:
                await loop.run_in_executor(self._executor, self._discovery.raise_boot)
                fails = False
            except IdentityProblem as error:
                if not fails:
                    _log.error(
                        "boot_number_not_raised",
                        reason=str(error),
                        hint="an old copy of this folder, made from now on, may not be recognised",
                    )
                fails = True

    async def keep(self) -> None:
        """Store what peers tell while this node runs; a failed write is retried with the next number."""
        loop = asyncio.get_running_loop()
        fails = False
        while True:
            await self._news.wait()
            self._news.clear()
            told = dict(self._told)
            try:
                await loop.run_in_executor(self._executor, self._registry.risen, told)
                fails = False
            except IdentityProblem as error:
                if not fails:
                    _log.error("peers_boot_numbers_not_kept", reason=str(error))
                fails = True
                continue
            for key, number in told.items():
                if self._told[key] == number:
                    del self._told[key]
