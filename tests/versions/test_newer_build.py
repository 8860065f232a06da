"""A cluster goes to an invented newer build, back while it may, and for good, while records are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import floodmark

from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster
from tests.versions.rolling import restart, until_ready_says

TOPIC = "numbers"
NEWER = Path(__file__).parent / "newer"


async def _features(cluster: ProcessCluster, name: str, level: int | None = None) -> tuple[int, Any]:
    """What a node answers; with ``level`` it is asked to raise the cluster to it."""
    method, body = ("GET", None) if level is None else ("POST", {"level": level})
    url = cluster.nodes[name].url + "/v1/cluster/features"
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as answer:
        return answer.status, await answer.json()


async def test_there_is_a_way_back_until_the_level_is_final(tmp_path: Path) -> None:
    """Nothing acknowledged is lost on any of these ways, and who is left behind says so and is kept out."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create(TOPIC, partitions=3, replication_factor=3)
        ledger = Ledger(TOPIC, 3)
        async with ledger.writing(cluster.urls):
            for name in cluster.nodes:
                status, refusal = await _features(cluster, "n3", 2)
                assert (status, refusal["code"]) == (409, "conflict")
                await restart(cluster, ledger, name, NEWER)
            await restart(cluster, ledger, "n1", None)
            await restart(cluster, ledger, "n1", NEWER)
            status, raised = await _features(cluster, "n2", 2)
            assert (status, raised["level"]) == (200, 2)
            for name in cluster.nodes:
                assert await _features(cluster, name) == (200, raised)

            await cluster.stop("n1")
            del cluster.code["n1"]
            await cluster.start("n1")
            await until_ready_says(cluster, "n1", "level 2")
            await ledger.wait_acknowledged(1_000)
            await restart(cluster, ledger, "n1", NEWER)
        assert not ledger.unsettled
        await ledger.check(cluster.urls)
