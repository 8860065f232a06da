"""Positions of groups on whole nodes: by every node, past leaders, restarts, and feature levels."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

from floodmark.format import batch
from floodmark.format.record import Record

from node.metadata.this_build import THIS_BUILD
from tests.support.nodes import NodeCluster, TestNode

PARTITION = "/v1/topics/out/partitions/0"
POSITIONS = f"{PARTITION}/positions/g"
Answer = tuple[int, dict[str, Any]]


async def call(cluster: NodeCluster, node: TestNode, method: str, path: str, **how: Any) -> Answer:
    """Status and document; an empty one where there is none."""
    async with cluster.session.request(method, node.url + path, **how) as answer:
        return answer.status, await answer.json() if answer.status != 204 else {}


def headers(sequence: int, position: str, *, epoch: int = 0, name: str = "p") -> dict[str, str]:
    """Of a produce in a producer's name, made from a source."""
    return {
        "Producer-Id": name,
        "Producer-Epoch": str(epoch),
        "Producer-Seq": str(sequence),
        "Floodmark-Position": position,
    }


async def produce(cluster: NodeCluster, node: TestNode, value: int, **how: Any) -> Answer:
    """One record."""
    return await call(cluster, node, "POST", f"{PARTITION}/records", json={"value": value}, **how)


async def kept(cluster: NodeCluster, node: TestNode) -> list[tuple[int, int, int | None, int]]:
    """What a node says that the partition keeps of the group."""
    status, found = await call(cluster, node, "GET", POSITIONS)
    assert status == 200, found
    assert (found["group"], found["partition"]) == ("g", 0)
    return [
        (each["topic_id"], each["partition"], each["next_offset"], each["producer_epoch"])
        for each in found["positions"]
    ]


async def metrics_of(cluster: NodeCluster, node: TestNode) -> dict[str, float]:
    """How many positions its replicas keep."""
    async with cluster.session.get(f"{node.url}/metrics") as answer:
        rows = [line.removeprefix("floodmark_node_").split() for line in (await answer.text()).splitlines()]
    return {row[0]: float(row[1]) for row in rows if row and row[0].startswith("positions")}


async def kinds(cluster: NodeCluster) -> list[TestNode]:
    """The leader, a follower, and a node without a replica."""
    leader = await cluster.leader("out")
    entry = cluster.up[0].running.metadata.state.topics["out"].partitions[0]
    follower = next(name for name in entry.replicas if name != leader.node_id)
    other = next(name for name in cluster.nodes if name not in entry.replicas)
    return [leader, cluster[follower], cluster[other]]


