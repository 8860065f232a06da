"""Finds the first record of a frame from a timestamp on."""

from __future__ import annotations

import threading
from typing import Final

from floodmark.errors import InvalidBatch, TooLarge
from floodmark.format import frame
from floodmark.format.frame_records import has_records, slices_in, time_of

_few: Final = threading.Semaphore(2)
"""At most two batches are decoded at once, by all searches: each may take 32 MiB."""


def offset_reaching(item: frame.Frame, timestamp_ms: int) -> int:
    """The offset of the first record of a frame with a timestamp of at least ``timestamp_ms``.

    The frame's first offset where its batch cannot be read or has no such record: the reader finds out. Call
    it in a thread: a large batch takes a tenth of a second.
    """
    if not has_records(item):
        return item.first_offset
    try:
        with _few:
            return item.first_offset + _reaching(item, timestamp_ms)
    except (InvalidBatch, TooLarge):
        return item.first_offset


def _reaching(item: frame.Frame, timestamp_ms: int) -> int:
    slices, at = slices_in(item, item.payload), 0
    while found := slices.take(at, item.offset_count):
        for number, record in enumerate(found, at):
            if record is not None and time_of(record, item.append_time) >= timestamp_ms:
                return number
        at += len(found)
    return 0
