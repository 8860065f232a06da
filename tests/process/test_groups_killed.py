"""Groups on real processes: the leader of their shard is killed while members read, commit and live on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from floodmark import Client
from floodmark.errors import FloodmarkError
from floodmark.groups.shapes import Group

from node.metadata.domains.coordinator import COORDINATOR_TOPIC, SHARDS, shard_of
from tests.support.processes import ProcessCluster

GROUP = "billing"
PARTITIONS = 6
MEMBERS = 3
SESSION_S = 8.0
"""The test takes longer, so members who were not heard at the next leader would be gone. On a busy
machine it may stand still for five seconds between two heartbeats."""


class Readers:
    """Members of one group, each a consumer in a client of its own."""

    def __init__(self, cluster: ProcessCluster) -> None:
        self._cluster = cluster
        self._tasks: list[asyncio.Task[None]] = []
        self.read: Counter[tuple[int, int]] = Counter()
        """(partition, offset) -> how often it was given to somebody."""
        self.changes = 0
        """How often partitions came or went."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They leave in the end."""
        urls = self._cluster.urls
        self._tasks = [asyncio.create_task(self._consume(urls[n:] + urls[:n])) for n in range(MEMBERS)]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _changed(self, _partitions: object) -> None:
        self.changes += 1

    async def _consume(self, urls: list[str]) -> None:
        async with Client(urls, timeout_s=60) as client:
            async for record in client.consume(
                "orders",
                group=GROUP,
                session_timeout_s=SESSION_S,
                on_assigned=self._changed,
                on_revoked=self._changed,
                on_lost=self._changed,
            ):
                self.read[record.partition, record.offset] += 1

    async def have(self, ends: dict[int, int]) -> None:
        """Wait until everything below these offsets was read. Raises what a reader has ended with."""
        async with asyncio.timeout(60):
            while any(end == 0 or self.read[each, end - 1] == 0 for each, end in ends.items()):
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)


class Writer:
    """Writes to all partitions all the time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ends = dict.fromkeys(range(PARTITIONS), 0)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with self._client.producer("orders") as producer:
            number = 0
            while True:
                partition = number % PARTITIONS
                ack = await producer.send({"n": number}, partition=partition)
                self.ends[partition] = (await ack).offset + 1
                number += 1
                await asyncio.sleep(0.005)


async def _commits_go_on(client: Client, reached: dict[int, int]) -> None:
    """What is committed, told by whoever coordinates, never goes back."""
    while True:
        with contextlib.suppress(FloodmarkError):
            for each in await client.groups.offsets(GROUP, timeout_s=10):
                assert each.offset >= reached.get(each.partition, 0), f"{each} after {reached}"
                reached[each.partition] = each.offset
        await asyncio.sleep(0.02)


async def _settled(client: Client) -> Group:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(FloodmarkError):
                group = await client.groups.describe(GROUP)
                if len(group.members) == MEMBERS and group.state == "stable":
                    return group
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.long)])
async def test_a_killed_coordinator_costs_no_member_and_no_record(tmp_path: Path, kills: int) -> None:
    """While everybody reads: nobody's partitions change, offsets go on, each record is read once."""
    async with (
        ProcessCluster.running(tmp_path) as cluster,
        Client(cluster.urls, timeout_s=60) as client,
    ):
        await client.topics.create("orders", partitions=PARTITIONS, replication_factor=3)
        readers, writer, reached = Readers(cluster), Writer(client), dict[int, int]()
        async with readers.running():
            before = await _settled(client)
            writing = asyncio.create_task(writer.run())
            watching = asyncio.create_task(_commits_go_on(client, reached))
            await readers.have(writer.ends)  # A reader hears of what it has a moment after it is settled.
            changes = readers.changes
            began = asyncio.get_running_loop().time()
            for _ in range(kills):
                await readers.have(writer.ends)
                leader = await cluster.leader(COORDINATOR_TOPIC, shard_of(GROUP, SHARDS))
                await cluster.kill(leader)
                at = dict(writer.ends)
                async with asyncio.timeout(60):
                    while any(reached.get(each, 0) <= end for each, end in at.items()):
                        await asyncio.sleep(0.02)
                        if watching.done():
                            watching.result()
                await cluster.start(leader)
                await cluster.ready(leader)
            while asyncio.get_running_loop().time() < began + 1.3 * SESSION_S:
                await readers.have(writer.ends)
                await asyncio.sleep(0.1)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            tail = await asyncio.gather(*(client.tail("orders", each) for each in range(PARTITIONS)))
            await readers.have({each: end.high_watermark for each, end in enumerate(tail)})
            after = await _settled(client)
            assert not watching.done(), watching
            watching.cancel()
            assert (after.epoch, readers.changes) == (before.epoch, changes), "nobody's partitions changed"
            assert {each.member_id for each in after.members} == {each.member_id for each in before.members}
        assert set(readers.read.values()) == {1}
        assert set(readers.read) == {
            (each, offset) for each, end in enumerate(tail) for offset in range(end.high_watermark)
        }
