"""Groups that sleep while the disk of one of their replicas fails: the node lives, so no link tells of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.metadata.state import METADATA_GROUP
from storage.errors import LogFailed
from tests.support.nodes import NodeCluster, TestNode


async def asleep(cluster: NodeCluster, raft_group: int) -> TestNode:
    """Wait until every replica of the group sleeps; the node that leads it."""
    here = [node.running.replicas.local for node in cluster.up]
    if raft_group != METADATA_GROUP:
        await cluster.until(lambda: all(raft_group in local for local in here), "all have a replica")
    groups = [node.running.host.group(raft_group) for node in cluster.up]
    await cluster.until(lambda: all(group.asleep for group in groups), f"group {raft_group} sleeps")
    return cluster[groups[0].leader or ""]


async def test_a_sleeping_partition_elects_when_its_leaders_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for anything meanwhile. Once the disk is well the group sleeps as before."""

    def fails(*_: object, **__: object) -> None:
        raise LogFailed("a test")

    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        raft_group = cluster["n1"].running.metadata.state.topics["orders"].partitions[0].raft_group
        damaged = await asleep(cluster, raft_group)
        term = damaged.running.host.group(raft_group).term
        with monkeypatch.context() as patch:
            patch.setattr(damaged.running.store, "open", fails)
            damaged.running.host.disk.failed(raft_group, LogFailed("a test"))
            other = await cluster.leader("orders", besides=damaged.node_id)
        assert other.running.host.group(raft_group).term > term
        await cluster.ready()
        assert (await asleep(cluster, raft_group)).running.host.group(raft_group).term > term


async def test_a_sleeping_metadata_group_elects_when_its_leaders_disk_fails(tmp_path: Path) -> None:
    """Topics can be made again at once, and at the damaged node as soon as it is ready."""
    async with NodeCluster.running(tmp_path) as cluster:
        damaged = await asleep(cluster, METADATA_GROUP)
        damaged.running.host.disk.failed(METADATA_GROUP, LogFailed("a test"))
        others = [node for node in cluster.up if node is not damaged]
        await cluster.until(
            lambda: any(node.broker.metadata.leads_here for node in others), "another metadata leader"
        )
        leader = next(node for node in others if node.broker.metadata.leads_here)
        for name, node, replicas in (("orders", leader, 2), ("producer_batches", damaged, 3)):
            body = {"partitions": 1, "replication_factor": replicas}
            async with cluster.session.put(f"{node.url}/v1/topics/{name}", json=body) as answer:
                assert answer.status == 201, await answer.text()
            await cluster.ready()


async def test_a_request_that_meets_a_node_that_does_not_lead_wakes_the_group(tmp_path: Path) -> None:
    """Even if the replica's last words were lost with a connection: whoever passes a request on is told."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        raft_group = cluster["n1"].running.metadata.state.topics["orders"].partitions[0].raft_group
        damaged = await asleep(cluster, raft_group)
        for node in cluster.up:
            # Its words do not arrive, as on a connection that is lost just then.
            if node is not damaged:
                group = node.running.host.group(raft_group)
                group.receive = lambda *_: False  # type: ignore[method-assign]
        damaged.running.host.disk.failed(raft_group, LogFailed("a test"))
        await cluster.until(lambda: raft_group not in damaged.running.replicas.local, "the replica is closed")
        others = [node for node in cluster.up if node is not damaged]
        for node in others:
            assert node.running.host.group(raft_group).asleep
            del node.running.host.group(raft_group).receive
        path = "/v1/topics/orders/partitions/0/records"
        async with cluster.session.post(f"{others[0].url}{path}", json={"records": [{"value": 1}]}) as answer:
            first = answer.status
        assert first in (200, 503), "served at once, or told to try again"
        async with cluster.session.get(f"{others[0].url}{path}") as answer:
            assert answer.status == 200, await answer.text()
        await cluster.ready()
