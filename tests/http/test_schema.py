"""Generated requests, by the server's own description, against a running server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.specs.openapi.checks import response_schema_conformance

from node.http import openapi
from node.http.app import create_app
from node.http.server import HttpServer
from node.request_limits import RequestLimits
from tests.http.memory_broker import MemoryCluster

schemathesis.serializer.alias(
    ["application/x-ndjson", "application/vnd.msgpack", "application/vnd.floodmark.batch;v=1"],
    "application/octet-stream",
)
SETTINGS = RequestLimits(wait_s_max=0.05, produce_timeout_s_max=1.0, keep_alive_comment_s=0.05)
DESCRIPTION = openapi.document(SETTINGS)
schema = schemathesis.openapi.from_dict(DESCRIPTION)


@pytest.fixture(scope="module", params=[1, 2])
def base_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server in a thread of its own, since the generated calls block; of each feature level."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    cluster = MemoryCluster()
    cluster.level = request.param

    async def start() -> HttpServer:
        server = HttpServer(create_app(cluster.brokers["n1"], SETTINGS))
        host, port = await server.start("127.0.0.1", 0)
        cluster.urls["n1"] = f"http://{host}:{port}"
        started.set()
        return server

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    assert started.wait(10)
    yield cluster.urls["n1"]
    asyncio.run_coroutine_threadsafe(server.stop(0.1), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@schema.parametrize()
@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
def test_no_described_request_is_a_server_error(case: schemathesis.Case, base_url: str) -> None:
    """Valid and invalid ones: no 5xx but those that say what to do, and errors are problem documents."""
    if case.query.get("follow") is True:  # It would never end.
        case.query["follow"] = False
    case.headers.pop("Accept", None)
    answer = case.call(base_url=base_url, timeout=20)
    assert answer.status_code < 500, answer.text
    case.validate_response(answer, checks=[response_schema_conformance])
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == ["application/problem+json"]
        assert answer.json()["status"] == answer.status_code