async def test_a_position_is_stored_refused_and_told_at_every_kind_of_node(tmp_path: Path) -> None:
    """With a body of ours, and with a record batch; the answers do not depend on the node."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("out", replicas=2)
        nodes = await kinds(cluster)
        for node in nodes:
            assert await kept(cluster, node) == []
        for number, node in enumerate(nodes):
            stored = await produce(cluster, node, number, headers=headers(number, f"g;7;3;{10 + number}"))
            assert (stored[0], stored[1]["first_offset"]) == (200, number)
            for other in nodes:
                assert await kept(cluster, other) == [(7, 3, 10 + number, 0)]
                again = await produce(cluster, other, number, headers=headers(number, f"g;7;3;{10 + number}"))
                assert (again[0], again[1]["duplicate"]) == (200, True)
                for position in (10 + number, 1):
                    status, refused = await produce(
                        cluster, other, 9, headers=headers(number + 1, f"g;7;3;{position}")
                    )
                    assert (status, refused["code"], refused["next_offset"]) == (
                        409,
                        "position_conflict",
                        10 + number,
                    )
        for number, node in enumerate(nodes):
            body = batch.encode(
                [Record(0, None, b"batch")],
                producer_id=batch.producer_id_of("q"),
                sequence=number,
                format=2,
            )
            status, _ = await call(
                cluster,
                node,
                "POST",
                f"{PARTITION}/records",
                data=body,
                headers={
                    "Content-Type": "application/vnd.floodmark.batch;v=1",
                    "Floodmark-Position": f"g;8;0;{number}",
                },
            )
            assert status == 200
        assert await kept(cluster, nodes[1]) == [(7, 3, 12, 0), (8, 0, 2, 0)]
        status, page = await call(cluster, nodes[2], "GET", f"{PARTITION}/records")
        assert [record.get("value", "batch") for record in page["records"]] == [0, 1, 2, *["batch"] * 3]


async def test_who_begins_an_epoch_fences_the_others_and_learns_where_they_were(tmp_path: Path) -> None:
    """Also in flight, on the next leader, and after a restart of all nodes with a checkpoint."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("out", replicas=2)
        nodes = await kinds(cluster)
        source = {"topic_id": 7, "partition": 3}
        for epoch, node in enumerate(nodes):
            status, begun = await call(cluster, node, "POST", POSITIONS, json=source)
            expected = None if epoch == 0 else 10 * epoch
            assert (status, begun["producer_epoch"], begun["next_offset"]) == (200, epoch, expected)
            for other in nodes:
                assert await kept(cluster, other) == [(7, 3, expected, epoch)]
            if epoch:
                for sequence, name in ((1, "p"), (0, "another")):
                    late_one = headers(sequence, "g;7;3;999", epoch=epoch - 1, name=name)
                    fenced = await produce(cluster, node, 99, headers=late_one)
                    assert (fenced[0], fenced[1]["code"]) == (403, "producer_fenced")
                    assert fenced[1]["current_epoch"] == epoch
            position = headers(0, f"g;7;3;{10 * (epoch + 1)}", epoch=epoch)
            assert (await produce(cluster, node, epoch, headers=position))[0] == 200
            beside = headers(0, "g;7;3;999", epoch=epoch, name="another")
            assert (await produce(cluster, node, 99, headers=beside))[1]["code"] == "producer_fenced"
        leader = nodes[0]
        partition = leader.broker.partition("out", 0)
        begun, late = await asyncio.gather(
            call(cluster, leader, "POST", POSITIONS, json=source),
            produce(cluster, leader, 99, headers=headers(1, "g;7;3;40", epoch=2)),
        )
        high = partition.bounds().high_watermark
        # Either it was stored before the epoch began, which then knows of it, or it is fenced.
        assert (begun[1]["next_offset"], late[0], high) in [(40, 200, 4), (30, 403, 3)]
        expected = (7, 3, begun[1]["next_offset"], 3)
        ((raft_group, replica),) = leader.running.replicas.local.items()
        term = replica.group.term
        await leader.stop()
        leader.start()
        await cluster.ready()
        after = (await cluster.leader("out")).running.replicas.local[raft_group]
        assert after.group.term > term, "another one led meanwhile"
        for node in cluster.up:
            assert await kept(cluster, node) == [expected]
        stale = headers(0, "g;7;3;999", epoch=2, name="another")
        fenced = await produce(cluster, cluster.up[0], 99, headers=stale)
        assert fenced[1]["code"] == "producer_fenced"
        for node in cluster.up:
            await node.stop()
        for node in nodes:
            node.start()
        await cluster.ready()
        for node in nodes:
            assert await kept(cluster, node) == [expected]
        status, _ = await call(cluster, nodes[2], "DELETE", POSITIONS)
        assert status == 204
        for node in nodes:
            assert await kept(cluster, node) == []
            assert (await call(cluster, node, "DELETE", POSITIONS))[0] == 204


