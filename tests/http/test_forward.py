"""Any node answers any request."""

from __future__ import annotations

import asyncio
import io
import socket

import pytest
from floodmark.format import batch
from floodmark.format.record import Record

from node.http.context import CONTEXT
from tests.http.conftest import MARK, Harness

RECORDS = "/v1/topics/t/partitions/0/records"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1."""
    return 3


async def test_a_produce_is_passed_on_to_the_leader(http: Harness) -> None:
    """The answer is the leader's, and says who that is; a fetch likewise."""
    await http.make_topic()
    for node in ("n2", "n3"):
        answer = await http.call("POST", RECORDS, node=node, data=b'{"value": 1.0}', headers=JSON)
        assert answer.status == 200
        assert answer.headers["Floodmark-Leader"] == "n1"
        assert answer.headers["Floodmark-Leader-Url"] == http.url("")
    read = await http.call("GET", RECORDS + "?max_records=1", node="n3")
    assert (read.json["records"][0]["offset"], read.headers["Log-Next-Offset"]) == (0, "1")
    assert (await http.call("GET", "/v1/topics/t/partitions/0/tail", node="n2")).json["next_offset"] == 2


async def test_everything_that_matters_is_passed_on(http: Harness) -> None:
    """Query, producer, condition and record headers arrive; the errors' fields come back."""
    await http.make_topic()
    raw = {
        "Content-Type": "application/octet-stream",
        "Producer-Id": "p",
        "Producer-Seq": "0",
        "If-Offset": "0",
        "Record-Key": "k",
        "Record-Header-A": "1",
    }
    assert (await http.call("POST", RECORDS, node="n2", data=b"x", headers=raw)).status == 200
    again = await http.call("POST", RECORDS, node="n2", data=b"x", headers=raw)
    assert again.json["duplicate"] is True
    (record,) = (await http.call("GET", RECORDS, node="n2")).json["records"]
    assert (record["key"], record["headers"]) == ("k", {"a": "1"})
    past = await http.call("GET", RECORDS + "?from=9", node="n2")
    assert (past.status, past.json["high_watermark"]) == (416, 1)


async def test_a_condition_holds_by_way_of_any_node(http: Harness) -> None:
    """In each form of a body; nothing is stored where it does not hold, and the answer says what would."""
    await http.make_topic()
    for media, body in (
        ("application/octet-stream", b"x"),
        ("application/vnd.floodmark.batch;v=1", batch.encode([Record(0, None, b"x")])),
    ):
        headers = {"Content-Type": media, "If-Offset": "7"}
        refused = await http.call("POST", RECORDS, node="n2", data=body, headers=headers)
        assert (refused.status, refused.json["code"]) == (412, "offset_mismatch")
        assert refused.json["next_offset"] == http.cluster.logs["t", 0].next == 0


async def test_what_is_left_out_is_left_out_on_the_way_too(http: Harness) -> None:
    """No Content-Type is JSON everywhere: for a topic, at a partition's leader, and on the way to it."""
    await http.make_topic()
    for node in ("n1", "n2", "n3"):
        for path in (RECORDS, RECORDS + "?timeout=9s", "/v1/topics/t/records"):
            body = b'{"key":"k","value":{"via":"%b"}}' % node.encode()
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            answer = await http.raw(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body, node=node)
            assert b" 200 " in answer.partition(b"\r\n")[0]
    records = (await http.call("GET", RECORDS)).json["records"]
    told = [(record["key"], record["value"]["via"]) for record in records]
    assert told == [("k", node) for node in ("n1", "n2", "n3") for _ in range(3)]


async def test_header_bytes_that_are_no_text_are_refused_everywhere(http: Harness) -> None:
    """Whichever header, known or not; the answer says where such a key goes."""
    await http.make_topic()
    for node in ("n1", "n2", "n3"):
        for path in (RECORDS, "/v1/topics/t/records", "/v1/topics/t", "/nothing"):
            for header in ("Record-Key", "Record-Header-City", "Producer-Id", "Accept", "X-Other"):
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}: Gen"
                answer = await http.raw(head.encode() + b"\xe8ve\r\nContent-Length: 1\r\n\r\nx", node=node)
                assert b" 400 " in answer.partition(b"\r\n")[0]
                assert header.encode() in answer
                assert b"Record-Key-B64" in answer
    assert http.cluster.logs["t", 0].next == 0


