"""What a reader hands out: records with their place in the log, or whole batches for speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from floodmark.errors import InvalidBatch
from floodmark.format.frame import FrameHeader
from floodmark.format.frame_records import records_in
from floodmark.format.headers import Headers
from floodmark.format.record import Record, headers_of, json_of, key_text_of


class ConsumedRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as it was read.

    partition, offset  its place: offsets rise and may have gaps, and a place never changes its record
    timestamp          event time, as the producer said; milliseconds since the Unix epoch; None if it did not
    append_time        when the leader appended it; milliseconds since the Unix epoch
    key                bytes or None
    value              bytes; of a JSON value, its text to the letter; None of a tombstone
    is_json            whether ``json()`` can be called
    pairs              headers: names and values in order, or None
    """

    partition: int
    offset: int
    timestamp: int | None
    append_time: int
    key: bytes | None
    value: bytes | None
    is_json: bool
    pairs: list[tuple[str, bytes | None]] | dict[str, str] | None

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
        """The value as Python objects. Raises ``InvalidRequest`` if it is bytes that are not JSON, or a
        tombstone.

        Numbers with a fraction or an exponent are floats, or ``Decimal`` beyond the range of a float
        (``1e400``); with ``exact`` always ``Decimal``.
        """
        return json_of(self.value, self.is_json, exact=exact)


class ReadBatch:
    """Records that were stored together: offsets ``first_offset <= o < next_offset``.

    The leader's checksum was verified on arrival; the producer's is verified at the first look at the
    records.
    """

    __slots__ = (
        "_end",
        "_frame",
        "_payload",
        "_places",
        "_records",
        "first_offset",
        "next_offset",
        "partition",
    )

    def __init__(
        self, partition: int, frame: FrameHeader, payload: memoryview, *, start: int, end: int | None
    ) -> None:
        self.partition = partition
        self.first_offset = max(frame.first_offset, start)
        self.next_offset = frame.next_offset if end is None else min(frame.next_offset, end)
        self._frame = frame
        self._payload: memoryview | None = payload
        self._records: list[Record] = []
        self._places: Sequence[int] = ()

    @property
    def append_time(self) -> int:
        """When the leader appended them; milliseconds since the Unix epoch."""
        return self._frame.append_time

    def __len__(self) -> int:
        """How many offsets they take up: the number of records, unless some were removed."""
        return self.next_offset - self.first_offset

    @property
    def records(self) -> list[Record]:
        """The records as the producer made them, in order of offset. Raises ``InvalidBatch``, ``TooNew``."""
        if self._payload is not None:
            self._open(self._payload)
        return self._records

    @property
    def offsets(self) -> Sequence[int]:
        """The offset of each of ``records``. Raises as that does."""
        if self._payload is not None:
            self._open(self._payload)
        return self._places

    def _open(self, payload: memoryview) -> None:
        skip = self.first_offset - self._frame.first_offset
        found = records_in(self._frame, payload)
        if len(found) < skip + len(self):
            raise InvalidBatch(f"the batch at offset {self.first_offset} lacks records that its frame counts")
        if len(found) > len(self):
            found = found[skip : skip + len(self)]
        places: Sequence[int] = range(self.first_offset, self.next_offset)
        if None in found:
            places = [place for place, record in zip(places, found, strict=True) if record is not None]
        self._records = [record for record in found if record is not None] if None in found else found  # type: ignore[assignment]
        self._places = places
        self._payload = None

    def consumed(self) -> list[ConsumedRecord]:
        """The records with their places. Raises ``InvalidBatch``, ``TooNew``."""
        partition, append_time = self.partition, self.append_time
        return [
            ConsumedRecord(
                partition,
                offset,
                record.timestamp,
                append_time,
                record.key,
                record.value,
                record.is_json,
                record.pairs,
            )
            for offset, record in zip(self.offsets, self.records, strict=True)
        ]
