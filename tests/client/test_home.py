"""A client in another event loop, in a forked child, or after its end is refused at once."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from floodmark import Client
from floodmark.errors import NotUsable, TransportError, Unavailable
from floodmark.sync import Client as SyncClient
from floodmark.transport import http
from floodmark.transport.http import Answer, Request, Transport

from tests.client.front import Front

_LONG_S = 3600.0
"""A call that tries on for its whole time would never end here."""


async def _read(client: Client, topic: str) -> int:
    return len([record async for record in client.read(topic)])


async def _send(client: Client, topic: str) -> Any:
    async with client.producer(topic) as producer:
        return await (await producer.send(b"x"))


async def _list(client: Client) -> int:
    return len([topic async for topic in client.topics.list()])


_CALLS: dict[str, Callable[[Client, str], Awaitable[Any]]] = {
    "produce": lambda client, topic: client.produce(topic, 1),
    "producer": _send,
    "read": _read,
    "tail": lambda client, topic: client.tail(topic, 0),
    "describe": lambda client, topic: client.topics.describe(topic),
    "exists": lambda client, topic: client.topics.exists(topic),
    "list": lambda client, _: _list(client),
    "alter": lambda client, topic: client.topics.alter(topic, {}),
    "cluster": lambda client, _: client.cluster(),
    "nodes": lambda client, _: client.nodes(),
}


@pytest.mark.parametrize("call", _CALLS)
async def test_a_closed_client_says_so(call: str, node_url: str, topic: str) -> None:
    """Whatever is asked of it, and also if it was never used before."""
    client, unused = Client(node_url, timeout_s=_LONG_S), Client(node_url, timeout_s=_LONG_S)
    await client.produce(topic, 0)
    for each in (client, unused):
        await each.close()
        with pytest.raises(NotUsable, match="closed") as caught:
            await _CALLS[call](each, topic)
        assert (caught.value.code, caught.value.retriable) == ("not_usable", False)
        await each.close()


@pytest.mark.parametrize("call", _CALLS)
async def test_a_second_event_loop_is_refused(call: str, node_url: str, topic: str) -> None:
    """asyncio.run twice: what the first loop held cannot be waited for in the second one."""

    async def produce(client: Client) -> None:
        await client.produce(topic, 0)

    def work() -> None:
        client, first = Client(node_url, timeout_s=_LONG_S), asyncio.new_event_loop()
        first.run_until_complete(produce(client))
        asyncio.run(_refused(lambda: _CALLS[call](client, topic)))
        first.run_until_complete(client.close())
        asyncio.run(client.close())  # always returns
        first.close()

    await asyncio.to_thread(work)


async def _refused(call: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(NotUsable, match="another event loop"):
        await call()


async def test_what_was_opened_here_is_refused_there(client: Client, topic: str) -> None:
    """A producer and readers; closing from there is done here, where they live."""
    producer = client.producer(topic)
    await (await producer.send(b"0"))
    reader, opened = client.read(topic, follow=True), client.read(topic, 0, start="latest", follow=True)
    await opened.open()

    async def elsewhere() -> None:
        for call in (lambda: producer.send(b"1"), lambda: producer.send_many([b"1"]), lambda: _first(reader)):
            with pytest.raises(NotUsable, match="another event loop"):
                await call()
        with pytest.raises(NotUsable, match="another event loop"):
            await producer.flush()
        with pytest.raises(NotUsable, match="another event loop"):
            await _first(opened)
        await producer.close()
        await client.close()

    waiting = asyncio.ensure_future(_first(client.read(topic, 1, start="latest", follow=True)))
    await asyncio.sleep(0)
    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    with pytest.raises(NotUsable):
        await waiting
    with pytest.raises(NotUsable):
        await producer.send(b"2")


async def _first(reader: Any) -> Any:
    async for record in reader:
        return record
    return None


async def test_closing_ends_those_who_wait(client: Client, topic: str) -> None:
    """An open reader's loop ends with an error, one that was not begun is refused, and sends are settled."""
    producer = client.producer(topic, linger_ms=60_000)
    ack = await producer.send(b"0")
    fresh = client.read(topic)
    waiting = asyncio.ensure_future(_first(client.read(topic, start="latest", follow=True)))
    await asyncio.sleep(0)
    await client.close()
    assert (await ack).offset == 0
    for late in (waiting, _first(fresh), producer.send(b"1")):
        with pytest.raises(NotUsable):
            await late


_FORKING = """
import asyncio, os, sys
import floodmark, floodmark.sync
from floodmark.errors import NotUsable
url = sys.argv[1]
client = floodmark.sync.Client(url, timeout_s=3600)
client.topics.ensure("forked")
producer = client.producer("forked")
ack = producer.send(1)
ack.result()
records = client.read("forked", 0, follow=True)
next(records)
loop = asyncio.new_event_loop()
there = floodmark.Client(url, timeout_s=3600)
loop.run_until_complete(there.produce("forked", 1))
pid = os.fork()
if pid == 0:
    refused = 0
    calls = [
        lambda: client.produce("forked", 2), lambda: producer.send(2), lambda: producer.flush(),
        lambda: next(records), lambda: client.tail("forked", 0), lambda: client.topics.exists("forked"),
        lambda: list(client.read("forked")),
        lambda: loop.run_until_complete(there.produce("forked", 2)),
        lambda: asyncio.run(there.topics.exists("forked")), lambda: asyncio.run(there.tail("forked", 0)),
    ]
    for call in calls:
        try:
            call()
        except NotUsable as error:
            refused += "fork" in error.detail
    client.close()
    asyncio.run(there.close())
    with floodmark.sync.Client(url) as own:
        own.produce("forked", 3)
    os._exit(refused)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), client.produce("forked", 4).offset)
client.close()
loop.run_until_complete(there.close())
"""


