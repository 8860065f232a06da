"""Whether an idempotent batch is new, a duplicate, or out of order: decided on the leader before it proposes.

The producer table has the committed batches. Those that this leader has proposed and that are not applied yet
are kept over it; they are this leader's alone and are dropped when its term ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from floodmark.errors import OutOfOrderSequence, ProducerFenced, SequenceReused
from floodmark.format.batch import BatchHeader
from floodmark.format.sequence import covers, following, is_before

from consensus.types import Outcome, Proposal, Stored
from node.partition.producers import BATCHES_REMEMBERED, ProducerTable, Remembered, key_of


@dataclass(frozen=True, slots=True)
class Flying:
    """One batch between proposal and apply."""

    proposal: Proposal
    sequence: int
    count: int
    crc: int

    def is_of(self, header: BatchHeader) -> bool:
        """Whether it is the batch with this header, of the same epoch."""
        return (self.sequence, self.count, self.crc) == (header.sequence, header.count, header.records_crc)


class InFlight:
    """The batches of one producer between proposal and apply, in their order. All are of one epoch."""

    __slots__ = ("batches", "epoch")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.batches: deque[Flying] = deque()


class Sequences:
    """The producer table with the batches in flight over it. Use it only while this replica leads."""

    def __init__(self, table: ProducerTable) -> None:
        self._table = table
        self._term = 0
        self._in_flight: dict[bytes, InFlight] = {}

    def begin(self, term: int) -> None:
        """This replica leads in ``term``: what it proposed in an earlier one is settled by the log now."""
        if term != self._term:
            self._term = term
            self._in_flight.clear()

    @property
    def in_flight(self) -> Collection[bytes]:
        """The producers that have batches between proposal and apply."""
        return self._in_flight.keys()

    def knows(self, name: bytes) -> bool:
        """Whether the producer is in the table, or will be if nothing goes wrong."""
        return name in self._table.producers or name in self._in_flight

    def next_epoch(self, name: bytes) -> int:
        """The lowest epoch in which the producer has stored nothing, and will not have."""
        known = self._table.producers.get(name)
        flying = self._in_flight.get(name)
        return max(
            0 if known is None else known.epoch + 1,
            0 if flying is None else flying.epoch + 1,
        )

    def find(self, header: BatchHeader) -> Remembered | Flying | None:
        """None for the producer's next batch; for a duplicate, where it is stored or in flight.

        Raises ``ProducerFenced`` (current_epoch), ``OutOfOrderSequence`` (expected_sequence),
        ``SequenceReused`` (first_offset and next_offset of what has the sequence).
        """
        flying = self._in_flight.get(key_of(header))
        if flying is not None:
            self._settle(key_of(header), flying)
        epoch, expected = self._position(header)
        if header.producer_epoch < epoch:
            raise ProducerFenced(
                f"epoch {header.producer_epoch} of this producer was ended by epoch {epoch}; "
                "another instance took over",
                current_epoch=epoch,
            )
        if header.producer_epoch > epoch or expected is None:
            # This epoch has no batches yet, so there are none before its first one.
            if header.sequence == 0:
                return None
            raise self._gap(header, epoch, 0)
        if header.sequence == expected:
            return None
        if is_before(header.producer_kind, expected, header.sequence):
            raise self._gap(header, epoch, expected)
        return self._earlier(header, expected)

    def add(self, header: BatchHeader, proposal: Proposal) -> None:
        """Note the proposal of a batch for which ``find`` returned None."""
        name, term = key_of(header), self._term
        flying = self._in_flight.get(name)
        if flying is None or flying.epoch != header.producer_epoch:
            flying = self._in_flight[name] = InFlight(header.producer_epoch)
        flying.batches.append(Flying(proposal, header.sequence, header.count, header.records_crc))

        def done(outcome: Outcome) -> None:
            if term != self._term or self._in_flight.get(name) is not flying:
                return
            if isinstance(outcome, Stored):
                self._settle(name, flying)
            else:
                # It was not stored, so neither was what the producer sent after it.
                del self._in_flight[name]

        proposal.add_done_callback(done)

    def _settle(self, name: bytes, flying: InFlight) -> None:
        """Drop what the table now has, in order."""
        while flying.batches:
            proposal = flying.batches[0].proposal
            if proposal.outcome is None or proposal.index > self._table.last_index:
                break
            flying.batches.popleft()
        if not flying.batches and self._in_flight.get(name) is flying:
            del self._in_flight[name]

    def _position(self, header: BatchHeader) -> tuple[int, int | None]:
        """The producer's epoch, and its next sequence in it; None where that is not known."""
        flying = self._in_flight.get(key_of(header))
        if flying is not None:
            last = flying.batches[-1]
            return flying.epoch, following(header.producer_kind, last.sequence, last.count)
        known = self._table.producers.get(key_of(header))
        if known is not None:
            return known.epoch, known.next_sequence(header.producer_kind)
        return header.producer_epoch, None

    def _gap(self, header: BatchHeader, epoch: int, expected: int) -> OutOfOrderSequence:
        if not self.knows(key_of(header)) and self._table.forgotten:
            return OutOfOrderSequence(
                "this partition does not remember the producer (any more): it was silent for long, and "
                "others needed the room; begin a new epoch at sequence 0",
                expected_sequence=0,
            )
        return OutOfOrderSequence(
            f"sequence {header.sequence} skips ahead; the next one of epoch {header.producer_epoch} "
            f"is {expected}",
            expected_sequence=expected,
            current_epoch=epoch,
        )

    def _earlier(self, header: BatchHeader, expected: int) -> Remembered | Flying:
        kind = header.producer_kind
        flying = self._in_flight.get(key_of(header))
        for first in flying.batches if flying is not None else ():
            if covers(kind, first.sequence, first.count, header.sequence):
                if first.is_of(header):
                    return first
                raise _reused(header, first.proposal.first_offset, first.count)
        known = self._table.producers.get(key_of(header))
        if known is not None and known.epoch == header.producer_epoch:
            remembered = known.find(kind, header.sequence)
            if remembered is not None:
                if remembered.is_of(header):
                    return remembered
                raise _reused(header, remembered.first_offset, remembered.count)
        raise OutOfOrderSequence(
            f"sequence {header.sequence} was stored before, too long ago to say where: the last "
            f"{BATCHES_REMEMBERED} batches are remembered, the next sequence is {expected}",
            expected_sequence=expected,
        )


def _reused(header: BatchHeader, first_offset: int, count: int) -> SequenceReused:
    """The refusal of a batch whose sequence another one has: ``count`` records at ``first_offset``."""
    return SequenceReused(
        f"sequence {header.sequence} of epoch {header.producer_epoch} is used: other records are stored "
        f"under it ({count} from offset {first_offset} on). A retry must be unchanged; a new batch has "
        "the next sequence",
        first_offset=first_offset,
        next_offset=first_offset + count,
    )
