"""Three real HTTP servers over brokers in memory, a topic of three partitions, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from floodmark import Client
from floodmark.transport import pacing

from node.http.app import create_app
from node.http.server import HttpServer
from node.request_limits import RequestLimits
from tests.client.front import Front
from tests.http.memory_broker import MemoryCluster


@pytest.fixture
async def nodes() -> AsyncIterator[MemoryCluster]:
    """The nodes; ``nodes.urls`` has their addresses."""
    cluster = MemoryCluster(3)
    servers = []
    for name, broker in cluster.brokers.items():
        server = HttpServer(create_app(broker, RequestLimits()))
        host, port = await server.start("127.0.0.1", 0)
        cluster.urls[name] = f"http://{host}:{port}"
        servers.append(server)
    try:
        yield cluster
    finally:
        for server in servers:
            await server.stop(0.2)


@pytest.fixture
def node_url(nodes: MemoryCluster) -> str:
    """The first node."""
    return nodes.urls["n1"]


@pytest.fixture
async def topic(nodes: MemoryCluster) -> str:
    """A topic of three partitions, all led by the first node."""
    async with Client(nodes.urls["n1"]) as client:
        await client.topics.create("t", partitions=3)
    for partition in range(3):
        nodes.logs["t", partition].move("n1")
    return "t"


@pytest.fixture
async def front(node_url: str) -> AsyncIterator[Front]:
    """Something that can go wrong before the first node."""
    front = await Front(node_url).start()
    try:
        yield front
    finally:
        await front.stop()


@pytest.fixture
async def client(front: Front) -> AsyncIterator[Client]:
    """A client that reaches the first node through the front."""
    async with Client(front.url) as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in fractions of a millisecond, so that many retries fit into a test."""
    monkeypatch.setattr(pacing, "_FIRST_DELAY_S", 0.0001)
    monkeypatch.setattr(pacing, "_LONGEST_DELAY_S", 0.0005)
