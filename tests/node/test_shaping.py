"""Nodes are drained and evened out, factors change and partitions are added, while records are written."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import floodmark as client
import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from node.control import move_turns
from tests.process.ledger import Ledger
from tests.support.nodes import NodeCluster, TestNode

TOPIC = "numbers"
PARTITIONS = 6


async def _call(
    cluster: NodeCluster, node: TestNode, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    async with cluster.session.request(method, node.url + path, json=body) as answer:
        return answer.status, await answer.json()


async def _command(node: TestNode, *args: str) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, floodmark, [*args, "--server", node.url], prog_name="floodmark"
    )


def _replicas(node: TestNode) -> Counter[str]:
    """How many replicas each node has, as this one knows."""
    state = node.running.metadata.state
    return Counter(name for _, entry in state.partitions() for name in entry.replicas)


def _folders(node: TestNode) -> set[int]:
    """The partitions that have data on a node."""
    return {int(path.name) for path in (node.data_dir / "groups").iterdir() if path.name.isdigit()} - {0}


async def test_a_node_is_drained_comes_back_and_gets_its_share_under_load(tmp_path: Path) -> None:
    """The same at each node: begun at one, seen at all; nothing is lost, and no request fails for good."""
    async with NodeCluster.running(tmp_path, 5) as cluster:
        await cluster.create(TOPIC, partitions=PARTITIONS, replicas=3)
        leader = await cluster.leader(TOPIC, 0)
        drained, path = leader.node_id, f"/v1/nodes/{leader.node_id}/drain"
        urls = [node.url for node in cluster.up]
        ledger = Ledger(TOPIC, PARTITIONS)
        async with ledger.writing(urls):
            await ledger.wait_acknowledged(200)
            doors = list(cluster.up)
            held = _replicas(doors[0])[drained]
            for door in doors:  # Whoever says it first, and everybody after.
                status, said = await _call(cluster, door, "POST", path)
                assert (status, said["draining"]) == (202, True)
                assert 0 <= said["replicas"] <= held
            for door in doors:
                said = {}
                async with asyncio.timeout(60):
                    while not said.get("done"):  # Another node's word for what all nodes do.
                        status, said = await _call(cluster, door, "GET", path)
                        assert (status, said["draining"]) == (200, True)
                assert (said["replicas"], said["preferred"], said["moving"]) == (0, 0, 0)
            await cluster.until(lambda: _folders(leader) == set(), "its data is gone")
            assert leader.groups_led() == []
            assert leader.broker.health().ready
            await cluster.create("later", partitions=2, replicas=3)
            assert _replicas(leader)[drained] == 0, "new topics go elsewhere"
            others = [node.node_id for node in doors if node is not leader]
            wanted = {"topic": "later", "partition": 0, "replicas": [drained, *others[:2]]}
            status, said = await _call(
                cluster, leader, "POST", "/v1/reassignments", {"reassignments": [wanted]}
            )
            assert (status, said["code"]) == (409, "conflict")
            assert "is being drained" in said["detail"]
            await ledger.wait_acknowledged(200)

            for door in doors:
                status, said = await _call(cluster, door, "DELETE", path)
                assert (status, said["draining"]) == (202, False)
            status, plan = await _call(cluster, doors[1], "GET", "/v1/cluster/rebalance")
            assert (status, plan["rebalancing"]) == (200, False)
            assert {share["node_id"]: share["replicas_then"] > 0 for share in plan["nodes"]}[drained]
            assert plan["bytes"] == sum(move["bytes"] for move in plan["moves"]) > 0
            assert _replicas(leader)[drained] == 0, "it was only a plan"
            done = await _command(doors[2], "cluster", "rebalance")
            assert done.exit_code == 0, done.output
            await cluster.until(
                lambda: all(
                    max(counts.values()) - min(counts[name] for name in cluster.nodes) <= 1
                    for counts in map(_replicas, cluster.up)
                ),
                "all nodes have equally many",
            )
            await ledger.wait_acknowledged(200)
        assert ledger.unsettled == {}
        await ledger.check(urls)


async def test_a_drain_goes_on_when_the_node_that_plans_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half way the leader of the metadata leaves; the next one goes on where it was, without being told."""
    monkeypatch.setattr(move_turns, "MOVES_AT_ONCE", 1)
    async with NodeCluster.running(tmp_path, 5) as cluster:
        await cluster.create(TOPIC, partitions=10, replicas=3)
        planner = next(node for node in cluster.up if node.running.metadata.leads_here)
        drained = next(node for node in cluster.up if node is not planner)
        held = _replicas(drained)[drained.node_id]
        status, _ = await _call(cluster, drained, "POST", f"/v1/nodes/{drained.node_id}/drain")
        assert status == 202
        await cluster.until(
            lambda: _replicas(drained)[drained.node_id] < held and drained.running.metadata.state.moves,
            "it has begun, and has more to do",
        )
        monkeypatch.setattr(move_turns, "MOVES_AT_ONCE", 0)  # However long the planner takes to stop.
        await planner.stop()
        assert _replicas(drained)[drained.node_id] > 0, "it was not done before"
        monkeypatch.setattr(move_turns, "MOVES_AT_ONCE", 1)
        planner.start()
        await cluster.until(
            lambda: all(_replicas(node)[drained.node_id] == 0 for node in cluster.up), "it is done"
        )
        await cluster.ready()
        await cluster.until(lambda: _folders(drained) == set(), "its data is gone")


