"""Refuses JSON values that this parser accepts but readers could not parse again."""

from __future__ import annotations

from typing import Final

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.limits import JSON_DEPTH_MAX

_DIGITS_MAX: Final = 4_300
"""Python's own limit for numbers in text; other languages have far lower ones."""
_TO_DIGITS: Final = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG_NUMBER: Final = b"0" * (_DIGITS_MAX + 1)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_NO_BRACKETS_OR_QUOTES: Final = bytes(set(range(256)) - set(b'[]{}"'))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_ANY_JSON = msgspec.json.Decoder(msgspec.Raw)


def check_text(body: bytes) -> None:
    """Raise ``InvalidRequest`` when a body is not UTF-8: parsers skip values without checking."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


def check_value(value: bytes) -> None:
    """Raise ``InvalidRequest`` when a well-formed JSON value nests too deeply or has a giant number."""
    if value.count(b"[") + value.count(b"{") > JSON_DEPTH_MAX and _is_too_deep(value):
        raise InvalidRequest(f"a JSON value nests deeper than {JSON_DEPTH_MAX}")
    if (
        len(value) > _DIGITS_MAX
        and _LONG_NUMBER in value.translate(_TO_DIGITS)
        and _LONG_NUMBER in outside_strings(value).translate(_TO_DIGITS)
    ):
        raise InvalidRequest(f"a JSON number has more than {_DIGITS_MAX} digits")


def is_json(value: bytes) -> bool:
    """Whether a stored value really is JSON, so that it may be put into a JSON answer unchanged."""
    try:
        _ANY_JSON.decode(value)
        if not value.isascii():
            value.decode()
    except (ValueError, RecursionError):
        return False
    return True


def brackets_of(text: bytes) -> bytes:
    """The brackets ``[]{}`` of well-formed JSON outside strings; at the speed of C."""
    kept = _unescaped(text).translate(None, delete=_NO_BRACKETS_OR_QUOTES)
    return _unquoted(kept.replace(b'""', b""))


def outside_strings(text: bytes) -> bytes:
    """Well-formed JSON without its strings."""
    return _unquoted(_unescaped(text))


def _unescaped(text: bytes) -> bytes:
    """The text without escaped backslashes and quotes: every quote left begins or ends a string."""
    return text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text


def _unquoted(text: bytes) -> bytes:
    return b"".join(text.split(b'"')[::2])


def _is_too_deep(value: bytes) -> bool:
    """Remove innermost pairs of brackets, level by level: at the speed of C for any input."""
    brackets = brackets_of(value).translate(_ALIKE, delete=_NO_BRACKETS)
    for _ in range(JSON_DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
