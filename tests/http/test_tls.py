"""The port for clients with TLS: everything as without it, on both event loops, and who may hold it up."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from node.http.client_certificate import principal_of
from node.http.connection import Connection
from node.http.context import CONTEXT
from node.http.server import HttpServer
from node.request_limits import RequestLimits
from tests.http.conftest import Harness, until
from tests.http.memory_broker import MemoryCluster
from tests.http.test_fast_path import RECORDS, read_answers, request
from tests.support.http_certificates import Source, TestAuthority
from tests.support.loops import LoopFactory

_LENGTH = re.compile(rb"(?i)content-length: ([0-9]+)")
PATIENT = RequestLimits(sweep_s=0.05)


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@asynccontextmanager
async def _serving(
    authority: TestAuthority,
    limits: RequestLimits = PATIENT,
    client_auth: ssl.VerifyMode = ssl.CERT_NONE,
) -> AsyncIterator[Harness]:
    harness = Harness(MemoryCluster(1))
    tls = Source(authority.server_context(client_auth))
    await harness.start("n1", limits, tls=tls)
    try:
        yield harness
    finally:
        await harness.close()


@asynccontextmanager
async def _connected(
    http: Harness, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*http.address, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _connections(http: Harness) -> list[Connection]:
    return http.servers["n1"]._runner.open_connections()


def _put_topic() -> bytes:
    body = b'{"partitions": 1}'
    head = b"PUT /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _everything(authority: TestAuthority) -> None:
    async with _serving(authority) as http, _connected(http, authority.client_context()) as (reader, writer):
        writer.write(_put_topic())
        await read_answers(reader, 1)
        # On the fast path, three of them at once; then a body that is read past aiohttp, in parts; and again.
        writer.write(request(b"0") + request(b"1") + request(b"2"))
        large = request(bytes(range(256)) * 3000)
        for start in range(0, len(large), 100_000):
            writer.write(large[start : start + 100_000])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(request(b"4") + request(b"5", headers="X-Unusual: 1\r\n"))
        documents = [json.loads(each) for each in await read_answers(reader, 6)]
        assert [each["first_offset"] for each in documents] == [0, 1, 2, 3, 4, 5]
        writer.write(f"GET {RECORDS}?from=3&max_records=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        (page,) = await read_answers(reader, 1)
        assert len(page) > 1_000_000, "the large one, as base64"
        await asyncio.wait_for(_stream(http, authority), 20)


async def _stream(http: Harness, authority: TestAuthority) -> None:
    async with _connected(http, authority.client_context()) as (reader, writer):
        writer.write(
            f"GET {RECORDS}?from=4&follow=true HTTP/1.1\r\nHost: localhost\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        for offset in (4, 5):
            await reader.readuntil(f'"offset":{offset}'.encode())


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_is_sent_in_any_way_is_served(factory: LoopFactory, authority: TestAuthority) -> None:
    """Requests on the fast path, ones behind each other, large bodies, pages and streams."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_everything(authority))


async def test_plain_http_is_told_so_and_closed(authority: TestAuthority) -> None:
    """And logged once in a while only, however often it comes."""
    async with _serving(authority) as http:
        with capture_logs() as lines:
            for _ in range(5):
                answer = await http.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
                assert b"https://" in answer
            await until(lambda: http.servers["n1"].admission.total == 0)
        assert [line["event"] for line in lines] == ["tls_handshake_failed"]
        assert "http" in lines[0]["hint"]


