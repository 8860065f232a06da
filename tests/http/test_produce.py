"""Producing over HTTP, in every kind of body."""

from __future__ import annotations

import base64
import gzip
import zlib
from typing import Any

import msgspec
import pytest
from floodmark.format import batch
from floodmark.format.record import Record
from floodmark.producer.partitioner import partition_for

from tests.http.conftest import Harness

RECORDS = "/v1/topics/t/partitions/0/records"
JSON = {"Content-Type": "application/json"}
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}


async def stored(http: Harness, path: str = RECORDS) -> list[dict[str, Any]]:
    """What is read back."""
    return list((await http.call("GET", path)).json["records"])


async def test_json_is_kept_to_the_letter(http: Harness) -> None:
    """Spaces, number forms, escapes and order of members survive."""
    await http.make_topic()
    text = b'{ "b": 1.00,  "a": [1e3, "\\u00e9", "\xc3\xa9"],\n"c" : {}}'
    assert (await http.call("POST", RECORDS, data=b'{"value":' + text + b"}", headers=JSON)).status == 200
    assert b'"value":' + text in (await http.call("GET", RECORDS)).body
    lines = await http.call("GET", RECORDS, headers={"Accept": "application/x-ndjson"})
    assert b'"value":' + text.replace(b"\n", b" ") in lines.body


async def test_all_members_of_a_record_come_back(http: Harness) -> None:
    """Key, headers, both forms of time, text and bytes."""
    await http.make_topic()
    records = [
        {"key": "UA", "value": {"x": 1}, "headers": {"h": "v"}, "timestamp": "2013-01-01T10:15:00Z"},
        {"key_b64": "/w==", "value_b64": "AAH/", "timestamp": 1357035300000},
        {"value": None, "timestamp": "2013-01-01T11:15:00+01:00"},
    ]
    answer = await http.call("POST", RECORDS, json={"records": records})
    assert answer.json == {"partition": 0, "first_offset": 0, "next_offset": 3, "high_watermark": 3}
    first, second, third = await stored(http)
    assert (first["key"], first["value"], first["headers"]) == ("UA", {"x": 1}, {"h": "v"})
    assert (second["key_b64"], second["value_b64"]) == ("/w==", "AAH/")
    assert (third["key"], third["value"]) == (None, None)
    assert {first["timestamp"], third["timestamp"]} == {"2013-01-01T10:15:00.000Z"}
    assert second["timestamp"] == "2013-01-01T10:15:00.000Z"


