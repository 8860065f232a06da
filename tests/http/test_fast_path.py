"""Plain produce requests that go past aiohttp: the same answers, and nothing that is not plain among them."""

from __future__ import annotations

import asyncio
import json
import random
from typing import NoReturn

import pytest
from floodmark.errors import Unavailable
from floodmark.format import batch as codec
from structlog.testing import capture_logs

from node.http.context import CONTEXT
from node.http.origins import Origins
from node.http.plain_head import PlainHeads
from node.http.server import HttpServer
from node.service.known_topics import KnownTopics
from tests.http.conftest import MARK, Answer, Harness, until
from tests.http.memory_broker import MemoryPartition

RECORDS = "/v1/topics/t/partitions/0/records"
UNUSUAL = {"X-Unusual": "1"}


def request(body: bytes = b"hello", *, headers: str = "", target: str = RECORDS) -> bytes:
    """A plain request as a client would send it."""
    return (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@pytest.fixture
def taken(http: Harness, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each offered request was taken, in order."""
    return http.taken_at("n1", monkeypatch)


async def read_answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """The documents of so many answers of one connection."""
    documents = []
    for _ in range(count):
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        documents.append(await reader.readexactly(int(length.split(b":")[1])))
    return documents


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/octet-stream", b"\x00bytes"),
        ("application/json", b'{"value": {"a": 1}, "key": "k"}'),
        ("application/x-ndjson", b'{"value": 1}\n{"value": 2}\n'),
        ("application/json", b'{"value": NaN}'),
        ("application/json", b'{"records": []}'),
        ("application/octet-stream", b"x" * (900 << 10)),
        ("text/plain", b"x"),
    ],
)
async def test_an_answer_is_the_same_on_both_ways(
    http: Harness, taken: list[bool], media: str, body: bytes
) -> None:
    """Status, headers and document; only offsets, ids and the date may differ."""
    await http.make_topic()

    def told(answer: Answer) -> object:
        document = answer.json
        for name in ("first_offset", "next_offset", "high_watermark", "request_id"):
            document.pop(name, None)
        heads = dict(answer.headers.items())
        for name in ("Date", "Content-Length", "Request-Id"):
            assert heads.pop(name, "") or name == "Request-Id"
        return answer.status, heads, document

    plain = await http.call("POST", RECORDS, data=body, headers={"Content-Type": media})
    usual = await http.call("POST", RECORDS, data=body, headers={"Content-Type": media, **UNUSUAL})
    assert told(plain) == told(usual)
    assert taken.count(True) == (1 if media != "text/plain" else 0)


async def test_both_ways_share_a_connection(http: Harness, taken: list[bool]) -> None:
    """A plain request behind a usual one, with a body or without, is taken again."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    usual = request(b"world", headers="X-Unusual: 1\r\n")
    for data in (request(), usual, request(), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", request()):
        writer.write(data)
        await read_answers(reader, 1)
    writer.close()
    assert taken[1:] == [True, False, True, False, True]
    page = (await http.call("GET", RECORDS)).json
    assert [record["offset"] for record in page["records"]] == [0, 1, 2, 3]


async def test_requests_ahead_of_their_answers_are_served_in_order(http: Harness) -> None:
    """Pipelined in one segment, and one by one without waiting."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    writer.write(b"".join(request(b"%d" % number) for number in range(20)))
    for number in range(20, 60):
        writer.write(request(b"%d" % number))
        await asyncio.sleep(0)
    documents = await read_answers(reader, 60)
    assert [json.loads(document)["first_offset"] for document in documents] == list(range(60))
    writer.close()


@pytest.mark.parametrize("size", [300_000, 1 << 20])
async def test_a_large_body_is_read_past_aiohttp(http: Harness, taken: list[bool], size: int) -> None:
    """It is stored as it was sent, however many pieces it comes in; what comes behind it is served too."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    value = random.Random(size).randbytes(size)
    writer.write(request(value) + request(b"small") + request(value))
    documents = await read_answers(reader, 3)
    assert [json.loads(document)["first_offset"] for document in documents] == [0, 1, 2]
    assert taken[1]  # The first one made the topic.
    frames = http.cluster.logs["t", 0].frames
    stored = [codec.decode(frame.payload)[0].value for frame in frames]
    assert stored == [value, b"small", value]
    writer.close()


async def test_a_body_that_breaks_off_gives_back_its_room(http: Harness, taken: list[bool]) -> None:
    """Nothing of it is stored, and its bytes are not counted any more."""
    await http.make_topic()
    _, writer = await asyncio.open_connection(*http.address)
    writer.write(request(bytes(500_000))[:-1])
    await until(lambda: http.broker.budget.used == 499_999)
    writer.transport.abort()
    await until(lambda: http.broker.budget.used == 0)
    assert taken[1:] == [True]
    assert http.cluster.logs["t", 0].next == 0


async def test_a_body_there_is_no_room_for_is_refused_the_usual_way(http: Harness, taken: list[bool]) -> None:
    """With 429, while the connection goes on."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    with http.broker.uploads("another", from_node=False) as other:
        other.take(http.broker.budget.limit)
        writer.write(request(bytes(500_000)))
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429")
    assert taken[1:] == [False]
    writer.close()


@pytest.mark.parametrize("cut", range(1, len(request()), 7))
async def test_a_request_in_two_pieces_is_served(http: Harness, cut: int) -> None:
    """Wherever it is cut, with another one behind it."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    whole = request()
    writer.write(whole[:cut])
    await writer.drain()
    await asyncio.sleep(0.001)
    writer.write(whole[cut:])
    (first,) = await read_answers(reader, 1)
    writer.write(whole)
    (second,) = await read_answers(reader, 1)
    assert [json.loads(each)["first_offset"] for each in (first, second)] == [0, 1]
    writer.close()


async def test_a_client_that_leaves_takes_nothing_with_it(http: Harness) -> None:
    """What it sent whole is stored, and the server goes on."""
    await http.make_topic()
    _, writer = await asyncio.open_connection(*http.address)
    writer.write(request())
    await writer.drain()
    writer.transport.abort()
    log = http.cluster.logs["t", 0]
    await until(lambda: log.next == 1)
    assert (await http.call("GET", "/healthz")).status == 200


async def test_what_fails_behind_the_head_is_a_problem_document(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it fails only after the request was taken, and the connection goes on."""
    await http.make_topic()

    async def deposed(*_: object, **__: object) -> None:
        raise Unavailable("not stored: deposed", retry_after_s=2)

    reader, writer = await asyncio.open_connection(*http.address)
    with monkeypatch.context() as patched:
        patched.setattr(MemoryPartition, "produce_records", deposed)
        writer.write(request())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 2\r\n" in head
        (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        problem = json.loads(await reader.readexactly(int(length.split(b":")[1])))
        assert (problem["code"], problem["detail"]) == ("unavailable", "not stored: deposed")
    writer.write(request())
    (document,) = await read_answers(reader, 1)
    assert json.loads(document)["first_offset"] == 0
    writer.close()


async def _deposed(*_: object, **__: object) -> None:
    raise Unavailable("not stored: deposed")


def _defect(*_: object, **__: object) -> NoReturn:
    raise ZeroDivisionError("a defect")


@pytest.mark.parametrize("step", ["current", "reason"])
async def test_a_defect_in_making_an_answer_is_answered_and_told(
    http: Harness, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """500 with the request's id, which the log has as well; the connection goes on."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(MemoryPartition, "produce_records", _deposed)
        patched.setattr(KnownTopics, step, _defect)
        writer.write(request())
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            problem = json.loads(await reader.readexactly(length))
    assert head.startswith(b"HTTP/1.1 500 ")
    assert problem["code"] == "server_error"
    (line,) = (line for line in logs if line["event"] == "request failed")
    assert line["request_id"] == problem["request_id"]
    assert isinstance(line["exc_info"], ZeroDivisionError)
    writer.write(request())
    (document,) = await read_answers(reader, 1)
    assert json.loads(document)["first_offset"] == 0
    writer.close()


async def test_what_cannot_even_be_refused_ends_its_connection(
    http: Harness, taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sees that there is no answer; what it sent ahead is not answered in its place."""
    await http.make_topic()
    is_sent_ahead = asyncio.Event()

    async def deposed(*_: object, **__: object) -> None:
        await is_sent_ahead.wait()
        await _deposed()

    monkeypatch.setattr(MemoryPartition, "produce_records", deposed)
    monkeypatch.setattr(http.servers["n1"].app[CONTEXT], "refusals", None)
    reader, writer = await asyncio.open_connection(*http.address)
    with capture_logs() as logs:
        writer.write(request())
        await until(lambda: taken[-1:] == [True])
        writer.write(request())
        is_sent_ahead.set()
        async with asyncio.timeout(10):
            assert await reader.read() == b""
    assert [line["event"] for line in logs if "exc_info" in line] == ["a request is not answered"]
    assert http.broker.budget.used == 0
    writer.close()


async def test_a_stop_waits_for_what_was_taken(http: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A draining server answers, then closes."""
    await http.make_topic()
    begun, go_on = asyncio.Event(), asyncio.Event()
    produce_records = MemoryPartition.produce_records

    async def held(self: MemoryPartition, *arguments: object, **named: object) -> object:
        begun.set()
        await go_on.wait()
        return await produce_records(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryPartition, "produce_records", held)
    reader, writer = await asyncio.open_connection(*http.address)
    writer.write(request())
    await begun.wait()
    server: HttpServer = http.servers["n1"]
    stopping = asyncio.create_task(server.stop(10.0))
    asyncio.get_running_loop().call_later(0.1, go_on.set)
    (document,) = await read_answers(reader, 1)
    assert json.loads(document)["first_offset"] == 0
    assert await reader.read() == b""
    await stopping
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        request() + b"x",
        request(headers="Content-Length: 5\r\n"),
        request(headers="Transfer-Encoding: chunked\r\n"),
        request(headers="Connection: close\r\n"),
        request(headers="Expect: 100-continue\r\n"),
        request(headers="Content-Encoding: gzip\r\n"),
        request(headers="Producer-Id: p\r\n"),
        request(headers="If-Offset: 0\r\n"),
        request(headers="Record-Key: k\r\n"),
        request(headers="traceparent: 00-1-1-00\r\n"),
        request(headers="Host: 127.0.0.1\r\n"),
        request(headers="Accept : x\r\n"),
        request(headers="Accept: x\r\n y\r\n"),
        request(headers="Accept: x\ny\r\n"),
        request(headers="Accept: x\x00\r\n"),
        request(headers="Accept: \r\n"),
        request().replace(b"Host: localhost\r\n", b""),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"POST", b"PUT"),
        request().replace(b": 5", b": +5"),
        request().replace(b": 5", b": 5, 5"),
        request().replace(b"\r\n", b"\n"),
        request(target=RECORDS + "?acks=quorum&acks=none"),
        request(target=RECORDS + "?timeout=-1s"),
        request(target=RECORDS + "?acks=some"),
        request(target=RECORDS + "?other=1"),
        request(target=RECORDS + "?acks=%61"),
        request(target="/v1/topics/t%2f/partitions/0/records"),
        request(target="/v1/topics/t/partitions/-1/records"),
        request(target="http://x" + RECORDS),
    ],
)
def test_what_is_not_plain_is_left_to_the_usual_way(data: bytes) -> None:
    """Anything odd in target or headers, and anything but exactly one request."""
    assert PlainHeads(Origins().knows_host, _is_from_node).read(data) is None
    assert PlainHeads(Origins().knows_host, _is_from_node).read(request()) is not None


def test_a_plain_head_is_read() -> None:
    """All of it, and again when it is known."""
    heads = PlainHeads(Origins().knows_host, _is_from_node)
    data = request(b"[]", target=RECORDS + "?acks=none&timeout=2s", headers="Accept: */*\r\n")
    for _ in range(2):
        found = heads.read(data)
        assert found is not None
        head, begin = found
        assert data[begin:] == b"[]"
        assert (head.topic, head.partition, str(head.media)) == ("t", 0, "application/octet-stream")
        assert (str(head.acks), head.timeout, head.path) == ("none", "2s", RECORDS)


@pytest.mark.parametrize(("headers", "expected"), [(f"Floodmark-Forwarded: {MARK}\r\n", True), ("", False)])
def test_a_plain_head_says_whether_a_node_sent_it(headers: str, *, expected: bool) -> None:
    """By the mark: of anybody else that header changes nothing."""
    heads = PlainHeads(Origins().knows_host, _is_from_node)
    for given, is_from_node in ((headers, expected), ("Floodmark-Forwarded: 1\r\n", False)):
        found = heads.read(request(headers=given))
        assert found is not None
        assert found[0].is_from_node is is_from_node


def test_who_is_a_node_is_judged_anew_when_the_mark_changes() -> None:
    """A head that is known by its bytes gives nobody what only nodes may have, once the secret is another."""
    marks = {"old"}
    heads = PlainHeads(Origins().knows_host, lambda mark: mark in marks)
    for mark, now, is_from_node in (("old", "old", True), ("old", "new", False), ("new", "new", True)):
        marks.clear()
        marks.add(now)
        found = heads.read(request(headers=f"Floodmark-Forwarded: {mark}\r\n"))
        assert found is not None
        assert found[0].is_from_node is is_from_node


def _is_from_node(mark: str | None) -> bool:
    return mark == MARK


def test_what_load_balancers_add_changes_nothing() -> None:
    """Behind one, every request has these headers, and is as plain as without them."""
    added = (
        "Via: 1.1 lb\r\nForwarded: for=10.0.0.1;proto=https\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n"
        "X-Forwarded-Proto: https\r\nX-Forwarded-Host: log.example\r\nX-Forwarded-Port: 443\r\n"
        "X-Real-IP: 10.0.0.1\r\nX-Request-Id: 7f\r\n"
    )
    found, plain = (
        PlainHeads(Origins().knows_host, _is_from_node).read(request(headers=added)),
        PlainHeads(Origins().knows_host, _is_from_node).read(request()),
    )
    assert found is not None
    assert plain is not None
    assert found[0] == plain[0]


def test_many_different_heads_are_not_kept_for_ever() -> None:
    """A client cannot fill the memory with heads."""
    heads = PlainHeads(Origins().knows_host, _is_from_node)
    for number in range(5_000):
        assert heads.read(request(target=f"/v1/topics/t{number}/partitions/0/records")) is not None
    assert len(heads._known) <= 1_024
