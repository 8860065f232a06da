"""A page's limits are about the answer, and nobody's answer takes the memory of all others."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product
from typing import Any

import aiohttp
import msgspec
import pytest
from floodmark.format import batch, compression
from floodmark.format.record import Record

from node.http.context import CONTEXT
from node.http.media import Media
from node.request_limits import RequestLimits
from node.service.answer_budget import AnswerBudget
from tests.http.conftest import Harness, until

RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
JSON = {"Accept": "application/json"}
MSGPACK = {"Accept": "application/vnd.msgpack"}
DECODE: dict[str, Callable[[bytes], Any]] = {
    "application/json": json.loads,
    "application/vnd.msgpack": msgspec.msgpack.decode,
}
ZEROS = 31
"""Records of one batch of 1.7 KiB, each of almost 1 MiB of zeros."""


@pytest.fixture
def node_count() -> int:
    """n1 leads partition 0; n2 and n3 pass on, or read from there for a topic."""
    return 3


@pytest.fixture
def settings() -> RequestLimits:
    """Half of the memory for answers that is usual."""
    return RequestLimits(responses_bytes_max=128 << 20)


def answers(http: Harness, node: str = "n1") -> AnswerBudget:
    """The memory for answers of a node."""
    return http.servers[node].app[CONTEXT].service.answers


async def bombs(http: Harness, count: int) -> None:
    """Batches that are next to nothing on disk and 31 MiB each in memory."""
    await http.make_topic()
    bomb = batch.encode([Record(1, None, bytes((1 << 20) - 64))] * ZEROS, codec=batch.CODEC_ZSTD)
    assert len(bomb) < 4096
    for _ in range(count):
        assert (await http.call("POST", RECORDS, data=bomb, headers=BATCH)).status == 200


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes to which batches were decompressed."""
    sizes: list[int] = []
    real = compression.decompress

    def counted(body: bytes | memoryview, raw_length: int) -> bytes:
        raw = real(body, raw_length)
        sizes.append(len(raw))
        return raw

    monkeypatch.setattr(compression, "decompress", counted)
    return sizes


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """By budget, the most that was ever held of it."""
    most: dict[int, int] = {}
    move = AnswerBudget.move

    def noted(self: AnswerBudget, address: str, count: int) -> None:
        move(self, address, count)
        most[id(self)] = max(most.get(id(self), 0), self.used)

    monkeypatch.setattr(AnswerBudget, "move", noted)
    return most


async def test_a_page_decompresses_no_more_than_it_shows(
    http: Harness, grown: list[int], peaks: dict[int, int]
) -> None:
    """Many batches fit compressed; what counts is what they grow to, one after the other."""
    await bombs(http, 24)
    for node, path, accept in product(("n1", "n2"), (RECORDS, ALL), (JSON, MSGPACK)):
        asked = (node, path, accept)
        grown.clear()
        peaks.clear()
        page = await http.call("GET", path, node=node, headers=accept)
        assert page.status == 200, asked
        found = DECODE[accept["Accept"]](page.body)["records"]
        assert len(found) == 1, asked
        assert len(page.body) < 2 << 20, asked  # One record that is larger than a page, in base64.
        assert len(grown) == 1, asked
        assert ZEROS << 20 < max(peaks.values()) < 40 << 20, asked  # What a batch grows to is counted.
        assert answers(http).used == answers(http, node).used == 0, asked
        shown = await http.call("GET", f"{path}?max_bytes=8388608", node=node, headers=accept)
        assert len(shown.body) <= 8 << 20, asked
        assert len(grown) == 2, asked


