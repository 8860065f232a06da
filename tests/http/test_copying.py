"""What was read can be posted back as it is, with ``mode=copy``, and becomes the same records."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import msgpack
import pytest
from floodmark.format import batch as codec
from floodmark.format.record import Record

from tests.http.conftest import Answer, Harness
from tests.http.test_record_model import BATCH, BYTES, JSON, MSGPACK, NDJSON, SHOWN, T, stored

FROM = "/v1/topics/t/partitions/0/records"
TO = "/v1/topics/u/partitions/0/records"
TO_ALL = "/v1/topics/u/records"
COPY = "?mode=copy"
FORMS: dict[str, tuple[dict[str, str], str]] = {
    "page": (JSON, "application/json"),
    "lines": (NDJSON, "application/x-ndjson"),
    "packed page": (MSGPACK, "application/vnd.msgpack"),
}


@pytest.fixture
def node_count() -> int:
    """The first node leads the partition, the others pass on."""
    return 3


async def store(http: Harness, records: list[Record]) -> None:
    """A batch of these in the topic that is read, and an empty topic."""
    http.cluster.level = 2
    for topic in ("t", "u"):
        await http.make_topic(topic)
    answer = await http.call("POST", FROM, data=codec.encode(records, format=2), headers=BATCH)
    assert answer.status == 200, answer


def a_record(source: random.Random) -> Record:
    """Anything that a record may be, but for line feeds in JSON, which become spaces in lines."""
    value, is_json = source.choice(
        [
            (None, False),
            (source.randbytes(source.randrange(9)), False),
            (b"1.50", True),
            (b'{ "a": 1e400, "a":"x:y"  }', True),
            (b'"\\u003a \xc3\xa9"', True),
            (b"null", True),
        ]
    )
    names = ["a", "b", "", "c:d", "traceparent"]
    pairs = [
        (source.choice(names), source.choice([None, b"", b"text", b"\xff:", "é:".encode()]))
        for _ in range(source.choice([0, 0, 1, 3]))
    ]
    time = source.choice([None, T, 0, -1, T + source.randrange(10**9), -(10**15), 2**62])
    return Record(time, source.choice([None, b"", b"k:k", b"\xfe", b"\\"]), value, is_json, pairs or None)


@pytest.mark.parametrize("form", FORMS)
async def test_what_was_read_becomes_the_same_records(http: Harness, form: str) -> None:
    """At every node, on both paths, whatever records may be; from a printed seed."""
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"SEED={seed}")  # noqa: T201
    source = random.Random(seed)
    records = [*SHOWN, *(a_record(source) for _ in range(200))]
    if form == "packed page":  # A native value says the same, in other words.
        records = [record for record in records if not record.is_json or record.value in (b"null", b"1.5")]
        records += [Record(T, None, b"1e400", is_json=True), Record(T, None, b"[-0]", is_json=True)]
    await store(http, records)
    headers, accept = FORMS[form]
    read = await http.call("GET", FROM, node="n2", headers={"Accept": accept})
    count = 0
    for node in http.servers:
        for path in (TO, TO_ALL):
            traced = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
            answer = await http.call(
                "POST", path + COPY, node=node, data=read.body, headers={**headers, **traced}
            )
            assert answer.status == 200, answer
            found = stored(http, "u")[count:]
            count += len(found)
            assert found == stored(http)
            assert found == records


async def test_a_page_of_the_topic_and_single_records_can_be_copied(http: Harness) -> None:
    """A page with its cursor; one record by itself; lines with time and offset of another one."""
    await store(http, SHOWN)
    page = (await http.call("GET", "/v1/topics/t/records")).body
    assert b'"cursor"' in page
    assert (await http.call("POST", TO + COPY, data=page, headers=JSON)).status == 200
    assert stored(http, "u") == SHOWN
    lines = (await http.call("GET", FROM, headers={"Accept": "application/x-ndjson"})).body
    for line in lines.splitlines():
        answer = await http.call("POST", TO_ALL + COPY, data=line, headers=JSON)
        assert answer.status == 200, answer
    assert stored(http, "u") == SHOWN * 2


async def test_the_partition_is_the_topics_affair(http: Harness) -> None:
    """Its path honours what is said, so that all stays where it was; a partition's path is its own answer."""
    await http.make_topic("u", partitions=3)
    line = b'{"partition":2,"offset":7,"timestamp":1,"append_time":2,"key":"k","value":1}\n'
    copied = await http.call("POST", TO_ALL + COPY, data=line, headers=NDJSON)
    assert copied.json["records"] == [{"partition": 2, "offset": 0}]
    copied = await http.call("POST", TO + COPY, data=line, headers=NDJSON)
    assert (copied.status, copied.json["partition"]) == (200, 0)
    beyond = line.replace(b":2,", b":3,", 1)
    assert (await http.call("POST", TO_ALL + COPY, data=beyond, headers=NDJSON)).status == 404
    assert (await http.call("POST", TO + COPY, data=beyond, headers=NDJSON)).status == 200
    assert (await http.call("POST", TO, data=b'{"partition":2,"value":1}', headers=JSON)).status == 400