async def test_a_handshake_has_as_long_as_a_head(authority: TestAuthority) -> None:
    """Whoever connects and says nothing, or half of it, is let go, and holds a place until then."""
    async with _serving(authority, RequestLimits(header_timeout_s=1, sweep_s=0.05)) as http:
        admission = http.servers["n1"].admission
        hello = _client_hello(authority)
        silent = [await asyncio.open_connection(*http.address) for _ in range(2)]
        silent[1][1].write(hello[: len(hello) // 2])
        await until(lambda: admission.total == 2)
        for reader, writer in silent:
            assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()
        assert admission.total == 0


def _client_hello(authority: TestAuthority) -> bytes:
    out = ssl.MemoryBIO()
    made = authority.client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        made.do_handshake()
    return out.read()


async def test_connections_are_limited_from_the_moment_they_are_accepted(authority: TestAuthority) -> None:
    """Beyond the limits there are the spare places, for one request; and then nothing."""
    limits = RequestLimits(header_timeout_s=30, sweep_s=0.05, connections_per_address_max=3)
    async with _serving(authority, limits) as http:
        admission = http.servers["n1"].admission
        idle = [await asyncio.open_connection(*http.address) for _ in range(3)]
        await until(lambda: admission.total == 3)
        async with _connected(http, authority.client_context()) as (reader, writer):
            writer.write(request(b"0"))
            assert (await reader.readline()).startswith(b"HTTP/1.1 503 ")
        async with _connected(http, authority.client_context()) as (reader, writer):
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        for _, writer in idle:
            writer.close()
        await until(lambda: (admission.total, admission.spare) == (0, 0))
        async with _connected(http, authority.client_context()) as (reader, writer):
            writer.write(_put_topic())
            assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")


async def test_a_reader_that_takes_nothing_is_let_go(authority: TestAuthority) -> None:
    """As without TLS: its answers are not kept for ever."""
    async with _serving(authority, RequestLimits(write_stall_s=0.5, sweep_s=0.05)) as http:
        async with _connected(http, authority.client_context()) as (reader, writer):
            writer.write(_put_topic() + request(b"x" * (900 << 10)) * 8)
            await read_answers(reader, 9)
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # Else the kernel may take all of it.
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, http.address)
        reader, writer = await asyncio.open_connection(
            sock=small, ssl=authority.client_context(), server_hostname=http.address[0], limit=1
        )
        transport: Any = writer.transport
        transport.pause_reading()
        await until(lambda: len(_connections(http)) == 1)
        writer.write(f"GET {RECORDS}?max_bytes=33554432 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(lambda: not _connections(http))
        transport.abort()


@pytest.mark.parametrize("media", ["application/json", "application/vnd.floodmark.batch;v=1"])
@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_a_client_has_not_taken_stays_counted(
    factory: LoopFactory, media: str, authority: TestAuthority
) -> None:
    """However it is written to TLS, which takes any amount at once: pages of many clients are bounded so."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_takes_only_a_head(authority, media))


async def _takes_only_a_head(authority: TestAuthority, media: str) -> None:
    async with _serving(authority) as http:
        answers = http.servers["n1"].app[CONTEXT].service.answers
        async with _connected(http, authority.client_context()) as (reader, writer):
            writer.write(_put_topic() + request(b"x" * (900 << 10)) * 4)
            await read_answers(reader, 5)
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, http.address)
        reader, writer = await asyncio.open_connection(
            sock=small, ssl=authority.client_context(), server_hostname=http.address[0], limit=4096
        )
        head = f"GET {RECORDS}?max_bytes=8388608 HTTP/1.1\r\nHost: localhost\r\nAccept: {media}\r\n\r\n"
        try:
            writer.write(head.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answers.used > 1 << 19, "the head has come, and most of the page has not"
            body = await reader.readexactly(int(_LENGTH.findall(answer)[0]))
            assert len(body) > 1 << 20, "all of it comes, in order"
            assert b"x" * 900 in body or b"eHh4" * 200 in body
            await until(lambda: answers.used == 0)
        finally:
            writer.transport.abort()


async def test_a_node_stops_with_handshakes_under_way(authority: TestAuthority) -> None:
    """They are ended, and the port is free at once."""
    async with _serving(authority, RequestLimits()) as http:
        reader, writer = await asyncio.open_connection(*http.address)
        server: HttpServer = http.servers["n1"]
        await until(lambda: server.admission.total == 1)
        address = http.address
        await server.stop(0.1)
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


async def test_a_certificate_names_who_connects(authority: TestAuthority) -> None:
    """A client without one is nobody, where it is optional."""
    async with _serving(authority, client_auth=ssl.CERT_OPTIONAL) as http:
        carol = authority.client_context(authority.user("carol@example"))
        async with _connected(http, carol), _connected(http, authority.client_context()):
            await until(lambda: len(_connections(http)) == 2)
            assert {each.certified_as for each in _connections(http)} == {"carol@example", None}


@pytest.mark.parametrize("how", ["ends", "ca gone"])
async def test_a_connection_ends_with_its_certificate(authority: TestAuthority, how: str) -> None:
    """Whoever has one that holds comes anew with it; others, without one, stay."""
    async with _serving(authority, client_auth=ssl.CERT_OPTIONAL) as http:
        carol = authority.client_context(authority.user("carol"))
        async with _connected(http, carol) as (hers, _), _connected(http, authority.client_context()):
            await until(lambda: len(_connections(http)) == 2)
            (connection,) = (each for each in _connections(http) if each.certified_as)
            if how == "ends":
                assert connection._certified is not None
                connection._certified = connection._certified._replace(until_s=1.0)
            else:
                source = http.servers["n1"]._tls
                assert isinstance(source, Source)
                source.context = authority.server_context(ssl.CERT_OPTIONAL)
            assert await asyncio.wait_for(hers.read(), 20) == b""
            assert connection.certified_as is None
            await until(lambda: len(_connections(http)) == 1)


async def test_only_certificates_that_hold_are_taken(authority: TestAuthority, tmp_path: Path) -> None:
    """One that has ended, one of another CA, and none where one is required."""
    (tmp_path / "other").mkdir()
    other = TestAuthority(tmp_path / "other").user("carol")
    async with _serving(authority, client_auth=ssl.CERT_REQUIRED) as http:
        for files in (authority.user("carol", ended=True), other, None):
            assert await _first_line(http, authority.client_context(files)) == b""
        async with _connected(http, authority.client_context(authority.user("carol"))) as (reader, writer):
            writer.write(_put_topic())
            assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
        await until(lambda: http.servers["n1"].admission.total == 0)


async def _first_line(http: Harness, context: ssl.SSLContext) -> bytes:
    with suppress(OSError):
        async with _connected(http, context) as (reader, writer):
            writer.write(request(b"0"))
            return await reader.readline()
    return b""


@pytest.mark.parametrize(
    ("names", "principal"),
    [
        ([("URI", "spiffe://floodmark/user/carol")], "carol"),
        ([("URI", "spiffe://else.where/user/carol%40example")], "carol@example"),
        ([("DNS", "app.example"), ("DNS", "other")], "app.example"),
        ([("DNS", "app.example"), ("URI", "https://a/user/x")], "app.example"),
        ([("DNS", "app.example"), ("URI", "spiffe://floodmark/user/carol")], "carol"),
        ([("DNS", "n1.example"), ("URI", "spiffe://floodmark/node/n1")], None),
        ([("URI", "spiffe://a/user/x"), ("URI", "spiffe://a/user/y")], None),
        ([("URI", "spiffe://a/user/x/y"), ("DNS", "app")], None),
        ([("URI", "spiffe://a/user/")], None),
        ([("DNS", "*.example")], None),
        ([("URI", "spiffe://a/user/anonymous")], None),
        ([("URI", "spiffe://a/user/(node)")], None),
        ([("URI", "spiffe://a/user/..")], None),
        ([("email", "a@b")], None),
        ([], None),
    ],
)
def test_whom_a_certificate_names(names: list[tuple[str, str]], principal: str | None) -> None:
    """A user of any SPIFFE domain, else the first DNS name; never somebody who cannot be a user."""
    assert principal_of({"subjectAltName": tuple(names)}) == principal
