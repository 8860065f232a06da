"""Tombstones, headers that a map cannot hold, missing times: in and out, in every form, at every node."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgpack
import pytest
from floodmark.format import batch as codec
from floodmark.format.frame_records import records_in
from floodmark.format.headers import Headers
from floodmark.format.record import Record

from node.request_limits import RequestLimits
from tests.http.conftest import Answer, Harness

RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
MSGPACK = {"Content-Type": "application/vnd.msgpack"}
BYTES = {"Content-Type": "application/octet-stream"}
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
UNUSUAL = {"X-Unusual": "1"}
T = 1_700_000_000_000
TOMBSTONE: dict[str, Any] = {"key": "k", "tombstone": True, "timestamp": T}
LISTED: dict[str, Any] = {
    "key": "k",
    "value": 1,
    "timestamp": T,
    "headers_list": [["a", "1"], ["b", None], ["a", {"b64": "/w=="}], ["a", ""]],
}
PAIRS = [("a", b"1"), ("b", None), ("a", b"\xff"), ("a", b"")]


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1; the third node stands for one without a replica."""
    return 3


@pytest.fixture
def settings() -> RequestLimits:
    """As they are."""
    return RequestLimits()


def stored(http: Harness, topic: str = "t") -> list[Record]:
    """All records of the first partition."""
    frames = http.cluster.logs[topic, 0].frames
    found = [record for item in frames for record in records_in(item, memoryview(item.payload))]
    return [record for record in found if record is not None]


def with_bytes(item: Any) -> Any:
    """The same in MessagePack, where bytes are binary."""
    if isinstance(item, dict) and item.keys() == {"b64"}:
        return base64.b64decode(item["b64"])
    if isinstance(item, dict):
        return {name: with_bytes(value) for name, value in item.items()}
    return [with_bytes(value) for value in item] if isinstance(item, list) else item


def bodies(record: dict[str, Any]) -> list[tuple[dict[str, str], bytes]]:
    """One record in every form that has members."""
    text = json.dumps(record).encode()
    packed = msgpack.packb(with_bytes(record))
    return [
        (JSON, text),
        (JSON, b'{"records":[%b]}' % text),
        (NDJSON, text + b"\n"),
        (MSGPACK, packed),
        (MSGPACK, msgpack.packb({"records": [with_bytes(record)]})),
    ]


RAW = [
    ({**BYTES, "Record-Tombstone": "true", "Record-Key": "k", "Record-Timestamp": str(T)}, b"", None),
    (
        [*BYTES.items(), ("Record-Header-A", "1"), ("Record-Header-A", "2"), ("Record-Header-A", "")],
        b"v",
        b"v",
    ),
]
"""Heads of raw values, and what they become."""


async def at_every_node(http: Harness, headers: Any, body: bytes) -> list[Answer]:
    """At each node, on each path, past aiohttp where it goes there, and through it."""
    more = dict(headers) if not isinstance(headers, list) else None
    return [
        await http.call(
            "POST",
            path,
            node=node,
            data=body,
            headers={**more, **extra} if more is not None else [*headers, *extra.items()],
        )
        for node in http.servers
        for path in (RECORDS, ALL)
        for extra in ({}, UNUSUAL)
    ]


@pytest.mark.parametrize("record", [TOMBSTONE, LISTED], ids=["tombstone", "headers_list"])
async def test_below_level_2_it_is_refused_and_from_there_on_stored(
    http: Harness, record: dict[str, Any]
) -> None:
    """409 that says which level is needed, and nothing is stored; the same body later is, everywhere."""
    await http.make_topic()
    for headers, body in bodies(record):
        for answer in await at_every_node(http, headers, body):
            assert (answer.status, answer.json["code"]) == (409, "feature_level_needed"), answer
            assert (answer.json["level"], answer.json["needs"]) == (1, 2)
            assert "cluster upgrade --finalize" in answer.json["detail"]
    assert http.cluster.logs["t", 0].next == 0
    http.cluster.level = 2
    count = 0
    for headers, body in bodies(record):
        answers = await at_every_node(http, headers, body)
        assert [answer.status for answer in answers] == [200] * len(answers), answers
        count += len(answers)
    found = stored(http)
    assert len(found) == count
    for each in found:
        assert (each.key, each.timestamp) == (b"k", T)
        if record is TOMBSTONE:
            assert each.tombstone
            assert not each.is_json
        else:
            assert each.json() == 1
            assert list(each.headers.pairs) == PAIRS


