"""Running servers over brokers in memory, and a client that looks at every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from node.http.app import create_app
from node.http.connection import Connection
from node.http.context import CONTEXT, HttpContext
from node.http.fast_path import FAST_PATH
from node.http.origins import Origins
from node.http.server import HttpServer
from node.http.tls_accepting import TlsSource
from node.request_limits import RequestLimits
from node.service.authentication import Authentication
from tests.http.memory_broker import MemoryBroker, MemoryCluster

MARK = "of these nodes"
"""What the nodes of a harness say with what they pass on."""


async def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; fail after a while."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  -- what is waited for happens inside of the server
            await asyncio.sleep(0.005)


@dataclass
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Harness:
    """Some running nodes."""

    cluster: MemoryCluster
    servers: dict[str, HttpServer] = field(default_factory=dict)
    session: aiohttp.ClientSession = field(default_factory=aiohttp.ClientSession)

    @property
    def broker(self) -> MemoryBroker:
        """The first node's broker."""
        return self.cluster.brokers["n1"]

    def url(self, path: str, node: str = "n1") -> str:
        """A path on a node."""
        return self.cluster.urls[node] + path

    @property
    def address(self) -> tuple[str, int]:
        """The first node's host and port."""
        return self.address_of("n1")

    def address_of(self, node: str) -> tuple[str, int]:
        """A node's host and port."""
        host, _, port = self.cluster.urls[node].partition("://")[2].partition(":")
        return host, int(port)

    async def start(
        self,
        node: str,
        settings: RequestLimits,
        origins: Origins | None = None,
        authenticator: Authentication | None = None,
        tls: TlsSource | None = None,
    ) -> None:
        """Run one node."""
        broker = self.cluster.brokers[node]
        server = HttpServer(create_app(broker, settings, origins, authenticator=authenticator), tls)
        server.app[CONTEXT].node_mark = MARK
        host, port = await server.start("127.0.0.1", 0)
        self.cluster.urls[node] = f"{'http' if tls is None else 'https'}://{host}:{port}"
        self.servers[node] = server

    async def call(self, method: str, path: str, *, node: str = "n1", **arguments: Any) -> Answer:
        """One request, read to its end."""
        async with self.session.request(method, self.url(path, node), **arguments) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    def taken_at(self, node: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Whether each request that comes to a node from now on goes past aiohttp, in order."""
        fast_path = self.servers[node].app[FAST_PATH]
        found: list[bool] = []
        take = fast_path.take

        def noted(connection: Connection, data: bytes) -> bool:
            found.append(take(connection, data))
            return found[-1]

        monkeypatch.setattr(fast_path, "take", noted)
        return found

    async def make_topic(self, name: str = "t", partitions: int = 1) -> None:
        """Make a topic."""
        answer = await self.call("PUT", f"/v1/topics/{name}", json={"partitions": partitions})
        assert answer.status == 201, answer.body

    async def raw(self, data: bytes, *, node: str = "n1", timeout_s: float = 10) -> bytes:
        """Send bytes as they are and read until the server closes."""
        reader, writer = await asyncio.open_connection(*self.address_of(node))
        try:
            writer.write(data)
            async with asyncio.timeout(timeout_s):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def close(self) -> None:
        """End it all."""
        await self.session.close()
        for server in self.servers.values():
            await server.stop(1.0)


@pytest.fixture
def settings() -> RequestLimits:
    """What the servers run with; tests override it."""
    return RequestLimits()


@pytest.fixture
def node_count() -> int:
    """How many nodes; tests override it."""
    return 1


@pytest.fixture
def origins() -> Origins:
    """Which names and web pages the servers know; tests override it."""
    return Origins()


@pytest.fixture
async def http(settings: RequestLimits, node_count: int, origins: Origins) -> AsyncIterator[Harness]:
    """Running nodes over one truth in memory."""
    harness = Harness(MemoryCluster(node_count))
    for node in list(harness.cluster.urls):
        await harness.start(node, settings, origins)
    try:
        yield harness
    finally:
        await harness.close()


@pytest.fixture
async def http_context(http: Harness) -> HttpContext:
    """What the first node's handlers share."""
    return http.servers["n1"].app[CONTEXT]
