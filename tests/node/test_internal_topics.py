"""How many replicas the cluster's own topics have follows the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from node.control import internal_topics
from node.metadata.commands import Command
from node.metadata.domains.coordinator import SHARDS, CreateCoordinator
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.nodes import JoinNode, RegisterNode
from node.metadata.domains.shape import DrainNode, UndrainNode
from node.metadata.domains.topics import AddPartitions, CreateTopic, DeleteTopic
from node.metadata.levels import GROUPS
from node.metadata.machine import applied
from node.metadata.state import AUDIT_TOPIC, COORDINATOR_TOPIC, INTERNAL_PREFIX, MetadataState
from node.metadata.topic_config import TopicConfig
from tests.node.test_coordinator import commit, committed
from tests.node.test_group_routes import Asking
from tests.support.nodes import NodeCluster


class Metadata:
    """A state that commands are applied to."""

    def __init__(self, *nodes: str) -> None:
        self.state = MetadataState()
        first, *others = nodes
        self.join(first)
        self.does(RaiseLevel(GROUPS))
        for node in others:
            self.join(node)

    def does(self, command: Command) -> object:
        outcome = applied(self.state, command)
        self.state.applied_index += 1
        assert not isinstance(outcome, Exception), outcome
        return outcome

    def join(self, node: str) -> None:
        kind = JoinNode if self.state.nodes else RegisterNode
        self.does(kind(node, "h", "p", f"incarnation of {node}", levels=(1, GROUPS)))

    def due(self) -> list[tuple[str, int]]:
        """What is to be changed; it is."""
        changes = list(internal_topics.due(self.state))
        for change in changes:
            self.does(change)
        return [(change.name, change.replication_factor) for change in changes]


def test_the_factor_follows_the_nodes_that_take_replicas() -> None:
    """Three at the most, one at the least; topics of users keep theirs."""
    metadata = Metadata("n1")
    metadata.does(CreateTopic("orders", 1, TopicConfig(), [["n1"]]))
    metadata.does(CreateTopic(AUDIT_TOPIC, 1, TopicConfig(), [["n1"]]))
    assert metadata.due() == []
    metadata.join("n2")
    assert metadata.due() == [(AUDIT_TOPIC, 2)]
    metadata.does(CreateCoordinator(1, 4_096, [["n1"]] * SHARDS))
    assert metadata.due() == [(COORDINATOR_TOPIC, 2)]
    for node in ("n3", "n4"):
        metadata.join(node)
    assert metadata.due() == [(AUDIT_TOPIC, 3), (COORDINATOR_TOPIC, 3)]
    metadata.does(DrainNode("n4"))
    assert metadata.due() == []
    metadata.does(DrainNode("n3"))
    assert metadata.due() == [(AUDIT_TOPIC, 2), (COORDINATOR_TOPIC, 2)]
    metadata.does(UndrainNode("n3"))
    assert metadata.due() == [(AUDIT_TOPIC, 3), (COORDINATOR_TOPIC, 3)]


def test_there_is_one_coordinator_and_it_keeps_its_shards() -> None:
    """Sixteen of them, from level 5 on."""
    metadata = Metadata("n1")
    state = metadata.state
    made = CreateCoordinator(1, 4_096, [["n1"]] * SHARDS)
    for command, code in (
        (CreateCoordinator(1, 4_096, [["n1"]] * (SHARDS - 1)), "invalid_request"),
        (CreateCoordinator(2, 4_096, [["n1"]] * SHARDS), "invalid_request"),
        (made, None),
        (made, "topic_exists"),
        (AddPartitions(COORDINATOR_TOPIC, 1, SHARDS, [["n1"]]), "invalid_request"),
    ):
        assert getattr(applied(state, command), "code", None) == code
    topic = state.topics[COORDINATOR_TOPIC]
    assert (topic.is_coordinator, len(topic.partitions)) == (True, SHARDS)
    metadata.does(DeleteTopic(COORDINATOR_TOPIC, topic.topic_id))
    state.level = GROUPS - 1
    assert getattr(applied(state, made), "code", None) == "conflict"


GROUPS_AND_QUEUES: Final[tuple[tuple[str, str, dict[str, Any] | None], ...]] = (
    ("GET", "/v1/groups", None),
    ("GET", "/v1/groups/g", None),
    ("GET", "/v1/groups/g/offsets", None),
    ("POST", "/v1/groups/g/offsets", {"offsets": [{"topic": "orders", "partition": 0, "offset": 1}]}),
    ("POST", "/v1/groups/g/members", {"member_id": "m", "topics": ["orders"]}),
    ("POST", "/v1/groups/g/records?topics=orders", {}),
    ("GET", "/v1/queues", None),
    ("PUT", "/v1/queues/q", {"topic": "orders"}),
)


@pytest.mark.parametrize("partitions", [1, SHARDS])
async def test_a_topic_of_the_coordinators_name_that_a_user_made_is_named_in_a_refusal(
    tmp_path: Path, partitions: int
) -> None:
    """Earlier builds took any name. At the metadata's leader and others; nothing is stored in it, and nodes
    stay ready and tell their metrics."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        await cluster.create(COORDINATOR_TOPIC, partitions=partitions, replicas=2)
        ask = Asking(cluster)
        for node in cluster.up:
            for method, path, body in GROUPS_AND_QUEUES:
                status, problem = await ask(node, method, path, body)
                assert (status, problem["code"]) == (409, "conflict"), (method, path, problem)
                assert f"topic {COORDINATOR_TOPIC} was made by a user" in problem["detail"]
            assert (await ask(node, "GET", "/readyz"))[0] == 200
            async with cluster.session.get(f"{node.url}/metrics") as answer:
                assert answer.status == 200
        for number in range(partitions):
            assert (await cluster.on_leader(COORDINATOR_TOPIC, number)).bounds().high_watermark == 0


