"""The members that a body's records may have, and its envelope: JSON, NDJSON and MessagePack.

With ``mode=copy`` a body is what was read: records, lines and pages have more members, which say where they
were read. These are accepted by name and type and ignored; unknown members are refused, as always.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from floodmark.errors import InvalidRequest

from node.http.headers_in import MALFORMED
from node.http.media import Media

_UNSET = msgspec.UNSET


class RecordIn(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One record of a body.

    A null member means the same as a missing one, but is counted (``doubled``).
    """

    value: msgspec.Raw | msgspec.UnsetType = _UNSET
    value_b64: bytes | msgspec.UnsetType = _UNSET
    key: str | msgspec.UnsetType | None = _UNSET
    key_b64: bytes | msgspec.UnsetType | None = _UNSET
    tombstone: bool | msgspec.UnsetType | None = _UNSET
    headers: msgspec.Raw | msgspec.UnsetType = _UNSET
    headers_list: msgspec.Raw | msgspec.UnsetType = _UNSET
    timestamp: int | str | msgspec.UnsetType | None = _UNSET
    partition: int | msgspec.UnsetType | None = _UNSET


class _CopyIn(RecordIn, forbid_unknown_fields=True, gc=False):
    """A record that was read. ``error``: the last item of a stream that failed."""

    offset: int | msgspec.UnsetType = _UNSET
    append_time: int | str | msgspec.UnsetType = _UNSET
    error: msgspec.Raw | msgspec.UnsetType = _UNSET


class PackedIn(RecordIn, forbid_unknown_fields=True, gc=False):
    """In MessagePack ``value`` is any value, and a binary one is opaque bytes; so is a binary key."""

    key: Any = _UNSET
    value_json: str | msgspec.UnsetType = _UNSET


class _PackedCopyIn(PackedIn, forbid_unknown_fields=True, gc=False):
    offset: int | msgspec.UnsetType = _UNSET
    append_time: int | str | msgspec.UnsetType = _UNSET
    error: msgspec.Raw | msgspec.UnsetType = _UNSET


class _Envelope(RecordIn, forbid_unknown_fields=True, gc=False):
    """``{"records": [...]}``, or one bare record."""

    records: list[RecordIn] | None = None


class _PackedEnvelope(PackedIn, forbid_unknown_fields=True, gc=False):
    records: list[PackedIn] | None = None


class _Page(_CopyIn, forbid_unknown_fields=True, gc=False):
    """A page as ``page.py`` makes them, or one record that was read."""

    records: list[_CopyIn] | None = None
    next_offset: int | msgspec.UnsetType = _UNSET
    log_start_offset: int | msgspec.UnsetType = _UNSET
    high_watermark: int | msgspec.UnsetType = _UNSET
    cursor: str | msgspec.UnsetType = _UNSET
    left_out: list[int] | msgspec.UnsetType = _UNSET


class _PackedPage(_PackedCopyIn, forbid_unknown_fields=True, gc=False):
    records: list[_PackedCopyIn] | None = None
    next_offset: int | msgspec.UnsetType = _UNSET
    log_start_offset: int | msgspec.UnsetType = _UNSET
    high_watermark: int | msgspec.UnsetType = _UNSET
    cursor: str | msgspec.UnsetType = _UNSET
    left_out: list[int] | msgspec.UnsetType = _UNSET


_OF_PAGES = ("next_offset", "log_start_offset", "high_watermark", "cursor", "left_out")
_OF_ENVELOPES = ("records", *_OF_PAGES)
_BODIES: dict[tuple[Media, bool], Any] = {
    (Media.JSON, False): msgspec.json.Decoder(_Envelope),
    (Media.JSON, True): msgspec.json.Decoder(_Page),
    (Media.MSGPACK, False): msgspec.msgpack.Decoder(_PackedEnvelope),
    (Media.MSGPACK, True): msgspec.msgpack.Decoder(_PackedPage),
}
_LINES: dict[bool, Any] = {False: msgspec.json.Decoder(RecordIn), True: msgspec.json.Decoder(_CopyIn)}


class Found(NamedTuple):
    """A body's records. ``has_envelope``: they are within ``records``. ``colons``: in JSON, those of ignored
    members."""

    items: list[Any]
    has_envelope: bool
    colons: int


def parsed(media: Media, body: bytes, *, copies: bool) -> Found:
    """The records of a body that is well formed. Raises ``InvalidRequest``."""
    if media is Media.NDJSON:
        items: list[Any] = _lines(body, copies=copies)
        return Found(items, has_envelope=False, colons=_not_taken(items) if copies else 0)
    try:
        envelope = _BODIES[media, copies].decode(body)
    except MALFORMED as error:
        raise InvalidRequest(f'the body is neither a record nor {{"records": [...]}}: {error}') from error
    its_own = [getattr(envelope, name) for name in _OF_PAGES] if copies else []
    if envelope.records is None:
        if its_own.count(_UNSET) < len(its_own):
            raise InvalidRequest('the members of a page belong next to its "records"')
        return Found([envelope], has_envelope=False, colons=_not_taken([envelope]) if copies else 0)
    names = [name for name in envelope.__struct_fields__ if name not in _OF_ENVELOPES]
    if any(getattr(envelope, name) not in (None, _UNSET) for name in names):
        raise InvalidRequest('a body has either "records" or one record\'s own members')
    colons = _not_taken(envelope.records) + sum(map(_colons, its_own)) if copies else 0
    return Found(envelope.records, has_envelope=True, colons=colons)


def _lines(body: bytes, *, copies: bool) -> list[Any]:
    try:
        return _LINES[copies].decode_lines(body)  # type: ignore[no-any-return]
    except MALFORMED as error:
        raise InvalidRequest(f"a line is not a record: {error}") from error


def _not_taken(items: list[Any]) -> int:
    """The colons of members that tell where records were read. Raises if an item is a stream's error."""
    for number, item in enumerate(items, 1):
        if item.error is not _UNSET:
            raise InvalidRequest(
                f"item {number} is the error that the read ended with, so records are missing: "
                "nothing is stored; leave it out to store what is before it, and read on from there"
            )
    return sum(_colons(item.offset) + _colons(item.append_time) for item in items)


def _colons(member: object) -> int:
    if member is _UNSET:
        return 0
    return 1 + member.count(":") if isinstance(member, str) else 1
