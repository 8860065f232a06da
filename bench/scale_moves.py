"""Replicas of many partitions move to a node that joins: how long it takes, and why."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import floodmark

from bench.idle import Nodes
from bench.payload import payload
from node.settings import LimitSettings

MOVE_BYTES: Final = 1 << 20
"""What a partition holds that moves."""
NEWCOMER: Final = "n4"
_LOOK_S: Final = 0.25
_AT_ONCE: Final = 8
_SENT: Final = "floodmark_catch_up_bytes_total"


@dataclass(frozen=True, slots=True)
class Moved:
    """So many moves, as one."""

    count: int
    seconds: float
    sent_bytes: list[float]
    """By each node that led some of the partitions."""
    disk_s: float
    """What writing that much takes on this disk, a file and an fdatasync for each move."""
    processor_s: float

    @property
    def bytes(self) -> float:
        """In all."""
        return sum(self.sent_bytes)

    @property
    def throttle_s(self) -> float:
        """What it takes at least because of ``limits.catch_up_bytes_per_s``."""
        return max(self.sent_bytes) / LimitSettings().catch_up_bytes_per_s

    @property
    def overhead_s(self) -> float:
        """Of each move: what it took beyond what the bytes take."""
        return max(0.0, self.seconds - max(self.throttle_s, self.disk_s)) / self.count


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def _asked(session: aiohttp.ClientSession, method: str, url: str, **body: Any) -> Any:
    async with session.request(method, url, **body) as answer:
        if answer.status >= 400:
            raise RuntimeError(f"{method} {url}: {answer.status} {await answer.text()}")
        return await answer.json()


async def fill(nodes: Nodes, topic: str, count: int) -> None:
    """A record of ``MOVE_BYTES`` for each of the first partitions."""
    value = payload(MOVE_BYTES)
    waiting = asyncio.Semaphore(_AT_ONCE)
    async with floodmark.Client([node.url for node in nodes.nodes]) as client:

        async def put(partition: int) -> None:
            async with waiting:
                await client.produce(topic, value, partition=partition)

        await asyncio.gather(*map(put, range(count)))


async def join(nodes: Nodes) -> None:
    """A further node comes in, and the others know it."""
    await nodes.start([nodes.add(NEWCOMER)])
    async with _session() as session:
        for node in nodes.nodes:
            while not any(  # noqa: ASYNC110
                each["node_id"] == NEWCOMER and each["state"] == "ready"
                for each in (await _asked(session, "GET", f"{node.url}/v1/nodes"))["nodes"]
            ):
                await asyncio.sleep(_LOOK_S)


async def move(nodes: Nodes, topic: str, count: int) -> Moved:
    """One replica of each of the first partitions goes to the newcomer, leaders and followers alike."""
    url = nodes.nodes[0].url
    async with _session() as session:
        said = await _asked(session, "GET", f"{url}/v1/topics/{topic}")
        wanted = [
            {"topic": topic, "partition": number, "replicas": _in_place(each["replicas"], number)}
            for number, each in enumerate(said["partitions"][:count])
        ]
        sent_before = [await nodes.metric_of(node, _SENT) for node in nodes.nodes]
        processor_before, began = nodes.processor_s(), time.perf_counter()
        await _asked(session, "POST", f"{url}/v1/reassignments", json={"reassignments": wanted})
        while (await _asked(session, "GET", f"{url}/v1/reassignments"))["reassignments"]:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        seconds = time.perf_counter() - began
    used = nodes.processor_s() - processor_before
    sent = [
        await nodes.metric_of(node, _SENT) - before
        for node, before in zip(nodes.nodes, sent_before, strict=True)
    ]
    disk_s = await asyncio.to_thread(_written, count, int(sum(sent)) // count)
    return Moved(count, seconds, sent, disk_s, used)


def _in_place(replicas: Sequence[str], number: int) -> list[str]:
    """The newcomer instead of one of them, each in turn."""
    return [NEWCOMER if place == number % len(replicas) else node for place, node in enumerate(replicas)]


def _written(count: int, size: int) -> float:
    block = os.urandom(size)
    with tempfile.TemporaryDirectory(prefix="floodmark-scale-") as folder:
        began = time.perf_counter()
        for number in range(count):
            with (Path(folder) / str(number)).open("wb", buffering=0) as file:
                file.write(block)
                os.fdatasync(file.fileno())
        return time.perf_counter() - began
