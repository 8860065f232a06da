"""What is listed of each node: the same whoever is asked, and of a node that is away what is known."""

from __future__ import annotations

import asyncio
import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.http.context import CONTEXT
from tests.node.test_cluster_http import call
from tests.support.nodes import NodeCluster

Listed = dict[str, dict[str, Any]]
_MOVES = {"last_seen_ms", "disk_free_bytes"}
"""What is another value from one question to the next."""


async def listed(cluster: NodeCluster, is_so: Callable[[Listed], bool]) -> list[Listed]:
    """What each node that runs lists, once all of them list the same and it is as wanted."""
    answers: list[Listed] = []
    for _ in range(300):
        answers = []
        for one in cluster.up:
            status, document = await call(cluster, one, "GET", "/v1/nodes")
            assert status == 200, document
            answers.append({node["node_id"]: node for node in document["nodes"]})
        first, *others = [_lasting(answer) for answer in answers]
        if is_so(answers[0]) and all(other == first for other in others):
            return answers
        await asyncio.sleep(0.05)
    raise AssertionError(answers)


def _lasting(answer: Listed) -> Listed:
    return {
        node: {name: value for name, value in row.items() if name not in _MOVES}
        for node, row in answer.items()
    }


async def test_every_node_lists_what_each_says_of_itself(tmp_path: Path) -> None:
    """Leaders, followers and one without a replica alike: state, disk, replicas, leaders, version, rack."""
    async with NodeCluster.running(tmp_path, 4, **{"node.rack": "a"}) as cluster:
        await cluster.create("single", partitions=1, replicas=1)
        await cluster.create("orders", partitions=3, replicas=3)
        answers = await listed(cluster, lambda nodes: sum(row["leads"] for row in nodes.values()) == 4)
        assert sorted(answers[0]) == ["n1", "n2", "n3", "n4"]
        replicas = [one.running.replicas.local for one in cluster.nodes.values()]
        for answer in answers:
            assert [row["replicas"] for row in answer.values()] == [len(local) for local in replicas]
            for node, row in answer.items():
                assert (row["state"], row["alive"], row["reasons"]) == ("ready", True, [])
                assert (row["rack"], row["number"]) == ("a", int(node[1:]))
                assert row["http"] == cluster[node].url
                assert row["version"] == importlib.metadata.version("floodmark-server")
                assert 0 < row["disk_free_bytes"] < row["disk_total_bytes"]
                held = sum(each.data_bytes for each in cluster[node].running.replicas.local.values())
                assert row["data_bytes"] == held
                assert abs(row["last_seen_ms"] - time.time() * 1000) < 60_000


async def test_a_node_that_is_away_is_listed_with_what_is_known(tmp_path: Path) -> None:
    """Its addresses and replicas stay; when it was heard last is known until those who heard it are gone."""
    async with NodeCluster.running(tmp_path, 3, **{"node.rack": "b"}) as cluster:
        await cluster.create("orders", partitions=2)
        url = cluster["n3"].url
        before_ms = time.time() * 1000
        await cluster["n3"].stop()
        after_ms = time.time() * 1000
        for answer in await listed(cluster, lambda nodes: nodes["n3"]["state"] == "silent"):
            gone = answer["n3"]
            assert (gone["alive"], gone["leads"], gone["replicas"], gone["rack"]) == (False, 0, 2, "b")
            assert (gone["http"], gone["version"], gone["data_bytes"]) == (url, None, None)
            assert before_ms - 1_000 <= gone["last_seen_ms"] <= after_ms + 1_000
        for name in ("n1", "n2"):
            await cluster[name].stop()
            cluster[name].start()
            await cluster.ready(name)
        for answer in await listed(cluster, lambda nodes: nodes["n3"]["last_seen_ms"] is None):
            assert answer["n3"]["state"] == "silent"
            assert answer["n1"]["state"] == answer["n2"]["state"] == "ready"


async def test_a_node_that_is_drained_is_listed_so_until_that_is_undone(tmp_path: Path) -> None:
    """At every node, whoever was asked to drain it."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        await cluster.create("orders", partitions=2)
        await listed(cluster, lambda nodes: not any(row["draining"] for row in nodes.values()))
        leader = await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.nodes.drain("n4", timeout_s=10)
        await listed(
            cluster, lambda nodes: [row["draining"] for row in nodes.values()] == [False] * 3 + [True]
        )
        await cluster[leader].broker.nodes.undrain("n4", timeout_s=10)
        await listed(cluster, lambda nodes: not any(row["draining"] for row in nodes.values()))


async def test_a_node_that_stops_or_is_not_ready_says_so_everywhere(tmp_path: Path) -> None:
    """Also where it is asked itself."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        draining = cluster["n2"].running.app[CONTEXT].service.draining
        draining.set()
        await listed(cluster, lambda nodes: nodes["n2"]["state"] == "stopping")
        draining.clear()
        await listed(cluster, lambda nodes: nodes["n2"]["state"] == "ready")
        cluster["n3"].running.metadata._current.clear()
        for answer in await listed(cluster, lambda nodes: nodes["n3"]["state"] == "not_ready"):
            assert "is being fetched" in answer["n3"]["reasons"][0]
        cluster["n3"].running.metadata._current.set()
