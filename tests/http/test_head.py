"""HEAD: what GET would answer, without its body. ``curl -I`` and health checks of load balancers send it."""

from __future__ import annotations

import pytest

from tests.http.conftest import Harness

PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/v1/topics",
    "/v1/topics/t",
    "/v1/nodes",
    "/v1/topics/t/partitions/0/tail",
    "/v1/topics/t/records",
    "/v1/topics/t/partitions/0/records?from=1",
    "/v1/topics/t/partitions/0/records?from=7",
    "/v1/topics/missing",
]
_VARYING = {"Date", "Request-Id", "Content-Length"}


async def _filled(http: Harness) -> None:
    await http.make_topic()
    records = [{"value": number} for number in range(3)]
    await http.call("POST", "/v1/topics/t/records", json={"records": records})


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(http: Harness, path: str) -> None:
    """Status and headers are the same, errors included, and no byte of the body comes."""
    await _filled(http)
    got, asked = await http.call("GET", path), await http.call("HEAD", path)
    assert asked.status == got.status
    for name in got.headers.keys() - _VARYING:
        assert asked.headers[name] == got.headers[name], name
    assert int(asked.headers["Content-Length"]) > 0
    assert asked.body == b""
    raw = await http.raw(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert raw.split(b"\r\n\r\n", 1)[1] == b""


@pytest.mark.parametrize("node_count", [2])
@pytest.mark.parametrize("media", ["text/event-stream", "application/x-ndjson"])
async def test_head_of_a_stream_ends_at_once(http: Harness, media: str) -> None:
    """Also where GET would never end; at the leader and at another node."""
    await _filled(http)
    for node in ("n1", "n2"):
        for path in ("/v1/topics/t/records", "/v1/topics/t/partitions/0/records"):
            answer = await http.call("HEAD", f"{path}?follow=true", node=node, headers={"Accept": media})
            assert (answer.status, answer.headers["Content-Type"]) == (200, media)
            assert answer.body == b""


@pytest.mark.parametrize("node_count", [2])
async def test_head_of_a_page_is_passed_on(http: Harness) -> None:
    """The leader's bounds come back through a node that does not lead."""
    await _filled(http)
    for node in ("n1", "n2"):
        answer = await http.call("HEAD", "/v1/topics/t/partitions/0/records?from=0", node=node)
        assert (answer.status, answer.headers["Log-High-Watermark"]) == (200, "3")


async def test_head_of_a_large_page_has_its_length(http: Harness) -> None:
    """A page above what is sent in one piece; and the connection serves the next request."""
    await http.make_topic()
    value = "x" * 400_000
    for _ in range(3):
        await http.call("POST", "/v1/topics/t/records", json={"value": value})
    path = "/v1/topics/t/partitions/0/records?from=0&max_bytes=4194304"
    got, asked = await http.call("GET", path), await http.call("HEAD", path)
    assert (asked.status, asked.body) == (200, b"")
    assert int(asked.headers["Content-Length"]) == len(got.body) > 1_200_000
    assert (await http.call("GET", "/healthz")).status == 200
