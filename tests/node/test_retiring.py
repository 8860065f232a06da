"""Nodes that go for good while something is on them: by force, or with another one in their place."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from node.control import move_turns
from tests.process.ledger import Ledger
from tests.support.nodes import NodeCluster, TestNode

TOPIC = "numbers"


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


async def _settled(cluster: NodeCluster, names: set[str], factor: int) -> None:
    """These are the cluster, and every group has so many voters among them, and no other member."""
    nodes = [cluster[name] for name in names]
    await cluster.until(
        lambda: all(
            set(node.running.metadata.state.nodes) == names
            and not node.running.metadata.state.moves
            and all(
                len(entry.replicas) == factor and set(entry.replicas) <= names
                for _, entry in node.running.metadata.state.partitions()
            )
            and all(
                replica.group.membership.voters <= names
                and len(replica.group.membership.voters) == factor
                and not replica.group.membership.learners
                for replica in node.running.replicas.local.values()
            )
            for node in nodes
        ),
        f"{names} are left, with {factor} replicas of each partition",
    )


async def test_a_node_is_removed_by_force_where_its_replicas_have_no_other_place(tmp_path: Path) -> None:
    """It says before what has too few then; the metadata are led by another by the time that it is gone."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        empty = next(node for node in cluster.up if not node.running.metadata.leads_here)
        assert (await _command(empty, "node", "drain", empty.node_id)).exit_code == 0  # It takes nothing.
        await cluster.create(TOPIC, partitions=3, replicas=3)
        gone = next(node for node in cluster.up if node.running.metadata.leads_here)
        rest = [node for node in cluster.up if node is not gone]
        names = sorted(node.node_id for node in rest if node is not empty)
        ledger = Ledger(TOPIC, 3)
        async with ledger.writing([node.url for node in rest]):
            await ledger.wait_acknowledged(100)
            for door in cluster.up:
                status, plan = await _call(cluster, door, "GET", f"/v1/nodes/{gone.node_id}/removal")
                assert (status, plan["alive"], plan["replicas"], plan["blocked"]) == (200, True, 3, [])
                assert [(part["partition"], sorted(part["left"])) for part in plan["too_few"]] == [
                    (number, names) for number in range(3)
                ]
                status, problem = await _call(cluster, door, "DELETE", f"/v1/nodes/{gone.node_id}")
                assert (status, "--force" in problem["detail"]) == (409, True)
            asked = await _command(rest[0], "node", "remove", gone.node_id, "--force")
            assert (asked.exit_code, f"{TOPIC}/0: 2 of 3" in asked.stderr) == (1, True), asked.output
            assert _replicas(gone)[gone.node_id] == 3, "nothing was changed without --yes"
            path = f"/v1/nodes/{gone.node_id}?force=true"
            for door in cluster.up:  # Whoever says it first, and everybody after; until it is gone.
                status, said = await _call(cluster, door, "DELETE", path)
                assert status == 404 or (status == 202 and said["removing"]), (door.node_id, said)
            done = await _command(rest[0], "node", "remove", gone.node_id, "--force", "--yes")
            assert done.exit_code in (0, 3), done.output
            left = {node.node_id for node in rest}
            await _settled(cluster, left, 2)
            await ledger.wait_acknowledged(100)
        assert ledger.unsettled == {}
        await ledger.check([node.url for node in rest])
        assert gone.running.metadata.leader in (None, *left)
        for door in rest:
            assert (await _call(cluster, door, "DELETE", path))[0] == 404
        # With one of the two away the other's data are all that there is.
        away, last = (cluster[name] for name in names)
        await away.stop()
        for door in (last, empty):
            for method in ("GET", "DELETE"):
                rest_of = "/removal" if method == "GET" else "?force=true"
                status, said = await _call(cluster, door, method, f"/v1/nodes/{last.node_id}{rest_of}")
                if method == "GET":
                    assert (status, len(said["blocked"])) == (200, 3)
                else:
                    assert (status, len(said["partitions"])) == (409, 3)
        refused = await _command(empty, "node", "remove", last.node_id, "--force", "--yes")
        assert (refused.exit_code, "could lose records" in refused.stderr) == (4, True), refused.output
        away.start()
        await cluster.until(lambda: away.parts is not None and away.broker.health().ready, "it is back")


