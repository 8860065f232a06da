"""One partition of one producer: batches leave in order, several at a time, and go back together.

Up to ``in_flight_max`` batches are under way at once, each in its own request. A node takes an idempotent
producer's batches in the order of their numbers only, so a batch that overtakes another is refused and not
stored. When one fails, the sender waits until all that are under way have ended, and sends those that are not
stored again, in order (go back N).

A batch that is given up leaves a hole in the numbers, and the rest is renumbered: from the hole on if none of
their requests can still be on its way, else under the next epoch, which fences such a request: once a batch
of the next epoch is stored, none of the earlier epoch ever will be, so order is kept without an answer.
The epoch is the whole producer's: the other senders move to it too, each with nothing of its own under way.

A batch that may be stored under its number is never sent under another one, whatever a node answers: it goes
again under the same number until it is known to be stored, and ends as unknown when its time is up.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from floodmark.errors import (
    FloodmarkError,
    InvalidRequest,
    NotUsable,
    OutcomeUnknown,
    OutOfOrderSequence,
    ProducerFenced,
    SequenceReused,
    ServerError,
    TooLarge,
    TopicDeleted,
    TransportError,
)
from floodmark.producer.numbering import Epoch, Numbering
from floodmark.producer.produced import BatchOutcome
from floodmark.producer.producer_batch import ProducerBatch
from floodmark.producer.record_accumulator import RecordAccumulator
from floodmark.producer.sender_options import SenderHost, SenderOptions
from floodmark.transport.pacing import Backoff

_TELL_AFTER_S: Final = 1.0
"""Problems that pass within a second, as most changes of leader do, are not logged."""
_log: Final = logging.getLogger("floodmark.producer.producer")
_log.addHandler(logging.NullHandler())  # a library says nothing unless its user listens


class PartitionSender:
    """Gathers, sends and settles the batches of one partition."""

    def __init__(
        self, partition: int, options: SenderOptions, numbering: Numbering, host: SenderHost
    ) -> None:
        self.fatal: FloodmarkError | None = None
        self._options = options
        self._host = host
        self._numbering = numbering
        self._epoch = numbering.current
        self._sequence = self._ordinal = 0
        self._window: list[ProducerBatch] = []
        self._wake = asyncio.Event()
        self._backoff = Backoff()
        self._is_told = False
        self.accumulator = RecordAccumulator(
            partition,
            batch_bytes=options.batch_bytes,
            linger_s=options.linger_s,
            delivery_timeout_s=options.delivery_timeout_s,
            ripe=self._wake.set,
        )
        self._driver = asyncio.create_task(self._run(), name=f"floodmark-sender-{partition}")

    def pending(self) -> list[BatchOutcome]:
        """The outcomes of all batches that are not settled."""
        return [
            producer_batch.outcome for producer_batch in [*self._window, *self.accumulator.producer_batches()]
        ]

    def end(self, error: FloodmarkError) -> None:
        """Accept no more records, and fail what has not left; what is under way gets its own answer."""
        self.fatal = self.fatal or error
        for producer_batch in self.accumulator.drain():
            self._give_up(producer_batch, error)

    async def stop(self) -> None:
        """End at once: what is not settled fails, with an unknown outcome if it may have been stored."""
        attempts = [
            producer_batch.attempt for producer_batch in self._window if producer_batch.attempt is not None
        ]
        for task in [self._driver, *attempts]:
            task.cancel()
        await asyncio.gather(self._driver, *attempts, return_exceptions=True)
        self._collect_answers()
        self._fail_all(TransportError("the producer was closed before this was sent", sent=False))

    async def _run(self) -> None:
        try:
            while True:
                self._launch()
                await self._wake.wait()
                self._wake.clear()
                was_busy = bool(self._window)
                self._collect_answers()
                if was_busy and not self._window and self.accumulator.is_gathering:
                    await self._let_woken_send()
                if self._window and all(producer_batch.error is not None for producer_batch in self._window):
                    await self._recover()
        except Exception as error:
            self.fatal = ServerError(f"defect in the producer: {type(error).__name__}: {error}")
            self._fail_all(self.fatal)
            raise

    async def _let_woken_send(self) -> None:
        """Let callers that an answer woke add their next records to the batch that leaves now.

        Otherwise callers would split into two groups that wait for each other's batches. It takes three
        turns of the loop until the next record of a caller that awaited an acknowledgement is here.
        """
        for _ in range(3):
            await asyncio.sleep(0)

    def _launch(self) -> None:
        """Send as many producer batches as may be under way; none while others wait to be sent again.

        The numbers of the oldest and the newest one stay close together, since nodes remember only the last
        few batches of a producer: one whose answer was lost must not be forgotten before it is sent again.
        """
        while all(producer_batch.error is None for producer_batch in self._window):
            if self._epoch is not self._numbering.current:
                if self._window:
                    return
                self._epoch, self._sequence, self._ordinal = self._numbering.current, 0, 0
            oldest = self._window[0].ordinal if self._window else self._ordinal
            if max(len(self._window), self._ordinal - oldest) >= self._options.in_flight_max:
                return
            producer_batch = self.accumulator.take(is_first=not self._window)
            if producer_batch is None:
                return
            if self._number(producer_batch):
                self._window.append(producer_batch)
                self._start(producer_batch)

    def _number(self, producer_batch: ProducerBatch) -> bool:
        """Number and encode a producer batch; one that cannot be sent is settled. Whether it can be sent."""
        if self.fatal is None and producer_batch.deadline.expired:
            self._give_up(
                producer_batch, TransportError("it could not be sent before its delivery timeout", sent=False)
            )
        elif self.fatal is not None:
            self._give_up(producer_batch, self.fatal)
        else:
            try:
                producer_batch.encode(
                    self._epoch,
                    batch_format=self._numbering.batch_format,
                    codec=self._options.codec,
                    sequence=self._sequence,
                    ordinal=self._ordinal,
                )
            except (InvalidRequest, TooLarge) as error:
                self._give_up(producer_batch, error)
            else:
                self._sequence = self._epoch.following(self._sequence, producer_batch.count)
                self._ordinal += 1
                return True
        return False

    def _start(self, producer_batch: ProducerBatch) -> None:
        async def attempt() -> int:
            return await self._host.send(producer_batch)

        producer_batch.error = None
        producer_batch.was_first = producer_batch is self._window[0]
        producer_batch.attempt = asyncio.create_task(attempt())
        producer_batch.attempt.add_done_callback(lambda _: self._wake.set())

    def _collect_answers(self) -> None:
        """Settle what is stored; keep what is under way or has failed."""
        kept = []
        for producer_batch in self._window:
            if producer_batch.attempt is None or not producer_batch.attempt.done():
                kept.append(producer_batch)
                continue
            first_offset = producer_batch.conclude()
            if first_offset is None:
                kept.append(producer_batch)
            else:
                self._backoff.reset()
                self._is_told = False
                producer_batch.outcome.stored(first_offset)
                self._host.settled(producer_batch)
        self._window = kept

    async def _recover(self) -> None:
        """Handle the failure of all batches that are left, with nothing under way. The oldest one's error is
        the reason."""
        oldest = self._window[0]
        error = oldest.error
        assert error is not None
        if isinstance(error, OutOfOrderSequence) and not oldest.was_first:
            pass  # It overtook an older batch, which is stored by now.
        elif self._may_repeat(error) or self._is_disputed(oldest, error):
            delay_s = self._backoff.next_delay_s(error.retry_after_s)
            if isinstance(error, TransportError) and self._host.has_alternative():
                delay_s = 0.0
            self._tell(oldest, error)
            if delay_s < oldest.deadline.remaining_s:
                await asyncio.sleep(delay_s)
            else:
                self._drop_oldest(error)
        elif self._lost_count(oldest, error) and not oldest.deadline.expired:
            # Earlier batches are gone, as is possible without acks="quorum".
            self._begin_epoch(error)
            await asyncio.sleep(self._backoff.next_delay_s())
        else:
            self._drop_oldest(error)
        for producer_batch in self._window:
            self._start(producer_batch)

    def _tell(self, oldest: ProducerBatch, error: FloodmarkError) -> None:
        """Log once what keeps records from being stored, before their time is up and it becomes an error."""
        left_s = oldest.deadline.remaining_s
        if not self._is_told and oldest.deadline.timeout_s - left_s >= _TELL_AFTER_S:
            self._is_told = True
            _log.warning("%s; trying for %.0f s more", error.detail, left_s)

    def _may_repeat(self, error: FloodmarkError) -> bool:
        if self._epoch.is_idempotent:
            return error.retriable or isinstance(error, OutcomeUnknown | ServerError)
        return error.retriable and not error.fields.get("sent")

    def _lost_count(self, producer_batch: ProducerBatch, error: FloodmarkError) -> bool:
        return self._numbering.owns_epoch and self._misses_earlier(producer_batch, error)

    def _is_disputed(self, producer_batch: ProducerBatch, error: FloodmarkError) -> bool:
        """Whether a majority acknowledged what this answer says is missing, and the batch may be stored.

        The next answer may come from a node that has both; under a new number the batch could be stored
        twice.
        """
        return (
            self._options.is_durable
            and producer_batch.maybe_stored
            and self._misses_earlier(producer_batch, error)
        )

    def _misses_earlier(self, producer_batch: ProducerBatch, error: FloodmarkError) -> bool:
        """Whether a node says that batches before this one are missing, although all were acknowledged."""
        expected = error.fields.get("expected_sequence")
        return (
            isinstance(error, OutOfOrderSequence)
            and isinstance(expected, int)
            and self._epoch.is_before(expected, producer_batch.sequence)
        )

    def _drop_oldest(self, error: FloodmarkError) -> None:
        oldest = self._window.pop(0)
        self._give_up(oldest, error)
        if isinstance(error, TopicDeleted):
            # Its numbers mean nothing in a later topic of the same name, and order ends here.
            self.fatal = error
            self._fail_all(error)
        if not self._epoch.is_idempotent:
            return
        is_open = oldest.maybe_stored or any(producer_batch.maybe_stored for producer_batch in self._window)
        if isinstance(error, ProducerFenced | SequenceReused):
            # Another instance uses this name: in a later epoch, or in the same one.
            self.fatal = error
        elif is_open and not self._numbering.owns_epoch:
            self.fatal = OutcomeUnknown(
                f"a batch of this producer may or may not be stored, so its order cannot be kept any more; "
                f"open it again with a higher epoch than {self._epoch.number}"
            )
        if self.fatal is not None:
            self._fail_all(self.fatal)
        elif is_open:
            self._begin_epoch(error)
        elif self._epoch is not self._numbering.current:
            self._number_anew(self._numbering.current)
        else:
            self._number_anew(self._epoch, sequence=oldest.sequence, ordinal=oldest.ordinal)

    def _begin_epoch(self, error: FloodmarkError) -> None:
        """Renumber what is certainly not stored; the rest ends with an unknown outcome."""
        for producer_batch in [
            producer_batch for producer_batch in self._window if producer_batch.maybe_stored
        ]:
            self._window.remove(producer_batch)
            self._give_up(producer_batch, error)
        try:
            epoch = self._numbering.move_on(self._epoch)
        except NotUsable as used_up:
            self.fatal = used_up
            self._fail_all(used_up)
        else:
            self._number_anew(epoch)

    def _number_anew(self, epoch: Epoch, *, sequence: int = 0, ordinal: int = 0) -> None:
        self._epoch, self._sequence, self._ordinal = epoch, sequence, ordinal
        for producer_batch in self._window:
            self._number(producer_batch)
        self._window = [
            producer_batch for producer_batch in self._window if not producer_batch.outcome.is_settled
        ]

    def _fail_all(self, error: FloodmarkError) -> None:
        producer_batches = [*self._window, *self.accumulator.drain()]
        self._window = []
        for producer_batch in producer_batches:
            self._give_up(producer_batch, error)

    def _give_up(self, producer_batch: ProducerBatch, error: FloodmarkError) -> None:
        producer_batch.give_up(error)
        self._host.settled(producer_batch)
