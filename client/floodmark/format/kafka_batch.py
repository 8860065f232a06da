"""Kafka record batches of format 2: a header (``kafka_header.py``), then records (``kafka_records.py``),
compressed as the header says.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import google_crc32c

from floodmark.errors import InvalidBatch
from floodmark.format import kafka_compression
from floodmark.format.batch_slices import SLICE_BYTES, SLICE_RECORDS, records_of_few_headers
from floodmark.format.kafka_header import CRC_FROM, HEADER_BYTES, KafkaHeader, decode_stored_header
from floodmark.format.kafka_records import VARINT_BYTES, VARLONG_BYTES, decode_records, number_at
from floodmark.format.record import Record

_CRC_PIECE_BYTES: Final = 64 << 10


def decode(
    batch: bytes | memoryview, *, frame_crc: int | None = None, behind: bytes | memoryview = b""
) -> list[Record | None]:
    """The records of a stored batch, its checksum and count verified; None where a record was removed.

    The parameters are as in ``batch.decode``. Raises ``InvalidBatch``, ``TooLarge``, ``TooNew``.
    """
    header = decode_stored_header(batch, frame_crc, behind)
    raw = bytes(unpacked(batch, header, frame_crc, behind))
    if header.is_control:
        return [None] * header.positions
    return decode_records(raw, header, header.record_count, 0, header.positions)


def unpacked(
    batch: bytes | memoryview,
    header: KafkaHeader,
    frame_crc: int | None = None,
    behind: bytes | memoryview = b"",
) -> bytes | memoryview:
    """The records before compression, the checksum verified. Raises ``InvalidBatch``."""
    view = memoryview(batch)
    crc, whole = 0, google_crc32c.value(bytes(view[:CRC_FROM]))
    for at in range(CRC_FROM, len(view), _CRC_PIECE_BYTES):
        piece = bytes(view[at : at + _CRC_PIECE_BYTES])
        crc = google_crc32c.extend(crc, piece)
        if frame_crc is not None:
            whole = google_crc32c.extend(whole, piece)
    if crc != header.crc:
        raise InvalidBatch("the batch fails its CRC32C: it was damaged on its way, send it again")
    if frame_crc is not None and frame_crc != google_crc32c.extend(whole, bytes(behind)):
        raise InvalidBatch("the batch does not match the checksum of its frame")
    body = view[HEADER_BYTES:]
    if header.codec == kafka_compression.NONE:
        return body
    return kafka_compression.decompress(header.codec, body, header.raw_length)


class KafkaSlices:
    """Like ``BatchSlices``. Raises ``InvalidBatch``, ``TooLarge``."""

    def __init__(self, raw: bytes | memoryview, header: KafkaHeader) -> None:
        self._raw = raw
        self._header = header
        self._records = SLICE_RECORDS
        self._places: Sequence[int] = ()
        """The place in the batch of each record that there is."""
        self._bounds = array("I", [0])
        """Where each of them begins, and where the last one ends."""
        if header.is_control:
            return
        try:
            self._find_bounds()
        except IndexError as error:
            raise InvalidBatch(f"the records of the batch cannot be decoded: {error}") from error

    def _find_bounds(self) -> None:
        raw, count, size, bounds = self._raw, self._header.record_count, len(self._raw), self._bounds
        at = 0
        for _ in range(count):
            number = raw[at]
            at += 1
            if number > 127:
                number, at = number_at(raw, at - 1, VARINT_BYTES)
            at += number >> 1
            if number & 1 or at > size:
                raise InvalidBatch("a record does not end where its length says")
            bounds.append(at)
        if at != size:
            raise InvalidBatch(f"{size - at} bytes are left after the last record")
        self._places = range(count) if count == self._header.positions else self._found_places()

    def _found_places(self) -> Sequence[int]:
        """The places if some records were removed. They are checked when the records are decoded."""
        raw, places, last = self._raw, array("I"), -1
        for begin in self._bounds[:-1]:
            _, at = number_at(raw, begin, VARINT_BYTES)
            _, at = number_at(raw, at + 1, VARLONG_BYTES)
            number, _ = number_at(raw, at, VARINT_BYTES)
            if number & 1 or not last < number >> 1 < self._header.positions:
                raise InvalidBatch(f"a record stands at offset {number >> 1} of its batch, after {last}")
            last = number >> 1
            places.append(last)
        return places

    def take(self, first: int, last: int) -> list[Record | None]:
        """See ``BatchSlices.take``."""
        places, bounds = self._places, self._bounds
        last = min(last, self._header.positions, first + self._records)
        if first >= last:
            return []
        begin, end = bisect_left(places, first), bisect_left(places, last)
        fitting = bisect_right(bounds, bounds[begin] + SLICE_BYTES, begin, end + 1) - 1
        if max(begin + 1, fitting) < end:
            end = max(begin + 1, fitting)
            last = places[end]
        packed = bytes(self._raw[bounds[begin] : bounds[end]])
        found = decode_records(packed, self._header, end - begin, first, last)
        fitting = records_of_few_headers(found)
        if fitting < len(found):
            self._records = fitting  # The next slices, too: what is cut off is decoded twice.
        return found[:fitting]