async def test_a_new_node_takes_the_place_of_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it had, and its place; it goes on when the node that plans it ends half way."""
    monkeypatch.setattr(move_turns, "MOVES_AT_ONCE", 0)  # Until all were asked.
    async with NodeCluster.running(tmp_path, 4) as cluster:
        await cluster.create(TOPIC, partitions=4, replicas=3)
        dead = next(node for node in cluster.up if not node.running.metadata.leads_here)
        alive = [node for node in cluster.up if node is not dead]
        held = _replicas(dead)
        ledger = Ledger(TOPIC, 4)
        async with ledger.writing([node.url for node in alive]):
            await ledger.wait_acknowledged(100)
            path = f"/v1/nodes/{dead.node_id}/replacement"
            new = await cluster.grow("n5", seeds=(alive[0].node_id,))
            status, problem = await _call(cluster, alive[0], "POST", path, {"node_id": "n5"})
            assert (status, "node drain" in problem["detail"]) == (409, True), "it runs"
            await dead.stop()
            await cluster.until(
                lambda: not any(node.broker.hears(dead.node_id) for node in cluster.up), "all know that"
            )
            doors = [*alive, new]
            refused = [
                ({"node_id": "n9"}, 409, "--join"),
                ({"node_id": dead.node_id}, 400, "rebuilt by itself"),
                ({"node_id": ""}, 400, "is empty"),
                ({}, 400, "node_id"),
            ]
            for door in doors:
                for body, expected, words in refused:
                    status, problem = await _call(cluster, door, "POST", path, body)
                    assert (status, words in problem["detail"]) == (expected, True), (body, problem)
                status, _ = await _call(cluster, door, "POST", "/v1/nodes/n9/replacement", {"node_id": "n5"})
                assert status == 404
            for door in doors:
                status, said = await _call(cluster, door, "POST", path, {"node_id": "n5"})
                assert (status, said["replaced_by"], said["removing"]) == (202, "n5", True)
                status, problem = await _call(cluster, door, "POST", path, {"node_id": alive[0].node_id})
                assert (status, "takes the place" in problem["detail"]) == (409, True)
                status, problem = await _call(cluster, door, "POST", "/v1/nodes/n5/drain")
                assert (status, "takes the place" in problem["detail"]) == (409, True)
            monkeypatch.setattr(move_turns, "MOVES_AT_ONCE", 1)
            await cluster.until(
                lambda: 0 < _replicas(new)[dead.node_id] < held[dead.node_id], "it is half way"
            )
            await cluster.until(lambda: any(node.running.metadata.leads_here for node in alive), "a planner")
            planner = next(node for node in alive if node.running.metadata.leads_here)
            await planner.stop()
            planner.start()
            await cluster.until(lambda: planner.parts is not None, "it runs again")
            waited = await _command(new, "node", "replace", dead.node_id, "n5", "--yes")
            assert waited.exit_code in (0, 3), waited.output
            await _settled(cluster, {node.node_id for node in doors}, 3)
            await ledger.wait_acknowledged(100)
        assert ledger.unsettled == {}
        await ledger.check([node.url for node in doors])
        assert _replicas(new) == {
            ("n5" if name == dead.node_id else name): count for name, count in held.items()
        }, "each of the others has what it had"


async def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    """A node that has a replica itself can have no other one, and there is nobody else."""
    async with NodeCluster.running(tmp_path, 3) as cluster:
        await cluster.create(TOPIC, partitions=2, replicas=3)
        dead, *alive = sorted(cluster.up, key=lambda node: node.running.metadata.leads_here)
        await dead.stop()
        await cluster.until(
            lambda: not any(node.broker.hears(dead.node_id) for node in alive), "all know that"
        )
        for door in alive:
            path, body = f"/v1/nodes/{dead.node_id}/replacement", {"node_id": alive[0].node_id}
            status, problem = await _call(cluster, door, "POST", path, body)
            assert (status, "let one more node join" in problem["detail"]) == (409, True), problem
        assert not alive[0].running.metadata.state.draining


async def test_who_leads_the_metadata_hands_that_over_before_it_goes(tmp_path: Path) -> None:
    """When it is drained, and when it is removed at once, at its own door and another's: changes go on."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        going: list[TestNode] = []
        changes: list[int] = []
        over = asyncio.Event()

        async def change() -> None:
            """Changes of the metadata at nodes that stay."""
            while not over.is_set():
                door = next(node for node in cluster.up if node not in going)
                method = ("POST", "DELETE")[len(changes) % 2]
                changes.append((await _call(cluster, door, method, "/v1/cluster/rebalance"))[0])

        async def leader() -> TestNode:
            def found() -> list[TestNode]:
                return [node for node in cluster.up if node.running.metadata.leads_here]

            await cluster.until(found, "a leader of the metadata")
            return found()[0]

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(change())
            drained = await leader()
            going.append(drained)
            await _call(cluster, drained, "POST", f"/v1/nodes/{drained.node_id}/drain")
            await cluster.until(lambda: not drained.running.metadata.leads_here, "it leads no more")
            for own_door in (True, False):
                gone = await leader()
                assert gone is not drained, "and does not again"
                going.append(gone)
                door = gone if own_door else drained
                async with cluster.session.delete(f"{door.url}/v1/nodes/{gone.node_id}") as answer:
                    assert (answer.status, await answer.text()) == (204, "")
                assert not gone.running.metadata.leads_here, "another one removed it"
                group = (await leader()).running.metadata.group
                assert group is not None
                assert gone.node_id not in group.membership.voters, "it may be switched off now"
                done = len(changes) + 2
                await cluster.until(lambda: len(changes) >= done, "changes go on")  # noqa: B023
                await gone.stop()
                del cluster.nodes[gone.node_id]
            over.set()
        assert set(changes) == {202}, Counter(changes)
