"""Asks other nodes over HTTP how they see things: each leader knows best about its own partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec

from node.broker import PartitionInfo, TopicInfo

TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 0.01
"""Before a node is asked again whether it has heard of a change."""
LOCAL_VIEW: Final = {"Floodmark-Forwarded": "1"}
"""The node that is asked answers from what it knows and asks nobody in turn."""


class _Topic(msgspec.Struct):
    topic_id: int
    partitions: list[PartitionInfo] = []


_DECODER = msgspec.json.Decoder(_Topic)


class TopicQuery:
    """Only addresses from the replicated metadata are ever connected to."""

    def __init__(self, node_url: Callable[[str], str | None]) -> None:
        self._node_url = node_url
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, node: str, path: str) -> bytes | None:
        """What ``node`` answers at ``path``; None when it does not, or with an error."""
        url = self._node_url(node)
        if url is None:
            return None
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False, headers=LOCAL_VIEW
            )
        try:
            async with self._session.get(url.rstrip("/") + path) as response:
                return await response.read() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def partitions(self, node: str, topic: str, topic_id: int) -> list[PartitionInfo]:
        """The partitions as ``node`` sees them; empty when it does not answer, or knows another topic."""
        found = await self._topic(node, topic)
        return found.partitions if found is not None and found.topic_id == topic_id else []

    async def wait_deleted(self, node: str, topic: str, topic_id: int) -> None:
        """Until ``node`` knows no topic of this id any more, or does not answer."""
        while True:  # What is waited for happens on another node.
            found = await self._topic(node, topic)
            if found is None or found.topic_id != topic_id:
                return
            await asyncio.sleep(PAUSE_S)

    async def _topic(self, node: str, topic: str) -> _Topic | None:
        """The topic as ``node`` sees it; None when it knows none, or does not answer."""
        raw = await self.ask(node, f"/v1/topics/{quote(topic)}")
        try:
            return None if raw is None else _DECODER.decode(raw)
        except msgspec.MsgspecError:
            return None

    async def leader(self, node: str, topic: str, topic_id: int, partition: int) -> str | None:
        """The leader of one partition as ``node`` sees it."""
        found = await self.partitions(node, topic, topic_id)
        return found[partition].leader if partition < len(found) else None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def merged(topic: TopicInfo, seen: dict[str, list[PartitionInfo]]) -> TopicInfo:
    """``topic`` with each partition as its leader described it, or else as one who knows a leader."""
    partitions = list(topic.partitions)
    for node, infos in seen.items():
        for number, info in enumerate(infos[: len(partitions)]):
            if info.leader == node or (partitions[number].leader is None and info.leader is not None):
                partitions[number] = info
    return replace(topic, partitions=partitions)
