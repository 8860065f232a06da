"""Whether a request is a retry of the one whose records are stored under its sequence.

A record batch is sent again as it was, and its checksum tells. To other bodies a node adds what they leave
out: the time of a record, and the request's trace. A retry comes at another time and often with another
trace. So its batch has another checksum though it says the same. Then the records are compared, without what
was added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from floodmark.errors import InvalidBatch, OffsetBelowStart, SequenceReused, Unavailable
from floodmark.frame import walk
from floodmark.frame_records import records_in
from floodmark.record import Record

from node.broker import Appended, Partition
from node.http.records_in import TRACE

ReadAt = Callable[[int], Awaitable[list[Record]]]
"""The request's records, as they are at a moment (milliseconds since the Unix epoch)."""


class Repeats:
    """One per application. One comparison at a time, for each holds both sides' records."""

    def __init__(self) -> None:
        self._one = asyncio.Semaphore(1)

    async def stored_before(
        self, partition: Partition, refusal: SequenceReused, count: int, read_at: ReadAt, *, timeout_s: float
    ) -> Appended | None:
        """Where the request's ``count`` records are stored, or None when those under its sequence are others.

        Where retention has removed those, as many are taken for the same: only their number is known any
        more. Raises what ``fetch`` does, and ``Unavailable`` when the time is up.
        """
        first, behind = refusal.fields["first_offset"], refusal.fields["next_offset"]
        if behind - first != count:
            return None
        try:
            async with asyncio.timeout(timeout_s), self._one:
                return await _compared(partition, first, behind, read_at)
        except TimeoutError:
            raise Unavailable(
                f"nothing was stored; there was no time to see what is, at offset {first}", retry_after_s=0.2
            ) from None


async def _compared(partition: Partition, first: int, behind: int, read_at: ReadAt) -> Appended | None:
    try:
        fetched = await partition.fetch(first, max_bytes=1)
    except OffsetBelowStart:
        return Appended(first, behind, partition.bounds().high_watermark, duplicate=True)
    # A time that follows the moment is one that the request does not say.
    early, late = await read_at(0), await read_at(1)
    if not await asyncio.to_thread(_are_same, fetched.frames, first, early, late):
        return None
    return Appended(first, behind, fetched.bounds.high_watermark, duplicate=True)


def _are_same(frames: bytes, first: int, early: list[Record], late: list[Record]) -> bool:
    try:
        stored = _stored(frames, first, len(early))
    except InvalidBatch as error:
        raise Unavailable(
            f"what is stored under this sequence can not be read here: {error.detail}"
        ) from error
    return len(stored) == len(early) and all(
        _without_additions(one) == _without_additions(at_0)
        and (at_0.timestamp != at_1.timestamp or at_0.timestamp == one.timestamp)
        for one, at_0, at_1 in zip(stored, early, late, strict=True)
    )


def _stored(frames: bytes, first: int, count: int) -> list[Record]:
    """The records of the batch that begins at offset ``first`` or before it, from there on."""
    frame, payload = next(walk(frames))
    begin = first - frame.first_offset
    return [record for record in records_in(frame, payload)[begin : begin + count] if record is not None]


def _without_additions(record: Record) -> tuple[object, ...]:
    headers = [pair for pair in record.headers.pairs if pair[0] != TRACE]
    return record.key, record.value, record.is_json, headers
