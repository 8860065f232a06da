"""Whether a batch's position goes on from what is kept: decided on the leader before it proposes.

As with sequences (``sequences.py``), what this leader has proposed and what is not applied yet is kept over
the machine's positions, and dropped when its term ends.
"""

from __future__ import annotations

from typing import NamedTuple

from floodmark.errors import Conflict, FloodmarkError, PositionConflict, ProducerFenced, TooManyPositions
from floodmark.format.batch import BatchHeader
from floodmark.format.position import Position, Source

from consensus.types import Outcome, Proposal, Stored
from node.partition.producers import ProducerTable, key_of
from node.partition.source_positions import EPOCH_MAX, POSITIONS_MAX, Begun, Kept, Moved


class _Flying(NamedTuple):
    """What will be kept of a source unless its proposal comes to nothing."""

    kept: Kept
    proposal: Proposal


class PositionOrder:
    """The machine's positions with those in flight over them. Use it only while this replica leads."""

    def __init__(self, table: ProducerTable) -> None:
        self._table = table
        self._term = 0
        self._in_flight: dict[Source, _Flying] = {}

    def begin(self, term: int) -> None:
        """This replica leads in ``term``: what it proposed in an earlier one is settled by the log now."""
        if term != self._term:
            self._term = term
            self._in_flight.clear()

    def check(self, position: Position, header: BatchHeader) -> None:
        """Raises ``ProducerFenced`` (current_epoch), ``PositionConflict`` (next_offset),
        ``TooManyPositions`` (limit) for a batch that may not be stored with this position.
        """
        kept = self._current(position.source)
        refusal = self._refusal(_moved_by(position, header), kept, _least(kept) + 1)
        if refusal is not None:
            raise refusal

    def refused(self, position: Position, header: BatchHeader) -> FloodmarkError | None:
        """Likewise, by what is committed alone."""
        kept = self._table.positions.kept.get(position.source)
        return self._refusal(_moved_by(position, header), kept, _least(kept) + 1)

    def add(self, position: Position, header: BatchHeader, proposal: Proposal) -> None:
        """Note the proposal of a batch that ``check`` let through."""
        kept = Kept(position.next_offset, header.producer_epoch, key_of(header))
        self._fly(position.source, kept, proposal)

    def check_moved(self, moved: Moved) -> None:
        """Raises likewise for a position that may not be moved there without records. To move it to where it
        is already is allowed: such a request comes again.
        """
        kept = self._current(moved.source)
        if (refusal := self._refusal(moved, kept, _least(kept))) is not None:
            raise refusal

    def refused_moved(self, moved: Moved) -> FloodmarkError | None:
        """Likewise, by what is committed alone."""
        kept = self._table.positions.kept.get(moved.source)
        return self._refusal(moved, kept, _least(kept))

    def add_moved(self, moved: Moved, proposal: Proposal) -> None:
        """Note the proposal of what ``check_moved`` let through."""
        self._fly(moved.source, Kept(moved.next_offset, moved.epoch, moved.producer), proposal)

    def next_epoch(self, source: Source, producer: bytes, least: int) -> Begun:
        """The next epoch of a source, ``least`` or above, in which ``producer`` goes on, unless it is empty.

        Raises ``TooManyPositions``, and ``Conflict`` after the last one.
        """
        kept = self._current(source)
        if kept is None:
            self._check_room()
        epoch = max(least, 0 if kept is None else kept.epoch + 1)
        if epoch > EPOCH_MAX:
            raise Conflict(
                f"group {source.group} has used all epochs here: remove its positions, or use another group"
            )
        return Begun(*source, epoch, producer)

    def add_begun(self, begun: Begun, proposal: Proposal) -> None:
        """Note the proposal of what ``next_epoch`` returned."""
        kept = self._current(begun.source)
        next_offset = None if kept is None else kept.next_offset
        self._fly(begun.source, Kept(next_offset, begun.epoch, begun.producer), proposal)

    def _refusal(self, moved: Moved, kept: Kept | None, least: int) -> FloodmarkError | None:
        """``least``: the lowest next offset that is let through."""
        if kept is None:
            try:
                self._check_room()
            except TooManyPositions as error:
                return error
            return None
        of = f"topic id {moved.topic_id}, partition {moved.partition}, of group {moved.group}"
        if moved.epoch < kept.epoch:
            return ProducerFenced(
                f"epoch {moved.epoch} for positions in {of} was ended by epoch {kept.epoch}; "
                "another instance took over",
                current_epoch=kept.epoch,
            )
        if moved.epoch == kept.epoch and kept.producer not in (b"", moved.producer):
            return ProducerFenced(
                f"another producer stores positions in {of} in epoch {kept.epoch}: begin an epoch yourself",
                current_epoch=kept.epoch,
            )
        if kept.next_offset is not None and moved.next_offset < least:
            return PositionConflict(
                f"the position {moved.next_offset} in {of} is not behind {kept.next_offset}, which is "
                "kept with records stored before: go on from there",
                next_offset=kept.next_offset,
            )
        return None

    def _check_room(self) -> None:
        known = self._table.positions.kept
        coming = sum(source not in known for source in self._in_flight)
        if len(known) + coming >= POSITIONS_MAX:
            raise TooManyPositions(
                f"this partition keeps the positions of {POSITIONS_MAX} sources and groups, and takes no new "
                "one; nothing was stored. Remove those of groups that are gone (DELETE .../positions/GROUP)",
                limit=POSITIONS_MAX,
            )

    def _current(self, source: Source) -> Kept | None:
        flying = self._in_flight.get(source)
        if flying is not None and not self._settle(source, flying):
            return flying.kept
        return self._table.positions.kept.get(source)

    def _fly(self, source: Source, kept: Kept, proposal: Proposal) -> None:
        term = self._term
        flying = self._in_flight[source] = _Flying(kept, proposal)

        def done(outcome: Outcome) -> None:
            if term != self._term or self._in_flight.get(source) is not flying:
                return
            if isinstance(outcome, Stored):
                self._settle(source, flying)
            else:
                # It was not stored, so neither was what was proposed after it.
                del self._in_flight[source]

        proposal.add_done_callback(done)

    def _settle(self, source: Source, flying: _Flying) -> bool:
        """Whether the machine has it now; then it is dropped here."""
        proposal = flying.proposal
        if proposal.outcome is None or proposal.index > self._table.last_index:
            return False
        if self._in_flight.get(source) is flying:
            del self._in_flight[source]
        return True


def _moved_by(position: Position, header: BatchHeader) -> Moved:
    """What a batch with this position does to it."""
    return Moved(*position, header.producer_epoch, key_of(header))


def _least(kept: Kept | None) -> int:
    """Where a source is."""
    return 0 if kept is None or kept.next_offset is None else kept.next_offset
