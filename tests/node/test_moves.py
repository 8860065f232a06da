"""Replicas move between the nodes of a running cluster while records are written and read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from floodmark.errors import Unavailable

from cli.main import floodmark
from consensus.types import Membership
from node.control import controller
from node.metadata.state import PartitionEntry
from tests.process.ledger import Ledger
from tests.support.newer import lead_metadata
from tests.support.nodes import NodeCluster, TestNode

TOPIC = "numbers"
PATH = "/v1/reassignments"


async def _call(node: TestNode, cluster: NodeCluster, method: str, body: Any = None) -> tuple[int, Any]:
    async with cluster.session.request(method, node.url + PATH, json=body) as answer:
        return answer.status, await answer.json()


async def _move(
    cluster: NodeCluster, node: TestNode, partition: int, replicas: Sequence[str] | None
) -> tuple[int, Any]:
    """Asked for again while a node that was held up is not heard."""
    wanted = {"topic": TOPIC, "partition": partition, "replicas": replicas}
    async with asyncio.timeout(30):
        while True:
            status, answer = await _call(node, cluster, "POST", {"reassignments": [wanted]})
            if status != 409 or "does not answer" not in answer["detail"]:
                return status, answer
            await asyncio.sleep(0.1)


def _entry(node: TestNode, partition: int = 0) -> PartitionEntry:
    return node.running.metadata.state.topics[TOPIC].partitions[partition]


def _others(cluster: NodeCluster, replicas: Sequence[str]) -> list[str]:
    return [name for name in cluster.nodes if name not in replicas]


async def _done(cluster: NodeCluster, partition: int, replicas: Sequence[str]) -> None:
    """Every node says that the partition is there, has the replica or none, and the group agrees."""
    group = _entry(cluster.up[0], partition).raft_group

    def is_there() -> bool:
        return all(
            _entry(node, partition).replicas == tuple(replicas)
            and group not in node.running.metadata.state.moves
            and (group in node.running.replicas.local) == (node.node_id in replicas)
            and (node.data_dir / "groups" / str(group)).exists() == (node.node_id in replicas)
            for node in cluster.up
        )

    await cluster.until(is_there, f"{TOPIC}/{partition} is on {replicas}")
    leader = await cluster.leader(TOPIC, partition)
    assert leader.running.replicas.local[group].group.membership == Membership(frozenset(replicas))


@pytest.fixture
async def five(tmp_path: Path) -> AsyncIterator[NodeCluster]:
    """Five nodes."""
    async with NodeCluster.running(tmp_path, 5) as cluster:
        yield cluster


async def test_replicas_move_under_load_and_nothing_is_lost(five: NodeCluster) -> None:
    """One follower, then the leader, then all three at once, asked for at all kinds of nodes."""
    await five.create(TOPIC, partitions=1, replicas=3)
    urls = [node.url for node in five.up]
    ledger = Ledger(TOPIC, 1)
    async with ledger.writing(urls):
        await ledger.wait_acknowledged(200)
        leader = (await five.leader(TOPIC)).node_id
        before = _entry(five["n1"]).replicas
        follower = next(node for node in before if node != leader)
        new, newer = _others(five, before)
        steps = [
            [new if node == follower else node for node in before],
            [newer if node == leader else new if node == follower else node for node in before],
        ]
        steps.append([leader, follower, next(node for node in before if node not in (leader, follower))])
        for number, replicas in enumerate(steps):
            door = five.up[number]
            status, answer = await _move(five, door, 0, replicas)
            assert status == 202, answer
            assert [row["target"] for row in answer["reassignments"]] == [replicas]
            await _done(five, 0, replicas)
            await ledger.wait_acknowledged(200)
    assert ledger.unsettled == {}
    await ledger.check(urls)


async def test_a_move_away_from_a_dead_node_needs_it_no_more(five: NodeCluster) -> None:
    """The dead one is replaced; then another of those that were there may go, and all goes on."""
    await five.create(TOPIC, partitions=1, replicas=3)
    dead = next(node for node in _entry(five["n1"]).replicas if not five[node].running.metadata.leads_here)
    await five[dead].stop()
    alive = [node.node_id for node in five.up]
    urls = [node.url for node in five.up]
    ledger = Ledger(TOPIC, 1)
    async with ledger.writing(urls):
        await ledger.wait_acknowledged(100)
        before = _entry(five.up[0]).replicas
        new = next(node for node in alive if node not in before)
        replicas = [new if node == dead else node for node in before]
        assert (await _move(five, five.up[0], 0, replicas))[0] == 202
        await _done(five, 0, replicas)
        await ledger.wait_acknowledged(100)
    assert ledger.unsettled == {}
    await ledger.check(urls)
    five[dead].start()
    await five.ready()
    group = _entry(five.up[0]).raft_group
    await five.until(
        lambda: not (five[dead].data_dir / "groups" / str(group)).exists(),
        "the returned one deletes its data",
    )


async def test_a_move_is_undone_where_its_node_does_not_come(five: NodeCluster) -> None:
    """It is under way and cannot end; undone, the partition is as before and the rest of it is gone."""
    await five.create(TOPIC, partitions=1, replicas=3)
    before = _entry(five["n1"]).replicas
    controller = await lead_metadata(five, before[1])
    new = five[_others(five, before)[0]]
    group = _entry(five["n1"]).raft_group
    replicas = [new.node_id, *before[1:]]
    # The new replica's disk has no room for a folder: something else stands there.
    (new.data_dir / "groups").mkdir(exist_ok=True)
    (new.data_dir / "groups" / str(group)).write_text("in the way")
    assert (await _move(five, five["n1"], 0, replicas))[0] == 202

    async def rows(node: TestNode) -> Any:
        status, answer = await _call(node, five, "GET")
        assert status == 200
        return answer["reassignments"]

    for node in five.up:
        row: Any = {}
        async with asyncio.timeout(20):
            while not row.get("catching_up"):  # Until it began, and the leader answers.
                (row,) = await rows(node)
        assert (row["topic"], row["partition"], row["started"], row["arrived"]) == (TOPIC, 0, True, False)
        assert (row["replicas"], row["target"]) == (list(before), replicas)
        assert (row["adding"], row["removing"]) == ([new.node_id], [before[0]])
        assert row["leader"] in before
        assert [lacking["node"] for lacking in row["catching_up"]] == [new.node_id]
    follower = next(node for node in five.up if node is not controller)
    assert (await _move(five, follower, 0, None))[0] == 202
    (new.data_dir / "groups" / str(group)).unlink()
    await _done(five, 0, before)
    for node in five.up:
        assert await rows(node) == []
        assert (await _move(five, node, 0, None)) == (202, {"reassignments": []})


async def test_each_step_of_a_move_follows_the_one_before(
    five: NodeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leads looks when something has happened, and needs no clock; also where it is to leave itself."""
    await five.create(TOPIC, partitions=1, replicas=3)
    before = _entry(five["n1"]).replicas
    leader = (await five.leader(TOPIC)).node_id
    await five.ready()
    monkeypatch.setattr(controller, "LOOK_S", 1_000.0)
    looked = 0
    real = controller.MemberSteps.look

    async def look(steps: controller.MemberSteps) -> None:
        nonlocal looked
        looked += 1
        await real(steps)

    monkeypatch.setattr(controller.MemberSteps, "look", look)
    await five.until(lambda: looked >= len(five.up), "the last looks by the clock")
    seen = looked
    new = _others(five, before)[0]
    replicas = [new if node == leader else node for node in before]
    assert (await _move(five, five["n1"], 0, replicas))[0] == 202
    await _done(five, 0, replicas)
    assert looked == seen


