"""A producer's sequences on whole nodes: used once, on whatever node, before and after its leader."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from floodmark import Client
from floodmark.errors import OutcomeUnknown, SequenceReused, TooManyProducers, Unavailable
from floodmark.format import batch
from floodmark.format.record import Record

from node.broker import Acks, Appended, Partition
from node.control import controller
from tests.support.nodes import NodeCluster, TestNode

RECORDS = "/v1/topics/orders/partitions/0/records"


def payload(value: bytes, *, sequence: int = 0, name: str = "p") -> bytes:
    """A batch of an idempotent producer."""
    return batch.encode([Record(0, None, value)], producer_id=batch.producer_id_of(name), sequence=sequence)


async def produce(partition: Partition, body: bytes, acks: Acks = Acks.QUORUM) -> Appended:
    """Store a batch."""
    return await partition.produce(body, batch.decode_header(body), acks=acks, timeout_s=10)


@pytest.mark.parametrize("acks", list(Acks))
async def test_of_many_batches_under_one_sequence_at_once_one_is_stored(tmp_path: Path, acks: Acks) -> None:
    """Those behind it wait for it: its twins are duplicates, all others are refused and say where it is."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders")
        partition = await cluster.on_leader("orders")
        bodies = [payload(b"a"), payload(b"b"), payload(b"a"), payload(b"c")]
        first, *others = await asyncio.gather(
            *(produce(partition, body, acks) for body in bodies), return_exceptions=True
        )
        assert isinstance(first, Appended)
        assert (first.first_offset, first.duplicate) == (-1 if acks is Acks.NONE else 0, False)
        twin = others.pop(1)
        assert isinstance(twin, Appended)
        assert (twin.first_offset, twin.duplicate) == (first.first_offset, acks is not Acks.NONE)
        for refused in others:
            assert isinstance(refused, SequenceReused)
            assert refused.fields == {"first_offset": 0, "next_offset": 1}
        assert partition.bounds().high_watermark == 1


async def test_whose_sequence_may_be_used_is_not_told_that_it_is(tmp_path: Path) -> None:
    """What becomes of the batch before it is unknown: that one may be stored, this one is not."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders")
        node = await cluster.leader("orders")
        partition = node.broker.partition("orders", 0)
        (raft_group,) = node.groups_led()
        first, second = (asyncio.create_task(produce(partition, payload(value))) for value in (b"a", b"b"))
        await asyncio.sleep(0)
        node.running.replicas.local[raft_group].group.stop()
        with pytest.raises(OutcomeUnknown):
            await first
        with pytest.raises(Unavailable):
            await second


async def test_a_used_sequence_stays_used_on_the_next_leader_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the log, and by the table in a checkpoint; at each node, in each form of a body."""
    monkeypatch.setattr(controller, "FIT_FOR_S", 600)  # The first leader does not get it back.
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")

        async def check(made_before: bool) -> None:
            for node in cluster.up:
                for value, status in ((b'{"n":1}', 200), (b'{"n":2}', 409)):
                    async with cluster.session.post(
                        node.url + RECORDS,
                        data=b'{"value":%b}' % value,
                        headers={"Producer-Id": "j", "Producer-Seq": "0"},
                    ) as answer:
                        shown = await answer.json(content_type=None)
                        assert answer.status == status, shown
                        assert shown["first_offset"] == 0
                        assert shown.get("duplicate", False) is (made_before and status == 200)
                        made_before = True
                for value, status in ((b"a", 200), (b"b", 409)):
                    async with cluster.session.post(
                        node.url + RECORDS,
                        data=payload(value),
                        headers={"Content-Type": "application/vnd.floodmark.batch;v=1"},
                    ) as answer:
                        shown = await answer.json(content_type=None)
                        assert (answer.status, shown["first_offset"]) == (status, 1), shown
                        assert status == 200 or shown["code"] == "sequence_reused"

        await check(made_before=False)
        await cluster.hand_over("orders")
        await check(made_before=True)
        for node in cluster.nodes.values():
            await node.stop()
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        await cluster.leader("orders")
        await check(made_before=True)
        assert (await cluster.on_leader("orders")).bounds().high_watermark == 2


async def post(cluster: NodeCluster, node: TestNode, name: str, sequence: int) -> tuple[int, Any, str]:
    """A record of a producer: status, answer, and when to come again."""
    async with cluster.session.post(
        node.url + RECORDS,
        data=b"x",
        headers={
            "Content-Type": "application/octet-stream",
            "Producer-Id": name,
            "Producer-Seq": str(sequence),
        },
    ) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers.get("Retry-After", "")


