"""JSON values: what goes in comes out, or is refused with a word about where it is."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from floodmark.consumer.consumed import ConsumedRecord
from floodmark.errors import InvalidRequest
from floodmark.format import json_text
from floodmark.format.record import Record
from floodmark.format.values import record_of, records_of
from hypothesis import given
from hypothesis import strategies as st

_NAN, _INF = float("nan"), float("inf")


@dataclasses.dataclass
class _Mean:
    mean: Any


class _Sum(msgspec.Struct):
    sum: Any


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (_NAN, "the value is nan"),
        (-_INF, "the value is -inf"),
        ({"mean": _NAN, "n": 1}, "['mean'] is nan"),
        ([1, (None, _INF)], "[1][1] is inf"),
        ({"a": {1.5, _NAN}}, "an element of the value['a'] is nan"),
        (_Mean(_NAN), "['mean'] is nan"),
        ({"all": [_Sum(_Mean(_INF))]}, "['all'][0]['sum']['mean'] is inf"),
        (OrderedDict(a=_NAN), "['a'] is nan"),
        ({_NAN: 1}, "a member named nan"),
        ({1: "a", "1": "b"}, "two members that are both named '1' in JSON: 1 and '1'"),
    ],
)
def test_what_json_has_no_form_for_is_refused(value: Any, where: str) -> None:
    """One by one and in lists, whatever it is in; the message says which part of the value it is."""
    with pytest.raises(InvalidRequest) as alone:
        record_of(value)
    assert where in alone.value.detail
    with pytest.raises(InvalidRequest):
        records_of([1, value], ["k", "k"], None)
    with pytest.raises(InvalidRequest):
        records_of([1, value], None, None)


@pytest.mark.parametrize("text", [b"NaN", b"1 2", b'"\xff"', b"{", b""])
def test_a_raw_text_is_json(text: bytes) -> None:
    """What is handed over as the text of a document is one, in UTF-8."""
    with pytest.raises(InvalidRequest):
        record_of(msgspec.Raw(text))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ).filter(lambda value: "\\ud" not in repr(value))
)
def test_json_comes_out_as_it_went_in(value: Any) -> None:
    """Nulls, the zero below zero, and whole numbers of any size included."""
    record = record_of(value, timestamp=0)
    assert repr(record.json()) == repr(value)


@pytest.mark.parametrize(
    ("text", "read", "exactly"),
    [
        (b"1e400", Decimal("1e400"), Decimal("1e400")),
        (b'{"a":[-1e999,2.5]}', {"a": [Decimal("-1e999"), 2.5]}, {"a": [Decimal("-1e999"), Decimal("2.5")]}),
        (b"0.1000000000000000055511151231257827", 0.1, Decimal("0.1000000000000000055511151231257827")),
        (b"123456789012345678901234567890", 123456789012345678901234567890, 123456789012345678901234567890),
    ],
)
def test_numbers_beyond_a_double_are_decimals(text: bytes, read: Any, exactly: Any) -> None:
    """``json()`` never ends with a foreign error for a number that nodes keep; ``exact`` loses no digit."""
    record = record_of(msgspec.Raw(text), timestamp=0)
    consumed = ConsumedRecord(0, 0, 0, 0, None, record.value, True, None)
    assert record.value == text
    for one in (record, consumed):
        assert repr(one.json()) == repr(read)
        assert repr(one.json(exact=True)) == repr(exactly)


@pytest.mark.parametrize("text", [b"1e99999999999999999999", b"1" * 5000, b"nope", b'"\xff"', b"[" * 3000])
def test_what_cannot_be_read_is_an_error_of_the_tree(text: bytes) -> None:
    """Also what another client has stored as JSON though it is none."""
    for exact in (False, True):
        with pytest.raises(InvalidRequest):
            Record(0, None, text, is_json=True).json(exact=exact)


def test_a_topic_is_not_configured_with_nan() -> None:
    """null would lift a limit."""
    with pytest.raises(InvalidRequest, match="retention_ms"):
        json_text.encode({"config": {"retention_ms": _NAN}})
