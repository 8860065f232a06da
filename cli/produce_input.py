"""The input of ``produce``: bytes in one of four formats, turned into records, each with its line number.

raw     one record per line, its bytes as they are
jsonl   one JSON value per line, stored unchanged
json    one document; an array is one record per element, anything else is one record
csv     a header line, then one JSON object of strings per row
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.headers import pairs_of
from floodmark.format.limits import BATCH_BYTES_MAX
from floodmark.format.record import Record
from floodmark.format.values import now_ms

from cli.exits import Failure

csv.field_size_limit(BATCH_BYTES_MAX)  # otherwise a field above 128 KiB is refused

FORMATS = ("raw", "json", "jsonl", "csv")
_BY_SUFFIX = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "raw",
    ".log": "raw",
}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Shape:
    """Key, time and headers of the records: constants from options, or fields of the value."""

    key: str | None = None
    key_field: str | None = None
    timestamp_field: str | None = None
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Input:
    """One record to produce. ``where`` names its source and line for error messages."""

    where: str
    record: Record


def format_of(path: str, chosen: str | None) -> str:
    """The format of a source: the chosen one, or that of its suffix, or jsonl."""
    return chosen or next((name for end, name in _BY_SUFFIX.items() if path.lower().endswith(end)), "jsonl")


def read_records(stream: BinaryIO, *, source: str, format_: str, shape: Shape) -> Iterator[Input]:
    """Records of a stream, one at a time. Raises ``Failure``, naming the line that is wrong."""
    for line, value, is_json in _READERS[format_](stream, source):
        where = f"{source}: line {line}"
        yield record_input(value, where=where, is_json=is_json, shape=shape)


def record_input(value: bytes | None, *, where: str, is_json: bool, shape: Shape) -> Input:
    """One record with this value, or a tombstone.

    Raises ``Failure`` if the field for its key or time is missing.
    """
    # Bytes of an argument that are not UTF-8 are a valid key.
    key = shape.key.encode(errors="surrogateescape") if shape.key is not None else None
    timestamp: int | None = None
    if shape.key_field or shape.timestamp_field:
        members = _members(value, where) if is_json and value is not None else {}
        if shape.key_field:
            key = _text(_field(members, shape.key_field, where)).encode()
        if shape.timestamp_field:
            timestamp = _timestamp(_text(_field(members, shape.timestamp_field, where)), where)
    if timestamp is None:
        timestamp = now_ms()
    pairs = pairs_of(shape.headers) if shape.headers else None
    return Input(where, Record(timestamp, key, value, is_json, pairs))


def _members(value: bytes, where: str) -> dict[str, msgspec.Raw]:
    """The members of an object with their exact texts: a key must not lose a digit."""
    try:
        return _MEMBERS.decode(value)
    except ValueError:
        raise Failure(f"{where}: the value is not a JSON object, so it has no fields") from None


def _field(members: dict[str, msgspec.Raw], name: str, where: str) -> bytes:
    text = bytes(members.get(name) or b"null")
    if text == b"null":
        raise Failure(f"{where}: there is no field {name!r}")
    return text


def _text(member: bytes) -> str:
    """The content of a string, or the text of any other value."""
    return msgspec.json.decode(member, type=str) if member.startswith(b'"') else member.decode()


def _timestamp(text: str, where: str) -> int:
    try:
        return timestamp_ms(text)
    except ValueError as error:
        raise Failure(f"{where}: {error}") from error


def timestamp_ms(text: str) -> int:
    """Milliseconds since the epoch of ISO 8601 text (UTC unless it says otherwise) or of a number of them."""
    if re.fullmatch(r"-?[0-9]{1,20}", text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time: use 2026-01-31T10:00:00Z or milliseconds since 1970"
        ) from None
    # Not through a float, which is sometimes off by a millisecond.
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


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
    # Raw keeps each element's exact text: no number is rounded, no key moved.
    for number, element in enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]), 1):
        yield number, bytes(element), True


def _check_json(value: bytes, where: str) -> None:
    try:
        Record(timestamp=0, key=None, value=value, is_json=True).json()
    except InvalidRequest as error:
        raise Failure(f"{where}: {error.detail}", hint="use --format raw for plain text") from error


def _csv(stream: BinaryIO, source: str) -> Iterator[tuple[int, bytes, bool]]:
    rows = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), strict=True)
    try:
        names = next(rows, None)
        if names is not None:
            _check_columns(names, source)
        for row in rows:
            if not row:
                continue
            if names is None or len(row) != len(names):
                counts = f"{len(row)} fields, but the header names {len(names or ())}"
                raise Failure(f"{source}: line {rows.line_num}: {counts}")
            yield rows.line_num, msgspec.json.encode(dict(zip(names, row, strict=True))), True
    except (csv.Error, UnicodeDecodeError) as error:
        raise Failure(f"{source}: line {rows.line_num}: {error}") from error


def _check_columns(names: list[str], source: str) -> None:
    """Every column needs a name of its own: it becomes a member of an object."""
    if not names:
        raise Failure(f"{source}: line 1 is empty; it should name the columns")
    for number, name in enumerate(names, 1):
        if not name:
            raise Failure(
                f"{source}: line 1: column {number} has no name", hint="give it one in the header line"
            )
        if name in names[: number - 1]:
            first = names.index(name) + 1
            raise Failure(
                f"{source}: line 1: columns {first} and {number} are both named {name!r}",
                hint="give each a name of its own, or one of the values would be lost",
            )


_READERS: dict[str, Callable[[BinaryIO, str], Iterator[tuple[int, bytes, bool]]]] = {
    "raw": _raw,
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
}


def chain(sources: list[Callable[[], Iterator[Input]]]) -> Iterator[Input]:
    """All sources, one after the other, each opened when the previous one has ended."""
    return itertools.chain.from_iterable(source() for source in sources)
