"""Refuses bodies that give a member twice: parsers keep the last one and lose the others.

Within a JSON value such members stay, as all of its text does. Where a body is hardly longer than what was
parsed from it, or each of its colons has its member, nothing is given twice, and that is checked at the speed
of C; likewise where encoding again a parsed document, or MessagePack, gives the same bytes. Otherwise a
parser that shows every member reads the body again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn, Protocol

import msgpack
import msgspec
from floodmark.errors import InvalidRequest
from floodmark.format.record import Record

from node.http.headers_in import HeadersIn

_LEAST_MEMBER_BYTES: Final = len('"key":"",')
"""No member of a record takes fewer bytes, whatever its value."""
_ESCAPED_COLON: Final = b"\\u003"
_WHITE: Final = " \t\r\n"
_PACKED = msgspec.msgpack.Decoder()
_PACK = msgspec.msgpack.Encoder()
_ANY = msgspec.json.Decoder()
_TEXT = msgspec.json.Encoder()


class Members(Protocol):
    """A parsed record: members are None where they are null, unset where they are missing."""

    value: msgspec.Raw | msgspec.UnsetType
    value_b64: bytes | msgspec.UnsetType
    tombstone: bool | msgspec.UnsetType | None
    key: str | msgspec.UnsetType | None
    key_b64: bytes | msgspec.UnsetType | None
    timestamp: int | str | msgspec.UnsetType | None
    partition: int | msgspec.UnsetType | None


def check_json(
    body: bytes, items: Sequence[Members], records: Sequence[Record], envelopes: int, headers: HeadersIn
) -> None:
    """Raise ``InvalidRequest`` when a JSON body, or a line of one, gives a member of a record twice.

    ``records`` were made from ``items``: the body is well formed and not deep. ``envelopes``: how many
    ``"records"`` there should be. ``headers`` took those of all records.
    """
    if len(body) - _least_bytes(records, envelopes) - headers.bytes < _LEAST_MEMBER_BYTES:
        return
    extra = body.count(b":") - envelopes - _told_colons(items) - headers.colons
    if extra:
        extra -= b"".join([record.value or b"" for record in records if record.is_json]).count(b":")
    if not extra and not (b"\\" in body and _ESCAPED_COLON in body):
        return
    text = body.decode()
    decoder = json.JSONDecoder(object_pairs_hook=_Object, parse_int=len, parse_float=len)
    end = len(text.rstrip(_WHITE))
    position = 0
    while position < end:
        while text[position] in _WHITE:
            position += 1
        found, position = decoder.raw_decode(text, position)
        _check(found)
        for record in found.get("records") or ():
            _check(record)


def check_document(body: bytes) -> None:
    """Raise ``InvalidRequest`` when a JSON document that was parsed gives a member of any object twice."""
    if body.count(b":") < 2 or msgspec.json.format(body, indent=-1) == _TEXT.encode(_ANY.decode(body)):
        return
    json.loads(body, object_pairs_hook=_single, parse_int=len, parse_float=len)


def check_msgpack(body: bytes) -> None:
    """Raise ``InvalidRequest`` when MessagePack gives a member twice, even in a value: that becomes JSON."""
    try:
        if _PACK.encode(_PACKED.decode(body)) == body:
            return
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError, OverflowError):
        pass
    msgpack.unpackb(body, object_pairs_hook=_single, strict_map_key=False)


def _least_bytes(records: Sequence[Record], envelopes: int) -> int:
    """The length of the shortest text of these records, headers aside: nothing between its tokens."""
    # {"records":[...]}; {"value":...} and what is between two; "key":"...",
    total = 14 * envelopes + 11 * len(records) - 1 + sum([len(record.value or b"") for record in records])
    keys = [len(record.key) for record in records if record.key]
    return total + sum(keys) + 9 * len(keys)


def _told_colons(items: Sequence[Members]) -> int:
    """The number of colons of all parsed members except headers."""
    there = [item.key for item in items if item.key is not msgspec.UNSET]
    count = len(items) + len(there)
    if there:
        count += "".join([key for key in there if key is not None]).count(":")
    times = [item.timestamp for item in items if item.timestamp is not msgspec.UNSET]
    if times:
        count += len(times) + sum([time.count(":") for time in times if isinstance(time, str)])
    others: list[Any] = [item.key_b64 for item in items] + [item.partition for item in items]
    marks = [item for item in items if item.tombstone is not msgspec.UNSET]
    # Of a tombstone it stands for the value, and any other has both.
    others += [item.value if item.value_b64 is msgspec.UNSET else item.value_b64 for item in marks]
    return count + len(others) - others.count(msgspec.UNSET)


class _Object(dict[str, Any]):
    """An object of the second pass. ``doubled``: a member that it gives twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.doubled = _doubled(pairs) if len(self) < len(pairs) else None


def _check(found: _Object) -> None:
    if found.doubled is not None:
        _refuse(found.doubled)


def _single(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse(_doubled(pairs))
    return found


def _doubled(pairs: list[tuple[Any, Any]]) -> str:
    names = [name for name, _ in pairs]
    return str(next(name for name in names if names.count(name) > 1))


def _refuse(name: str) -> NoReturn:
    raise InvalidRequest(f"{name[:100]!r} is given twice in one object: one of the two would be lost")
