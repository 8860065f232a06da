"""Process faults on a real cluster, while a producer writes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from chaos.cluster import ChaosCluster
from chaos.faults import Aim, Injection, KillStorm, RollingRestart
from tests.chaos.faulty import ALL, running
from tests.process.ledger import Ledger


async def _started_again(cluster: ChaosCluster, ledger: Ledger, name: str) -> None:
    """Wait until a node is another process than now, while records are acknowledged."""
    before = cluster.processes.children.get(name)
    async with asyncio.timeout(60):
        while cluster.processes.children.get(name) in (before, None):
            await ledger.wait_acknowledged(1)


async def test_a_storm_of_kills_on_one_node(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """One node is killed again and again: the other two go on, and the node is whole when it is over."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            storm = Injection(KillStorm(aim=Aim(node="n2"), up_s=1.5), cluster, rng=random.Random(1))
            async with storm:
                for _ in range(3):
                    await _started_again(cluster, ledger, "n2")
            await cluster.ready()
        await ledger.check(cluster.urls)


async def test_a_rolling_restart_of_all_nodes(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Each node in turn stops in order and serves again before the next one; a producer hardly notices."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            async with Injection(RollingRestart(aim=ALL), cluster):
                await asyncio.gather(*(_started_again(cluster, ledger, name) for name in cluster.names))
            await cluster.ready()
        await ledger.check(cluster.urls)
        assert not ledger.unsettled


async def test_a_node_that_is_stopped_while_it_starts_has_not_died(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """SIGTERM ends a process that Python still loads: nothing of it was running, and it starts again."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, _):
        await cluster.hold_down("kill", "n1")
        await cluster.let_up("kill", "n1")
        await cluster.hold_down("stop", "n1", gently=True)
        assert cluster.died() == {}
        await cluster.let_up("stop", "n1")
        await cluster.ready()
