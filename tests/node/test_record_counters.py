"""Numbered producers, whose sequences count records and wrap around: the table, and what a leader decides."""

from __future__ import annotations

import msgspec
import pytest
from floodmark.errors import OutOfOrderSequence, ProducerFenced, SequenceReused
from floodmark.format import batch
from floodmark.format.batch import BatchHeader, ProducerKind, numbered_id_of
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.frame_records import form_of
from floodmark.format.record import Record
from floodmark.format.sequence import covers, following, is_before
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consensus.types import NotStored, Proposal, Stored
from node.partition.producers import BATCHES_REMEMBERED, ProducerTable, Remembered, forgetting, key_of
from node.partition.sequences import Flying, Sequences

ROUND = 1 << 31
NUMBER = 17


def payload(
    sequence: int,
    *,
    number: int = NUMBER,
    epoch: int = 0,
    count: int = 1,
    value: bytes = b"v",
    codec: int = batch.CODEC_NONE,
) -> bytes:
    """A batch of a numbered producer."""
    return batch.encode(
        [Record(0, None, value)] * count,
        codec=codec,
        producer_id=numbered_id_of(number),
        producer_epoch=epoch,
        sequence=sequence,
        format=2,
        producer_kind=ProducerKind.NUMBERED,
    )


def header_of(body: bytes) -> BatchHeader:
    """The header of a batch."""
    return batch.decode_header(body)


def frame(index: int, body: bytes, *, offset: int = 0) -> Frame:
    """A committed frame."""
    header = header_of(body)
    form = form_of(header)
    return Frame(
        index,
        1,
        offset,
        0,
        header.count,
        FrameKind.RECORDS,
        body,
        crc_of(body),
        payload_type=form.payload_type,
        flags=form.flags,
        level=form.level,
    )


def table_of(*bodies: bytes) -> ProducerTable:
    """A table that has these, from index 2 and offset 0 on."""
    table = ProducerTable()
    offset = 0
    for index, body in enumerate(bodies, start=2):
        table.apply(frame(index, body, offset=offset))
        offset += header_of(body).count
    return table


def test_the_next_sequence_is_behind_the_records_of_the_last_batch() -> None:
    """Next, duplicate, gap, within a batch, too old, fenced, a new epoch."""
    table = table_of(*(payload(3 * n, epoch=4, count=3) for n in range(8)))
    sequences = Sequences(table)
    assert sequences.find(header_of(payload(24, epoch=4))) is None
    found = sequences.find(header_of(payload(21, epoch=4, count=3)))
    assert isinstance(found, Remembered)
    assert (found.sequence, found.first_offset, found.count) == (21, 21, 3)
    with pytest.raises(OutOfOrderSequence) as gap:
        sequences.find(header_of(payload(25, epoch=4)))
    assert gap.value.fields == {"expected_sequence": 24, "current_epoch": 4}
    for within in (payload(22, epoch=4), payload(22, epoch=4, count=3), payload(21, epoch=4, count=2)):
        with pytest.raises(SequenceReused) as reused:
            sequences.find(header_of(within))
        assert reused.value.fields == {"first_offset": 21, "next_offset": 24}
    oldest = 3 * (8 - BATCHES_REMEMBERED)
    assert sequences.find(header_of(payload(oldest, epoch=4, count=3))) is not None
    with pytest.raises(OutOfOrderSequence, match="too long ago"):
        sequences.find(header_of(payload(oldest - 3, epoch=4, count=3)))
    with pytest.raises(ProducerFenced) as fenced:
        sequences.find(header_of(payload(24, epoch=3)))
    assert fenced.value.fields["current_epoch"] == 4
    assert sequences.find(header_of(payload(0, epoch=5))) is None


