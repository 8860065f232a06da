"""Idempotent producers: the table that replicas agree on, and what a leader decides with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from floodmark.errors import OutOfOrderSequence, ProducerFenced, SequenceReused
from floodmark.format import batch
from floodmark.format.batch import BatchHeader, ProducerKind
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.record import Record
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consensus.types import NotStored, Proposal, Stored
from node.partition.producers import BATCHES_REMEMBERED, ProducerTable, Remembered, forgetting
from node.partition.sequences import Flying, Sequences
from storage.errors import LogTooNew


def payload(sequence: int, *, name: str = "p", epoch: int = 0, count: int = 1, value: bytes = b"v") -> bytes:
    """A batch of an idempotent producer."""
    records = [Record(0, None, value)] * count
    return batch.encode(
        records, producer_id=batch.producer_id_of(name), producer_epoch=epoch, sequence=sequence
    )


def header(sequence: int, *, name: str = "p", epoch: int = 0, **content: Any) -> BatchHeader:
    """Its header."""
    return batch.decode_header(payload(sequence, name=name, epoch=epoch, **content))


def remembered(sequence: int, first_offset: int, **batch_of: Any) -> Remembered:
    """What the table keeps of it."""
    made = header(sequence, **batch_of)
    return Remembered(sequence, first_offset, made.count, made.crc)


def frame(index: int, body: bytes, *, offset: int = 0, count: int = 1) -> Frame:
    """A committed frame."""
    return Frame(index, 1, offset, 0, count, FrameKind.RECORDS, body, crc_of(body))


def test_the_last_batches_are_remembered_with_their_offsets() -> None:
    """And no more than the bound."""
    table = ProducerTable()
    for sequence in range(8):
        table.apply(frame(2 + sequence, payload(sequence, count=3), offset=sequence * 3, count=3))
    producer = table.producers[batch.producer_id_of("p")]
    assert producer.next_sequence(ProducerKind.NAMED) == 8
    assert len(producer.recent) == BATCHES_REMEMBERED
    assert producer.find(ProducerKind.NAMED, 7) == remembered(7, 21, count=3)
    assert producer.find(ProducerKind.NAMED, 1) is None


def test_producers_are_forgotten_when_the_log_says_so() -> None:
    """Whom it names and nobody else; an unknown name may be a forgotten one; junk is skipped."""
    table = ProducerTable()
    for index, (name, sequence) in enumerate([("a", 0), ("b", 0), ("a", 1), ("c", 0)], start=2):
        table.apply(frame(index, payload(sequence, name=name)))
    gone = [batch.producer_id_of(name) for name in ("b", "nobody")]
    for index, body in enumerate([forgetting(gone), forgetting([]), b"no command"], start=6):
        table.apply(Frame(index, 1, 4, index * 10, 0, FrameKind.COMMAND, body, crc_of(body)))
    assert list(table.producers) == [batch.producer_id_of("a"), batch.producer_id_of("c")]
    assert (table.last_index, table.time, table.forgotten) == (8, 80, 1)
    sequences = Sequences(table)
    with pytest.raises(OutOfOrderSequence, match="does not remember"):
        sequences.find(header(1, name="b"))
    assert sequences.find(header(0, name="b")) is None


def test_batches_without_a_producer_and_broken_ones_leave_the_table_alone() -> None:
    """An unreadable batch is logged and skipped, as every replica does."""
    table = ProducerTable()
    table.apply(frame(2, batch.encode([Record(0, None, b"v")])))
    table.apply(frame(3, b"no batch at all"))
    assert table.producers == {}
    assert table.last_index == 3


def test_a_snapshot_restores_the_same_table_and_frames_may_come_again() -> None:
    """Also the order in which producers will be forgotten."""
    table = ProducerTable()
    frames = [frame(2 + n, payload(n // 2, name="ab"[n % 2]), offset=n) for n in range(10)]
    for one in frames:
        table.apply(one)
    other = ProducerTable()
    other.restore(table.snapshot())
    for one in frames[4:]:
        other.apply(one)
    assert other.snapshot() == table.snapshot()
    other.restore(b"")
    assert other.snapshot() == ProducerTable().snapshot()


def test_a_table_that_cannot_be_read_is_refused() -> None:
    """Never taken for an empty one; that of a newer build is told from a broken one, whatever it says."""
    with pytest.raises(ValueError, match="producer table"):
        ProducerTable().restore(b"junk")
    with pytest.raises(
        LogTooNew, match=r"producer table .* has version 9, this build knows 4: start a newer"
    ):
        ProducerTable().restore(msgspec.msgpack.encode({"version": 9, "tables": 3}))


def test_sequence_rules_over_the_committed_table() -> None:
    """Next, duplicate, gap, too old, fenced, and a new epoch."""
    table = ProducerTable()
    sequences = Sequences(table)
    with pytest.raises(OutOfOrderSequence) as gap:
        sequences.find(header(3))
    assert gap.value.fields["expected_sequence"] == 0
    for sequence in range(7):
        table.apply(frame(2 + sequence, payload(sequence, epoch=4), offset=sequence))
    assert sequences.find(header(7, epoch=4)) is None
    assert sequences.find(header(6, epoch=4)) == remembered(6, 6, epoch=4)
    with pytest.raises(OutOfOrderSequence, match="too long ago"):
        sequences.find(header(1, epoch=4))
    with pytest.raises(OutOfOrderSequence) as gap:
        sequences.find(header(9, epoch=4))
    assert gap.value.fields["expected_sequence"] == 7
    with pytest.raises(ProducerFenced) as fenced:
        sequences.find(header(7, epoch=3))
    assert fenced.value.fields["current_epoch"] == 4
    assert sequences.find(header(0, epoch=5)) is None
    with pytest.raises(OutOfOrderSequence):
        sequences.find(header(7, epoch=5))


def test_a_duplicate_of_a_batch_in_flight_shares_its_proposal() -> None:
    """The retry waits for the same outcome; the next sequence goes on behind it."""
    table = ProducerTable()
    sequences = Sequences(table)
    sequences.begin(1)
    first = Proposal(index=2, term=1, first_offset=0)
    assert sequences.find(header(0)) is None
    sequences.add(header(0), first)
    assert sequences.find(header(0)) == Flying(first, 0, 1, header(0).crc)
    assert sequences.find(header(1)) is None
    with pytest.raises(OutOfOrderSequence):
        sequences.find(header(2))
    table.apply(frame(2, payload(0)))
    first.resolve(Stored(2, 1, 0))
    assert sequences.find(header(0)) == remembered(0, 0)


def test_an_outcome_before_the_apply_leaves_no_window() -> None:
    """Between its outcome and its apply a batch is still known as being in flight."""
    table = ProducerTable()
    sequences = Sequences(table)
    sequences.begin(1)
    first = Proposal(index=2, term=1, first_offset=0)
    sequences.add(header(0), first)
    first.resolve(Stored(2, 1, 0))
    assert sequences.find(header(0)) == Flying(first, 0, 1, header(0).crc)
    table.apply(frame(2, payload(0)))
    assert sequences.find(header(0)) == remembered(0, 0)


def test_a_batch_that_did_not_get_in_may_be_sent_again() -> None:
    """And a new term starts from the log alone."""
    sequences = Sequences(ProducerTable())
    sequences.begin(1)
    first, second = Proposal(index=2, term=1), Proposal(index=3, term=1)
    sequences.add(header(0), first)
    sequences.add(header(1), second)
    first.resolve(NotStored("replaced"))
    assert sequences.find(header(0)) is None
    sequences.add(header(0), Proposal(index=3, term=1))
    second.resolve(NotStored("replaced"))
    assert isinstance(sequences.find(header(0)), Flying)
    sequences.begin(2)
    assert sequences.find(header(0)) is None


def test_a_newer_epoch_fences_the_older_one_while_still_in_flight() -> None:
    """The proposal decides, not the commit."""
    sequences = Sequences(ProducerTable())
    sequences.begin(1)
    sequences.add(header(0, epoch=1), Proposal(index=2, term=1))
    assert sequences.find(header(0, epoch=2)) is None
    sequences.add(header(0, epoch=2), Proposal(index=3, term=1))
    with pytest.raises(ProducerFenced):
        sequences.find(header(1, epoch=1))


def test_a_used_sequence_with_other_records_is_refused() -> None:
    """Another number of records, or as many others; the refusal says what is stored."""
    table = ProducerTable()
    table.apply(frame(2, payload(0, count=2), offset=7, count=2))
    restored = ProducerTable()
    restored.restore(table.snapshot())
    for sequences in (Sequences(table), Sequences(restored)):
        assert sequences.find(header(0, count=2)) == remembered(0, 7, count=2)
        for other in (header(0), header(0, count=3), header(0, count=2, value=b"w")):
            with pytest.raises(SequenceReused) as refused:
                sequences.find(other)
            assert refused.value.fields == {"first_offset": 7, "next_offset": 9}
        assert sequences.find(header(1)) is None


def test_a_table_from_before_checksums_were_remembered_knows_numbers_of_records() -> None:
    """Version 1: the same without checksums. What comes in from then on has one."""
    old = {
        "version": 1,
        "last_index": 2,
        "forgotten": 0,
        "producers": {batch.producer_id_of("p"): [0, [[0, 0, 2]]]},
    }
    table = ProducerTable()
    table.restore(msgspec.msgpack.encode(old))
    sequences = Sequences(table)
    for value in (b"v", b"w"):
        assert sequences.find(header(0, count=2, value=value)) == Remembered(0, 0, 2, None)
    with pytest.raises(SequenceReused):
        sequences.find(header(0, count=3))
    table.apply(frame(3, payload(1), offset=2))
    with pytest.raises(SequenceReused):
        sequences.find(header(1, value=b"w"))


def test_a_sequence_is_free_again_when_its_batch_did_not_get_in() -> None:
    """While that is on its way another batch is refused: by what is in flight, not by what is committed."""
    sequences = Sequences(table := ProducerTable())
    sequences.begin(1)
    for outcome in (NotStored("replaced"), Stored(2, 1, 0)):
        first = Proposal(index=2, term=1, first_offset=0)
        assert sequences.find(header(0)) is None
        sequences.add(header(0), first)
        for other in (header(0, value=b"w"), header(0, count=2)):
            with pytest.raises(SequenceReused):
                sequences.find(other)
            assert Sequences(table).find(other) is None
        first.resolve(outcome)
    table.apply(frame(2, payload(0)))
    with pytest.raises(SequenceReused):
        sequences.find(header(0, value=b"w"))


class LeaderChanges(RuleBasedStateMachine):
    """Two producers that retry at will against leaders that come and go, each with a prefix of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[int, str, int, bytes, Proposal]] = []
        self.commit = 0
        self.term = 1
        self._lead()

    def _lead(self) -> None:
        """A new leader has applied all that its log holds."""
        self.table = ProducerTable()
        self.sequences = Sequences(self.table)
        self.sequences.begin(self.term)
        self.commit = 0
        self.commit_to(len(self.log))

    def commit_to(self, end: int) -> None:
        for position in range(self.commit, end):
            index, name, sequence, value, proposal = self.log[position]
            self.table.apply(frame(index, payload(sequence, name=name, value=value), offset=position))
            if proposal.outcome is None:
                proposal.resolve(Stored(index, self.term, position))
        self.commit = end

    @rule(name=st.sampled_from("ab"), sequence=st.integers(0, 12), value=st.sampled_from([b"v", b"w"]))
    def produce(self, name: str, sequence: int, value: bytes) -> None:
        """Any sequence at any time, with one content or another; only the right ones get in."""
        where = [n for n, entry in enumerate(self.log) if entry[1:3] == (name, sequence)]
        made = header(sequence, name=name, value=value)
        found: Remembered | Flying | SequenceReused | None
        try:
            found = self.sequences.find(made)
        except OutOfOrderSequence:
            return
        except SequenceReused as refusal:
            found = refusal
        if isinstance(found, SequenceReused):
            assert where == [found.fields["first_offset"]]
            assert self.log[where[0]][3] != value
        elif found is None:
            assert where == []
            proposal = Proposal(index=len(self.log) + 2, term=self.term, first_offset=len(self.log))
            self.log.append((proposal.index, name, sequence, value, proposal))
            self.sequences.add(made, proposal)
        elif isinstance(found, Remembered):
            assert where == [found.first_offset]
            assert self.log[where[0]][3] == value
        else:
            assert where == [found.proposal.first_offset]
            assert self.log[where[0]][3] == value

    @precondition(lambda self: self.commit < len(self.log))
    @rule(data=st.data())
    def commit_some(self, data: st.DataObject) -> None:
        """Some of what is in flight is committed."""
        self.commit_to(data.draw(st.integers(self.commit + 1, len(self.log))))

    @rule(data=st.data())
    def change_leader(self, data: st.DataObject) -> None:
        """The next leader has all committed entries and some of the others."""
        kept = data.draw(st.integers(self.commit, len(self.log)))
        for *_, proposal in self.log[kept:]:
            if proposal.outcome is None:
                proposal.resolve(NotStored("another leader"))
        del self.log[kept:]
        self.term += 1
        self._lead()

    @invariant()
    def every_producer_is_in_order_once(self) -> None:
        """The log holds 0, 1, 2, ... of each producer."""
        for name in "ab":
            got = [entry[2] for entry in self.log if entry[1] == name]
            assert got == list(range(len(got)))


TestLeaderChanges = LeaderChanges.TestCase
