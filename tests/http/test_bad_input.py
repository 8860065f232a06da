"""Nothing that a client sends may cause a 5xx: bodies and parameters."""

from __future__ import annotations

import gzip
import io
import struct
import zlib

import google_crc32c
import pytest
from floodmark.format import batch
from floodmark.format.record import Record

from node.request_limits import RequestLimits
from tests.http.conftest import Harness

RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
MSGPACK = {"Content-Type": "application/vnd.msgpack"}
BATCH = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
BYTES = {"Content-Type": "application/octet-stream"}

DEEP = b'{"value":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BAD_BODIES = {
    "json nested 100,000 deep": (JSON, DEEP),
    "json nested 33 deep": (JSON, b'{"value":' + b'[{"a":' * 16 + b"[1]" + b"}]" * 16 + b"}"),
    "a number of 900,000 digits": (JSON, b'{"value":' + b"9" * 900_000 + b"}"),
    "a number of 900,000 digits as timestamp": (JSON, b'{"value":1,"timestamp":' + b"9" * 900_000 + b"}"),
    "a number of 900,000 digits as partition": (JSON, b'{"value":1,"partition":' + b"9" * 900_000 + b"}"),
    "bad utf-8 in a value": (JSON, b'{"value":"\xff"}'),
    "bad utf-8 in a key": (JSON, b'{"value":1,"key":"\xff"}'),
    "bad utf-8 in a line": (NDJSON, b'{"value":"\xc3"}\n'),
    "a lone surrogate as key": (JSON, b'{"value":1,"key":"\\ud800"}'),
    "NaN": (JSON, b'{"value":NaN}'),
    "Infinity": (JSON, b'{"value":-Infinity}'),
    "a control character": (JSON, b'{"value":"\x01"}'),
    "no value": (JSON, b'{"key":"a"}'),
    "two values": (JSON, b'{"value":1,"value_b64":"AA=="}'),
    "two keys": (JSON, b'{"value":1,"key":"a","key_b64":"AA=="}'),
    "an unknown member": (JSON, b'{"value":1,"vlaue":2}'),
    "no base64": (JSON, b'{"value_b64":"!"}'),
    "no records": (JSON, b'{"records":[]}'),
    "records and a value": (JSON, b'{"records":[{"value":1}],"value":1}'),
    "an empty body": (JSON, b""),
    "an array": (JSON, b"[1]"),
    "a time of no calendar": (JSON, b'{"value":1,"timestamp":"2013-13-01"}'),
    "a time past all calendars": (JSON, b'{"value":1,"timestamp":999999999999999}'),
    "a negative partition": (JSON, b'{"value":1,"partition":-1}'),
    "headers that are no text": (JSON, b'{"value":1,"headers":{"a":1}}'),
    "65 headers": (JSON, b'{"value":1,"headers":{%b}}' % b",".join(b'"%d":""' % n for n in range(65))),
    "an empty line body": (NDJSON, b"\n\n"),
    "half a line": (NDJSON, b'{"value":1}\n{"value"'),
    "msgpack too deep": (MSGPACK, b"\x81\xa5value" + b"\x91" * 100_000),
    "msgpack 33 deep": (MSGPACK, b"\x81\xa5value" + b"\x91" * 33 + b"\x01"),
    "msgpack that claims 4 billion elements": (MSGPACK, b"\x81\xa7records\xdd\xff\xff\xff\xff"),
    "msgpack that claims 4 billion pairs": (MSGPACK, b"\x81\xa5value\xdf\xff\xff\xff\xff"),
    "msgpack that claims 4 GB of text": (MSGPACK, b"\x81\xa5value\xdb\xff\xff\xff\xff"),
    "a msgpack extension": (MSGPACK, b"\x81\xa5value\xd4\x01\x01"),
    "a msgpack timestamp": (MSGPACK, b"\x81\xa5value\xd6\xff\x00\x00\x00\x01"),
    "msgpack nan": (MSGPACK, b"\x81\xa5value\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    "msgpack keys that are numbers": (MSGPACK, b"\x81\xa5value\x81\x01\x01"),
    "msgpack bytes inside of a value": (MSGPACK, b"\x81\xa5value\x91\xc4\x01a"),
    "msgpack with bad utf-8": (MSGPACK, b"\x81\xa5value\xa1\xff"),
    "msgpack with something behind": (MSGPACK, b"\x81\xa5value\x01\x01"),
    "an unused msgpack byte": (MSGPACK, b"\xc1"),
    "a key in broken base64": ({**BYTES, "Record-Key-B64": "!"}, b"x"),
    "a raw record with a false time": ({**BYTES, "Record-Timestamp": "soon"}, b"x"),
    "a raw record with a false partition": ({**BYTES, "Record-Partition": "-1"}, b"x"),
    "a sequence without a producer": ({**JSON, "Producer-Seq": "1"}, b'{"value":1}'),
    "a producer without a sequence": ({**JSON, "Producer-Id": "p"}, b'{"value":1}'),
    "a negative sequence": ({**JSON, "Producer-Id": "p", "Producer-Seq": "-1"}, b'{"value":1}'),
    "a huge sequence": ({**JSON, "Producer-Id": "p", "Producer-Seq": str(1 << 63)}, b'{"value":1}'),
    "a huge epoch": (
        {**JSON, "Producer-Id": "p", "Producer-Seq": "0", "Producer-Epoch": str(1 << 32)},
        b'{"value":1}',
    ),
    "a condition on offset -1": ({**JSON, "If-Offset": "-1"}, b'{"value":1}'),
    "a condition on offset 2^63": ({**JSON, "If-Offset": str(1 << 63)}, b'{"value":1}'),
    "no gzip": ({**JSON, "Content-Encoding": "gzip"}, b"{}"),
    "half a gzip": ({**JSON, "Content-Encoding": "gzip"}, gzip.compress(b'{"value":1}')[:-9]),
    "gzip with something behind": (
        {**JSON, "Content-Encoding": "gzip"},
        gzip.compress(b'{"value":1}') + b"x",
    ),
    "no deflate": ({**JSON, "Content-Encoding": "deflate"}, b"\xff\xff\xff"),
}