@pytest.mark.parametrize("number", range(len(RAW)))
async def test_a_raw_value_says_it_in_its_head(http: Harness, number: int) -> None:
    """A tombstone has no body, and a name of a header may come again; the last one never just wins."""
    headers, body, value = RAW[number]
    await http.make_topic()
    for answer in await at_every_node(http, headers, body):
        assert (answer.status, answer.json["code"]) == (409, "feature_level_needed"), answer
    http.cluster.level = 2
    answers = await at_every_node(http, headers, body)
    assert [answer.status for answer in answers] == [200] * 12, answers
    for record in stored(http):
        assert record.value == value
        assert list(record.headers.pairs) == ([] if number == 0 else [("a", b"1"), ("a", b"2"), ("a", b"")])


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("record", [TOMBSTONE, LISTED], ids=["tombstone", "headers_list"])
async def test_a_node_that_has_not_heard_of_the_level_catches_up_first(
    http: Harness, record: dict[str, Any], level: int
) -> None:
    """At the leader and at others, on both ways: only what the cluster does not take is refused."""
    await http.make_topic()
    http.cluster.level = level
    raw = RAW[0 if record is TOMBSTONE else 1]
    for headers, body in [*bodies(record), raw[:2]]:
        for node, broker in http.cluster.brokers.items():
            for path in (RECORDS, ALL):
                for extra in ({}, UNUSUAL):
                    broker.level_behind = 1
                    both = [*headers.items()] if isinstance(headers, dict) else headers
                    answer = await http.call(
                        "POST", path, node=node, data=body, headers=[*both, *extra.items()]
                    )
                    assert answer.status == (200 if level == 2 else 409), (node, path, headers, answer)


async def test_what_is_no_record_of_this_model_is_400(http: Harness) -> None:
    """Nothing is stored. Below level 2 what needs it may be refused for that before anything else."""
    await http.make_topic()
    bad: list[tuple[dict[str, str], bytes]] = [
        (JSON, b'{"tombstone":true,"value":1}'),
        (JSON, b'{"tombstone":true,"value":null}'),
        (JSON, b'{"tombstone":true,"value_b64":""}'),
        (JSON, b'{"tombstone":false}'),
        (JSON, b'{"tombstone":null,"key":"k"}'),
        (JSON, b'{"tombstone":1}'),
        (JSON, b'{"tombstone":true,"tombstone":true}'),
        (JSON, b'{"tombstone":false,"value":1,"tombstone":false}'),
        (JSON, b'{"value":1,"headers":{},"headers_list":[]}'),
        (JSON, b'{"value":1,"headers_list":[],"headers_list":[]}'),
        (JSON, b'{"value":1,"headers_list":{"a":"b"}}'),
        (JSON, b'{"value":1,"headers_list":[["a"]]}'),
        (JSON, b'{"value":1,"headers_list":[["a","b","c"]]}'),
        (JSON, b'{"value":1,"headers_list":[["a",1]]}'),
        (JSON, b'{"value":1,"headers_list":[[null,"b"]]}'),
        (JSON, b'{"value":1,"headers_list":[["a",{"b64":"!"}]]}'),
        (JSON, b'{"value":1,"headers_list":[["a",{"b64":"","b64":"AA=="}]]}'),
        (JSON, b'{"value":1,"headers_list":[["a",{"b64":"","x":1}]]}'),
        (JSON, b'{"value":1,"headers_list":[%b]}' % b",".join([b'["a","b"]'] * 65)),
        (JSON, b'{"value":1,"value_json":"1"}'),
        (JSON, b'{"value":1,"offset":1}'),
        (JSON, b'{"value":1,"append_time":1}'),
        (NDJSON, b'{"value":1}\n{"error":{}}\n'),
        (MSGPACK, msgpack.packb({"tombstone": True, "value": b""})),
        (MSGPACK, msgpack.packb({"tombstone": True, "value_json": "1"})),
        (MSGPACK, msgpack.packb({"value": 1, "value_b64": b""})),
        (MSGPACK, msgpack.packb({"value": 1, "value_json": "1"})),
        (MSGPACK, msgpack.packb({"value_json": "{"})),
        (MSGPACK, msgpack.packb({"value_json": "1 2"})),
        (MSGPACK, msgpack.packb({"value_json": "[" * 40 + "]" * 40})),
        (MSGPACK, msgpack.packb({"value_json": '{"a":' * 100_000})),
        (MSGPACK, msgpack.packb({"value_json": '"\\ud800"'})),
        (MSGPACK, msgpack.packb({"value_json": b"1"})),
        (MSGPACK, msgpack.packb({"value": 1, "key": 7})),
        (MSGPACK, msgpack.packb({"value": 1, "key": [[]]})),
        (MSGPACK, msgpack.packb({"value": 1, "key": b"", "key_b64": b""})),
        (MSGPACK, msgpack.packb({"value": 1, "headers_list": [("a", 1)]})),
        (MSGPACK, msgpack.packb({"value": 1, "headers_list": [("a", {"b64": ""})]})),
        (MSGPACK, msgpack.packb({"value": 1, "headers_list": [(b"a", "b")]})),
        (MSGPACK, msgpack.packb({"value": 1, "headers_list": [("a", "b")] * 65})),
        ({**BYTES, "Record-Tombstone": "yes"}, b""),
        ({**BYTES, "Record-Tombstone": ""}, b""),
        ({**JSON, "Record-Tombstone": "true"}, b'{"tombstone":true}'),
    ]
    for level in (1, 2):
        http.cluster.level = level
        for headers, body in bad:
            for answer in await at_every_node(http, headers, body):
                refused = [(400, "invalid_request"), *[(409, "feature_level_needed")][level - 1 :]]
                assert (answer.status, answer.json["code"]) in refused, (level, body, answer)
    beside = {**BYTES, "Record-Tombstone": "true"}
    for answer in await at_every_node(http, beside, b"value"):
        assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer
    assert http.cluster.logs["t", 0].next == 0


