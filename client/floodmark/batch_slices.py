"""The records of a batch a few at a time, so that neither their number nor their size holds anybody up.

A batch of 32 MiB becomes as many bytes of values and up to 100,000 objects when it is decoded at once. Here
only the ends of its records are found; what is taken is decoded.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import Final, TypeVar

import msgspec

from floodmark import packed_heads
from floodmark.errors import InvalidBatch
from floodmark.record import Record

SLICE_RECORDS: Final = 500
SLICE_BYTES: Final = 64 << 10

T = TypeVar("T")

_BOUNDS = msgspec.msgpack.Decoder(list[msgspec.Raw])
_RECORDS = msgspec.msgpack.Decoder(list[Record])


class BatchSlices:
    """Over what ``batch.unpacked`` gave. Raises ``InvalidBatch`` when made and by ``take``."""

    def __init__(self, raw: bytes | memoryview) -> None:
        self._raw = raw
        self._small: list[Record] | None = None
        self._bounds = array("Q")
        """Where each record begins, and where the last one ends. Not needed of a batch that is one slice."""
        count = packed_heads.array_length(raw)
        if count <= SLICE_RECORDS and len(raw) <= SLICE_BYTES:
            self._small = _decoded(_RECORDS, raw)
        else:
            lengths = [len(packed) for packed in _decoded(_BOUNDS, raw)]
            self._bounds.extend(accumulate(lengths, initial=len(raw) - sum(lengths)))

    def take(self, first: int, last: int) -> list[Record]:
        """The records from number ``first`` on and before ``last``: a slice of them, at least one.

        A slice has at most ``SLICE_RECORDS``, and as many as fit into ``SLICE_BYTES``; empty behind the last.
        """
        if self._small is not None:
            return self._small[first:last]
        bounds = self._bounds
        last = min(last, len(bounds) - 1, first + SLICE_RECORDS)
        if first >= last:
            return []
        fitting = bisect_right(bounds, bounds[first] + SLICE_BYTES, first, last + 1) - 1
        last = max(first + 1, fitting)
        packed = memoryview(self._raw)[bounds[first] : bounds[last]]
        return _decoded(_RECORDS, packed_heads.array(last - first) + bytes(packed))


def _decoded(decoder: msgspec.msgpack.Decoder[T], raw: bytes | memoryview) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidBatch(f"the records of the batch can not be decoded: {error}") from error
