"""Replicas that move while a producer writes, on a real cluster."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import floodmark

from chaos.cluster import ChaosCluster
from chaos.faults import Aim, Drain, Injection, Kill, Moves
from chaos.recovery import wait_caught_up, wait_moved
from tests.chaos.faulty import TOPIC
from tests.process.ledger import Ledger


async def test_a_node_is_drained_and_replicas_go_to_and_fro_while_one_is_killed(
    toxiproxy_binary: Path, tmp_path: Path
) -> None:
    """All leave the node and come again; nothing acknowledged is lost, doubled or moved."""
    async with ChaosCluster.running(tmp_path, 4, binary=toxiproxy_binary) as cluster:
        async with floodmark.Client(cluster.urls) as client:
            made = await client.topics.create(TOPIC, partitions=2, replication_factor=3)
            drained = made.partitions[0].replicas[0]

            ledger = Ledger(TOPIC, 2)

            async def until(is_so: Any, what: str) -> None:
                async with asyncio.timeout(90):
                    while not is_so([p.replicas for p in (await client.topics.describe(TOPIC)).partitions]):
                        await ledger.wait_acknowledged(1)  # It happens on other processes, as that does.
                print(what)  # noqa: T201 - pytest shows it with a failure

            async with ledger.writing(cluster.urls):
                await ledger.wait_acknowledged(200)
                async with Injection(Drain(aim=Aim(node=drained)), cluster):
                    await until(lambda held: all(drained not in nodes for nodes in held), "all have left")
                rng = random.Random(1)
                async with Injection(Moves(aim=Aim(node=drained), every_s=0.3), cluster, rng=rng):
                    await until(lambda held: any(drained in nodes for nodes in held), "one came back")
                    async with Injection(Kill(aim=Aim(node=drained)), cluster):
                        await ledger.wait_acknowledged(200)
                await cluster.ready()
                assert await wait_moved(cluster, 60) == []
                await ledger.wait_acknowledged(200)
            described = (await client.topics.describe(TOPIC)).partitions
            assert [len(partition.replicas) for partition in described] == [3, 3]
        assert await wait_caught_up(cluster, [TOPIC], 60) == []
        await ledger.check(cluster.urls)
        assert not ledger.unsettled
        assert cluster.died() == {}
