"""Format strings of consume."""

from __future__ import annotations

import click
import pytest
from floodmark.format.headers import Headers

from cli.format_string import Consumed, compile_format

_RECORD = Consumed("flights", 3, 41, 1357035300000, b"UA", b"\xff{}", Headers([("a", b"1"), ("b", b"2")]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"%p %o %k %v\n", b"3 41 UA \xff{}\n"),
        (r"%t\t%T\t%s", b"flights\t1357035300000\t3"),
        (r"%h%%\\\x00\r\0", b"a=1,b=2%\\\x00\r\x00"),
        ("π %o", "π 41".encode()),
    ],
)
def test_fields_and_escapes(text: str, expected: bytes) -> None:
    """Every field and escape, with bytes passed through untouched."""
    assert compile_format(text)(_RECORD) == expected


def test_a_record_without_key_and_headers() -> None:
    """What is absent prints as nothing."""
    record = Consumed("t", 0, 0, 0, None, b"", Headers())
    assert compile_format("[%k|%h|%s]")(record) == b"[||0]"


def test_a_tombstone_and_headers_that_are_no_text() -> None:
    """As in kcat: no value, -1 for its size and for a time that is none; each header as often as it comes."""
    headers = Headers([("a", b"1"), ("b", None), ("a", b"\xff")])
    record = Consumed("t", 0, 0, None, b"k", None, headers)
    assert compile_format("[%k|%v|%s|%T|%h]")(record) == b"[k||-1|-1|a=1,b=NULL,a=\xff]"


@pytest.mark.parametrize("text", ["%x", "%", "\\q", "\\", "\\x1"])
def test_a_slip_is_named(text: str) -> None:
    """Nothing is guessed: what has no meaning is refused with the list of what has."""
    with pytest.raises(click.BadParameter, match="is not supported"):
        compile_format(text)