async def test_factors_change_and_partitions_are_added_live(tmp_path: Path) -> None:
    """At every kind of node, and on the command line; what cannot be is refused alike everywhere."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        await cluster.create(TOPIC, partitions=2, replicas=2)
        path = f"/v1/topics/{TOPIC}"
        urls = [node.url for node in cluster.up]
        ledger = Ledger(TOPIC, 2)

        async def has(factor: int) -> None:
            await cluster.until(
                lambda: all(
                    not node.running.metadata.state.moves
                    and all(
                        len(entry.replicas) == factor
                        and (entry.raft_group in _folders(node)) == (node.node_id in entry.replicas)
                        for _, entry in node.running.metadata.state.partitions()
                    )
                    for node in cluster.up
                ),
                f"{factor} replicas of each partition",
            )

        async with ledger.writing(urls):
            await ledger.wait_acknowledged(50)
            for door, factor in zip(cluster.up, (3, 1, 4, 2), strict=True):
                status, said = await _call(cluster, door, "PATCH", path, {"replication_factor": factor})
                assert (status, said["replication_factor"]) == (200, factor)
                await has(factor)
                await ledger.wait_acknowledged(50)
        assert ledger.unsettled == {}
        await ledger.check(urls)

        for count, door in enumerate(cluster.up, 3):
            for again in (False, True):
                status, said = await _call(cluster, door, "PATCH", path, {"partitions": count})
                assert (status, len(said["partitions"])) == (200, count)
                assert ("warning" in said) is not again
        added = await _command(cluster["n2"], "topic", "alter", TOPIC, "-p", "7")
        assert added.exit_code == 0, added.output
        assert "many keys go to other ones" in added.stderr
        async with client.Client(urls) as writer:
            stored = await writer.produce(TOPIC, b"x", partition=6)
            assert stored.offset == 0
        await has(2)
        refused: list[tuple[Any, int, str]] = [
            ({"partitions": 6}, 400, "never taken away"),
            ({"partitions": 1_001}, 400, "1000"),
            ({"replication_factor": 5}, 400, "use 1 to 4"),
            ({"replication_factor": 0}, 400, "use 1 to 4"),
            ({"replication_factor": 3, "partitions": 9}, 400, "one thing at a time"),
            ({}, 400, "one thing at a time"),
        ]
        for body, expected, what in refused:
            for door in cluster.up:
                status, problem = await _call(cluster, door, "PATCH", path, body)
                assert (status, what in problem["detail"]) == (expected, True), (door.node_id, body, problem)


async def test_what_cannot_be_drained_or_evened_out_is_refused(tmp_path: Path) -> None:
    """Where would the replicas go? And what is so already is fine."""
    async with NodeCluster.running(tmp_path, 3) as cluster:
        await cluster.create(TOPIC, partitions=1, replicas=3)
        for door in cluster.up:
            status, problem = await _call(cluster, door, "POST", "/v1/nodes/n1/drain")
            assert (status, problem["code"], problem["topics"]) == (409, "conflict", [TOPIC])
            assert "without n1 there are 2 nodes" in problem["detail"]
            for method in ("GET", "POST", "DELETE"):
                status, problem = await _call(cluster, door, method, "/v1/nodes/n9/drain")
                assert (status, problem["code"]) == (404, "not_found")
                assert (await _call(cluster, door, method, "/v1/nodes/a%20b/drain"))[0] == 400
            status, said = await _call(cluster, door, "DELETE", "/v1/nodes/n1/drain")
            assert (status, said["draining"], said["replicas"]) == (202, False, 1)
            status, said = await _call(cluster, door, "DELETE", "/v1/cluster/rebalance")
            assert (status, said["rebalancing"], said["moves"]) == (202, False, [])
        assert (await _command(cluster["n1"], "node", "drain", "n1")).exit_code == 4
        assert (await _command(cluster["n1"], "node", "drain", "n9")).exit_code == 3
        shown = await _command(cluster["n1"], "cluster", "rebalance", "--dry-run")
        assert (shown.exit_code, "0 partitions would move" in shown.stderr) == (0, True)
        assert (await _command(cluster["n1"], "cluster", "rebalance", "--dry-run", "--cancel")).exit_code == 2


async def test_a_node_without_replicas_is_removed_for_good(tmp_path: Path) -> None:
    """A dead one after it was drained, and one that runs; refused alike everywhere while they have some."""
    async with NodeCluster.running(tmp_path, 5) as cluster:
        await cluster.create(TOPIC, partitions=10, replicas=3)
        dead = next(node for node in cluster.up if not node.running.metadata.leads_here)
        await dead.stop()
        for door in cluster.up:
            async with cluster.session.delete(f"{door.url}/v1/nodes/{dead.node_id}") as answer:
                problem = await answer.json()
                assert (answer.status, problem["code"]) == (409, "conflict")
                assert f"`floodmark node drain {dead.node_id}`" in problem["detail"]
        live = next(node for node in cluster.up if node.running.metadata.leads_here)
        asked = next(node for node in cluster.up if node is not live)
        for name in (dead.node_id, live.node_id):
            assert (await _command(asked, "node", "remove", name, "--yes")).exit_code == 4
            drained = await _command(asked, "node", "drain", name)
            assert drained.exit_code == 0, drained.output
            removed = await _command(asked, "node", "remove", name, "--yes")
            assert removed.exit_code == 0, removed.output
            assert (await _command(asked, "node", "remove", name, "--yes")).exit_code == 3
        rest = [node for node in cluster.up if node is not live]
        await cluster.until(
            lambda: all(
                set(node.running.metadata.state.nodes) == {each.node_id for each in rest}
                and node.running.metadata.group is not None
                and node.running.metadata.group.membership.voters == {each.node_id for each in rest}
                for node in rest
            ),
            "three are left, and vote",
        )
        async with client.Client([node.url for node in rest]) as writer:
            for partition in range(10):
                assert (await writer.produce(TOPIC, b"on", partition=partition)).offset == 0


async def test_a_dead_node_is_done_without_after_a_while(tmp_path: Path) -> None:
    """Its replicas are made anew on the one that has none; it comes back to nothing of its own."""
    async with NodeCluster.running(tmp_path, 4, **{"cluster.evacuate_after_s": 0.5}) as cluster:
        await cluster.create(TOPIC, partitions=2, replicas=3)
        dead = next(node for node in cluster.up if not node.running.metadata.leads_here and _folders(node))
        await dead.stop()
        await cluster.until(
            lambda: all(_replicas(node)[dead.node_id] == 0 for node in cluster.up), "nothing relies on it"
        )
        dead.start()
        await cluster.ready()
        await cluster.until(lambda: _folders(dead) == set(), "what it had is deleted")
