"""Damage at rest costs the byte: frames are mended from other replicas, and no vote is given up for them."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from node.metadata.state import METADATA_GROUP
from tests.support.damage import group_of, hit, segments_of
from tests.support.nodes import NodeCluster, TestNode

COUNT = 40
SMALL: dict[str, Any] = {"segment_bytes": 4096}
PAD = "x" * 300


async def filled(cluster: NodeCluster, **config: Any) -> int:
    """A topic with records, all of them covered by checkpoints; returns its group."""
    await cluster.create("orders", **config)
    leader = await cluster.leader("orders")
    path = f"{leader.url}/v1/topics/orders/partitions/0/records"
    for n in range(COUNT):
        async with cluster.session.post(path, json={"records": [{"value": [n, PAD]}]}) as answer:
            assert answer.status == 200, await answer.text()
    raft_group = group_of(cluster, "orders")
    hosts = [node.running.host for node in cluster.up]
    last = leader.running.host.group(raft_group).log.last_index
    await cluster.until(
        lambda: all(host.group(raft_group).applied_index == last for host in hosts), "applied"
    )
    for host in hosts:
        await host.disk.checkpoint(raft_group)
    return raft_group


async def restart(cluster: NodeCluster) -> None:
    """All nodes: the newest frames were in memory, and sent from there."""
    for node in cluster.nodes.values():
        await node.stop()
    for node in cluster.nodes.values():
        node.start()
    await cluster.ready()


async def read(cluster: NodeCluster) -> list[int]:
    """All records, asked at the first node that runs."""
    path = "/v1/topics/orders/partitions/0/records?max_bytes=4194304"
    async with cluster.session.get(cluster.up[0].url + path) as answer:
        assert answer.status == 200, await answer.text()
        return [record["value"][0] for record in (await answer.json())["records"]]


def is_whole(node: TestNode, raft_group: int) -> bool:
    """Whether every frame of a replica can be read back from its disk."""
    log = node.running.host.group(raft_group).log
    try:
        return (
            sum(1 for _ in log.stored(log.base_index, log.last_index)) == log.last_index - log.base_index + 1
        )
    except Exception:  # noqa: BLE001 - whatever it is, it is not whole
        return False


def votes_given_up(node: TestNode, raft_group: int) -> int:
    """Up to where the replica must get before it may vote again."""
    return node.running.replicas.local[raft_group].vote.recover_until


@pytest.mark.parametrize("in_header", [False, True], ids=["payload", "header"])
async def test_the_scrub_mends_what_is_bad_on_two_replicas_in_different_records(
    tmp_path: Path, in_header: bool
) -> None:
    """The newest frames too, which are in memory; each replica mends from one that has the frame."""
    async with NodeCluster.running(tmp_path) as cluster:
        raft_group = await filled(cluster, **SMALL)
        nodes = list(cluster.nodes.values())
        last = nodes[0].running.host.group(raft_group).log.last_index
        for node, bad in ((nodes[0], (4, last)), (nodes[1], (5, 12, last - 1)), (nodes[2], (7,))):
            for index in bad:
                hit(node, raft_group, index, in_header=in_header)
        for node in nodes:
            assert not is_whole(node, raft_group)
        await asyncio.gather(*(node.running.scrub.once() for node in nodes))
        for node in nodes:
            assert is_whole(node, raft_group), node.node_id
            assert votes_given_up(node, raft_group) == 0
            assert node.running.scrub.damage_found > 0
            assert node.running.metrics.failed_replicas.collect()[0].samples[0].value == 0
            assert list((node.data_dir / "groups" / str(raft_group) / "quarantine").glob("*.log"))
        mended = [node.running.metrics.mended.collect()[0].samples[0].value for node in nodes]
        assert mended == [2, 3, 1]
        assert await read(cluster) == list(range(COUNT))


async def test_damage_on_two_replicas_is_survived_by_a_restart_of_all(tmp_path: Path) -> None:
    """In headers and payloads, of sealed segments and of the last one, found by whoever meets it."""
    async with NodeCluster.running(tmp_path, **{"storage.scrub_interval_s": 0.1}) as cluster:
        raft_group = await filled(cluster, **SMALL)
        nodes = list(cluster.nodes.values())
        last = nodes[0].running.host.group(raft_group).log.last_index
        for node in nodes:
            await node.stop()
        for node, index, in_header in (
            (nodes[0], 4, False),
            (nodes[0], last, True),
            (nodes[1], 6, True),
            (nodes[1], last - 1, False),
        ):
            hit(node, raft_group, index, in_header=in_header)
        for node in nodes:
            (segments_of(node, raft_group)[-1]).with_suffix(".idx").unlink(missing_ok=True)
            node.start()
        await cluster.ready()
        await cluster.until(lambda: all(is_whole(node, raft_group) for node in nodes), "all are whole")
        assert [votes_given_up(node, raft_group) for node in nodes] == [0, 0, 0]
        assert await read(cluster) == list(range(COUNT))


async def test_a_replica_is_built_anew_from_a_leader_with_a_bad_byte(tmp_path: Path) -> None:
    """A disk is replaced, and the leader meets the byte as it sends its old records: the third has it."""
    async with NodeCluster.running(tmp_path) as cluster:
        raft_group = await filled(cluster, **SMALL)
        await restart(cluster)
        leader = await cluster.leader("orders")
        replaced = next(node for node in cluster.nodes.values() if node is not leader)
        hit(leader, raft_group, 9)
        await replaced.stop()
        shutil.rmtree(replaced.data_dir)
        replaced.start()
        await cluster.ready()
        last = leader.running.host.group(raft_group).log.last_index

        def caught_up() -> bool:
            replica = replaced.running.replicas.local.get(raft_group) if replaced.parts else None
            return replica is not None and replica.group.applied_index >= last and replica.group.may_vote

        await cluster.until(caught_up, "the new replica has everything")
        assert is_whole(leader, raft_group)
        assert votes_given_up(leader, raft_group) == 0
        assert await read(cluster) == list(range(COUNT))


async def test_the_metadata_is_mended_as_well(tmp_path: Path) -> None:
    """Its group has no other rules."""
    async with NodeCluster.running(tmp_path) as cluster:
        for number in range(5):
            await cluster.create(f"t{number}")
        node = cluster["n2"]
        group = node.running.host.group(METADATA_GROUP)
        last = group.log.last_index
        await cluster.until(lambda: group.applied_index == last, "all is applied")
        hit(node, METADATA_GROUP, last - 1)
        assert not is_whole(node, METADATA_GROUP)
        await node.running.scrub.once()
        assert is_whole(node, METADATA_GROUP)
        assert node.running.host.group(METADATA_GROUP) is group, "it ran all the time"


async def test_what_no_replica_has_any_more_is_set_aside_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same record is bad everywhere: nothing is made up, and the node goes on with all the rest."""
    monkeypatch.setattr("consensus.core.fetching.GIVE_UP_S", 0.2)
    async with NodeCluster.running(tmp_path) as cluster:
        raft_group = await filled(cluster, **SMALL)
        await restart(cluster)
        for node in cluster.up:
            hit(node, raft_group, 9)
        node = cluster["n1"]
        await node.running.scrub.once()
        await cluster.until(
            lambda: raft_group in node.running.replicas.local and votes_given_up(node, raft_group) > 0,
            "the replica is opened again without its vote",
        )
        assert node.running.host.group(raft_group).log.last_index < 9


async def test_a_bad_copy_of_vote_or_checkpoint_is_written_anew(tmp_path: Path) -> None:
    """From the other copy, or from what the running replica knows."""
    async with NodeCluster.running(tmp_path) as cluster:
        raft_group = await filled(cluster)
        node = cluster["n3"]
        folder = node.data_dir / "groups" / str(raft_group)
        vote, checkpoint = folder / "vote", folder / "checkpoint"
        before = (node.running.host.group(raft_group).term, checkpoint.read_bytes())
        for path, places in ((vote, range(0, 16384, 4096)), (checkpoint, (8,))):
            data = bytearray(path.read_bytes())
            for place in places:
                data[place + 8 : place + 12] = b"XXXX"
            path.write_bytes(data)
        await node.running.scrub.once()
        assert checkpoint.read_bytes() == before[1]
        await node.stop()
        node.start()
        await cluster.ready()
        assert node.running.host.group(raft_group).term >= before[0]
        assert votes_given_up(node, raft_group) == 0
        assert not (folder / "lost").exists()
