"""Dropping whole segments from the front, by size, by time and on request."""

from __future__ import annotations

from random import Random

from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from tests.storage.frames import all_frames, fill, make_frame, reopen, store


def segment_bases(log: Log) -> list[int]:
    """The first index of each segment."""
    return [segment.base_index for segment in log._segments.all]


def test_trim_drops_whole_segments_below_an_index_and_never_the_active_one() -> None:
    """What is asked for is an upper bound; the bounds move together."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 150)
    bases = segment_bases(log)
    log.checkpoint(b"")
    assert log.truncate_head(before_index=bases[1] - 1) == 2
    assert log.truncate_head(before_index=bases[2] + 3) == bases[2]
    assert (log.start_offset, log.base_term) == (bases[2] - 2, 1)
    assert all_frames(log) == frames[bases[2] - 2 :]
    assert log.truncate_head(before_index=10**9) == bases[-1]
    fs.crash(Random(1))
    log = reopen(fs)
    assert log.base_index == bases[-1]
    assert all_frames(log) == frames[bases[-1] - 2 :]


def test_size_retention_keeps_at_least_the_bytes_asked_for() -> None:
    """Oldest first, as long as the rest still has that many."""
    log = reopen(MemoryFileSystem())
    store(log, 150)
    bases, total = segment_bases(log), log.size_bytes
    for wanted in (0, 1, 4000, 8000, total - 4096, total - 1, total, total * 2):
        before = log.expired_before(now_ms=0, retention_ms=None, retention_bytes=wanted)
        assert before in bases
        rest = sum(s.size for s in log._segments.all if s.base_index >= before)
        assert rest >= min(wanted, total)
        if before != bases[-1]:
            following = bases[bases.index(before) + 1]
            assert sum(s.size for s in log._segments.all if s.base_index >= following) < wanted


def test_time_retention_goes_by_when_records_were_appended() -> None:
    """The newest append of a segment decides, also after a restart; the active one stays in any case."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    for _ in range(150):
        log.append(make_frame(log))  # Appended at 1000 + index.
    log.write()
    log.sync()
    bases = segment_bases(log)
    for log_now in (log, reopen(fs)):
        for keep, expected in ((0, bases[-1]), (1, bases[-1])):
            assert log_now.expired_before(now_ms=10**6, retention_ms=keep, retention_bytes=None) == expected
        newest = 1000 + bases[1] - 1
        assert log_now.expired_before(now_ms=newest + 5, retention_ms=5, retention_bytes=None) == 2
        assert log_now.expired_before(now_ms=newest + 6, retention_ms=5, retention_bytes=None) == bases[1]


def test_without_limits_nothing_expires() -> None:
    """No retention is the default."""
    log = reopen(MemoryFileSystem())
    store(log, 150)
    assert log.expired_before(now_ms=10**15, retention_ms=None, retention_bytes=None) == log.base_index


def test_what_the_checkpoint_does_not_cover_stays() -> None:
    """Nothing else would tell what the frames that are gone led to."""
    log = reopen(MemoryFileSystem())
    store(log, 150)
    bases = segment_bases(log)
    assert log.truncate_head(before_index=100) == 2
    log.checkpoint(b"early", index=bases[1])
    assert log.truncate_head(before_index=100) == bases[1]


def test_a_segment_that_has_grown_old_is_closed_however_small_it_is() -> None:
    """So that its records can go: also the last ones of a log that nobody writes to any more."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 3)  # Appended at 1002 to 1004.
    assert not log.roll(now_ms=2002, roll_ms=1000)
    assert log.roll(now_ms=2003, roll_ms=1000)
    assert segment_bases(log) == [2, 5]
    assert not log.roll(now_ms=10**6, roll_ms=1000), "nothing stands in the new one"
    assert log.expired_before(now_ms=3004, retention_ms=2000, retention_bytes=None) == 2
    assert log.expired_before(now_ms=3005, retention_ms=2000, retention_bytes=None) == 5
    log.checkpoint(b"state")
    assert log.truncate_head(before_index=5) == 5
    for at_start in (log, reopen(fs)):
        assert (at_start.base_index, at_start.start_offset, at_start.next_offset) == (5, 3, 3)
        assert (at_start.base_term, at_start.last_term) == (1, 1)
    more = store(log, 2)
    assert all_frames(log) == more
    assert (more[0].index, more[0].first_offset) == (frames[-1].index + 1, frames[-1].next_offset)


def test_nothing_is_rolled_while_something_waits_for_its_sync() -> None:
    """The sync is told to those who wait for it; a roll, which syncs as well, would not be."""
    log = reopen(MemoryFileSystem())
    store(log, 2)
    fill(log, 1)
    log.write()
    assert not log.roll(now_ms=10**6, roll_ms=1)
    log.sync()
    assert log.roll(now_ms=10**6, roll_ms=1)


def test_a_time_in_the_future_counts_as_when_it_was_first_met() -> None:
    """A clock that was ten years ahead for a moment does not end retention for as long; nor does a restart
    begin the count anew.
    """
    fs = MemoryFileSystem()
    log = reopen(fs)
    decade = 10 * 365 * 86_400_000
    now = 1_000_000
    for at in (now, now + decade, now + 1):
        frame = make_frame(log, append_time=at)
        log.append(frame)
        log.write()
        log.sync()
        log.roll(now_ms=now + decade * 2, roll_ms=1)
    log.checkpoint(b"")
    bases = segment_bases(log)

    def expired(log: Log, now_ms: int) -> int:
        return log.expired_before(now_ms=now_ms, retention_ms=1_000, retention_bytes=None)

    assert expired(log, now + 2_000) == bases[1], "the one in the future was met just now"
    log = reopen(fs)
    assert expired(log, now + 2_999) == bases[1]
    assert expired(log, now + 3_001) == bases[-1]


def test_an_active_segment_that_begins_in_the_future_is_closed_in_time_as_well() -> None:
    """It counts from when it was first met."""
    log = reopen(MemoryFileSystem())
    log.append(make_frame(log, append_time=10**12))
    log.write()
    log.sync()
    assert not log.roll(now_ms=1_000_000, roll_ms=1_000)
    assert not log.roll(now_ms=1_001_000, roll_ms=1_000)
    assert log.roll(now_ms=1_001_001, roll_ms=1_000)
