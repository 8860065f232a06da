"""The cost of the client: the codecs alone, Kafka's batches included, and, with ``--url``, a producer and
readers against running nodes.

python -m bench.client [--url http://localhost:7070] [--records 200000]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import statistics
import time
import uuid
from collections.abc import Callable

import floodmark
from floodmark.format import batch, kafka_batch, kafka_check
from floodmark.format.batch_check import check
from floodmark.format.record import Record
from floodmark.producer.partitioner import murmur2

from tests.support import kafka_batches

_ROUNDS = 15


def codec(value_bytes: int, count: int) -> None:
    """Encode, check and decode, per record."""
    value = bytes(index % 251 for index in range(value_bytes))
    records = [Record(1_700_000_000_000 + n, b"key-%d" % (n % 50), value) for n in range(count)]
    plain, packed = batch.encode(records), batch.encode(records, codec=batch.CODEC_ZSTD)
    for name, work in (
        ("encode", lambda: batch.encode(records)),
        ("encode zstd", lambda: batch.encode(records, codec=batch.CODEC_ZSTD)),
        ("check", lambda: check(plain)),
        ("check zstd", lambda: check(packed)),
        ("decode", lambda: batch.decode(plain)),
    ):
        seconds = _median(work)
        rate = count * value_bytes / seconds / 1e6
        print(f"  {name:12} {value_bytes:5} B  {seconds / count * 1e9:7.0f} ns/record  {rate:8.0f} MB/s")


def kafka(value_bytes: int) -> None:
    """Reading and checking a Kafka batch of 1 MiB with each codec, and reading one of format 2 beside it."""
    count = (1 << 20) // value_bytes
    value = bytes(index % 251 for index in range(value_bytes))
    records = [Record(1_700_000_000_000 + n, b"key-%d" % (n % 50), value) for n in range(count)]
    ours = {
        codec: batch.encode(records, codec=codec, format=2) for codec in (batch.CODEC_NONE, batch.CODEC_ZSTD)
    }
    theirs = {codec: kafka_batches.encode(records, codec=codec) for codec in ("none", "gzip", "zstd")}
    works: dict[str, Callable[[], object]] = {
        "format 2": lambda: batch.decode(ours[batch.CODEC_NONE]),
        "format 2 zstd": lambda: batch.decode(ours[batch.CODEC_ZSTD]),
    }
    for codec, data in theirs.items():
        works[f"Kafka {codec}"] = functools.partial(kafka_batch.decode, data)
        works[f"Kafka {codec}, check"] = functools.partial(kafka_check.check, data)
    for name, work in works.items():
        seconds = _median(work)
        rate = count * value_bytes / seconds / 1e6
        print(f"  {name:18} {value_bytes:5} B  {seconds / count * 1e9:7.0f} ns/record  {rate:8.0f} MB/s")


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


async def against(url: str, value_bytes: int, count: int) -> None:
    """Produce one by one and by lists, then read by records and by batches."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    value = bytes(value_bytes)
    async with floodmark.Client(url) as client:
        await client.topics.create(topic, partitions=6)

        async def one_by_one() -> None:
            async with client.producer(topic) as producer:
                for _ in range(count):
                    await producer.send(value)

        async def by_lists() -> None:
            async with client.producer(topic) as producer:
                for start in range(0, count, 1000):
                    await producer.send_many([value] * min(1000, count - start))

        async def read_records() -> None:
            async for _ in client.read(topic):
                pass

        async def read_batches() -> None:
            async for found in client.read_batches(topic):
                len(found.records)

        for name, work, total in (
            ("send", one_by_one, count),
            ("send_many", by_lists, count),
            ("read", read_records, 2 * count),
            ("read_batches", read_batches, 2 * count),
        ):
            start = time.perf_counter()
            await work()
            seconds = time.perf_counter() - start
            rate = total * value_bytes / seconds / 1e6
            print(f"  {name:12} {value_bytes:5} B  {total / seconds:9.0f} records/s  {rate:8.0f} MB/s")
        await client.topics.delete(topic)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a running node; without it only the codecs are measured")
    parser.add_argument("--records", type=int, default=200_000)
    arguments = parser.parse_args()
    print(f"codecs, median of {_ROUNDS}")
    for value_bytes, count in ((100, 5_000), (1024, 1_000)):
        codec(value_bytes, count)
    print("of 1 MiB")
    for value_bytes in (100, 1024):
        kafka(value_bytes)
    seconds = _median(lambda: murmur2(b"a-little-bit-long-string"))
    print(f"  murmur2         24 B  {seconds * 1e9:7.0f} ns/key")
    if arguments.url:
        print(f"against {arguments.url}, acks=quorum")
        for value_bytes in (100, 1024):
            asyncio.run(against(arguments.url, value_bytes, arguments.records))


if __name__ == "__main__":
    main()