async def test_a_stream_reads_one_batch_and_lets_it_go_when_its_client_stops(
    http: Harness, grown: list[int], peaks: dict[int, int]
) -> None:
    """A client that reads a little and then nothing keeps a piece, not a batch."""
    await bombs(http, 24)
    for node, accept in product(("n1", "n2"), ("application/x-ndjson", "text/event-stream")):
        grown.clear()
        peaks.clear()
        async with reading_nothing(http, RECORDS, accept=accept, node=node) as sock:
            await asyncio.get_running_loop().sock_recv(sock, 1 << 14)
            await until(lambda node=node: 0 < answers(http, node).used < 2 << 20)
            assert sum(grown) <= 2 * 32 << 20, (node, accept)
            assert max(peaks.values()) < 40 << 20, (node, accept)
        await until(lambda node=node: answers(http).used == answers(http, node).used == 0)


@asynccontextmanager
async def reading_nothing(
    http: Harness, path: str, *, accept: str = "application/json", node: str = "n1"
) -> AsyncIterator[socket.socket]:
    """A request whose client has a tiny buffer and does not read."""
    host, _, port = http.cluster.urls[node].removeprefix("http://").partition(":")
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(sock, head.encode())
        yield sock


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("accept", [JSON, MSGPACK], ids=["json", "msgpack"])
@pytest.mark.parametrize("codec", [batch.CODEC_NONE, batch.CODEC_ZSTD])
async def test_pages_begin_and_end_within_a_batch(
    http: Harness, node: str, accept: dict[str, str], codec: int
) -> None:
    """No page is longer than asked for, unless it is of one record; nothing is lost or shown twice."""
    await http.make_topic()
    records = [Record(number, b"k", b"%d" % number * (number % 7), is_json=False) for number in range(60)]
    large = 1700
    for begin in range(0, len(records), 20):
        some = [*records[begin : begin + 20], Record(0, None, bytes(large))]
        data = batch.encode(some, codec=codec)
        assert (await http.call("POST", RECORDS, data=data, headers=BATCH)).status == 200
    decode = DECODE[accept["Accept"]]
    for bound in (1, 500, 3_000, 20_000):
        for path in (RECORDS, ALL):
            seen: list[int] = []
            cursor = "from=earliest"
            while True:
                page = await http.call("GET", f"{path}?{cursor}&max_bytes={bound}", node=node, headers=accept)
                found = decode(page.body)
                if not found["records"]:
                    break
                assert len(page.body) <= bound or len(found["records"]) == 1
                if path == RECORDS:
                    cursor = f"from={found['next_offset']}"
                    assert found["next_offset"] == found["records"][-1]["offset"] + 1
                    assert page.headers["Log-Next-Offset"] == str(found["next_offset"])
                else:
                    cursor = f"cursor={found['cursor']}"
                seen += [record["offset"] for record in found["records"]]
            assert seen == list(range(63))


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_large_json_values_are_text_in_messagepack(http: Harness, node: str, path: str) -> None:
    """A megabyte of empty arrays is not made into 350,000 objects on the way."""
    await http.make_topic()
    small, large = b"[1]", b"[" + b"[]," * 90_000 + b"[]]"
    data = batch.encode([Record(0, None, value, is_json=True) for value in (small, large)])
    assert (await http.call("POST", RECORDS, data=data, headers=BATCH)).status == 200
    page = await http.call("GET", path, node=node, headers=MSGPACK)
    first, second = msgspec.msgpack.decode(page.body)["records"]
    assert (first["value"], second["value_json"]) == ([1], large.decode())