@pytest.mark.long
async def test_the_coordinator_grows_with_a_cluster_of_one_and_makes_way_for_a_drain(tmp_path: Path) -> None:
    """Newcomers get the states; with three nodes one may be drained, and then there are two replicas."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders")
        await commit(cluster["n1"], "billing", 5)
        for name in ("n2", "n3"):
            await cluster.grow(name)
        await cluster.until(
            lambda: _voters(cluster) == {frozenset({"n1", "n2", "n3"})}, "three replicas each"
        )
        await commit(cluster["n2"], "billing", 6)
        leader = await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.nodes.drain("n1", timeout_s=10)
        await cluster.until(lambda: _voters(cluster) == {frozenset({"n2", "n3"})}, "two replicas each")
        await cluster["n1"].stop()
        for name in ("n2", "n3"):
            assert await committed(cluster[name], "billing") == {("orders", 0): 6}


def _voters(cluster: NodeCluster) -> set[frozenset[str]]:
    """Of all shards, as their leaders know them."""
    found = [
        shard.replica.group.membership.voters
        for node in cluster.up
        for shard in node.running.coordinator.shards.led_here()
    ]
    return set(found) if len(found) == SHARDS else set()


async def test_groups_under_which_partitions_keep_letters_of_queues_are_closed(tmp_path: Path) -> None:
    """Who could move such a position would have dead letters lost; at every node, and nothing is stored."""
    name = f"{INTERNAL_PREFIX}queue.7"
    positions = f"/v1/topics/orders/partitions/0/positions/{name}"
    offsets = {"offsets": [{"topic": "orders", "partition": 0, "offset": 1}]}
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        ask = Asking(cluster)
        for node in cluster.up:
            for method, path, body in (
                ("POST", positions, {"topic_id": 1, "partition": 0}),
                ("DELETE", positions, None),
                ("GET", positions, None),
                ("POST", f"/v1/groups/{name}/offsets", offsets),
            ):
                status, problem = await ask(node, method, path, body)
                assert (status, problem["code"]) == (403, "forbidden"), (method, path, problem)
                assert "groups whose names begin with" in problem["detail"]
            url = f"{node.url}/v1/topics/orders/partitions/0/records"
            said = {"Floodmark-Position": f"{name};1;0;5", "Producer-Id": "p", "Producer-Seq": "0"}
            async with cluster.session.post(url, data=b'{"value": 1}', headers=said) as answer:
                assert answer.status == 403
        assert (await cluster.on_leader("orders")).bounds().high_watermark == 0
