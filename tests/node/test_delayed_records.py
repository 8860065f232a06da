"""Records that queues deliver later, on whole nodes: stored with their time wherever they are sent."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from floodmark import Client
from floodmark import sync as blocking
from floodmark.errors import FeatureLevelNeeded, InvalidRequest
from floodmark.format import batch
from floodmark.format.delivery import deliver_at_in
from floodmark.format.frame import iterate
from floodmark.format.frame_records import records_in
from floodmark.format.position import Position, position_in
from floodmark.format.record import Record

from cli.main import floodmark
from node.metadata.this_build import THIS_BUILD
from tests.support.nodes import NodeCluster, TestNode

PARTITION = "/v1/topics/t/partitions/0/records"
BY_KEY = "/v1/topics/t/records"
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
AT = 1_900_000_000_000
Answer = tuple[int, dict[str, Any]]


async def post(cluster: NodeCluster, node: TestNode, path: str, **how: Any) -> Answer:
    """Status and document."""
    how.setdefault("json", {"value": 1}) if "data" not in how else None
    async with cluster.session.post(node.url + path, **how) as answer:
        return answer.status, await answer.json()


async def stored(cluster: NodeCluster, node: TestNode) -> list[tuple[int | None, list[bytes | None]]]:
    """The time of delivery and the values of each entry, as a reader of the batches gets them."""
    url = f"{node.url}{PARTITION}?from=earliest"
    async with cluster.session.get(url, headers={"Accept": "application/vnd.floodmark.batch;v=1"}) as answer:
        frames = list(iterate(await answer.read()))
    return [
        (
            deliver_at_in(frame, frame.payload),
            [record.value for record in records_in(frame, frame.payload) if record is not None],
        )
        for frame in frames
        if frame.offset_count  # A new leader's first entry has no records.
    ]


async def kinds(cluster: NodeCluster, topic: str = "t") -> list[TestNode]:
    """The leader, a follower, and a node without a replica."""
    leader = await cluster.leader(topic)
    entry = cluster.up[0].running.metadata.state.topics[topic].partitions[0]
    follower = next(name for name in entry.replicas if name != leader.node_id)
    other = next(name for name in cluster.nodes if name not in entry.replicas)
    return [leader, cluster[follower], cluster[other]]


async def test_every_form_of_a_record_keeps_its_time_from_every_kind_of_node(tmp_path: Path) -> None:
    """By key and to a partition, one record and batches, in a producer's name and with a position; readers of
    the topic get all of it at once, and what has no time stays without.
    """
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2)
        expected: list[tuple[int | None, list[bytes | None]]] = []
        for number, node in enumerate(await kinds(cluster)):
            made = batch.encode([Record(0, None, b"ours")], format=2)
            in_name = {"Producer-Id": f"p{number}", "Producer-Seq": "0"}
            from_source = {
                "Producer-Id": "of g",
                "Producer-Seq": str(number),
                "Floodmark-Position": f"g;7;3;{number + 1}",
            }
            in_one = {"records": [{"value": 1}, {"value": 2}]}
            for path, how, values in (
                (f"{PARTITION}?deliver_at={AT}", {}, [b"1"]),
                (f"{PARTITION}?deliver_at=2030-03-17T17:46:40Z", {"json": in_one}, [b"1", b"2"]),
                (f"{PARTITION}?deliver_at=2030-03-17T18:46:40+01:00", {}, [b"1"]),
                (f"{BY_KEY}?deliver_at={AT}", {}, [b"1"]),
                (f"{PARTITION}?deliver_at={AT}", {"data": made, "headers": BATCH}, [b"ours"]),
                (f"{PARTITION}?deliver_at={AT}&acks=leader", {}, [b"1"]),
                (f"{BY_KEY}?deliver_at={AT}", {"data": made, "headers": BATCH}, [b"ours"]),
                (f"{PARTITION}?deliver_at={AT}", {"headers": in_name}, [b"1"]),
                (f"{PARTITION}?deliver_at={AT}", {"headers": from_source}, [b"1"]),
            ):
                answer = await post(cluster, node, path, **how)
                assert answer[0] == 200, (path, answer)
                expected.append((AT, list(values)))
            again = await post(cluster, node, f"{PARTITION}?delay=1h", headers=in_name)
            assert (again[0], again[1]["duplicate"]) == (200, True), "what is stored keeps its time"
            assert (await post(cluster, node, PARTITION))[0] == 200
            expected.append((None, [b"1"]))
        for node in cluster.up:
            assert await stored(cluster, node) == expected
            async with cluster.session.get(f"{node.url}{PARTITION}?from=earliest") as answer:
                assert len((await answer.json())["records"]) == sum(len(values) for _, values in expected)
        leader = await cluster.on_leader("t")
        found = await leader.fetch(0, max_bytes=1 << 20)
        positions = [position_in(frame, frame.payload) for frame in iterate(found.frames)]
        assert [each for each in positions if each] == [Position("g", 7, 3, number) for number in (1, 2, 3)]


async def test_a_delay_counts_by_the_clock_of_the_node_that_was_asked(tmp_path: Path) -> None:
    """To the millisecond, in all its units."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2)
        for node in await kinds(cluster):
            for text, delay_ms in (
                ("0", 0),
                ("250ms", 250),
                ("90s", 90_000),
                ("2m", 120_000),
                ("999h", 3_596_400_000),
            ):
                before = time.time_ns() // 1_000_000
                assert (await post(cluster, node, f"{PARTITION}?delay={text}"))[0] == 200
                at_ms = (await stored(cluster, node))[-1][0]
                assert at_ms is not None
                assert before + delay_ms <= at_ms <= time.time_ns() // 1_000_000 + delay_ms