async def test_others_do_not_push_a_producer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each node, after a change of leader and a restart of all: no room is 429, and for new ones alone."""
    monkeypatch.setattr(controller, "FIT_FOR_S", 600)  # The first leader does not get it back.
    async with NodeCluster.running(tmp_path, **{"limits.producers_per_partition_max": 10}) as cluster:
        await cluster.create("orders")
        nodes = list(cluster.nodes.values())
        assert (await post(cluster, nodes[0], "honest", 0))[1]["first_offset"] == 0

        async def check(stored: int) -> None:
            for node in nodes:
                for number in range(stored, stored + 3):
                    status, answer, retry_after = await post(cluster, node, f"late {number}", 0)
                    assert (status, answer["code"], answer["retriable"]) == (429, "too_many_producers", True)
                    assert "limits.producers_per_partition_max" in answer["detail"]
                    assert 1 <= int(retry_after) <= 60
                status, answer, _ = await post(cluster, node, "honest", 0)
                assert (status, answer["first_offset"], answer["duplicate"]) == (200, 0, True)

        strangers = [await post(cluster, nodes[number % 3], f"s{number}", 0) for number in range(11)]
        assert [status for status, _, _ in strangers] == [200] * 9 + [429] * 2
        await check(10)
        await cluster.hand_over("orders")
        await check(10)
        for node in nodes:
            await node.stop()
        for node in nodes:
            node.start()
        await cluster.ready()
        await cluster.leader("orders")
        await check(10)
        status, answer, _ = await post(cluster, nodes[1], "honest", 1)
        assert (status, answer["first_offset"]) == (200, 10)
        async with Client([node.url for node in nodes]) as client:
            with pytest.raises(TooManyProducers):
                await client.produce("orders", b"x", partition=0)
            async with client.producer("orders", idempotent=False) as producer:
                assert (await (await producer.send(b"x", partition=0))).offset == 11
        async with cluster.session.get(nodes[0].url + "/metrics") as metrics:
            assert "floodmark_node_producers 10.0" in await metrics.text()


async def test_silent_producers_make_room_though_nobody_writes(tmp_path: Path) -> None:
    """The log's time moves on by itself when a new one comes; all replicas forget the same ones."""
    flags = {"limits.producers_per_partition_max": 2, "limits.producer_remembered_s": 0.5}
    async with NodeCluster.running(tmp_path, **flags) as cluster:
        await cluster.create("orders")
        node = await cluster.leader("orders")
        for name in ("a", "b"):
            assert (await post(cluster, node, name, 0))[0] == 200

        async def in_the_end(name: str) -> None:
            async with asyncio.timeout(20):
                while (await post(cluster, node, name, 0))[0] != 200:  # noqa: ASYNC110  -- the log's time is what passes
                    await asyncio.sleep(0.05)

        await in_the_end("c")
        status, answer, _ = await post(cluster, node, "a", 1)
        assert (status, answer["code"], answer["expected_sequence"]) == (409, "sequence_gap", 0)
        assert (await post(cluster, node, "c", 1))[0] == 200
        (raft_group,) = node.groups_led()
        applied = node.running.replicas.local[raft_group].group.applied_index
        groups = [other.running.replicas.local[raft_group].group for other in cluster.up]
        await cluster.until(lambda: all(group.applied_index >= applied for group in groups), "applied")
        tables = {group.storage.checkpoint_state() for group in groups}
        assert len(tables) == 1
        assert batch.producer_id_of("a") not in tables.pop()
        async with cluster.session.get(node.url + RECORDS) as read:
            assert [record["offset"] for record in (await read.json())["records"]] == [0, 1, 2, 3]


async def test_a_producer_of_the_client_that_was_forgotten_goes_on(tmp_path: Path) -> None:
    """It begins a new epoch, and waits for the room to be remembered again."""
    flags = {"limits.producers_per_partition_max": 2, "limits.producer_remembered_s": 0.4}
    async with NodeCluster.running(tmp_path, 1, **flags) as cluster:
        await cluster.create("orders")
        node = await cluster.leader("orders")
        async with Client(node.url) as client, client.producer("orders", linger_ms=0) as producer:
            assert (await (await producer.send(b"0", partition=0))).offset == 0
            assert (await (await producer.send(b"1", partition=0))).offset == 1
            for name in ("a", "b"):
                async with asyncio.timeout(20):
                    while (await post(cluster, node, name, 0))[0] != 200:  # noqa: ASYNC110  -- as above
                        await asyncio.sleep(0.05)
            assert (await (await producer.send(b"2", partition=0))).offset == 4
            values = [record.value async for record in client.read("orders", 0)]
        assert values == [b"0", b"1", b"x", b"x", b"2"]


async def test_sequences_outlive_their_records(tmp_path: Path) -> None:
    """What retention removed is still known to be stored, and its checksum; also after a restart."""
    flags = {"storage.retention_interval_s": 0.05}
    async with NodeCluster.running(tmp_path, 1, **flags) as cluster:
        await cluster.create("orders", retention_bytes=8_192, segment_bytes=4_096)
        partition = await cluster.on_leader("orders")
        assert (await produce(partition, payload(b"a"))).first_offset == 0
        filler = batch.encode([Record(0, None, bytes(2_000))])
        for _ in range(20):
            await produce(partition, filler)
        await cluster.until(lambda: partition.bounds().log_start_offset > 0, "the first record is gone")
        for again in range(2):
            assert (await produce(partition, payload(b"a"))).duplicate
            with pytest.raises(SequenceReused) as refused:
                await produce(partition, payload(b"b"))
            assert refused.value.fields["first_offset"] == 0
            if not again:
                await cluster["n1"].stop()
                cluster["n1"].start()
                await cluster.ready()
                partition = await cluster.on_leader("orders")