@pytest.mark.parametrize("packed", [False, True])
async def test_no_more_headers_are_built_than_a_request_may_have(
    http: Harness, *, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lists as of maps: 413 with the limit, before the first one above it is built."""
    await http.make_topic()
    http.cluster.level = 2
    monkeypatch.setattr("node.http.headers_in.BATCH_HEADERS_MAX", 100)
    record = {"value": 1, "headers_list": [["a", "b"]] * 60}
    body = (msgpack.packb if packed else lambda item: json.dumps(item).encode())({"records": [record] * 2})
    for answer in await at_every_node(http, MSGPACK if packed else JSON, body):
        assert (answer.status, answer.json["limit"]) == (413, 100), answer
    assert http.cluster.logs["t", 0].next == 0


SHOWN = [
    Record(T, b"k", None),
    Record(None, None, b"1.50", is_json=True),
    Record(T, b"\xff", b"\x00", pairs=[("x", b"1"), ("y", b"")]),
    Record(T, b"", b"null", is_json=True, pairs=[("a", b"1"), ("b", None), ("a", b"\xff")]),
    Record(-5, b"k", b"", pairs=[("n", None)]),
]


async def given(http: Harness) -> None:
    """These records, at level 2."""
    await http.make_topic()
    http.cluster.level = 2
    body = codec.encode(SHOWN, format=2)
    assert (await http.call("POST", RECORDS, data=body, headers=BATCH)).status == 200


async def test_a_list_of_headers_is_shown_only_where_an_object_would_lose_something(http: Harness) -> None:
    """In every form, at every node: tombstones, missing times, bytes and null among headers."""
    await given(http)
    expected = [
        {"key": "k", "tombstone": True},
        {"key": None, "value": 1.5},
        {"key_b64": "/w==", "value_b64": "AA==", "headers": {"x": "1", "y": ""}},
        {"key": "", "value": None, "headers_list": [["a", "1"], ["b", None], ["a", {"b64": "/w=="}]]},
        {"key": "k", "value_b64": "", "headers_list": [["n", None]]},
    ]
    place = {"partition", "offset", "timestamp", "append_time"}
    for node in http.servers:
        page = (await http.call("GET", RECORDS, node=node)).json["records"]
        lines = await http.call("GET", RECORDS, node=node, headers={"Accept": "application/x-ndjson"})
        assert [json.loads(line) for line in lines.body.splitlines()] == page
        assert [{k: v for k, v in record.items() if k not in place} for record in page] == expected
        assert [record["timestamp"] is None for record in page] == [False, True, False, False, False]
        accept = {"Accept": "application/vnd.msgpack"}
        packed = msgpack.unpackb((await http.call("GET", RECORDS, node=node, headers=accept)).body)["records"]
        assert packed[0]["tombstone"] is True
        assert "value" not in packed[0]
        assert packed[1]["timestamp"] is None
        assert (packed[2]["key"], packed[2]["value"]) == (b"\xff", b"\x00")
        assert packed[3]["value"] is None
        assert packed[3]["headers_list"] == [["a", "1"], ["b", None], ["a", b"\xff"]]
        assert "headers" not in packed[3]
        assert packed[2]["headers"] == {"x": "1", "y": ""}


def test_headers_that_are_plain_are_texts_each_name_once() -> None:
    """The rule by which an object is shown, or a list."""
    assert Headers([("a", b"1"), ("b", b"")]).as_texts() == {"a": "1", "b": ""}
    assert Headers([]).as_texts() == {}
    for pairs in ([("a", b"1"), ("a", b"1")], [("a", None)], [("a", b"\xff")]):
        assert Headers(pairs).as_texts() is None


async def test_no_node_passes_on_what_an_earlier_build_would_take_for_bytes(http: Harness) -> None:
    """Its leader would take no notice of the header, and store an empty value: whoever is asked refuses."""
    await http.make_topic()
    http.cluster.logs["t", 0].move(None)
    for headers, body, _ in RAW:
        both = [*headers.items()] if isinstance(headers, dict) else headers
        for node in http.servers:
            answer = await http.call("POST", RECORDS + "?timeout=50ms", node=node, data=body, headers=both)
            assert (answer.status, answer.json["code"]) == (409, "feature_level_needed"), answer
