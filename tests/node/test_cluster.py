"""Three whole nodes over real sockets: what a cluster must do, and what it must survive."""

from __future__ import annotations

import asyncio
import errno
import shutil
from pathlib import Path

import pytest
from floodmark.format import batch, frame
from floodmark.format.record import Record

from node.broker import Acks, Appended, Partition
from node.membership.registry import Registry
from node.metadata.domains.topics import CreateTopic
from node.metadata.topic_config import TopicConfig
from storage.filesystem import RealFileSystem
from tests.support.nodes import NodeCluster, TestNode


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
        fetched = await partition.fetch(offset, max_bytes=1 << 20)
        for one in frame.iterate(fetched.frames):
            if one.offset_count:
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
            assert await partition.produce_records([Record(50, None, b"d")], size=1, timeout_s=10) == (
                Appended(3, 4, 4)
            )
            assert [await partition.offset_at_time(at) for at in (0, 1, 50, 51)] == [0, 3, 3, 4]
        preferred = {
            entry.raft_group: entry.replicas[0]
            for entry in cluster["n1"].running.metadata.state.topics["orders"].partitions
        }
        await cluster.until(
            lambda: all(raft_group in cluster[name].groups_led() for raft_group, name in preferred.items()),
            "preferred leaders lead",
        )


async def test_a_stopped_leader_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Others take over, a retry of the same batch keeps its offsets, and the node comes back."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        first = await cluster.leader("orders")
        partition = first.broker.partition("orders", 0)
        kept = await produce(partition, payload([b"a", b"b"], producer="p", sequence=0))
        await first.stop()
        second = await cluster.leader("orders")
        partition = second.broker.partition("orders", 0)
        again = await produce(partition, payload([b"a", b"b"], producer="p", sequence=0))
        assert (again.first_offset, again.next_offset, again.duplicate) == (kept.first_offset, 2, True)
        await produce(partition, payload([b"c"], producer="p", sequence=1))
        assert await values(partition) == [b"a", b"b", b"c"]
        first.start()
        await cluster.ready()
        await cluster.until(
            lambda: first.broker.partition("orders", 0).bounds().high_watermark == 3, "caught up"
        )


async def test_all_nodes_stop_and_start_again(tmp_path: Path) -> None:
    """Nothing is forgotten, and the log goes on where it ended."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2)
        await produce(await cluster.on_leader("orders"), payload([b"a"], producer="p", sequence=0))
        await asyncio.gather(*(node.stop() for node in cluster.nodes.values()))
        for node in cluster.nodes.values():
            node.start()
        await cluster.ready()
        partition = await cluster.on_leader("orders")
        again = await produce(partition, payload([b"a"], producer="p", sequence=0))
        assert (again.first_offset, again.duplicate) == (0, True)
        assert await values(partition) == [b"a"]


def frames_of(node: TestNode, topic: str) -> list[bytes]:
    """The record batches of partition 0 as they lie on this node."""
    partition = node.broker.partition(topic, 0)
    log = node.running.replicas.local[node.running.metadata.state.topics[topic].partitions[0].raft_group].log
    end = partition.bounds().high_watermark
    return [
        one.payload
        for one in log.frames(log.base_index, log.last_index)
        if one.offset_count and one.next_offset <= end
    ]


async def fill(cluster: NodeCluster, topic: str, count: int = 20) -> list[bytes]:
    """Write some batches; what was written."""
    partition = await cluster.on_leader(topic)
    bodies = [payload([b"%d" % number * 100]) for number in range(count)]
    for body in bodies:
        await produce(partition, body)
    return bodies


async def rejoined(cluster: NodeCluster, node: TestNode, topic: str, bodies: list[bytes]) -> None:
    """Wait until a replica has everything and may vote again, in every group."""
    await cluster.ready()
    await cluster.until(lambda: topic in node.running.metadata.state.topics, "the topic is known")

    def whole() -> bool:
        groups = [node.running.metadata.group, *(item.group for item in node.running.replicas.local.values())]
        return all(group is not None and group.may_vote for group in groups) and all(
            node.node_id in group.membership.voters for group in groups if group is not None
        )

    await cluster.until(whole, f"{node.node_id} votes again")
    await cluster.until(lambda: frames_of(node, topic) == bodies, f"{node.node_id} has all")


async def test_a_node_whose_disk_was_wiped_is_taken_in_again(tmp_path: Path) -> None:
    """It fetches everything and has no vote before; then the cluster survives another node's loss."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders")
        victim = cluster["n3"]
        await victim.stop()
        shutil.rmtree(victim.data_dir)
        victim.start()
        await rejoined(cluster, victim, "orders", bodies)
        # What it lacked came within the limit for those whose vote does not count.
        assert await _caught_up_bytes(cluster) >= sum(map(len, bodies))
        await cluster["n2"].stop()
        partition = await cluster.on_leader("orders")
        assert (await produce(partition, payload([b"more"]))).first_offset == len(bodies)


async def _caught_up_bytes(cluster: NodeCluster) -> float:
    total = 0.0
    for node in cluster.nodes.values():
        async with cluster.session.get(f"{node.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        total += sum(
            float(line.split()[1]) for line in lines if line.startswith("floodmark_catch_up_bytes_total")
        )
    return total


