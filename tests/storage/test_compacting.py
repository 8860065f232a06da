"""Compaction of sealed segments: smaller files, the same indexes, offsets, terms and log positions."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from floodmark.format import batch
from floodmark.format.delivery import deliver_at_in, with_attributes
from floodmark.format.frame import Frame, FrameKind, crc_of, gap, iterate
from floodmark.format.frame_records import records_in
from floodmark.format.record import Record

from storage.compare import differences
from storage.errors import LogCorrupt, LogFailed, LogTooNew, OutOfRange
from storage.filesystem import File
from storage.holes import Hole, Misfit
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.mending import by_index
from storage.options import LogOptions
from storage.segment_header import GAPS
from storage.segments import Segment
from storage.verify import verify_replica
from tests.storage.frames import FOLDER, all_frames, batch_frame, make_frame
from tests.support.compaction import compact, compactable, nothing, problem, some

OPTIONS = LogOptions(
    segment_bytes=1024, index_interval_bytes=128, tail_bytes_max=600, open_files_max=2, loaded_indexes_max=2
)
SMALL = LogOptions(segment_bytes=4096, index_interval_bytes=256, tail_bytes_max=2048, zeros_ahead_bytes=0)


def reopen(fs: MemoryFileSystem) -> Log:
    """Without zeros ahead: the sizes of files are looked at."""
    return Log.open(fs, FOLDER, SMALL)


def fill(log: Log, count: int, *, records: int = 1, term: int = 1) -> list[Frame]:
    """Append frames with real batches, whose times are those at which they were appended; returns them."""
    frames = []
    for _ in range(count):
        time = 1000 + log.last_index + 1
        frames.append(
            batch_frame(log, [time] * records, term=term, append_time=time)
            if records
            else make_frame(log, records=0, term=term)
        )
        log.append(frames[-1])
    return frames


def store(log: Log, count: int, *, term: int = 1) -> list[Frame]:
    """Append, write and sync frames; returns them."""
    frames = fill(log, count, term=term)
    log.write()
    log.sync()
    return frames


def life(count: int = 150, *, term_at: int = 0) -> tuple[MemoryFileSystem, Log, list[Frame]]:
    """A log of several segments whose checkpoint covers it all, and what it holds."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, term_at) + store(log, count - term_at, term=2)
    log.checkpoint(b"state")
    return fs, log, frames


def file_sizes(fs: MemoryFileSystem) -> int:
    """Bytes of all segment files."""
    return sum(fs.size(f"{FOLDER}/{name}") for name in fs.listdir(FOLDER) if name.endswith(".log"))


def positions(log: Log) -> list[tuple[int, int]]:
    """(first index, log position) of every segment."""
    return [(segment.base_index, segment.header.base_position) for segment in log._segments.all]


