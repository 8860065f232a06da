"""Asking nodes past all network faults, for faults that change the cluster itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import aiohttp

from chaos.faults.fault import Scene

_ANSWER_S: Final = 3.0
_AGAIN_S: Final = 0.3
_REFUSED: Final = range(400, 500)


async def wait_whole(scene: Scene) -> None:
    """Until all replicas are there and in sync, those of topics that want more than they have among them."""
    while True:
        topics, health = await ask(scene, "GET", "/v1/topics"), await ask(scene, "GET", "/v1/cluster/health")
        if topics is not None and health is not None and topics[0] == health[0] == 200:
            most = len(scene.cluster.names)
            lacking = (
                len(part["replicas"]) < min(most, topic["replication_factor"])
                for topic in topics[1]["topics"]
                for part in topic["partitions"]
            )
            if health[1]["healthy"] and not any(lacking):
                return
        await asyncio.sleep(_AGAIN_S)


async def rest(stop: asyncio.Event, seconds: float) -> None:
    """Until it is told to stop, or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def change(scene: Scene, method: str, path: str, body: dict[str, Any] | None = None) -> bool:
    """Whether it is settled: done, or refused for a reason that stays."""
    answer = await ask(scene, method, path, body)
    return answer is not None and (answer[0] < 400 or answer[0] in _REFUSED)


async def ask(
    scene: Scene, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, Any] | None:
    """Status and document from the first node that runs and answers; None when none does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
        for name in scene.random.sample(scene.cluster.names, len(scene.cluster.names)):
            if not scene.cluster.runs(name):
                continue
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                url = scene.cluster.direct_url(name) + path
                async with session.request(method, url, json=body) as answer:
                    return answer.status, await answer.json(content_type=None)
    return None
