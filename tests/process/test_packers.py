"""The processes that decode large bodies for a node: what they take along, and that none outlives it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import psutil

from tests.support.processes import ProcessCluster

HEAVY = b'{"records":[' + b",".join([b'{"value":1}'] * 6000) + b"]}"


async def _decoded(cluster: ProcessCluster) -> psutil.Process:
    """Has the node decode a large body; the process that did."""
    url = cluster.urls[0]
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{url}/v1/topics/t", json={"partitions": 1}) as made:
            assert made.status in (200, 201)
        async with session.post(
            url + "/v1/topics/t/records", data=HEAVY, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 200
            assert len((await answer.json())["records"]) == 6000
    (child,) = psutil.Process(cluster.children["n1"].process.pid).children()
    return child


async def test_it_has_nothing_of_the_nodes_files_and_ends_with_it(tmp_path: Path) -> None:
    """Nothing is left when the node stops in order, nor when it is killed."""
    async with ProcessCluster.running(tmp_path, count=1) as cluster:
        killed = await _decoded(cluster)
        assert not [
            file.path for file in killed.open_files() if Path(file.path).is_relative_to(tmp_path / "n1")
        ]
        await cluster.kill("n1")
        await asyncio.to_thread(killed.wait, 20)
        await cluster.start("n1")
        await cluster.ready()
        stopped = await _decoded(cluster)
        assert await cluster.stop("n1") == {"n1": 0}
        assert not stopped.is_running()
