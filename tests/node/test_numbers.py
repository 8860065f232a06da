"""Numbers of nodes, UUIDs of topics, leader epochs: the same at every node, and never another one's."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from floodmark.errors import Conflict
from floodmark.format.frame import Frame, FrameKind, crc_of

from node.metadata import commands
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.topics import CreateTopic
from node.metadata.machine import MetadataMachine
from node.metadata.numbers import node_number, topic_uuid
from node.metadata.state import COORDINATOR_GROUPS_FROM, MetadataState
from node.metadata.topic_config import TopicConfig
from tests.support.nodes import NodeCluster, TestNode


async def _get(cluster: NodeCluster, node: TestNode, path: str) -> Any:
    async with cluster.session.get(node.url + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def _told(cluster: NodeCluster) -> tuple[dict[str, int | None], dict[str, str], dict[str, int]]:
    """Numbers of nodes, UUIDs of topics and leader epochs, as all nodes and routes say alike.

    Leaders change while this asks one node after the other: epochs are alike once they do not any more.
    """
    async with asyncio.timeout(30):
        while True:
            said = await _said(cluster)
            assert all(each[:2] == said[0][:2] for each in said), said
            if all(each == said[0] for each in said):
                return said[0]
            await asyncio.sleep(0.05)


async def _said(
    cluster: NodeCluster,
) -> list[tuple[dict[str, int | None], dict[str, str], dict[str, int]]]:
    said = []
    for node in cluster.up:
        numbers = {
            each["node_id"]: each["number"] for each in (await _get(cluster, node, "/v1/nodes"))["nodes"]
        }
        whole = (await _get(cluster, node, "/v1/cluster"))["nodes"]
        assert {each["node_id"]: each["number"] for each in whole} == numbers
        listed = {each["topic"]: each["id"] for each in (await _get(cluster, node, "/v1/topics"))["topics"]}
        epochs = {}
        for name, uuid_of_name in listed.items():
            topic = await _get(cluster, node, f"/v1/topics/{name}")
            assert topic["id"] == uuid_of_name
            for row in topic["partitions"]:
                assert row["leader_epoch"] == (None if row["leader"] is None else row["term"])
                epochs[f"{name}/{row['partition']}"] = row["leader_epoch"]
        said.append((numbers, listed, epochs))
    return said


async def test_numbers_and_uuids_are_alike_everywhere_and_outlive_restarts_and_namesakes(
    tmp_path: Path,
) -> None:
    """Four nodes, one without a replica; a topic is made again, and a stranger struck off and met again."""
    async with NodeCluster.running(tmp_path, 4, formed_at=2) as cluster:
        await cluster.create("a", partitions=2, replicas=3)
        await cluster.create("b")
        await cluster.leader("a", 0), await cluster.leader("a", 1), await cluster.leader("b")
        numbers, topics, epochs = await _told(cluster)
        assert numbers == {"n1": 1, "n2": 2, "n3": 3, "n4": 4}
        assert len(set(topics.values())) == 2
        assert all(uuid.UUID(each).version == 5 for each in topics.values())
        assert all(epoch is not None and 1 <= epoch < 1 << 31 for epoch in epochs.values())

        # As a build that did not refuse it has left it behind, before all others in order of id.
        leader = next(node for node in cluster.up if node.running.metadata.leads_here)
        stranger = RegisterNode("a-stranger", "http://127.0.0.1:1", "127.0.0.1:1", "x")
        for _ in range(2):
            await leader.running.metadata.propose(stranger, timeout_s=10)
            for node in cluster.up:
                await node.broker.catch_up(timeout_s=10)
            assert (await _told(cluster))[0] == {"a-stranger": None, **numbers}
            await leader.broker.nodes.forget("a-stranger", timeout_s=10)
            for node in cluster.up:
                await node.broker.catch_up(timeout_s=10)
            assert (await _told(cluster))[0] == numbers

        await leader.broker.topics.delete("b", timeout_s=10)
        await cluster.create("b")
        await cluster.leader("b")
        _, again, _ = await _told(cluster)
        assert again["a"] == topics["a"]
        assert again["b"] not in topics.values()

        for node in list(cluster.nodes.values()):
            await node.stop()
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        for number in range(2):
            await cluster.leader("a", number)
        later = await _told(cluster)
        assert later[:2] == (numbers, again)
        assert all(later[2][name] > epoch for name, epoch in epochs.items() if name.startswith("a/"))


def test_uuids_differ_between_clusters_and_are_of_what_snapshots_have() -> None:
    """The cluster's name and the topic's id say all, so a snapshot of any build is enough."""
    state = MetadataState(formation="one")
    assert topic_uuid(state, 1) == topic_uuid(MetadataState(formation="one"), 1)
    assert topic_uuid(state, 1) != topic_uuid(state, 2)
    assert topic_uuid(state, 1) != topic_uuid(MetadataState(formation="two"), 1)
    assert topic_uuid(MetadataState(), 1) is None
    assert topic_uuid(state, 1) == "91ffa5a8-e3d0-50da-b6df-8f4a5981007d", "for good"


def test_a_number_is_the_place_among_those_that_formed_the_cluster() -> None:
    """Whoever else is registered has none, and takes none from anybody."""
    assert [node_number({"b", "a", "c"}, name, {}) for name in "abcd"] == [1, 2, 3, None]
    given = {"b": 1, "c": 2, "a": 3}
    assert [node_number({"a", "b"}, name, given) for name in "abcd"] == [3, 1, 2, None]


def test_groups_of_partitions_never_meet_those_of_coordinators() -> None:
    """The last number below them can be had; behind it a topic is refused and nothing changes."""
    machine = MetadataMachine()

    def apply(index: int, command: commands.AnyCommand) -> Any:
        payload = commands.encode(command)
        machine.apply(Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload)))
        return machine.outcome(index)

    apply(2, RegisterNode("n1", "http://n1", "n1:1", "i"))
    machine.state.next_raft_group = COORDINATOR_GROUPS_FROM - 1
    refused = apply(3, CreateTopic("t", 1, TopicConfig(), [["n1"], ["n1"]]))
    with pytest.raises(Conflict, match="no numbers left"):
        raise refused
    assert machine.state.next_raft_group == COORDINATOR_GROUPS_FROM - 1
    made = apply(4, CreateTopic("t", 1, TopicConfig(), [["n1"]]))
    assert [entry.raft_group for entry in made.partitions] == [COORDINATOR_GROUPS_FROM - 1]
