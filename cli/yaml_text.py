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


class _Number(str):
    """A number's text in JSON."""


class _Members(list[tuple[str, Any]]):
    """The members of an object in their order: names may be given twice."""


_READER = json.JSONDecoder(object_pairs_hook=_Members, parse_float=_Number, parse_int=_Number)


def yaml_text(value: Any) -> str:
    """A document, with a final newline."""
    return "\n".join(_lines(value)) + "\n"


def yaml_of_json(text: str) -> str:
    """The same document in YAML: every digit of its numbers stays, and members that are given twice do."""
    return yaml_text(_READER.decode(text))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, (dict, _Members)) and value:
        for key, item in value.items() if isinstance(value, dict) else value:
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
    if isinstance(value, _Number):
        return _number(value)
    if isinstance(value, _Members):
        return "{}"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
        return value if plain else _quoted(value)
    if isinstance(value, float):
        return _number(repr(value))
    if value is None or isinstance(value, (bool, int)) or value in ({}, [], ()):
        return json.dumps(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON document")


def _number(text: str) -> str:
    """YAML 1.1 reads ``1e22`` as text; ``1.0e+22`` is a number to every version."""
    mantissa, exponent, power = text.replace("E", "e").partition("e")
    if not exponent:
        return text
    return f"{mantissa}{'' if '.' in mantissa else '.0'}e{power if power[0] in '+-' else '+' + power}"


def _quoted(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(map(_escaped, quoted))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    point = ord(character)
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
