"""What a reader hands out: records with their place in the log, or whole batches for speed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from floodmark import batch, json_text
from floodmark.errors import InvalidBatch, InvalidRequest
from floodmark.frame import FrameHeader
from floodmark.record import Record

_NOTHING: Final = memoryview(b"")


class ConsumedRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as it was read.

    partition, offset  its place: offsets have no gaps, and a place never changes its record
    timestamp          event time, as the producer said; milliseconds since the Unix epoch
    append_time        when the leader took it in; milliseconds since the Unix epoch
    key                bytes or None
    value              bytes; of a JSON value, its text to the letter
    is_json            whether ``json()`` can be called
    headers            names and values, or None
    """

    partition: int
    offset: int
    timestamp: int
    append_time: int
    key: bytes | None
    value: bytes
    is_json: bool
    headers: dict[str, str] | None

    def json(self, *, exact: bool = False) -> Any:
        """The value as Python objects. Raises ``InvalidRequest`` when it is opaque bytes.

        Numbers with a fraction or an exponent are floats, or ``Decimal`` where no float reaches (``1e400``);
        with ``exact`` always ``Decimal``.
        """
        if not self.is_json:
            raise InvalidRequest("the value of this record is bytes, not JSON")
        return json_text.decode(self.value, exact=exact)


class ReadBatch:
    """Records that were stored together: offsets ``first_offset <= o < next_offset``.

    The leader's checksum was verified when they came, the producer's is when the records are first looked at.
    """

    __slots__ = (
        "_data",
        "_records",
        "_skip",
        "append_time",
        "first_offset",
        "next_offset",
        "partition",
    )

    def __init__(
        self, partition: int, frame: FrameHeader, payload: memoryview, *, start: int, end: int | None
    ) -> None:
        self.partition = partition
        self.append_time = frame.append_time
        self.first_offset = max(frame.first_offset, start)
        self.next_offset = frame.next_offset if end is None else min(frame.next_offset, end)
        self._skip = self.first_offset - frame.first_offset
        self._data = payload
        self._records: list[Record] | None = None

    def __len__(self) -> int:
        return self.next_offset - self.first_offset

    @property
    def records(self) -> list[Record]:
        """The records as the producer made them, in order of offset. Raises ``InvalidBatch``."""
        if self._records is None:
            records = batch.decode(self._data)
            if len(records) < self._skip + len(self):
                raise InvalidBatch(
                    f"the batch at offset {self.first_offset} lacks records that its frame counts"
                )
            self._data = _NOTHING
            self._records = (
                records if len(records) == len(self) else records[self._skip : self._skip + len(self)]
            )
        return self._records

    def consumed(self) -> list[ConsumedRecord]:
        """The records with their places. Raises ``InvalidBatch``."""
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
                record.headers,
            )
            for offset, record in enumerate(self.records, self.first_offset)
        ]
