"""A leader's admission of batches to one partition, over a real log."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from floodmark.errors import (
    FloodmarkError,
    OffsetMismatch,
    OutOfOrderSequence,
    ProducerFenced,
    TooManyRequests,
)
from floodmark.format import batch
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.frame_records import IMPLIED, PayloadForm
from floodmark.format.record import Record

from consensus.types import NotLeader, Proposal, Stored
from node.budget import ByteBudget
from node.partition.appender import BATCH_COST_BYTES, BUSY_BYTES, WAIT_S_MAX, Appender
from node.partition.newcomers import ProducerLimits
from node.partition.producers import ProducerTable, Remembered
from node.partition.producers_here import ProducersLed
from node.partition.sequences import Flying
from node.replicas.disk_reserve import DiskReserve
from storage.filesystem import RealFileSystem, Space
from storage.log import Log
from storage.options import LogOptions


class Queue:
    """The group's side: takes proposals, appends and commits them when told."""

    def __init__(self, folder: Path) -> None:
        self.log = Log.open(RealFileSystem(), str(folder), LogOptions())
        self.table = ProducerTable()
        self.queued: list[tuple[Proposal, FrameKind, bytes, int]] = []
        self.now_ms = 0
        self.leads = True

    def propose_nowait(
        self,
        raft_group: int,
        kind: FrameKind,
        payload: bytes,
        *,
        record_count: int = 0,
        form: PayloadForm = IMPLIED,
    ) -> Proposal:
        """Queue an entry."""
        if not self.leads:
            raise NotLeader("n2")
        proposal = Proposal()
        self.queued.append((proposal, kind, payload, record_count))
        return proposal

    def append(self) -> list[Frame]:
        """Give everything queued its place in the log."""
        frames = []
        for proposal, kind, payload, count in self.queued:
            proposal.index, proposal.term = self.log.last_index + 1, 1
            proposal.first_offset = self.log.next_offset
            frame = Frame(
                proposal.index,
                1,
                proposal.first_offset,
                self.now_ms,
                count,
                kind,
                payload,
                crc_of(payload),
            )
            self.log.append(frame)
            frames.append(frame)
        return frames

    def commit(self) -> None:
        """All that is queued is stored."""
        frames = self.append()
        for frame, (proposal, *_) in zip(frames, self.queued, strict=True):
            self.table.apply(frame)
            proposal.resolve(Stored(frame.index, 1, frame.first_offset))
        self.queued.clear()


def payload(count: int = 1, **fields: int) -> bytes:
    """A batch; with a sequence it is one of an idempotent producer."""
    producer = {"producer_id": batch.producer_id_of("p")} if fields else {}
    return batch.encode([Record(0, None, b"v")] * count, **producer, **fields)  # type: ignore[arg-type]


LIMITS = ProducerLimits(per_partition=100, per_node=100, remembered_s=3600)


def appender_of(
    queue: Queue,
    budget: ByteBudget | None = None,
    producers: ProducerLimits = LIMITS,
    here: ProducersLed | None = None,
) -> Appender:
    """Of the queue's group."""
    budget = budget or ByteBudget(1 << 20, "test")
    disk = DiskReserve(lambda: Space(1, 1), 0)
    return Appender(queue, 1, queue.log, queue.table, budget, producers, here or ProducersLed(tuple), disk)


def append(appender: Appender, body: bytes, expected: int | None = None) -> Proposal | Remembered | Flying:
    """Append in term 1."""
    return appender.append(body, batch.decode_header(body), term=1, expected_offset=expected)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """A leader's group."""
    return Queue(tmp_path)


def test_an_expected_offset_counts_what_is_under_way(queue: Queue) -> None:
    """Queued, appended and committed alike."""
    appender = appender_of(queue)
    append(appender, payload(3), 0)
    with pytest.raises(OffsetMismatch) as mismatch:
        append(appender, payload(), 0)
    assert mismatch.value.fields["next_offset"] == 3
    append(appender, payload(2), 3)
    queue.commit()
    append(appender, payload(), 5)
    queue.append()
    append(appender, payload(), 6)


def test_a_duplicate_is_answered_whatever_offset_it_expects(queue: Queue) -> None:
    """The retry of a conditional append finds its first attempt, not a conflict with it."""
    appender = appender_of(queue)
    body = payload(2, sequence=0)
    first = append(appender, body, 0)
    assert isinstance(first, Proposal)
    crc = batch.decode_header(body).crc
    assert append(appender, body, 0) == Flying(first, 0, 2, crc)
    queue.commit()
    assert append(appender, body, 0) == Remembered(0, 0, 2, crc)


