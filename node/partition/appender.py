"""A leader's admission of batches to one partition: room, sequence, expected offset; then the proposal.

Nothing here waits: admitting a batch and putting it into the group's queue is one step on the event loop, so
that two requests never see the same state.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final, Protocol

from floodmark.errors import FloodmarkError, OffsetMismatch, TooManyRequests
from floodmark.format.batch import BatchHeader
from floodmark.format.delivery import with_attributes
from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import IMPLIED, PayloadForm, form_of
from floodmark.format.position import Position, Source

from consensus.types import GroupStopped, NotLeader, Outcome, Proposal
from node import outcomes
from node.budget import ByteBudget
from node.partition.newcomers import Newcomers, ProducerLimits, ProducersHere
from node.partition.position_order import PositionOrder
from node.partition.producers import Command, ProducerTable, Remembered, key_of, packed
from node.partition.sequences import Flying, Sequences
from node.partition.source_positions import Begun, Kept, Moved, SourcePositions
from node.replicas.disk_reserve import DiskReserve
from storage.errors import StorageError
from storage.log import Log

WAIT_S_MAX: Final = 1.0
"""Once the oldest batch has waited this long, the next one would wait even longer: refuse it."""
BUSY_BYTES: Final = 256 << 10
"""With less than this under way, a long wait is a pause of the disk or this process, not overload."""
BATCH_COST_BYTES: Final = 4096
"""What a batch or a request costs besides its bytes."""


class Propose(Protocol):
    """What the appender needs of the group host."""

    def propose_nowait(
        self,
        raft_group: int,
        kind: FrameKind,
        payload: bytes,
        *,
        record_count: int = 0,
        form: PayloadForm = IMPLIED,
    ) -> Proposal:
        """Queue an entry at this node's group. Raises ``NotLeader`` or ``GroupStopped``."""


