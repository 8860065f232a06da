"""The headers of records in a body: never builds more of them than one request may have.

``headers`` is a map of texts, each name once. ``headers_list`` has pairs of a name and a value, in order, for
what a map would lose: repeated names, and values that are null or bytes (``{"b64": "..."}``, in MessagePack
binary).
"""

from __future__ import annotations

from typing import Any

import msgspec
from floodmark.errors import InvalidRequest, TooLarge
from floodmark.format import packed_heads
from floodmark.format.limits import BATCH_HEADERS_MAX, RECORD_HEADERS_MAX

from node.http.json_guard import outside_strings

MALFORMED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError)
"""What decoders raise for a body that is not well formed."""
Pairs = list[tuple[str, bytes | None]]
GivenHeaders = Pairs | dict[str, str] | None
"""A record's headers: at feature level 1 an object stays an object."""


class _Bytes(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A value of bytes."""

    b64: bytes


_JSON = msgspec.json.Decoder(dict[str, str] | None)
_MSGPACK = msgspec.msgpack.Decoder(dict[str, str] | None)
_JSON_LIST = msgspec.json.Decoder(list[tuple[str, str | _Bytes | None]] | None)
_MSGPACK_LIST = msgspec.msgpack.Decoder(list[tuple[str, Any]] | None)


class HeadersIn:
    """Reads the headers of one request's records. Raises ``InvalidRequest``, ``TooLarge``."""

    def __init__(self, batch_format: int) -> None:
        self._form = _pairs if batch_format > 1 else _as_it_is
        self.left = BATCH_HEADERS_MAX
        self.colons = 0
        """Colons parsed so far, the one before each object or list of headers included."""
        self.bytes = 0
        """The fewest bytes that all of it takes in a JSON body."""

    def of_json(
        self, raw: msgspec.Raw | msgspec.UnsetType, listed: msgspec.Raw | msgspec.UnsetType
    ) -> GivenHeaders:
        """From a JSON object, or from a list."""
        if listed is not msgspec.UNSET:
            return self._of_json_list(raw, listed)
        if raw is msgspec.UNSET:
            return None
        text = bytes(raw)
        colons = text.count(b":")
        self.colons += colons + 1
        self.bytes += len(',"headers":') + len(text)
        # As many as there are colons, unless some are in strings.
        if colons <= RECORD_HEADERS_MAX and colons <= self.left:
            found = _decoded(_JSON, raw)
            if len(found or ()) == colons:
                self.left -= colons
                return self._form(found)
        return self._built(_JSON, raw, outside_strings(text).count(b":"))

    def _of_json_list(self, raw: msgspec.Raw | msgspec.UnsetType, listed: msgspec.Raw) -> Pairs | None:
        _only_one(raw)
        if raw is not msgspec.UNSET:
            self.colons += 1
        text = bytes(listed)
        plain = outside_strings(text)
        self.colons += text.count(b":") + 1
        self.bytes += len(',"headers_list":') + len(text)
        self._take(plain.count(b"[") - 1)
        found = _decoded(_JSON_LIST, listed, "headers_list")
        objects = sum(isinstance(value, _Bytes) for _, value in found or ())
        if plain.count(b":") != objects:
            raise InvalidRequest('a value of headers_list gives "b64" twice: one of the two would be lost')
        return [
            (name, value.b64 if isinstance(value, _Bytes) else _bytes(value)) for name, value in found or ()
        ] or None

    def of_msgpack(
        self, raw: msgspec.Raw | msgspec.UnsetType, listed: msgspec.Raw | msgspec.UnsetType
    ) -> GivenHeaders:
        """From a MessagePack map, or from a list."""
        if listed is not msgspec.UNSET:
            _only_one(raw)
            self._take(max(0, packed_heads.array_length(memoryview(listed))))
            found = _decoded(_MSGPACK_LIST, listed, "headers_list")
            return [(name, _bytes(value)) for name, value in found or ()] or None
        if raw is msgspec.UNSET:
            return None
        return self._built(_MSGPACK, raw, max(0, packed_heads.map_length(memoryview(raw))))

    def _built(self, decoder: Any, raw: msgspec.Raw, count: int) -> GivenHeaders:
        self._take(count)
        found = _decoded(decoder, raw)
        if found is not None and len(found) < count:
            raise InvalidRequest("a record gives a header twice: use headers_list for repeated names")
        return self._form(found)

    def _take(self, count: int) -> None:
        if count > RECORD_HEADERS_MAX:
            raise InvalidRequest(f"a record has {count} headers; at most {RECORD_HEADERS_MAX} are allowed")
        self.left -= max(0, count)
        if self.left < 0:
            raise TooLarge(
                f"the records of one request have more than {BATCH_HEADERS_MAX} headers together: "
                "send several smaller requests",
                limit=BATCH_HEADERS_MAX,
            )


def _only_one(raw: msgspec.Raw | msgspec.UnsetType) -> None:
    if raw is not msgspec.UNSET and bytes(raw) not in (b"null", b"\xc0"):
        raise InvalidRequest('a record has either "headers" or "headers_list"')


def _pairs(found: dict[str, str] | None) -> Pairs | None:
    return [(name, text.encode()) for name, text in found.items()] if found else None


def _as_it_is(found: dict[str, str] | None) -> dict[str, str] | None:
    return found or None


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    if value is None or isinstance(value, bytes):
        return value
    raise InvalidRequest(f"a value of headers_list is text, binary or null, not {type(value).__name__}")


def _decoded(decoder: Any, raw: msgspec.Raw, what: str = "headers") -> Any:
    try:
        return decoder.decode(raw)
    except MALFORMED as error:
        form = "are an object of strings" if what == "headers" else "is a list of pairs of a name and a value"
        raise InvalidRequest(f"{what} {form}: {error}") from error
