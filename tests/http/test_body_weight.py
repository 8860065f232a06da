"""Counting what is in a body without building it, and taking a compressed one apart in pieces."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from typing import Any

import msgspec
import pytest
from floodmark.errors import InvalidRequest, TooLarge, Unavailable
from hypothesis import given
from hypothesis import strategies as st

from node.broker import Appended
from node.http import body_weight, topic_report
from node.http.body import Inflation
from node.http.context import HttpContext
from node.http.json_guard import brackets_of, outside_strings
from node.http.media import Media

STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
texts = st.text(alphabet='"\\[]{}:, \né1', max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=20,
)
records = st.lists(st.fixed_dictionaries({"value": values}, optional={"key": texts}), max_size=8)


def told(media: Media, body: bytes, limit: int) -> int | None:
    """The number that a body is refused for where so many records are allowed; None when it is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_weight, "BATCH_RECORDS_MAX", limit)
        try:
            body_weight.check_count(media, body)
        except TooLarge as error:
            return int(error.detail.split()[0])
    return None


@given(
    records=records, limit=st.integers(1, 8), indent=st.none() | st.integers(0, 2), ascii_only=st.booleans()
)
def test_records_are_counted_exactly(
    records: list[dict[str, Any]], limit: int, indent: int | None, *, ascii_only: bool
) -> None:
    """Whatever brackets their values have, in strings and around them, however the text is laid out."""
    expected = len(records) if len(records) > limit else None
    envelope = {"records": records}
    text = json.dumps(envelope, indent=indent, ensure_ascii=ascii_only).encode()
    assert told(Media.JSON, text, limit) == expected
    lines = b"\n".join(json.dumps(record, ensure_ascii=ascii_only).encode() for record in records)
    assert told(Media.NDJSON, lines, limit) == expected
    assert told(Media.MSGPACK, msgspec.msgpack.encode(envelope), limit) == expected


@given(value=values)
def test_one_bare_record_is_one_whatever_it_holds(value: Any) -> None:
    """Its own arrays and objects are no records."""
    for media, encode in ((Media.JSON, json.dumps), (Media.MSGPACK, msgspec.msgpack.encode)):
        body = encode({"value": value})  # type: ignore[operator]
        assert told(media, body if isinstance(body, bytes) else body.encode(), 1) is None


@given(value=values, ascii_only=st.booleans())
def test_brackets_in_strings_are_no_brackets(value: Any, *, ascii_only: bool) -> None:
    """The quick way agrees with a careful one."""
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    without = STRING.sub(b"", text)
    assert outside_strings(text) == without
    assert brackets_of(text) == bytes(byte for byte in without if byte in b"[]{}")


@pytest.mark.parametrize(
    ("media", "body", "heavy"),
    [
        (Media.JSON, b'{"records":[' + b",".join([b'{"value":1}'] * 1000) + b"]}", False),
        (Media.JSON, b'{"records":[' + b",".join([b'{"value":1}'] * 5000) + b"]}", False),
        (Media.JSON, b'{"records":[' + b",".join([b'{"value":1}'] * 6000) + b"]}", True),
        (Media.JSON, b'{"value":"' + b"x" * 1_000_000 + b'"}', False),
        (Media.JSON, b'{"value":"' + b"x" * (1 << 20) + b'"}', True),
        (Media.JSON, b'{"value":"' + b'\\"' * 40_000 + b'"}', True),
        (
            Media.JSON,
            b'{"value":1,"headers":{' + b",".join(b'"%d":""' % n for n in range(12_000)) + b"}}",
            True,
        ),
        (Media.NDJSON, b'{"value":1}\n' * 6000, True),
        (Media.MSGPACK, bytes(16 << 10), False),
        (Media.MSGPACK, bytes((16 << 10) + 1), True),
        (Media.BYTES, bytes(8 << 20), False),
    ],
)
def test_what_is_heavy(media: Media, body: bytes, *, heavy: bool) -> None:
    """By what it costs, not by its size alone."""
    assert body_weight.is_heavy(media, body) is heavy


def inflated(body: bytes, encoding: str, cap: int, at_once: int) -> bytes:
    """As the server does it."""
    inflation = Inflation(body, encoding, cap)
    begun = inflation.begin(at_once)
    return inflation.finish() if begun is None else begun


@given(data=st.binary(max_size=300), at_once=st.integers(1, 200), cap=st.integers(1, 400))
def test_a_compressed_body_comes_out_whole_or_is_too_large(data: bytes, at_once: int, cap: int) -> None:
    """Wherever it is taken apart, and no byte above the cap is made."""
    bare = zlib.compressobj(wbits=-15)
    forms = {
        "gzip": gzip.compress(data),
        "deflate": zlib.compress(data),
        " deflate": bare.compress(data) + bare.flush(),
    }
    for encoding, body in forms.items():
        if len(data) > cap:
            with pytest.raises(TooLarge):
                inflated(body, encoding.strip(), cap, at_once)
            continue
        assert inflated(body, encoding.strip(), cap, at_once) == data
        for broken in (body[:-1], body + b"\0"):
            with pytest.raises((InvalidRequest, TooLarge)):
                inflated(broken, encoding.strip(), cap, at_once)


async def test_a_long_report_lets_others_have_their_turn(http_context: HttpContext) -> None:
    """A slice of rows, then whoever else waits; stored and failed records mixed, each with its place."""
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    count = 5 * topic_report.ROWS_AT_ONCE
    places = [number % 3 for number in range(count)]
    outcomes = {0: Appended(7, 7 + count, 0), 1: Unavailable("not stored: gone"), 2: Appended(-1, -1, 0)}
    answer = await topic_report.answer(http_context, places, outcomes)
    counting.cancel()
    assert turns >= 4
    assert answer.status == 207
    assert isinstance(answer.body, bytes)
    rows = json.loads(answer.body)["records"]
    assert [row["partition"] for row in rows] == places
    assert [row["offset"] for row in rows[::3]] == list(range(7, 7 + len(rows[::3])))
    assert {row["error"]["code"] for row in rows[1::3]} == {"unavailable"}
    assert {row["offset"] for row in rows[2::3]} == {-1}
