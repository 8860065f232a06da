"""A sequence that comes again: a retry, whatever a node had added to it, or other records."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import msgspec
import pytest
from floodmark.format import batch
from floodmark.format.frame import gap
from floodmark.format.record import Record

from node.broker import Fetched
from node.service.repeated_batches import _are_same
from tests.http.conftest import Answer, Harness
from tests.http.memory_broker import MemoryPartition

RECORDS = "/v1/topics/t/partitions/0/records"
PRODUCER = {"Producer-Id": "p", "Producer-Seq": "0"}
BATCH = "application/vnd.floodmark.batch;v=1"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-{:016x}-01"
JSON: dict[str, Any] = {"value": {"n": 1.0}, "key": "k", "headers": {"a": "1"}}


def json_body(*records: dict[str, Any]) -> bytes:
    """Records in the order given."""
    return json.dumps({"records": records}).encode()


KINDS: dict[str, tuple[bytes, dict[str, str]]] = {
    "json": (json_body(JSON), {"Content-Type": "application/json"}),
    "form": (json_body(JSON), {"Content-Type": "application/x-www-form-urlencoded"}),
    "bare json": (json.dumps(JSON).encode(), {"Content-Type": "application/json"}),
    "gzip": (
        gzip.compress(json_body(JSON)),
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ),
    "ndjson": (json.dumps(JSON).encode() + b"\n", {"Content-Type": "application/x-ndjson"}),
    "msgpack": (msgspec.msgpack.encode({"records": [JSON]}), {"Content-Type": "application/vnd.msgpack"}),
    "raw": (b"x", {"Content-Type": "application/octet-stream", "Record-Key": "k", "Record-Header-A": "1"}),
}


@pytest.fixture
def node_count() -> int:
    """Partition 0 is led by the first node."""
    return 3


async def send(http: Harness, node: str, body: bytes, headers: dict[str, str], **more: str) -> Answer:
    """One try."""
    return await http.call("POST", RECORDS, node=node, data=body, headers={**headers, **more})


@pytest.mark.parametrize("kind", KINDS)
async def test_a_retry_is_a_duplicate_at_another_time_with_another_trace(http: Harness, kind: str) -> None:
    """At every node, the first try with a trace or without one: stored once, and told where."""
    for name in ("t", "u"):
        await http.make_topic(name)
    body, headers = KINDS[kind]
    nodes = list(http.servers)
    for number in range(4):
        # The clock of the memory cluster's nodes goes on in milliseconds.
        await asyncio.sleep(0.002)
        traced = {"traceparent": TRACE.format(number + 1)} if number else {}
        answer = await send(http, nodes[number % 3], body, {**headers, **PRODUCER}, **traced)
        assert answer.status == 200, answer.body
        assert (answer.json["first_offset"], answer.json["next_offset"]) == (0, 1)
        assert answer.json.get("duplicate", False) is (number > 0)
    stamps = [
        record.timestamp for item in http.cluster.logs["t", 0].frames for record in batch.decode(item.payload)
    ]
    assert len(stamps) == 1


DIFFERENCES: dict[str, tuple[bytes, dict[str, str]]] = {
    "another value": (json_body({**JSON, "value": {"n": 2.0}}), {}),
    "the value in another form": (json_body({**JSON, "value": {"n": 1}}), {}),
    "another key": (json_body({**JSON, "key": "l"}), {}),
    "no key": (json_body({"value": JSON["value"], "headers": JSON["headers"]}), {}),
    "another header": (json_body({**JSON, "headers": {"a": "2"}}), {}),
    "one header more": (json_body({**JSON, "headers": {"a": "1", "b": "2"}}), {}),
    "no headers": (json_body({"value": JSON["value"], "key": "k"}), {}),
    "a time": (json_body({**JSON, "timestamp": 7}), {}),
    "one more record": (json_body(JSON, JSON), {}),
    "bytes": (json.dumps(JSON["value"]).encode(), KINDS["raw"][1]),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
async def test_other_records_under_a_used_sequence_are_refused(http: Harness, difference: str) -> None:
    """At every node 409, with where those are that are stored; nothing more is stored."""
    await http.make_topic()
    body, headers = KINDS["json"]
    assert (await send(http, "n2", body, {**headers, **PRODUCER})).status == 200
    other, changed = DIFFERENCES[difference]
    for node in http.servers:
        answer = await send(http, node, other, {**headers, **PRODUCER, **changed})
        assert (answer.status, answer.json["code"], answer.json["retriable"]) == (
            409,
            "sequence_reused",
            False,
        )
        assert (answer.json["first_offset"], answer.json["next_offset"]) == (0, 1)
        assert (await send(http, node, body, {**headers, **PRODUCER})).json["duplicate"] is True
    assert len(http.cluster.logs["t", 0].frames) == 1


async def test_times_that_a_request_says_count(http: Harness) -> None:
    """Beside records whose time the node says: the same is a duplicate, another time is refused."""
    await http.make_topic()
    headers = {"Content-Type": "application/json", **PRODUCER}
    ahead = {**JSON, "timestamp": 32_503_680_000_000}
    for expected in (False, True):
        answer = await send(http, "n1", json_body(JSON, {**JSON, "timestamp": 5}, JSON, ahead), headers)
        assert answer.json.get("duplicate", False) is expected
        await asyncio.sleep(0.002)
    answer = await send(http, "n1", json_body(JSON, {**JSON, "timestamp": 6}, JSON, ahead), headers)
    assert (answer.status, answer.json["code"]) == (409, "sequence_reused")


async def test_a_batch_is_sent_again_byte_for_byte(http: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the fast path and the slow one, at the leader and passed on: the same bytes are a duplicate."""
    await http.make_topic()

    def made(value: bytes, timestamp: int = 1) -> bytes:
        return batch.encode([Record(timestamp, None, value)], producer_id=batch.producer_id_of("p"))

    past = http.taken_at("n1", monkeypatch)
    good, ways = made(b"x"), [{}, {"X-Slow": "1"}]
    for node in http.servers:
        for way in ways:
            answer = await send(http, node, good, {"Content-Type": BATCH, **way})
            assert (answer.status, answer.json["first_offset"]) == (200, 0)
            for other in (made(b"y"), made(b"x", 2)):
                refused = await send(http, node, other, {"Content-Type": BATCH, **way})
                assert (refused.status, refused.json["code"]) == (409, "sequence_reused")
    assert {True, False} <= set(past)
    assert len(http.cluster.logs["t", 0].frames) == 1


