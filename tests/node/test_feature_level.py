"""The cluster's feature level over whole nodes of two builds: shown, raised, and held to."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from floodmark.errors import Conflict

from cli.main import floodmark
from node.metadata.levels import Levels
from node.metadata.this_build import THIS_BUILD
from tests.support.newer import NEWER_BUILD, Paint, lead_metadata
from tests.support.nodes import NodeCluster, TestNode

PATH = "/v1/cluster/features"


async def _call(cluster: NodeCluster, node: TestNode, method: str, body: Any = None) -> tuple[int, Any]:
    async with cluster.session.request(method, node.url + PATH, json=body) as answer:
        return answer.status, await answer.json()


async def _alike(cluster: NodeCluster) -> Any:
    """What every node says, which is the same."""
    said = [await _call(cluster, node, "GET") for node in cluster.up]
    assert all(each == said[0] for each in said), said
    assert said[0][0] == 200, said[0]
    return said[0][1]


async def _command(node: TestNode, *args: str) -> Result:
    """A command of the command line that asks a node."""
    return await asyncio.to_thread(
        CliRunner().invoke, floodmark, ["cluster", *args, "--server", node.url], prog_name="floodmark"
    )


def _leader(cluster: NodeCluster) -> TestNode:
    (found,) = [node for node in cluster.up if node.running.metadata.leads_here]
    return found


async def _again(cluster: NodeCluster, name: str, levels: Levels) -> None:
    """Restart a node as another build."""
    await cluster[name].stop()
    cluster[name].levels = levels
    cluster[name].start()


async def test_a_cluster_is_upgraded_node_by_node_and_then_for_good(tmp_path: Path) -> None:
    """A rolling upgrade as an operator makes it, what is refused on the way, and a node that falls back."""
    newer = NEWER_BUILD
    async with NodeCluster.running(tmp_path, levels={"n1": newer, "n2": newer}) as cluster:
        assert await _alike(cluster) == {
            "level": 6,
            "can_finalize": None,
            "nodes": [
                {"node_id": "n1", "lowest": 1, "highest": 7},
                {"node_id": "n2", "lowest": 1, "highest": 7},
                {"node_id": "n3", "lowest": 1, "highest": 6},
            ],
        }
        for node in cluster.up:
            status, problem = await _call(cluster, node, "POST", {"level": 7})
            assert (status, problem["code"], problem["node"]) == (409, "conflict", "n3")
            assert "n3 knows feature levels 1 to 6, not 7" in problem["detail"]
            assert await _call(cluster, node, "POST", {"level": 6}) == (200, await _alike(cluster))

        # What needs the later level is not proposed before.
        metadata = (await lead_metadata(cluster, "n1", "n2")).running.metadata
        with pytest.raises(Conflict, match="paint_topic needs feature level 7; the cluster is at 6"):
            await metadata.propose(Paint("t"), timeout_s=7)

        await _again(cluster, "n3", newer)
        await cluster.ready()
        await cluster.until(
            lambda: all(node.running.metadata.state.nodes["n3"].levels == (1, 7) for node in cluster.up),
            "n3 is registered with what it knows",
        )
        assert (await _alike(cluster))["can_finalize"] == 7
        follower = next(node for node in cluster.up if node is not _leader(cluster))
        status, answer = await _call(cluster, follower, "POST", {"level": 7})
        assert (status, answer["level"], answer["can_finalize"]) == (200, 7, None)
        assert await _alike(cluster) == answer
        for node in cluster.up:
            assert await _call(cluster, node, "POST", {"level": 7}) == (200, answer)
            status, problem = await _call(cluster, node, "POST", {"level": 1})
            assert (status, problem["level"]) == (409, 7)
            assert "never lowered" in problem["detail"]
        assert await _leader(cluster).running.metadata.propose(Paint("t"), timeout_s=7) == "painted t"

        # An older build on one of the folders: the others name it, and it says so itself.
        await _again(cluster, "n3", THIS_BUILD)
        old = cluster["n3"]
        here = "this node knows feature levels 1 to 6, and the cluster is at 7: start a newer Floodmark here"
        there = "n3 knows feature levels 1 to 6, and the cluster is at 7: start a newer Floodmark there"
        await cluster.until(
            lambda: old.parts is not None and here in old.broker.health().reasons, "n3 says so itself"
        )
        await cluster.until(
            lambda: all(there in cluster[name].broker.health().warnings for name in ("n1", "n2")),
            "the others say so",
        )
        assert not old.broker.health().ready
        await cluster.ready("n1", "n2")
        assert (await _call(cluster, old, "GET"))[0] == 503
        await _again(cluster, "n3", newer)
        await cluster.ready()
        assert await _alike(cluster) == answer


async def test_a_node_without_a_vote_says_and_does_the_same(tmp_path: Path) -> None:
    """The sixth node only learns the metadata; a setting of the later level waits for it at every node."""
    later = dataclasses.replace(THIS_BUILD, settings={**THIS_BUILD.settings, "retention_bytes": 3})
    names = [f"n{number}" for number in range(1, 7)]
    async with NodeCluster.running(tmp_path, 6, levels=dict.fromkeys(names, later), formed_at=1) as cluster:
        learner = cluster["n6"]
        config = {"config": {"retention_bytes": 1_000_000}}

        async def make(node: TestNode) -> tuple[int, Any]:
            url = f"{node.url}/v1/topics/t-{node.node_id}"
            async with cluster.session.put(url, json=config) as answer:
                return answer.status, await answer.json()

        for node in (learner, _leader(cluster)):
            status, problem = await make(node)
            assert (status, problem["code"], problem["level"]) == (409, "feature_level_needed", 1)
            assert "setting retention_bytes needs feature level 3; the cluster is at 1" in problem["detail"]
        await cluster.create("plain", replicas=6)
        assert (await _alike(cluster))["can_finalize"] == THIS_BUILD.highest
        status, answer = await _call(cluster, learner, "POST", {"level": 3})
        assert (status, answer["level"]) == (200, 3)
        assert await _alike(cluster) == answer
        assert (await make(learner))[0] == 201


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (None, "level"),
        ({}, "level"),
        ({"level": "2"}, "int"),
        ({"level": 2, "force": True}, "force"),
        ({"level": 0}, "1 to 1000000"),
        ({"level": 1 << 70}, ""),
    ],
)
async def test_what_is_no_level_is_refused(tmp_path: Path, body: Any, what: str) -> None:
    """400, with what is wrong."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        status, problem = await _call(cluster, cluster["n1"], "POST", body)
        assert (status, problem["code"]) == (400, "invalid_request")
        assert what in problem["detail"]