REFUSED = (
    "delay=30",
    "delay=-1s",
    "delay=",
    "delay=soon",
    "delay=1s&deliver_at=1",
    "delay=1s&delay=2s",
    "delay=999999999999999h",
    "deliver_at=-1",
    "deliver_at=tomorrow",
    "deliver_at=99999999999999999999",
    "deliver_at=1960-01-01T00:00Z",
    "deliver_at=10000-01-01T00:00Z",
)


async def test_what_no_queue_could_deliver_is_refused_at_every_kind_of_node(tmp_path: Path) -> None:
    """What is no time, and what retention may remove first; nothing of it is stored."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2, retention_ms=60_000)
        old = batch.encode([Record(0, None, b"old")], format=1)
        for node in await kinds(cluster):
            for path in (PARTITION, BY_KEY):
                for query in REFUSED:
                    status, refused = await post(cluster, node, f"{path}?{query}")
                    assert (status, refused["code"]) == (400, "invalid_request"), (query, refused)
                for query in ("delay=61s", f"deliver_at={AT}"):
                    status, refused = await post(cluster, node, f"{path}?{query}")
                    assert (status, refused["code"]) == (400, "invalid_request"), refused
                    assert "keeps records for 60000 ms" in refused["detail"]
                status, refused = await post(cluster, node, f"{path}?delay=1s", data=old, headers=BATCH)
                assert (status, refused["code"]) == (400, "invalid_request"), refused
                assert "format 2" in refused["detail"]
        assert (await cluster.on_leader("t")).bounds().high_watermark == 0
        for node in cluster.up:
            assert (await post(cluster, node, f"{PARTITION}?delay=60s"))[0] == 200, "as long as they are kept"


async def test_a_cluster_below_the_level_refuses_delays_until_it_is_raised(tmp_path: Path) -> None:
    """At every node: one of an older build would store the records without their time. Producers that were
    opened before learn of the level.
    """
    older = dataclasses.replace(THIS_BUILD, highest=1)
    async with NodeCluster.running(tmp_path, 2, levels={"n1": older}) as cluster:
        await cluster.create("t")
        async with Client(cluster["n2"].url) as client, client.producer("t", linger_ms=0) as producer:
            for node in cluster.up:
                for path in (PARTITION, BY_KEY):
                    status, refused = await post(cluster, node, f"{path}?delay=1s")
                    assert (status, refused["code"]) == (409, "feature_level_needed")
                    assert (refused["needs"], refused["level"]) == (6, 1)
            with pytest.raises(FeatureLevelNeeded):
                await producer.send(b"v", delay=1)
            assert (await cluster.on_leader("t")).bounds().high_watermark == 0
            await cluster["n1"].stop()
            cluster["n1"].levels = THIS_BUILD
            cluster["n1"].start()
            await cluster.ready()
            features = cluster["n2"].url + "/v1/cluster/features"
            async with asyncio.timeout(20):
                while True:
                    async with cluster.session.post(features, json={"level": 6}) as answer:
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)
            for node in cluster.up:
                await node.broker.catch_up(timeout_s=10)
            await (await producer.send(b"v", deliver_at=AT))
            for node in cluster.up:
                assert (await post(cluster, node, f"{PARTITION}?deliver_at={AT}"))[0] == 200
            assert await stored(cluster, cluster["n2"]) == [(AT, [b"v"]), *[(AT, [b"1"])] * 2]


async def test_the_clients_send_what_they_are_told_in_batches_of_one_time(tmp_path: Path) -> None:
    """One record, many, mixed ones, and without ``await``."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("t", replicas=1)
        node = cluster.up[0]
        async with Client(node.url) as client:
            await client.produce("t", b"one", deliver_at=AT)
            async with client.producer("t", linger_ms=60_000) as producer:
                await producer.send_many([b"a", b"b"], deliver_at=AT)
                await producer.send(b"c", deliver_at=AT)
                await producer.send(b"d")
                await producer.send_many([b"e", b"f"], keys=["k", "k"], deliver_at=AT + 1)
                with pytest.raises(InvalidRequest):
                    await producer.send(b"no", delay=1, deliver_at=AT)

        def without_await() -> None:
            with blocking.Client(node.url) as client:
                client.produce("t", b"g", delay=100)

        before = time.time_ns() // 1_000_000
        await asyncio.to_thread(without_await)
        *found, (at_ms, last) = await stored(cluster, node)
        assert found == [(AT, [b"one"]), (AT, [b"a", b"b", b"c"]), (None, [b"d"]), (AT + 1, [b"e", b"f"])]
        assert last == [b"g"]
        assert at_ms is not None
        assert before + 100_000 <= at_ms <= time.time_ns() // 1_000_000 + 100_000


async def test_the_command_line_says_when(tmp_path: Path) -> None:
    """With a delay or a time, and not with both."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("t", replicas=1)
        node = cluster.up[0]

        async def produce(*args: str) -> Result:
            command = ["produce", "t", "1", "--server", node.url, *args]
            return await asyncio.to_thread(CliRunner().invoke, floodmark, command, prog_name="floodmark")

        before = time.time_ns() // 1_000_000
        for args in (["--delay", "2h"], ["--deliver-at", "2030-03-17T17:46:40Z"], ["--deliver-at", str(AT)]):
            assert (await produce(*args)).exit_code == 0
        (at_ms, _), *others = await stored(cluster, node)
        assert at_ms is not None
        assert before + 7_200_000 <= at_ms <= time.time_ns() // 1_000_000 + 7_200_000
        assert others == [(AT, [b"1"])] * 2
        for args in (
            ["--delay", "1s", "--deliver-at", str(AT)],
            ["--deliver-at", "soon"],
            ["--delay", "soon"],
        ):
            refused = await produce(*args)
            assert refused.exit_code == 2, refused.output
        assert len(await stored(cluster, node)) == 3
