"""Estimates what a body costs to decode: decides where to decode it, and what to refuse unread.

A body can hold a million records of a few bytes each. Building them takes seconds and hundreds of megabytes,
while counting them runs at the speed of C.
"""

from __future__ import annotations

import itertools
import operator
from typing import Final

import msgspec
from floodmark.errors import InvalidRequest, TooLarge
from floodmark.format import packed_heads
from floodmark.format.limits import BATCH_RECORDS_MAX

from node.http.json_guard import brackets_of
from node.http.media import Media

_ALWAYS_LIGHT_BYTES: Final = 64 << 10
_LIGHT_PACKED_BYTES: Final = 16 << 10
"""A byte of MessagePack can be a whole value."""
_LIGHT_BYTES_MAX: Final = 1 << 20
_LIGHT_OBJECTS_MAX: Final = 3_000
"""Objects and arrays of a body that is decoded on the event loop: some milliseconds."""
_LIGHT_PARTS_MAX: Final = 30_000
"""Strings, escapes and members, counted in the same way."""
_NO_MARKS: Final = bytes(set(range(256)) - set(b'{["\\:'))
_TO_STEP: Final = bytes.maketrans(b"[{]}", b"\1\1\2\2")
_STEPS: Final = (0, 1, -1)


class _OnlyRecords(msgspec.Struct, gc=False):
    """``{"records": ...}`` and nothing of what else there is."""

    records: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_JSON = msgspec.json.Decoder(_OnlyRecords)
_MSGPACK = msgspec.msgpack.Decoder(_OnlyRecords)


def is_heavy(media: Media, body: bytes) -> bool:
    """Whether decoding ``body`` would block the event loop too long. Never for opaque values and batches."""
    if media is Media.MSGPACK:
        return len(body) > _LIGHT_PACKED_BYTES
    if len(body) <= _ALWAYS_LIGHT_BYTES or media is Media.BYTES or media is Media.BATCH:
        return False
    if len(body) > _LIGHT_BYTES_MAX:
        return True
    marks = body.translate(None, delete=_NO_MARKS)  # One pass: counting each in the whole body takes five.
    objects = marks.count(b"{") + marks.count(b"[")
    return objects > _LIGHT_OBJECTS_MAX or len(marks) - objects > _LIGHT_PARTS_MAX


def check_count(media: Media, body: bytes) -> None:
    """Raise ``TooLarge`` when there are too many records in ``body``, without building one.

    A malformed body passes: the decoder reports it, and builds at most the limit.
    """
    count = 1
    if media is Media.MSGPACK:
        count = _packed_count(body)
    elif body.count(b"{") > BATCH_RECORDS_MAX:  # else even if every object were a record
        text, level = body, 0
        if media is Media.JSON:
            text, level = _records_text(body), 1
        # A record ends where the brackets after it return to the level that it began on.
        steps = map(_STEPS.__getitem__, brackets_of(text).translate(_TO_STEP))
        count = operator.countOf(itertools.accumulate(steps), level) - level
    if count > BATCH_RECORDS_MAX:
        raise TooLarge(
            f"{count} records in one request; at most {BATCH_RECORDS_MAX} are allowed: "
            "send several smaller requests",
            limit=BATCH_RECORDS_MAX,
        )


def _packed_count(body: bytes) -> int:
    try:
        records = _MSGPACK.decode(body).records
    except (msgspec.DecodeError, RecursionError):
        return 1
    return 1 if records is msgspec.UNSET else packed_heads.array_length(memoryview(records))


def _records_text(body: bytes) -> bytes:
    """The array in a JSON envelope. Raises ``InvalidRequest`` where the body is not one."""
    try:
        records = _JSON.decode(body).records
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f'the body is neither a record nor {{"records": [...]}}: {error}') from error
    return b"" if records is msgspec.UNSET else bytes(records)
