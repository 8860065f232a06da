"""One raw value: the rest of its record comes from ``Record-...`` headers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from floodmark.errors import InvalidRequest
from floodmark.format.record import Record

from node.http.headers_in import Pairs
from node.http.query import OFFSET_MAX, number
from node.service import timestamps
from node.service.division import needs_batch_format_2

TOMBSTONE: Final = "Record-Tombstone"
_HEADER_PREFIX: Final = b"record-header-"


class RecordHead(Protocol):
    """The headers that a request's records may take something from."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, case-insensitive."""

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came."""


def read(
    head: RecordHead, body: bytes, *, now_ms: int, record_bytes_max: int, batch_format: int
) -> tuple[Record, int | None]:
    """The record, and the partition that it asks for. Raises ``InvalidRequest``, ``TooLarge``,
    ``FeatureLevelNeeded``."""
    if not head.headers:
        # The usual case on the fast path: nothing but a value.
        record = Record(now_ms, None, body)
        record.check(record_bytes_max)
        return record, None
    key: bytes | None = None
    key_text = head.headers.get("Record-Key")
    if key_text is not None:
        if "Record-Key-B64" in head.headers:
            raise InvalidRequest("a record has either Record-Key or Record-Key-B64")
        key = key_text.encode("utf-8", "surrogateescape")
    elif "Record-Key-B64" in head.headers:
        key = _base64(head.headers["Record-Key-B64"])
    time_text = head.headers.get("Record-Timestamp")
    partition = head.headers.get("Record-Partition")
    record = Record(
        now_ms if time_text is None else timestamps.parse(time_text),
        key,
        None if _is_tombstone(head, body) else body,
        False,  # noqa: FBT003  -- positional: this is the hot path
        _record_headers(head.raw_headers),
    )
    record.check(record_bytes_max)
    if batch_format == 1:
        check_format_1(record)
    return record, None if partition is None else number(partition, "Record-Partition", highest=OFFSET_MAX)


def check_head(head: RecordHead, batch_format: int) -> None:
    """Raise the refusal of a raw value's head at the feature level of ``batch_format``, if any."""
    record = Record(
        0, None, None if _is_tombstone(head, b"") else b"", pairs=_record_headers(head.raw_headers)
    )
    if batch_format == 1:
        check_format_1(record)


def check_format_1(record: Record) -> None:
    """Raise ``FeatureLevelNeeded`` for what a batch of format 1 cannot hold."""
    if record.value is None or record.timestamp is None or isinstance(record.pairs, list):
        what = record.beyond_format_1()
        if what is not None:
            raise needs_batch_format_2(what)


def _is_tombstone(head: RecordHead, body: bytes) -> bool:
    text = head.headers.get(TOMBSTONE)
    if text is None or text == "false":
        return False
    if text != "true":
        raise InvalidRequest(f"{TOMBSTONE} is true or false, not {text[:100]!r}")
    if body:
        raise InvalidRequest(f"a tombstone has no value: leave the body empty with {TOMBSTONE}: true")
    return True


def _record_headers(raw: Iterable[tuple[bytes, bytes]]) -> Pairs | None:
    """In order; names may repeat."""
    found: Pairs = []
    for name, value in raw:
        if name[:14].lower() == _HEADER_PREFIX:
            try:
                value.decode()
                found.append((name[14:].decode().lower(), value))
            except UnicodeDecodeError as error:
                raise InvalidRequest("a Record-Header-... is not UTF-8") from error
    return found or None


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidRequest(f"Record-Key-B64 is not base64: {error}") from error