async def test_no_step_is_taken_on_metadata_that_may_be_old(
    five: NodeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that cannot catch up changes no members; who is to come has a replica, and no vote."""
    await five.create(TOPIC, partitions=1, replicas=3)
    leader = await five.leader(TOPIC)
    group = leader.running.replicas.local[_entry(leader).raft_group].group
    before, members = _entry(leader).replicas, group.membership
    new = five[_others(five, before)[0]]
    asked = 0

    async def cut_off(**_: float) -> None:
        nonlocal asked
        asked += 1
        raise Unavailable("cut off from the metadata")

    with monkeypatch.context() as patch:
        patch.setattr(leader.running.metadata, "catch_up", cut_off)
        door = next(node for node in five.up if node is not leader)
        replicas = [new.node_id, *(node for node in before if node != leader.node_id)]
        assert (await _move(five, door, 0, replicas))[0] == 202
        await five.until(lambda: group.raft_group in new.running.replicas.local, "the new one has a replica")
        seen = asked
        await five.until(lambda: asked >= seen + 3, "the leader has tried again and again")
        assert group.membership == members
        assert not new.running.replicas.local[group.raft_group].group.may_vote
        assert new.broker.health().ready, "nothing depends on it yet"
    await _done(five, 0, replicas)
    assert new.running.replicas.local[group.raft_group].group.may_vote


async def _command(node: TestNode, *args: str) -> Result:
    return await asyncio.to_thread(
        CliRunner().invoke, floodmark, ["topic", *args, "--server", node.url], prog_name="floodmark"
    )


async def test_the_command_line_moves_shows_and_undoes(five: NodeCluster) -> None:
    """It stays until the replicas are there; what is not possible ends with its exit code."""
    await five.create(TOPIC, partitions=1, replicas=3)
    before = list(_entry(five["n1"]).replicas)
    new, newer = _others(five, before)
    moved = await _command(five[new], "move", f"{TOPIC}/0", f"{new},{before[1]}, {before[2]}")
    assert moved.exit_code == 0, moved.output
    assert f"{TOPIC}/0 is on {new},{before[1]},{before[2]}" in moved.stderr
    await _done(five, 0, [new, *before[1:]])
    listed = await _command(five[newer], "moves", "-o", "name")
    assert listed.exit_code == 0
    assert f"{TOPIC}/0" not in listed.stdout.splitlines()
    undone = await _command(five[newer], "move", f"{TOPIC}/0", "--cancel")
    assert (undone.exit_code, "nothing to move" in undone.stderr) == (0, True)
    for args, code in (
        ([TOPIC, "n1"], 2),
        ([f"{TOPIC}/x", "n1"], 2),
        ([f"{TOPIC}/0"], 2),
        ([f"{TOPIC}/0", "n1", "--cancel"], 2),
        ([f"{TOPIC}/1", "n1,n2,n3"], 3),
        (["other/0", "n1,n2,n3"], 3),
        ([f"{TOPIC}/0", "n1,n2,n9"], 3),
        ([f"{TOPIC}/0", "n1"], 1),
    ):
        assert (await _command(five["n1"], "move", *args)).exit_code == code, args


async def test_what_cannot_move_is_refused_alike_at_every_node(five: NodeCluster) -> None:
    """With the reason, and nothing of the request is done."""
    await five.create(TOPIC, partitions=2, replicas=3)
    before = list(_entry(five["n1"]).replicas)
    new, gone = _others(five, before)
    await five[gone].stop()
    good = {"topic": TOPIC, "partition": 1, "replicas": [new, *before[:2]]}
    cases: list[tuple[Any, int, str, str]] = [
        ({"topic": "other", "partition": 0, "replicas": before}, 404, "unknown_topic", "no topic other"),
        ({"topic": TOPIC, "partition": 2, "replicas": before}, 404, "unknown_partition", "0 to 1, not 2"),
        ({"topic": TOPIC, "partition": 0, "replicas": ["n9", *before[1:]]}, 404, "not_found", "no node n9"),
        ({"topic": TOPIC, "partition": 0, "replicas": before[:2]}, 400, "invalid_request", "3 replicas"),
        ({"topic": TOPIC, "partition": 0, "replicas": [new, new, new]}, 400, "invalid_request", "twice"),
        ({"topic": TOPIC, "partition": 1, "replicas": None}, 400, "invalid_request", "twice"),
        (
            {"topic": TOPIC, "partition": 0, "replicas": [gone, *before[1:]]},
            409,
            "conflict",
            "does not answer",
        ),
        ({"topic": TOPIC, "partition": 0, "replicas": []}, 400, "invalid_request", "expected here"),
        ({"topic": TOPIC, "partition": 0}, 400, "invalid_request", "replicas"),
    ]
    for bad, expected, code, what in cases:
        for node in five.up:
            status, problem = await _call(node, five, "POST", {"reassignments": [good, bad]})
            assert (status, problem["code"]) == (expected, code), (node.node_id, bad, problem)
            assert what in problem["detail"]
    for node in five.up:
        assert await _call(node, five, "GET") == (200, {"reassignments": []})


async def test_nothing_moves_below_the_feature_level(tmp_path: Path) -> None:
    """409 at every node, as with all that a newer build brings."""
    async with NodeCluster.running(tmp_path, 2, formed_at=2) as cluster:
        await cluster.create(TOPIC, replicas=1)
        for node in cluster.up:
            status, problem = await _move(cluster, node, 0, ["n1"])
            assert (status, problem["code"], problem["level"]) == (409, "feature_level_needed", 2)
            assert await _call(node, cluster, "GET") == (200, {"reassignments": []})
