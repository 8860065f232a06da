"""Whether an idempotent batch is new, a duplicate, or out of order: decided on the leader before it proposes.

The committed batches are in the producer table. Those that this leader has proposed and that are not applied
yet lie over it; they are this leader's own affair and go when its term ends.
"""

from __future__ import annotations

from floodmark.batch import BatchHeader
from floodmark.errors import Conflict, ProducerFenced, SequenceGap

from consensus.types import Outcome, Proposal, Stored
from node.producers import BATCHES_REMEMBERED, ProducerTable, Remembered


class InFlight:
    """The batches of one producer between proposal and apply, by sequence. All are of one epoch."""

    __slots__ = ("batches", "epoch")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: dict[int, Proposal] = {}


class Sequences:
    """The producer table with what is in flight over it. Only to be asked while this replica leads."""

    def __init__(self, table: ProducerTable) -> None:
        self._table = table
        self._term = 0
        self._in_flight: dict[bytes, InFlight] = {}

    def begin(self, term: int) -> None:
        """This replica leads in ``term``: what it proposed in an earlier one is settled by the log now."""
        if term != self._term:
            self._term = term
            self._in_flight.clear()

    def find(self, header: BatchHeader) -> Remembered | Proposal | None:
        """None for the producer's next batch; else what became, or is becoming, of this one before.

        Raises ``ProducerFenced`` (current_epoch), ``SequenceGap`` (expected_sequence), ``Conflict``.
        """
        flying = self._in_flight.get(header.producer_id)
        if flying is not None:
            self._settle(header.producer_id, flying)
        epoch, expected = self._position(header)
        if header.producer_epoch < epoch:
            raise ProducerFenced(
                f"epoch {header.producer_epoch} of this producer was ended by epoch {epoch}; "
                "another instance took over",
                current_epoch=epoch,
            )
        if header.producer_epoch > epoch:
            expected = 0
        if header.sequence == expected:
            return None
        if header.sequence > expected:
            raise self._gap(header, epoch, expected)
        return self._earlier(header, expected)

    def add(self, header: BatchHeader, proposal: Proposal) -> None:
        """``find`` returned None and this is the batch's proposal."""
        flying = self._in_flight.get(header.producer_id)
        if flying is None or flying.epoch != header.producer_epoch:
            flying = self._in_flight[header.producer_id] = InFlight(header.producer_epoch)
        flying.batches[header.sequence] = proposal
        name, term = header.producer_id, self._term

        def done(outcome: Outcome) -> None:
            if term != self._term or self._in_flight.get(name) is not flying:
                return
            if isinstance(outcome, Stored):
                self._settle(name, flying)
            else:
                # It did not get in, so neither did what the producer sent behind it.
                del self._in_flight[name]

        proposal.add_done_callback(done)

    def _settle(self, name: bytes, flying: InFlight) -> None:
        """Take out what the table has by now, in order."""
        for sequence, proposal in list(flying.batches.items()):
            if proposal.outcome is None or proposal.index > self._table.last_index:
                break
            del flying.batches[sequence]
        if not flying.batches and self._in_flight.get(name) is flying:
            del self._in_flight[name]

    def _position(self, header: BatchHeader) -> tuple[int, int]:
        """The producer's epoch, and the sequence that comes next in it."""
        flying = self._in_flight.get(header.producer_id)
        if flying is not None:
            return flying.epoch, next(reversed(flying.batches)) + 1
        known = self._table.producers.get(header.producer_id)
        if known is not None:
            return known.epoch, known.last_sequence + 1
        return header.producer_epoch, 0

    def _gap(self, header: BatchHeader, epoch: int, expected: int) -> Conflict:
        known = header.producer_id in self._in_flight or header.producer_id in self._table.producers
        if not known and self._table.forgotten:
            return Conflict(
                "this partition does not remember the producer (any more): too many others wrote since; "
                "begin a new epoch at sequence 0",
                expected_sequence=0,
            )
        return SequenceGap(
            f"sequence {header.sequence} skips ahead; the next one of epoch {header.producer_epoch} "
            f"is {expected}",
            expected_sequence=expected,
            current_epoch=epoch,
        )

    def _earlier(self, header: BatchHeader, expected: int) -> Remembered | Proposal:
        flying = self._in_flight.get(header.producer_id)
        if flying is not None and header.sequence in flying.batches:
            return flying.batches[header.sequence]
        known = self._table.producers.get(header.producer_id)
        if known is not None and known.epoch == header.producer_epoch:
            remembered = known.find(header.sequence)
            if remembered is not None:
                return remembered
        raise SequenceGap(
            f"sequence {header.sequence} was stored before, too long ago to say where: the last "
            f"{BATCHES_REMEMBERED} batches are remembered, the next sequence is {expected}",
            expected_sequence=expected,
        )
