"""The records of one partition, gathered until they leave as a batch: when it is full, or old enough.

Without lingering, an unfilled batch leaves at once when nothing before it is under way. While something is,
it gathers until the answer comes (as Nagle's algorithm does with small segments), so that there are no more
batches than the nodes keep up with.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from floodmark.format.limits import BATCH_RECORDS_MAX
from floodmark.format.record import Record
from floodmark.producer.delivery import Later
from floodmark.producer.produced import BatchOutcome
from floodmark.producer.producer_batch import ProducerBatch

_ANSWER_S_MAX: Final = 0.01
"""How long a batch waits for the answer to another one. Distant nodes take longer without being busy."""


class RecordAccumulator:
    """One open producer batch and the full ones before it. While no batch can leave, the open one grows.

    ``ripe`` is called whenever a producer batch may leave.
    """

    def __init__(
        self,
        partition: int,
        *,
        batch_bytes: int,
        linger_s: float,
        delivery_timeout_s: float,
        ripe: Callable[[], None],
    ) -> None:
        self._partition = partition
        self._batch_bytes = batch_bytes
        self._linger_s = linger_s
        self._delivery_timeout_s = delivery_timeout_s
        self._ripe = ripe
        self.room = 0
        """Bytes that the open producer batch has room for; 0 when none is open."""
        self._open: ProducerBatch | None = None
        self._is_ripe = False
        self._timer: asyncio.TimerHandle | None = None
        self._full: deque[ProducerBatch] = deque()

    def add(self, record: Record, size: int, later: Later | None = None) -> tuple[BatchOutcome, int]:
        """Add a record; returns its batch's outcome and its place in the batch. A batch has one ``later``."""
        producer_batch = self._open
        if producer_batch is None or size > self.room or later != producer_batch.later:
            producer_batch = self._open_batch(later)
        index = len(producer_batch.records)
        producer_batch.records.append(record)
        producer_batch.size += size
        self.room -= size
        if self.room <= 0 or index + 1 >= BATCH_RECORDS_MAX:
            self._close_batch()
        return producer_batch.outcome, index

    def add_run(
        self, records: Sequence[Record], size: int, later: Later | None = None
    ) -> tuple[BatchOutcome, int]:
        """Add records that fit into one batch together; returns the outcome and the place of the first
        one."""
        producer_batch = self._open
        if (
            producer_batch is None
            or size > self.room
            or len(producer_batch.records) + len(records) > BATCH_RECORDS_MAX
            or later != producer_batch.later
        ):
            producer_batch = self._open_batch(later)
        index = len(producer_batch.records)
        producer_batch.records.extend(records)
        producer_batch.size += size
        self.room -= size
        if self.room <= 0 or len(producer_batch.records) >= BATCH_RECORDS_MAX:
            self._close_batch()
        return producer_batch.outcome, index

    def ripen(self) -> None:
        """Let what has gathered leave without waiting for more."""
        if self._open is not None:
            self._is_ripe = True
            self._ripe()

    def take(self, *, is_first: bool) -> ProducerBatch | None:
        """The next producer batch to leave, oldest first. ``is_first``: nothing is under way before it."""
        if not self._full and (self._is_ripe or (is_first and not self._linger_s)):
            self._close_batch()
        return self._full.popleft() if self._full else None

    @property
    def is_gathering(self) -> bool:
        """Whether a producer batch is open, and none waits before it."""
        return self._open is not None and not self._full

    def drain(self) -> list[ProducerBatch]:
        """Take everything, ripe or not."""
        self._close_batch()
        producer_batches = list(self._full)
        self._full.clear()
        return producer_batches

    def producer_batches(self) -> list[ProducerBatch]:
        """Everything that is here."""
        return [*self._full, *([self._open] if self._open is not None else [])]

    def _open_batch(self, later: Later | None) -> ProducerBatch:
        self._close_batch()
        producer_batch = self._open = ProducerBatch(self._partition, self._delivery_timeout_s, later)
        self.room = self._batch_bytes
        self._timer = asyncio.get_running_loop().call_later(self._linger_s or _ANSWER_S_MAX, self.ripen)
        if not self._linger_s:
            self._ripe()
        return producer_batch

    def _close_batch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_ripe = False
        self.room = 0
        if self._open is not None:
            self._full.append(self._open)
            self._open = None
            self._ripe()
