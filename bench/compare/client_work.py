"""Work for the client of whichever checkout's interpreter runs this file: one order a line on standard input.

It imports nothing of the benchmark, and of the project only what every version of the client has.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import floodmark
import uvloop

VALUE = bytes(index % 251 for index in range(1024))


async def one_caller(client: Any, topic: str, end: float) -> int:
    """A record, its acknowledgement, the next."""
    count = 0
    while time.perf_counter() < end:
        await client.produce(topic, VALUE)
        count += 1
    return count


async def records(client: Any, topic: str, end: float) -> int:
    """The producer, record by record."""
    count = 0
    async with client.producer(topic, delivery_timeout_s=60) as producer:
        while time.perf_counter() < end:
            for _ in range(100):
                await producer.send(VALUE)
            count += 100
    return count


async def lists(client: Any, topic: str, end: float) -> int:
    """The producer, in lists."""
    count = 0
    async with client.producer(topic, delivery_timeout_s=60) as producer:
        while time.perf_counter() < end:
            await producer.send_many([VALUE] * 1000)
            count += 1000
    return count


async def read(client: Any, topic: str, end: float) -> int:
    """From the start of the topic to its end, again and again."""
    count = 0
    while time.perf_counter() < end:
        async for _ in client.read(topic):
            count += 1
    return count


async def work(order: dict[str, Any]) -> tuple[int, float]:
    """Operations and processor seconds, without making the client."""
    kinds = {"one_caller": one_caller, "records": records, "lists": lists, "read": read}
    async with floodmark.Client(order["urls"]) as client:
        await client.topics.describe(order["topic"])
        used = time.process_time()
        count = await kinds[order["kind"]](client, order["topic"], time.perf_counter() + order["seconds"])
        return count, time.process_time() - used


def main() -> None:
    """Until standard input ends."""
    for line in sys.stdin:
        count, cpu_s = uvloop.run(work(json.loads(line)))
        print(json.dumps({"count": count, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main()