@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_bad_bodies_are_400_and_store_nothing(http: Harness, path: str) -> None:
    """Every one of the table, on both endpoints, and the server lives on."""
    await http.make_topic()
    for name, (headers, body) in BAD_BODIES.items():
        answer = await http.call("POST", path, data=body, headers=headers)
        assert answer.status == 400, (name, answer.status, answer.body[:300])
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await http.call("GET", RECORDS)).json["high_watermark"] == 0
    assert http.broker.budget.used == 0


def _damaged() -> dict[str, bytes]:
    good = batch.encode([Record(5, b"k", b"value"), Record(6, None, b"1", is_json=True)])

    def resealed(position: int, replacement: bytes) -> bytes:
        changed = bytearray(good)
        changed[position : position + len(replacement)] = replacement
        changed[8:12] = struct.pack("<I", google_crc32c.value(bytes(changed[12:])))
        return bytes(changed)

    bomb = batch.encode([Record(0, None, bytes(1 << 19))], codec=batch.CODEC_ZSTD)
    return {
        "empty": b"",
        "truncated": good[:-1],
        "only a header": good[: batch.HEADER_BYTES],
        "half a header": good[:40],
        "something behind": good + b"\x00",
        "a flipped bit": good[:-1] + bytes([good[-1] ^ 1]),
        "another magic": b"FMB9" + good[4:],
        "a false count": resealed(16, struct.pack("<I", 3)),
        "no records": resealed(16, struct.pack("<I", 0)),
        "4 billion records": resealed(16, b"\xff\xff\xff\xff"),
        "an unknown codec": resealed(12, b"\x07"),
        "zstd that is none": resealed(12, b"\x01"),
        "a false first time": resealed(24, struct.pack("<q", 9)),
        "a false last time": resealed(32, struct.pack("<q", -9)),
        "a reserved byte": resealed(13, b"\x01"),
        "zstd that grows": bomb[:20] + struct.pack("<I", 10) + bomb[24:],
    }


@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_damaged_batches_are_400(http: Harness, path: str) -> None:
    """A batch is checked before it is stored: nobody could repair it later."""
    await http.make_topic()
    for name, body in _damaged().items():
        answer = await http.call("POST", path, data=body, headers=BATCH)
        assert (answer.status, answer.json["code"]) == (400, "invalid_batch"), name
    good = batch.encode([Record(5, None, b"x")])
    twice = await http.call("POST", RECORDS, data=good, headers={**BATCH, "Producer-Id": "p"})
    assert twice.status == 400


async def test_random_bytes_are_never_a_defect(http: Harness) -> None:
    """Random bodies of every media type, from a printed seed."""
    import random

    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    source = random.Random(seed)
    await http.make_topic()
    for _ in range(200):
        headers = source.choice([JSON, NDJSON, MSGPACK, BATCH])
        answer = await http.call("POST", ALL, data=source.randbytes(source.randrange(80)), headers=headers)
        assert answer.status < 500, (headers, answer.body)


