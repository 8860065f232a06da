"""Asks another node over HTTP who leads a partition that has no replica here."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import aiohttp
import msgspec

TIMEOUT_S = 1.0


class _Partition(msgspec.Struct):
    leader: str | None = None


class _Topic(msgspec.Struct):
    partitions: list[_Partition] = []


_DECODER = msgspec.json.Decoder(_Topic)


class LeaderQuery:
    """Only addresses from the replicated metadata are ever connected to."""

    def __init__(self, node_url: Callable[[str], str | None]) -> None:
        self._node_url = node_url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, node: str, topic: str, partition: int) -> str | None:
        """The leader as ``node`` sees it; None when it knows none or does not answer."""
        url = self._node_url(node)
        if url is None:
            return None
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False
            )
        try:
            async with self._session.get(f"{url.rstrip('/')}/v1/topics/{quote(topic)}") as response:
                if response.status != 200:
                    return None
                found = _DECODER.decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError):
            return None
        return found.partitions[partition].leader if partition < len(found.partitions) else None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
