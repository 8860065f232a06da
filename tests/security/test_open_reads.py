"""Reads that are open when a right goes: they end, and hand out nothing more. What one holds is no right."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from floodmark.errors import UnknownTopic

from node.http.context import CONTEXT
from node.security.authenticator import Authenticator
from node.service import cursor as cursors
from node.service.data_requests import ReadTopicRequest
from node.service.request_context import RequestContext
from tests.security.secured import Secured, secured
from tests.support.nodes import TestNode

PARTITION: Final = "/v1/topics/t/partitions/0/records"
TOPIC: Final = "/v1/topics/t/records"
BATCH: Final = "application/vnd.floodmark.batch;v=1"
EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
MSGPACK: Final = "application/vnd.msgpack"
STREAMS: Final = [
    (f"{PARTITION}?from=latest", EVENTS),
    (f"{TOPIC}?from=latest", EVENTS),
    (f"{PARTITION}?from=latest&follow=true", LINES),
    (f"{TOPIC}?from=latest&follow=true", LINES),
    (f"{TOPIC}?from=latest&follow=true", MSGPACK),
]
POLLS: Final = [
    (f"{PARTITION}?from=latest&wait=30s", "application/json"),
    (f"{TOPIC}?from=latest&wait=30s", "application/json"),
    (f"{PARTITION}?from=latest&wait=30s", BATCH),
    ("/v1/topics/t/wait?wait=30s&cursor={cursor}", "application/json"),
]
ENDS_WITHIN_S: Final = 20.0
"""Well below the time of the polls, and endlessly far below that of the streams."""
LIFETIME_MS: Final = 600_000
"""Of a token that is over once a test says so: not while it opens what it reads, however busy the machine."""


@pytest.fixture
async def reading(tmp_path: Path) -> AsyncIterator[Secured]:
    """Somebody may read topic ``t``, which has a record."""
    async with secured(tmp_path) as found:
        await found.cluster.create("t", replicas=2)
        await found.done("POST", TOPIC, {"value": "before"})
        await found.user("reader")
        await found.allow("reader", "read", "t")
        yield found


class Opened:
    """What one reader is answered."""

    def __init__(self, reading: Secured, node: TestNode, path: str, accept: str) -> None:
        topic_id = node.broker.topic("t").topic_id
        self.what = f"{path} as {accept} at {node.node_id}"
        self.begun = asyncio.Event()
        headers = {"Authorization": f"Bearer {reading.tokens['reader']}", "Accept": accept}
        url = node.url + path.format(cursor=cursors.encode(topic_id, [1]))
        self.ended = asyncio.create_task(self._read(reading.cluster.session, url, headers))

    async def _read(
        self, session: aiohttp.ClientSession, url: str, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        timeout = aiohttp.ClientTimeout(total=60)
        while True:
            async with session.get(url, headers=headers, timeout=timeout) as answer:
                if answer.status != 503:  # Else it has not begun: a lead has just changed.
                    self.begun.set()
                    return answer.status, await answer.read()
            await asyncio.sleep(0.05)


async def _open_all(reading: Secured) -> tuple[list[Opened], list[Opened]]:
    """Streams and polls of all forms at all kinds of nodes; they wait."""
    roles = await reading.roles("t")
    streams = [Opened(reading, node, path, accept) for node in roles for path, accept in STREAMS]
    polls = [Opened(reading, node, path, accept) for node in roles for path, accept in POLLS]
    async with asyncio.timeout(20):
        await asyncio.gather(*(each.begun.wait() for each in streams))
    expected = len(STREAMS) + len(POLLS)

    def all_wait() -> bool:
        over = [(each.what, each.ended.result()) for each in (*streams, *polls) if each.ended.done()]
        assert over == []
        return all(len(node.running.app[CONTEXT].service.open_reads) == expected for node in roles)

    await reading.cluster.until(all_wait, "all of them wait")
    return streams, polls


async def _remove_entry(reading: Secured) -> None:
    await reading.done("DELETE", "/v1/acls?principal=reader")


async def _deny(reading: Secured) -> None:
    await reading.allow("*", "read", "", pattern="prefix", allow=False)


async def _revoke_token(reading: Secured) -> None:
    tokens = (await reading.done("GET", "/v1/users/reader/tokens"))["tokens"]
    await reading.done("DELETE", f"/v1/users/reader/tokens/{tokens[0]['id']}")


async def _delete_user(reading: Secured) -> None:
    await reading.done("DELETE", "/v1/users/reader")


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (_remove_entry, 404, b"unknown_topic"),
        (_deny, 403, b"forbidden"),
        (_revoke_token, 401, b"unauthorized"),
        (_delete_user, 401, b"unauthorized"),
    ],
)
async def test_whoever_may_no_longer_read_reads_no_longer(
    reading: Secured, end: Callable[[Secured], Coroutine[Any, Any, None]], status: int, code: bytes
) -> None:
    """Whatever waits ends, says why, and has nothing of what is stored from then on."""
    streams, polls = await _open_all(reading)
    await end(reading)
    await reading.done("POST", TOPIC, {"value": "a secret"})
    async with asyncio.timeout(ENDS_WITHIN_S):
        for each in streams:
            told, body = await each.ended
            assert told == 200, each.what
            assert code in body, each.what
            assert b"secret" not in body, each.what
        for each in polls:
            told, body = await each.ended
            assert (told, json.loads(body)["code"]) == (status, code.decode()), each.what
    for node in reading.cluster.up:
        assert len(node.running.app[CONTEXT].service.open_reads) == 0


async def test_a_token_that_expires_ends_what_is_open(reading: Secured) -> None:
    """Without any change of the metadata: somebody looks about once a second."""
    tokens = (await reading.done("GET", "/v1/users/reader/tokens"))["tokens"]
    made = await reading.done("POST", "/v1/users/reader/tokens", {"lifetime_ms": LIFETIME_MS})
    reading.tokens["reader"] = made["token"]
    streams, polls = await _open_all(reading)
    expired_ms = time.time_ns() // 1_000_000 + LIFETIME_MS
    for node in reading.cluster.up:
        authenticator = node.running.app[CONTEXT].service.authenticator
        assert isinstance(authenticator, Authenticator)
        authenticator._wall_ms = lambda: expired_ms
    async with asyncio.timeout(ENDS_WITHIN_S):
        for each in streams:
            assert b"has expired" in (await each.ended)[1], each.what
        for each in polls:
            assert (await each.ended)[0] == 401, each.what
    assert tokens, "its other one is still valid"


async def test_others_go_on_when_one_may_not(reading: Secured) -> None:
    """A change that forbids nothing to a reader does not end what it reads."""
    await reading.user("other")
    await reading.allow("other", "read", "t")
    node = (await reading.roles("t"))[2]
    stream = Opened(reading, node, *STREAMS[0])
    async with asyncio.timeout(ENDS_WITHIN_S):
        await stream.begun.wait()
    await reading.done("DELETE", "/v1/acls?principal=other")
    await reading.token("other")
    await reading.done("POST", TOPIC, {"value": "for the reader"})
    await reading.done("DELETE", "/v1/acls?principal=reader")
    async with asyncio.timeout(ENDS_WITHIN_S):
        _, body = await stream.ended
    assert body.index(b"for the reader") < body.index(b"unknown_topic")


async def test_what_one_holds_gives_nothing_to_another(reading: Secured) -> None:
    """A cursor, an event id, a topic's id: each is judged for whoever brings it, at every door."""
    await reading.user("thief")
    _, page = await reading.ask(reading.cluster.up[0], "reader", "GET", f"{TOPIC}?from=earliest")
    held = json.loads(page)["cursor"]
    topic_id = reading.cluster.up[0].broker.topic("t").topic_id
    begin = cursors.encode(topic_id, [0])
    for node in await reading.roles("t"):
        for who, expected in (("reader", 200), ("thief", 404), ("none", 401)):
            for path, headers in (
                (f"{TOPIC}?cursor={begin}", {}),
                (f"/v1/topics/t/wait?wait=0&cursor={begin}", {}),
                (f"{PARTITION}?max_records=1&topic_id={topic_id}", {}),
                (f"{TOPIC}?max_records=1", {"Accept": EVENTS, "Last-Event-ID": begin}),
                (f"{PARTITION}?max_records=1", {"Accept": EVENTS, "Last-Event-ID": f"{topic_id}:0:0"}),
            ):
                status, body = await reading.ask(node, who, "GET", path, **headers)
                assert status == expected, (node.node_id, who, path, body)
                assert (b"before" in body) == (expected == 200 and "/wait" not in path), (who, path)
        service = node.running.app[CONTEXT].service
        wanted = ReadTopicRequest(topic="t", begin=cursors.decode(held))
        with service.answers.hold("thief") as hold, pytest.raises(UnknownTopic):
            await service.read_topic(RequestContext(protocol="other", principal="thief"), wanted, hold)
        with service.answers.hold("reader") as hold:
            await service.read_topic(RequestContext(protocol="other", principal="reader"), wanted, hold)
