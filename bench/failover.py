"""How long writes are interrupted when a leader dies, stops, or a majority is paused: ``python -m
bench.failover``.

Writers post to every node, one request at a time each, and retry 20 ms after a failure; a gap is the longest
time around an event in which none of them got an acknowledgement by a quorum. About four minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import floodmark

from bench.machine import measure, percentile
from local.cluster import LocalCluster

TOPIC = "failover"
PATH = f"/v1/topics/{TOPIC}/partitions/0/records"
ATTEMPT_S = 0.5
WATCH_S = 12.0
AWAY_S = 3.0


class Writers:
    """Writes without pause and remembers when it was acknowledged."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self.acknowledged: list[float] = []
        self._new = asyncio.Event()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """One writer per node."""
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            tasks = [asyncio.create_task(self._write(session, url)) for url in self._urls]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, session: aiohttp.ClientSession, url: str) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(url + PATH, json={"value": 1}) as answer:
                    await answer.read()
                    if answer.status == 200:
                        self.acknowledged.append(time.monotonic())
                        self._new.set()
                        await asyncio.sleep(0.005)
                        continue
            await asyncio.sleep(0.02)

    async def gap(self, event: Callable[[], Awaitable[None]]) -> tuple[float, float]:
        """The longest gap around ``event``, and the time from its end to the first acknowledgement."""
        await self._one_more(time.monotonic())
        first = len(self.acknowledged) - 1
        await event()
        ended = time.monotonic()
        await self._one_more(ended)
        until = self.acknowledged[-1]
        # A leader that does not know of the event yet may still acknowledge: look a little further.
        while time.monotonic() < min(until + 2.0, ended + WATCH_S):
            await self._one_more(time.monotonic())
        times = self.acknowledged[first:]
        after = next(at for at in times if at >= ended) - ended
        return max(b - a for a, b in itertools.pairwise(times)), after

    async def _one_more(self, since: float) -> None:
        async with asyncio.timeout(60):
            while not self.acknowledged or self.acknowledged[-1] < since:
                self._new.clear()
                await self._new.wait()


class Events:
    """What happens to the cluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.urls = [node.url for node in cluster.nodes.values()]
        self.down: list[str] = []

    async def leader(self) -> str:
        """The leader of the partition."""
        async with floodmark.Client(self.urls) as client:
            while True:
                with contextlib.suppress(floodmark.FloodmarkError):
                    leader = (await client.topics.describe(TOPIC)).partitions[0].leader
                    if leader is not None:
                        return str(leader)
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """kill -9 the leader."""
        self.down = [await self.leader()]
        await self._cluster.kill(*self.down)

    async def stop(self) -> None:
        """SIGTERM to the leader: it hands over, then ends."""
        self.down = [await self.leader()]
        await self._cluster.stop(*self.down)

    async def pause_majority(self) -> None:
        """SIGSTOP to the leader and one more, SIGCONT a while later; returns with that."""
        leader = await self.leader()
        names = [leader, next(name for name in self._cluster.nodes if name != leader)]
        self._cluster.pause(*names)
        await asyncio.sleep(AWAY_S)
        self._cluster.resume(*names)

    async def back(self) -> None:
        """Start what was ended, and wait until all replicas have caught up."""
        down, self.down = self.down, []
        if down:
            await self._cluster.start(*down)
            await self._cluster.ready(*down)
        async with floodmark.Client(self.urls) as client:
            while len((await client.topics.describe(TOPIC)).partitions[0].in_sync) < len(self.urls):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def report(name: str, seconds: list[float]) -> None:
    """One line."""
    print(
        f"{name:<58} n={len(seconds):<3} p50 {statistics.median(seconds):6.3f} s  "
        f"p99 {percentile(seconds, 0.99):6.3f} s  max {max(seconds):6.3f} s"
    )


async def run(kills: int, stops: int, pauses: int) -> None:
    """All three kinds of events, one after the other."""
    with tempfile.TemporaryDirectory(prefix="floodmark-failover-") as folder:
        cluster = LocalCluster(Path(folder), 3)
        try:
            await cluster.start()
            await cluster.ready()
            events = Events(cluster)
            async with floodmark.Client(events.urls) as client:
                await client.topics.create(TOPIC, partitions=1, replication_factor=3)
            writers = Writers(events.urls)
            found: dict[str, list[tuple[float, float]]] = {"kill": [], "stop": [], "pause": []}
            async with writers.writing():
                for name, event, count in (
                    ("kill", events.kill, kills),
                    ("stop", events.stop, stops),
                    ("pause", events.pause_majority, pauses),
                ):
                    for _ in range(count):
                        found[name].append(await writers.gap(event))
                        await events.back()
        finally:
            await cluster.kill(*cluster.children)
            cluster.close()
    report("longest gap: kill -9 the leader", [gap for gap, _ in found["kill"]])
    report("longest gap: SIGTERM to the leader, which hands over", [gap for gap, _ in found["stop"]])
    report("a majority paused: from SIGCONT to the first commit", [after for _, after in found["pause"]])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--stops", type=int, default=15)
    parser.add_argument("--pauses", type=int, default=10)
    arguments = parser.parse_args()
    print(measure())
    asyncio.run(run(arguments.kills, arguments.stops, arguments.pauses))


if __name__ == "__main__":
    main()
