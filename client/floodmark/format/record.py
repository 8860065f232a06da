"""A record: what one producer wrote, and what every consumer reads."""

from __future__ import annotations

from typing import Any

import msgspec

from floodmark.errors import InvalidRequest, TooLarge
from floodmark.format import json_text
from floodmark.format.headers import NO_HEADERS, Headers, texts_of
from floodmark.format.limits import RECORD_HEADERS_MAX


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One record as it lies in a batch: a MessagePack array of these five fields, in this order.

    timestamp  event time in milliseconds since the Unix epoch; None if the producer set none
    key        bytes or None; records with one key share a partition and so an order
    value      opaque bytes, or the text of a JSON document as it was sent; None makes a tombstone
    is_json    whether the value is the text of a JSON document
    pairs      headers: names and values in order, or None. In a batch of format 1, a map of texts

    In a batch of format 1 no timestamp, value or header value is None, and no header name comes twice.
    """

    timestamp: int | None
    key: bytes | None
    value: bytes | None
    is_json: bool = False
    pairs: list[tuple[str, bytes | None]] | dict[str, str] | None = None

    @property
    def headers(self) -> Headers:
        """The headers, by name."""
        return headers_of(self.pairs)

    @property
    def key_text(self) -> str | None:
        """The key as text. Raises ``InvalidRequest`` if it is not UTF-8."""
        return key_text_of(self.key)

    @property
    def tombstone(self) -> bool:
        """Whether this record deletes its key: it has no value."""
        return self.value is None

    def json(self, *, exact: bool = False) -> Any:
        """The value as Python objects. Raises ``InvalidRequest`` if it is opaque bytes or a tombstone.

        Numbers with a fraction or an exponent are floats, or ``Decimal`` beyond the range of a float
        (``1e400``); with ``exact`` always ``Decimal``.
        """
        return json_of(self.value, self.is_json, exact=exact)

    @property
    def size(self) -> int:
        """Bytes of key, value and headers: what ``max_record_bytes`` is measured against."""
        total = len(self.value or b"") + len(self.key or b"")
        pairs = self.pairs
        if isinstance(pairs, dict):
            total += sum([len(name.encode()) + len(text.encode()) for name, text in pairs.items()])
        elif pairs:
            total += sum([len(name.encode()) + len(value or b"") for name, value in pairs])
        return total

    def beyond_format_1(self) -> str | None:
        """The part of it that a batch of format 1 cannot hold; None if format 1 can hold all."""
        if self.value is None:
            return "a tombstone"
        if self.timestamp is None:
            return "a record without a timestamp"
        if self.pairs and texts_of(self.pairs) is None:
            return "a header that comes twice, or whose value is null or not text,"
        return None

    def check(self, record_bytes_max: int) -> None:
        """Raise ``InvalidRequest`` or ``TooLarge`` if this record is above a limit."""
        if self.pairs is not None and len(self.pairs) > RECORD_HEADERS_MAX:
            raise InvalidRequest(
                f"a record has {len(self.pairs)} headers; at most {RECORD_HEADERS_MAX} are allowed"
            )
        if self.size > record_bytes_max:
            raise TooLarge(
                f"a record has {self.size} bytes of key, value and headers; "
                f"this topic allows {record_bytes_max}"
            )


def headers_of(pairs: list[tuple[str, bytes | None]] | dict[str, str] | None) -> Headers:
    """A record's ``pairs`` by name."""
    if not pairs:
        return NO_HEADERS
    if isinstance(pairs, dict):
        return Headers([(name, text.encode()) for name, text in pairs.items()])
    return Headers(pairs)


def key_text_of(key: bytes | None) -> str | None:
    """A key as text. Raises ``InvalidRequest`` if it is not UTF-8."""
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the key of this record is not text: {error}") from error


def json_of(value: bytes | None, is_json: bool, *, exact: bool) -> Any:  # noqa: FBT001 - as in a record
    """A value as Python objects. Raises ``InvalidRequest`` when it is opaque bytes, or a tombstone."""
    if value is None:
        raise InvalidRequest("this record is a tombstone: it has no value")
    if not is_json:
        raise InvalidRequest("the value of this record is bytes, not JSON")
    return json_text.decode(value, exact=exact)
