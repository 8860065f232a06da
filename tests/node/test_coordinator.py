"""The coordinator on whole nodes: committed offsets by typed requests at any of them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
from floodmark.errors import Forbidden

from node.http.context import CONTEXT
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from node.service.data_requests import FetchRequest, ListOffsetsRequest
from node.service.group_offsets import CommitOffsets, CommittedOffsets, FetchOffsets, OffsetOf
from node.service.request_context import RequestContext
from node.service.requests import Request
from node.service.service import Service
from node.service.topic_changes import AlterTopic, ConfigChanges, DeleteTopic
from tests.support.nodes import NodeCluster, TestNode


def service_of(node: TestNode) -> Service:
    return node.running.app[CONTEXT].service


def asking() -> RequestContext:
    return RequestContext(protocol="test").within(20)


async def commit(node: TestNode, group: str, offset: int, partition: int = 0) -> CommittedOffsets:
    request = CommitOffsets(group=group, offsets=[OffsetOf("orders", partition, offset, metadata="m")])
    return (await service_of(node).ask(asking(), request)).result


async def committed(node: TestNode, group: str) -> dict[tuple[str, int], int]:
    found = (await service_of(node).ask(asking(), FetchOffsets(group=group))).result
    return {(each.topic, each.partition): each.offset for each in found.offsets}


async def nobody_touches_the_topic(nodes: list[TestNode]) -> None:
    requests: list[Request[Any]] = [
        AlterTopic(topic=COORDINATOR_TOPIC, partitions=20),
        AlterTopic(topic=COORDINATOR_TOPIC, config=ConfigChanges(retention_ms=1)),
        DeleteTopic(topic=COORDINATOR_TOPIC),
    ]
    fetch = FetchRequest(topic=COORDINATOR_TOPIC, partition=0, position="earliest", max_bytes=1)
    bounds = ListOffsetsRequest(topic=COORDINATOR_TOPIC, partition=0, position="latest", timeout_s=5)
    for node in nodes:
        service = service_of(node)
        for request in requests:
            with pytest.raises(Forbidden):
                await service.ask(asking(), request)
        with pytest.raises(Forbidden, match="no records"):
            await service.fetch(asking(), fetch, service.answers.hold("test"))
        with pytest.raises(Forbidden, match="no records"):
            await service.list_offsets(asking(), bounds)


async def test_offsets_at_any_node_and_past_the_end_of_the_shards_leader(tmp_path: Path) -> None:
    """Four nodes, of which one has no replica of the shard; then the leader is gone."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        await cluster.create("orders", partitions=2, replicas=3)
        nodes = cluster.up
        assert await committed(nodes[0], "billing") == {}
        assert COORDINATOR_TOPIC not in nodes[0].running.metadata.state.topics, "nobody needed it"

        for number, node in enumerate(nodes):
            await commit(node, "billing", number + 1)
        topic = nodes[0].running.metadata.state.topics[COORDINATOR_TOPIC]
        assert (len(topic.partitions), topic.replication_factor) == (SHARDS, 3)
        assert [await committed(node, "billing") for node in nodes] == [{("orders", 0): 4}] * 4

        await nobody_touches_the_topic(nodes)
        await cluster.until(
            lambda: all(
                shard.replica.group.asleep for node in nodes for shard in node.running.coordinator.shards.here
            ),
            "shards at rest say nothing to each other",
        )
        leader = await cluster.leader(COORDINATOR_TOPIC, shard_of("billing", SHARDS))
        await leader.stop()
        for number, node in enumerate(cluster.up):
            await commit(node, "billing", 10 + number, partition=1)
            assert await committed(node, "billing") == {("orders", 0): 4, ("orders", 1): 10 + number}
        await _what_is_told(cluster)


async def _what_is_told(cluster: NodeCluster) -> None:
    """In metrics, and of shards without a leader in the cluster's health."""
    async with cluster.session.get(f"{cluster.up[0].url}/metrics") as answer:
        text = await answer.text()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("floodmark_coord"))
    assert float(figures["floodmark_coordinator_shards"]) > 0
    assert float(figures["floodmark_coordinator_state_entries"]) in (0, 3)
    shards = [node.running.coordinator.shards for node in cluster.up]
    assert sum(each.machine.groups for one in shards for each in one.led_here()) == 1

    await cluster.up[0].stop()
    node = cluster.up[0]
    async with asyncio.timeout(30):
        while not any("shards of the coordinator have no leader" in each for each in await _reasons(node)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _reasons(node: TestNode) -> list[str]:
    return list((await node.broker.cluster.health()).reasons)


async def test_what_a_shard_takes_up_counts_as_the_nodes_data(tmp_path: Path) -> None:
    """Its state file and its checkpoint too, as on the disk: in the list of nodes, for rebalancing."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders", partitions=50, replicas=1)
        (node,) = cluster.up
        for partition in range(50):
            await commit(node, "billing", 1, partition)
        raft_group = (
            node.running.metadata.state.topics[COORDINATOR_TOPIC]
            .partitions[shard_of("billing", SHARDS)]
            .raft_group
        )
        replica = node.running.replicas.local[raft_group]
        assert replica.group.storage.begin_checkpoint()
        folder = node.data_dir / "groups" / str(raft_group)

        def beside() -> dict[str, int]:
            """Its checkpoint and its states; an earlier one may just go."""
            found = {}
            for file in folder.iterdir():
                if file.name == "checkpoint" or file.suffix == ".state":
                    with contextlib.suppress(FileNotFoundError):
                        found[file.name] = file.stat().st_size
            return found

        await cluster.until(
            lambda: not replica.group.storage.checkpoint_under_way and len(beside()) == 2,
            "its state is in one file",
        )
        assert replica.group.storage.state_bytes > 50
        assert replica.data_bytes == replica.log.size_bytes + sum(beside().values())
        assert node.broker.moves.sizes_led_here()[raft_group] == replica.data_bytes
        (row,) = await node.broker.cluster.list_nodes()
        assert row.data_bytes == sum(each.data_bytes for each in node.running.replicas.local.values())
