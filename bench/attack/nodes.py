"""Effects of an attack on the nodes: their memory, and how often leaderships moved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import psutil

_LOOK_EVERY_S = 0.1
_LEADER_CHANGES = "floodmark_leader_changes_total"


@dataclass
class Memory:
    """Of the largest node, its helpers included, in MiB."""

    before: float
    peak: float
    after: float


@contextlib.asynccontextmanager
async def watched(pids: list[int]) -> AsyncIterator[Memory]:
    """Samples the nodes' resident memory while the context is open."""
    memory = Memory(*[_largest_mib(pids)] * 3)

    async def look() -> None:
        while True:
            memory.peak = max(memory.peak, _largest_mib(pids))
            await asyncio.sleep(_LOOK_EVERY_S)

    looking = asyncio.create_task(look())
    try:
        yield memory
    finally:
        looking.cancel()
        memory.after = _largest_mib(pids)


def _largest_mib(pids: list[int]) -> float:
    return max(_resident_bytes(pid) for pid in pids) / (1 << 20)


def _resident_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        node = psutil.Process(pid)
        for process in [node, *node.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


async def leader_changes(session: aiohttp.ClientSession, urls: list[str]) -> int:
    """Leader changes that all nodes together have seen since they started."""
    total = 0.0
    for url in urls:
        async with session.get(f"{url}/metrics") as answer:
            for line in (await answer.text()).splitlines():
                if line.startswith(_LEADER_CHANGES):
                    total += float(line.split()[-1])
    return int(total)