async def test_a_large_body_streams_through(http: Harness) -> None:
    """With a length and without one; too large is 413 on the way in already."""
    await http.make_topic()
    made = batch.encode([Record(0, None, bytes(1 << 20)) for _ in range(3)])

    async def chunks() -> object:
        for begin in range(0, len(made), 100_000):
            yield made[begin : begin + 100_000]

    headers = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
    for data in (io.BytesIO(made), chunks()):
        answer = await http.call("POST", RECORDS, node="n2", data=data, headers=headers)
        assert answer.status == 200, answer.body
    read = await http.call(
        "GET", RECORDS + "?max_bytes=99999999", node="n2", headers={"Accept": headers["Content-Type"]}
    )
    assert read.body.count(b"FMB1") == 2
    large = await http.call("POST", RECORDS, node="n2", data=io.BytesIO(bytes(17 << 20)), headers=headers)
    assert (large.status, large.json["code"]) == (413, "too_large")


async def test_a_passed_on_request_is_not_passed_on_again(http: Harness) -> None:
    """A node that looks further itself gets 503 with the leader's name instead of a loop."""
    await http.make_topic()
    for method, path in (
        ("POST", RECORDS),
        ("GET", RECORDS),
        ("PUT", "/v1/topics/u"),
        ("POST", "/v1/topics/t/records"),
    ):
        answer = await http.call(method, path, node="n2", headers={"Floodmark-Forwarded": MARK})
        assert (answer.status, answer.json["code"], answer.json["retriable"]) == (503, "unavailable", True)


async def test_a_leader_that_cannot_be_reached_is_waited_for(http: Harness) -> None:
    """Nothing was sent, so the request goes to the next leader once there is one; else 503 in time."""
    await http.make_topic()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        real = http.cluster.urls["n1"]
        http.cluster.urls["n1"] = f"http://127.0.0.1:{unused.getsockname()[1]}"
        late = await http.call(
            "POST", RECORDS + "?timeout=200ms", node="n2", data=b'{"value": 1}', headers=JSON
        )
        assert (late.status, late.json["code"]) == (503, "unavailable")
        sending = asyncio.create_task(
            http.call("POST", RECORDS, node="n2", data=b'{"value": 2}', headers=JSON)
        )
        routed = asyncio.create_task(http.call("POST", "/v1/topics/t/records", node="n2", json={"value": 3}))
        await asyncio.sleep(0)
        http.cluster.logs["t", 0].move("n3")
        assert (await sending).status == 200
        assert (await routed).status == 200
        http.cluster.urls["n1"] = real


async def test_an_election_is_waited_for(http: Harness) -> None:
    """Without a leader the request waits within its timeout; also where this node wins."""
    await http.make_topic()
    log = http.cluster.logs["t", 0]
    for winner in ("n3", "n2"):
        log.move(None)
        sending = asyncio.create_task(
            http.call("POST", RECORDS, node="n2", data=b'{"value": 2}', headers=JSON)
        )
        await log.awaited()
        log.move(winner)
        assert (await sending).status == 200


@pytest.mark.parametrize("path", [RECORDS, "/v1/topics/t/records"])
async def test_a_leader_that_dies_with_the_request_leaves_the_outcome_unknown(
    http: Harness, path: str
) -> None:
    """The body was sent and no answer came: 504 outcome_unknown, never 'not stored'. A read is 503."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    await http.make_topic()
    dying = await asyncio.start_server(swallow, "127.0.0.1", 0)
    http.cluster.urls["n1"] = f"http://127.0.0.1:{dying.sockets[0].getsockname()[1]}"
    answer = await http.call("POST", path, node="n2", data=b'{"value": 1}', headers=JSON)
    assert (answer.status, answer.json["code"]) == (504, "outcome_unknown")
    read = await http.call("GET", RECORDS, node="n2")
    assert (read.status, read.json["code"]) == (503, "unavailable")
    dying.close()
    await dying.wait_closed()


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1\r\nX: y", "ftp://a", "http://a/b?", "file:///etc/passwd", "", "http://u:p@h"],
)
async def test_only_plain_addresses_are_connected_to(http: Harness, address: str) -> None:
    """A damaged advertised address is 503, not a request to who knows where."""
    await http.make_topic()
    real, http.cluster.urls["n1"] = http.cluster.urls["n1"], address
    answer = await http.call("GET", RECORDS, node="n2")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    http.cluster.urls["n1"] = real


async def test_an_absolute_target_is_not_connected_to(http: Harness) -> None:
    """``POST http://elsewhere/... HTTP/1.1`` is served as the path it names, by the partition's leader."""
    await http.make_topic()
    http.cluster.logs["t", 0].move("n2")
    target = b"http://192.0.2.1:9/v1/topics/t/partitions/0/tail"
    head = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target
    answer = await http.raw(head)
    assert answer.startswith(b"HTTP/1.1 200")