async def test_a_replica_whose_folder_was_deleted_is_taken_in_again(tmp_path: Path) -> None:
    """The node remembers that it had it."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders")
        victim = await cluster.leader("orders")
        raft_group = victim.running.metadata.state.topics["orders"].partitions[0].raft_group
        await victim.stop()
        shutil.rmtree(victim.data_dir / "groups" / str(raft_group))
        victim.start()
        await rejoined(cluster, victim, "orders", bodies)


async def test_a_corrupt_replica_repairs_itself(tmp_path: Path) -> None:
    """The damage is set aside and fetched anew; meanwhile the replica neither votes nor leads."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders")
        bodies = await fill(cluster, "orders")
        victim = await cluster.leader("orders")
        raft_group = victim.running.metadata.state.topics["orders"].partitions[0].raft_group
        await victim.stop()
        folder = victim.data_dir / "groups" / str(raft_group)
        segment = min(folder.glob("*.log"))
        damaged = bytearray(segment.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        segment.write_bytes(damaged)
        (folder / "checkpoint").unlink(missing_ok=True)
        victim.start()
        await rejoined(cluster, victim, "orders", bodies)
        assert any((folder / "quarantine").iterdir())


async def test_a_deleted_topic_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its folders go on every node, also on one that was down, and a namesake starts at offset 0."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=3)
        await fill(cluster, "orders", 3)
        await cluster["n3"].stop()
        leader = await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.topics.delete("orders", timeout_s=10)
        cluster["n3"].start()
        await cluster.ready()

        def only_metadata() -> bool:
            return all(
                [path.name for path in (node.data_dir / "groups").iterdir()] == ["0"]
                for node in cluster.nodes.values()
            )

        await cluster.until(only_metadata, "the folders are gone")
        await cluster.create("orders")
        assert await values(await cluster.on_leader("orders")) == []


@pytest.mark.parametrize("step", ["retire", "removed", "remove"])
async def test_a_disk_that_fails_while_a_topic_goes_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The node goes on, and what could not be removed is removed once the disk is well."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("kept")
        await cluster.create("orders", partitions=3)
        node = cluster["n1"]
        target = node.running.registry if step == "removed" else node.running.store
        well = getattr(target, step)
        tries = []

        def fails_at_first(what: object) -> None:
            tries.append(what)
            if len(tries) <= 2:
                raise OSError(errno.EIO, "Input/output error")
            well(what)

        monkeypatch.setattr(target, step, fails_at_first)
        leader = await node.broker.metadata.wait_leader(timeout_s=10)
        await cluster[leader].broker.topics.delete("orders", timeout_s=10)

        def only_one_left() -> bool:
            return len(list((node.data_dir / "groups").iterdir())) == 2

        await cluster.until(only_one_left, "the folders are gone")
        assert len(tries) > 2
        await cluster.create("orders")
        for topic in ("kept", "orders"):
            await produce(await cluster.on_leader(topic), payload([b"x"]))
            assert await values(await cluster.on_leader(topic)) == [b"x"]


async def test_a_topic_that_goes_before_its_replica_could_be_opened_leaves_the_node_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails under the first opening, the topic is deleted: nothing is missing any more."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("kept")
        node = cluster["n1"]

        def fails(*args: object, **options: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as broken:
            broken.setattr(node.running.store, "open", fails)
            await cluster.create("orders")
            await cluster.until(lambda: node.running.replicas.broken == 1, "the replica failed")
            leader = await node.broker.metadata.wait_leader(timeout_s=10)
            await cluster[leader].broker.topics.delete("orders", timeout_s=10)
            await cluster.until(lambda: node.running.replicas.broken == 0, "nothing is broken")
        assert len(list((node.data_dir / "groups").iterdir())) == 2


async def test_a_node_is_not_ready_before_it_knows_what_was_agreed_on_without_it(tmp_path: Path) -> None:
    """Topics made while a node was down are there, with their replicas, when it says that it is ready."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster["n3"].stop()
        leader = await cluster["n1"].broker.metadata.wait_leader(timeout_s=10)
        for number in range(5):
            # As placed while n3 was still there.
            replicas = [["n1", "n2", "n3"], ["n2", "n3", "n1"]]
            command = CreateTopic(f"later-{number}", 3, TopicConfig(), replicas)
            await cluster[leader].running.metadata.propose(command, timeout_s=10)
        cluster["n3"].start()
        await cluster.ready("n3")
        running = cluster["n3"].running
        assert sorted(running.metadata.state.topics) == [f"later-{number}" for number in range(5)]
        assert running.metadata.is_current
        assert len(running.replicas.local) == 10


async def test_a_replica_that_has_gone_is_not_made_anew_by_metadata_of_before(tmp_path: Path) -> None:
    """A node was killed soon after its replica had moved elsewhere, and starts with what it knew before that:
    an empty replica with a vote could elect one that lacks what the others have committed since.
    """
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("moved")
        await cluster.create("stays")
        n3 = cluster["n3"]
        groups = {
            name: entry.partitions[0].raft_group for name, entry in n3.running.metadata.state.topics.items()
        }
        await asyncio.gather(*(node.stop() for node in cluster.nodes.values()))
        folder = n3.data_dir / "groups" / str(groups["moved"])
        shutil.rmtree(folder)
        registry = Registry(RealFileSystem(), str(n3.data_dir))
        registry.removed([groups["moved"]])
        registry.close()

        n3.start()  # Alone: the metadata do not become current.
        await cluster.until(
            lambda: n3.parts and groups["stays"] in n3.running.replicas.local, "what stayed is opened"
        )
        assert groups["moved"] not in n3.running.replicas.local
        assert not folder.exists()
        cluster["n1"].start()
        await cluster.until(
            lambda: groups["moved"] in n3.running.replicas.local, "current metadata want it after all"
        )
