"""Whether a request is a retry of the one whose records are stored under its sequence.

A record batch is resent unchanged, so its checksum tells. To other bodies a node adds what they leave out:
the time of a record, and the request's trace. A retry comes at another time and often with another trace, so
its batch has another checksum although its records are the same. Then the records are compared, without what
was added.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from floodmark.errors import (
    InvalidBatch,
    OffsetBelowStart,
    SequenceReused,
    StorageUnavailable,
    TimedOut,
)
from floodmark.format.frame import FrameKind, walk
from floodmark.format.frame_records import records_in
from floodmark.format.record import Record

from node.broker import Appended

if TYPE_CHECKING:
    from node.service.leaders import Leader
    from node.service.service import Service

TRACE: Final = "traceparent"
"""The header that a node adds to records that came with a trace."""

_OWN: Final = ""
"""What is read for a comparison is counted for no client's address."""
ReadAt = Callable[[int], Awaitable[list[Record]]]
"""The request's records, as its body gives them at a time (Unix milliseconds)."""


class Repeats:
    """One per application. One comparison at a time, since each holds both sides' records."""

    def __init__(self) -> None:
        self._one = asyncio.Semaphore(1)

    async def stored_before(
        self,
        service: Service,
        leader: Leader,
        refusal: SequenceReused,
        count: int,
        read_at: ReadAt,
        *,
        timeout_s: float,
    ) -> Appended | None:
        """Where the request's ``count`` records are stored, or None when those under its sequence are others.

        Where retention or compaction has removed those, the same count is taken as equal: nothing else is
        known of them. Raises what ``fetch`` does, and ``Unavailable`` when the time is up.
        """
        first, behind = refusal.fields["first_offset"], refusal.fields["next_offset"]
        if behind - first != count:
            return None
        try:
            async with asyncio.timeout(timeout_s), self._one:
                return await _compared(service, leader, first, behind, read_at)
        except TimeoutError:
            raise TimedOut(
                f"nothing was stored; there was no time to compare it with what is stored at offset {first}",
                retry_after_s=0.2,
            ) from None


async def _compared(
    service: Service, leader: Leader, first: int, behind: int, read_at: ReadAt
) -> Appended | None:
    with service.answers.hold(_OWN) as hold:
        try:
            found = await leader.fetch(str(first), max_bytes=1, verify=False, hold=hold)
        except OffsetBelowStart as error:
            high_watermark = int(error.fields["high_watermark"])
            return Appended(first, behind, high_watermark, duplicate=True)
        fetched = found.fetched
        # A time that differs between the two readings is not given by the request.
        early, late = await read_at(0), await read_at(1)
        if not await asyncio.to_thread(_are_same, fetched.frames, first, early, late):
            return None
        return Appended(first, behind, fetched.bounds.high_watermark, duplicate=True)


def _are_same(frames: bytes, first: int, early: list[Record], late: list[Record]) -> bool:
    try:
        stored = _stored(frames, first, len(early))
    except InvalidBatch as error:
        raise StorageUnavailable(
            f"what is stored under this sequence cannot be read here: {error.detail}"
        ) from error
    return len(stored) == len(early) and all(
        one is None or _is_same(one, at_0, at_1) for one, at_0, at_1 in zip(stored, early, late, strict=True)
    )


def _is_same(stored: Record, at_0: Record, at_1: Record) -> bool:
    if (stored.key, stored.value, stored.is_json) != (at_0.key, at_0.value, at_0.is_json):
        return False
    return _has_headers(stored, at_0) and _has_time(stored, at_0, at_1)


def _has_headers(stored: Record, said: Record) -> bool:
    """All of them, in order; a node may have added the trace of a request at their end, where none was."""
    its, own = list(stored.headers.pairs), list(said.headers.pairs)
    if its == own:
        return True
    return its[:-1] == own and its[-1][0] == TRACE and TRACE not in [name for name, _ in own]


def _has_time(stored: Record, at_0: Record, at_1: Record) -> bool:
    """Any where the request says none, for then a node has given it."""
    if at_0.timestamp != at_1.timestamp:
        return stored.timestamp is not None
    return stored.timestamp == at_0.timestamp


def _stored(frames: bytes, first: int, count: int) -> list[Record | None]:
    """What there is of the batch that begins at offset ``first`` or before it, from there on; None of what
    was removed, which is known by its number only."""
    frame, payload = next(walk(frames))
    if frame.kind is FrameKind.GAP:
        return [None] * count
    begin = first - frame.first_offset
    return records_in(frame, payload)[begin : begin + count]
