"""What goes in comes out, or is refused: values in every form, at the leader and at another node."""

from __future__ import annotations

import json
import random
import string
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from floodmark.format import batch as codec

from tests.http.conftest import Harness

RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
MSGPACK = {"Content-Type": "application/vnd.msgpack"}
BYTES = {"Content-Type": "application/octet-stream"}
NATIVE = [
    "null",
    "true",
    '""',
    "0",
    "-1",
    "-0.0",
    "1.50",
    "1e2",
    "0.1",
    "18446744073709551615",
    "-9223372036854775808",
    "9007199254740993",
    "1.7976931348623157e308",
    "5e-324",
    '"\\u00e9\\/\\ud83d\\ude00 : -0 1e400"',
    '{ "a" : [ 1 , {"b":"c:d"} ] , "" : {} }',
    '{"a":"\\u003a","b":[":",1]}',
]
"""In MessagePack as they are."""
AS_TEXT = [
    "1e400",
    "-1e400",
    "1e-400",
    "1e99999999999999999999",
    "-0",
    "[-0]",
    "0.1000000000000000055511151231257827",
    "1.00000000000000000001",
    "12345678901234567.0",
    "18446744073709551616",
    "-9223372036854775809",
    "9" * 4300,
    '{"a":1,"a":2}',
    '[{"x":{"b":1,"b":1}}]',
    '{"a":"x","a":":","b":"\\u003a"}',
]
"""In MessagePack as ``value_json``, since no number or map of it is the same."""


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1."""
    return 2


async def read_back(http: Harness, node: str) -> list[dict[str, Any]]:
    """All records as MessagePack has them; JSON, lines and events are compared with what lies in the log."""
    records = [record for item in http.cluster.logs["t", 0].frames for record in codec.decode(item.payload)]
    page = (await http.call("GET", RECORDS, node=node)).body
    lines = (await http.call("GET", RECORDS, node=node, headers={"Accept": "application/x-ndjson"})).body
    accept = {"Accept": "text/event-stream"}
    events = (await http.call("GET", f"{RECORDS}?max_records={len(records)}", node=node, headers=accept)).body
    rows = lines.splitlines()
    data = [line.removeprefix(b"data: ") for line in events.splitlines() if line.startswith(b"data: ")]
    assert len(rows) == len(data) == len(records)
    for record, row, event in zip(records, rows, data, strict=True):
        assert record.is_json
        told = b'"value":' + record.value
        assert told in page
        assert row.endswith(told + b"}")
        assert event == row
    packed = (await http.call("GET", RECORDS, node=node, headers={"Accept": MSGPACK["Content-Type"]})).body
    return list(msgpack.unpackb(packed)["records"])


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_a_json_value_comes_out_to_the_letter(http: Harness, node: str, path: str) -> None:
    """In every form of text; in MessagePack it is a native value if that says the same, else the text."""
    await http.make_topic()
    for texts in (NATIVE, AS_TEXT):
        for text in texts:
            answer = await http.call(
                "POST", path, node=node, data=f'{{"value":{text}}}'.encode(), headers=JSON
            )
            assert answer.status == 200, (text, answer)
    body = "\n".join(f'{{"value":{text}}}' for text in [*NATIVE, *AS_TEXT]).encode()
    assert (await http.call("POST", path, node=node, data=body, headers=NDJSON)).status == 200
    packed = await read_back(http, node)
    stored = [
        record.value.decode()
        for item in http.cluster.logs["t", 0].frames
        for record in codec.decode(item.payload)
    ]
    assert stored == [*NATIVE, *AS_TEXT] * 2
    for text, record in zip(stored, packed, strict=True):
        if text in AS_TEXT:
            assert record["value_json"] == text
            assert "value" not in record
        else:
            assert repr(record["value"]) == repr(json.loads(text))


def a_number(source: random.Random) -> str:
    """Short ones and such as no double and no integer of 64 bits can be."""
    digits = "".join(source.choices(string.digits, k=source.choice([1, 3, 17, 25]))).lstrip("0") or "0"
    fraction = source.choice(["", "", f".{source.randrange(10**6)}", ".10"])
    return (
        source.choice(["", "-"])
        + digits
        + fraction
        + source.choice(["", "", f"e{source.randint(-330, 330)}"])
    )


def a_value(source: random.Random, depth: int) -> str:
    """Nested, with names that may be there twice, and strings that look like what is searched for."""
    if depth == 0 or source.random() < 0.4:
        text = "".join(source.choices('ab:1e-0\u00e9"\\', k=5))
        return source.choice([a_number(source), json.dumps(text), "null"])
    inner = [a_value(source, depth - 1) for _ in range(source.randrange(4))]
    if source.random() < 0.5:
        return f"[{', '.join(inner)}]"
    return "{" + ",".join(f'"{source.choice("abcdef:")}":{item}' for item in inner) + "}"


def exactly(found: object) -> object:
    """A value that MessagePack brought, as the JSON parser below shows the text."""
    match found:
        case dict():
            return [(name, exactly(item)) for name, item in found.items()]
        case list():
            return [exactly(item) for item in found]
        case bool() | None | str():
            return found
        case _:
            return Decimal(repr(found))


@pytest.mark.parametrize("node", ["n1", "n2"])
async def test_random_json_is_the_same_in_messagepack_or_text(http: Harness, node: str) -> None:
    """From a printed seed; judged by exact decimals, and by a parser that shows every member."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    source = random.Random(seed)
    await http.make_topic()
    texts = [a_value(source, 3) for _ in range(300)]
    rows = ",".join('{"value":' + text + "}" for text in texts)
    body = ('{"records":[' + rows + "]}").encode()
    assert (await http.call("POST", RECORDS, node=node, data=body, headers=JSON)).status == 200
    native = 0
    for text, record in zip(texts, await read_back(http, node), strict=True):
        exact = json.loads(text, parse_float=Decimal, parse_int=Decimal, object_pairs_hook=list)
        if "value" in record:
            native += 1
            assert exactly(record["value"]) == exact, text
        else:
            assert record["value_json"] == text
    assert 50 < native < 300


