"""Requests a second of the HTTP side alone, over a broker in memory.

Run ``python -m bench.http`` from the checkout. The server has a process of its own; so has the client.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import psutil
import uvloop
from floodmark.format import batch
from floodmark.format.record import Record

from node.http.app import create_app
from node.http.server import HttpServer
from node.request_limits import RequestLimits
from tests.http.memory_broker import MemoryCluster

SECONDS = 3.0
PATH = "/v1/topics/t/partitions/0/records"
ONE = b'{"value":"' + b"x" * 1024 + b'"}'
JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
Ask = Callable[[aiohttp.ClientSession], Awaitable[int]]


def serve(pipe: Connection) -> None:
    """One node in memory, until told to stop."""

    async def run() -> None:
        cluster = MemoryCluster(budget_bytes=1 << 30)
        server = HttpServer(create_app(cluster.brokers["n1"], RequestLimits()))
        host, port = await server.start("127.0.0.1", 0)
        pipe.send(f"http://{host}:{port}")
        await asyncio.to_thread(pipe.recv)
        await server.stop(1.0)

    uvloop.run(run())


async def measure(name: str, base: str, ask: Ask, connections: int) -> None:
    """``connections`` connections, each with its next request as soon as it has an answer.

    The server's processor time per request is shown too: on a busy machine only that figure is reliable.
    """
    server = psutil.Process(multiprocessing.active_children()[0].pid)
    latencies: list[float] = []
    carried = 0
    end = time.perf_counter() + SECONDS

    async def ask_on(session: aiohttp.ClientSession) -> None:
        nonlocal carried
        while time.perf_counter() < end:
            begun = time.perf_counter()
            size = await ask(session)
            carried += size
            latencies.append(time.perf_counter() - begun)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(base, connector=connector) as session:
        begun, used = time.perf_counter(), sum(server.cpu_times()[:2])
        await asyncio.gather(*(ask_on(session) for _ in range(connections)))
        took, used = time.perf_counter() - begun, sum(server.cpu_times()[:2]) - used
    cuts = statistics.quantiles(latencies, n=100)
    print(
        f"{name:42} {len(latencies) / took:9,.0f} requests/s {carried / took / 1e6:8.1f} MB/s"
        f"   p50 {cuts[49] * 1e3:6.2f} ms   p99 {cuts[98] * 1e3:6.2f} ms"
        f"   server {used / len(latencies) * 1e6:5.0f} us each"
    )


def post(body: bytes, headers: dict[str, str], path: str = PATH) -> Ask:
    """Produce ``body`` each time."""

    async def ask(session: aiohttp.ClientSession) -> int:
        data: Any = body if len(body) < 1 << 20 else io.BytesIO(body)
        async with session.post(path, data=data, headers=headers) as answer:
            await answer.read()
            assert answer.status == 200, answer.status
        return len(body)

    return ask


def get(query: str, accept: str) -> Ask:
    """Read the same page each time."""

    async def ask(session: aiohttp.ClientSession) -> int:
        async with session.get(PATH + query, headers={"Accept": accept}) as answer:
            body = await answer.read()
            assert answer.status == 200, answer.status
        return len(body)

    return ask


async def run(base: str) -> None:
    """All figures."""
    async with aiohttp.ClientSession(base) as session, session.put("/v1/topics/t") as made:
        assert made.status == 201
    many = batch.encode([Record(0, None, bytes(1024)) for _ in range(250)])
    for connections in (1, 64):
        await measure(f"1 KiB JSON, {connections} connections", base, post(ONE, JSON), connections)
        await measure(f"1 KiB raw, {connections} connections", base, post(bytes(1024), BYTES), connections)
        routed = post(ONE, JSON, "/v1/topics/t/records")
        await measure(f"1 KiB JSON by topic, {connections} connections", base, routed, connections)
    await measure("256 KiB batches, 8 connections", base, post(many, BATCH), 8)
    await measure(
        "fetch of 1 KiB JSON", base, get("?from=0&max_records=1&max_bytes=1", "application/json"), 8
    )
    await measure("fetch of 1 MiB of batches", base, get("?from=-2000", str(BATCH["Content-Type"])), 8)
    await measure("fetch of 1 MiB as JSON", base, get("?from=-2000", "application/json"), 4)


def main() -> None:
    """Start the server, measure, stop it."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    server.start()
    uvloop.run(run(ours.recv()))
    ours.send(None)
    server.join()


if __name__ == "__main__":
    main()
