"""The headers of records in a body: no more of them are built than one request may have."""

from __future__ import annotations

from typing import Any

import msgspec
from floodmark import packed_heads
from floodmark.errors import InvalidRequest, TooLarge
from floodmark.limits import BATCH_HEADERS_MAX, RECORD_HEADERS_MAX

from node.http.json_guard import outside_strings

MALFORMED = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError)
"""What decoders raise for a body that is not well formed."""
_JSON = msgspec.json.Decoder(dict[str, str] | None)
_MSGPACK = msgspec.msgpack.Decoder(dict[str, str] | None)


class HeadersIn:
    """Of one request. Raises ``InvalidRequest``, ``TooLarge``."""

    def __init__(self) -> None:
        self.left = BATCH_HEADERS_MAX
        self.colons = 0
        """In what was taken, that before each object of headers included."""
        self.bytes = 0
        """The least that all of it takes in a body of JSON."""

    def of_json(self, raw: msgspec.Raw | msgspec.UnsetType) -> dict[str, str] | None:
        """From a JSON object."""
        if raw is msgspec.UNSET:
            return None
        text = bytes(raw)
        colons = text.count(b":")
        self.colons += colons + 1
        self.bytes += len(',"headers":') + len(text)
        # As many as there are colons, unless some stand in strings.
        if colons <= RECORD_HEADERS_MAX and colons <= self.left:
            found = _decoded(_JSON, raw)
            if len(found or ()) == colons:
                self.left -= colons
                return found or None
        return self._built(_JSON, raw, outside_strings(text).count(b":"))

    def of_msgpack(self, raw: msgspec.Raw | msgspec.UnsetType) -> dict[str, str] | None:
        """From a MessagePack map."""
        if raw is msgspec.UNSET:
            return None
        return self._built(_MSGPACK, raw, max(0, packed_heads.map_length(memoryview(raw))))

    def _built(self, decoder: Any, raw: msgspec.Raw, count: int) -> dict[str, str] | None:
        if count > RECORD_HEADERS_MAX:
            raise InvalidRequest(f"a record has {count} headers; at most {RECORD_HEADERS_MAX} are allowed")
        self.left -= count
        if self.left < 0:
            raise TooLarge(
                f"the records of one request have more than {BATCH_HEADERS_MAX} headers together: "
                "send several smaller requests",
                limit=BATCH_HEADERS_MAX,
            )
        found = _decoded(decoder, raw)
        if found is not None and len(found) < count:
            raise InvalidRequest("a record gives a header twice: one of the two would be lost")
        return found or None


def _decoded(decoder: Any, raw: msgspec.Raw) -> dict[str, str] | None:
    try:
        return decoder.decode(raw)  # type: ignore[no-any-return]
    except MALFORMED as error:
        raise InvalidRequest(f"headers are an object of strings: {error}") from error