DOUBLED = {
    "value": (JSON, b'{"value":1,"value":2}'),
    "value_b64": (JSON, b'{"value_b64":"AA==","value_b64":"AQ=="}'),
    "key": (JSON, b'{"key":"a","value":1,"key":"b"}'),
    "key, then null": (JSON, b'{"key":"b","value":1,"key":null}'),
    "key, written in two ways": (JSON, b'{"key":"a","value":1,"k\\u0065y":"b"}'),
    "key, with a colon in disguise": (JSON, b'{"key":"a","value":1,"key":"\\u003a"}'),
    "timestamp": (JSON, b'{"timestamp":1,"timestamp":"2026-01-31T10:00Z","value":1}'),
    "partition": (JSON, b'{"partition":0,"partition":0,"value":1}'),
    "a header": (JSON, b'{"value":1,"headers":{"a":"1","a":"2"}}'),
    "headers": (JSON, b'{"value":1,"headers":{},"headers":{"a":"2"}}'),
    "records": (JSON, b'{"records":[{"value":1}],"records":[{"value":2}]}'),
    "in the second record": (JSON, b'{"records":[{"value":{"key":":"}},{"value":2,"key":"a","key":"b"}]}'),
    "in the second line": (NDJSON, b'{"value":"a:b"}\n\n {"value":2,\r\n"value":3}'),
    "packed value": (MSGPACK, b"\x82\xa5value\x01\xa5value\x02"),
    "packed key": (MSGPACK, b"\x83\xa5value\x01\xa3key\xa1a\xd9\x03key\xa1b"),
    "in a packed value": (MSGPACK, b"\x81\xa5value\x91\x82\xa1a\x01\xa1a\x02"),
    "a packed header": (MSGPACK, b"\x82\xa5value\x01\xa7headers\x82\xa1a\xa1b\xa1a\xa1c"),
    "half of a character": (JSON, b'{"value":"\\ud800"}'),
    "half of a character in a name": (JSON, b'{"value":{"\\udc00x":1}}'),
    "beside records": (JSON, b'{"records":[{"value":1}],"key":"a"}'),
    "two keys in headers": ({**BYTES, "Record-Key": "a", "Record-Key-B64": "YQ=="}, b"v"),
    "a key in the head of JSON": ({**JSON, "Record-Key": "a"}, b'{"value":1}'),
    "a header in the head of lines": ({**NDJSON, "record-header-a": "a"}, b'{"value":1}'),
    "a time in the head of MessagePack": ({**MSGPACK, "Record-Timestamp": "1"}, b"\x81\xa5value\x01"),
    "a partition in the head of JSON": ({**JSON, "Record-Partition": "0"}, b'{"value":1}'),
}


@pytest.mark.parametrize("name", DOUBLED)
async def test_what_would_be_lost_is_refused(http: Harness, name: str) -> None:
    """One of the two would not be stored, and nobody would know; at both nodes, on both paths."""
    await http.make_topic()
    headers, body = DOUBLED[name]
    for node in ("n1", "n2"):
        for path in (RECORDS, ALL):
            answer = await http.call("POST", path, node=node, data=body, headers=headers)
            assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer
    assert http.cluster.logs["t", 0].next == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"key":null,"value":{"a":1,"a":2},"headers":null,"timestamp":null,"partition":null}',
        b'{"records":[{"key":"a:b","value":"\\u003a:"},{"key":null,"value":1,"headers":{":":":"}}]}',
        b'{"value":1,"timestamp":"2026-01-31T10:00:00+01:00","key_b64":"OjoO"}',
        b'{"records":null,"value":1}',
        b'{"value_b64":"Ojo6"}',
    ],
)
async def test_what_is_there_once_is_taken(http: Harness, body: bytes) -> None:
    """Colons in all places, nulls, and members within a value that are there twice."""
    await http.make_topic()
    answer = await http.call("POST", RECORDS, data=body, headers=JSON)
    assert answer.status == 200, answer


PACKED = [
    (b"\xca\x3d\xcc\xcc\xcd", "0.10000000149011612"),
    (b"\xcb\x80" + bytes(7), "-0.0"),
    (b"\xcf" + b"\xff" * 8, "18446744073709551615"),
    (b"\xd3\x80" + bytes(7), "-9223372036854775808"),
    (b"\xcb\x44\x15\xaf\x1d\x78\xb5\x8c\x40", "1e20"),
    (b"\xa3a\xc3\xa9", '"a\u00e9"'),
    (b"\x82\xa1a\xc0\xa0\x90", '{"a":null,"":[]}'),
]


async def test_a_packed_value_becomes_the_json_that_says_the_same(http: Harness) -> None:
    """Single floats by their exact value, signs of zero, 64-bit integers; and comes back as it was."""
    await http.make_topic()
    for raw, _ in PACKED:
        for node in ("n1", "n2"):
            body = b"\x81\xa5value" + raw
            assert (await http.call("POST", RECORDS, node=node, data=body, headers=MSGPACK)).status == 200
    packed = await read_back(http, "n2")
    stored = [codec.decode(item.payload)[0].value.decode() for item in http.cluster.logs["t", 0].frames]
    assert stored == [text for _, text in PACKED for _ in range(2)]
    assert [repr(record["value"]) for record in packed] == [
        repr(msgpack.unpackb(raw)) for raw, _ in PACKED for _ in range(2)
    ]