def check(log: Log, frames: list[Frame]) -> None:
    """Everything that a log answers is what it would be without gaps, but for what was removed."""
    assert problem(all_frames(log), frames) is None
    assert log.last_index == (frames[-1].index if frames else log.base_index - 1)
    for frame in frames[::3]:
        assert log.term_at(frame.index) == frame.term
        found = log.frame(frame.index)
        assert found.index <= frame.index <= found.last_index
        part = list(log.frames(frame.index, min(frame.index + 5, log.last_index)))
        assert part[0].index <= frame.index
        assert part[-1].last_index >= min(frame.index + 5, log.last_index)
    for frame in frames[::4]:
        if frame.offset_count and frame.index <= log.written_index:
            offset = frame.next_offset - 1
            assert log.index_at_offset(offset) <= frame.index
            got = list(iterate(log.read(offset, end_offset=log.next_offset, max_bytes=500).frames))
            assert got[0].first_offset <= offset < got[0].next_offset
            assert [each.index for each in got[1:]] == [each.last_index + 1 for each in got[:-1]]
            assert problem(got, [f for f in frames if got[0].index <= f.index <= got[-1].last_index]) is None
    kept = [frame for frame in all_frames(log) if frame.kind is FrameKind.RECORDS]
    for frame in kept[:: max(1, len(kept) // 5)]:
        assert log.offset_at_time(frame.append_time) == frame.first_offset


def test_a_compacted_segment_shrinks_and_nothing_else_moves() -> None:
    """Positions, indexes, offsets and the other segments stay; disk usage falls; the log opens again."""
    fs, log, frames = life(term_at=20)
    before, size = positions(log), log.size_bytes
    assert size == file_sizes(fs)
    for index in compactable(log)[:3]:
        assert compact(log, index)
    assert positions(log) == before
    assert log.size_bytes == file_sizes(fs) < size - 2 * 4096
    check(log, frames)
    headers = [segment.header for segment in log._segments.all]
    assert [(header.generation, header.flags, header.version) for header in headers[:4]] == [
        (1, GAPS, 2),
        (1, GAPS, 2),
        (1, GAPS, 2),
        (0, 0, 1),
    ]
    assert any(frame.kind is FrameKind.GAP and frame.last_index == 21 for frame in all_frames(log))
    log.close()
    log = reopen(fs)
    assert positions(log) == before
    assert log.size_bytes == file_sizes(fs)
    frames += store(log, 40, term=3)
    check(log, frames)
    report = verify_replica(fs, FOLDER)
    assert report.findings == []
    assert report.size_bytes == log.size_bytes
    assert (report.last_index, report.next_offset) == (log.last_index, log.next_offset)


def test_what_the_checkpoint_does_not_cover_is_not_compacted() -> None:
    """It may be what the log is cut back to; the segment that is written to stays as it is in any case."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    log.checkpoint(b"", index=60)
    sealed = [segment.base_index for segment in log._segments.all[:-1]]
    assert 0 < len(compactable(log)) < len(sealed)
    for index in [*(each for each in sealed if each not in compactable(log)), log.last_index]:
        with pytest.raises(OutOfRange):
            compact(log, index)
    assert not [name for name in fs.listdir(FOLDER) if name.endswith(".tmp")]


def test_compacted_again_gaps_grow_together() -> None:
    """What is left is compacted like a segment of its own; where nothing is won nothing is written."""
    _fs, log, frames = life()
    index = log.base_index
    assert compact(log, index, lambda frame: frame.index % 3 == 0)
    check(log, frames)
    assert compact(log, index, lambda frame: frame.index % 12 == 0)
    assert not compact(log, index, lambda frame: frame.index % 12 == 0)
    assert log._segments.first.header.generation == 2
    check(log, frames)
    assert compact(log, index)
    assert all_frames(log)[0].last_index == log._segments.all[1].base_index - 1
    check(log, frames)


def test_what_was_compacted_is_not_cut() -> None:
    """It is committed; behind it the log is cut as ever."""
    _fs, log, frames = life()
    compact(log, log.base_index)
    bound = log._segments.all[1].base_index
    for index in (log.base_index + 5, bound - 1):
        with pytest.raises(OutOfRange):
            log.truncate(index)
    log.truncate(bound)
    del frames[bound - 2 :]
    check(log, frames)
    check(log, [*frames, *store(log, 60, term=3)])


def test_a_log_takes_in_gaps_from_its_leader() -> None:
    """They begin a segment whose header says so; they are read from memory and from the disk alike."""
    fs, log, frames = life()
    source = all_frames(log)
    fs2 = MemoryFileSystem()
    other = reopen(fs2)
    for frame in source[:5]:
        other.append(frame)
    one = gap(
        7,
        2,
        source[5].first_offset,
        9,
        entries=60,
        offset_count=source[64].next_offset - source[5].first_offset,
    )
    other.append(one)
    assert other.frame(40) == one
    assert other.term_at(66) == 2
    assert other.index_at_offset(one.first_offset + 3) == 7
    assert not other.fits_in_segment(1 << 20)
    for frame in source[65:]:
        other.append(frame)
    assert list(other.frames(30, 70)) == [one, *source[65:69]]
    other.truncate(100)
    with pytest.raises(OutOfRange):
        other.truncate(30)
    assert other.write() == other.sync() == 99
    frames = frames[:98]
    check(other, frames)
    assert [(s.base_index, s.header.flags) for s in other._segments.all][:2] == [(2, 0), (7, GAPS)]
    other.close()
    check(reopen(fs2), frames)
    assert verify_replica(fs2, FOLDER).findings == []
    assert verify_replica(fs, FOLDER).findings == []


def test_an_empty_segment_gets_another_header_for_the_first_gap() -> None:
    """As after a reset; a crash leaves the old or the new one, and a segment that opens."""
    for after in range(12):
        fs = MemoryFileSystem()
        log = reopen(fs)
        log.reset(index=10, term=3, offset=40, state=b"x")
        log.append(gap(11, 3, 40, 9, entries=60, offset_count=7))
        fs.fail("any", after=after)
        with suppress(LogFailed):
            log.write()
            log.sync()
        fs.heal()
        fs.crash(Random(after))
        fs.restart()
        log = reopen(fs)
        assert log.last_index in (10, 70)
        assert (log.base_index, log.base_term, log.start_offset) == (11, 3, 40)
        assert log._segments.active.header.flags in (0, GAPS)
        if log.last_index == 10:
            log.append(gap(11, 3, 40, 9, entries=60, offset_count=7))
            log.write()
            log.sync()
        store(log, 20, term=3)
        assert (log.last_index, log._segments.first.header.flags) == (90, GAPS)


@pytest.mark.parametrize("seed", range(80))
def test_a_crash_in_the_middle_leaves_one_segment_or_the_other(seed: int) -> None:
    """Power fails at any call of a compaction; the log holds what it held, with or without the gaps."""
    rng = Random(seed)
    fs, log, frames = life(rng.randint(60, 150), term_at=rng.randint(0, 50))
    index = rng.choice(compactable(log))
    if rng.random() < 0.3:
        compact(log, index, some(rng, 0.5))
    before = positions(log)
    fs.fail(
        rng.choice(("write", "sync", "rename", "sync_folder", "unlink", "any")),
        error=5,
        after=rng.randint(0, 6),
    )
    with suppress(OSError, LogFailed):
        compact(log, index, some(rng, 0.3))
    fs.heal()
    fs.crash(rng)
    fs.restart()
    log = reopen(fs)
    assert positions(log) == before
    assert log.size_bytes == file_sizes(fs)
    check(log, frames)
    assert not [name for name in fs.listdir(FOLDER) if name.endswith(".tmp")]
    check(log, [*frames, *store(log, 30, term=3)])


@pytest.mark.parametrize("seed", range(60))
def test_a_hole_is_filled_from_a_peer_that_is_compacted_otherwise(seed: int) -> None:
    """With frames, with gaps, with parts of gaps: the indexes, terms and offsets are the very same."""
    rng = Random(seed)
    fs, log, frames = life(rng.randint(80, 150), term_at=rng.randint(0, 80))
    peers = []
    for share in (1.0, 0.5, 0.0):
        peer = reopen(MemoryFileSystem())
        for frame in frames:
            peer.append(frame)
        peer.write()
        peer.sync()
        peer.checkpoint(b"")
        for index in compactable(peer):
            compact(peer, index, some(rng, share))
        peers.append(peer)
    index = rng.choice(compactable(log))
    if rng.random() < 0.7:
        compact(log, index, some(rng, rng.choice((0.2, 0.8))))
    segment = log._segments.holding_index(index)
    log.close()
    for _ in range(rng.choice((1, 1, 3))):
        fs.flip_bit(segment.path, rng.randrange(64, fs.size(segment.path)))
    log = reopen(fs)
    with pytest.raises(LogCorrupt) as found:
        list(log.stored(log.base_index, log.last_index))
    wound = log.wound(found.value.first_bad_index)
    got: dict[int, Frame] = {}
    for hole in wound.holes:
        first = hole.first
        while first <= hole.last:
            upto = rng.randint(first, hole.last)
            sent = list(rng.choice(peers).frames(first, upto))
            got |= by_index(sent, first)
            first = sent[-1].last_index + 1
    try:
        log.take_mended(wound, log.prepare_mended(wound, got))
    except Misfit:
        # Two bad headers in a segment that was not compacted: where the first hole ends is not certain.
        assert any(not hole.is_certain for hole in wound.holes)
        full = {frame.index: frame for frame in frames}
        log.take_mended(wound, log.prepare_mended(wound, full))
    assert problem(log.stored(log.base_index, log.last_index), frames) is None
    assert log.size_bytes == file_sizes(fs)
    check(log, frames)
    log.close()
    assert verify_replica(fs, FOLDER).findings == []
    check(reopen(fs), frames)


def test_a_gap_is_not_put_where_another_term_or_other_offsets_were() -> None:
    """Whoever sends them."""
    fs, log, frames = life()
    log.close()
    fs.flip_bit(f"{FOLDER}/00000000000000000002.log", 64 + 5 * frames[0].size + 80)
    log = reopen(fs)
    wound = log.wound(7)
    good = frames[5]
    for term, offset, count in ((3, 0, 9), (2, 6, 1), (2, 0, 4)):
        bad = gap(4, term, offset, 9, entries=8, offset_count=count)
        with pytest.raises(Misfit):
            log.prepare_mended(wound, {7: bad})
    fits = gap(4, 2, good.first_offset - 3, 9, entries=8, offset_count=8)
    log.take_mended(wound, log.prepare_mended(wound, {7: fits}))
    check(log, frames)
    assert log.frame(7).kind is FrameKind.GAP
    assert log.frame(6).kind is log.frame(8).kind is FrameKind.RECORDS


def test_a_shorter_file_is_noticed_at_once() -> None:
    """Its header says how long a compacted segment is: no frame has to be read for that."""
    fs, log, _frames = life()
    compact(log, log.base_index, lambda frame: frame.index % 4 == 0)
    log.close()
    path = f"{FOLDER}/00000000000000000002.log"
    file = fs.open(path)
    file.truncate(fs.size(path) - 10)
    file.close()
    with pytest.raises(LogCorrupt, match="its header says"):
        reopen(fs)
    assert not verify_replica(fs, FOLDER).is_sound


@pytest.mark.parametrize("seed", range(40))
def test_a_repair_of_a_log_with_gaps_leaves_a_log_that_goes_on(seed: int) -> None:
    """What stands from a frame on is set aside, in a compacted segment too; positions never go back."""
    rng = Random(seed)
    fs, log, frames = life(rng.randint(60, 150))
    for index in compactable(log):
        if rng.random() < 0.7:
            compact(log, index, some(rng, 0.4))
    keep_before = rng.randint(2, log.last_index)
    highest = log._segments.active.end_position
    log.close()
    log = Log.repair(fs, FOLDER, SMALL, keep_before=keep_before)
    assert log.last_index < keep_before
    assert all(frame.index <= log.last_index for frame in all_frames(log))
    kept = frames[: log.last_index - 1]
    held = next((f for f in frames if f.index == keep_before - 1), None)
    assert held is None or log.last_index == held.index or log.last_index < held.index
    check(log, kept)
    assert log._segments.active.end_position <= highest + 64
    assert not log._segments.active.header.is_compacted
    kept += store(log, 80, term=4)
    check(log, kept)
    log.close()
    log = reopen(fs)
    check(log, kept)
    assert verify_replica(fs, FOLDER).findings == []


def test_a_lost_checkpoint_is_made_anew_over_gaps() -> None:
    """The log is scanned from its first frame; gaps are seen; a start goes on inside of a compacted one."""
    fs, log, frames = life()
    for index in compactable(log):
        compact(log, index, lambda frame: frame.index % 10 < 3)
    log.close()
    fs.unlink(f"{FOLDER}/checkpoint")
    seen: list[Frame] = []
    log = Log.open(fs, FOLDER, SMALL, on_frame=seen.append)
    assert problem(seen, frames) is None
    for index in (15, 27, 64):
        log.checkpoint(b"so far", index=index)
        at = log.checkpoint_index
        assert index <= at == log.frame(index).last_index
        log.close()
        seen.clear()
        log = Log.open(fs, FOLDER, SMALL, on_frame=seen.append)
        assert log.checkpoint_index == at
        assert problem(seen, frames[at - 1 :]) is None
    check(log, frames)


def test_a_file_that_is_swapped_under_a_reader_is_read_on() -> None:
    """A walk that has begun goes on in the compacted file, where its next frame stands elsewhere."""
    _fs, log, frames = life()
    log._tail.evict(log.last_index)
    walk = log.stored(2, log.last_index)
    begun = [next(walk) for _ in range(5)]
    assert begun == frames[:5]
    for index in compactable(log):
        assert compact(log, index, lambda frame: frame.index % 10 < 3)
    rest = list(walk)
    assert rest[0].index <= 7 <= rest[0].last_index
    assert problem(rest, frames[rest[0].index - 2 :]) is None


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("what", ["frame", "frames", "read", "time", "offset"])
def test_a_look_up_that_meets_the_new_file_half_way_is_made_again(what: str, step: int) -> None:
    """A place was found, then the segment was compacted, then its file is read: nothing is damaged."""
    fs, log, frames = life()
    log.close()
    log = reopen(fs)
    segments = log._segments
    segments.index(segments.first)
    real, views = segments.view, 0

    def view(segment: Segment) -> tuple[File, int]:
        nonlocal views
        views += 1
        if views == step + 1:
            segments.view = real  # type: ignore[method-assign]
            assert compact(log, 2, lambda frame: frame.index % 7 != 3)
        return real(segment)

    segments.view = view  # type: ignore[method-assign]
    wanted = frames[23]
    if what == "frame":
        assert log.frame(wanted.index) == wanted
    elif what == "frames":
        found = list(log.frames(2, 33))
        assert problem(found, frames[: found[-1].last_index - 1]) is None
    elif what == "read":
        assert next(iterate(log.read(wanted.first_offset, end_offset=150, max_bytes=900).frames)) == wanted
    elif what == "time":
        assert log.offset_at_time(wanted.append_time) == wanted.first_offset
    else:
        assert log.index_at_offset(wanted.first_offset) == wanted.index
    assert log.damage is None
    assert step or views == 1


@pytest.mark.parametrize("place", [10, 70])
def test_a_gap_that_had_been_durable_is_never_taken_for_a_torn_write(place: int) -> None:
    """Behind it indexes are higher than there is room for frames; headers that say it was synced count."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 3)
    log.append(gap(5, 1, 3, 9, entries=5000, offset_count=5000))
    log.write()
    log.sync()
    store(log, 5)
    log.close()
    fs.unlink(f"{FOLDER}/synced")
    path = f"{FOLDER}/00000000000000000005.log"
    fs.flip_bit(path, 64 + place)
    with pytest.raises(LogCorrupt, match="it had been durable") as caught:
        reopen(fs)
    assert (caught.value.first_bad_index, caught.value.last_known_index) == (5, 5009)
    assert not verify_replica(fs, FOLDER).is_sound


def test_retention_by_size_counts_what_files_take_up() -> None:
    """Compaction lets a log reach further back with the same limit; positions do not count."""
    _fs, log, _frames = life()
    limit = log.size_bytes // 2
    before = log.expired_before(now_ms=0, retention_ms=None, retention_bytes=limit)
    assert before > log.base_index
    for index in compactable(log):
        compact(log, index)
    assert log.size_bytes < limit
    assert log.expired_before(now_ms=0, retention_ms=None, retention_bytes=limit) == log.base_index
    assert log.expired_before(now_ms=10**9, retention_ms=1, retention_bytes=None) > log.base_index


class _Life:
    """A log and what it would hold without compaction."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.fs = MemoryFileSystem()
        self.log = Log.open(self.fs, FOLDER, OPTIONS)
        self.frames: list[Frame] = []
        self.term = 1

    def append(self) -> None:
        rng = self.rng
        self.frames += fill(self.log, rng.randint(1, 12), records=rng.randint(0, 3), term=self.term)
        self.term += rng.random() < 0.3

    def take_gap(self) -> None:
        self.frames += _take_gap(self.log, self.rng, self.term)

    def write(self) -> None:
        self.log.write()

    def sync(self) -> None:
        self.log.sync()

    def checkpoint(self) -> None:
        first = max(self.log.base_index - 1, self.log.checkpoint_index)
        self.log.checkpoint(b"", index=self.rng.randint(first, self.log.durable_index))

    def compact(self) -> None:
        if compactable(self.log):
            compact(self.log, self.rng.choice(compactable(self.log)), some(self.rng, self.rng.random()))

    def truncate(self) -> None:
        log = self.log
        with suppress(OutOfRange):
            log.truncate(max(log.checkpoint_index + 1, log.base_index, log.last_index - 10))

    def truncate_head(self) -> None:
        self.log.truncate_head(before_index=self.log.base_index + self.rng.randint(0, 20))
        self.frames = [frame for frame in self.frames if frame.index >= self.log.base_index]

    def roll(self) -> None:
        self.log.roll(now_ms=10**9, roll_ms=1)

    def start_anew(self) -> None:
        durable = self.log.durable_index
        if self.rng.random() < 0.5:
            self.fs.crash(self.rng)
            self.fs.restart()
        else:
            self.log.close()
        self.log = Log.open(self.fs, FOLDER, OPTIONS)
        assert self.log.last_index >= durable


@pytest.mark.parametrize("seed", range(60))
def test_a_random_life_with_compaction(seed: int) -> None:
    """Appends, gaps from a leader, cuts, checkpoints, trims, restarts, losses of power, and compaction."""
    life = _Life(seed)
    steps = [life.append, life.write, life.sync, life.compact] * 3
    steps += [life.take_gap, life.checkpoint, life.checkpoint, life.truncate, life.truncate_head, life.roll]
    steps += [life.start_anew] * 2
    for _ in range(life.rng.randint(20, 60)):
        life.rng.choice(steps)()
        life.frames = [frame for frame in life.frames if frame.index <= life.log.last_index]
        check(life.log, life.frames)
    life.log.write()
    life.log.sync()
    life.log.close()
    assert [finding for finding in verify_replica(life.fs, FOLDER).findings if finding.is_damage] == []


def _take_gap(log: Log, rng: Random, term: int) -> list[Frame]:
    """Append a gap, as a leader sends it; the frames that it stands for."""
    run: list[Frame] = []
    for _ in range(rng.randint(1, 9)):
        run.append(
            make_frame(run[-1] if run else log, records=rng.randint(0, 2), term=max(term, log.last_term))
        )
    first, last = run[0], run[-1]
    log.append(
        gap(
            first.index,
            first.term,
            first.first_offset,
            last.append_time,
            entries=len(run),
            offset_count=last.next_offset - first.first_offset,
        )
    )
    return run


def test_too_new_is_a_flag_that_is_not_known() -> None:
    """Of a segment's header; nothing of such a log is changed."""
    fs, log, _frames = life()
    compact(log, log.base_index)
    log.close()
    path = f"{FOLDER}/00000000000000000002.log"
    header = log._segments.first.header
    strange = type(header)(
        **{**{n: getattr(header, n) for n in header.__struct_fields__}, "flags": 3}
    ).encode()
    file = fs.open(path)
    file.writev([strange], 0)
    file.close()
    with pytest.raises(LogTooNew, match="has flags 0x03, this build knows 0x01"):
        reopen(fs)
    assert nothing(_frames[0]) is False


@pytest.mark.parametrize("seed", range(20))
def test_replicas_are_compared_by_their_places_where_one_was_compacted(seed: int) -> None:
    """Equal however each was compacted; one other record, term or offset anywhere is found."""
    rng = Random(seed)
    sides = []
    changed = rng.randint(20, 100)
    for what in ("same", "same", "record", "term", "offset"):
        fs = MemoryFileSystem()
        log = reopen(fs)
        for index in range(2, 130):
            term = 1 + (index > 60)
            time = 1000 + index + (7 if what == "record" and index == changed else 0)
            if what == "term" and index > changed:
                term += 1
            count = 2 if what == "offset" and index == changed else 1
            log.append(batch_frame(log, [time] * count, term=term, append_time=index))
        log.write()
        log.sync()
        log.checkpoint(b"")
        for index in compactable(log):
            if what == "same" and rng.random() < 0.8:
                compact(log, index, some(rng, 0.5))
        log.close()
        sides.append(fs)
    assert differences(_Both(sides[0], sides[1]), "/a", "/b") == []
    original = MemoryFileSystem()
    log = reopen(original)
    for index in range(2, 130):
        log.append(batch_frame(log, [1000 + index], term=1 + (index > 60), append_time=index))
    log.write()
    log.close()
    for fs in sides[2:]:
        assert differences(_Both(original, fs), "/a", "/b")
        assert differences(_Both(fs, original), "/a", "/b")
    for fs in sides[3:]:
        assert differences(_Both(sides[0], fs), "/a", "/b"), "terms and offsets are compared over gaps too"


class _Both(MemoryFileSystem):
    """Two disks as folders of one."""

    def __init__(self, a: MemoryFileSystem, b: MemoryFileSystem) -> None:
        super().__init__()
        self._sides = {"/a": a, "/b": b}

    def listdir(self, path: str) -> list[str]:
        return self._sides[path].listdir(FOLDER)

    def open(self, path: str, *, create: bool = False) -> File:
        side, _, name = path.rpartition("/")
        return self._sides[side].open(f"{FOLDER}/{name}", create=create)


def test_a_start_finds_its_place_in_a_segment_that_changed_since_the_checkpoint() -> None:
    """By the index, for frames do not stand where they did when it was made."""
    fs, log, frames = life()
    log.close()
    fs.unlink(f"{FOLDER}/checkpoint")
    log = reopen(fs)
    log.checkpoint(b"half way", index=20)
    log.checkpoint_index = log.last_index  # As if it had covered the segment: the file says 20.
    assert compact(log, 2, lambda frame: frame.index == 21)
    log.close()
    seen: list[Frame] = []
    log = Log.open(fs, FOLDER, SMALL, on_frame=seen.append)
    assert (log.checkpoint_index, seen[0]) == (20, frames[19])
    assert problem(seen, frames[19:]) is None


def test_a_gap_fills_no_hole_whose_end_is_not_certain() -> None:
    """What seems to stand behind it may be the image of a frame in a record, and no size can tell."""
    one = gap(4, 1, 2, 9, entries=5, offset_count=5)
    for is_certain in (True, False):
        hole = Hole(64, 500, 4, 8, None, 2, 7, (1, 1), is_certain)
        if is_certain:
            assert hole.fitted({4: one}) == [one]
            continue
        with pytest.raises(Misfit, match="another size"):
            hole.fitted({4: one})


def test_what_a_frame_says_beside_its_batch_stays_with_it() -> None:
    """The time before which queues do not deliver it: of those that are kept, to the byte."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    for number in range(150):
        made, header = batch.encode_with_header([Record(number, None, b"v")], format=2)
        payload, form = with_attributes(made, header, None, 1_000 + number)
        head = (log.last_index + 1, 1, log.next_offset, number, 1, FrameKind.RECORDS)
        log.append(Frame(*head, payload, crc_of(payload), **form._asdict()))
    log.write()
    log.sync()
    log.checkpoint(b"state")
    assert compact(log, log.base_index, lambda frame: frame.index % 3 == 0)
    kept = [frame for frame in all_frames(reopen(fs)) if frame.kind is FrameKind.RECORDS]
    assert 0 < len(kept) < 150
    for frame in kept:
        assert deliver_at_in(frame, frame.payload) == 1_000 + frame.append_time
        assert [record.timestamp for record in records_in(frame, frame.payload) if record] == [
            frame.append_time
        ]
