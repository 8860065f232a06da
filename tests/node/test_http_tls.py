"""Whole nodes that speak TLS to users who show certificates: at every door, and while certificates change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from node.security import credentials
from tests.support.http_certificates import TestAuthority
from tests.support.nodes import NodeCluster

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at often."""
    monkeypatch.setattr(credentials, "LOOK_S", 0.05)


def _session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=60)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=1), timeout=timeout)


async def _next_event(answer: aiohttp.ClientResponse) -> str:
    while not (line := (await answer.content.readline()).decode()).startswith("data:"):
        assert line, "the stream has ended"
    return line


async def _shown_by(url: str, context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a new connection sees."""
    host, _, port = url.removeprefix("https://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown = writer.get_extra_info("peercert")
    writer.close()
    return int(shown["serialNumber"], 16)


async def _others_are_shown(before: dict[str, int], context: ssl.SSLContext) -> None:
    async with asyncio.timeout(60):
        for url, serial in before.items():
            while await _shown_by(url, context) == serial:  # noqa: ASYNC110 - files are looked at in a node
                await asyncio.sleep(0.02)


async def _is_refused(context: ssl.SSLContext, urls: list[str]) -> None:
    async with _session(context) as session:
        for url in urls:
            with pytest.raises(aiohttp.ClientError):
                await session.get(url)


async def test_every_door_serves_who_shows_a_certificate_while_nodes_get_new_ones(tmp_path: Path) -> None:
    """Leader, follower, a node without a replica: produce, fetch and stream, on connections that stand.

    Their nodes' certificates are replaced in the middle; new connections see them, and nothing breaks off.
    """
    (folder := tmp_path / "certs").mkdir()
    made = TestAuthority(folder)
    files = {name: made.node(name) for name in ("n1", "n2", "n3")}
    flags = {
        "http.tls.cert": lambda name: str(files[name].cert),
        "http.tls.key": lambda name: str(files[name].key),
        "http.tls.client_auth": "required",
        "http.tls.client_ca": [str(made.ca)],
    }
    carol = made.client_context(made.user("carol"))
    async with NodeCluster.running(tmp_path, 3, **flags) as cluster:
        await cluster.create("t", replicas=2)
        await cluster.leader("t")
        urls = [f"{node.url}/v1/topics/t/partitions/0/records" for node in cluster.nodes.values()]
        assert all(url.startswith("https://127.0.0.1:") for url in urls)
        sessions = [_session(carol) for _ in urls]
        streams = [_session(carol) for _ in urls]
        try:
            follows = [
                await stream.get(f"{url}?follow=true", headers=EVENTS)
                for stream, url in zip(streams, urls, strict=True)
            ]
            before = {node.url: await _shown_by(node.url, carol) for node in cluster.nodes.values()}
            for round_number in range(2):
                for number, (session, url) in enumerate(zip(sessions, urls, strict=True)):
                    value = round_number * 3 + number
                    async with session.post(url, json={"value": value}) as answer:
                        assert (answer.status, (await answer.json())["first_offset"]) == (200, value)
                    async with session.get(f"{url}?from={value}") as answer:
                        assert (await answer.json())["records"][0]["value"] == value
                    for follow in follows:
                        assert f'"value":{value}' in await _next_event(follow)
                if round_number == 0:
                    for name in files:
                        made.node(name)
                    await _others_are_shown(before, carol)
        finally:
            for each in (*sessions, *streams):
                await each.close()
        for context in (made.client_context(made.user("dan", ended=True)), made.client_context()):
            await _is_refused(context, urls)
