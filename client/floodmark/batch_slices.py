"""The records of a batch a few at a time, so that neither their number nor their size holds anybody up.

A batch of 32 MiB becomes as many bytes of values and up to 100,000 objects when it is decoded at once. Here
only the ends of its records are found; what is taken is decoded.
"""

from __future__ import annotations

from typing import Final

import msgspec

from floodmark.errors import InvalidBatch
from floodmark.record import Record

SLICE_RECORDS: Final = 500
SLICE_BYTES: Final = 64 << 10

_BOUNDS = msgspec.msgpack.Decoder(list[msgspec.Raw])
_RECORD = msgspec.msgpack.Decoder(Record)


class BatchSlices:
    """Over what ``batch.unpacked`` gave. Raises ``InvalidBatch`` when made and by ``take``."""

    def __init__(self, raw: bytes | memoryview) -> None:
        try:
            self._records = _BOUNDS.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidBatch(f"the records of the batch can not be decoded: {error}") from error

    def take(self, first: int, last: int) -> list[Record]:
        """The records from number ``first`` on and before ``last``: a slice of them, at least one.

        A slice has at most ``SLICE_RECORDS``, and as many as fit into ``SLICE_BYTES``; empty behind the last.
        """
        taken: list[Record] = []
        size = 0
        try:
            for packed in self._records[first : min(last, first + SLICE_RECORDS)]:
                size += len(packed)
                if taken and size > SLICE_BYTES:
                    break
                taken.append(_RECORD.decode(packed))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidBatch(f"the records of the batch can not be decoded: {error}") from error
        return taken
