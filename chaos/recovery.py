"""From the last fault to the end: waits until nodes are ready and scrubbed, and replicas are equal."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import aiohttp

from chaos.checker.options import Place
from chaos.cluster import ChaosCluster
from chaos.faults.admin_api import lacking
from chaos.polling import left_over
from local.errors import NotReady

_ASK_AGAIN_S: Final = 0.1
_ASK_TIMEOUT_S: Final = 2.0
_PASSES: Final = re.compile(r"^floodmark_scrub_passes_total (\S+)$", re.MULTILINE)


async def unready_nodes(cluster: ChaosCluster, ready_s_max: float) -> dict[str, str]:
    """Wait until every node that has not died is ready; returns node -> what it lacks, for those that are
    late."""
    alive = [name for name in cluster.names if name not in cluster.died()]
    answers = await asyncio.gather(
        *(cluster.processes.ready(name, timeout_s=ready_s_max) for name in alive), return_exceptions=True
    )
    found: dict[str, str] = {}
    for name, answer in zip(alive, answers, strict=True):
        if isinstance(answer, NotReady):
            found[name] = f"not ready {ready_s_max:g} s after healing: {str(answer).strip()}"
        elif isinstance(answer, BaseException):
            raise answer
    return found


async def wait_scrubbed(cluster: ChaosCluster, nodes: Sequence[str], timeout_s: float) -> list[str]:
    """Wait until these nodes have read everything they store since they started, and repaired what they
    could.

    A start reads only what follows the checkpoint. Returns the nodes that have not when the time is up.
    """
    left = set(nodes)

    async def unread() -> list[str]:
        for name in sorted(left):
            if not cluster.runs(name) or await _passes(session, f"{cluster.direct_url(name)}/metrics"):
                left.discard(name)
        return sorted(left)

    async with cluster.access.session(timeout_s=_ASK_TIMEOUT_S) as session:
        await left_over(unread, timeout_s, every_s=_ASK_AGAIN_S)
    return [f"{name} has not read everything it stores" for name in sorted(left)]


async def _passes(session: aiohttp.ClientSession, url: str) -> float:
    """How often a node has read everything it stores; 0 if it does not answer."""
    try:
        async with session.get(url) as answer:
            found = _PASSES.search(await answer.text())
    except (aiohttp.ClientError, TimeoutError):
        return 0.0
    return float(found[1]) if found is not None else 0.0


async def wait_caught_up(cluster: ChaosCluster, topics: Sequence[str], timeout_s: float) -> list[str]:
    """Wait until all replicas show the same high watermark; returns what is behind when the time is up."""
    return await left_over(partial(_behind, cluster, topics), timeout_s, every_s=_ASK_AGAIN_S)


async def wait_moved(cluster: ChaosCluster, timeout_s: float) -> list[str]:
    """Wait until no replica is moving or will move; returns what still moves when the time is up.

    That is: no drain or rebalance runs, and every partition has as many replicas as its topic asks for.
    """
    async with cluster.access.session(timeout_s=_ASK_TIMEOUT_S) as session:

        async def moving() -> list[str]:
            return await _moving(session, [cluster.direct_url(name) for name in cluster.names])

        await asyncio.sleep(_ASK_AGAIN_S)
        return await left_over(moving, timeout_s, at_first=["no node answers"], every_s=_ASK_AGAIN_S)


async def _moving(session: aiohttp.ClientSession, urls: Sequence[str]) -> list[str]:
    for url in urls:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            even = await _get(session, f"{url}/v1/cluster/rebalance")
            topics = await _get(session, f"{url}/v1/topics")
            moves = await _get(session, f"{url}/v1/reassignments")
            if even is None or topics is None or moves is None:
                continue
            found = ["the cluster is being rebalanced"] if even["rebalancing"] else []
            found += [
                f"{row['topic']}/{row['partition']} moves to {row['target']}"
                for row in moves["reassignments"]
            ]
            found += lacking(topics, len(urls))
            return found
    return ["no node says what moves"]


async def _get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        return await answer.json() if answer.status == 200 else None


async def _behind(cluster: ChaosCluster, topics: Sequence[str]) -> list[str]:
    ends: defaultdict[Place, dict[str, int | None]] = defaultdict(dict)
    async with cluster.access.session(timeout_s=_ASK_TIMEOUT_S) as session:
        for name in cluster.names:
            if not cluster.runs(name):
                continue
            for topic in topics:
                url = f"{cluster.direct_url(name)}/v1/topics/{topic}?view=node"
                for part in await _partitions(session, url):
                    if name in part["replicas"]:
                        ends[topic, part["partition"]][name] = part["high_watermark"]
    found = []
    for (topic, partition), held in sorted(ends.items()):
        highest = max((end for end in held.values() if end is not None), default=None)
        found += [
            f"{topic}/{partition} on {node} shows {end}, not {highest}"
            for node, end in sorted(held.items())
            if end is None or end != highest
        ]
    return found if ends else ["no node answers"]


async def _partitions(session: aiohttp.ClientSession, url: str) -> list[Any]:
    try:
        async with session.get(url) as answer:
            return list((await answer.json())["partitions"]) if answer.status == 200 else []
    except (aiohttp.ClientError, TimeoutError):
        return []
