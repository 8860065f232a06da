"""The promise, on real processes: what was acknowledged is there afterwards, once, in order, everywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import floodmark

from storage.filesystem import RealFileSystem
from storage.verify import verify
from tests.process.ledger import Ledger
from tests.support.processes import ProcessCluster

TOPIC = "numbers"
PARTITIONS = 3


async def _make_topic(cluster: ProcessCluster) -> Ledger:
    async with floodmark.Client(cluster.urls) as client:
        await client.topics.create(TOPIC, partitions=PARTITIONS, replication_factor=3)
    return Ledger(TOPIC, PARTITIONS)


async def _check_everything(cluster: ProcessCluster, ledger: Ledger) -> None:
    """Read back through HTTP; then end all nodes at once and compare what lies on their disks."""
    await ledger.check(cluster.urls)
    await cluster.wait_caught_up(TOPIC)
    await cluster.kill(*cluster.children)
    digests: dict[str, set[str]] = {}
    for name in cluster.nodes:
        for replica in verify(RealFileSystem(), str(cluster.data_dir(name))):
            assert replica.is_sound, replica.findings
            digests.setdefault(Path(replica.path).name, set()).add(replica.digest)
    assert len(digests) == PARTITIONS + 1, f"replicas on disk: {sorted(digests)}"
    differing = {group: found for group, found in digests.items() if len(found) > 1 and group != "0"}
    assert not differing, f"replicas differ: {differing}"


async def test_each_leader_killed_in_turn_for_three_rounds(tmp_path: Path) -> None:
    """kill -9 the leader of every partition in turn, three rounds, while a producer writes all the time."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        ledger = await _make_topic(cluster)
        ledger.rest_s = 0.04  # At full speed the records leave nodes that start little of the processors.
        async with ledger.writing(cluster.urls):
            for _ in range(3):
                for partition in range(PARTITIONS):
                    await ledger.wait_acknowledged(500)
                    leader = await cluster.leader(TOPIC, partition)
                    await cluster.kill(leader)
                    await ledger.wait_acknowledged(500)
                    await cluster.start(leader)
                    await cluster.ready(leader)
        assert len(ledger.acknowledged) >= 3 * PARTITIONS * 1000
        await _check_everything(cluster, ledger)


async def test_all_three_killed_at_once(tmp_path: Path) -> None:
    """kill -9 the whole cluster in the middle of writing; after the restart nothing is missing."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        ledger = await _make_topic(cluster)
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(3_000)
            await cluster.kill(*cluster.nodes)
            await cluster.start()
            await cluster.ready()
            await ledger.wait_acknowledged(3_000)
        await _check_everything(cluster, ledger)


async def test_a_leader_that_is_paused_for_five_seconds_and_goes_on(tmp_path: Path) -> None:
    """SIGSTOP a leader until others have taken over; when it wakes up it must not confirm anything wrong."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        ledger = await _make_topic(cluster)
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(2_000)
            leader = await cluster.leader(TOPIC, 0)
            cluster.pause(leader)
            await asyncio.gather(asyncio.sleep(5), ledger.wait_acknowledged(2_000))
            cluster.resume(leader)
            await ledger.wait_acknowledged(2_000)
        await _check_everything(cluster, ledger)


async def test_a_follower_that_missed_200_mb_catches_up(tmp_path: Path) -> None:
    """A node that was away while 200 MB were written gets them all, and its logs equal the others'."""
    async with ProcessCluster.running(tmp_path / "cluster") as cluster:
        ledger = await _make_topic(cluster)
        ledger.record_bytes = 64_000
        leader = await cluster.leader(TOPIC, 0)
        away = next(name for name in cluster.nodes if name != leader)
        await cluster.kill(away)
        async with ledger.writing([node.url for node in cluster.nodes.values() if node.name != away]):
            await ledger.wait_acknowledged(200_000_000 // ledger.record_bytes + 1, deadline_s=120)
        await cluster.start(away)
        await cluster.ready(away)
        await _check_everything(cluster, ledger)