async def test_a_forked_child_needs_a_client_of_its_own(node_url: str, topic: str) -> None:
    """Ten uses are refused, closing does nothing, and the parent's connections go on working."""
    del topic
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _FORKING, node_url, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert (said, process.returncode) == (b"10 3\n", 0)


async def test_a_synchronous_call_under_way_ends_when_the_client_is_closed(front: Front, topic: str) -> None:
    """Closed by another thread; the answer that it waits for never comes."""
    asked = threading.Event()

    async def swallow(_: web.Request, __: bytes) -> None:
        asked.set()
        await asyncio.Event().wait()

    front.trouble = swallow

    def work() -> None:
        client = SyncClient(front.url, timeout_s=_LONG_S, request_timeout_s=_LONG_S)
        found: list[BaseException] = []

        def ask() -> None:
            try:
                client.tail(topic, 0)
            except TransportError as error:
                found.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        asked.wait()
        client.close()
        asking.join()
        assert len(found) == 1

    await asyncio.to_thread(work)


async def test_a_settled_acknowledgement_outlives_the_client(node_url: str, topic: str) -> None:
    """What is known needs nobody to be asked."""

    def work() -> None:
        with SyncClient(node_url) as client, client.producer(topic) as producer:
            one, many = producer.send(b"a", partition=0), producer.send_many([b"b", b"c"], partition=0)
        assert one.result().offset == 0
        assert [place.offset for place in many.result()] == [1, 2]

    await asyncio.to_thread(work)


@pytest.fixture
def dead_url() -> Iterator[str]:
    """A port that is taken, so that nobody else gets it, and at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_a_dead_url_is_told_before_the_time_is_up(dead_url: str) -> None:
    """Nobody has answered yet, so there is no election to wait out."""
    async with Client(dead_url, timeout_s=_LONG_S) as client:
        for call in ("produce", "tail", "describe"):
            with pytest.raises(TransportError, match=r"no connection to .*: Connection refused"):
                await _CALLS[call](client, "t")


async def test_a_first_connection_that_came_too_late_is_tried_once_more(
    node_url: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program may have been held up meanwhile; where the second one fails as well the URL is wrong."""
    monkeypatch.setattr(http, "_FIRST_CONNECTION_S", 0.0)
    attempt = Transport.attempt
    left = tries = 0

    async def late(self: Transport, request: Request, timeout_s: float) -> Answer:
        nonlocal left, tries
        tries, left = tries + 1, left - 1
        if left >= 0:
            self.nodes.failed(node_url, None)
            raise TransportError("out of time", sent=False)
        self._was_reached = True  # So that it is not held to 0 s.
        return await attempt(self, request, timeout_s)

    monkeypatch.setattr(Transport, "attempt", late)
    for failures, is_reached in ((1, True), (2, False)):
        left, tries = failures, 0
        async with Client(node_url, timeout_s=_LONG_S) as client:
            if is_reached:
                assert (await client.topics.describe(topic)).name == topic
            else:
                with pytest.raises(TransportError, match="out of time"):
                    await client.topics.describe(topic)
        assert tries == 2


async def test_where_a_pause_takes_all_the_time_that_is_left_the_last_error_is_told(
    node_url: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another try would only say that it was not answered within no time."""
    tries = 0

    async def refused(self: Transport, request: Request, timeout_s: float) -> Answer:
        nonlocal tries
        tries += 1
        raise Unavailable("an election")

    async with Client(node_url, timeout_s=0.2) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Transport, "attempt", refused)
            patched.setattr(http, "asyncio", SimpleNamespace(sleep=held_up))  # Nobody else's.
            with pytest.raises(Unavailable, match="an election"):
                await client.topics.describe(topic)
    assert tries == 1


async def held_up(_: float) -> None:
    """As on a busy machine."""
    time.sleep(0.3)  # noqa: ASYNC251 - nothing else runs


async def test_one_living_url_of_many_is_enough(dead_url: str, node_url: str, topic: str) -> None:
    """The first ones are dead."""
    async with Client([dead_url, dead_url, node_url], timeout_s=_LONG_S) as client:
        assert (await client.produce(topic, 1, partition=0)).offset == 0


async def test_a_cluster_that_was_reached_is_waited_for(front: Front, topic: str) -> None:
    """It may be electing, or starting again."""
    async with Client(front.url, timeout_s=_LONG_S) as client:
        await client.topics.describe(topic)
        await front.stop()
        waiting = asyncio.ensure_future(client.topics.describe(topic))
        client._transport.nodes.failed(front.url, None)
        failed = client._transport.nodes._failures
        while failed.get(front.url, 0) < 6:  # beyond two seconds of delays
            assert not waiting.done()
            await asyncio.sleep(0.05)
        waiting.cancel()
