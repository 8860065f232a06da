"""Small produces at a node that does not lead their partition share batches, and none of them notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from floodmark.errors import FloodmarkError, TooLarge, TooManyRequests, Unavailable
from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.http.statuses import status_of
from tests.http.conftest import MARK, Answer, Harness

RECORDS = "/v1/topics/t/partitions/0/records"
RAW = {"Content-Type": "application/octet-stream"}
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1."""
    return 3


async def send_all(http: Harness, count: int) -> list[Answer]:
    """So many at once, by way of a node that does not lead; the values are their numbers."""
    return await asyncio.gather(
        *(http.call("POST", RECORDS, node="n2", data=b"%d" % number, headers=RAW) for number in range(count))
    )


def stored(http: Harness) -> list[bytes]:
    """The values in the partition."""
    frames = http.cluster.logs["t", 0].frames
    return [record.value for frame in frames for record in codec.decode(frame.payload)]


@contextlib.asynccontextmanager
async def answering(http: Harness, error: FloodmarkError | None) -> AsyncIterator[list[bytes]]:
    """In place of the leader somebody who reads each request and answers with ``error``, or hangs up."""
    bodies: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        (length,) = (line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
        bodies.append(await reader.readexactly(int(length.split(":")[1])))
        if error is not None:
            status = status_of(type(error))
            problem = json.dumps({"code": error.code, "status": status, "detail": error.detail})
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(problem)}\r\n".encode())
            writer.write(f"Connection: close\r\n\r\n{problem}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    real = http.cluster.urls["n1"]
    http.cluster.urls["n1"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield bodies
    finally:
        http.cluster.urls["n1"] = real
        server.close()
        await server.wait_closed()


async def test_each_gets_its_own_offset_of_the_shared_batches(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer batches than requests reach the leader, past aiohttp on both nodes; the answers say who it is."""
    await http.make_topic()
    at_leader, here = http.taken_at("n1", monkeypatch), http.taken_at("n2", monkeypatch)
    answers = await send_all(http, 50)
    values = stored(http)
    assert sorted(values) == sorted(b"%d" % number for number in range(50))
    for number, answer in enumerate(answers):
        assert answer.status == 200, answer.body
        first, following = answer.json["first_offset"], answer.json["next_offset"]
        assert (values[first], following) == (b"%d" % number, first + 1)
        assert answer.json["high_watermark"] >= following
        assert answer.headers["Floodmark-Leader"] == "n1"
        assert answer.headers["Floodmark-Leader-Url"] == http.url("")
    assert here == [True] * 50
    assert len(http.cluster.logs["t", 0].frames) <= 25
    assert at_leader == [True] * len(http.cluster.logs["t", 0].frames)


async def test_a_bad_request_fails_alone(http: Harness) -> None:
    """What cannot be stored is refused by the node that got it; those beside it are stored."""
    await http.make_topic()
    bodies = [b'{"value": 1}', b'{"value": NaN}', b'{"records": []}', b'{"value": 2}']
    answers = await asyncio.gather(
        *(
            http.call("POST", RECORDS, node="n2", data=body, headers={"Content-Type": "application/json"})
            for body in bodies
        )
    )
    assert [answer.status for answer in answers] == [200, 400, 400, 200]
    assert sorted(stored(http)) == [b"1", b"2"]


async def test_what_asks_for_more_has_a_batch_of_its_own(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer's name, a condition, other acks, a timeout, a batch, a large record: all passed on alone."""
    await http.make_topic()
    here = http.taken_at("n2", monkeypatch)
    batch = codec.encode([Record(0, None, b"x")])
    for query, headers, body in (
        ("", {**RAW, "Producer-Id": "p", "Producer-Seq": "0"}, b"x"),
        ("", {**RAW, "If-Offset": "1"}, b"x"),
        ("?acks=leader", RAW, b"x"),
        ("?timeout=5s", RAW, b"x"),
        ("", BATCH, batch),
        ("", RAW, bytes((64 << 10) + 1)),
    ):
        answer = await http.call("POST", RECORDS + query, node="n2", data=body, headers=headers)
        assert answer.status == 200, answer.body
    assert here.count(True) == 0
    assert len(http.cluster.logs["t", 0].frames) == 6


async def test_a_batch_whose_answer_is_lost_is_unknown_to_all_and_not_sent_again(http: Harness) -> None:
    """504 for each of them, though another leader could have taken it."""
    await http.make_topic()
    async with answering(http, None) as bodies:
        sending = asyncio.create_task(send_all(http, 20))
        answers = await sending
    assert {(answer.status, answer.json["code"]) for answer in answers} == {(504, "outcome_unknown")}
    sent = [record.value for body in bodies for record in codec.decode(body)]
    assert sorted(sent) == sorted(b"%d" % number for number in range(20))
    assert stored(http) == []


async def test_a_batch_that_was_surely_not_stored_goes_to_the_next_leader(http: Harness) -> None:
    """Once: each request finds its record there."""
    await http.make_topic()
    async with answering(http, Unavailable("this node does not lead t/0")) as bodies:
        sending = asyncio.create_task(send_all(http, 20))
        async with asyncio.timeout(20):
            while not bodies:  # noqa: ASYNC110  -- what is waited for happens inside of the server
                await asyncio.sleep(0.005)
        http.cluster.logs["t", 0].move("n3")
        answers = await sending
    values = stored(http)
    assert [values[answer.json["first_offset"]] for answer in answers] == [b"%d" % n for n in range(20)]
    assert len(values) == 20
    assert {answer.headers["Floodmark-Leader"] for answer in answers} == {"n3"}


async def test_a_batch_is_stored_here_when_this_node_has_become_the_leader(http: Harness) -> None:
    """It had no leader when the requests came."""
    await http.make_topic()
    log = http.cluster.logs["t", 0]
    log.move(None)
    sending = asyncio.create_task(send_all(http, 5))
    await log.awaited()
    log.move("n2")
    answers = await sending
    assert [answer.status for answer in answers] == [200] * 5
    assert {answer.headers["Floodmark-Leader"] for answer in answers} == {"n2"}
    assert not any("Floodmark-Leader-Url" in answer.headers for answer in answers)


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(TooManyRequests("too much under way"), 429), (TooLarge("a record is too large"), 503)],
)
async def test_what_a_leader_refuses_is_told_to_all_as_not_stored(
    http: Harness, refusal: FloodmarkError, status: int
) -> None:
    """Where the topic's limits change this moment, nobody is told that its own small record is too large."""
    await http.make_topic()
    async with answering(http, refusal):
        answers = await send_all(http, 5)
    assert {(answer.status, answer.json["retriable"]) for answer in answers} == {(status, True)}


async def test_a_batch_that_was_passed_on_is_not_passed_on_again(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain one that says so is 503 with the leader's name where that is another node."""
    await http.make_topic()
    here = http.taken_at("n2", monkeypatch)
    headers = {**RAW, "Floodmark-Forwarded": MARK}
    answer = await http.call("POST", RECORDS, node="n2", data=b"x", headers=headers)
    assert (answer.status, answer.json["code"], answer.json["leader"]) == (503, "unavailable", "n1")
    assert not any(here)
    assert stored(http) == []
