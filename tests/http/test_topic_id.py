"""Whatever a client holds belongs to one topic id, and a request can name it: through every door."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from floodmark.errors import Unavailable

from node.service.topic_identity import deleted, told
from tests.http.conftest import Answer, Harness

TOPIC = "/v1/topics/t"
ALL = TOPIC + "/records"
ONE = TOPIC + "/partitions/0/records"
TAIL = TOPIC + "/partitions/0/tail"
HEADER = "Floodmark-Topic-Id"
DOORS = [
    ("GET", ONE, {}),
    ("GET", ONE + "?from=-1", {}),
    ("GET", ONE + "?from=@0", {}),
    ("GET", ONE, {"Accept": "application/vnd.floodmark.batch;v=1"}),
    ("GET", ONE, {"Accept": "application/x-ndjson"}),
    ("HEAD", ONE, {}),
    ("GET", ALL, {}),
    ("GET", ALL, {"Accept": "application/x-ndjson"}),
    ("GET", TAIL, {}),
    ("GET", TOPIC, {}),
    ("POST", ONE, {}),
    ("POST", ONE, {"If-Offset": "0"}),
    ("POST", ONE + "?acks=leader", {}),
    ("POST", ALL, {}),
]
CHANGES = [("PATCH", TOPIC, {}), ("PUT", TOPIC, {}), ("DELETE", TOPIC, {})]


@pytest.fixture(params=[1, 2])
def node_count(request: pytest.FixtureRequest) -> int:
    """Asked directly, and through a node that does not lead."""
    return int(request.param)


def last(http: Harness) -> str:
    """The node that is asked; the first one leads."""
    return list(http.cluster.urls)[-1]


async def ask(http: Harness, method: str, path: str, headers: dict[str, str], **arguments: Any) -> Answer:
    """One request with whatever body its method needs."""
    if method == "POST":
        arguments["data"] = b'{"value": 1}'
    elif method == "PATCH":
        arguments["data"] = b'{"config": {"retention_ms": 1000}}'
    return await http.call(method, path, node=last(http), headers=headers, **arguments)


async def topic_id(http: Harness) -> int:
    """The id that the topic has now."""
    found: int = (await http.call("GET", TOPIC)).json["topic_id"]
    return found


@pytest.mark.parametrize(("method", "path", "headers"), DOORS)
async def test_every_answer_names_the_topic_and_every_request_may(
    http: Harness, method: str, path: str, headers: dict[str, str]
) -> None:
    """In a header or in the query; another id is refused, and nothing is stored for it."""
    await http.make_topic()
    old = await topic_id(http)
    assert (await ask(http, method, path, headers)).headers[HEADER] == str(old)
    await http.call("DELETE", TOPIC)
    await http.make_topic()
    new = await topic_id(http)
    sign = "&" if "?" in path else "?"
    for pinned, where in ((headers | {HEADER: str(old)}, path), (headers, f"{path}{sign}topic_id={old}")):
        refused = await ask(http, method, where, pinned)
        assert refused.status == 404
        if method != "HEAD":
            known = refused.json
            assert (known["code"], known["topic_id"], known["current_topic_id"]) == (
                "topic_deleted",
                old,
                new,
            )
    assert http.cluster.logs["t", 0].next == 0
    plain = {name: value for name, value in headers.items() if name != "If-Offset"}
    for pinned, where in ((headers | {HEADER: str(new)}, path), (plain, f"{path}{sign}topic_id={new}")):
        headers_of = (await ask(http, method, where, pinned)).headers
        assert headers_of[HEADER] == str(new), where


@pytest.mark.parametrize(("method", "path", "headers"), CHANGES)
async def test_a_change_that_names_an_id_is_made_to_that_topic_only(
    http: Harness, method: str, path: str, headers: dict[str, str]
) -> None:
    """A repeated DELETE does not remove what was made meanwhile."""
    await http.make_topic()
    old = await topic_id(http)
    await http.call("DELETE", TOPIC)
    await http.make_topic()
    new = await topic_id(http)
    refused = await ask(http, method, path, headers | {HEADER: str(old)})
    assert (refused.status, refused.json["code"]) == (404, "topic_deleted")
    assert await topic_id(http) == new
    assert (await ask(http, method, f"{path}?topic_id={new}", headers)).status in (200, 204)


async def test_an_id_that_is_none_is_400_and_one_that_never_was_404(http: Harness) -> None:
    """Two that differ are no id either."""
    await http.make_topic()
    known = await topic_id(http)
    for bad in ("x", "-1", "1.0", str(1 << 63)):
        assert (await http.call("GET", ONE, node=last(http), headers={HEADER: bad})).status == 400
        assert (await http.call("POST", ONE, node=last(http), headers={HEADER: bad}, data=b"1")).status == 400
    both = await http.call("GET", f"{ONE}?topic_id={known}", node=last(http), headers={HEADER: "77"})
    assert both.status == 400
    never = await http.call("GET", ONE, node=last(http), headers={HEADER: str(known + 50)})
    assert (never.status, never.json["code"]) == (404, "unknown_topic")


async def test_an_event_id_belongs_to_topic_and_partition(http: Harness) -> None:
    """That of a topic that was made again is refused, also with fewer records there than it has passed."""
    await http.make_topic(partitions=2)
    for _ in range(3):
        await http.call("POST", ONE, data=b'{"value": 1}')
    old = await topic_id(http)
    events = {"Accept": "text/event-stream"}
    head = await http.call("GET", ONE + "?max_records=1", node=last(http), headers=events)
    assert f"id: {old}:0:1".encode() in head.body
    again = {**events, "Last-Event-ID": f"{old}:0:2"}
    rest = await http.call("GET", ONE + "?max_records=1", node=last(http), headers=again)
    assert f"id: {old}:0:3".encode() in rest.body
    wrong = await http.call("GET", TOPIC + "/partitions/1/records", node=last(http), headers=again)
    assert (wrong.status, wrong.json["code"]) == (400, "invalid_request")
    await http.call("DELETE", TOPIC)
    gone = await http.call("GET", ONE, node=last(http), headers=again)
    assert (gone.status, gone.json["code"], gone.json["topic_id"]) == (404, "topic_deleted", old)
    await http.make_topic(partitions=1)
    for path in (ONE, TOPIC + "/partitions/1/records"):
        held = {**events, "Last-Event-ID": f"{old}:{path.split('/')[-2]}:2"}
        gone = await http.call("GET", path, node=last(http), headers=held)
        assert (gone.status, gone.json["code"]) == (404, "topic_deleted")


@pytest.mark.parametrize("partitions", [1, 3, 5])
async def test_a_cursor_of_a_topic_made_again_is_refused(http: Harness, partitions: int) -> None:
    """Whether the new one has fewer partitions, as many, or more."""
    await http.make_topic(partitions=3)
    cursor = (await http.call("GET", ALL, node=last(http))).json["cursor"]
    await http.call("DELETE", TOPIC)
    await http.make_topic(partitions=partitions)
    events = {"Accept": "text/event-stream", "Last-Event-ID": cursor}
    for path, headers in ((f"{ALL}?cursor={cursor}", {}), (ALL, events)):
        stale = await http.call("GET", path, node=last(http), headers=headers)
        assert (stale.status, stale.json["code"]) == (404, "topic_deleted")


def failure(accept: str, rest: bytes) -> dict[str, Any]:
    """The problem that a stream ended with."""
    if accept == "text/event-stream":
        event = rest.decode().strip().split("\n\n")[-1]
        assert event.startswith("event: error\ndata: ")
        return dict(json.loads(event.removeprefix("event: error\ndata: ")))
    if accept == "application/x-ndjson":
        return dict(json.loads(rest.splitlines()[-1])["error"])
    length = int.from_bytes(rest[:4], "big")
    assert length == len(rest) - 4, "one item, and nothing behind it"
    return dict(msgspec.msgpack.decode(rest[4:])["error"])


@pytest.mark.parametrize("path", [ONE, ALL])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson", "application/vnd.msgpack"])
async def test_a_stream_ends_with_its_topic(http: Harness, path: str, accept: str) -> None:
    """Its last item says why, and the answer is whole: nothing of a topic that is made at once follows."""
    await http.make_topic(partitions=2)
    old = await topic_id(http)
    url = http.url(path + "?follow=true", last(http))
    async with http.session.get(url, headers={"Accept": accept}) as stream:
        assert stream.headers[HEADER] == str(old)
        await http.cluster.logs["t", 0].awaited()
        await http.call("DELETE", TOPIC)
        await http.make_topic(partitions=2)
        await http.call("POST", ONE, data=b'{"value": "of the second"}')
        rest = await stream.read()
    assert b"second" not in rest
    problem = failure(accept, rest)
    assert (problem["code"], problem["topic_id"]) == ("topic_deleted", old)


@pytest.mark.parametrize(
    ("query", "headers", "name"), [("?topic_id=x", {}, "topic_id"), ("", {HEADER: "x"}, HEADER)]
)
async def test_an_id_that_is_none_is_refused_by_the_name_it_came_under(
    http: Harness, query: str, headers: dict[str, str], name: str
) -> None:
    await http.make_topic()
    answer = await http.call("GET", ONE + query, node=last(http), headers=headers)
    assert answer.status == 400
    assert answer.json["detail"].startswith(f"{name} is a number")


@pytest.mark.parametrize("path", [ONE, ALL, ONE + "?topic_id=1"])
@pytest.mark.parametrize("again", [False, True])
async def test_a_long_poll_ends_with_its_topic(http: Harness, path: str, again: bool) -> None:
    """At once, with 404; it waits for nothing of a topic that is made anew."""
    await http.make_topic()
    sign = "&" if "?" in path else "?"
    poll = asyncio.create_task(http.call("GET", f"{path}{sign}from=latest&wait=60s", node=last(http)))
    await http.cluster.logs["t", 0].awaited()
    await http.call("DELETE", TOPIC)
    if again:
        await http.make_topic()
    answer = await poll
    assert (answer.status, answer.json["code"]) == (404, "topic_deleted")


async def test_what_waits_for_a_leader_ends_with_its_topic(http: Harness) -> None:
    """Produces of every kind, reads and tails: 404, and not an error after their whole timeout."""
    await http.make_topic()
    http.cluster.logs["t", 0].move(None)
    node = last(http)
    asked = [
        asyncio.create_task(http.call(method, path, node=node, **arguments))
        for method, path, arguments in [
            ("POST", ONE, {"data": b'{"value": 1}'}),
            ("POST", ONE + "?acks=leader", {"data": b'{"value": 1}'}),
            ("POST", ALL, {"data": b'{"value": 1}'}),
            ("GET", ONE, {}),
            ("GET", TAIL, {}),
        ]
    ]
    await http.cluster.logs["t", 0].awaited(by=len(asked))
    await http.call("DELETE", TOPIC)
    for answer in await asyncio.gather(*asked):
        assert (answer.status, answer.json["code"]) == (404, "topic_deleted")


def test_a_request_that_names_no_id_means_the_topic_that_has_the_name() -> None:
    """A node that finds out that it was behind has it sent again, where there is a topic to send it to."""
    gone, replaced = deleted("t", 3, None), deleted("t", 3, 5)
    assert told(gone, None) is gone
    assert told(gone, 3) is gone
    assert told(replaced, 3) is replaced
    again = told(replaced, None)
    assert isinstance(again, Unavailable)
    assert (again.retriable, again.fields["topic_id"], again.fields["current_topic_id"]) == (True, 3, 5)


@pytest.mark.parametrize(("method", "path", "headers"), [door for door in DOORS if "HEAD" not in door])
@pytest.mark.parametrize("node_count", [2], indirect=True)
async def test_a_node_that_is_behind_catches_up_before_it_serves_or_refuses(
    http: Harness, method: str, path: str, headers: dict[str, str]
) -> None:
    """Asked for the new id it serves the new topic, for the old one it refuses; who names none and is passed
    on, as the old one's, is to send it again. Nothing of the old topic is served, nothing stored for it."""
    await http.make_topic()
    await http.call("POST", ONE, json={"value": "old"})
    behind = dict(http.cluster.topics)
    old = await topic_id(http)
    await http.call("DELETE", TOPIC)
    await http.make_topic()
    new = await topic_id(http)
    sign = "&" if "?" in path else "?"
    broker = http.cluster.brokers["n2"]
    before = 0
    for asked, expected in ((old, 404), (new, 200), (None, 503), (None, 200)):
        if expected != 200 or asked is not None:
            broker.behind = behind
        where = path if asked is None else f"{path}{sign}topic_id={asked}"
        held = {**headers, **({"If-Offset": str(before)} if "If-Offset" in headers else {})}
        answer = await ask(http, method, where, held)
        if path == TOPIC and (asked, expected) == (None, 503):
            assert answer.json["topic_id"] == old, "a description is what this node knows, and says of what"
            broker.behind = None
            continue
        assert answer.status == expected, (asked, answer.body)
        assert broker.behind is None
        if expected == 200:
            assert answer.headers[HEADER] == str(new)
            assert b"old" not in answer.body
        stored = method == "POST" and expected == 200
        assert http.cluster.logs["t", 0].next == before + stored
        before += stored