async def test_topic_changes_reach_the_metadata_leader(http: Harness) -> None:
    """From any node, with the leader's answer."""
    http.cluster.metadata_leader = "n3"
    made = await http.call("PUT", "/v1/topics/t", node="n2", json={"partitions": 4})
    assert (made.status, made.headers["Floodmark-Leader"]) == (201, "n3")
    changed = await http.call("PATCH", "/v1/topics/t", node="n1", json={"config": {"retention_ms": 9}})
    assert changed.json["config"]["retention_ms"] == 9
    assert (await http.call("DELETE", "/v1/topics/t", node="n2")).status == 204


@pytest.mark.parametrize("media", ["application/vnd.floodmark.batch;v=1", "application/json"])
@pytest.mark.parametrize("sent", [0, 300_000], ids=["at once", "in the middle"])
async def test_a_leader_that_breaks_off_its_answer_leaves_nothing_of_it(
    http: Harness, caplog: pytest.LogCaptureFixture, media: str, sent: int
) -> None:
    """What it was asked for it is asked for again, then the next one; its reader sees a whole answer."""
    await http.make_topic()
    broken = asyncio.Event()

    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.floodmark.batch;v=1\r\n")
        writer.write(b"Content-Length: 900000\r\n\r\n" + b"x" * sent)
        await writer.drain()
        writer.close()
        broken.set()

    server = await asyncio.start_server(breaks_off, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        http.cluster.urls["n1"] = f"http://{host}:{port}"
        reading = asyncio.create_task(http.call("GET", RECORDS, node="n2", headers={"Accept": media}))
        await broken.wait()
        http.cluster.logs["t", 0].move("n3")
        answer = await reading
    assert (answer.status, answer.headers["Floodmark-Leader"]) == (200, "n3")
    assert b"x" * 10 not in answer.body
    context = http.servers["n2"].app[CONTEXT]
    assert context.service.answers.used == 0
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_a_leader_that_hangs_is_waited_for_only_while_it_is_heard(http: Harness) -> None:
    """Its connections stay open and nothing comes. A read goes to who leads then, and so does a stream; what
    was sent has an unknown outcome: all of them long before their time is up."""
    await http.make_topic()
    taken = asyncio.Semaphore(0)

    async def hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken.release()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hangs, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        http.cluster.urls["n1"] = f"http://{host}:{port}"
        query = "?wait=60s"
        read = tasks.create_task(http.call("GET", RECORDS + query, node="n2"))
        written = [
            tasks.create_task(http.call("POST", path + "?timeout=60s", node="n2", data=data, headers=JSON))
            for path in (RECORDS, "/v1/topics/t/records")
            for data in (b'{"value": 1}', b'{"value": "' + b"x" * 70_000 + b'"}')
        ]
        events = {"Accept": "text/event-stream"}
        path = RECORDS + "?max_records=1"
        followed = tasks.create_task(http.call("GET", path, node="n2", headers=events))
        for _ in range(6):
            await taken.acquire()
        http.cluster.silent.add("n1")
        http.cluster.logs["t", 0].move("n3")
        await http.call("POST", RECORDS, node="n3", data=b'{"value": 2}', headers=JSON)
    assert (read.result().status, [each["value"] for each in read.result().json["records"]]) == (200, [2])
    assert {task.result().json["code"] for task in written} == {"outcome_unknown"}
    assert b'"value":2' in followed.result().body


async def test_a_stream_goes_on_over_a_change_of_leaders(http: Harness) -> None:
    """At a node that leads neither before nor after it: nothing is left out, nothing comes twice."""
    await http.make_topic()
    log = http.cluster.logs["t", 0]
    assert (await http.call("POST", RECORDS, data=b'{"value": 0}', headers=JSON)).status == 200
    events = {"Accept": "text/event-stream"}
    async with http.session.get(http.url(RECORDS, "n2"), headers=events) as stream, asyncio.timeout(20):
        assert stream.headers["Floodmark-Leader"] == "n1"
        for number, leader in enumerate(("n1", "n3", "n1")):
            if number:
                await log.awaited()
                log.move(None)
                log.move(leader)
                answer = await http.call("POST", RECORDS, data=b'{"value": %d}' % number, headers=JSON)
                assert answer.status == 200
            assert b'"value":%d' % number in await stream.content.readuntil(b"\n\n")
