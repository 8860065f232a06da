"""Bodies that would hold the event loop up: counted before they are built, and decoded in another process."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import struct
import zlib
from collections.abc import Sequence

import google_crc32c
import msgspec
import psutil
import pytest
from floodmark.format import batch as codec
from floodmark.format import compression
from floodmark.format.limits import BATCH_HEADERS_MAX, BATCH_RECORDS_MAX, RECORD_HEADERS_MAX
from floodmark.format.record import Record

from node.http import packer, produce_body
from node.http.context import CONTEXT
from node.http.packers import Packers
from node.request_limits import RequestLimits
from tests.http.conftest import Answer, Harness, until

PARTITION = "/v1/topics/t/partitions/0/records"
TOPIC = "/v1/topics/t/records"
JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/vnd.msgpack"
BATCH = "application/vnd.floodmark.batch;v=1"
TINY = b'{"value":1}'
SLOW_PATH = {"X-Anything": "that the fast path does not know"}
PLACES = [("n1", {}), ("n1", SLOW_PATH), ("n2", {}), ("n2", SLOW_PATH)]
"""The leader, and a node without a replica; past aiohttp and by it."""


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1."""
    return 2


@pytest.fixture
async def topic(http: Harness) -> Harness:
    """Two partitions."""
    await http.call("PUT", "/v1/topics/t", json={"partitions": 2})
    return http


@pytest.fixture
def settings() -> RequestLimits:
    """Processes that decode are nice: on a busy machine they need longer than the usual ten seconds."""
    return RequestLimits(produce_timeout_s=60.0)


async def post(http: Harness, path: str, body: bytes, head: dict[str, str], node: str = "n1") -> Answer:
    """Send one body."""
    return await http.call("POST", path, node=node, data=io.BytesIO(body), headers=head)


def packers(http: Harness, node: str = "n1") -> Packers:
    """What decodes for a node."""
    return http.servers[node].app[CONTEXT].packers


def stored(http: Harness, partition: int = 0) -> list[Record]:
    """What a partition holds."""
    frames = http.cluster.logs["t", partition].frames
    return [record for frame in frames for record in codec.decode(frame.payload)]


def envelope(records: Sequence[bytes]) -> bytes:
    """A JSON body."""
    return b'{"records":[' + b",".join(records) + b"]}"


def packed(count: int) -> bytes:
    """A MessagePack body of so many records."""
    one = msgspec.msgpack.encode({"value": 1})
    return b"\x81\xa7records\xdd" + count.to_bytes(4, "big") + one * count


def raw_batch(record: Record, count: int) -> bytes:
    """A batch of the same record again and again, which the client's own limits would not let through."""
    packed_records = b"\xdd" + count.to_bytes(4, "big") + msgspec.msgpack.encode(record) * count
    body = compression.compress(packed_records)
    header = bytearray(codec.encode([record], codec=codec.CODEC_ZSTD)[12 : codec.HEADER_BYTES])
    struct.pack_into("<II", header, 4, count, len(packed_records))
    crc = google_crc32c.value(bytes(header) + body)
    return struct.pack("<4sII", codec.MAGIC, codec.HEADER_BYTES + len(body), crc) + header + body


TOO_MANY = BATCH_RECORDS_MAX + 1
HOSTILE = {
    "JSON": (envelope([TINY] * TOO_MANY), JSON, None),
    "JSON, gzip": (gzip.compress(envelope([TINY] * TOO_MANY)), JSON, "gzip"),
    "JSON, deflate": (zlib.compress(envelope([TINY] * TOO_MANY)), JSON, "deflate"),
    "JSON behind other members": (envelope([b'{"value":{"a":[{}]}}'] * TOO_MANY), JSON, None),
    "NDJSON": (b"\n".join([TINY] * TOO_MANY), NDJSON, None),
    "NDJSON on one line": (b" ".join([TINY] * TOO_MANY), NDJSON, None),
    "MessagePack": (packed(TOO_MANY), MSGPACK, None),
}


