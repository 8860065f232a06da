"""Writing and reading a log in the ordinary course of things."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from floodmark.format.frame import iterate

from storage.errors import LogClosed, LogFailed
from storage.filesystem import RealFileSystem
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.storage.frames import (
    FOLDER,
    SMALL,
    all_frames,
    batch_frame,
    fill,
    last_segment,
    make_frame,
    reopen,
    store,
)


def test_frames_are_readable_before_they_are_written(tmp_path: Path) -> None:
    """Buffered frames come from memory; bytes by offset only of written ones."""
    log = Log.open(RealFileSystem(), f"{tmp_path}/r", SMALL)
    frames = fill(log, 3)
    assert all_frames(log) == frames
    assert (log.last_index, log.written_index, log.durable_index) == (4, 1, 1)
    assert log.read(0, end_offset=3, max_bytes=1000).frames == b""
    assert log.write() == 4
    assert (log.written_index, log.durable_index) == (4, 1)
    assert list(iterate(log.read(0, end_offset=3, max_bytes=1000).frames)) == frames
    assert log.sync() == 4
    log.close()


def test_a_log_on_a_real_disk_comes_back_as_it_was(tmp_path: Path) -> None:
    """Many segments, several payload sizes, frames without records."""
    options = LogOptions(segment_bytes=64 << 10, index_interval_bytes=4096)
    log = Log.open(RealFileSystem(), f"{tmp_path}/r", options)
    for index in range(2000):
        log.append(make_frame(log, records=index % 4, size=index % 977))
        if index % 97 == 0:
            log.write()
            log.sync()
    log.write()
    frames = all_frames(log)
    log.close()
    log = Log.open(RealFileSystem(), f"{tmp_path}/r", options)
    assert all_frames(log) == frames
    assert len(list(Path(tmp_path, "r").glob("*.log"))) > 10
    offset, got = 0, []
    while offset < log.next_offset:
        got += list(iterate(log.read(offset, end_offset=log.next_offset, max_bytes=5000).frames))
        offset = got[-1].next_offset
    assert [f for f in got if f.offset_count] == [f for f in frames if f.offset_count]
    log.close()


def test_reading_stops_below_the_end_offset_and_at_max_bytes() -> None:
    """Whole frames only, and at least one however large it is."""
    log = reopen(MemoryFileSystem(), LogOptions(index_interval_bytes=256))
    frames = [make_frame(log, records=2, size=36)]
    log.append(frames[0])
    for size in (36, 5000, 36, 36):
        frames.append(make_frame(log, records=2, size=size))
        log.append(frames[-1])
    log.write()
    assert list(iterate(log.read(1, end_offset=10, max_bytes=250).frames)) == frames[:2]
    assert list(iterate(log.read(1, end_offset=10, max_bytes=199).frames)) == frames[:1]
    assert list(iterate(log.read(4, end_offset=10, max_bytes=1).frames)) == frames[2:3]
    assert list(iterate(log.read(0, end_offset=8, max_bytes=1 << 20).frames)) == frames[:4]
    assert log.read(0, end_offset=8, max_bytes=1 << 20).next_offset == frames[3].next_offset
    assert list(iterate(log.read(0, end_offset=7, max_bytes=1 << 20).frames)) == frames[:3]
    assert log.read(9, end_offset=9, max_bytes=100).frames == b""


def test_a_read_skips_leading_frames_without_records() -> None:
    """Also where a reader goes on at the point at which it stopped before."""
    log = reopen(MemoryFileSystem())
    first = store(log, 1)
    assert list(iterate(log.read(0, end_offset=1, max_bytes=1000).frames)) == first
    store(log, 2, records=0)
    second = store(log, 1)
    store(log, 1, records=0)
    assert list(iterate(log.read(1, end_offset=2, max_bytes=100).frames)) == second


def test_a_sequential_reader_costs_one_read_of_the_file_at_a_time() -> None:
    """Where a read ended is remembered: going on from there needs no walk from an index entry."""
    fs = MemoryFileSystem()
    log = reopen(fs, LogOptions())
    store(log, 1000, size=200)
    offset = 0
    log.read(0, end_offset=1000, max_bytes=2640)
    offset = 10
    before = fs.calls["read"], fs.bytes_read
    while offset < 1000:
        offset += len(log.read(offset, end_offset=1000, max_bytes=2640).frames) // 264
    assert fs.calls["read"] - before[0] == 99
    assert fs.bytes_read - before[1] == 990 * 264


def test_hints_do_not_survive_a_truncation() -> None:
    """A reader that goes on at an offset that was rewritten meanwhile gets the new frames."""
    log = reopen(MemoryFileSystem())
    store(log, 4, size=40)
    log.read(0, end_offset=4, max_bytes=2 * 104)
    log.truncate(3)
    new = [make_frame(log, size=10, term=2)]
    log.append(new[0])
    log.write()
    log.append(make_frame(log, size=100, term=2))
    log.write()
    assert next(iterate(log.read(2, end_offset=3, max_bytes=1000).frames)).term == 2
    assert list(iterate(log.read(1, end_offset=2, max_bytes=1000).frames)) == new
    assert log._reader._hints.keys() == {3, 2}


def test_a_truncated_log_is_durable_up_to_the_cut() -> None:
    """Within the memory, within a segment, and across segments; new frames of another term follow."""
    for back in (1, 3, 50, 100):
        fs = MemoryFileSystem()
        log = reopen(fs)
        frames = store(log, 97)
        frames += fill(log, 3)
        log.truncate(102 - back)
        assert log.last_index == 101 - back
        assert log.durable_index == log.written_index == min(98, 101 - back)
        new = store(log, 5, term=2)
        assert all_frames(log) == frames[: 100 - back] + new
        fs.restart()
        assert all_frames(reopen(fs)) == frames[: 100 - back] + new


def test_truncating_below_the_checkpoint_drops_the_checkpoint() -> None:
    """It would claim frames that are gone; the owner starts again from the frames."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 10)
    log.checkpoint(b"ten")
    log.truncate(8)
    assert (log.checkpoint_state, log.checkpoint_index) == (b"", 1)
    assert not fs.exists(f"{FOLDER}/checkpoint")
    assert reopen(fs).last_index == 7