async def test_what_retention_removed_is_known_by_its_number_of_records(http: Harness) -> None:
    """A retry is a duplicate, another number of records is refused; a batch is known by its checksum."""
    await http.make_topic()
    body, headers = KINDS["json"]
    named = {**headers, **PRODUCER}
    assert (await send(http, "n1", body, named)).status == 200
    made = batch.encode([Record(1, None, b"x")], producer_id=batch.producer_id_of("q"))
    assert (await send(http, "n1", made, {"Content-Type": BATCH})).status == 200
    http.cluster.logs["t", 0].truncate_head(2)
    await asyncio.sleep(0.002)
    again = await send(http, "n1", body, named)
    assert (again.status, again.json["first_offset"], again.json["duplicate"]) == (200, 0, True)
    assert (await send(http, "n1", json_body(JSON, JSON), named)).json["code"] == "sequence_reused"
    assert (await send(http, "n1", made, {"Content-Type": BATCH})).json["duplicate"] is True
    other = batch.encode([Record(1, None, b"y")], producer_id=batch.producer_id_of("q"))
    refused = await send(http, "n1", other, {"Content-Type": BATCH})
    assert (refused.status, refused.json["code"]) == (409, "sequence_reused")
    assert base64.b64encode(b"y") not in (await http.call("GET", RECORDS + "?from=2")).body


async def test_one_retry_at_a_time_is_compared(http: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once: each may hold many times what it sends."""
    await http.make_topic()
    body, headers = KINDS["json"]
    named = {**headers, **PRODUCER}
    assert (await send(http, "n1", body, named)).status == 200
    await asyncio.sleep(0.002)
    fetch, at_once, most = MemoryPartition.fetch, 0, 0

    async def counted(self: MemoryPartition, *args: Any, **kwargs: Any) -> Fetched:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        try:
            return await fetch(self, *args, **kwargs)
        finally:
            at_once -= 1

    monkeypatch.setattr(MemoryPartition, "fetch", counted)
    answers = await asyncio.gather(*(send(http, "n1", body, named) for _ in range(8)))
    assert [answer.json["duplicate"] for answer in answers] == [True] * 8
    assert most == 1


async def test_a_retry_that_cannot_be_compared_in_time_is_not_stored(
    http: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, retriable: neither a duplicate nor reused, as long as nobody has looked."""
    await http.make_topic()
    body, headers = KINDS["json"]
    named = {**headers, **PRODUCER}
    assert (await send(http, "n1", body, named)).status == 200
    await asyncio.sleep(0.002)
    never = asyncio.Event()

    async def stuck(self: MemoryPartition, *args: Any, **kwargs: Any) -> Fetched:
        await never.wait()
        raise AssertionError

    monkeypatch.setattr(MemoryPartition, "fetch", stuck)
    answer = await http.call("POST", RECORDS + "?timeout=100ms", data=body, headers=named)
    assert (answer.status, answer.json["code"], answer.json["retriable"]) == (503, "unavailable", True)
    assert len(http.cluster.logs["t", 0].frames) == 1


def test_a_retry_of_what_compaction_removed_is_taken_for_the_same() -> None:
    """As with retention: only the number of the records is known any more."""
    record = Record(5, b"k", b"x")
    one = gap(7, 1, 3, 1000, entries=4, offset_count=9)
    assert _are_same(one.pack_header() + one.payload, 5, [record] * 2, [record] * 2)
