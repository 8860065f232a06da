"""What ``produce`` reads: bytes in one of four formats, turned into records, each with its line number.

raw     one record per line, its bytes as they are
jsonl   one JSON value per line, kept to the letter
json    one document; an array is one record per element, anything else is one record
csv     a header line, then one JSON object of strings per row
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.record import Record

from cli.exits import Failure

FORMATS = ("raw", "json", "jsonl", "csv")
_BY_SUFFIX = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "raw",
    ".log": "raw",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a record gets besides its value: constants from flags, or fields of the value."""

    key: str | None = None
    key_field: str | None = None
    timestamp_field: str | None = None
    headers: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """One record to produce. ``where`` names its source and line for error messages."""

    where: str
    record: Record


def format_of(path: str, chosen: str | None) -> str:
    """The format of a source: the chosen one, or what its suffix says, or jsonl."""
    return chosen or next((name for end, name in _BY_SUFFIX.items() if path.lower().endswith(end)), "jsonl")


def read_records(stream: BinaryIO, *, source: str, format_: str, shape: Shape) -> Iterator[Input]:
    """Records of a stream, one at a time; raises ``Failure`` with the line that is wrong."""
    for line, value, is_json in _READERS[format_](stream, source):
        where = f"{source}: line {line}"
        yield Input(where, _record(value, where=where, is_json=is_json, shape=shape))


def _record(value: bytes, *, where: str, is_json: bool, shape: Shape) -> Record:
    key = shape.key.encode() if shape.key is not None else None
    timestamp: int | None = None
    if is_json and (shape.key_field or shape.timestamp_field):
        parsed = msgspec.json.decode(value)
        if shape.key_field:
            key = _text(_field(parsed, shape.key_field, where)).encode()
        if shape.timestamp_field:
            timestamp = _timestamp(_field(parsed, shape.timestamp_field, where), where)
    if timestamp is None:
        timestamp = int(datetime.now(UTC).timestamp() * 1000)
    return Record(timestamp=timestamp, key=key, value=value, is_json=is_json, headers=shape.headers)


def _field(value: Any, name: str, where: str) -> Any:
    if not isinstance(value, dict) or value.get(name) is None:
        raise Failure(f"{where}: there is no field {name!r}")
    return value[name]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _timestamp(value: Any, where: str) -> int:
    try:
        return timestamp_ms(value)
    except ValueError as error:
        raise Failure(f"{where}: {error}") from error


def timestamp_ms(value: Any) -> int:
    """Milliseconds since the epoch of ISO 8601 text (UTC unless it says otherwise) or of a number of them."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if text.removeprefix("-").isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no time: use 2026-01-31T10:00:00Z or milliseconds since 1970"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _raw(stream: BinaryIO, _source: str) -> Iterator[tuple[int, bytes, bool]]:
    for number, line in enumerate(stream, 1):
        yield number, line.removesuffix(b"\n"), False


def _jsonl(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes, bool]]:
    for number, line in enumerate(stream, 1):
        value = line.strip()
        if value:
            _check_json(value, f"{source}: line {number}")
            yield number, value, True


def _json(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes, bool]]:
    text = stream.read().strip()
    _check_json(text, source)
    if not text.startswith(b"["):
        yield 1, text, True
        return
    # Raw keeps each element's text to the letter: no number is rounded, no key moved.
    for number, element in enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]), 1):
        yield number, bytes(element), True


def _check_json(value: bytes, where: str) -> None:
    try:
        Record(timestamp=0, key=None, value=value, is_json=True).json()
    except InvalidRequest as error:
        raise Failure(f"{where}: {error.detail}", hint="plain text goes with --format raw") from error


def _csv(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes, bool]]:
    rows = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    try:
        names = next(rows, None)
        for row in rows if names else ():
            if not row:
                continue
            if names is None or len(row) != len(names):
                counts = f"{len(row)} fields, but the header names {len(names or ())}"
                raise Failure(f"{source}: line {rows.line_num}: {counts}")
            yield rows.line_num, msgspec.json.encode(dict(zip(names, row, strict=True))), True
    except (csv.Error, UnicodeDecodeError) as error:
        raise Failure(f"{source}: line {rows.line_num}: {error}") from error


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[tuple[int, bytes, bool]]]] = {
    "raw": _raw,
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
}


def chain(sources: list[Callable[[], Iterator[Input]]]) -> Iterator[Input]:
    """All sources, one after the other, each opened when the one before is at its end."""
    return itertools.chain.from_iterable(source() for source in sources)
