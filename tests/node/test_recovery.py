"""A majority of the nodes is lost for good: real folders, recovered as an operator does it, and started."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cli.main import floodmark
from node.membership.identity import Standing
from node.metadata.domains.recoveries import OFFSETS_PER_EPOCH
from node.metadata.levels import MEMBERSHIP
from node.metadata.this_build import THIS_BUILD
from tests.node.test_cluster import payload, produce, values
from tests.support.nodes import NodeCluster, TestNode


def run(*args: object) -> Result:
    """A command of the command line, in this thread."""
    return CliRunner().invoke(floodmark, ["recover", *map(str, args)], prog_name="floodmark")


async def recover(folder: Path, *survivors: TestNode) -> dict[str, Any]:
    """Each on a machine of its own: surveys, a plan of them, the plan on each. What was told before."""

    def work() -> dict[str, Any]:
        surveys = [folder / f"{node.node_id}.survey" for node in survivors]
        for node, file in zip(survivors, surveys, strict=True):
            done = run("survey", node.data_dir, "--to", file)
            assert done.exit_code == 0, done.stderr
        plan = folder / "plan.json"
        made = run("plan", *surveys, "--to", plan, "-o", "json")
        assert made.exit_code == 0, made.stderr
        for node in survivors:
            done = run("apply", plan, node.data_dir, "--yes")
            assert done.exit_code == 0, done.stderr
        return json.loads(made.stdout)

    return await asyncio.to_thread(work)


async def stop(*nodes: TestNode) -> None:
    """All at once."""
    await asyncio.gather(*(node.stop() for node in nodes))


async def fill(cluster: NodeCluster, topic: str, partitions: int) -> list[list[bytes]]:
    """Ten records for each partition, one by one; what they are."""
    written = []
    for number in range(partitions):
        partition = await cluster.on_leader(topic, number)
        bodies = [f"{topic}/{number}/{count}".encode() for count in range(10)]
        for body in bodies:
            await produce(partition, payload([body]))
        written.append(bodies)
    return written


async def test_one_node_of_three_is_left(tmp_path: Path) -> None:
    """All that it had is there and can be added to; what it never had is said before. Its old fellows are
    refused by it, take part in nothing, and come back as voters with empty folders.
    """
    async with NodeCluster.running(tmp_path) as cluster:
        n1, n2, n3 = cluster.nodes.values()
        await cluster.create("orders", partitions=2)
        await cluster.create("solo", partitions=3, replicas=1)
        kept = await fill(cluster, "orders", 2)
        alone = await fill(cluster, "solo", 3)
        solo = n1.running.metadata.state.topics["solo"].partitions
        await stop(n1, n2, n3)
        n2.data_dir.rename(tmp_path / "old n2")
        shutil.rmtree(n3.data_dir)

        told = await recover(tmp_path, n1)
        assert (told["cluster_epoch"], told["nodes"], told["lost"]) == (1, ["n1"], ["n2", "n3"])
        losses = {(group["topic"], group["partition"]): group["loss"] for group in told["groups"]}
        mine = [entry.number for entry in solo if entry.replicas == ("n1",)]
        assert len(mine) == 1
        assert losses == {
            ("(metadata)", None): "possible",
            ("orders", 0): "possible",
            ("orders", 1): "possible",
            **{("solo", number): "all" for number in range(3) if number not in mine},
        }

        n1.start()
        await cluster.ready("n1")
        state = n1.running.metadata.state
        assert (state.level, state.cluster_epoch, [*state.nodes]) == (THIS_BUILD.highest, 1, ["n1"])
        assert state.recoveries[0].lost == ("n2", "n3")
        assert set(state.recoveries[0].chosen.values()) == {"n1"}
        for number in range(2):
            partition = await cluster.on_leader("orders", number)
            assert await values(partition) == kept[number]
            assert (await produce(partition, payload([b"on"]))).first_offset == 10
        for number in range(3):
            partition = await cluster.on_leader("solo", number)
            assert await values(partition) == (alone[number] if number in mine else [])
            first = (await produce(partition, payload([b"on"]))).first_offset
            assert first == (10 if number in mine else OFFSETS_PER_EPOCH)

        shutil.copytree(tmp_path / "old n2", n2.data_dir)
        n2.start()
        await cluster.until(
            lambda: n1.running.discovery.refusals and n2.parts and n2.running.discovery.outdated, "refusals"
        )
        assert "n2 holds data from before this cluster was recovered" in n1.running.discovery.refusals[0]
        obstacle = n2.broker.health().reasons[0]
        assert "the cluster was recovered without this data folder (cluster epoch 1 at n1" in obstacle
        assert n2.running.metadata.group is None
        await n2.stop()
        shutil.rmtree(n2.data_dir)

        n2.start()
        n3.start()
        await cluster.ready()
        await cluster.until(
            lambda: n1.running.metadata.group.membership.voters == {"n1", "n2", "n3"}, "they vote again"
        )
        assert {node.running.discovery.identity.epoch for node in cluster.up} == {1}
        assert n2.running.discovery.standing is Standing.WIPED


async def test_two_nodes_of_five_are_left_with_unequal_logs(tmp_path: Path) -> None:
    """Each partition goes on from the one that has more of it; the other one fetches that, and both vote."""
    async with NodeCluster.running(tmp_path, 5) as cluster:
        *gone, n4, n5 = cluster.nodes.values()
        await cluster.create("wide", replicas=5)
        await cluster.create("pairs", partitions=10, replicas=2)
        pairs = await fill(cluster, "pairs", 10)
        placed = n4.running.metadata.state.topics["pairs"].partitions
        first = await fill(cluster, "wide", 1)
        await n5.stop()
        second = await fill(cluster, "wide", 1)
        await stop(*gone, n4)
        for node in gone:
            shutil.rmtree(node.data_dir)

        told = await recover(tmp_path, n4, n5)
        groups = {(group["topic"], group["partition"]): group for group in told["groups"]}
        wide = groups["wide", 0]
        assert (wide["chosen"], wide["others"], wide["loss"]) == ("n4", ["n5"], "possible")
        assert [each["next_offset"] for each in wide["replicas"]] == [20, 10]
        survivors = {"n4", "n5"}
        for entry in placed:
            left = survivors.intersection(entry.replicas)
            group = groups.get(("pairs", entry.number))
            assert (group is None) == (left == survivors), entry
            if group is not None:
                assert group["loss"] == ("possible" if left else "all"), entry
        assert {group["loss"] for group in told["groups"]} == {"possible", "all"}

        n4.start()
        n5.start()
        await cluster.ready("n4", "n5")
        assert await values(await cluster.on_leader("wide")) == first[0] + second[0]
        for entry in placed:
            found = await values(await cluster.on_leader("pairs", entry.number))
            assert found == (pairs[entry.number] if survivors.intersection(entry.replicas) else []), entry
        raft_group = wide["group"]
        await cluster.until(
            lambda: all(
                node.running.replicas.local[raft_group].group.membership.voters == survivors
                and node.running.replicas.local[raft_group].group.may_vote
                for node in (n4, n5)
            ),
            "both vote",
        )
        await fill(cluster, "wide", 1)
        assert n5.running.replicas.local[raft_group].log.next_offset == 30


async def test_a_cluster_of_an_earlier_level_is_recovered_twice(tmp_path: Path) -> None:
    """The first time raises its level; the second one leaves out a folder of the first, which is refused."""
    async with NodeCluster.running(tmp_path, formed_at=1) as cluster:
        n1, n2, n3 = cluster.nodes.values()
        await cluster.create("orders")
        await cluster.create("solo", partitions=3, replicas=1)
        (kept,) = await fill(cluster, "orders", 1)
        assert n1.running.metadata.state.level == 1
        await stop(n1, n2, n3)
        for node in (n2, n3):
            shutil.rmtree(node.data_dir)
        assert (await recover(tmp_path, n1))["cluster_epoch"] == 1
        for node in (n1, n2, n3):
            node.start()
        await cluster.ready()
        assert n1.running.metadata.state.level == MEMBERSHIP
        assert await values(await cluster.on_leader("orders")) == kept
        entry = n1.running.metadata.state.topics["orders"].partitions[0]
        await cluster.until(
            lambda: all(
                group.membership.voters == {"n1", "n2", "n3"}
                for group in (n1.running.metadata.group, n1.running.replicas.local[entry.raft_group].group)
            ),
            "there are three of all again",
        )
        await stop(n1, n2, n3)
        (tmp_path / "n1").rename(tmp_path / "old n1")
        shutil.rmtree(n2.data_dir)

        told = await recover(tmp_path, n3)
        assert [group["loss"] for group in told["groups"]] == ["possible", "possible", "all", "all", "all"]
        n3.start()
        await cluster.ready("n3")
        begins = 2 * OFFSETS_PER_EPOCH
        assert await values(await cluster.on_leader("orders")) == kept
        url = f"{n3.url}/v1/topics/solo/partitions/0/records"
        async with cluster.session.get(url, params={"from": 5}) as answer:
            problem = await answer.json()
            assert (answer.status, problem["code"]) == (410, "offset_below_start"), problem
            assert problem["log_start_offset"] == begins
        async with cluster.session.get(f"{n3.url}/v1/cluster") as answer:
            picture = await answer.json()
        assert picture["cluster_epoch"] == 2
        assert [each["lost_nodes"] for each in picture["recoveries"]] == [["n2", "n3"], ["n1", "n2"]]
        assert [each["emptied_partitions"] for each in picture["recoveries"]] == [2, 3]
        assert await fill(cluster, "solo", 3)

        (tmp_path / "old n1").rename(n1.data_dir)
        n1.start()
        await cluster.until(lambda: n1.parts and n1.running.discovery.outdated, "it takes part in nothing")
        assert "cluster epoch 2 at n3, and here it is 1" in str(n1.running.discovery.outdated)