def test_an_index_file_that_describes_cut_frames_is_not_used() -> None:
    """Other frames of other sizes took their place since."""
    fs = MemoryFileSystem()
    log = reopen(fs, LogOptions(index_interval_bytes=256))
    store(log, 30)
    log.checkpoint(b"", index=5)
    log.truncate(10)
    assert not fs.exists(last_segment(fs).replace(".log", ".idx"))
    frames = store(log, 30, size=23, term=2)
    log = reopen(fs, LogOptions(index_interval_bytes=256))
    assert all_frames(log)[8:] == frames


def test_a_reset_log_is_empty_after_the_entry_it_was_reset_to() -> None:
    """Nothing of before is left, and it goes on from there."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    log.checkpoint(b"old")
    log.reset(index=5000, term=7, offset=9000, state=b"new")
    for log_now in (log, reopen(fs)):
        assert (log_now.base_index, log_now.base_term, log_now.last_index, log_now.last_term) == (
            5001,
            7,
            5000,
            7,
        )
        assert (log_now.start_offset, log_now.next_offset) == (9000, 9000)
        assert (log_now.checkpoint_state, log_now.checkpoint_index) == (b"new", 5000)
    frames = store(log, 3, term=8)
    assert all_frames(reopen(fs)) == frames


def test_offsets_are_found_by_the_records_own_times() -> None:
    """The first batch that reaches a time, however the times jump, in memory and in old segments."""
    log = reopen(
        MemoryFileSystem(), LogOptions(segment_bytes=1024, index_interval_bytes=128, tail_bytes_max=0)
    )
    times = [5, 3, 9, 2, 2, 20, 1, 30, 25, 40] * 4
    for number, time in enumerate(times):
        log.append(batch_frame(log, [time + number, 0]))
        if number % 7 == 3:
            log.append(make_frame(log, records=0, append_time=10**9))
        if number < 37:
            log.write()
    for wanted in range(90):
        expected = next((2 * i for i, t in enumerate(times) if t + i >= wanted), log.next_offset)
        assert log.offset_at_time(wanted) == expected, wanted


def test_a_closed_log_says_so(tmp_path: Path) -> None:
    """And its files are closed."""
    before = len(os.listdir("/proc/self/fd"))
    log = Log.open(RealFileSystem(), f"{tmp_path}/r", SMALL)
    store(log, 100)
    list(log.frames(2, 101))
    log.close()
    log.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    with pytest.raises(LogClosed):
        log.write()


def test_the_last_entrys_term_is_not_read_from_disk() -> None:
    """Heartbeats name it, and after a start nothing is in memory."""
    fs = MemoryFileSystem()
    log = Log.open(fs, FOLDER, SMALL)
    store(log, 3, term=1)
    store(log, 1, term=2)
    log.close()
    log = reopen(fs)
    fs.fail("read", error=errno.EIO, times=1_000)
    assert log.term_at(log.last_index) == 2
    with pytest.raises(LogFailed):
        log.term_at(log.last_index - 1)
