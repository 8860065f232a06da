"""A real cluster behind proxies, for tests that put faults on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import floodmark

from chaos.cluster import ChaosCluster
from chaos.faults import Aim, Target
from chaos.links import http_link, peer_link
from tests.process.ledger import Ledger

TOPIC = "numbers"
LEADER = Aim(target=Target.LEADER, topic=TOPIC)
ALL = Aim(target=Target.ALL)


@contextlib.asynccontextmanager
async def running(folder: Path, binary: Path) -> AsyncIterator[tuple[ChaosCluster, Ledger]]:
    """Three nodes, and a topic of one partition; at the end every node has ended only when it was told to."""
    async with ChaosCluster.running(folder, binary=binary) as cluster:
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create(TOPIC, partitions=1, replication_factor=3)
        try:
            yield cluster, Ledger(TOPIC, 1)
        except BaseException:
            print(cluster.processes.logs())  # noqa: T201 - pytest shows it with the failure
            raise
        assert cluster.died() == {}


async def toxics(cluster: ChaosCluster) -> int:
    """How many there are on all proxies."""
    names = [http_link(name) for name in cluster.names]
    names += [peer_link(a, b) for a in cluster.names for b in cluster.names if a != b]
    found = await asyncio.to_thread(lambda: [cluster.links.control.toxics(name) for name in names])
    return sum(map(len, found))