async def test_a_stream_that_ended_with_an_error_is_not_taken_for_all(http: Harness) -> None:
    """Nothing of it is stored, and the answer says why."""
    await store(http, SHOWN)
    good = b'{"partition":0,"offset":7,"value":1}'
    error = {"error": {"status": 503, "code": "unavailable", "detail": "x:y"}}
    for headers, body in (
        (NDJSON, good + b"\n" + json.dumps(error).encode() + b"\n"),
        (JSON, json.dumps(error).encode()),
        (JSON, b'{"records":[%b,%b]}' % (good, json.dumps(error).encode())),
        (MSGPACK, msgpack.packb({"records": [json.loads(good), error]})),
    ):
        for node in http.servers:
            for path in (TO, TO_ALL):
                answer = await http.call("POST", path + COPY, node=node, data=body, headers=headers)
                assert answer.status == 400, answer
                assert "records are missing" in answer.json["detail"]
    assert stored(http, "u") == []


REFUSED: list[tuple[dict[str, str], bytes]] = [
    (JSON, b'{"value":1,"offset":1,"other":2}'),
    (JSON, b'{"value":1,"offset":1,"offset":1}'),
    (JSON, b'{"value":1,"append_time":"10:00","append_time":"10:00"}'),
    (JSON, b'{"value":1,"append_time":"\\u003a","append_time":""}'),
    (JSON, b'{"records":[{"value":1}],"next_offset":1,"next_offset":1}'),
    (JSON, b'{"records":[{"value":1}],"cursor":":","cursor":""}'),
    (JSON, b'{"records":[{"value":1}],"offset":1}'),
    (JSON, b'{"records":[{"value":1}],"key":"k"}'),
    (JSON, b'{"records":[{"value":1,"next_offset":1}]}'),
    (JSON, b'{"value":1,"next_offset":1}'),
    (JSON, b'{"value":1,"offset":{"a":1}}'),
    (JSON, b'{"value":1,"offset":%b1%b}' % (b"[" * 5000, b"]" * 5000)),
    (JSON, b'{"value":1,"timestamp":%d}' % (1 << 63)),
    (JSON, b'{"value":1,"timestamp":%d}' % -(1 << 63)),
    (JSON, b'{"value":1,"timestamp":"soon"}'),
    (NDJSON, b'{"records":[{"value":1}],"next_offset":1}\n'),
    (NDJSON, b'{"value":1,"value_json":"1"}\n'),
    (MSGPACK, msgpack.packb({"value": 1, "other": 2})),
    (MSGPACK, msgpack.packb({"records": [{"value": 1}], "value_json": "1"})),
    (BYTES, b"v"),
    (BATCH, codec.encode([Record(T, None, b"v")])),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
async def test_what_no_reading_gives_is_still_refused(http: Harness, number: int) -> None:
    """Unknown members, members twice, those of a page in a record, times of no 64 bits, other forms."""
    await store(http, SHOWN)
    headers, body = REFUSED[number]
    for node in http.servers:
        for path in (TO, TO_ALL):
            answer = await http.call("POST", path + COPY, node=node, data=body, headers=headers)
            assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer
    assert stored(http, "u") == []


@pytest.mark.parametrize("query", ["?mode=", "?mode=move", "?mode=COPY", "?mode=copy&mode=copy"])
async def test_another_mode_is_refused(http: Harness, query: str) -> None:
    """At every node, past aiohttp and through it."""
    await http.make_topic("u")
    for node in http.servers:
        for path in (TO, TO_ALL):
            answer = await http.call("POST", path + query, node=node, data=b'{"value":1}', headers=JSON)
            assert answer.status == 400, answer
            assert "mode" in answer.json["detail"]


async def test_below_level_2_a_missing_time_is_refused(http: Harness) -> None:
    """Said to be none, it cannot be kept there; left out it is now, as always."""
    await http.make_topic("u")
    for node in http.servers:
        for path in (TO, TO_ALL):
            answer = await http.call(
                "POST", path + COPY, node=node, data=b'{"timestamp":null,"value":1}', headers=JSON
            )
            assert (answer.status, answer.json["code"]) == (409, "feature_level_needed"), answer
            assert "without a timestamp" in answer.json["detail"]
    assert (await http.call("POST", TO + COPY, data=b'{"value":1}', headers=JSON)).status == 200
    assert stored(http, "u")[0].timestamp is not None


async def test_a_copy_sent_again_is_a_duplicate(http: Harness) -> None:
    """By an idempotent producer, also as a heavy body: tombstones, headers and missing times count."""
    await store(http, SHOWN)
    lines = (await http.call("GET", FROM, headers={"Accept": "application/x-ndjson"})).body
    again: list[Answer] = []
    for number, body in enumerate((lines, lines * 900)):
        producer = {**NDJSON, "Producer-Id": "p", "Producer-Seq": str(number)}
        again += [
            await http.call("POST", TO + COPY, node=node, data=body, headers=producer)
            for node in http.servers
        ]
        for changed in (
            body.replace(b'"tombstone":true', b'"value_b64":""', 1),
            body.replace(b'["b",null]', b'["b",""]', 1),
            body.replace(b'"timestamp":null', b'"timestamp":0', 1),
        ):
            answer = await http.call("POST", TO + COPY, data=changed, headers=producer)
            assert (answer.status, answer.json["code"]) == (409, "sequence_reused"), answer
    assert [answer.status for answer in again] == [200] * 6, again
    assert [answer.json.get("duplicate", False) for answer in again] == [False, True, True] * 2
    assert len(stored(http, "u")) == 5 + 4_500


async def test_a_retry_must_say_the_same_headers(http: Harness) -> None:
    """In order, each time that they come; only a trace that the request added may differ."""
    http.cluster.level = 2
    await http.make_topic("u")
    producer = {**JSON, "Producer-Id": "p", "Producer-Seq": "0"}
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}"

    async def post(*pairs: Any, **more: str) -> Answer:
        body = json.dumps({"value": 1, "headers_list": pairs}).encode()
        return await http.call("POST", TO, data=body, headers={**producer, **more})

    mine = ["traceparent", "mine"]
    assert (await post(["a", "1"], ["a", "2"], traceparent=trace.format(0))).status == 200
    assert (await post(["a", "1"], ["a", "2"], traceparent=trace.format(1))).json["duplicate"]
    assert (await post(["a", "1"], ["a", "2"])).json["duplicate"]
    for pairs in ([["a", "2"], ["a", "1"]], [["a", "1"]], [["a", "1"], ["a", "2"], mine], [["a", "2"]]):
        assert (await post(*pairs)).json["code"] == "sequence_reused", pairs
    producer["Producer-Seq"] = "1"
    assert (await post(mine, traceparent=trace.format(0))).status == 200
    assert (await post(mine, traceparent=trace.format(1))).json["duplicate"]
    assert (await post(["traceparent", "another"])).json["code"] == "sequence_reused"
