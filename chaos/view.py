"""The current leaders, according to the nodes themselves, bypassing all network faults."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from chaos.cluster import ChaosCluster

_ASK_TIMEOUT_S: Final = 2.0
_ASK_AGAIN_S: Final = 0.1


class NobodyLeads(Exception):
    """No leader was found while looking for the target of a fault."""


class View:
    """The view of the running nodes. During a fault they may disagree: the highest term counts."""

    def __init__(self, cluster: ChaosCluster) -> None:
        self._cluster = cluster

    async def leader(self, topic: str, partition: int = 0, *, timeout_s: float = 10.0) -> str:
        """The node that leads a partition. Raises ``NobodyLeads``."""

        async def look() -> str | None:
            answers = await self._ask_all(f"/v1/topics/{topic}")
            parts = [part for answer in answers for part in answer["partitions"]]
            led = [part for part in parts if part["partition"] == partition and part["leader"]]
            return max(led, key=lambda part: part["term"] or 0)["leader"] if led else None

        return await self._wait(look, f"partition {topic}/{partition}", timeout_s)

    async def metadata_leader(self, *, timeout_s: float = 10.0) -> str:
        """The node that leads the metadata group, according to most nodes. Raises ``NobodyLeads``."""

        async def look() -> str | None:
            answers = await self._ask_all("/v1/cluster")
            named = Counter(answer["metadata_leader"] for answer in answers if answer.get("metadata_leader"))
            return named.most_common(1)[0][0] if named else None

        return await self._wait(look, "the metadata", timeout_s)

    async def _wait(self, look: Callable[[], Awaitable[str | None]], what: str, timeout_s: float) -> str:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    leader = await look()
                    if leader is not None:
                        return leader
                    await asyncio.sleep(_ASK_AGAIN_S)
        except TimeoutError as error:
            raise NobodyLeads(f"{what} has had no leader for {timeout_s:.0f} s") from error

    async def _ask_all(self, path: str) -> list[Any]:
        """The answers of all nodes that run and answer in time."""
        async with self._cluster.access.session(timeout_s=_ASK_TIMEOUT_S) as session:
            urls = [
                self._cluster.direct_url(name) + path
                for name in self._cluster.names
                if self._cluster.runs(name)
            ]
            answers = await asyncio.gather(*(self._ask(session, url) for url in urls))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> Any:
        try:
            async with session.get(url) as answer:
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None
