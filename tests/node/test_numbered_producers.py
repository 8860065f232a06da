"""Numbered producers on whole nodes of feature level 2: the same at every node, through changes of leader."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from floodmark import Client
from floodmark.format import batch
from floodmark.format.batch import ProducerKind, numbered_id_of
from floodmark.format.record import Record

from node.metadata.levels import NUMBERED_PRODUCERS
from tests.support.nodes import NodeCluster, TestNode

RECORDS = "/v1/topics/orders/partitions/0/records"
MEDIA = {"Content-Type": "application/vnd.floodmark.batch;v=1"}


async def _raise(cluster: NodeCluster) -> None:
    body = {"level": NUMBERED_PRODUCERS}
    async with cluster.session.post(cluster["n1"].url + "/v1/cluster/features", json=body) as answer:
        assert answer.status == 200, await answer.text()


def _batch(number: int, sequence: int, count: int = 1, *, epoch: int = 0, value: bytes = b"v") -> bytes:
    return batch.encode(
        [Record(0, None, value)] * count,
        producer_id=numbered_id_of(number),
        producer_epoch=epoch,
        sequence=sequence,
        format=2,
        producer_kind=ProducerKind.NUMBERED,
    )


async def _post(cluster: NodeCluster, node: TestNode, body: bytes) -> tuple[int, Any]:
    """What comes of it; sent again while the answer is that nothing was stored for want of a leader."""
    async with asyncio.timeout(20):
        while True:
            async with cluster.session.post(node.url + RECORDS, data=body, headers=MEDIA) as answer:
                if answer.status != 503:
                    return answer.status, await answer.json(content_type=None)
            await asyncio.sleep(0.05)


async def _number(cluster: NodeCluster) -> int:
    async with cluster.session.post(cluster.up[-1].url + "/v1/producers") as answer:
        return int((await answer.json())["producer_id"])


async def test_what_a_batch_of_a_number_comes_to_is_the_same_at_every_node(tmp_path: Path) -> None:
    """At the leader, a follower and a node without a replica; also once the table was in a checkpoint."""
    async with NodeCluster.running(tmp_path, 4, formed_at=1) as cluster:
        await cluster.create("orders", replicas=3)
        for node in cluster.up:
            status, problem = await _post(cluster, node, _batch(1, 0))
            assert (status, problem["code"]) == (409, "feature_level_needed")
        await _raise(cluster)
        number = await _number(cluster)

        async def check(first: int, *, made_before: bool) -> None:
            """Records are stored from offset ``first`` on, in an epoch of their own."""
            epoch = first // 5
            for node in cluster.up:
                for body, offset in (
                    (_batch(number, 0, 2, epoch=epoch), 0),
                    (_batch(number, 2, 3, epoch=epoch), 2),
                ):
                    status, shown = await _post(cluster, node, body)
                    assert (status, shown.get("first_offset")) == (200, first + offset), (node.node_id, shown)
                    assert shown.get("duplicate", False) is made_before
                made_before = True
                for body, code, fields in (
                    (
                        _batch(number, 0, 2, epoch=epoch, value=b"w"),
                        "sequence_reused",
                        {"first_offset": first},
                    ),
                    (_batch(number, 3, 2, epoch=epoch), "sequence_reused", {"next_offset": first + 5}),
                    (_batch(number, 6, epoch=epoch), "sequence_gap", {"expected_sequence": 5}),
                    (
                        _batch(number, (1 << 31) - 1, epoch=epoch + 1),
                        "sequence_gap",
                        {"expected_sequence": 0},
                    ),
                    (_batch(number + 1, 1), "sequence_gap", {"expected_sequence": 0}),
                ):
                    status, problem = await _post(cluster, node, body)
                    assert (status, problem["code"]) == (409, code), problem
                    assert {name: problem[name] for name in fields} == fields
                if epoch:
                    status, problem = await _post(cluster, node, _batch(number, 5, epoch=epoch - 1))
                    assert (status, problem["code"], problem["current_epoch"]) == (
                        403,
                        "producer_fenced",
                        epoch,
                    )

        await check(0, made_before=False)
        await check(5, made_before=False)
        for node in list(cluster.nodes.values()):
            await node.stop()
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        await cluster.leader("orders")
        await check(5, made_before=True)
        await cluster.hand_over("orders")
        await check(5, made_before=True)
        await check(10, made_before=False)


async def test_a_client_writes_through_restarts_and_changes_of_leader(tmp_path: Path) -> None:
    """In order, each record once, all in one epoch of one number: nothing here needs another one."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=3)
        urls = [node.url for node in cluster.up]
        count = 0
        acks = []
        async with Client(urls) as client:
            producer = client.producer("orders", linger_ms=0)

            async def write(more: int) -> None:
                nonlocal count
                for _ in range(more):
                    acks.append(await producer.send(count, partition=count % 3))
                    count += 1
                    if count % 7 == 0:
                        await asyncio.sleep(0)

            await write(300)
            for name in ("n1", "n2"):  # The third keeps its address, which the client was given.
                node = cluster[name]
                for raft_group in node.groups_led():
                    node.running.host.transfer(raft_group)
                await write(300)
                await node.stop()
                await write(300)
                node.start()
                await cluster.ready()
                await write(100)
            places = [await ack for ack in acks]
            await producer.close()
            for partition in range(3):
                mine = [place.offset for number, place in enumerate(places) if number % 3 == partition]
                assert mine == list(range(len(mine)))
                batches = [one async for one in client.read_batches("orders", partition)]
                values = [record.json() for one in batches for record in one.consumed()]
                assert values == list(range(partition, count, 3))
