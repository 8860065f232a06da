"""Speed of a three-node cluster on this machine, client included: ``python -m bench.cluster``.

Every figure is with acks=quorum and fsync, the median of three rounds, spread beside it; latencies are
of single requests. All nodes and the client share the machine's cores.
"""

from __future__ import annotations

import asyncio
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import floodmark
import uvloop

from bench.machine import measure, percentile

ROUNDS = 3
PARTITIONS = 3
SECONDS = 4.0


@dataclass(slots=True)
class Round:
    """One measured run: how much in how long, and how long each request took, in milliseconds."""

    seconds: float
    operations: int
    payload_bytes: int
    latencies_ms: list[float] = field(default_factory=list)


@contextmanager
def cluster() -> Iterator[list[str]]:
    """Three nodes as a user starts them, with their data in a temporary folder; gives their base URLs."""
    command = ["dev", "--temp", "--no-profile", "--http-port", "27070", "--peer-port", "27170"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        assert process.stderr is not None
        try:
            said: list[str] = []
            for line in process.stderr:
                said.append(line.decode().rstrip())
                if line.startswith(b"ready:"):
                    break
            else:
                raise RuntimeError(f"the cluster did not start: {said[-5:]}")
            drain = threading.Thread(target=process.stderr.read, daemon=True)
            drain.start()
            yield [word for word in line.decode().split() if word.startswith("http://")]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


async def single_records(urls: list[str], topic: str, callers: int, size: int, per_request: int = 1) -> Round:
    """``callers`` connections, each sending one request after the other straight to a leader."""
    body = _body(size, per_request)
    media = "application/octet-stream" if per_request == 1 else "application/vnd.floodmark.batch;v=1"
    targets = await _leader_urls(urls, topic)
    latencies: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": media}) as session:
        begin = time.perf_counter()
        end = begin + SECONDS

        async def call(number: int) -> None:
            url = targets[number % len(targets)]
            while (started := time.perf_counter()) < end:
                async with session.post(url, data=body) as answer:
                    text = await answer.read()
                    assert answer.status == 200, text
                latencies.append((time.perf_counter() - started) * 1e3)

        await asyncio.gather(*(call(number) for number in range(callers)))
        seconds = time.perf_counter() - begin
    return Round(seconds, len(latencies), len(latencies) * size * per_request, latencies)


async def produce(urls: list[str], topic: str, size: int, count: int, *, in_lists: bool) -> Round:
    """The Python producer, record by record or in lists of a thousand, until all are acknowledged."""
    value = bytes(size)
    async with floodmark.Client(urls) as client:
        begin = time.perf_counter()
        async with client.producer(topic, linger_ms=5, delivery_timeout_s=60) as producer:
            if in_lists:
                for _ in range(count // 1000):
                    await producer.send_many([value] * 1000)
            else:
                for _ in range(count):
                    await producer.send(value)
            await producer.flush()
        return Round(time.perf_counter() - begin, count, count * size)


async def consume(urls: list[str], topic: str, size: int, *, batches: bool) -> Round:
    """The Python consumer, from the start to the end of the topic."""
    count = 0
    async with floodmark.Client(urls) as client:
        begin = time.perf_counter()
        if batches:
            async for batch in client.read_batches(topic):
                count += len(batch.records)
        else:
            async for _record in client.read(topic):
                count += 1
        return Round(time.perf_counter() - begin, count, count * size)


def _body(size: int, per_request: int) -> bytes:
    if per_request == 1:
        return bytes(size)
    from floodmark.format.batch import encode  # noqa: PLC0415
    from floodmark.format.record import Record  # noqa: PLC0415

    return encode([Record(int(time.time() * 1000), None, bytes(size))] * per_request)


async def _leader_urls(urls: list[str], topic: str) -> list[str]:
    async with floodmark.Client(urls) as client:
        described = await client.topics.describe(topic)
        nodes = {node.node_id: node.http for node in await client.nodes()}
    return [
        f"{nodes[str(part.leader)]}/v1/topics/{topic}/partitions/{part.partition}/records"
        for part in described.partitions
    ]


def report(name: str, rounds: list[Round]) -> None:
    """One line: medians, and the lowest and highest round."""
    rates = [each.operations / each.seconds for each in rounds]
    megabytes = [each.payload_bytes / each.seconds / 1e6 for each in rounds]
    line = (
        f"{name:<44} {statistics.median(rates):>11,.0f}/s  [{min(rates):,.0f} to {max(rates):,.0f}]"
        f"  {statistics.median(megabytes):>7.1f} MB/s"
    )
    latencies = [each.latencies_ms for each in rounds if each.latencies_ms]
    if latencies:
        p50 = statistics.median(percentile(each, 0.5) for each in latencies)
        p99 = statistics.median(percentile(each, 0.99) for each in latencies)
        line += f"  p50 {p50:.2f} ms  p99 {p99:.2f} ms"
    print(line, flush=True)


async def main() -> None:
    """All measurements, about three minutes."""
    print(measure())
    with cluster() as urls:
        await _run_all(urls)


async def _run_all(urls: list[str]) -> None:
    made = 0

    async def rounds(name: str, run: Callable[[str], Awaitable[Round]], *, topic: str | None = None) -> str:
        nonlocal made
        done = []
        for _ in range(ROUNDS):
            target = topic
            if target is None:
                made += 1
                target = f"bench-{made}"
                async with floodmark.Client(urls) as client:
                    await client.topics.create(target, partitions=PARTITIONS, replication_factor=3)
            done.append(await run(target))
        report(name, done)
        return str(target)

    await rounds("(a) 1 caller, one 1 KiB record a request", lambda t: single_records(urls, t, 1, 1024))
    await rounds("(b) 64 callers, one 1 KiB record a request", lambda t: single_records(urls, t, 64, 1024))
    await rounds(
        "(b2) 8 callers, batches of 256 x 1 KiB", lambda t: single_records(urls, t, 8, 1024, per_request=256)
    )
    for size, count in ((1024, 200_000), (100, 1_000_000)):
        await rounds(
            f"(c) producer, {size} B, record by record",
            partial(produce, urls, size=size, count=count // 2, in_lists=False),
        )
        topic = await rounds(
            f"(c) producer, {size} B, in lists",
            partial(produce, urls, size=size, count=count, in_lists=True),
        )
        await rounds(
            f"(d) consumer, {size} B, record by record",
            partial(consume, urls, size=size, batches=False),
            topic=topic,
        )
        await rounds(
            f"(d) consumer, {size} B, by batches",
            partial(consume, urls, size=size, batches=True),
            topic=topic,
        )


if __name__ == "__main__":
    uvloop.run(main())
    sys.exit(0)
