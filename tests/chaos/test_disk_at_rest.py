"""Damage to files of nodes that are down: a minority's is mended, a majority's is said and not guessed at."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import floodmark
import pytest

from chaos.cluster import ChaosCluster
from chaos.faults import (
    Aim,
    DeleteIndex,
    Fault,
    FlipBit,
    Injection,
    OldCopy,
    Target,
    TruncateSegment,
    WipeFolder,
)
from chaos.recovery import wait_scrubbed
from tests.chaos.faulty import ALL, LEADER, TOPIC, running
from tests.process.ledger import Ledger

_MAJORITY = Aim(target=Target.MAJORITY)
_METADATA = Aim(target=Target.METADATA_LEADER)
Running = tuple[ChaosCluster, Ledger]


@pytest.fixture
def rng() -> random.Random:
    """What is random, from a seed that is shown."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with the failure
    return random.Random(seed)


@pytest.fixture
async def three(toxiproxy_binary: Path, tmp_path: Path) -> AsyncIterator[Running]:
    """A cluster with some thousand records."""
    async with running(tmp_path, toxiproxy_binary) as (cluster, ledger):
        async with ledger.writing(cluster.urls):
            await ledger.wait_acknowledged(3_000)
        yield cluster, ledger


async def _suffer(cluster: ChaosCluster, fault: Fault, rng: random.Random) -> list[str]:
    """Put a fault into force and heal it; the nodes, once all are ready."""
    injection = Injection(fault, cluster, rng=rng)
    async with injection:
        pass
    await cluster.ready()
    return injection.nodes


def _said(cluster: ChaosCluster, node: str, event: str) -> bool:
    return f'"event": "{event}"' in cluster.processes.nodes[node].log.read_text()


async def _until_said(cluster: ChaosCluster, node: str, event: str) -> None:
    async with asyncio.timeout(30):
        while not _said(cluster, node, event):  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(0.05)


async def test_damage_of_one_replica_after_the_other(three: Running, rng: random.Random) -> None:
    """Flipped bits, a cut segment, an old copy, no indexes: each is mended, nothing is lost."""
    cluster, ledger = three
    for fault in (
        FlipBit(aim=LEADER),
        TruncateSegment(aim=Aim(node="n2")),
        DeleteIndex(aim=ALL),
        FlipBit(aim=Aim(node="n3"), file="vote"),
    ):
        await _suffer(cluster, fault, rng)
    async with ledger.writing(cluster.urls):
        async with Injection(OldCopy(aim=Aim(node="n3")), cluster, rng=rng):
            await ledger.wait_acknowledged(2_000)
        await cluster.ready()
        await ledger.wait_acknowledged(500)
    await ledger.check(cluster.urls)


async def test_a_bit_that_flips_where_no_start_looks(three: Running, rng: random.Random) -> None:
    """Before the checkpoint: reading through the log finds it, and it is mended while the replica runs."""
    cluster, ledger = three
    checkpoint = cluster.processes.data_dir("n1") / "groups" / "1" / "checkpoint"
    async with asyncio.timeout(30):
        while not checkpoint.exists():  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(0.05)
    nodes = await _suffer(cluster, FlipBit(aim=Aim(node="n1")), rng)
    assert await wait_scrubbed(cluster, cluster.names, 60) == []
    assert _said(cluster, nodes[0], "log_mended")
    assert "set_aside" not in cluster.processes.nodes[nodes[0]].log.read_text(), "its vote was given up"
    await cluster.ready()
    await ledger.check(cluster.urls)


async def test_bits_that_flip_on_two_replicas_where_no_start_looks(
    three: Running, rng: random.Random
) -> None:
    """In different records before the checkpoint: each replica mends its own from one that has it whole."""
    cluster, ledger = three
    folders = [cluster.processes.data_dir(name) / "groups" / "1" for name in ("n1", "n2")]
    async with asyncio.timeout(30):
        while not all((folder / "checkpoint").exists() for folder in folders):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    both = [Injection(FlipBit(aim=Aim(node=name)), cluster, rng=rng) for name in ("n1", "n2")]
    for injection in both:
        await injection.inject()
    for injection in both:
        await injection.heal()
    await cluster.ready()
    for name in ("n1", "n2"):
        await _until_said(cluster, name, "log_mended")
        assert "set_aside" not in cluster.processes.nodes[name].log.read_text(), name
    await ledger.check(cluster.urls)


async def test_a_flipped_bit_on_a_majority(three: Running, rng: random.Random) -> None:
    """The partition has no leader, every node says so, and nobody serves anything."""
    cluster, _ = three
    injection = Injection(FlipBit(aim=_MAJORITY), cluster, rng=rng)
    await injection.inject()
    # Together with those that are hit: the third has no chance to make up for one of them before.
    await injection.heal()
    for node in injection.nodes:
        await _until_said(cluster, node, "log_corrupt")
    async with aiohttp.ClientSession() as session:
        urls = [
            f"{cluster.direct_url(n)}/v1/topics/{TOPIC}/partitions/0/records?from=0" for n in cluster.names
        ]
        for answer in await asyncio.gather(*map(session.get, urls)):
            assert answer.status == 503, await answer.text()
            assert (await answer.json())["code"] == "unavailable"
        for node in injection.nodes:
            async with session.get(f"{cluster.direct_url(node)}/readyz") as answer:
                assert answer.status == 503
                assert "lost data" in await answer.text()
        for node in cluster.names:
            async with session.get(f"{cluster.direct_url(node)}/v1/topics/{TOPIC}") as answer:
                assert (await answer.json())["partitions"][0]["leader"] is None, node


async def test_damage_of_the_metadata_on_a_minority(three: Running, rng: random.Random) -> None:
    """Log or vote of its leader: topics are still there, and new ones can be made."""
    cluster, ledger = three
    for number, fault in enumerate(
        (FlipBit(aim=_METADATA, of="metadata"), FlipBit(aim=_METADATA, of="metadata", file="vote"))
    ):
        await _suffer(cluster, fault, rng)
        async with floodmark.Client(cluster.urls) as client:
            await client.topics.create(f"new-{number}", partitions=1)
            assert [topic.name async for topic in client.topics.list()] == [
                *(f"new-{earlier}" for earlier in range(number + 1)),
                TOPIC,
            ]
    await ledger.check(cluster.urls)


async def test_a_node_comes_back_with_an_empty_folder(three: Running, rng: random.Random) -> None:
    """It is told that it had another one, has no vote before it has everything, and then bears a failure."""
    cluster, ledger = three
    await _suffer(cluster, WipeFolder(aim=Aim(node="n3")), rng)
    assert _said(cluster, "n3", "data_folder_replaced")
    # Ready means that it votes again: with it, any other one may be lost.
    await cluster.hold_down("test", "n1")
    async with ledger.writing(cluster.urls):
        await ledger.wait_acknowledged(500)
    await cluster.let_up("test", "n1")
    await cluster.ready()
    await ledger.check(cluster.urls)
