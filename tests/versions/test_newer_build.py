"""A cluster goes to an invented newer build, back while it may, and for good, while records are written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import floodmark
import pytest
from floodmark.errors import TooNew
from floodmark.format import frame

from node.metadata.this_build import THIS_BUILD
from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster
from tests.versions.rolling import restart, until_ready_says

TOPIC = "numbers"
LEVEL = THIS_BUILD.highest + 1
NEWER = Path(__file__).parent / "newer"


async def _features(cluster: ProcessCluster, name: str, level: int | None = None) -> tuple[int, Any]:
    """What a node answers; with ``level`` it is asked to raise the cluster to it."""
    method, body = ("GET", None) if level is None else ("POST", {"level": level})
    url = cluster.nodes[name].url + "/v1/cluster/features"
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as answer:
        return answer.status, await answer.json()


async def test_there_is_a_way_back_until_the_level_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing acknowledged is lost on any of these ways, and who is left behind says so and is kept out.

    Then the newer build writes frames of its level: they are replicated, and a client of this build calls
    them too new and none damaged.
    """
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create(TOPIC, partitions=3, replication_factor=3)
        ledger = Ledger(TOPIC, 3)
        async with ledger.writing(cluster.urls):
            for name in cluster.nodes:
                status, refusal = await _features(cluster, "n3", LEVEL)
                assert (status, refusal["code"]) == (409, "conflict")
                await restart(cluster, ledger, name, NEWER)
            await restart(cluster, ledger, "n1", None)
            await restart(cluster, ledger, "n1", NEWER)
            async with asyncio.timeout(60):
                while True:
                    if (await _features(cluster, "n2"))[1]["can_finalize"] == LEVEL:
                        break
                    await asyncio.sleep(0.1)  # The word of the node that came last is on its way.
            status, raised = await _features(cluster, "n2", LEVEL)
            assert (status, raised["level"]) == (200, LEVEL)
            for name in cluster.nodes:
                assert await _features(cluster, name) == (200, raised)

            await cluster.stop("n1")
            del cluster.code["n1"]
            await cluster.start("n1")
            await until_ready_says(cluster, "n1", f"level {LEVEL}")
            await ledger.wait_acknowledged(1_000)
            await restart(cluster, ledger, "n1", NEWER)
        assert not ledger.unsettled
        with pytest.raises(TooNew, match=f"needs feature level {LEVEL}, this build knows {LEVEL - 1}"):
            await ledger.check(cluster.urls)
        monkeypatch.setattr(frame, "LEVEL", LEVEL)
        await ledger.check(cluster.urls)
