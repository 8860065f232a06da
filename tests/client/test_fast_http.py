"""The fast path: large answers read around aiohttp, and every answer that does not look like a node's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
import uvloop
from aiohttp import web
from floodmark import Client
from floodmark.transport.fast_http import FastHttp, NotConnected
from floodmark.transport.http_head import parse

from tests.client.front import Front

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = bytes(range(256)) * 2000
ANSWER = b"HTTP/1.1 200 OK\r\nlog-next-offset: 7\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[tuple[str, list[int]]]:
    """A TCP server that treats each connection as ``peer`` does: its URL, and who connected."""
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer.get_extra_info("peername")[1])
        try:
            await peer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        await server.wait_closed()


def answering(*pieces: bytes, closes: bool = False) -> Peer:
    """Answer every request with these bytes, each piece sent by itself."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if closes:
                return

    return peer


@asynccontextmanager
async def fast_http() -> AsyncIterator[FastHttp]:
    """Closed at the end."""
    made = FastHttp("test")
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (ANSWER,),
        (*(ANSWER[at : at + 1] for at in range(90)), ANSWER[90:]),
        (ANSWER[:60], ANSWER[60:-1], ANSWER[-1:]),
    ],
)
async def test_an_answer_comes_in_pieces_of_any_size(pieces: tuple[bytes, ...]) -> None:
    """Whole, byte by byte, cut in head and body: the same bytes, again and again on one connection."""
    async with listening(answering(*pieces)) as (url, connections), fast_http() as made:
        for _ in range(3):
            found = await made.get(url, "/x", {}, connect_timeout_s=5)
            assert found is not None
            assert found.head.headers["Log-Next-Offset"] == "7"
            assert found.body == BODY
        assert len(connections) == 1


def test_downloads_work_on_uvloop_too() -> None:
    """Its transports are of no class of asyncio's, and it asks for buffers in its own way."""
    uvloop.run(test_an_answer_comes_in_pieces_of_any_size((ANSWER[:60], ANSWER[60:-1], ANSWER[-1:])))
    uvloop.run(test_what_is_given_up_leaves_nothing_behind())
    uvloop.run(test_an_answer_that_breaks_off_is_an_error(70))


async def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    """Four at once, then four again: four connections, each used twice."""
    async with listening(answering(ANSWER)) as (url, connections), fast_http() as made:
        for _ in range(2):
            answers = await asyncio.gather(*(made.get(url, "/", {}, connect_timeout_s=5) for _ in range(4)))
            assert all(answer is not None and answer.body == BODY for answer in answers)
        assert len(connections) == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\n\r\nto the end of the connection",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (70 << 10),
        b"SSH-2.0-x\r\n\r\n",
    ],
)
async def test_an_odd_answer_is_left_to_others(answer: bytes) -> None:
    """Nothing is made of it, and nobody is asked there again."""
    async with listening(answering(answer)) as (url, _), fast_http() as made:
        assert made.can(url)
        assert await made.get(url, "/", {}, connect_timeout_s=5) is None
        assert not made.can(url)


@pytest.mark.parametrize("cut", [0, 10, 70, len(ANSWER) - 1])
async def test_an_answer_that_breaks_off_is_an_error(cut: int) -> None:
    """In front of it, in its head, behind it, before its last byte: never a short body."""
    async with listening(answering(ANSWER[:cut], closes=True)) as (url, _), fast_http() as made:
        with pytest.raises(ConnectionError):
            await made.get(url, "/", {}, connect_timeout_s=5)
        assert made.can(url)


async def test_a_connection_that_the_other_side_ends_is_not_used_again() -> None:
    """Said in the head, or shown by closing: the next request has a new connection."""
    said = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    async with listening(answering(said)) as (url, connections), fast_http() as made:
        for count in (1, 2):
            found = await made.get(url, "/", {}, connect_timeout_s=5)
            assert found is not None
            assert found.body == BODY
            assert len(connections) == count


