"""Attacks by reading: answers that cost much or are never taken, and long polls without results."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from floodmark.format import batch
from floodmark.format.record import Record

from bench.attack.attack import TOPIC, Attack, Target

_PARTITION_PATH = f"/v1/topics/{TOPIC}/partitions/0/records"
_TOPIC_PATH = f"/v1/topics/{TOPIC}/records"
_BATCH = "application/vnd.floodmark.batch;v=1"
_BOMBS = 24
_FULL_PAGE = "from=0&max_bytes=8388608"
_MANY = f"{TOPIC}-many-partitions"


def attacks() -> Iterator[Attack]:
    """All of them."""
    for form in ("application/json", "application/vnd.msgpack"):
        yield Attack(f"744 MiB in 42 KB, read as {form.rpartition('.')[2]}", partial(_bomb, form=form))
    for form in ("application/x-ndjson", "text/event-stream"):
        yield Attack(
            f"744 MiB in 42 KB, a little of {form.rpartition('/')[2]}", partial(_bomb_untaken, form=form)
        )
    for form in ("application/json", _BATCH):
        name = "JSON" if form == "application/json" else "batches"
        yield Attack(f"150 pages of 8 MiB of {name} not taken", partial(_pages_untaken, form=form))
    for count, query in ((32, "&max_bytes=8388608"), (260, "")):
        path = f"{_TOPIC_PATH}?from=latest&wait=60s{query}"
        yield Attack(f"{count} long polls of a topic{query and ', 8 MiB each'}", _polls(count, path))
    path = f"{_PARTITION_PATH}?from=latest&wait=60s"
    yield Attack("900 long polls of a partition, at one node", _polls(900, path))
    yield Attack("60 long polls of 64 partitions", _many_polls)


async def _store_bombs(target: Target) -> None:
    bomb = batch.encode([Record(1, None, bytes((1 << 20) - 64))] * 31, codec=batch.CODEC_ZSTD)
    for _ in range(_BOMBS):
        await target.ask(
            "POST", target.urls[0] + _PARTITION_PATH, body=bomb, headers={"Content-Type": _BATCH}
        )


async def _bomb(target: Target, form: str) -> None:
    await _store_bombs(target)
    await target.ask_again_and_again(_TOPIC_PATH, method="GET", headers={"Accept": form})


async def _bomb_untaken(target: Target, form: str) -> None:
    await _store_bombs(target)
    await _hold(target, 60, _PARTITION_PATH, form)


async def _pages_untaken(target: Target, form: str) -> None:
    for _ in range(30):
        await target.ask(
            "POST",
            target.urls[0] + _PARTITION_PATH,
            body=os.urandom(1000 << 10),
            headers={"Content-Type": "application/octet-stream"},
        )
    await _hold(target, 150, f"{_PARTITION_PATH}?{_FULL_PAGE}", form)


async def _hold(target: Target, count: int, path: str, form: str) -> None:
    """Send requests to all nodes in turn and read almost nothing of the answers, until the time is up."""
    connections: list[socket.socket] = []
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{target.who_lines}Accept: {form}\r\n\r\n"
    try:
        for number in range(count):
            connection = await asyncio.to_thread(target.socket, number, buffer_bytes=4096)
            connections.append(connection)
            await asyncio.to_thread(connection.sendall, head.encode())
            connection.settimeout(0)
        await asyncio.sleep(max(0.0, target.until - time.monotonic()))
        for connection in connections:
            try:
                target.answers[(connection.recv(12) or b"nothing")[-3:].decode()] += 1
            except OSError as error:
                target.answers[type(error).__name__] += 1
    finally:
        for connection in connections:
            connection.close()


def _polls(count: int, path: str) -> Callable[[Target], Awaitable[None]]:
    async def run(target: Target) -> None:
        await _wait(target, count, path)

    return run


async def _many_polls(target: Target) -> None:
    await target.ask("PUT", f"{target.urls[0]}/v1/topics/{_MANY}", body=b'{"partitions":64}')
    await _wait(target, 60, f"/v1/topics/{_MANY}/records?from=latest&wait=60s&max_bytes=1024")


async def _wait(target: Target, count: int, path: str) -> None:
    """Long polls at one node, given up when the time is up."""
    polls = [asyncio.create_task(target.ask("GET", target.urls[0] + path)) for _ in range(count)]
    await asyncio.sleep(max(0.0, target.until - time.monotonic()))
    target.answers["waited"] += sum(not poll.done() for poll in polls)
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
