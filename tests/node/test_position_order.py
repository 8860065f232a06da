"""Positions in a partition's machine, and what a leader lets through: over the table alone and in flight."""

from __future__ import annotations

import msgspec
import pytest
from floodmark.errors import FloodmarkError, PositionConflict, ProducerFenced, TooManyPositions
from floodmark.format import batch
from floodmark.format.batch import BatchHeader
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.frame_attributes import Attribute, pack
from floodmark.format.frame_records import WITH_POSITION
from floodmark.format.position import Position, Source, behind
from floodmark.format.record import Record

from consensus.types import NotStored, Proposal, Stored
from node.partition import source_positions
from node.partition.position_order import PositionOrder
from node.partition.producers import Command, ProducerTable, forgetting, packed
from node.partition.source_positions import EPOCH_MAX, POSITIONS_MAX, Begun, Kept, Moved

SOURCE = Source("g", 7, 3)


def made(epoch: int = 0, name: str = "p", sequence: int = 0) -> bytes:
    """A batch."""
    return batch.encode(
        [Record(0, None, b"v")],
        producer_id=batch.producer_id_of(name),
        producer_epoch=epoch,
        sequence=sequence,
        format=2,
    )


def header(epoch: int = 0, name: str = "p") -> BatchHeader:
    """Its header."""
    return batch.decode_header(made(epoch, name))


def at(next_offset: int, source: Source = SOURCE) -> Position:
    """A position in a source."""
    return Position(*source, next_offset)


def records(index: int, position: Position, *, epoch: int = 0, name: str = "p") -> Frame:
    """A committed batch with its position."""
    payload = behind(made(epoch, name, index), position)
    form = WITH_POSITION._asdict()
    return Frame(index, 1, index, 0, 1, FrameKind.RECORDS, payload, crc_of(payload), **form)


def command(index: int, what: Command) -> Frame:
    """A committed command."""
    payload = packed(what)
    return Frame(index, 1, index, 0, 0, FrameKind.COMMAND, payload, crc_of(payload))


def test_the_newest_position_of_each_source_is_kept() -> None:
    """By group, topic id and partition; an epoch that begins keeps it, and a removed group is gone."""
    table = ProducerTable()
    others = [Source("h", 7, 3), Source("g", 8, 3), Source("g", 7, 4)]
    for number, source in enumerate([SOURCE, *others, SOURCE]):
        table.apply(records(2 + number, at(10 + number, source)))
    p = batch.producer_id_of("p")
    assert table.positions.kept == {
        SOURCE: Kept(14, 0, p),
        **{source: Kept(11 + number, 0, p) for number, source in enumerate(others)},
    }
    table.apply(command(7, Command([], begin=[Begun(*SOURCE, 4), Begun("new", 1, 0, 0)])))
    assert table.positions.kept[SOURCE] == Kept(14, 4)
    assert table.positions.kept[Source("new", 1, 0)] == Kept(None, 0)
    table.apply(command(8, Command([], remove=["g", "none"])))
    assert set(table.positions.kept) == {Source("h", 7, 3), Source("new", 1, 0)}
    table.apply(command(9, Command([], move=[Moved("new", 1, 0, 70, 2, p)])))
    assert table.positions.kept[Source("new", 1, 0)] == Kept(70, 2, p)


def test_a_snapshot_has_the_positions_and_without_any_it_is_as_before() -> None:
    """So that a partition that keeps none can be read by builds that know none."""
    table = ProducerTable()
    table.apply(records(2, at(10)))
    table.apply(records(3, at(5, Source("a", 1, 1)), epoch=3))
    table.apply(command(4, Command([], begin=[Begun("b", 1, 1, 9)])))
    other = ProducerTable()
    other.restore(table.snapshot())
    assert other.positions.kept == table.positions.kept
    assert other.snapshot() == table.snapshot()
    assert msgspec.msgpack.decode(table.snapshot())["version"] == 4
    other.apply(command(5, Command([], remove=["a", "b", "g"])))
    said = msgspec.msgpack.decode(other.snapshot())
    assert (said["version"], sorted(said)) == (2, ["forgotten", "last_index", "producers", "time", "version"])
    other.restore(b"")
    assert other.positions.kept == {}


def test_commands_that_earlier_builds_know_are_the_same_bytes() -> None:
    """A cluster of a lower level has no others."""
    assert forgetting([b"x"]) == msgspec.msgpack.encode({"forget": [b"x"]})


