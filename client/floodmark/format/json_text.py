"""JSON texts: from Python objects and back, so that nothing is changed or lost silently."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from floodmark.errors import InvalidRequest

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder()
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)


def encode(value: Any) -> bytes:
    """The text of a JSON document. Raises ``InvalidRequest`` for what JSON cannot represent.

    The encoder writes NaN and infinities as null, and may write two members of the same name. This is
    checked only if the text has a null or not all names are text: checking always costs too much.
    """
    try:
        if type(value) is msgspec.Raw:
            return _checked(bytes(value))
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the value cannot be written as JSON: {error}") from error
    if b"null" in text or (isinstance(value, dict) and not _has_text_names(value)):
        _check(value, "the value")
    return text


def decode(text: bytes, *, exact: bool = False) -> Any:
    """The Python objects of a JSON document.

    A number with a fraction or an exponent is a ``float``, or beyond the range of a float (``1e400``) a
    ``Decimal``; with ``exact`` always a ``Decimal``. Raises ``InvalidRequest``.
    """
    try:
        if not exact:
            try:
                return _DECODER.decode(text)
            except msgspec.ValidationError:  # well-formed, with a number beyond a float
                pass
        return msgspec.json.Decoder(float_hook=Decimal if exact else _float_or_decimal).decode(text)
    except (ValueError, ArithmeticError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        reason = "a number is out of Python's range" if isinstance(error, ArithmeticError) else error
        raise InvalidRequest(f"the value of this record cannot be read as JSON: {reason}") from error


def _float_or_decimal(text: str) -> float | Decimal:
    number = float(text)
    return number if math.isfinite(number) else Decimal(text)


def _checked(text: bytes) -> bytes:
    """Check a JSON text that will be stored as it is."""
    _ANY.decode(text)
    text.decode()
    return text


def _has_text_names(value: Mapping[Any, Any]) -> bool:
    try:
        "".join(value)
    except TypeError:
        return False
    return True


def _check(value: Any, where: str) -> None:
    """Raise ``InvalidRequest`` for a number that JSON cannot represent, and for members of the same name.
    Only for values that the encoder accepted: their depth is bounded."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(f"{where} is {value}, which JSON cannot represent: send None or text instead")
    if isinstance(value, dict) and not _has_text_names(value):
        _check_names(value, where)
    for part, place in _parts(value, where):
        _check(part, place)


def _parts(value: Any, where: str) -> Iterator[tuple[Any, str]]:
    """The parts of a value, each with its place."""
    match value:
        case str() | int() | float() | None:
            return
        case dict():
            yield from ((item, f"{where}[{name!r}]") for name, item in value.items())
        case list() | tuple():
            yield from ((item, f"{where}[{index}]") for index, item in enumerate(value))
        case set() | frozenset():
            yield from ((item, f"an element of {where}") for item in value)
        case _:
            plain = msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview))
            if type(plain) is not type(value):  # else it is a JSON scalar
                yield plain, where


def _check_names(value: Mapping[Any, Any], where: str) -> None:
    names: dict[Any, Any] = {}
    for name in value:
        if isinstance(name, float) and not math.isfinite(name):
            raise InvalidRequest(f"{where} has a member named {name}, which is not a JSON number")
        (text,) = msgspec.json.decode(_ENCODER.encode({name: 0}))
        if text in names:
            raise InvalidRequest(
                f"{where} has two members that are both named {text!r} in JSON: {names[text]!r} and {name!r}"
            )
        names[text] = name