class TestSmallServer:
    """Bounds, on a server with small ones."""

    @pytest.fixture
    def settings(self) -> RequestLimits:
        """64 KiB bodies."""
        return RequestLimits(body_bytes_max=64 << 10)

    async def test_bombs_and_large_bodies_are_413(self, http: Harness) -> None:
        """By their length, without one, and after decompression; nothing stays counted."""
        await http.make_topic()
        large = b'{"value": "' + b"x" * (20 << 20) + b'"}'

        async def chunks() -> object:
            for begin in range(0, 1 << 20, 1 << 16):
                yield large[begin : begin + (1 << 16)]

        gzipped, zipped = {**JSON, "Content-Encoding": "gzip"}, {**JSON, "Content-Encoding": "deflate"}
        for data, headers in (
            (io.BytesIO(large[: 128 << 10]), JSON),
            (chunks(), JSON),
            (gzip.compress(large), gzipped),
            (zlib.compress(large), zipped),
        ):
            answer = await http.call("POST", RECORDS, data=data, headers=headers)
            assert (answer.status, answer.json["code"]) == (413, "too_large")
        assert http.broker.budget.used == 0

    async def test_a_record_above_the_topics_limit_is_413(self, http: Harness) -> None:
        """Measured as key, value and headers together, in every form."""
        await http.call("PUT", "/v1/topics/t", json={"config": {"max_record_bytes": 100}})
        made = batch.encode([Record(0, None, bytes(101))])
        bodies = ((JSON, b'{"value": "%b"}' % (b"x" * 99)), (BYTES, bytes(101)), (BATCH, made))
        for headers, body in bodies:
            answer = await http.call("POST", RECORDS, data=body, headers=headers)
            assert (answer.status, answer.json["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=-1.5", 400),
        ("from=", 400),
        ("from=now", 400),
        ("from=%00", 400),
        ("from=%ff", 400),
        ("from=9223372036854775808", 400),
        ("from=99999999999999999999999999", 400),
        ("from=9223372036854775807", 416),
        ("from=@", 400),
        ("from=@2013-99-99", 400),
        ("from=@99999999999999999999", 400),
        ("from=-99999999999999999999999", 400),
        ("from=-9999999999999999999", 200),
        ("from=1&from=2", 400),
        ("frm=1", 400),
        ("max_bytes=0", 400),
        ("max_bytes=-1", 400),
        ("max_bytes=99999999999999999999999999", 200),
        ("max_records=9999999999", 200),
        ("max_records=1e3", 400),
        ("max_records=%D9%A1", 400),
        ("wait=5", 400),
        ("wait=-1s", 400),
        ("wait=1e9s", 400),
        ("follow=yes", 400),
    ],
)
async def test_bad_parameters_of_a_read(http: Harness, query: str, status: int) -> None:
    """What has no meaning is 400; what is only too much is cut."""
    await http.make_topic()
    await http.call("POST", RECORDS, json={"value": 1})
    answer = await http.call("GET", f"{RECORDS}?{query}", params=None)
    assert answer.status == status, answer.body


async def test_a_huge_wait_is_cut(http: Harness) -> None:
    """It is taken, and ends as soon as there is something."""
    import asyncio

    await http.make_topic()
    waiting = asyncio.create_task(http.call("GET", RECORDS + "?wait=999999999999h"))
    await http.cluster.logs["t", 0].awaited()
    await http.call("POST", RECORDS, json={"value": 1})
    assert (await waiting).status == 200


@pytest.mark.parametrize("query", ["acks=all", "acks=", "timeout=0", "timeout=10", "timeout=x", "ack=none"])
async def test_bad_parameters_of_a_produce(http: Harness, query: str) -> None:
    """400, and nothing is stored."""
    await http.make_topic()
    for path in (RECORDS, ALL):
        assert (await http.call("POST", f"{path}?{query}", json={"value": 1})).status == 400
    assert (await http.call("GET", RECORDS)).json["high_watermark"] == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/topics/..%2fx", 400),
        ("/v1/topics/%2e%2e", 400),
        ("/v1/topics/a%2Fb", 400),
        ("/v1/topics/a%00b", 400),
        ("/v1/topics/%ff", 400),
        ("/v1/topics/" + "a" * 250, 400),
        ("/v1/topics/" + "a" * 249, 404),
        ("/v1/topics/a b", 400),
        ("/v1/topics/%E2%82%AC", 400),
        ("/v1/topics/a%0d%0aX:y", 400),
        ("/v1/topics/t/partitions/-1/records", 400),
        ("/v1/topics/t/partitions/x/records", 400),
        ("/v1/topics/t/partitions/1/records", 404),
        ("/v1/topics/t/partitions/99999999999999999999/records", 400),
        ("/v1/topics/t/partitions/9223372036854775807/records", 404),
        ("/v1/topics?prefix=%00", 400),
        ("/v1/topics?limit=0", 400),
        ("/v1/", 404),
        ("//", 404),
    ],
)
async def test_bad_paths(http: Harness, path: str, status: int) -> None:
    """A name is checked as it is meant, not as it was written."""
    await http.make_topic()
    head = f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = await http.raw(head.encode())
    assert answer.split(b" ")[1] == b"%d" % status, answer


async def test_a_method_override_is_ignored(http: Harness) -> None:
    """The method is the request line's, whatever headers or parameters say."""
    await http.make_topic()
    headers = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
    assert (await http.call("GET", "/v1/topics/t", headers=headers)).status == 200
    assert (await http.call("GET", "/v1/topics/t?_method=DELETE")).status == 400
    assert (await http.call("GET", "/v1/topics/t")).status == 200
    refused = await http.call("POST", "/v1/topics/t", headers=headers)
    assert (refused.status, refused.headers["Allow"]) == (405, "DELETE, GET, HEAD, PATCH, PUT")
