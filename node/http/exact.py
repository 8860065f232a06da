"""Whether parsing a JSON text and writing it again loses nothing.

Numbers are compared as decimals: the same number in other digits (1.50 and 1.5) is not a loss.
"""

from __future__ import annotations

import decimal
import re
from typing import Final

import msgspec

from node.http.json_guard import outside_strings

_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_ODD = re.compile(rb"[0-9.]{16}|[0-9][eE]|-0|\\u003")
"""Numbers that a double or an integer may not hold exactly, and escaped colons."""
_ENCODER = msgspec.json.Encoder()
_CONTEXT: Final = decimal.Context(
    prec=decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[]
)
"""Rounds nothing; a number that no decimal can hold becomes NaN, which equals nothing."""


def is_exact(text: bytes, parsed: object) -> bool:
    """Whether ``parsed`` is all of ``text``: every number to its last digit, and every member."""
    again = _ENCODER.encode(parsed)
    if text == again or (_ODD.search(text) is None and text.count(b":") == again.count(b":")):
        return True
    text, again = outside_strings(text), outside_strings(again)
    if text.count(b":") != again.count(b":"):
        return False  # A member was there twice.
    return all(
        _is_same(one, other) for one, other in zip(_NUMBER.findall(text), _NUMBER.findall(again), strict=True)
    )


def _is_same(one: bytes, other: bytes) -> bool:
    if one == other:
        return True
    first, second = _CONTEXT.create_decimal(one.decode()), _CONTEXT.create_decimal(other.decode())
    return first == second and first.is_signed() == second.is_signed()