def test_bytes_are_held_until_the_outcome(queue: Queue) -> None:
    """Beyond the partition's budget batches are refused, and a refused one leaves no trace."""
    body = payload(1, sequence=0)
    budget = ByteBudget(len(body), "test")
    appender = appender_of(queue, budget)
    append(appender, body)
    with pytest.raises(TooManyRequests):
        append(appender, payload(1, sequence=1))
    queue.commit()
    assert budget.used == 0
    assert isinstance(append(appender, payload(1, sequence=1)), Proposal)


def test_a_replica_that_does_not_lead_holds_nothing(queue: Queue) -> None:
    """The error passes through and the bytes are free again."""
    budget = ByteBudget(1 << 20, "test")
    appender = appender_of(queue, budget)
    queue.leads = False
    with pytest.raises(NotLeader):
        append(appender, payload(1, sequence=0))
    assert budget.used == 0


def test_a_slice_ends_behind_its_last_record(queue: Queue) -> None:
    """Frames that carry no records count for nothing."""
    appender = appender_of(queue)
    append(appender, payload(3))
    append(appender, payload(4))
    queue.commit()
    queue.log.append(Frame(queue.log.last_index + 1, 1, 7, 0, 0, FrameKind.NOOP, b"", crc_of(b"")))
    queue.log.write()
    whole = queue.log.read(0, end_offset=7, max_bytes=1 << 20)
    assert whole.next_offset == 7
    one = queue.log.read(0, end_offset=7, max_bytes=1)
    assert one.next_offset == 3


def test_a_batch_is_refused_for_what_is_committed_alone(queue: Queue) -> None:
    """What is in flight keeps a batch from being taken now; only what is committed refuses it."""
    appender = appender_of(queue)

    def refused(body: bytes, expected: int | None = None, *, committed: int) -> FloodmarkError | None:
        with pytest.raises(FloodmarkError):
            append(appender, body, expected)
        return appender.refused(batch.decode_header(body), expected, committed=committed)

    append(appender, payload(2, sequence=0, producer_epoch=1))
    newest = appender.newest
    assert newest is not None
    # Another batch is on its way to this offset, and may come to nothing.
    assert refused(payload(), 0, committed=0) is None
    beyond = refused(payload(), 3, committed=0)
    assert isinstance(beyond, OffsetMismatch)
    assert beyond.fields["next_offset"] == 0, "as far as it is committed"
    # So may the epoch that fences this one.
    older = payload(1, sequence=0, producer_epoch=0)
    assert refused(older, committed=0) is None
    gap = refused(payload(1, sequence=2, producer_epoch=1), committed=0)
    assert isinstance(gap, OutOfOrderSequence)
    assert gap.fields["expected_sequence"] == 0, "as far as it is committed"
    queue.commit()
    assert newest.outcome is not None
    mismatch = refused(payload(), 0, committed=2)
    assert isinstance(mismatch, OffsetMismatch)
    assert mismatch.fields["next_offset"] == 2
    assert isinstance(refused(older, committed=2), ProducerFenced)
    gap = refused(payload(1, sequence=2, producer_epoch=1), committed=2)
    assert isinstance(gap, OutOfOrderSequence)
    assert gap.fields["expected_sequence"] == 1


def test_what_would_wait_too_long_is_refused_while_much_is_under_way(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the age of the oldest batch that is not stored; a little that waits is a pause, and no overload."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    appender = appender_of(queue)
    large = batch.encode([Record(0, None, bytes(BUSY_BYTES))])
    numbered = payload(sequence=0)
    append(appender, payload())
    first = append(appender, numbered)
    assert isinstance(first, Proposal)
    now += WAIT_S_MAX * 50
    append(appender, large)
    with pytest.raises(TooManyRequests, match="overloaded") as refused:
        append(appender, payload())
    assert refused.value.fields == {"retry_after_s": 1.0}
    with pytest.raises(TooManyRequests):
        appender.check_wait()
    assert append(appender, numbered) == Flying(first, 0, 1, batch.decode_header(numbered).crc)
    queue.commit()
    append(appender, payload())
    now += WAIT_S_MAX
    append(appender, large)
    append(appender, payload())
    now += 0.01
    with pytest.raises(TooManyRequests):
        append(appender, payload())
    queue.commit()
    append(appender, payload())


def test_many_small_requests_that_wait_are_an_overload_too(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request counts for more than its bytes, also before it is in a batch."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    appender = appender_of(queue)
    append(appender, payload())
    now += WAIT_S_MAX * 2
    appender.check_wait(waiting=BUSY_BYTES // BATCH_COST_BYTES - 2, waiting_bytes=100)
    with pytest.raises(TooManyRequests):
        appender.check_wait(waiting=BUSY_BYTES // BATCH_COST_BYTES - 1, waiting_bytes=0)
