"""Load: concurrent connections, each with one request after the other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import floodmark
from floodmark.format.batch import encode
from floodmark.format.record import Record

from bench.growth.connection import Connection, NextRequest
from bench.payload import payload
from bench.processes import Failed
from local.ports import LOOPBACK

RECORD_MEDIA: Final = "application/octet-stream"
BATCH_MEDIA: Final = "application/vnd.floodmark.batch;v=1"
_GRACE_S: Final = 30.0
_REFUSED_SHARE_MAX: Final = 0.02
"""More than that is no load that the nodes take."""
_FROM_OFFSET: Final = re.compile(rb"\r\nlog-from-offset: *(\d+)\r\n", re.IGNORECASE)
_NEXT_OFFSET: Final = re.compile(rb"\r\nlog-next-offset: *(\d+)\r\n", re.IGNORECASE)
_WATERMARK: Final = re.compile(rb"\r\nlog-high-watermark: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """A partition, at its leader."""

    port: int
    topic: str
    partition: int

    @property
    def path(self) -> str:
        """Where its records are posted and fetched."""
        return f"/v1/topics/{self.topic}/partitions/{self.partition}/records"


async def targets_of(urls: list[str], topic: str) -> list[Target]:
    """Where the partitions of a topic are led now."""
    async with floodmark.Client(urls) as client:
        ports = {node.node_id: urlsplit(node.http).port or 0 for node in await client.nodes()}
        return [
            Target(ports[str(each.leader)], topic, each.partition)
            for each in (await client.topics.describe(topic)).partitions
        ]


@dataclass(frozen=True, slots=True)
class Answers:
    """The results of a period of load."""

    latencies_s: list[float]
    seconds: float
    body_bytes: int
    refused: int

    @property
    def operations(self) -> int:
        """Answered requests."""
        return len(self.latencies_s)


class Load:
    """Some open connections."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections

    async def run(self, seconds: float) -> Answers:
        """All of them, until the time is over and the last answer is there. Raises ``Failed``."""
        for each in self._connections:
            each.latencies, each.body_bytes, each.refused = [], 0, 0
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(seconds + _GRACE_S):
                await asyncio.gather(*(each.run(begin + seconds) for each in self._connections))
        except TimeoutError as error:
            raise Failed(f"no answer for {_GRACE_S:.0f} s") from error
        answers = Answers(
            latencies_s=list(itertools.chain.from_iterable(each.latencies for each in self._connections)),
            seconds=time.perf_counter() - begin,
            body_bytes=sum(each.body_bytes for each in self._connections),
            refused=sum(each.refused for each in self._connections),
        )
        if answers.refused > _REFUSED_SHARE_MAX * answers.operations:
            raise Failed(f"{answers.refused} requests were refused and {answers.operations} answered")
        return answers


@contextlib.asynccontextmanager
async def connected(asking: Sequence[tuple[int, NextRequest]]) -> AsyncIterator[Load]:
    """One connection for each port and source of requests; closed at the end."""
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    try:
        for port, next_request in asking:
            connection = Connection(next_request)
            connections.append(connection)
            await loop.create_connection(lambda made=connection: made, LOOPBACK, port)  # type: ignore[misc]
        yield Load(connections)
    finally:
        for connection in connections:
            connection.close()


def posts(targets: Sequence[Target], body: bytes, media: str, count: int) -> list[tuple[int, NextRequest]]:
    """``count`` connections, each to one node; it goes over that node's partitions again and again.

    Small requests are one piece, as clients write them; large ones go out as head and body."""
    by_port: dict[int, list[Sequence[bytes]]] = {}
    for target in targets:
        head = (
            f"POST {target.path} HTTP/1.1\r\nHost: {LOOPBACK}:{target.port}\r\n"
            f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        pieces = (head + body,) if len(body) <= 1 << 16 else (head, body)
        by_port.setdefault(target.port, []).append(pieces)
    ports = sorted(by_port)
    asking = []
    for number in range(count):
        port = ports[number % len(ports)]
        requests = by_port[port]
        # Connections to one node begin evenly spread over its partitions.
        at_node, of_node = number // len(ports), -(-count // len(ports))
        start = at_node * max(1, len(requests) // of_node) % len(requests)
        turned = itertools.cycle([*requests[start:], *requests[:start]])
        asking.append((port, _without_head(turned)))
    return asking


def _without_head(requests: itertools.cycle[Sequence[bytes]]) -> NextRequest:
    return lambda _head: next(requests)


class PageReader:
    """Fetches one page after the other from ``start`` on, in the stored form, to the high watermark.

    ``again``: there it goes back to ``start``."""

    def __init__(
        self, target: Target, *, start: int | str, max_bytes: int = 1 << 20, again: bool = False
    ) -> None:
        self._target = target
        self._start = start
        self._max_bytes = max_bytes
        self._again = again
        self._next: int | str = start
        self.records = 0
        """That came so far."""

    @property
    def asking(self) -> list[tuple[int, NextRequest]]:
        """For ``connected``."""
        return [(self._target.port, self._following)]

    def _following(self, head: bytes) -> Sequence[bytes] | None:
        if not head:
            return self._request(self._next)
        start, after, end = (pattern.search(head) for pattern in (_FROM_OFFSET, _NEXT_OFFSET, _WATERMARK))
        if start is None or after is None or end is None:
            raise Failed(f"an answer without its offsets: {head!r}")
        self.records += int(after[1]) - int(start[1])
        if int(after[1]) < int(end[1]):
            self._next = int(after[1])
        elif self._again:
            self._next = self._start
        else:
            return None
        return self._request(self._next)

    def _request(self, start: int | str) -> Sequence[bytes]:
        target = self._target
        return (
            f"GET {target.path}?from={start}&max_bytes={self._max_bytes}&max_records=100000 HTTP/1.1\r\n"
            f"Host: {LOOPBACK}:{target.port}\r\nAccept: {BATCH_MEDIA}\r\n\r\n".encode(),
        )


def batch_of(records: int, size: int) -> bytes:
    """A batch of so many records with values of ``size`` bytes."""
    return encode([Record(int(time.time() * 1000), None, payload(size))] * records)
