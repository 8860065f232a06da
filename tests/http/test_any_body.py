"""Bodies of all kinds: whatever comes, it is records or a refusal; and what was shown is taken back."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from floodmark.errors import FloodmarkError
from floodmark.format import batch
from floodmark.format.record import Record
from hypothesis import given, settings
from hypothesis import strategies as st

from node.http.body_weight import check_count, is_heavy
from node.http.media import Media
from node.http.packing import Order, pack
from node.http.records_in import Reading, read_records
from node.http.records_out import json_line, json_record, msgpack_record
from node.http.statuses import status_of
from node.service.division import Division

NO_HEAD: Any = SimpleNamespace(headers={}, raw_headers=())
NOW = 1_700_000_000_000
SHAPED = (Media.JSON, Media.NDJSON, Media.MSGPACK)
MEMBERS = ["key", "key_b64", "value", "value_b64", "value_json", "tombstone", "headers", "headers_list"]
MEMBERS += ["timestamp", "partition", "offset", "append_time", "error", "records", "next_offset", "cursor"]
MEMBERS += ["left_out", "other"]

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
pairs = st.lists(
    st.lists(scalars | st.dictionaries(st.just("b64"), scalars, max_size=1), max_size=3), max_size=3
)
anything = st.recursive(
    scalars | pairs,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
right = {
    "key": st.text(max_size=3),
    "value": anything,
    "value_b64": st.sampled_from(["AA==", "", "!"]),
    "value_json": st.sampled_from(["1", "{", '{"a":1e400}', "[" * 40]),
    "tombstone": st.booleans(),
    "headers": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    "headers_list": st.lists(
        st.tuples(st.text(max_size=2), st.none() | st.text(max_size=2) | st.just({"b64": "/w=="})), max_size=4
    ),
    "timestamp": st.integers(-(2**64), 2**64) | st.sampled_from(["2026-01-31", "1", "soon"]),
}
a_member = st.sampled_from(MEMBERS).flatmap(
    lambda name: st.tuples(st.just(name), right.get(name, scalars) | anything)
)
a_record = st.lists(a_member, max_size=5).map(dict)
a_body = a_record | st.builds(
    lambda records, more: {**more, "records": records}, st.lists(a_record, max_size=3), a_record
)
readings = st.builds(
    Reading,
    st.just(NOW),
    st.sampled_from([10, 1 << 20]),
    st.sampled_from([1, 2]),
    st.booleans(),
)


def _encoded(media: Media, body: Any, noise: bytes, at: int) -> bytes:
    """The body, with some bytes put into it."""
    if media is Media.MSGPACK:
        try:
            text = msgpack.packb(body)
        except OverflowError:
            text = b"\xdf"
    elif media is Media.NDJSON and isinstance(body.get("records"), list):
        text = b"\n".join(json.dumps(item).encode() for item in body["records"])
    else:
        text = json.dumps(body).encode()
    at %= len(text) + 1
    return text[:at] + noise + text[at:]


def _judge(media: Media, body: bytes, reading: Reading) -> None:
    """Records that a batch of the cluster's format holds, or a refusal of the client's."""
    try:
        check_count(media, body)
        is_heavy(media, body)
        found = read_records(NO_HEAD, media, body, reading)
        pack(Order(media, reading, division=Division(partitions=3)), body)
    except FloodmarkError as error:
        refusal = status_of(type(error))
    else:
        refusal = None
    if refusal is not None:
        assert 400 <= refusal < 500
        return
    stored = batch.encode([item.record for item in found], format=reading.batch_format)
    again = batch.decode(stored)
    for item, record in zip(found, again, strict=True):
        assert record is not None
        assert (record.key, record.value, record.is_json) == (
            item.record.key, item.record.value, item.record.is_json,
        )  # fmt: skip
        assert list(record.headers.pairs) == list(item.record.headers.pairs)


@settings(max_examples=600, deadline=None, print_blob=True)
@given(st.sampled_from(SHAPED), a_body, st.just(b"") | st.binary(max_size=2), st.integers(0, 200), readings)
def test_any_body_is_records_or_a_refusal(
    media: Media, body: Any, noise: bytes, at: int, reading: Reading
) -> None:
    """Never anything else, whatever stands in it."""
    _judge(media, _encoded(media, body, noise, at), reading)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(st.sampled_from(SHAPED), st.binary(max_size=40), readings)
def test_any_bytes_are_records_or_a_refusal(media: Media, body: bytes, reading: Reading) -> None:
    """Also what is no text and no MessagePack."""
    _judge(media, body, reading)


values = st.one_of(
    st.tuples(st.none(), st.just(False)),
    st.tuples(st.binary(max_size=5), st.just(False)),
    st.tuples(anything.map(lambda value: json.dumps(value, allow_nan=True).encode()), st.just(True)),
).filter(lambda pair: not pair[1] or (b"NaN" not in pair[0] and b"Infinity" not in pair[0]))
records = st.builds(
    lambda time, key, value, headers: Record(time, key, *value, headers or None),
    st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    st.none() | st.binary(max_size=4) | st.text(max_size=3).map(str.encode),
    values,
    st.lists(
        st.tuples(
            st.text(max_size=2), st.none() | st.binary(max_size=3) | st.text(max_size=2).map(str.encode)
        ),
        max_size=4,
    ),
)


@pytest.mark.parametrize("form", ["record", "lines", "packed"])
@settings(max_examples=400, deadline=None, print_blob=True)
@given(record=records, offset=st.integers(0, 2**63 - 1))
def test_what_is_shown_is_taken_back(form: str, record: Record, offset: int) -> None:
    """With mode=copy: the same record. Native values of MessagePack say the same in other words."""
    media, encode = {
        "record": (Media.JSON, json_record),
        "lines": (Media.NDJSON, json_line),
        "packed": (Media.MSGPACK, msgpack_record),
    }[form]
    shown = encode(1, offset, "2026-01-31T10:00:00.000Z", record)
    reading = Reading(NOW, 1 << 20, 2, copies=True)
    (found,) = read_records(NO_HEAD, media, shown, reading)
    taken = found.record
    if form == "packed" and record.is_json and taken.is_json:
        assert record.value is not None
        assert taken.value is not None
        assert json.loads(taken.value) == json.loads(record.value)
    else:
        assert (taken.value, taken.is_json) == (record.value, record.is_json)
    assert (taken.timestamp, taken.key, found.partition) == (record.timestamp, record.key, 1)
    assert list(taken.headers.pairs) == list(record.headers.pairs)
