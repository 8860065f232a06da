"""A batch on its way: records that gather, then the bytes that are sent until their outcome is known."""

from __future__ import annotations

import asyncio

from floodmark.errors import FloodmarkError, OutcomeUnknown, ServerError, TopicDeleted, TransportError
from floodmark.format import batch
from floodmark.format.record import Record
from floodmark.producer.delivery import Later
from floodmark.producer.numbering import Epoch
from floodmark.producer.produced import BatchOutcome
from floodmark.transport.pacing import Deadline

_RECORD_OVERHEAD = 32
_HEADER_OVERHEAD = 10


def size_of(record: Record) -> int:
    """Upper bound on the bytes of a record in a batch before compression."""
    value, key = record.value, record.key
    size = (len(value) if value else 0) + _RECORD_OVERHEAD
    if key:
        size += len(key)
    if record.pairs:
        size = record.size + _RECORD_OVERHEAD + len(record.pairs) * _HEADER_OVERHEAD
    return size


class ProducerBatch:
    """The records of one batch and what is known about them. ``ordinal`` counts the batches of its epoch."""

    __slots__ = (
        "attempt",
        "count",
        "data",
        "deadline",
        "error",
        "later",
        "maybe_stored",
        "ordinal",
        "outcome",
        "records",
        "sequence",
        "size",
        "was_first",
    )

    def __init__(self, partition: int, timeout_s: float, later: Later | None = None) -> None:
        self.records: list[Record] = []
        self.count = 0
        """How many records there are, once they are bytes."""
        self.size = 0
        self.outcome = BatchOutcome(partition)
        self.deadline = Deadline(timeout_s)
        self.later = later
        """When queues may deliver its records."""
        self.data = b""
        self.sequence = self.ordinal = -1
        self.maybe_stored = False
        self.was_first = False
        self.attempt: asyncio.Task[int] | None = None
        self.error: FloodmarkError | None = None

    def encode(self, epoch: Epoch, *, batch_format: int, codec: int, sequence: int, ordinal: int) -> None:
        """Make the bytes, for the first time or renumbered. Raises ``InvalidBatch``, ``TooLarge``."""
        if self.data:
            self.data = batch.restamp(self.data, producer_epoch=epoch.number, sequence=sequence)
        else:
            self.count = len(self.records)
            self.data = batch.encode(
                self.records,
                codec=codec,
                producer_id=epoch.producer_id,
                producer_epoch=epoch.number,
                sequence=sequence,
                format=batch_format,
                producer_kind=epoch.kind,
            )
            self.records = []  # The bytes are enough from here on.
        self.sequence, self.ordinal = sequence, ordinal

    def conclude(self) -> int | None:
        """Note how the attempt ended: the first offset if stored, else None, and ``error`` is set."""
        attempt, self.attempt = self.attempt, None
        assert attempt is not None
        if attempt.cancelled():
            self.error = TransportError("the producer was closed", sent=True)
        elif (failure := attempt.exception()) is None:
            return attempt.result()
        elif isinstance(failure, FloodmarkError):
            self.error = failure
        else:
            self.error = ServerError(f"{type(failure).__name__}: {failure}")
        self.maybe_stored = self.maybe_stored or _leaves_open(self.error)
        return None

    def give_up(self, error: FloodmarkError) -> None:
        """Settle with an error; with an unknown outcome if an attempt may have been stored.

        If the topic is deleted the batch is not stored, whatever the attempt did.
        """
        if self.maybe_stored and not isinstance(error, OutcomeUnknown | TopicDeleted):
            unknown = OutcomeUnknown(f"these records may or may not be stored; the last try: {error.detail}")
            unknown.__cause__ = error
            error = unknown
        self.outcome.failed(error)


def _leaves_open(error: FloodmarkError) -> bool:
    """Whether the attempt, or an earlier try within the transport, may have stored the batch."""
    if error.fields.get("repeated") or error.fields.get("sent"):
        return True
    if isinstance(error, TransportError):
        return error.fields.get("sent") is not False
    return isinstance(error, OutcomeUnknown | ServerError)
