"""What produce makes of its input."""

from __future__ import annotations

import io

import pytest

from cli.exits import Failure
from cli.produce_input import Shape, format_of, read_records, timestamp_ms


def _values(text: bytes, format_: str, shape: Shape | None = None) -> list[bytes]:
    inputs = read_records(io.BytesIO(text), source="in", format_=format_, shape=shape or Shape())
    return [one.record.value for one in inputs]


def test_raw_lines_are_kept_byte_for_byte() -> None:
    """Bytes that are no text survive, and a last line needs no newline."""
    assert _values(b"a\n\n\xff\x00 b", "raw") == [b"a", b"", b"\xff\x00 b"]


def test_json_lines_are_kept_to_the_letter() -> None:
    """Spacing and digits inside a value stay as they were written; blank lines are no records."""
    assert _values(b'{"a" : 1.10}\n\n  7 \n', "jsonl") == [b'{"a" : 1.10}', b"7"]


def test_a_json_array_is_one_record_per_element() -> None:
    """Elements keep their own text."""
    assert _values(b'[{"a": 1.10}, [2], "x"]', "json") == [b'{"a": 1.10}', b"[2]", b'"x"']


def test_a_json_document_that_is_no_array_is_one_record() -> None:
    """It may span many lines."""
    assert _values(b'{\n "a": 1\n}\n', "json") == [b'{\n "a": 1\n}']


def test_csv_rows_become_objects_named_by_the_header() -> None:
    """Quoted fields may hold commas and newlines; a byte order mark is not part of a name."""
    assert _values(b'\xef\xbb\xbfa,b\n1,"x,\ny"\n', "csv") == [b'{"a":"1","b":"x,\\ny"}']


@pytest.mark.parametrize(
    ("text", "format_", "says"),
    [
        (b'{"a":1}\nnope\n', "jsonl", "in: line 2:"),
        (b"[1,", "json", "in:"),
        (b"\xff\n", "jsonl", "in: line 1:"),
        (b"NaN\n", "jsonl", "in: line 1:"),
        (b"a,b\n1,2\n1\n", "csv", "in: line 3: 1 fields, but the header names 2"),
        (b"a,b\n1,2,3\n", "csv", "in: line 2: 3 fields, but the header names 2"),
        (b"id,amount,amount\n1,10,EUR\n", "csv", "in: line 1: columns 2 and 3 are both named 'amount'"),
        (b",a\n1,2\n", "csv", "in: line 1: column 1 has no name"),
        (b"\n1,2\n", "csv", "in: line 1 is empty"),
        (b'a\n"x\n', "csv", "in: line 2:"),
    ],
)
def test_bad_input_is_reported_with_its_line(text: bytes, format_: str, says: str) -> None:
    """The message says where to look."""
    with pytest.raises(Failure) as caught:
        _values(text, format_)
    assert says in caught.value.message


def test_key_and_time_come_from_fields() -> None:
    """Numbers become their JSON text as keys; times without a zone are UTC."""
    shape = Shape(key_field="id", timestamp_field="at", headers=[("h", "v")])
    (one,) = read_records(
        io.BytesIO(b'{"id":7,"at":"2013-01-01T10:15:00"}'), source="in", format_="jsonl", shape=shape
    )
    assert (one.record.key, one.record.timestamp, one.record.headers) == (b"7", 1357035300000, {"h": "v"})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'{"id": 0.1000000000000000055511151231257827}', b"0.1000000000000000055511151231257827"),
        (b'{"id":1e400}', b"1e400"),
        (b'{"id":"\\u00fc"}', "ü".encode()),
        (b'{"id":[1, 2]}', b"[1, 2]"),
    ],
)
def test_a_key_from_a_field_loses_no_digit(value: bytes, key: bytes) -> None:
    """A number is its text, also beyond a double."""
    (one,) = read_records(io.BytesIO(value), source="in", format_="jsonl", shape=Shape(key_field="id"))
    assert (one.record.key, one.record.value) == (key, value)


@pytest.mark.parametrize("value", [b"7", b"[1]", b'"id"', b'{"id":null}', b"{}"])
def test_a_value_without_the_key_field_is_refused(value: bytes) -> None:
    """Whatever else it is."""
    with pytest.raises(Failure, match="in: line 1: "):
        _values(value, "jsonl", Shape(key_field="id"))


def test_numbers_beyond_a_double_go_in() -> None:
    """To the letter, as over HTTP."""
    value = b'[1e400, -0, {"a":1,"a":2}]'
    assert _values(value, "jsonl") == [value]
    assert _values(value, "json") == [b"1e400", b"-0", b'{"a":1,"a":2}']


def test_a_large_field_of_csv_goes_in() -> None:
    """The limit is the record's, not the reader's."""
    assert len(_values(b"a\n" + b"x" * 500_000 + b"\n", "csv")[0]) == 500_000 + len('{"a":""}')


def test_an_argument_is_a_key_to_the_byte() -> None:
    """Also when its bytes are no UTF-8, as Python hands them over."""
    shape = Shape(key=b"\xff\xfe".decode(errors="surrogateescape"))
    (one,) = read_records(io.BytesIO(b"1"), source="in", format_="jsonl", shape=shape)
    assert one.record.key == b"\xff\xfe"


def test_a_missing_key_field_names_line_and_field() -> None:
    """Rather than sending a record to a random partition."""
    with pytest.raises(Failure, match="in: line 2: there is no field 'id'"):
        _values(b'{"id":1}\n{"x":1}\n', "jsonl", Shape(key_field="id"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2013-01-01T10:15:00.001Z", 1357035300001),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
        ("2013-01-01T10:15:00Z", 1357035300000),
        ("2013-01-01T05:15:00-05:00", 1357035300000),
        ("1357035300000", 1357035300000),
        ("-1", -1),
    ],
)
def test_times_in_all_forms(value: str, expected: int) -> None:
    """ISO 8601 with a zone, and milliseconds as number or text."""
    assert timestamp_ms(value) == expected


def test_the_suffix_decides_unless_a_format_is_chosen() -> None:
    """A file's name says what it holds."""
    assert [format_of(name, None) for name in ("x.CSV", "x.ndjson", "x.json", "stdin")] == [
        "csv",
        "jsonl",
        "json",
        "jsonl",
    ]
    assert format_of("x.csv", "raw") == "raw"
