"""One partition for every way into the cluster, and requests that are sent to all of them, byte for byte."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from floodmark.format import batch
from floodmark.format.frame import FrameKind, walk
from floodmark.format.record import Record

from tests.support.nodes import NodeCluster, TestNode

TOPIC = "t"
GIVEN_BEFORE = 1_780_000_000_000
"""Times of records after this one were given by nodes, not by requests."""
ROLES = ("leader", "follower", "no replica")
WAYS = ("plain", "unusual", "chunked")
"""As it is; with a header that only aiohttp takes; and with a body of unknown length."""


class Request(NamedTuple):
    """``{p}`` in it is the partition's number, ``{way}`` a name that no other door has."""

    method: str = "POST"
    path: str = "/v1/topics/t/partitions/{p}/records"
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""

    @property
    def has_body(self) -> bool:
        """Whether its length is told."""
        return self.method not in ("GET", "HEAD", "DELETE", "OPTIONS") or bool(self.body)


@dataclass(frozen=True)
class Answer:
    """What of an answer must be the same everywhere."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Door:
    """A node and a way to speak to it, with a partition of its own: all doors see the same history."""

    node: TestNode
    role: str
    way: str
    partition: int
    cluster: NodeCluster

    def encode(self, request: Request) -> bytes:
        """The request's bytes at this door."""
        marks = ((b"{p}", b"%d" % self.partition), (b"{way}", f"{self.role[0]}{self.way[0]}".encode()))

        def filled(text: bytes) -> bytes:
            for mark, value in marks:
                text = text.replace(mark, value)
            return text

        headers = [(name, filled(value)) for name, value in request.headers]
        body = filled(request.body)
        if self.way == "unusual":
            headers.insert(0, ("X-Unusual", b"1"))
        if self.way == "chunked" and body:
            headers.append(("Transfer-Encoding", b"chunked"))
            half = len(body) // 2 or 1
            body = b"".join(
                b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part
            )
            body += b"0\r\n\r\n"
        elif request.has_body:
            headers.append(("Content-Length", b"%d" % len(body)))
        lines = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in headers)
        return filled(f"{request.method} {request.path} HTTP/1.1\r\n".encode()) + lines + b"\r\n" + body

    async def ask(self, request: Request) -> Answer:
        """Its answer, without what is allowed to differ."""
        host, _, port = self.node.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(self.encode(request))
            async with asyncio.timeout(20):
                return self._alike(await _read(reader, request.method))
        except TimeoutError as error:
            raise AssertionError(f"no answer at the {self.role}, {self.way}: {request}") from error
        finally:
            writer.close()

    def _alike(self, answer: Answer) -> Answer:
        """The partition, the nodes, ids of requests and the time of day are each door's own."""
        body = answer.body
        headers = {name: value for name, value in answer.headers.items() if name not in _OWN}
        if "json" in answer.headers.get("content-type", "") or "text/event" in answer.headers.get(
            "content-type", ""
        ):
            for pattern, to in _OWN_TEXT:
                body = re.sub(pattern.replace(b"PPP", b"%d" % self.partition), to, body)
        if answer.headers.get("content-type", "").startswith("application/vnd.floodmark.batch"):
            body = repr(untimed(body)).encode()
            headers.pop("content-length", None)  # A leader begins with a frame of its own.
        if answer.status >= 400:
            headers.pop("content-length", None)
        if "etag" in headers:
            headers["etag"] = "of these very bytes"
        return Answer(answer.status, headers, body)

    async def stored(self) -> list[Record]:
        """All records of its partition, as they lie there; times that no request gave are 0."""
        leader = await self.cluster.on_leader(TOPIC, self.partition)
        bounds = await leader.tail(timeout_s=10)
        found: list[Record] = []
        while len(found) < bounds.high_watermark:
            fetched = await leader.fetch(len(found), max_bytes=8 << 20)
            found += untimed(fetched.frames)
        return found


def untimed(frames: bytes) -> list[Record]:
    """The records of whole frames, without the times that nodes gave."""
    return [
        record
        if record.timestamp is None or record.timestamp < GIVEN_BEFORE
        else msgspec.structs.replace(record, timestamp=0)
        for frame, payload in walk(frames)
        if frame.kind is FrameKind.RECORDS
        for record in batch.decode(payload)
        if record is not None
    ]


_OWN = {"date", "request-id", "floodmark-leader", "floodmark-leader-url", "transfer-encoding", "connection"}
_OWN_TEXT = (
    (rb'("partition":\s*)PPP\b', rb"\1P"),
    (rb"(partitions/|partition |path for |\bt/)PPP\b", rb"\1P"),
    (rb'"request_id":"[^"]*"', b'"request_id":"R"'),
    (rb'("(?:timestamp|append_time)":)"20[^"]*"', rb'\1"T"'),
    (rb'"high_watermark":\d+', b'"high_watermark":H'),
    (rb"\bn[123]\b", b"N"),
)


async def doors(cluster: NodeCluster) -> list[Door]:
    """Every role with every way: a topic of nine partitions, each with two replicas on three nodes."""
    count = len(ROLES) * len(WAYS)
    await cluster.create(TOPIC, partitions=count, replicas=2)
    found = []
    for number in range(count):
        role, way = ROLES[number % len(ROLES)], WAYS[number // len(ROLES)]
        leader = await cluster.leader(TOPIC, number)
        replicas = cluster.nodes["n1"].broker.topic(TOPIC).partitions[number].replicas
        others = [node for node in cluster.nodes.values() if node is not leader]
        chosen = {
            "leader": leader,
            "follower": next(node for node in others if node.node_id in replicas),
            "no replica": next(node for node in others if node.node_id not in replicas),
        }[role]
        found.append(Door(chosen, role, way, number, cluster))
    return found


async def _read(reader: asyncio.StreamReader, method: str) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().strip().split("\r\n")
    status = int(first.split(" ")[1])
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if method == "HEAD" or status in (204, 304):
        return Answer(status, headers, b"")
    if "content-length" in headers:
        return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return Answer(status, headers, body)
