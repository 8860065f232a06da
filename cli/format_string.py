r"""The format strings of ``consume -f``, as kcat has them.

%t topic       %p partition    %o offset    %T event time, milliseconds
%k key         %v value        %h headers   %s size of the value in bytes
%% a percent   \n \t \r \0 \\  \xHH one byte
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import click
from floodmark.format.headers import Headers

from cli.visible import for_stdout

_TOKEN = re.compile(r"%(.?)|\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0", "\\": b"\\"}


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a format string can show of one record."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


_FIELDS: dict[str, Callable[[Consumed], bytes]] = {
    "t": lambda record: record.topic.encode(),
    "p": lambda record: b"%d" % record.partition,
    "o": lambda record: b"%d" % record.offset,
    "T": lambda record: b"%d" % (-1 if record.timestamp_ms is None else record.timestamp_ms),
    "k": lambda record: for_stdout(record.key or b""),
    "v": lambda record: for_stdout(record.value or b""),
    "s": lambda record: b"%d" % (-1 if record.value is None else len(record.value)),
    "h": lambda record: for_stdout(b",".join(_assigned(*pair) for pair in record.headers.pairs)),
}


def _assigned(name: str, value: bytes | None) -> bytes:
    return name.encode() + b"=" + (b"NULL" if value is None else value)


def compile_format(text: str) -> Callable[[Consumed], bytes]:
    """A function from a record to the bytes to print. Raises ``click.BadParameter`` for an invalid text."""
    parts: list[bytes | Callable[[Consumed], bytes]] = []
    position = 0
    for token in _TOKEN.finditer(text):
        parts.append(text[position : token.start()].encode())
        parts.append(_part(token))
        position = token.end()
    parts.append(text[position:].encode())
    return lambda record: b"".join(part if isinstance(part, bytes) else part(record) for part in parts)


def _part(token: re.Match[str]) -> bytes | Callable[[Consumed], bytes]:
    letter, escape = token.groups()
    if letter == "%":
        return b"%"
    if letter is not None and letter in _FIELDS:
        return _FIELDS[letter]
    if escape is not None and escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape and escape[0] == "x" and len(escape) == 3:
        return bytes.fromhex(escape[1:])
    known = " ".join(f"%{name}" for name in _FIELDS)
    raise click.BadParameter(f"{token.group()!r} is not supported; use {known} %% \\n \\t \\r \\0 \\\\ \\xHH")
