"""Requests to nodes that bypass all network faults, for faults that change the cluster itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

import aiohttp

from chaos.faults.fault import Scene
from chaos.polling import until
from local.health import unhealthy

_ANSWER_S: Final = 3.0
_REFUSED: Final = range(400, 500)


async def wait_whole(scene: Scene) -> None:
    """Wait until every node says that all replicas are in sync and none are missing. A node that has just
    joined knows no replicas, and does not say that all is well.
    """
    cluster = scene.cluster

    async def is_whole() -> bool:
        urls = {name: cluster.direct_url(name) for name in cluster.names}
        if await unhealthy(urls, cluster.access):
            return False
        said = await ask(scene, "GET", "/v1/topics")
        return said is not None and said[0] == 200 and not lacking(said[1], len(cluster.names))

    await until(is_whole)


def lacking(listed: Any, nodes: int) -> list[str]:
    """The partitions in the answer of ``/v1/topics`` that have fewer replicas than possible."""
    return [
        f"{topic['topic']}/{part['partition']} has replicas only on {part['replicas']}"
        for topic in listed["topics"]
        for part in topic["partitions"]
        if len(part["replicas"]) < min(nodes, topic["replication_factor"])
    ]


async def rest(stop: asyncio.Event, seconds: float) -> None:
    """Sleep until ``stop`` is set, or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def change(scene: Scene, method: str, path: str, body: dict[str, Any] | None = None) -> bool:
    """Make a change; True if it is settled: done, or refused for a permanent reason."""
    answer = await ask(scene, method, path, body)
    return answer is not None and (answer[0] < 400 or answer[0] in _REFUSED)


async def ask(
    scene: Scene, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, Any] | None:
    """Status and document from the first node that runs and answers; None if no node does."""
    async with scene.cluster.access.session(timeout_s=_ANSWER_S) as session:
        for name in scene.random.sample(scene.cluster.names, len(scene.cluster.names)):
            if not scene.cluster.runs(name):
                continue
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                url = scene.cluster.direct_url(name) + path
                async with session.request(method, url, json=body) as answer:
                    return answer.status, await answer.json(content_type=None)
    return None