async def test_what_is_given_up_leaves_nothing_behind() -> None:
    """A request that is cancelled closes its connection: its late answer cannot be taken for another's."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def peer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        await reader.read()
        ended.set()

    async with listening(peer) as (url, _), fast_http() as made:
        asking = asyncio.create_task(made.get(url, "/", {}, connect_timeout_s=5))
        await asyncio.wait_for(begun.wait(), 60)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(ended.wait(), 60)


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    """What comes between two answers belongs to neither."""
    late, ended = asyncio.Event(), asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await late.wait()
        if not ended.is_set():
            writer.write(b"more")
            with suppress(ConnectionError):
                await reader.read()
            ended.set()

    async with listening(peer) as (url, connections), fast_http() as made:
        assert await made.get(url, "/", {}, connect_timeout_s=5) is not None
        late.set()
        await asyncio.wait_for(ended.wait(), 10)
        found = await made.get(url, "/", {}, connect_timeout_s=5)
        assert found is not None
        assert found.body == BODY
        assert len(connections) == 2


async def test_nobody_there_is_told_from_an_answer_that_was_lost() -> None:
    """Nothing was sent, which the caller may rely on."""
    async with listening(answering(ANSWER)) as (url, _):
        pass
    async with fast_http() as made:
        with pytest.raises(NotConnected):
            await made.get(url, "/", {}, connect_timeout_s=5)


async def test_records_are_read_through_a_proxy_that_speaks_in_chunks(
    front: Front, client: Client, topic: str
) -> None:
    """The reader goes on with aiohttp, and gives every record."""
    async with client.producer(topic, batch_bytes=500) as producer:
        for number in range(300):
            await producer.send(number, partition=0)
    passed = 0

    async def in_chunks(request: web.Request, _: bytes) -> web.StreamResponse | None:
        nonlocal passed
        async with (
            aiohttp.ClientSession() as session,
            session.get(front.target + request.path_qs, headers={"Accept": request.headers["Accept"]}) as got,
        ):
            body = await got.read()
            headers = {name: text for name, text in got.headers.items() if name.startswith(("Log-", "Flood"))}
        back = web.StreamResponse(status=got.status, headers=headers)
        back.enable_chunked_encoding()
        await back.prepare(request)
        await back.write(body)
        await back.write_eof()
        passed += 1
        return back

    async with Client(front.url) as other:
        front.after = in_chunks
        read = [record.json() async for record in other.read(topic, 0, prefetch_bytes=1)]
    assert read == list(range(300))
    assert passed > 1


async def test_small_bodies_are_posted_whole_and_on_one_connection() -> None:
    """Request line, headers and body as a server reads them, again and again."""
    seen: list[tuple[bytes, bytes]] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append((head, await reader.readexactly(300)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with listening(peer) as (url, connections), fast_http() as made:
        for _ in range(3):
            found = await made.post(url + "/base", "/x?y=1", {"A": "b"}, bytes(300), connect_timeout_s=5)
            assert found is not None
            assert found.body == b"{}"
        assert len(connections) == 1
    host = url.removeprefix("http://").encode()
    expected = (
        b"POST /base/x?y=1 HTTP/1.1\r\nHost: %b\r\nUser-Agent: test\r\nA: b\r\nContent-Length: 300\r\n\r\n"
    )
    assert seen == [(expected % host, bytes(300))] * 3


async def test_records_behind_an_odd_answer_are_stored_once(front: Front, client: Client, topic: str) -> None:
    """A producer whose node answers in chunks asks again with aiohttp; the node knows the batch already."""
    posts = 0

    async def in_chunks(request: web.Request, _: bytes) -> web.StreamResponse | None:
        nonlocal posts
        if request.method != "POST":
            return None
        posts += 1
        back = web.StreamResponse()
        back.enable_chunked_encoding()
        await back.prepare(request)
        await back.write(b'{"first_offset": %d}' % (0 if posts < 3 else posts - 2))
        await back.write_eof()
        return back

    async with Client(front.url) as other:
        front.after = in_chunks
        offsets = [(await other.produce(topic, number, partition=0)).offset for number in range(3)]
    assert offsets == [0, 1, 2]
    assert posts == 4, "the first one twice, then once each"
    assert [record.json() async for record in client.read(topic, 0)] == [0, 1, 2]


def test_heads_are_read_as_they_are_written() -> None:
    """Names in any case, values without the blanks around them, the last answer's connection."""
    head = parse(b"HTTP/1.1 503 No\r\nretry-AFTER:  3\t\r\nX:\r\nContent-Length: 12\r\nConnection: Close")
    assert head is not None
    assert (head.status, head.length, head.closes) == (503, 12, True)
    assert head.headers["Retry-After"] == "3"
    assert head.headers["X"] == ""
