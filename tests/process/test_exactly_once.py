"""Exactly once, on real processes: the program is killed, its nodes are, and both at random."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from floodmark import Client, ConsumedRecord

from tests.process.doubling import FENCED, SOURCE, TARGET, outputs, step
from tests.support.processes import ProcessCluster

PARTITIONS = 2
GROUP = "doubling"
ROOT = Path(__file__).parents[2]
FAULTS = ("program", "node", "both", "overlap")


class Programs:
    """Instances of the program, of which the last one is meant to run."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self.running: list[asyncio.subprocess.Process] = []
        self.ended: list[int] = []

    async def start(self) -> None:
        """One more."""
        command = (sys.executable, "-m", "tests.process.doubling", GROUP, *self._urls)
        program = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        self.running.append(program)

    async def kill(self) -> None:
        """All of them, in the middle of whatever they do."""
        for program in self.running:
            with contextlib.suppress(ProcessLookupError):
                program.kill()
            self.ended.append(await program.wait())
        self.running.clear()


class Run:
    """A source that is filled while its program is disturbed."""

    def __init__(self, cluster: ProcessCluster, seed: int) -> None:
        print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
        self.cluster = cluster
        self.rng = random.Random(seed)
        self.programs = Programs(cluster.urls)
        self.numbers = 0
        self.seen = 0
        self.down: set[str] = set()
        self.records: AsyncIterator[ConsumedRecord]

    async def fill(self, client: Client, count: int) -> None:
        """Each partition of the source gets all numbers, in order."""
        numbers = list(range(self.numbers, self.numbers + count))
        self.numbers += count
        async with client.producer(SOURCE) as producer:
            for partition in range(PARTITIONS):
                keys = [f"k{number}" for number in numbers]
                await producer.send_many(numbers, keys=keys, partition=partition, timestamp=7)

    @property
    def expected(self) -> int:
        """Records that the target comes to have."""
        return PARTITIONS * sum(len(outputs(number)) for number in range(self.numbers))

    async def disturb(self, client: Client, fault: str) -> None:
        """Do it now."""
        print(f"{fault} after {self.seen} of {self.expected} records")  # noqa: T201 - likewise
        if fault == "overlap":
            await self._overlap(client)
            return
        for name in list(self.down):
            await self.cluster.ready(name)
            self.down.discard(name)
        victim = ""
        if fault in ("node", "both"):
            victim = await self.cluster.leader(TARGET, self.rng.randrange(PARTITIONS))
            await self.cluster.kill(victim)
        if fault in ("program", "both"):
            await self.programs.kill()
            await self.programs.start()
        if victim:
            await self.cluster.start(victim)
            self.down.add(victim)

    async def _overlap(self, client: Client) -> None:
        """Another instance begins; the first one is told when it has something to store."""
        first = self.programs.running[0]
        # One that was started a moment ago may still have to take partitions over: it would fence the other.
        await self.fill(client, 40)
        async with asyncio.timeout(60):
            assert first.stdout is not None
            begun = {await first.stdout.readline() for _ in range(PARTITIONS)}
            assert begun == {b"%d\n" % partition for partition in range(PARTITIONS)}
        await self.programs.start()
        async with asyncio.timeout(60):
            while first.returncode is None:
                await self.fill(client, 40)
                await self._read(self.expected)
        self.programs.ended.append(first.returncode)
        assert first.returncode == FENCED
        del self.programs.running[0]

    async def _read(self, until: int) -> None:
        while self.seen < until:
            await anext(self.records)
            self.seen += 1

    async def work(self, client: Client, faults: Sequence[str], between: int) -> None:
        """Each fault in the middle of what there is to do; then to the end."""
        self.records = aiter(client.read(TARGET, follow=True))
        for fault in faults:
            await self.fill(client, between)
            left = self.expected - self.seen
            await self._read(self.seen + self.rng.randint(1, max(1, left // 2)))
            await self.disturb(client, fault)
        await self._read(self.expected)

    async def check(self, client: Client) -> None:
        """What is there is what a run without faults makes, to the record; and there is no more to do."""
        await self.programs.kill()
        left = await client.process(SOURCE, TARGET, group=GROUP, step=step, follow=False)
        assert left.records_stored == 0
        expected = [
            (str(value).encode(), f"k{number}".encode() if place == 0 else None)
            for number in range(self.numbers)
            for place, value in enumerate(outputs(number))
        ]
        for partition in range(PARTITIONS):
            found = [record async for record in client.read(TARGET, partition)]
            assert [(record.value, record.key) for record in found] == expected
            assert {record.timestamp for record in found} == {7}


@contextlib.asynccontextmanager
async def begun(folder: Path, seed: int) -> AsyncIterator[tuple[Run, Client]]:
    """A cluster with an empty source, and the program that processes it."""
    async with ProcessCluster.running(folder) as cluster, Client(cluster.urls, timeout_s=60) as client:
        for topic in (SOURCE, TARGET):
            await client.topics.create(topic, partitions=PARTITIONS, replication_factor=3)
        run = Run(cluster, seed)
        try:
            await run.programs.start()
            yield run, client
        finally:
            await run.programs.kill()


async def test_program_and_nodes_are_killed(tmp_path: Path) -> None:
    """Each fault once, in the middle of the work."""
    async with begun(tmp_path / "cluster", random.randrange(1 << 32)) as (run, client):
        async with asyncio.timeout(150):
            await run.work(client, run.rng.sample(FAULTS, len(FAULTS)), between=400)
            await run.check(client)
        assert FENCED in run.programs.ended


@pytest.mark.long
@pytest.mark.parametrize("number", range(3))
async def test_program_and_nodes_are_killed_again_and_again(tmp_path: Path, number: int) -> None:
    """At random."""
    del number
    async with begun(tmp_path / "cluster", random.randrange(1 << 32)) as (run, client):
        async with asyncio.timeout(600):
            await run.work(client, run.rng.choices(FAULTS, k=16), between=3_000)
            await run.check(client)