async def test_too_many_records_are_refused_and_none_is_built(
    topic: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every node and way, with the limit named; the node's own process decodes nothing of it."""

    def never(*_: object) -> None:
        raise AssertionError("decoded on the event loop")

    monkeypatch.setattr(produce_body, "read_records", never)
    for form, (body, media, encoding) in HOSTILE.items():
        headers = {"Content-Type": media} | ({"Content-Encoding": encoding} if encoding else {})
        for path, (node, more) in [*((PARTITION, place) for place in PLACES), (TOPIC, PLACES[-1])]:
            answer = await post(topic, path, body, headers | more, node)
            assert answer.status == 413, (form, answer.body)
            assert answer.json["limit"] == BATCH_RECORDS_MAX
            assert str(TOO_MANY) in answer.json["detail"]
    assert not stored(topic, 0)
    assert not stored(topic, 1)


async def test_as_many_records_as_are_allowed_are_stored_in_order(topic: Harness) -> None:
    """By their keys on the topic, with the place of each in the answer; decoded elsewhere."""
    texts = [b'{"key":"%d","value":%d}' % (number % 7, number) for number in range(BATCH_RECORDS_MAX)]
    answer = await post(topic, TOPIC, envelope(texts), {"Content-Type": JSON})
    assert answer.status == 200
    found = [stored(topic, 0), stored(topic, 1)]
    rows = answer.json["records"]
    assert len(rows) == BATCH_RECORDS_MAX
    assert all(found[row["partition"]][row["offset"]].value == b"%d" % n for n, row in enumerate(rows))
    assert packers(topic).packed == 1


HEADERS = {f"h{number}": "v" for number in range(RECORD_HEADERS_MAX)}
OVER = BATCH_HEADERS_MAX // RECORD_HEADERS_MAX + 1


def with_headers(media: str, headers: dict[str, str], count: int) -> bytes:
    """A body of so many records with these headers each."""
    if media == BATCH:
        return raw_batch(Record(0, None, b"1", is_json=True, pairs=headers), count)
    if media == JSON:
        return msgspec.json.encode({"records": [{"value": 1, "headers": headers}] * count})
    if media == NDJSON:
        return b"\n".join([msgspec.json.encode({"value": 1, "headers": headers})] * count)
    return msgspec.msgpack.encode({"records": [{"value": 1, "headers": headers}] * count})


async def test_headers_are_counted_for_each_record_and_for_all_together(topic: Harness) -> None:
    """The most are stored; one more in a record is 400, one more in all is 413, at every node."""
    one_more = HEADERS | {"one": "more"}
    ways = [(BATCH, place) for place in PLACES] + list(zip((JSON, NDJSON, MSGPACK), PLACES, strict=False))
    for media, (node, more) in ways:
        head = {"Content-Type": media} | more
        most = with_headers(media, HEADERS, OVER - 1)
        assert (await post(topic, PARTITION, most, head, node)).status == 200
        for count in (1, 3000):
            body = with_headers(media, one_more, count)
            answer = await post(topic, PARTITION, body, head, node)
            assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer.body
            assert f"{len(one_more)} headers; at most {RECORD_HEADERS_MAX}" in answer.json["detail"]
        body = with_headers(media, HEADERS, OVER)
        answer = await post(topic, PARTITION, body, head, node)
        assert (answer.status, answer.json.get("limit")) == (413, BATCH_HEADERS_MAX), answer.body
    assert len(stored(topic)) == len(ways) * (OVER - 1)


async def test_a_trace_leaves_out_the_records_that_have_no_room_for_it(topic: Harness) -> None:
    """It is no reason to refuse a record, nor to store one that readers may refuse."""
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    body = {"records": [{"value": 1, "headers": HEADERS}, {"value": 2}]}
    answer = await topic.call("POST", PARTITION, json=body, headers={"traceparent": trace})
    assert answer.status == 200
    assert [record.headers for record in stored(topic)] == [HEADERS, {"traceparent": trace}]


async def heavy(http: Harness, **headers: str) -> Answer:
    """One body that is decoded elsewhere."""
    body = envelope([TINY] * 6000)
    return await http.call("POST", PARTITION, data=body, headers={"Content-Type": JSON} | headers)


async def test_a_process_that_ends_between_bodies_is_replaced(topic: Harness) -> None:
    """Nobody notices."""
    assert (await heavy(topic)).status == 200
    (pid,) = packers(topic).idle
    os.kill(pid, signal.SIGKILL)
    assert (await heavy(topic)).status == 200
    assert (packers(topic).started, packers(topic).lost) == (2, 1)
    assert len(stored(topic)) == 12_000


async def test_a_process_that_ends_in_a_body_is_replaced(topic: Harness) -> None:
    """The body is decoded by the next one, and stored once."""
    assert (await heavy(topic)).status == 200
    (pid,) = packers(topic).idle
    os.kill(pid, signal.SIGSTOP)
    answer = asyncio.ensure_future(heavy(topic))
    await until(lambda: not packers(topic).idle)
    os.kill(pid, signal.SIGKILL)
    assert (await answer).status == 200
    assert packers(topic).lost == 1
    assert len(stored(topic)) == 12_000


async def test_a_body_that_nobody_can_decode_is_surely_not_stored(
    topic: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When processes end as soon as they begin, the answer says so, and that it may be sent again."""
    monkeypatch.setattr(packer, "COMMAND", ("/bin/true",))
    answer = await heavy(topic)
    assert (answer.status, answer.json["code"], answer.json["retriable"]) == (503, "unavailable", True)
    assert answer.json["detail"].startswith("not stored:")
    assert packers(topic).lost == 2
    assert not stored(topic)


async def test_a_body_waits_no_longer_than_its_request(topic: Harness) -> None:
    """The process that is busy with it goes on, and then serves others."""
    assert (await heavy(topic)).status == 200
    (pid,) = packers(topic).idle
    os.kill(pid, signal.SIGSTOP)
    body = envelope([TINY] * 6000)
    late = await topic.call("POST", PARTITION + "?timeout=50ms", data=body, headers={"Content-Type": JSON})
    assert (late.status, late.json["code"]) == (503, "unavailable")
    os.kill(pid, signal.SIGCONT)
    await until(lambda: packers(topic).idle == [pid])
    assert len(stored(topic)) == 6000


async def test_an_idle_process_is_ended(topic: Harness) -> None:
    """Its memory is given back; the next heavy body has a new one."""
    packers(topic).idle_s = 0.0
    assert (await heavy(topic)).status == 200
    await until(lambda: not packers(topic).idle)
    assert (await heavy(topic)).status == 200
    assert (packers(topic).started, packers(topic).lost) == (2, 0)


async def test_no_process_is_left_behind(topic: Harness) -> None:
    """They end with the application."""
    await asyncio.gather(heavy(topic), heavy(topic))
    pids = packers(topic).idle
    assert len(pids) == 2
    await packers(topic).close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_producers_batches_keep_their_order(topic: Harness) -> None:
    """A small one does not overtake a large one that is still being decoded, and so it is not refused."""
    assert (await heavy(topic)).status == 200
    (pid,) = packers(topic).idle
    os.kill(pid, signal.SIGSTOP)
    first = asyncio.ensure_future(heavy(topic, **{"Producer-Id": "p", "Producer-Seq": "0"}))
    await until(lambda: not packers(topic).idle)
    small = codec.encode([Record(0, None, b"small")], producer_id=codec.producer_id_of("p"), sequence=1)
    second = asyncio.ensure_future(topic.call("POST", PARTITION, data=small, headers={"Content-Type": BATCH}))
    third = await topic.call("POST", PARTITION, data=b'{"value":"other"}')
    assert third.status == 200
    assert not second.done()
    os.kill(pid, signal.SIGCONT)
    assert ((await first).status, (await second).status) == (200, 200)
    assert stored(topic)[-1].value == b"small"


async def test_a_heavy_retry_in_a_producers_name_is_a_duplicate(topic: Harness) -> None:
    """Sent at another time it is compared without what the node adds, also where it is decoded elsewhere."""
    name = {"Producer-Id": "p", "Producer-Seq": "0"}
    once, again = await heavy(topic, **name), await heavy(topic, **name)
    assert (once.status, again.status) == (200, 200)
    assert again.json["duplicate"] is True
    assert again.json["first_offset"] == once.json["first_offset"]
    other = await topic.call(
        "POST", PARTITION, data=envelope([b'{"value":2}'] * 6000), headers={"Content-Type": JSON} | name
    )
    assert (other.status, json.loads(other.body)["code"]) == (409, "sequence_reused")
    assert len(stored(topic)) == 6000
