"""Three whole nodes over real sockets: what a cluster must do, and what it must survive."""

from __future__ import annotations

from pathlib import Path

from floodmark import batch, frame
from floodmark.record import Record

from node.broker import Acks, Appended, Partition
from tests.support.nodes import NodeCluster


def payload(values: list[bytes], *, producer: str = "", sequence: int = 0) -> bytes:
    """A batch of records with these values."""
    name = batch.producer_id_of(producer) if producer else batch.NO_PRODUCER
    return batch.encode([Record(0, None, value) for value in values], producer_id=name, sequence=sequence)


async def produce(partition: Partition, body: bytes, acks: Acks = Acks.QUORUM) -> Appended:
    """Append a batch where the partition is led."""
    return await partition.produce(body, batch.decode_header(body), acks=acks, timeout_s=10)


async def values(partition: Partition) -> list[bytes]:
    """All records of a partition."""
    found: list[bytes] = []
    offset = partition.bounds().log_start_offset
    while True:
        fetched = await partition.fetch(offset, max_bytes=1 << 20, wait_s=0)
        for one in frame.iterate(fetched.frames):
            if one.record_count:
                found += [record.value for record in batch.decode(one.payload)]
        if fetched.next_offset == offset:
            return found
        offset = fetched.next_offset


async def test_a_topic_is_made_written_and_read(tmp_path: Path) -> None:
    """Every node knows it, its leaders are the preferred ones, and what was acknowledged is read back."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=6)
        for node in cluster.nodes.values():
            info = node.broker.topic("orders")
            assert [part.partition for part in info.partitions] == list(range(6))
        for number in range(6):
            partition = await cluster.on_leader("orders", number)
            assert await produce(partition, payload([b"a", b"b"])) == Appended(0, 2, 2)
            assert await produce(partition, payload([b"c"])) == Appended(2, 3, 3)
            assert await values(partition) == [b"a", b"b", b"c"]
            assert (await partition.tail(timeout_s=5)).high_watermark == 3
        preferred = {
            entry.group_id: entry.replicas[0]
            for entry in cluster["n1"].running.metadata.state.topics["orders"].partitions
        }
        await cluster.until(
            lambda: all(group_id in cluster[name].groups_led() for group_id, name in preferred.items()),
            "preferred leaders lead",
        )
