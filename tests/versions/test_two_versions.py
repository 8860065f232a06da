"""A cluster goes from one build to the next node by node, and back, while records are written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import floodmark
import pytest

from consensus.links.handshake import SPOKEN
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


async def test_nodes_of_both_builds_know_what_each_says_of_itself(tmp_path: Path) -> None:
    """The first build asks with a plain 1, and places no replicas where it does not understand the answer."""
    older = builds.code_of(builds.FIRST)
    cluster = ProcessCluster(tmp_path / "cluster")
    cluster.code = {"n1": older, "n2": older}
    try:
        await cluster.start()
        await cluster.ready()
        async with aiohttp.ClientSession() as session:
            for number, node in enumerate(cluster.nodes.values()):
                async with asyncio.timeout(30):
                    while True:  # That all have heard of each other.
                        async with session.get(f"{node.url}/v1/cluster/health") as answer:
                            health = await answer.json()
                        if health["healthy"]:
                            break
                        await asyncio.sleep(0.1)
                assert [each["node_id"] for each in health["nodes"]] == ["n1", "n2", "n3"]
                made = {"partitions": 2, "replication_factor": 3}
                async with session.put(f"{node.url}/v1/topics/t{number}", json=made) as answer:
                    assert answer.status == 201, await answer.text()
                for asked in cluster.urls:
                    async with asyncio.timeout(30):
                        while True:  # That there are leaders, and the node that is asked knows them.
                            async with session.get(f"{asked}/v1/topics/t{number}") as answer:
                                partitions = (await answer.json()).get("partitions", [{}])
                            if all(each.get("leader") for each in partitions):
                                break
                            await asyncio.sleep(0.1)
    except BaseException:
        print(cluster.logs())  # noqa: T201 - pytest shows it with the failure
        raise
    finally:
        await cluster.stop()
        cluster.close()


async def _raise(cluster: ProcessCluster, name: str) -> None:
    """To the highest level, as soon as the cluster says that all nodes know it."""
    async with aiohttp.ClientSession(cluster.nodes[name].url) as session, asyncio.timeout(30):
        while True:
            async with session.get("/v1/cluster/features") as answer:
                level = (await answer.json())["can_finalize"]
            if level is not None:
                break
            await asyncio.sleep(0.1)  # The word of the node that came last is on its way.
        async with session.post("/v1/cluster/features", json={"level": level}) as answer:
            assert answer.status == 200, await answer.text()


async def test_an_upgraded_cluster_is_finalized_under_load(tmp_path: Path) -> None:
    """A producer that was open before goes on as it began, and one that comes then goes by a number. Nothing
    of either is lost or doubled, also when every node is restarted from its checkpoints."""
    older = builds.code_of(builds.FIRST)
    cluster = ProcessCluster(tmp_path / "cluster")
    cluster.code = dict.fromkeys(cluster.nodes, older)
    before, behind = Ledger(TOPIC, PARTITIONS), Ledger("numbered", PARTITIONS)
    try:
        await cluster.start()
        await cluster.ready()
        async with floodmark.Client(cluster.urls) as client:
            for ledger in (before, behind):
                await client.topics.create(ledger.topic, partitions=PARTITIONS, replication_factor=3)
        async with before.writing(cluster.urls):
            await before.wait_acknowledged(500)
            for name in cluster.nodes:
                await restart(cluster, before, name, None)
            await _raise(cluster, "n2")
            async with behind.writing(cluster.urls):
                await behind.wait_acknowledged(500)
                for name in cluster.nodes:
                    await restart(cluster, behind, name, None)
        for ledger in (before, behind):
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
