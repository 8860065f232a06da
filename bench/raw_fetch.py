"""How fast nodes deliver stored batches: ``python -m bench.raw_fetch``, half a minute.

The client does almost nothing, like an HTTP load tool: each connection asks the leader of its partition for a
page of batches, reads it into one buffer without looking at it, and asks for the next page. It uses threads
with plain sockets: about 0.2 ms of processor time per megabyte, nearly all of it in the kernel. Prints three
rounds and the machine's own figures, of which loopback TCP is the upper limit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import floodmark

from bench.accounting import usage
from bench.machine import measure
from local.cluster import LocalCluster

ROUNDS = 3
PARTITIONS = 3
PAGE_BYTES = 4 << 20
RECORD_BYTES = 1024
PASSES = 4
"""How often the topic is read in a round, over all connections together."""
TOPIC = "raw-fetch"


@dataclass(frozen=True, slots=True)
class Source:
    """One partition, where its leader is."""

    host: str
    port: int
    path: str


class Connection(threading.Thread):
    """Reads a partition from its start to its end, ``passes`` times; ``received`` is the pages' bytes."""

    def __init__(self, source: Source, passes: int) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._passes = passes
        self._buffer = bytearray(1 << 20)
        self.received = 0
        self.error: Exception | None = None

    def run(self) -> None:
        """In its thread."""
        try:
            with socket.create_connection((self._source.host, self._source.port)) as connection:
                for _ in range(self._passes):
                    offset, end = 0, 1
                    while offset < end:
                        offset, end = self._page(connection, offset)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            self.error = error

    def _page(self, connection: socket.socket, offset: int) -> tuple[int, int]:
        """Fetch one page; where the next one begins, and the high watermark."""
        connection.sendall(
            f"GET {self._source.path}?from={offset}&max_bytes={PAGE_BYTES} HTTP/1.1\r\nHost: localhost\r\n"
            "Accept: application/vnd.floodmark.batch;v=1\r\n\r\n".encode()
        )
        view, filled, end = memoryview(self._buffer), 0, -1
        while end < 0:
            filled += _some(connection.recv_into(view[filled:]))
            end = self._buffer.find(b"\r\n\r\n", 0, filled)
        status, *lines = self._buffer[:end].decode().split("\r\n")
        head = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if not status.startswith("HTTP/1.1 200"):
            raise RuntimeError(status)
        length = int(head["content-length"])
        left = length - (filled - end - 4)
        while left:
            left -= _some(connection.recv_into(view, min(left, len(view))))
        self.received += length
        return int(head["log-next-offset"]), int(head["log-high-watermark"])


def _some(count: int) -> int:
    if not count:
        raise ConnectionError("a node closed the connection")
    return count


def fetch_all(sources: list[Source], connections: int) -> tuple[int, float]:
    """One round: bytes and seconds."""
    passes = max(1, PASSES * len(sources) // connections)
    threads = [Connection(sources[number % len(sources)], passes) for number in range(connections)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    for thread in threads:
        if thread.error is not None:
            raise thread.error
    return sum(thread.received for thread in threads), seconds


async def filled(urls: list[str], megabytes: int) -> list[Source]:
    """Write the topic; where its partitions are to be read."""
    value = os.urandom(RECORD_BYTES)
    async with floodmark.Client(urls) as client:
        await client.topics.create(TOPIC, partitions=PARTITIONS, replication_factor=3)
        async with client.producer(TOPIC, delivery_timeout_s=120) as producer:
            for _ in range(megabytes * 1_000_000 // (RECORD_BYTES * 1000)):
                await producer.send_many([value] * 1000)
        described = await client.topics.describe(TOPIC)
        nodes = {node.node_id: node.http for node in await client.nodes()}
    sources = []
    for part in described.partitions:
        where = urlsplit(str(nodes[str(part.leader)]))
        path = f"/v1/topics/{TOPIC}/partitions/{part.partition}/records"
        sources.append(Source(where.hostname or "", where.port or 80, path))
    return sources


async def main() -> None:
    """Start three nodes, fill them, fetch."""
    parser = argparse.ArgumentParser(prog="python -m bench.raw_fetch")
    parser.add_argument("--connections", type=int, default=6)
    parser.add_argument("--megabytes", type=int, default=400)
    arguments = parser.parse_args()
    machine = measure()
    print(machine)
    with tempfile.TemporaryDirectory(prefix="floodmark-raw-fetch-") as folder:
        cluster = LocalCluster(Path(folder) / "cluster")
        try:
            await cluster.start()
            await cluster.ready()
            sources = await filled([node.url for node in cluster.nodes.values()], arguments.megabytes)
            pids = [child.process.pid for child in cluster.children.values()]
            rates, costs, own = [], [], []
            for _ in range(ROUNDS):
                before, mine = usage(pids), time.process_time()
                received, seconds = await asyncio.to_thread(fetch_all, sources, arguments.connections)
                megabytes = received / 1e6
                rates.append(megabytes / seconds)
                costs.append((usage(pids) - before).cpu_s / megabytes * 1e6)
                own.append((time.process_time() - mine) / megabytes * 1e6)
        finally:
            await cluster.stop()
            cluster.close()
    print(
        f"raw fetch, {arguments.connections} connections, pages of {PAGE_BYTES >> 20} MiB: "
        f"{statistics.median(rates) / 1e3:.2f} GB/s [{min(rates) / 1e3:.2f} to {max(rates) / 1e3:.2f}], "
        f"{statistics.median(rates) / machine.loopback_mb_s:.0%} of loopback TCP; processor time a MB: "
        f"nodes {statistics.median(costs):.0f} us, client {statistics.median(own):.0f} us"
    )


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
