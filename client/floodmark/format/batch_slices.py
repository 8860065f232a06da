"""The records of a batch a few at a time, so that neither their number nor their size blocks the event loop.

A batch of 32 MiB becomes as many bytes of values and up to 100,000 objects when it is decoded at once. Here
only the ends of its records are found; what is taken is decoded.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import Final

import msgspec

from floodmark.format import batch, packed_heads
from floodmark.format.batch_header import BatchHeader
from floodmark.format.record import Record

SLICE_RECORDS: Final = 500
SLICE_BYTES: Final = 64 << 10
SLICE_HEADERS: Final = 2_000
"""Headers in a slice; what is beyond is left for the next slice: each header takes some microseconds."""

_FEW_HEADERS_BYTES: Final = 2 * SLICE_HEADERS
"""A slice of fewer bytes cannot hold more headers than that."""

_BOUNDS = msgspec.msgpack.Decoder(list[msgspec.Raw])


class BatchSlices:
    """The slices of the result of ``batch.unpacked``. Raises ``InvalidBatch``, ``TooNew``."""

    def __init__(self, raw: bytes | memoryview, header: BatchHeader) -> None:
        self._raw = raw
        self._header = header
        self._small: list[Record | None] | None = None
        self._records = SLICE_RECORDS
        self._bounds = array("Q")
        """Where each record begins, and where the last one ends. Not needed if the batch is one slice."""
        count = packed_heads.array_length(raw)
        if count <= SLICE_RECORDS and len(raw) <= SLICE_BYTES:
            self._small = batch.decode_records(raw, header)
        else:
            lengths = [len(packed) for packed in _bounds(raw)]
            self._bounds.extend(accumulate(lengths, initial=len(raw) - sum(lengths)))

    def take(self, first: int, last: int) -> list[Record | None]:
        """The records from number ``first`` on and before ``last``: a slice of them, at least one.

        A slice has at most ``SLICE_RECORDS``, and as many as fit into ``SLICE_BYTES``; empty behind the last.
        None stands for one that was removed.
        """
        if self._small is not None:
            found = self._small[first:last]
            return found if len(self._raw) <= _FEW_HEADERS_BYTES else self._shortened(found)
        bounds = self._bounds
        last = min(last, len(bounds) - 1, first + self._records)
        if first >= last:
            return []
        fitting = bisect_right(bounds, bounds[first] + SLICE_BYTES, first, last + 1) - 1
        last = max(first + 1, fitting)
        packed = memoryview(self._raw)[bounds[first] : bounds[last]]
        found = batch.decode_records(packed_heads.array(last - first) + bytes(packed), self._header)
        return self._shortened(found)

    def _shortened(self, found: list[Record | None]) -> list[Record | None]:
        fitting = records_of_few_headers(found)
        if fitting < len(found):
            self._records = fitting  # The next slices, too: what is cut off is decoded twice.
        return found[:fitting]


def records_of_few_headers(found: list[Record | None]) -> int:
    """How many of these records have ``SLICE_HEADERS`` together, at least one."""
    counts = [len(record.pairs) if record is not None and record.pairs else 0 for record in found]
    if sum(counts) <= SLICE_HEADERS:
        return len(found)
    return max(1, bisect_right(list(accumulate(counts)), SLICE_HEADERS))


def _bounds(raw: bytes | memoryview) -> list[msgspec.Raw]:
    try:
        return _BOUNDS.decode(raw)
    except batch.UNDECODABLE as error:
        raise batch.undecodable(error) from error