@pytest.mark.parametrize("said", [1, ["g", 7], ["", 7, 3, 1]], ids=str)
def test_a_frame_whose_position_is_none_is_skipped_whole(said: object) -> None:
    """Only a bug lets one in; all replicas do the same."""
    table = ProducerTable()
    payload = made() + pack({int(Attribute.POSITION): said})
    form = WITH_POSITION._asdict()
    table.apply(Frame(2, 1, 0, 0, 1, FrameKind.RECORDS, payload, crc_of(payload), **form))
    assert (table.positions.kept, table.producers, table.last_index) == ({}, {}, 2)


class Led:
    """A leader's order over a table, with proposals that are settled when told."""

    def __init__(self) -> None:
        self.table = ProducerTable()
        self.order = PositionOrder(self.table)
        self.order.begin(1)
        self.index = 1
        self.flying: list[tuple[Proposal, Frame]] = []

    def offer(self, next_offset: int, *, epoch: int = 0, name: str = "p", source: Source = SOURCE) -> None:
        """A batch comes in, and is proposed unless it is refused."""
        position = at(next_offset, source)
        self.order.check(position, header(epoch, name))
        self.index += 1
        proposal = Proposal()
        proposal.index = self.index
        self.flying.append((proposal, records(self.index, position, epoch=epoch, name=name)))
        self.order.add(position, header(epoch, name), proposal)

    def begin(self, source: Source = SOURCE, producer: bytes = b"", least: int = 0) -> int:
        """An epoch begins."""
        begun = self.order.next_epoch(source, producer, least)
        self.index += 1
        proposal = Proposal()
        proposal.index = self.index
        self.flying.append((proposal, command(self.index, Command([], begin=[begun]))))
        self.order.add_begun(begun, proposal)
        return begun.epoch

    def move(self, next_offset: int, *, epoch: int = 0, name: str = "p") -> None:
        """A position without records comes in."""
        moved = Moved(*at(next_offset), epoch, batch.producer_id_of(name))
        self.order.check_moved(moved)
        self.index += 1
        proposal = Proposal()
        proposal.index = self.index
        self.flying.append((proposal, command(self.index, Command([], move=[moved]))))
        self.order.add_moved(moved, proposal)

    def refused_move(self, next_offset: int, *, epoch: int = 0, name: str = "p") -> FloodmarkError | None:
        """By what is committed alone."""
        return self.order.refused_moved(Moved(*at(next_offset), epoch, batch.producer_id_of(name)))

    def commit(self) -> None:
        """All that is in flight is stored; one outcome comes before its apply."""
        for number, (proposal, frame) in enumerate(self.flying):
            if number % 2:
                self.table.apply(frame)
            proposal.resolve(Stored(frame.index, 1, frame.first_offset))
            self.table.apply(frame)
        self.flying.clear()

    def fail(self) -> None:
        """None of it is."""
        for proposal, _ in self.flying:
            proposal.resolve(NotStored("another leader"))
        self.flying.clear()

    def refused(self, next_offset: int, *, epoch: int = 0, name: str = "p") -> FloodmarkError | None:
        """By what is committed alone."""
        return self.order.refused(at(next_offset), header(epoch, name))


@pytest.mark.parametrize("commits", [True, False])
def test_positions_only_rise(commits: bool) -> None:
    """Those in flight count, and the refusal names what is kept."""
    led = Led()
    for next_offset in (0, 5, 6):
        led.offer(next_offset)
        if commits:
            led.commit()
        for below in {0, next_offset}:
            with pytest.raises(PositionConflict, match=f"not behind {next_offset}") as refused:
                led.offer(below)
            assert refused.value.fields == {"next_offset": next_offset}
            assert isinstance(led.refused(below), PositionConflict) is commits
    led.offer(0, source=Source("g", 7, 4))
    led.commit()
    assert {source.partition: kept.next_offset for source, kept in led.table.positions.kept.items()} == {
        3: 6,
        4: 0,
    }