class Appender:
    """One per local replica; used only while it leads."""

    def __init__(
        self,
        host: Propose,
        raft_group: int,
        log: Log,
        table: ProducerTable,
        budget: ByteBudget,
        producers: ProducerLimits,
        here: ProducersHere,
        disk: DiskReserve,
    ) -> None:
        self._host = host
        self._raft_group = raft_group
        self._log = log
        self._table = table
        self._sequences = Sequences(table)
        self._committed = Sequences(table)
        """The same without the batches in flight."""
        self._position_order = PositionOrder(table)
        self._newcomers = Newcomers(table, producers, here, self._command)
        self.newest: Proposal | None = None
        """The last proposal: once its outcome is known, that of all before it is known too."""
        self._budget = budget
        self._disk = disk
        self._queued: deque[tuple[Proposal, int]] = deque()
        """Proposals that may not be in the log yet, each with its record count."""
        self._under_way: deque[tuple[float, Proposal]] = deque()
        """Proposals whose outcome may not be known yet, each with its start, the oldest first."""

    def append(
        self,
        batch: bytes,
        header: BatchHeader,
        *,
        term: int,
        expected_offset: int | None,
        position: Position | None = None,
        deliver_at_ms: int | None = None,
    ) -> Proposal | Remembered | Flying:
        """The batch's proposal; for a duplicate, where it is stored or in flight (``Sequences.find``).

        A duplicate is answered whatever ``expected_offset`` and ``position`` say, for they held when the
        batch was stored. ``position``: of an idempotent batch of format 2 only. ``deliver_at_ms``: of none
        of format 1.
        Raises StorageFull, TooManyRequests, TooManyProducers, ProducerFenced, OutOfOrderSequence,
        SequenceReused, PositionConflict, TooManyPositions, OffsetMismatch; ``MakingRoom``; and as the host
        does. All but the first three may depend on batches in flight, which may come to nothing: see
        ``refused``.
        """
        if header.is_idempotent:
            self._sequences.begin(term)
            before = self._sequences.find(header)
            if before is not None:
                return before
            if not self._sequences.knows(key_of(header)):
                self._newcomers.admit(self._sequences.in_flight)
        payload, form = batch, form_of(header)
        if position is not None or deliver_at_ms is not None:
            self._check_position(position, header, term)
            payload, form = with_attributes(batch, header, position, deliver_at_ms)
        self._disk.check()
        self.check_wait()
        self._forget_appended()
        if expected_offset is not None:
            self._check_expected(expected_offset)
        size = len(payload)
        self._budget.take(size)
        try:
            proposal = self._host.propose_nowait(
                self._raft_group,
                FrameKind.RECORDS,
                payload,
                record_count=header.count,
                form=form,
            )
        except BaseException:
            self._budget.give(size)
            raise

        def done(_outcome: Outcome) -> None:
            self._budget.give(size)

        proposal.add_done_callback(done)
        self._queued.append((proposal, header.count))
        self._under_way.append((time.monotonic(), proposal))
        self.newest = proposal
        if header.is_idempotent:
            self._sequences.add(header, proposal)
        if position is not None:
            self._position_order.add(position, header, proposal)
        return proposal

    def _check_position(self, position: Position | None, header: BatchHeader, term: int) -> None:
        if position is not None:
            self._position_order.begin(term)
            self._position_order.check(position, header)

    def begin_epoch(self, source: Source, producer: bytes, *, term: int) -> tuple[Begun, Proposal]:
        """Propose the next producer epoch of a source of positions, which is new for ``producer`` as well.

        Raises TooManyPositions, Conflict; StorageFull; and as the host does.
        """
        self._position_order.begin(term)
        self._sequences.begin(term)
        begun = self._position_order.next_epoch(source, producer, self._sequences.next_epoch(producer))
        self._disk.check()
        proposal = self._command(packed(Command([], begin=[begun])))
        self._position_order.add_begun(begun, proposal)
        return begun, proposal

    def move_position(self, moved: Moved, *, term: int) -> Proposal | None:
        """Propose to move a position without records; None where it is there already, and committed.

        Raises ProducerFenced, PositionConflict, TooManyPositions, which may depend on what is in flight (see
        ``refused_move``); StorageFull; and as the host does.
        """
        self._position_order.begin(term)
        kept = self.positions.kept.get(moved.source)
        self._position_order.check_moved(moved)
        if kept == Kept(moved.next_offset, moved.epoch, moved.producer):
            return None
        self._disk.check()
        self.check_wait()
        proposal = self._command(packed(Command([], move=[moved])))
        self._position_order.add_moved(moved, proposal)
        return proposal

    def refused_move(self, moved: Moved) -> FloodmarkError | None:
        """Why the position is not moved whatever becomes of what is in flight; None when it depends on it."""
        return self._position_order.refused_moved(moved)

    def remove_positions(self, group: str) -> Proposal:
        """Propose to keep no positions of a group. Raises as the host does."""
        return self._command(packed(Command([], remove=[group])))

    def refused(
        self,
        header: BatchHeader,
        expected_offset: int | None,
        *,
        committed: int,
        position: Position | None = None,
    ) -> FloodmarkError | None:
        """Why the batch is refused whatever becomes of those in flight; None when it depends on them.

        ``committed`` is the offset behind what is committed: a batch in flight may take that very offset.
        """
        try:
            if header.is_idempotent and self._committed.find(header) is not None:
                return None
        except FloodmarkError as error:
            return error
        if position is not None and (refusal := self._position_order.refused(position, header)) is not None:
            return refusal
        if expected_offset in (None, committed):
            return None
        return _mismatch(expected_offset, committed)

    def check_wait(self, *, waiting: int = 0, waiting_bytes: int = 0) -> None:
        """Raises ``TooManyRequests`` where one more batch would wait too long behind those under way.

        ``waiting``: requests that are in no batch yet. A new leader has nothing under way, and one that
        cannot commit steps down: this tells that a working leader cannot keep up.
        """
        under_way = self._under_way
        while under_way and under_way[0][1].outcome is not None:
            under_way.popleft()
        if not under_way:
            return
        waited = time.monotonic() - under_way[0][0]
        if waited <= WAIT_S_MAX:
            return
        load = self._budget.used + waiting_bytes + (len(under_way) + waiting) * BATCH_COST_BYTES
        if load >= BUSY_BYTES:
            raise TooManyRequests(
                f"this partition is overloaded: what was accepted {waited:.1f} s ago is not stored yet, and "
                f"{self._budget.used + waiting_bytes} bytes wait; nothing of this was stored, send it later",
                retry_after_s=WAIT_S_MAX,
            )

    def append_shared(self, batch: bytes, header: BatchHeader) -> Proposal:
        """Append a batch that this node packed, of no producer. Raises classes of ``floodmark.errors``."""
        try:
            placed = self.append(batch, header, term=0, expected_offset=None)
        except (NotLeader, GroupStopped, StorageError) as error:
            raise outcomes.translated(error) from error
        assert isinstance(placed, Proposal), "only a named producer's batch can be a duplicate"
        return placed

    @property
    def positions(self) -> SourcePositions:
        """As committed and applied here."""
        return self._table.positions

    @property
    def producers(self) -> int:
        """How many producers this partition remembers."""
        return len(self._table.producers)

    def forget_silent(self, count: int, now_ms: int) -> int:
        """Begin to forget up to ``count`` producers that are silent at ``now_ms``; returns how many."""
        return self._newcomers.forget(count, now_ms, self._sequences.in_flight)

    def _command(self, payload: bytes) -> Proposal:
        self.newest = self._host.propose_nowait(self._raft_group, FrameKind.COMMAND, payload)
        return self.newest

    def _forget_appended(self) -> None:
        """Drop proposals that are in the log: the log counts their records."""
        queued = self._queued
        while queued and (queued[0][0].index or queued[0][0].outcome is not None):
            queued.popleft()

    def _check_expected(self, expected_offset: int) -> None:
        next_offset = self._log.next_offset + sum(
            count for proposal, count in self._queued if not proposal.index and proposal.outcome is None
        )
        if expected_offset != next_offset:
            raise _mismatch(expected_offset, next_offset)


def _mismatch(expected_offset: int | None, next_offset: int) -> OffsetMismatch:
    return OffsetMismatch(f"the next offset is {next_offset}, not {expected_offset}", next_offset=next_offset)
