"""A consumed record as a document and as a row of a table."""

from __future__ import annotations

import msgspec
from floodmark.consumer.consumed import ConsumedRecord

from cli.record_document import COLUMNS, document_of

T = 1_357_035_300_000


def _record(value: bytes | None, pairs: list[tuple[str, bytes | None]] | None = None) -> ConsumedRecord:
    return ConsumedRecord(2, 7, None, T, b"k", value, value is not None, pairs)


def test_a_tombstone_has_no_value_and_null_is_one() -> None:
    """In documents and in tables they are told apart; a time that nobody gave is null."""
    tombstone, null = document_of(_record(None)), document_of(_record(b"null"))
    assert tombstone == {
        "partition": 2,
        "offset": 7,
        "timestamp": None,
        "append_time": "2013-01-01T10:15:00.000Z",
        "key": "k",
        "tombstone": True,
    }
    assert msgspec.json.encode(null).endswith(b'"key":"k","value":null}')
    shown = COLUMNS[-1].cell
    assert (shown(tombstone), shown(null)) == ("(tombstone)", "null")


def test_headers_are_an_object_where_that_says_all_of_them() -> None:
    """Else a list of names and values, as the HTTP API has it."""
    plain = document_of(_record(b"1", [("a", b"1"), ("b", b"")]))
    assert plain["headers"] == {"a": "1", "b": ""}
    listed = document_of(_record(b"1", [("a", b"1"), ("b", None), ("a", b"\xff")]))
    assert listed["headers_list"] == [["a", "1"], ["b", None], ["a", {"b64": "/w=="}]]
    assert "headers" not in listed
    assert not {"headers", "headers_list"} & document_of(_record(b"1")).keys()
