"""Disks that fail below running nodes: others go on, and the node comes back once its disk is well."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest

from chaos.cluster import ChaosCluster
from chaos.faults import (
    Aim,
    DiskError,
    DiskFull,
    Fault,
    Injection,
    Kill,
    PowerLoss,
    Restart,
    ShortWrites,
    SlowSync,
    Target,
)
from tests.chaos.faulty import ALL, LEADER, TOPIC, running

_METADATA = Aim(target=Target.METADATA_LEADER)


async def _metric(cluster: ChaosCluster, node: str, name: str) -> float:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{cluster.direct_url(node)}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


@pytest.mark.parametrize(
    "fault",
    [DiskFull(aim=LEADER), DiskError(aim=LEADER, operation="sync")],
    ids=["full", "failing syncs"],
)
async def test_the_disk_below_a_leader_fails(toxiproxy_binary: Path, tmp_path: Path, fault: Fault) -> None:
    """Another one leads, producers go on; when the disk is well the replica runs again, with no restart."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(1_000)
            before = dict(cluster.processes.children)
            injection = Injection(fault, cluster)
            async with injection:
                # More than was in flight: the last of these need the new leader.
                await ledger.wait_acknowledged(5_000)
                failed = await _metric(cluster, injection.nodes[0], "floodmark_replicas_failed_total")
            await cluster.ready()
            await ledger.wait_acknowledged(1_000)
        await ledger.check(cluster.urls)
        assert failed >= 1
        assert cluster.processes.children == before


async def test_a_node_is_started_again_once_its_disk_takes_its_start(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """It would end at once, since it has to store that it was started; so it stays down until then. A disk
    that begins to fail just after a start lets the node come up first."""
    aim = Aim(node="n2")
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        async with Injection(DiskFull(aim=aim), cluster):
            async with Injection(Restart(aim=aim), cluster), Injection(Kill(aim=aim), cluster):
                assert not cluster.runs("n2")
            assert not cluster.runs("n2")
        assert cluster.runs("n2")
        async with Injection(DiskError(aim=aim, operation="write"), cluster):
            assert cluster.runs("n2")
        await cluster.ready()


async def test_a_leader_whose_disk_stalls_gives_way(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Its fsyncs take far longer than anybody should wait: another one leads, and nothing is lost."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(1_000)
            before = dict(cluster.processes.children)
            injection = Injection(SlowSync(aim=LEADER, delay_ms=6_000), cluster)
            async with injection, asyncio.timeout(30):
                while await cluster.view.leader(TOPIC) in injection.nodes:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
                await ledger.wait_acknowledged(500)
            await cluster.ready()
        await ledger.check(cluster.urls)
        assert cluster.processes.children == before


async def test_the_disk_below_a_leader_cannot_be_read(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The first read that meets it is told to try again; another replica leads and answers it."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(1_000)
        injection = Injection(DiskError(aim=LEADER, operation="read"), cluster)
        async with injection:
            await ledger.check(cluster.urls)
            assert await cluster.view.leader(TOPIC) not in injection.nodes
        await cluster.ready()
        await ledger.check(cluster.urls)


async def test_slow_syncs_and_short_writes_lose_nothing(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """All disks are slow, and take only a part of each write: everything takes longer, and is stored."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with (
            ledger.writing(cluster.urls),
            Injection(SlowSync(aim=ALL, delay_ms=30), cluster),
            Injection(ShortWrites(aim=ALL), cluster),
        ):
            await ledger.wait_acknowledged(3_000)
        await ledger.check(cluster.urls)
        assert not ledger.unsettled


async def test_power_loss_of_the_leader_then_of_all(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Again and again, at any moment: what was acknowledged is there, whatever else was lost."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    rng = random.Random(seed)
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            for fault in (PowerLoss(aim=LEADER), PowerLoss(aim=ALL)):
                await ledger.wait_acknowledged(rng.randint(500, 5_000))
                async with Injection(fault, cluster, rng=rng):
                    pass
            await cluster.ready()
            await ledger.wait_acknowledged(500)
        await ledger.check(cluster.urls)


async def test_power_loss_takes_what_a_kill_leaves(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The mark of the last sync is written and never synced: a kill leaves it, a loss of power takes it."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(2_000)
        folder = cluster.processes.data_dir("n1") / "groups" / "1"
        found = []
        for fault in (Kill(aim=ALL), PowerLoss(aim=ALL, written_back=False)):
            await Injection(fault, cluster).inject()
            found.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
        killed, left = found
        assert killed["synced"] != left.get("synced")
        segment = max(left, key=lambda name: len(left[name]))
        assert killed[segment].startswith(left[segment])
        assert len(left[segment]) > 2_000 * ledger.record_bytes


async def _make_topic(session: aiohttp.ClientSession, url: str) -> int:
    async with session.put(f"{url}/v1/topics/new", json={"partitions": 1, "replication_factor": 3}) as answer:
        return answer.status


async def test_the_metadata_leaders_disk_is_full(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Topics are made meanwhile, by another leader; then the node takes part again, without a restart."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _), aiohttp.ClientSession() as session:
        before = dict(cluster.processes.children)
        injection = Injection(DiskFull(aim=_METADATA), cluster)
        async with injection:
            others = [name for name in cluster.names if name not in injection.nodes]
            async with asyncio.timeout(30):
                # The first one may meet the leader whose disk fails, and then it may be stored or not.
                while await _make_topic(session, cluster.direct_url(others[0])) not in (200, 201):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        await cluster.ready()
        async with session.get(f"{cluster.direct_url(injection.nodes[0])}/v1/topics") as answer:
            assert "new" in await answer.text()
        assert cluster.processes.children == before
