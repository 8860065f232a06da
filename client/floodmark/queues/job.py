"""A job: one delivery of one record. How its block ends is how it ends."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Any, Final, Protocol, Self

from floodmark.format.headers import Headers
from floodmark.queues.shapes import REASON_CHARACTERS_MAX, Action, QueueRecord, Settlement

_LOG: Final = logging.getLogger("floodmark")


class Delivery:
    """What a job is about: the record, and which delivery of it this is."""

    __slots__ = ("record",)

    def __init__(self, record: QueueRecord) -> None:
        self.record = record

    @property
    def topic(self) -> str:
        """The queue's topic; that of its dead letters where it is replayed."""
        return self.record.topic

    @property
    def partition(self) -> int:
        """Of ``topic``."""
        return self.record.partition

    @property
    def offset(self) -> int:
        """In the partition."""
        return self.record.offset

    @property
    def timestamp(self) -> int | None:
        """Event time, in milliseconds since the Unix epoch; None if the producer set none."""
        return self.record.timestamp

    @property
    def key(self) -> bytes | None:
        """Bytes, or None."""
        return self.record.key

    @property
    def key_text(self) -> str | None:
        """The key as text. Raises ``InvalidRequest`` if it is not UTF-8."""
        return self.record.key_text

    @property
    def value(self) -> bytes | None:
        """Bytes; of a JSON value, its text; None of a tombstone."""
        return self.record.value

    @property
    def headers(self) -> Headers:
        """The headers, by name."""
        return self.record.headers

    @property
    def deliveries(self) -> int:
        """How often the record has been delivered, this time included."""
        return self.record.deliveries

    @property
    def receipt(self) -> str:
        """With which it is settled, also by others than this client."""
        return self.record.receipt

    def json(self, *, exact: bool = False) -> Any:
        """The value as Python objects; see ``ConsumedRecord.json``."""
        return self.record.json(exact=exact)

    def __repr__(self) -> str:
        record = self.record
        return f"<Job {record.topic}/{record.partition}/{record.offset}, delivery {record.deliveries}>"


class Worker(Protocol):
    """Who has a job in hand."""

    def begin(self, job: Job) -> None:
        """Its block is entered."""

    async def settle(self, job: Job, settlement: Settlement) -> None:
        """Send it, with others. Waits only where too many are under way."""

    async def settle_now(self, job: Job, settlement: Settlement) -> None:
        """Send it, and wait. Raises ``ReceiptExpired``."""

    async def extend(self, job: Job, timeout_s: float | None) -> None:
        """Have more time. Raises ``ReceiptExpired``."""


class Job(Delivery):
    """One delivery of one record, for as long as it is in hand; nobody else gets it meanwhile.

        async with job:
            await charge(job.json())

    Leaving the block well acknowledges the record. An exception is logged, goes no further, and has the
    record delivered again after the queue's backoff, or makes it a dead letter where it was the last
    delivery. What ends the task (it is cancelled, the program is interrupted) gives it back without delay,
    and goes on. Inside, ``retry`` and ``reject`` say something else; then the end of the block is only that.
    """

    __slots__ = ("_worker", "is_lost", "is_settled")

    def __init__(self, record: QueueRecord, worker: Worker) -> None:
        super().__init__(record)
        self._worker = worker
        self.is_settled = False
        """How it ends has been said."""
        self.is_lost = False
        """Its time was up, and it may be somebody else's: what is done from here on may be done twice."""

    async def ack(self) -> None:
        """It is done: the record is never delivered by this queue again, once this returns.

        Raises ``ReceiptExpired`` where it was too late; the record may be delivered again.
        """
        await self._worker.settle_now(self, Settlement(self.receipt, Action.ACK))

    async def retry(self, delay_s: float | None = None) -> None:
        """It failed: again after ``delay_s``, or else the queue's backoff. Raises ``ReceiptExpired``."""
        await self._worker.settle_now(self, Settlement.nack(self.receipt, delay_s))

    async def reject(self, reason: str = "") -> None:
        """It will never work: make it a dead letter at once. Raises ``ReceiptExpired``."""
        settlement = Settlement(self.receipt, Action.REJECT, reason=reason[:REASON_CHARACTERS_MAX])
        await self._worker.settle_now(self, settlement)

    async def extend(self, timeout_s: float | None = None) -> None:
        """Have the visibility timeout begin again, or ``timeout_s``. It is done in the background anyway.

        Raises ``ReceiptExpired``.
        """
        await self._worker.extend(self, timeout_s)

    async def __aenter__(self) -> Self:
        self._worker.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        is_failure = isinstance(error, Exception)
        if is_failure:
            _LOG.warning("%r failed: %r", self, error, exc_info=error)
        if not self.is_settled:
            if error is None:
                settlement = Settlement(self.receipt, Action.ACK)
            elif is_failure:
                settlement = Settlement.nack(self.receipt, error=error)
            else:
                settlement = Settlement(self.receipt, Action.RELEASE)
            await self._worker.settle(self, settlement)
        return is_failure