async def test_every_kind_of_body_is_taken(http: Harness) -> None:
    """One bare record, NDJSON, MessagePack, raw bytes and a batch end up alike."""
    await http.make_topic()
    packed = msgspec.msgpack.encode({"records": [{"value": {"n": 3}}, {"value": b"\x00", "key": "k"}]})
    made = batch.encode([Record(5, b"k", b'{"n": 4}', is_json=True)])
    raw_headers = {
        "Content-Type": "application/octet-stream",
        "Record-Key": "k\u00e9",
        "Record-Timestamp": "7",
        "Record-Header-Colour": "red",
    }
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b'{"value": {"n": 0}}', JSON),
        (b'{"value": {"n": 0}}', {"Content-Type": "application/x-www-form-urlencoded"}),
        (b'{"value": {"n": 1}}\n\n{"value": {"n": 2}}\n', {"Content-Type": "application/x-ndjson"}),
        (packed, {"Content-Type": "application/vnd.msgpack"}),
        (made, BATCH),
        (b"any\x00thing", raw_headers),
    ]
    for body, headers in bodies:
        answer = await http.call("POST", RECORDS, data=body, headers=headers)
        assert answer.status == 200, answer.body
    shown = await stored(http)
    values = [item.get("value", item.get("value_b64")) for item in shown]
    numbers = [{"n": 0}, {"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}, "AA==", {"n": 4}]
    assert values == [*numbers, base64.b64encode(b"any\x00thing").decode()]
    assert (shown[-1]["key"], shown[-1]["headers"]) == ("k\u00e9", {"colour": "red"})
    assert shown[-1]["timestamp"] == "1970-01-01T00:00:00.007Z"
    frames = await http.call("GET", RECORDS, headers={"Accept": "application/vnd.floodmark.batch"})
    assert made in frames.body


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
async def test_a_compressed_body_is_opened(http: Harness, encoding: str) -> None:
    """gzip, zlib, and the bare stream that some clients call deflate."""
    await http.make_topic()
    plain = b'{"value": "' + b"x" * 100_000 + b'"}'
    bare = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(plain),
        "deflate": zlib.compress(plain),
        "raw-deflate": bare.compress(plain) + bare.flush(),
    }[encoding]
    headers = {**JSON, "Content-Encoding": encoding.removeprefix("raw-")}
    assert (await http.call("POST", RECORDS, data=packed, headers=headers)).status == 200
    assert (await stored(http))[0]["value"] == "x" * 100_000


async def test_keys_place_records_and_the_answer_is_in_the_order_sent(http: Harness) -> None:
    """Each key's partition is Kafka's; an explicit partition wins; keyless ones stay together."""
    await http.make_topic(partitions=5)
    keys = [f"k{number}" for number in range(20)]
    records: list[dict[str, Any]] = [{"key": key, "value": key} for key in keys]
    records += [{"key": "k1", "value": "here", "partition": 4}, {"value": "a"}, {"value": "b"}]
    answer = await http.call("POST", "/v1/topics/t/records", json={"records": records})
    assert answer.status == 200
    places = [item["partition"] for item in answer.json["records"]]
    assert places[:20] == [partition_for(key.encode(), 5) for key in keys]
    assert places[20] == 4
    assert places[21] == places[22]
    for record, place in zip(records, answer.json["records"], strict=True):
        path = f"/v1/topics/t/partitions/{place['partition']}/records?from={place['offset']}&max_records=1"
        assert (await stored(http, path))[0]["value"] == record["value"]


async def test_a_mixed_outcome_is_207_and_none_is_an_error(http: Harness) -> None:
    """What landed has an offset, what did not has its error; never 200 when something failed."""
    await http.make_topic(partitions=2)
    http.cluster.logs["t", 1].move(None)
    records = [{"value": 1, "partition": 0}, {"value": 2, "partition": 1}, {"value": 3, "partition": 0}]
    path = "/v1/topics/t/records?timeout=500ms"
    mixed = await http.call("POST", path, json={"records": records})
    assert mixed.status == 207
    one, two, three = mixed.json["records"]
    assert (one["offset"], three["offset"]) == (0, 1)
    assert (two["error"]["code"], two["error"]["retriable"]) == ("unavailable", True)
    none = await http.call("POST", path, json=records[1])
    assert (none.status, none.json["code"]) == (503, "unavailable")
    assert int(none.headers["Retry-After"]) >= 1


async def test_an_idempotent_producer_gets_its_offsets_again(http: Harness) -> None:
    """A duplicate: 200 with the first offsets. A gap: 409. An old epoch: 403."""
    await http.make_topic()

    async def send(sequence: int, epoch: int = 0) -> Any:
        producer = {"Producer-Id": "p", "Producer-Seq": str(sequence), "Producer-Epoch": str(epoch)}
        return await http.call("POST", RECORDS, data=b'{"value": 1}', headers={**JSON, **producer})

    first = await send(0)
    assert (await send(1)).json["first_offset"] == 1
    again = await send(0)
    assert again.json["duplicate"] is True
    assert again.json["first_offset"] == first.json["first_offset"]
    gap = await send(5)
    assert (gap.status, gap.json["code"], gap.json["expected_sequence"]) == (409, "sequence_gap", 2)
    assert (await send(0, epoch=3)).status == 200
    fenced = await send(2)
    assert (fenced.status, fenced.json["code"], fenced.json["current_epoch"]) == (403, "producer_fenced", 3)


async def test_a_condition_on_the_offset_is_kept(http: Harness) -> None:
    """``If-Offset`` answers 412 with the next offset when it does not hold."""
    await http.make_topic()
    for offset in (0, 1):
        good = {**JSON, "If-Offset": str(offset)}
        assert (await http.call("POST", RECORDS, data=b'{"value": 1}', headers=good)).status == 200
        failed = await http.call("POST", RECORDS, data=b'{"value": 1}', headers=good)
        assert (failed.status, failed.json["next_offset"]) == (412, offset + 1)


async def test_acks_none_does_not_know_offsets(http: Harness) -> None:
    """The offset is -1 on both endpoints."""
    await http.make_topic()
    answer = await http.call("POST", RECORDS + "?acks=none", data=b'{"value": 1}', headers=JSON)
    assert answer.json["first_offset"] == -1
    routed = await http.call("POST", "/v1/topics/t/records?acks=none", json={"value": 1})
    assert routed.json == {"records": [{"partition": 0, "offset": -1}]}


async def test_a_trace_is_kept_as_a_header_of_the_record(http: Harness) -> None:
    """``traceparent`` of the request, unless the record has its own."""
    await http.make_topic()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    records = [{"value": 1}, {"value": 2, "headers": {"traceparent": "own"}}]
    await http.call("POST", RECORDS, json={"records": records}, headers={"traceparent": trace})
    first, second = await stored(http)
    assert (first["headers"]["traceparent"], second["headers"]["traceparent"]) == (trace, "own")


async def test_a_used_up_budget_is_429(http: Harness) -> None:
    """Bodies beyond the node's in-flight bytes are refused with Retry-After."""
    await http.make_topic()
    with http.broker.uploads("another", from_node=False) as other:
        other.take(64 << 20)
        refused = await http.call("POST", RECORDS, data=b'{"value": 1}', headers=JSON)
    assert (refused.status, refused.json["retriable"]) == (429, True)
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await http.call("POST", RECORDS, data=b'{"value": 1}', headers=JSON)).status == 200
    assert http.broker.budget.used == 0


async def test_what_is_not_spoken_is_listed(http: Harness) -> None:
    """415 for media types, charsets and encodings; 406 for answers; each with what is supported."""
    await http.make_topic()
    for headers in (
        {"Content-Type": "text/csv"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/vnd.floodmark.batch;v=2"},
        {**JSON, "Content-Encoding": "br"},
    ):
        answer = await http.call("POST", RECORDS, data=b'{"value": 1}', headers=headers)
        assert answer.status == 415
        assert answer.json["supported"]
    refused = await http.call("GET", RECORDS, headers={"Accept": "image/png, application/json;q=0"})
    assert refused.status == 406
    assert "text/event-stream" in refused.json["supported"]