@pytest.mark.parametrize("commits", [True, False])
def test_an_epoch_shuts_out_earlier_ones_and_others_of_the_same(commits: bool) -> None:
    """Whatever their names and however far they are: what is refused may have been made from the same."""
    led = Led()
    led.offer(5)
    assert led.begin() == 1
    if commits:
        led.commit()
    for name in ("p", "q"):
        with pytest.raises(ProducerFenced) as refused:
            led.offer(9, name=name)
        assert refused.value.fields == {"current_epoch": 1}
        assert isinstance(led.refused(9, name=name), ProducerFenced) is commits
    led.offer(6, epoch=1)
    with pytest.raises(ProducerFenced):
        led.offer(7, epoch=1, name="q")
    led.offer(7, epoch=1)
    assert led.begin() == 2
    led.offer(8, epoch=3, name="q")  # Who counts epochs itself.
    assert led.begin() == 4
    led.commit()
    assert led.table.positions.kept == {SOURCE: Kept(8, 4)}
    assert led.begin(producer=batch.producer_id_of("r"), least=9) == 9
    with pytest.raises(ProducerFenced):
        led.offer(9, epoch=9, name="q")
    led.offer(9, epoch=9, name="r")


@pytest.mark.parametrize("commits", [True, False])
def test_a_position_that_moves_without_records_keeps_to_the_same_rules(commits: bool) -> None:
    """It rises, may come again, passes what comes late with records, and is fenced by epochs."""
    led = Led()
    producer = batch.producer_id_of("p")
    assert led.begin(producer=producer) == 0
    led.move(5)
    led.move(5)
    if commits:
        led.commit()
    for next_offset in (0, 4):
        with pytest.raises(PositionConflict, match="not behind 5") as refused:
            led.move(next_offset)
        assert refused.value.fields == {"next_offset": 5}
        assert isinstance(led.refused_move(next_offset), PositionConflict) is commits
    for next_offset in (4, 5):
        with pytest.raises(PositionConflict, match="not behind 5"):
            led.offer(next_offset)
    assert led.refused_move(5) is None
    led.offer(6)
    led.move(7)
    for name in ("q", "r"):
        with pytest.raises(ProducerFenced, match="another producer"):
            led.move(8, name=name)
    assert led.begin(producer=batch.producer_id_of("q")) == 1
    if commits:
        led.commit()
    with pytest.raises(ProducerFenced, match="ended by epoch 1") as fenced:
        led.move(8)
    assert fenced.value.fields == {"current_epoch": 1}
    assert isinstance(led.refused_move(8), ProducerFenced) is commits
    led.move(8, epoch=1, name="q")
    led.commit()
    assert led.table.positions.kept == {SOURCE: Kept(8, 1, batch.producer_id_of("q"))}
    led.move(9, epoch=1, name="q")
    led.fail()
    led.offer(9, epoch=1, name="q")


def test_a_position_that_moves_needs_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one with records, where the source is not known."""
    monkeypatch.setattr("node.partition.position_order.POSITIONS_MAX", 1)
    led = Led()
    led.begin(Source("h", 1, 1))
    with pytest.raises(TooManyPositions):
        led.move(1)
    led.commit()
    assert isinstance(led.refused_move(1), TooManyPositions)


def test_what_came_to_nothing_is_forgotten() -> None:
    """Then what is kept counts again; likewise in another term."""
    led = Led()
    led.offer(5)
    led.commit()
    led.offer(9)
    led.begin()
    led.fail()
    led.offer(6)
    led.order.begin(2)
    led.offer(7)
    led.fail()
    assert led.begin() == 1


def test_a_partition_keeps_so_many_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in flight count; who is kept goes on."""
    assert POSITIONS_MAX == 1000
    monkeypatch.setattr("node.partition.position_order.POSITIONS_MAX", 3)
    led = Led()
    led.offer(1)
    led.commit()
    led.offer(1, source=Source("g", 7, 4))
    led.begin(Source("h", 1, 1))
    for attempt in (
        lambda: led.offer(1, source=Source("i", 1, 1)),
        lambda: led.begin(Source("i", 1, 1)),
    ):
        with pytest.raises(TooManyPositions, match="positions of 3 sources") as refused:
            attempt()
        assert refused.value.fields == {"limit": 3}
    led.offer(2)
    assert led.begin(Source("h", 1, 1)) == 1
    led.commit()
    led.table.apply(command(99, Command([], remove=["h"])))
    led.offer(1, source=Source("i", 1, 1))


def test_a_full_partition_fits_a_checkpoint() -> None:
    """With the longest names."""
    table = ProducerTable()
    for number in range(POSITIONS_MAX):
        group = f"{number:03}".ljust(249, "x")
        table.positions.begin(Begun(group, 2**62 - 1, number, EPOCH_MAX))
    assert len(table.snapshot()) < 300_000
    assert [each.partition for each in table.positions.of_group("007".ljust(249, "x"))] == [7]
    assert source_positions.EPOCH_MAX == 2**32 - 1
