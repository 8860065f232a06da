"""What the whole cluster says of itself, whoever is asked; where replicas go; nodes that are forgotten."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.topics import CreateTopic
from node.metadata.topic_config import TopicConfig
from tests.node.test_cluster import fill, frames_of, payload, produce
from tests.node.test_cluster_http import call
from tests.support.nodes import NodeCluster, TestNode

PATH = "/v1/cluster/health"


async def health(cluster: NodeCluster, one: TestNode) -> dict[str, Any]:
    """What a node answers."""
    status, document = await call(cluster, one, "GET", PATH)
    assert status == 200
    return document


async def says(cluster: NodeCluster, is_so: Callable[[list[str]], bool], what: str) -> None:
    """Wait until all nodes that run give the same reasons, and these are as wanted."""
    for _ in range(300):
        answers = [(await health(cluster, one))["reasons"] for one in cluster.up]
        if all(is_so(reasons) for reasons in answers):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never: {what}; {answers}")


async def test_every_node_says_the_same_of_all(tmp_path: Path) -> None:
    """Healthy only while all are ready and in sync; the same at leaders, followers and without a replica."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("pair", partitions=4, replicas=2)
        await cluster.create("orders", partitions=2)
        await says(cluster, lambda reasons: reasons == [], "healthy")
        document = await health(cluster, cluster["n2"])
        assert (document["healthy"], document["node_id"]) == (True, "n2")
        assert sum(node["leads"] for node in document["nodes"]) == 6
        assert [node["node_id"] for node in document["nodes"]] == ["n1", "n2", "n3"]
        await cluster["n3"].stop()
        pairs = cluster["n1"].running.metadata.state.topics["pair"].partitions
        # A pair has no majority without one of the two, the others have lost an in-sync replica.
        leaderless = sum("n3" in entry.replicas for entry in pairs)
        wanted = [
            f"{leaderless} partitions have no leader",
            "2 partitions have too few replicas in sync: orders/0, orders/1",
        ]

        def tells_of_n3(reasons: list[str]) -> bool:
            return reasons[0] == "node n3 does not answer" and reasons[-2:] == wanted

        await says(cluster, tells_of_n3, "n3 is missed")
        cluster["n3"].start()
        await cluster.ready()
        await says(cluster, lambda reasons: reasons == [], "healthy again")


async def test_a_node_that_is_not_ready_makes_the_cluster_unhealthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All links stand and the process answers, but a replica does not run: everybody knows."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        with monkeypatch.context() as broken:

            def fails(*args: object, **options: object) -> None:
                raise OSError(errno.EIO, "Input/output error")

            broken.setattr(cluster["n2"].running.store, "open", fails)
            await cluster.create("later")
            await says(
                cluster,
                lambda reasons: (
                    any(
                        reason.startswith("node n2 is not ready: 1 replicas do not run") for reason in reasons
                    )
                    and "1 partitions have too few replicas in sync: later/0" in reasons
                ),
                "n2 is not ready",
            )
        await says(cluster, lambda reasons: reasons == [], "healthy again")


async def test_a_node_that_waits_says_so_when_it_is_asked(tmp_path: Path) -> None:
    """It is part of no cluster yet: that is what is wrong."""
    cluster = NodeCluster(tmp_path)
    async with aiohttp.ClientSession() as cluster.session:
        cluster["n1"].start()
        try:
            await cluster.until(
                lambda: cluster.up and "n1" in cluster["n1"].running.discovery.nodes, "it runs"
            )
            document = await health(cluster, cluster["n1"])
            assert document["healthy"] is False
            assert "waiting to hear from n2, n3" in document["reasons"][0]
        finally:
            await cluster["n1"].stop()


