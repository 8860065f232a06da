"""What may be handed over as a value, a key, a time or headers, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from floodmark.errors import InvalidName, InvalidRequest
from floodmark.format.names import check_name
from floodmark.format.record import Record
from floodmark.format.values import record_of, records_of, timestamp_of


@dataclasses.dataclass
class Order:
    """Something of a user's own."""

    number: int


@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bytes_are_stored_as_they_are(value: Any) -> None:
    """Every kind of bytes becomes opaque bytes."""
    record = record_of(value)
    assert (record.value, record.is_json) == (b"x", False)
    assert type(record.value) is bytes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", b'"x"'),
        (1, b"1"),
        (None, b"null"),
        (True, b"true"),
        ("ü", '"ü"'.encode()),
        ([1, 2.5], b"[1,2.5]"),
        ({"a": {}}, b'{"a":{}}'),
        (Order(3), b'{"number":3}'),
    ],
)
def test_everything_else_is_json(value: Any, text: bytes) -> None:
    """Plain values, containers and dataclasses become the text of a JSON document."""
    record = record_of(value, timestamp=1)
    assert (record.value, record.is_json) == (text, True)


@pytest.mark.parametrize("value", [object(), {1, object()}, "\ud800"])
def test_what_has_no_json_is_refused(value: Any) -> None:
    """An object that JSON cannot carry raises InvalidRequest, before anything is sent."""
    with pytest.raises(InvalidRequest):
        record_of(value)


def test_keys_and_headers_are_text() -> None:
    """Text keys become UTF-8; other types and lone surrogates are refused."""
    assert record_of(b"", key="ü").key == "ü".encode()
    assert record_of(b"", key=b"\xff", headers={"a": "b"}).headers == {"a": "b"}
    bad: list[dict[str, Any]] = [
        {"key": 5},
        {"key": "\ud800"},
        {"headers": {"a": 1}},
        {"headers": {"\ud800": ""}},
    ]
    for options in bad:
        with pytest.raises(InvalidRequest):
            record_of(b"", **options)


def test_times_are_moments() -> None:
    """Milliseconds and datetimes with a zone agree; a datetime without one, text and floats are refused."""
    moment = dt.datetime(2013, 1, 1, 10, 15, tzinfo=dt.UTC)
    assert timestamp_of(moment) == timestamp_of(1357035300000) == 1357035300000
    assert timestamp_of(None) > 1357035300000
    bad: list[Any] = [dt.datetime(2013, 1, 1, 10, 15), "2013-01-01", 1.5, 1 << 63]  # noqa: DTZ001
    for value in bad:
        with pytest.raises(InvalidRequest):
            timestamp_of(value)


def test_many_values_are_all_or_nothing() -> None:
    """One bad value or a missing key refuses the whole list."""
    assert records_of([b"a", {"b": 1}], ["k", None], 5) == [
        Record(5, b"k", b"a"),
        Record(5, None, b'{"b":1}', is_json=True),
    ]
    assert records_of([b"a", 1], None, 5)[1] == Record(5, None, b"1", is_json=True)
    with pytest.raises(InvalidRequest):
        records_of([b"a", object()], None, None)
    with pytest.raises(InvalidRequest):
        records_of([b"a", b"b"], ["k"], None)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ü", "a" * 250, "a\n", "%2e"])
def test_names_that_are_none_never_leave(name: str) -> None:
    """What cannot be a topic is refused here, so it cannot mean another path."""
    with pytest.raises(InvalidName):
        check_name(name)


def test_names_that_are_some() -> None:
    """Letters, digits, dot, underscore and dash, up to 249."""
    for name in ("a", "a.b_c-D9", "...", "a" * 249):
        assert check_name(name) == name
