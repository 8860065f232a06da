"""Reading one partition: from a position, answer after answer, whatever happens to its leader meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final, Literal

import msgspec

from floodmark.consumer.consumed import ReadBatch
from floodmark.errors import InvalidBatch, InvalidRequest, OffsetPastEnd, TransportError
from floodmark.format.frame import first_damaged, walk
from floodmark.format.frame_records import has_records
from floodmark.pin import Pin
from floodmark.transport.http import BATCH_MEDIA_TYPE, GRACE_S, Answer, Request, Transport
from floodmark.transport.pacing import Backoff, Deadline

Start = int | dt.datetime | Literal["earliest", "latest"]
End = int | None

_CATCH_UP_WAIT_S: Final = 1.0


class Bounds(msgspec.Struct, frozen=True):
    """What a partition holds: offsets ``log_start_offset <= o < high_watermark`` can be read."""

    log_start_offset: int
    high_watermark: int


class FetchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to read. ``timeout_s``: how long nodes may fail to answer before the reader gets an error."""

    start: Start
    end: End
    follow: bool
    max_bytes: int
    wait_s: float
    timeout_s: float


class Fetcher:
    """The position in one partition. ``next`` returns what is there and moves on."""

    def __init__(
        self, transport: Transport, topic: str, partition: int, options: FetchOptions, pin: Pin
    ) -> None:
        self._transport = transport
        self._partition = partition
        self._path = f"/v1/topics/{topic}/partitions/{partition}"
        self._route = f"{topic}/{partition}"
        self._options = options
        self._pin = pin
        self._position: int | None = None
        self._end = options.end
        self._end_is_known = options.follow

    @property
    def position(self) -> int | None:
        """The offset that is read next; None while that is not known."""
        start = self._options.start
        return start if self._position is None and isinstance(start, int) and start >= 0 else self._position

    async def next(self) -> tuple[list[ReadBatch], int] | None:
        """The next batches and the bytes they take, or None at the end. Waits while there is nothing yet.

        Raises ``OffsetBelowStart`` if retention has removed the position, ``OffsetPastEnd`` for a start that
        does not exist, ``UnknownTopic``, ``TopicDeleted`` if the topic that was read is gone, and
        ``TransportError`` or ``Unavailable`` after ``timeout_s`` without an answer.
        """
        await self.open()
        while not self._is_at_end():
            answer = await self._ask()
            batches = self._take_in(answer)
            if batches:
                return batches, len(answer.body)
        return None

    async def open(self) -> None:
        """Fix a start that is relative to the end, once; what is stored later is then never missed."""
        start = self._options.start
        if self._position is None and (start == "latest" or (isinstance(start, int) and start < 0)):
            bounds = await tail(
                self._transport, self._path, self._route, self._options.timeout_s, pin=self._pin
            )
            back = start if isinstance(start, int) else 0
            self._position = max(bounds.log_start_offset, bounds.high_watermark + back)

    def _is_at_end(self) -> bool:
        if self._position is None or self._end is None or not self._end_is_known:
            return False
        return self._position >= self._end

    async def _ask(self) -> Answer:
        """One answer, with the checksums of all payloads verified.

        An offset that this reader reached by reading exists, so a new leader that does not know yet that it
        is committed gets time to learn it. Damage is most likely on the leader's disk: asked to verify what
        it reads, the leader repairs it or steps down. Raises ``InvalidBatch`` if the damage stays.
        """
        deadline = Deadline(self._options.timeout_s)
        backoff = Backoff()
        damage: InvalidBatch | None = None
        wait_s = self._wait_s()
        request = Request(
            method="GET",
            path=self._path + "/records",
            query={
                "from": self._from(),
                "max_bytes": self._options.max_bytes,
                "wait": f"{round(wait_s * 1000)}ms",
            },
            headers=self._pin.headers({"Accept": BATCH_MEDIA_TYPE, "Cache-Control": "no-store"}),
            route=self._route,
            fast=True,
        )
        while True:
            try:
                answer = await self._transport.call(
                    request, deadline, attempt_timeout_s=wait_s + self._transport.request_timeout_s
                )
                _check(answer)
                return answer  # noqa: TRY300 - what it raises is handled below
            except (OffsetPastEnd, InvalidBatch) as error:
                delay_s = backoff.next_delay_s()
                is_new = self._position is None and isinstance(error, OffsetPastEnd)
                if is_new or delay_s > deadline.remaining_s:
                    raise
                if isinstance(error, InvalidBatch):
                    damage = error
                    request = msgspec.structs.replace(request, query={**request.query, "verify": "true"})
                await asyncio.sleep(delay_s)
            except TransportError:
                if damage is not None:  # The time was up in the middle of another try: this says more.
                    raise damage from None
                raise

    def _wait_s(self) -> float:
        if self._options.follow:
            return self._options.wait_s
        return _CATCH_UP_WAIT_S if self._end_is_known else 0.0

    def _from(self) -> str:
        start = self._options.start if self._position is None else self._position
        if isinstance(start, dt.datetime):
            return "@" + start.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return str(start)

    def _take_in(self, answer: Answer) -> list[ReadBatch]:
        self._pin.learn(answer.headers)
        next_offset = int(answer.headers["Log-Next-Offset"])
        if not self._end_is_known:
            high_watermark = int(answer.headers["Log-High-Watermark"])
            self._end = high_watermark if self._end is None else min(self._end, high_watermark)
            self._end_is_known = True
        start = int(answer.headers["Log-From-Offset"])
        self._position = next_offset
        end = self._end
        return [
            ReadBatch(self._partition, frame, payload, start=start, end=end)
            for frame, payload in walk(answer.body)
            if has_records(frame) and frame.next_offset > start and (end is None or frame.first_offset < end)
        ]


def _check(answer: Answer) -> None:
    """Raises ``InvalidBatch`` for frames that are not as they were stored."""
    damaged = first_damaged(answer.body)
    if damaged is not None:
        raise InvalidBatch(f"the frame at offset {damaged.first_offset} fails its checksum")


async def tail(transport: Transport, path: str, route: str, timeout_s: float, *, pin: Pin) -> Bounds:
    """The bounds of the partition at ``path``, confirmed by a majority."""
    # The node gets less time than the connection, so that it can still say why it has no answer.
    at_most_s = min(transport.request_timeout_s, timeout_s)
    request = Request(
        method="GET",
        path=path + "/tail",
        query={"timeout": f"{max(1, round(at_most_s * 1000))}ms"},
        route=route,
        headers=pin.headers({}),
    )
    answer = await transport.call(
        request, Deadline(timeout_s + GRACE_S), attempt_timeout_s=at_most_s + GRACE_S
    )
    pin.learn(answer.headers)
    return answer.convert(Bounds)


def check_start(start: Start) -> Start:
    """``start`` itself. Raises ``InvalidRequest`` if it is not a position."""
    if isinstance(start, dt.datetime):
        if start.tzinfo is None:
            raise InvalidRequest("a datetime needs a time zone: which moment is meant?")
    elif not isinstance(start, int) and start not in ("earliest", "latest"):
        raise InvalidRequest(f"start is an offset, 'earliest', 'latest' or a datetime, not {start!r}")
    return start