async def test_replicas_go_to_nodes_that_are_there(tmp_path: Path) -> None:
    """More than can be placed now is refused, with who lacks what, at any node."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster["n2"].stop()
        await cluster.until(
            lambda: all("n2" not in one.running.controller._alive() for one in cluster.up), "n2 is missed"
        )
        await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
        for one in cluster.up:
            for body in ({}, {"replication_factor": 3}):
                status, problem = await call(cluster, one, "PUT", "/v1/topics/orders", body)
                assert (status, problem["code"], problem["nodes"]) == (409, "conflict", 2)
                assert "2 nodes can take replicas (n2 does not answer)" in problem["detail"]
            status, problem = await call(cluster, one, "PUT", "/v1/topics/orders", {"replication_factor": 4})
            assert (status, problem["code"]) == (400, "invalid_request")
        body = {"replication_factor": 2, "partitions": 5}
        status, topic = await call(cluster, cluster["n3"], "PUT", "/v1/topics/orders", body)
        assert status == 201
        assert all(sorted(part["replicas"]) == ["n1", "n3"] for part in topic["partitions"])
        cluster["n2"].start()
        await cluster.ready()
        await cluster.until(lambda: all(one.broker.hears("n2") for one in cluster.up), "n2 is heard")
        status, topic = await call(cluster, cluster["n2"], "PUT", "/v1/topics/wide", {})
        assert (status, topic["replication_factor"]) == (201, 3)


async def poison(cluster: NodeCluster) -> None:
    """As builds before left it behind: a fourth node is registered, with replicas of what was made then."""
    leader = cluster[await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)].running.metadata
    stranger = RegisterNode("n4", "http://127.0.0.1:9", "127.0.0.1:9", "i4")
    await leader.propose(stranger, timeout_s=10)
    replicas = [["n4", "n1", "n2"], ["n3", "n4", "n2"], ["n1", "n2", "n3"]]
    await leader.propose(CreateTopic("orders", 3, TopicConfig(), replicas), timeout_s=10)


@pytest.mark.parametrize("asked", ["n1", "n2", "n3"])
async def test_a_node_that_should_not_be_there_is_forgotten(tmp_path: Path, asked: str) -> None:
    """Its replicas go to others, which fetch everything before they count; nothing stored is lost."""
    async with NodeCluster.running(tmp_path, formed_at=2) as cluster:
        await poison(cluster)
        bodies = await fill(cluster, "orders", 5)
        what = "does not answer, and is not one of the cluster's nodes"
        wanted = [
            f"node n4 {what}: `floodmark node forget n4` takes it away",
            "2 partitions have too few replicas in sync: orders/0, orders/1",
        ]
        await says(cluster, lambda reasons: reasons == wanted, "n4 is missed")
        status, topic = await call(cluster, cluster[asked], "PUT", "/v1/topics/more", {"partitions": 4})
        assert status == 201
        assert not any("n4" in part["replicas"] for part in topic["partitions"])
        status, problem = await call(cluster, cluster[asked], "DELETE", "/v1/nodes/n4")
        assert (status, problem) == (204, None)
        await says(cluster, lambda reasons: reasons == [], "healthy")
        for one in cluster.up:
            info = one.broker.topic("orders")
            assert [sorted(part.replicas) for part in info.partitions] == [["n1", "n2", "n3"]] * 3
            assert info.replication_factor == 3
            assert sorted(one.running.metadata.state.nodes) == ["n1", "n2", "n3"]
        await cluster.until(
            lambda: all(frames_of(one, "orders") == bodies for one in cluster.up), "all have all"
        )
        status, problem = await call(cluster, cluster[asked], "DELETE", "/v1/nodes/n4")
        assert (status, problem["code"]) == (404, "not_found")
        # The one that came anew counts: with it and one other there is a majority.
        await cluster["n1"].stop()
        await produce(await cluster.on_leader("orders"), payload([b"more"]))


async def test_a_node_is_not_forgotten_while_it_is_needed(tmp_path: Path) -> None:
    """One of the cluster's own never is; another one not while a partition has no majority without it."""
    async with NodeCluster.running(tmp_path, formed_at=2) as cluster:
        await poison(cluster)
        leader = cluster[await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)].running.metadata
        await leader.propose(CreateTopic("pair", 2, TopicConfig(), [["n1", "n4"]]), timeout_s=10)
        await says(cluster, lambda reasons: len(reasons) == 4, "only pair/0 has no leader")
        for one in cluster.up:
            status, problem = await call(cluster, one, "DELETE", "/v1/nodes/n2")
            assert (status, problem["code"]) == (409, "conflict")
            assert "one of the nodes that this cluster was formed of" in problem["detail"]
            status, problem = await call(cluster, one, "DELETE", "/v1/nodes/n4")
            assert (status, problem["code"], problem["partitions"]) == (409, "conflict", ["pair/0"])
            for bad in ("a%2Fb", "%20", "x" * 65):
                status, problem = await call(cluster, one, "DELETE", f"/v1/nodes/{bad}")
                assert (status, problem["code"]) == (400, "invalid_name"), bad
        async with cluster.session.delete(cluster["n2"].url + "/v1/topics/pair") as answer:
            assert answer.status == 204
        status, _ = await call(cluster, cluster["n3"], "DELETE", "/v1/nodes/n4")
        assert status == 204