@pytest.mark.parametrize("accept", [JSON, MSGPACK], ids=["json", "msgpack"])
async def test_a_page_of_many_pieces_is_one_document(http: Harness, accept: dict[str, str]) -> None:
    """More than 65,535 records, and values above and below the size of a piece."""
    await http.make_topic()
    many = batch.encode([Record(0, None, b"1", is_json=True)] * 70_000)
    sizes = [1, 70_000, 5, 200_000, 7, 64 << 10, 0]
    data = batch.encode([Record(0, None, bytes(size)) for size in sizes])
    for body in (many, data):
        assert (await http.call("POST", RECORDS, data=body, headers=BATCH)).status == 200
    page = await http.call("GET", RECORDS + "?max_bytes=8388608&max_records=100000", headers=accept)
    found = DECODE[accept["Accept"]](page.body)
    assert page.headers["Content-Length"] == str(len(page.body))
    if accept is JSON:
        assert len(found["records"]) > 60_000
    else:
        assert [record["offset"] for record in found["records"]] == list(range(70_007))
    rest = await http.call("GET", RECORDS + "?from=70000&max_bytes=8388608", headers=accept)
    values = [
        record.get("value_b64", record.get("value"))
        for record in DECODE[accept["Accept"]](rest.body)["records"]
    ]
    assert [len(base64.b64decode(value) if accept is JSON else value) for value in values] == sizes
    head = await http.call("HEAD", RECORDS + "?from=70000&max_bytes=8388608", headers=accept)
    assert (head.headers["Content-Length"], head.body) == (rest.headers["Content-Length"], b"")
    assert answers(http).used == 0


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.msgpack", str(Media.BATCH)])
async def test_slow_readers_leave_room_for_others(
    http: Harness, accept: str, settings: RequestLimits
) -> None:
    """Whatever they ask for and never take, pages get shorter and nobody is refused."""
    await http.make_topic()
    data = batch.encode([Record(0, None, bytes(50_000))] * 20)
    for _ in range(9):
        assert (await http.call("POST", RECORDS, data=data, headers=BATCH)).status == 200
    budget = answers(http)
    async with AsyncExitStack() as readers:
        for _ in range(60):
            url = RECORDS + "?from=0&max_bytes=8388608"
            sock = await readers.enter_async_context(reading_nothing(http, url, accept=accept))
            assert b" 200 " in await asyncio.get_running_loop().sock_recv(sock, 16)
        assert settings.responses_bytes_max // 4 < budget.used <= settings.responses_bytes_max
        for path in (RECORDS, ALL):
            page = await http.call("GET", f"{path}?from=earliest&max_records=1")
            assert (page.status, len(page.json["records"])) == (200, 1)
    await until(lambda: budget.used == 0)


async def test_a_busy_leader_is_passed_over(http: Harness) -> None:
    """A partition whose node has no memory for answers left comes later; the others come now."""
    await http.make_topic("many", partitions=3)
    for number in range(3):
        path = f"/v1/topics/many/partitions/{number}/records"
        assert (await http.call("POST", path, json={"value": number})).status == 200
    with answers(http, "n2").hold("somebody") as hold:
        hold.more(128 << 20)
        page = await http.call("GET", "/v1/topics/many/records")
        assert sorted(record["value"] for record in page.json["records"]) == [0, 2]
    rest = await http.call("GET", f"/v1/topics/many/records?cursor={page.json['cursor']}")
    assert [record["value"] for record in rest.json["records"]] == [1]


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize(
    ("count", "query"), [(32, "&max_bytes=8388608"), (260, "")], ids=["large", "default"]
)
@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_who_waits_holds_nothing(http: Harness, node: str, count: int, query: str, path: str) -> None:
    """However many long polls wait, of whatever size: others read."""
    await http.make_topic()
    log = http.cluster.logs["t", 0]
    url = http.url(f"{path}?from=earliest&wait=60s{query}", node)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as many:

        async def poll() -> int:
            async with many.get(url) as answer:
                found = await answer.json()
                return len(found["records"]) if answer.status == 200 else -answer.status

        polls = [asyncio.create_task(poll()) for _ in range(count)]
        await until(lambda: log.waiters > 0 and http.servers[node].admission.total >= count)
        await until(lambda: all(answers(http, each).used == 0 for each in http.servers))
        assert (await http.call("GET", path, node=node)).status == 200
        assert (await http.call("POST", RECORDS, json={"value": 1})).status == 200
        assert await asyncio.gather(*polls) == [1] * count
    assert answers(http).used == answers(http, node).used == 0