async def test_the_command_line_shows_and_raises_the_level(tmp_path: Path) -> None:
    """A table and documents; to the highest that all know unless one is named; conflicts end with 4."""
    newer = NEWER_BUILD
    names = {"n1": newer, "n2": newer, "n3": newer}
    async with NodeCluster.running(tmp_path, levels=names, formed_at=1) as cluster:
        node = cluster["n2"]
        shown = await _command(node, "features")
        assert shown.exit_code == 0, shown.output
        # The nodes of this process log to the same stdout.
        rows = [line.split() for line in shown.stdout.splitlines() if line.startswith("n")]
        assert rows == [[name, "1", "to", "7", "1", "7"] for name in names]
        refused = await _command(node, "upgrade", "--finalize", "8")
        assert refused.exit_code == 4
        assert "n1 knows feature levels 1 to 7, not 8" in refused.stderr
        assert (await _command(node, "upgrade", "--finalize", "two")).exit_code == 2
        assert (await _command(node, "upgrade")).exit_code == 2
        raised = await _command(node, "upgrade", "--finalize", "-o", "json")
        assert "is now at feature level 7; it was at 1" in raised.stderr
        begin = raised.stdout.index("{\n")
        assert json.JSONDecoder().raw_decode(raised.stdout, begin)[0]["level"] == 7
        again = await _command(node, "upgrade", "--finalize")
        assert (again.exit_code, "stays at feature level 7" in again.stderr) == (0, True)
        assert (await _command(node, "upgrade", "--finalize", "1")).exit_code == 4


@pytest.mark.parametrize("count", [1, 3, 6])
async def test_a_new_cluster_begins_at_the_highest_level_that_all_its_nodes_know(
    tmp_path: Path, count: int
) -> None:
    """It is there once the nodes are ready. An older node among the first ones keeps it down."""
    names = [f"n{number}" for number in range(1, count + 1)]
    async with NodeCluster.running(tmp_path / "new", count) as cluster:
        assert (await _alike(cluster))["level"] == THIS_BUILD.highest
    older = dataclasses.replace(THIS_BUILD, highest=1)
    async with NodeCluster.running(tmp_path / "mixed", count, levels={names[-1]: older}) as cluster:
        assert (await _alike(cluster))["level"] == 1
        formation = cluster["n1"].running.metadata.state.formation
        await cluster.create("t")
        await _again(cluster, names[-1], THIS_BUILD)
        await cluster.ready()
        await cluster.until(
            lambda: cluster["n1"].running.metadata.state.nodes[names[-1]].levels == (1, THIS_BUILD.highest),
            "it is registered with what it knows",
        )
        told = await _alike(cluster)
        assert (told["level"], told["can_finalize"]) == (1, THIS_BUILD.highest), "its operator decides now"
        assert cluster["n1"].running.metadata.state.formation == formation


async def test_a_cluster_from_before_there_were_names_stays_at_its_level(tmp_path: Path) -> None:
    """Its operator may want to go back to the build before."""
    async with NodeCluster.running(tmp_path, formed_at=1) as cluster:
        await cluster.create("t", replicas=1)
        for node in cluster.up:
            node.running.metadata.state.formation = ""
        leader = _leader(cluster)
        await cluster.until(lambda: leader.running.metadata.state.formation, "named again")
        assert (await _alike(cluster))["level"] == 1


async def test_a_node_that_lost_what_others_know_is_raised_with_them(tmp_path: Path) -> None:
    """A build from before levels left them out of its checkpoint, and this build goes on from that."""
    async with NodeCluster.running(tmp_path, formed_at=1) as cluster:
        lost = next(node for node in cluster.up if node is not _leader(cluster))
        known = lost.running.metadata.state.nodes
        for name, entry in list(known.items()):
            known[name] = msgspec.structs.replace(entry, levels=(1, 1))
        status, said = await _call(cluster, lost, "GET")
        assert (status, said["can_finalize"]) == (200, THIS_BUILD.highest)
        status, raised = await _call(cluster, lost, "POST", {"level": THIS_BUILD.highest})
        assert (status, raised["level"]) == (200, THIS_BUILD.highest)
        for node in cluster.up:
            await node.broker.catch_up(timeout_s=10)
            state = node.running.metadata.state
            assert state.level == THIS_BUILD.highest, node.node_id
            assert {entry.levels for entry in state.nodes.values()} == {(1, THIS_BUILD.highest)}
