"""Network faults on a real cluster, while a producer writes."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import floodmark
import pytest
from floodmark.errors import OutcomeUnknown, Unavailable

from chaos.cluster import ChaosCluster
from chaos.faults import Aim, Cut, Injection, Latency, Target
from tests.chaos.faulty import ALL, LEADER, TOPIC, running, toxics


async def _other_leader(cluster: ChaosCluster, before: str) -> None:
    """Wait until somebody else leads."""
    async with asyncio.timeout(20):
        while await cluster.view.leader(TOPIC) == before:  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.05)


async def test_a_leader_that_is_not_heard_is_replaced(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """One-way cut of all that the leader says: another one takes over, and produce goes on."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(500)
            async with Injection(Cut(aim=LEADER, direction="out"), cluster) as cut:
                await _other_leader(cluster, cut.nodes[0])
                await ledger.wait_acknowledged(500)
            assert await toxics(cluster) == 0
            await ledger.wait_acknowledged(500)
        await ledger.check(cluster.urls)


async def test_latency_between_nodes_shows_and_loses_nothing(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """An acknowledgement needs a way there and a way back, each 100 ms longer now."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with floodmark.Client(cluster.urls) as client:
            every_link = Latency(aim=ALL, latency_ms=100, jitter_ms=10)
            async with Injection(every_link, cluster):
                began = time.monotonic()
                await client.produce(TOPIC, ledger.value(0), partition=0)
                assert time.monotonic() - began > 0.18  # a lower bound holds on every machine
                ledger.sent, ledger.unsettled = 1, {0: "written beside the ledger's own"}
                async with ledger.writing(cluster.urls):
                    await ledger.wait_acknowledged(500)
        await ledger.check(cluster.urls)


async def test_without_a_majority_nothing_is_acknowledged(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Two of three nodes alone: produce says unavailable or unknown, never yes; healed, it goes on."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
        cut = Injection(Cut(aim=Aim(target=Target.MAJORITY)), cluster, rng=random.Random(seed))
        async with floodmark.Client(cluster.urls) as client:
            async with cut:
                for number in range(4):
                    ledger.sent += 1
                    with pytest.raises((Unavailable, OutcomeUnknown)) as caught:
                        await client.produce(TOPIC, ledger.value(number), partition=0, timeout_s=1)
                    ledger.unsettled[number] = caught.value.code
            async with ledger.writing(cluster.urls):
                await ledger.wait_acknowledged(500)
        await ledger.check(cluster.urls)
