"""JSON-like values as YAML: block style, plain where that is safe, else quoted as JSON quotes.

Fifty lines instead of a dependency, because only writing is needed and JSON's quoting is YAML's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_RESERVED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_SIMPLE_KEY_MAX = 120
"""A longer key is written in the explicit form: parsers refuse implicit keys of 1,024 characters."""


def yaml_text(value: Any) -> str:
    """A document, with a final newline."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(_scalar(key), item)
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _entry(key: str, item: Any) -> Iterator[str]:
    if len(key) > _SIMPLE_KEY_MAX:
        yield f"? {key}"
        key = ""
    nested = isinstance(item, (dict, list, tuple)) and bool(item)
    if not nested:
        yield f"{key}: {_scalar(item)}"
        return
    yield f"{key}:"
    yield from (f"  {line}" for line in _lines(item))


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
        return value if plain else _quoted(value)
    if isinstance(value, float):
        return _float(value)
    if value is None or isinstance(value, (bool, int)) or value in ({}, [], ()):
        return json.dumps(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")


def _float(value: float) -> str:
    """YAML 1.1 reads ``1e+22`` as text; ``1.0e+22`` is a number to every version."""
    mantissa, exponent, power = repr(value).partition("e")
    return mantissa + (".0" if exponent and "." not in mantissa else "") + exponent + power


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(map(_escaped, quoted))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    point = ord(character)
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