@pytest.mark.parametrize("count", [1, 2, 5])
def test_sequences_wrap_around(count: int) -> None:
    """Behind 2^31 - 1 comes 0, also in the middle of a batch; what lies across is known on both sides."""
    table = table_of(payload(ROUND - 4, count=2), payload(ROUND - 2, count=count))
    sequences = Sequences(table)
    behind = (ROUND - 2 + count) % ROUND
    assert sequences.find(header_of(payload(behind, count=9))) is None
    for ahead in (1, 1_000_000, ROUND // 2 - 1):
        with pytest.raises(OutOfOrderSequence) as gap:
            sequences.find(header_of(payload((behind + ahead) % ROUND)))
        assert gap.value.fields["expected_sequence"] == behind
        assert "skips ahead" in gap.value.detail
    found = sequences.find(header_of(payload(ROUND - 2, count=count)))
    assert isinstance(found, Remembered)
    assert found.first_offset == 2
    for step in range(1, count):
        with pytest.raises(SequenceReused) as reused:
            sequences.find(header_of(payload((ROUND - 2 + step) % ROUND)))
        assert reused.value.fields["first_offset"] == 2
    with pytest.raises(OutOfOrderSequence, match="too long ago"):
        sequences.find(header_of(payload(ROUND - 5)))


@pytest.mark.parametrize("is_in_flight", [True, False])
def test_an_epoch_begins_at_0_and_nowhere_else(is_in_flight: bool) -> None:
    """A number just below the wrap is not one that comes before 0; and not the same of the epoch before."""
    sequences = Sequences(table := ProducerTable())
    sequences.begin(1)
    for number in (0, 1, 2):
        last = payload(ROUND - 1, number=NUMBER + number)
        if is_in_flight:
            sequences.add(header_of(last), Proposal(index=2, term=1))
        else:
            table.apply(frame(2 + number, last))
    for number, epoch in ((NUMBER, 1), (NUMBER + 1, 7), (99, 0), (99, 3)):
        for sequence in (1, ROUND // 2, ROUND // 2 + 1, ROUND - 1):
            with pytest.raises(OutOfOrderSequence) as gap:
                sequences.find(header_of(payload(sequence, number=number, epoch=epoch)))
            assert gap.value.fields["expected_sequence"] == 0
        assert sequences.find(header_of(payload(0, number=number, epoch=epoch))) is None


def test_a_retry_is_known_by_its_records() -> None:
    """Another batch under the number is refused, in flight and stored: by content, count or compression."""
    sequences = Sequences(table := ProducerTable())
    sequences.begin(1)
    first = payload(0, count=2)
    assert sequences.find(header_of(first)) is None
    proposal = Proposal(index=2, term=1, first_offset=0)
    sequences.add(header_of(first), proposal)
    others = [payload(0, count=2, value=b"w"), payload(0), payload(0, count=2, codec=batch.CODEC_ZSTD)]
    for is_stored in (False, True):
        found = sequences.find(header_of(first))
        assert isinstance(found, Remembered if is_stored else Flying)
        for other in others:
            with pytest.raises(SequenceReused):
                sequences.find(header_of(other))
        assert sequences.find(header_of(payload(2))) is None
        if not is_stored:
            table.apply(frame(2, first))
            proposal.resolve(Stored(2, 1, 0))
    # The same records under another epoch are no retry: whoever renumbers knows that they are not stored.
    assert sequences.find(header_of(batch.restamp(first, producer_epoch=1, sequence=0))) is None


def test_no_name_is_taken_for_a_number() -> None:
    """Whatever 16 bytes a batch says that a name comes to: the two are apart, and forgotten apart."""
    named = batch.encode([Record(0, None, b"v")], producer_id=numbered_id_of(NUMBER), sequence=0)
    assert header_of(named).producer_id == header_of(payload(0)).producer_id
    table = table_of(payload(0), payload(1), named)
    assert len(table.producers) == 2
    sequences = Sequences(table)
    assert sequences.find(header_of(payload(2))) is None
    assert sequences.find(header_of(batch.restamp(named, producer_epoch=0, sequence=1))) is None
    gone = forgetting([key_of(header_of(payload(0)))])
    table.apply(Frame(5, 1, 3, 0, 0, FrameKind.COMMAND, gone, crc_of(gone)))
    assert list(table.producers) == [numbered_id_of(NUMBER)]


def test_the_table_has_version_3_only_where_a_number_is_in_it() -> None:
    """Else it is written as builds before wrote it, to the byte; and all of it comes back."""
    named = [
        batch.encode(
            [Record(0, None, b"v")], producer_id=batch.producer_id_of("p"), producer_epoch=1, sequence=n
        )
        for n in range(2)
    ]
    table = table_of(*named)
    recent = [[n, n, 1, header_of(body).crc] for n, body in enumerate(named)]
    assert table.snapshot() == msgspec.msgpack.encode(
        {
            "version": 2,
            "last_index": 3,
            "forgotten": 0,
            "producers": {batch.producer_id_of("p"): [1, recent, 0]},
            "time": 0,
        }
    )
    both = table_of(*named, payload(ROUND - 1, count=2), payload(1, count=2))
    stored = msgspec.msgpack.decode(both.snapshot())
    assert stored["version"] == 3
    assert set(stored["producers"]) == {batch.producer_id_of("p"), NUMBER.to_bytes(8, "little")}
    other = ProducerTable()
    other.restore(both.snapshot())
    assert other.snapshot() == both.snapshot()
    assert Sequences(other).find(header_of(payload(3))) is None
    assert isinstance(Sequences(other).find(header_of(payload(1, count=2))), Remembered)
    gone = forgetting([NUMBER.to_bytes(8, "little")])
    other.apply(Frame(6, 1, 6, 0, 0, FrameKind.COMMAND, gone, crc_of(gone)))
    assert msgspec.msgpack.decode(other.snapshot())["version"] == 2


@given(st.integers(0, ROUND - 1), st.integers(1, 100_000), st.integers(0, 200_000))
def test_counting_goes_round(first: int, count: int, step: int) -> None:
    """As whole numbers would, where they lie less than half a round apart."""
    kind = ProducerKind.NUMBERED
    assert following(kind, first, count) == (first + count) % ROUND
    other = (first + step) % ROUND
    assert covers(kind, first, count, other) == (step < count)
    assert is_before(kind, first, other) == (step > 0)
    assert not is_before(kind, other, first)


class LeaderChanges(RuleBasedStateMachine):
    """A producer that retries at will, round the wrap, against leaders that come and go."""

    BEGIN = ROUND - 9

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[int, int, int, bytes, Proposal]] = []
        """Index, place (a sequence that does not wrap), count, value."""
        self.term = 1
        self._append(0, 2, b"v", Proposal(index=2, term=1, first_offset=0))
        self.commit = 1
        self._lead()

    def _append(self, place: int, count: int, value: bytes, proposal: Proposal) -> None:
        self.log.append((proposal.index, place, count, value, proposal))

    def _body(self, place: int, count: int, value: bytes) -> bytes:
        return payload((self.BEGIN + place) % ROUND, count=count, value=value)

    def _lead(self) -> None:
        self.table = ProducerTable()
        self.sequences = Sequences(self.table)
        self.sequences.begin(self.term)
        self.commit = 0
        self.commit_to(len(self.log))

    def commit_to(self, end: int) -> None:
        for index, place, count, value, proposal in self.log[self.commit : end]:
            self.table.apply(frame(index, self._body(place, count, value), offset=place))
            if proposal.outcome is None:
                proposal.resolve(Stored(index, self.term, place))
        self.commit = end

    @rule(
        back=st.integers(-2, 12),
        count=st.integers(1, 4),
        value=st.sampled_from([b"v", b"w"]),
        retry=st.booleans(),
    )
    def produce(self, back: int, count: int, value: bytes, retry: bool) -> None:
        """Any place at any time; only the next one gets in, and what got in is known."""
        end = self.log[-1][1] + self.log[-1][2]
        place = max(0, end - back)
        if retry and back >= 0:
            _, place, count, value, _ = self.log[-1 - min(back, len(self.log) - 1)]
        there = [entry for entry in self.log if entry[1] <= place < entry[1] + entry[2]]
        same = [entry for entry in there if entry[1:4] == (place, count, value)]
        made = header_of(self._body(place, count, value))
        found: Remembered | Flying | SequenceReused | None
        try:
            found = self.sequences.find(made)
        except OutOfOrderSequence:
            known = self.log[-BATCHES_REMEMBERED:]
            assert place > end or there == [] or there[0] not in known
            return
        except SequenceReused as refusal:
            found = refusal
        if isinstance(found, SequenceReused):
            assert same == []
            assert [entry[1] for entry in there] == [found.fields["first_offset"]]
        elif found is None:
            assert place == end
            proposal = Proposal(index=len(self.log) + 2, term=self.term, first_offset=place)
            self._append(place, count, value, proposal)
            self.sequences.add(made, proposal)
        else:
            offset = found.first_offset if isinstance(found, Remembered) else found.proposal.first_offset
            assert [entry[1] for entry in same] == [offset]

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

    @rule()
    def restart(self) -> None:
        """From a checkpoint."""
        other = ProducerTable()
        other.restore(self.table.snapshot())
        assert other.snapshot() == self.table.snapshot()

    @invariant()
    def every_record_is_there_once(self) -> None:
        """The places follow each other."""
        place = 0
        for entry in self.log:
            assert entry[1] == place
            place += entry[2]


TestLeaderChanges = LeaderChanges.TestCase
