"""A cluster goes from one build to the next node by node, and back, while records are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import floodmark
import pytest

from consensus.handshake import SPOKEN
from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster
from tests.versions import builds
from tests.versions.rolling import logged, restart

TOPIC = "numbers"
PARTITIONS = 3


async def _numbers(cluster: ProcessCluster, names: list[str]) -> Any:
    """The nodes' numbers and the topic's UUID, as these nodes of this build say alike."""
    said = []
    async with aiohttp.ClientSession() as session:
        for name in names:
            async with session.get(cluster.nodes[name].url + "/v1/nodes") as answer:
                numbers = {node["node_id"]: node["number"] for node in (await answer.json())["nodes"]}
            async with session.get(f"{cluster.nodes[name].url}/v1/topics/{TOPIC}") as answer:
                said.append((numbers, (await answer.json())["id"]))
    assert all(each == said[0] for each in said), said
    return said[0]


async def test_a_cluster_goes_to_this_build_and_back_under_load(tmp_path: Path, rounds: int) -> None:
    """Nothing acknowledged is lost, doubled or moved, whichever build leads and whichever follows."""
    older = builds.code_of(builds.FIRST)
    cluster = ProcessCluster(tmp_path / "cluster")
    cluster.code = dict.fromkeys(cluster.nodes, older)
    try:
        await cluster.start()
        await cluster.ready()
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create(TOPIC, partitions=PARTITIONS, replication_factor=3)
        ledger = Ledger(TOPIC, PARTITIONS)
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            for _ in range(rounds):
                for name in cluster.nodes:
                    await restart(cluster, ledger, name, None)
                for name in cluster.nodes:
                    await restart(cluster, ledger, name, older)
            for name in cluster.nodes:
                await restart(cluster, ledger, name, None)
            shown = await _numbers(cluster, ["n1", "n2", "n3"])
            await restart(cluster, ledger, "n1", older)
            assert await _numbers(cluster, ["n2", "n3"]) == shown
        assert not ledger.unsettled
        await ledger.check(cluster.urls)
    except BaseException:
        print(cluster.logs())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await cluster.stop()
        cluster.close()


@pytest.mark.parametrize("is_newer", [True, False], ids=["newer", "older"])
async def test_builds_from_before_that_and_since_do_not_talk_and_both_logs_say_why(
    tmp_path: Path, *, is_newer: bool
) -> None:
    """One node of three goes on with the other build: versions are named on both sides, two nodes go on."""
    before = builds.code_of(builds.BEFORE)
    cluster = ProcessCluster(tmp_path / "cluster")
    if is_newer:
        cluster.code = dict.fromkeys(cluster.nodes, before)
    try:
        await cluster.start()
        await cluster.ready()
        await cluster.stop("n3")
        cluster.code = {name: before for name in cluster.nodes if (name == "n3") is not is_newer}
        await cluster.start("n3")
        older, newer = ("n1", "n3") if is_newer else ("n3", "n1")
        told = await logged(cluster, newer, "peer_connection_refused", "peer protocol")
        assert "version 2 of" in told["reason"]
        assert f"{SPOKEN.lowest} to {SPOKEN.highest}" in told["reason"]
        told = await logged(cluster, older, "peer_connection_refused", "peer protocol")
        assert f"version {SPOKEN.highest} of the peer protocol, not 2" in told["reason"]
        async with floodmark.Client([cluster.nodes["n1"].url, cluster.nodes["n2"].url]) as client:
            await client.topics.create(TOPIC, partitions=1, replication_factor=2)
            assert (await client.produce(TOPIC, "goes on")).offset == 0
    finally:
        await cluster.stop()
        cluster.close()