async def test_a_position_moves_without_records_at_every_kind_of_node(tmp_path: Path) -> None:
    """By the rules of those that come with records, again and again; on disk as they are, and no record."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("out", replicas=2)
        nodes = await kinds(cluster)
        source = {"topic_id": 7, "partition": 3}
        begun = await call(cluster, nodes[0], "POST", POSITIONS, json={**source, "producer": "p"})
        assert begun[1]["producer_epoch"] == 0

        async def move(node: TestNode, next_offset: object, **other: Any) -> Answer:
            moved = {**source, "producer": "p", "producer_epoch": 0, "next_offset": next_offset, **other}
            return await call(cluster, node, "PUT", POSITIONS, json=moved)

        for number, node in enumerate(nodes):
            at = 10 * (number + 1)
            for again in nodes:
                shown = {"group": "g", **source, "next_offset": at, "producer_epoch": 0}
                assert await move(again, at) == (200, shown)
            for other in nodes:
                assert await kept(cluster, other) == [(7, 3, at, 0)]
                status, refused = await move(other, at - 1)
                assert (status, refused["code"], refused["next_offset"]) == (409, "position_conflict", at)
                late = await produce(cluster, other, 99, headers=headers(number, f"g;7;3;{at}"))
                assert (late[0], late[1]["code"]) == (409, "position_conflict")
                fenced = await move(other, at + 1, producer="q")
                assert (fenced[0], fenced[1]["code"]) == (403, "producer_fenced")
                for wrong in (
                    {"producer_epoch": -1},
                    {"producer_epoch": 1 << 32},
                    {"producer": ""},
                    {"x": 1},
                ):
                    status, refused = await move(other, at + 1, **wrong)
                    assert (status, refused["code"]) == (400, "invalid_request")
                for nowhere in (-1, 1 << 62, None):
                    status, refused = await move(other, nowhere)
                    assert (status, refused["code"]) == (400, "invalid_request")
            stored = await produce(cluster, node, number, headers=headers(number, f"g;7;3;{at + 1}"))
            assert (stored[0], stored[1]["first_offset"]) == (200, number)
        assert (await move(nodes[2], 40))[0] == 200
        assert await metrics_of(cluster, nodes[0]) == {"positions": 1, "positions_most": 1}
        assert await metrics_of(cluster, nodes[2]) == {"positions": 0, "positions_most": 0}
        begun = await call(cluster, nodes[1], "POST", POSITIONS, json={**source, "producer": "p"})
        assert (begun[1]["next_offset"], begun[1]["producer_epoch"]) == (40, 1)
        fenced = await move(nodes[2], 50)
        assert (fenced[0], fenced[1]["code"], fenced[1]["current_epoch"]) == (403, "producer_fenced", 1)
        assert (await move(nodes[2], 50, producer_epoch=1))[0] == 200
        for node in cluster.up:
            await node.stop()
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        for node in nodes:
            assert await kept(cluster, node) == [(7, 3, 50, 1)]


NAMELESS = {"topic_id": 1, "partition": 0, "producer": ""}
REFUSED = {
    "g;7;3": "invalid_request",
    "g;7;3;1;2": "invalid_request",
    "g;x;3;1": "invalid_request",
    "g;7;3;-1": "invalid_request",
    "g;7;3;\u0661": "invalid_request",
    "g;0;3;1": "invalid_request",
    "g;7;3;99999999999999999999": "invalid_request",
    "g;7;9999999999;1": "invalid_request",
    "a/b;7;3;1": "invalid_name",
    ";7;3;1": "invalid_name",
    "x" * 250 + ";7;3;1": "invalid_name",
}


async def test_what_is_no_position_is_refused_at_every_kind_of_node(tmp_path: Path) -> None:
    """With words, and nothing is stored; likewise what is no source, and positions without a producer."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("out", replicas=2)
        for node in await kinds(cluster):
            for position, code in REFUSED.items():
                status, refused = await produce(cluster, node, 1, headers=headers(0, position))
                assert (status, refused["code"]) == (400, code), (position, refused)
            lone = await produce(cluster, node, 1, headers={"Floodmark-Position": "g;7;3;1"})
            assert (lone[0], lone[1]["code"]) == (400, "invalid_request")
            for body in (
                {},
                {"topic_id": 0, "partition": 0},
                {"topic_id": 1, "partition": -1},
                [],
                {"a": 1},
                NAMELESS,
            ):
                status, refused = await call(cluster, node, "POST", POSITIONS, json=body)
                assert (status, refused["code"]) == (400, "invalid_request"), body
            by_key = "/v1/topics/out/records"
            status, refused = await call(
                cluster, node, "POST", by_key, json={"value": 1}, headers=headers(0, "g;7;3;1")
            )
            assert (status, refused["code"]) == (400, "invalid_request")
            for path in ("out/partitions/9", "none/partitions/0"):
                assert (await call(cluster, node, "GET", f"/v1/topics/{path}/positions/g"))[0] == 404
            assert await kept(cluster, node) == []
        assert (await cluster.on_leader("out")).bounds().high_watermark == 0


async def test_a_cluster_below_the_level_refuses_positions_until_it_is_raised(tmp_path: Path) -> None:
    """At every node, whoever leads: a node of an older build would store the records and not the position."""
    older = dataclasses.replace(THIS_BUILD, highest=4)
    async with NodeCluster.running(tmp_path, 2, levels={"n1": older}) as cluster:
        await cluster.create("out")
        for node in cluster.up:
            for answer in (
                await produce(cluster, node, 1, headers=headers(0, "g;7;3;1")),
                await call(cluster, node, "GET", POSITIONS),
                await call(cluster, node, "POST", POSITIONS, json={"topic_id": 7, "partition": 3}),
                await call(cluster, node, "DELETE", POSITIONS),
            ):
                assert (answer[0], answer[1]["code"]) == (409, "feature_level_needed")
                assert (answer[1]["needs"], answer[1]["level"]) == (5, 4)
        assert (await cluster.on_leader("out")).bounds().high_watermark == 0
        await cluster["n1"].stop()
        cluster["n1"].levels = THIS_BUILD
        cluster["n1"].start()
        await cluster.ready()
        async with asyncio.timeout(20):
            while True:
                raised = await call(cluster, cluster["n2"], "POST", "/v1/cluster/features", json={"level": 5})
                if raised[0] == 200:
                    break
                await asyncio.sleep(0.05)
        for number, node in enumerate(cluster.up):
            stored = await produce(cluster, node, 1, headers=headers(number, f"g;7;3;{number + 1}"))
            assert stored[0] == 200
            assert await kept(cluster, node) == [(7, 3, number + 1, 0)]
            moved = {"topic_id": 7, "partition": 3, "next_offset": 9, "producer": "p", "producer_epoch": 0}
            answer = await call(cluster, node, "PUT", POSITIONS, json=moved)
            assert (answer[0], answer[1]["code"]) == (409, "feature_level_needed")
            assert (answer[1]["needs"], answer[1]["level"]) == (6, 5)
