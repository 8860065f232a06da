"""Nothing moves to a disk that is nearly full, and what is on its way there goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from node.broker import NodeHealth
from node.control.lacking import lacks
from storage.filesystem import Space
from tests.node.test_retiring import _call, _replicas
from tests.node.test_shaping import _folders
from tests.support.nodes import NodeCluster, TestNode

TOPIC = "numbers"
GIB = 1 << 30
FULL = Space(14 * GIB, 100 * GIB)
ROOM = Space(16 * GIB, 100 * GIB)


def _disk(node: TestNode, space: Space) -> None:
    """What the node finds when it looks at its disk."""
    node.running.disk.space = lambda: space
    node.running.disk.take(space)


def _health(**known: Any) -> NodeHealth:
    return NodeHealth("n1", ready=True, partitions_max=10, **({"takes_replicas": True} | known))


def test_what_keeps_replicas_from_a_node_is_said() -> None:
    """One thing at a time, the gravest first; 85% of the disk are the limit."""
    free = {"disk_free_bytes": 16 * GIB, "disk_total_bytes": 100 * GIB}
    assert lacks(_health(**free), 9, drained=False) == ""
    assert lacks(_health(**free), 10, drained=False).startswith("has 10 replicas, and takes no more")
    assert lacks(_health(**free), 0, drained=True) == "is being drained"
    assert lacks(None, 0, drained=False) == "does not answer"
    assert lacks(_health(takes_replicas=False, **free), 0, drained=False) == "is not ready yet"
    assert lacks(_health(), 0, drained=False) == "cannot tell how full its disk is"
    free["disk_free_bytes"] = 15 * GIB
    assert lacks(_health(**free), 0, drained=False) == ""
    free["disk_free_bytes"] -= 1
    said = lacks(_health(**free), 0, drained=False)
    assert said == "uses 86% of its disk, and above 85% nothing moves there"


async def test_nothing_moves_to_a_disk_that_is_nearly_full_and_what_fills_one_goes_back(
    tmp_path: Path,
) -> None:
    """Moves are refused at every door, a drain says why it waits; a learner goes back, and its data go."""
    async with NodeCluster.running(tmp_path, 4, **{"limits.catch_up_bytes_per_s": 65_536}) as cluster:
        await cluster.create(TOPIC, partitions=1, replicas=3)
        leader = await cluster.leader(TOPIC)
        for number in range(20):
            url = f"{leader.url}/v1/topics/{TOPIC}/partitions/0/records"
            async with cluster.session.post(url, json={"value": "x" * 80_000 + str(number)}) as answer:
                assert answer.status == 200
        empty = next(node for node in cluster.up if not _replicas(leader)[node.node_id])
        holders = [node.node_id for node in cluster.up if node is not empty]
        _disk(empty, FULL)
        wanted = {"topic": TOPIC, "partition": 0, "replicas": [*holders[:2], empty.node_id]}
        for door in cluster.up:
            status, problem = await _call(
                cluster, door, "POST", "/v1/reassignments", {"reassignments": [wanted]}
            )
            assert (status, "uses 86% of its disk" in problem["detail"]) == (409, True), problem
        drained = next(node for node in cluster.up if node not in (leader, empty))
        path = f"/v1/nodes/{drained.node_id}/drain"
        why = f"{empty.node_id} uses 86% of its disk, and above 85% nothing moves there"
        assert (await _call(cluster, empty, "POST", path))[0] == 202
        for door in cluster.up:
            status, said = await _call(cluster, door, "GET", path)
            assert (status, why in said["waiting_for"], said["replicas"]) == (200, True, 1), said
            status, plan = await _call(cluster, door, "GET", "/v1/cluster/rebalance")
            lacking = {share["node_id"]: share["lacking"] for share in plan["nodes"]}
            assert (status, f"{empty.node_id} {lacking[empty.node_id]}") == (200, why)
        assert not leader.running.metadata.state.moves

        _disk(empty, ROOM)
        await cluster.until(lambda: _folders(empty), "a replica comes")
        await leader.broker.catch_up(timeout_s=10)  # Another node knew before.
        assert [move.started for move in leader.running.metadata.state.moves.values()] == [True]
        _disk(empty, FULL)
        await cluster.until(
            lambda: not leader.running.metadata.state.moves and not _folders(empty), "it went back"
        )
        assert set(leader.running.metadata.state.topics[TOPIC].partitions[0].replicas) == set(holders)
        (replica,) = leader.running.replicas.local.values()
        assert replica.group.membership.voters == set(holders)
        status, said = await _call(cluster, drained, "GET", path)
        assert (status, why in said["waiting_for"], said["moving"]) == (200, True, 0)
