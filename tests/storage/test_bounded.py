"""Memory, open files and work at start do not grow with the log."""

from __future__ import annotations

from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.storage.frames import FOLDER, fill, reopen, store


def test_opening_a_large_log_reads_only_its_tail_and_64_bytes_of_each_segment() -> None:
    """200 segments: their headers, one index, and what lies behind the checkpoint."""
    fs = MemoryFileSystem()
    options = LogOptions(segment_bytes=64 << 10, index_interval_bytes=4 << 10)
    log = reopen(fs, options)
    for _ in range(200):
        store(log, 62, size=1000)
    log.checkpoint(b"x" * 100)
    store(log, 3, size=1000)
    segments = sum(name.endswith(".log") for name in fs.listdir(FOLDER))
    assert segments > 190
    fs.bytes_read = 0
    fs.calls.clear()
    log = reopen(fs, options)
    index_checkpoint_and_mark = 3000 + 2 * 4096
    between_the_last_entry_of_the_index_and_the_checkpoint = (4 << 10) + 1064
    read_and_written_back = 2 * 3 * 1064
    behind_the_checkpoint = read_and_written_back + index_checkpoint_and_mark
    before_it = segments * 64 + between_the_last_entry_of_the_index_and_the_checkpoint
    assert fs.bytes_read <= before_it + behind_the_checkpoint
    assert fs.calls["read"] <= segments + 8
    assert log.last_index == 200 * 62 + 3 + 1


def test_open_files_and_loaded_indexes_are_bounded() -> None:
    """Reading everywhere keeps only a few files and indexes."""
    options = LogOptions(
        segment_bytes=4096, index_interval_bytes=256, tail_bytes_max=0, open_files_max=3, loaded_indexes_max=2
    )
    log = reopen(MemoryFileSystem(), options)
    store(log, 1000)
    for index in range(2, 1000, 7):
        log.frame(index)
        log.read(index - 2, end_offset=1000, max_bytes=100)
    assert len(log._segments._files) <= 4
    assert len(log._segments._indexes) <= 2
    assert len(log._reader._hints) <= 256


def test_the_tail_in_memory_is_bounded_but_keeps_what_is_not_written() -> None:
    """Unwritten frames are the only copy there is."""
    log = reopen(MemoryFileSystem(), LogOptions(tail_bytes_max=1040))
    fill(log, 100)
    assert len(log._tail._frames) == 100
    log.write()
    assert len(log._tail._frames) == 10
    fill(log, 50)
    assert len(log._tail._frames) >= 50
    assert [frame.index for frame in log.frames(2, 151)] == list(range(2, 152))


def test_recent_frames_are_read_without_the_disk() -> None:
    """Followers that keep up are served from memory."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    before = fs.calls["read"]
    list(log.frames(95, 101))
    log.frame(99)
    log.term_at(98)
    log.index_at_offset(97)
    assert fs.calls["read"] == before


def test_frames_are_read_lazily() -> None:
    """Asking for a million frames and taking one reads one chunk."""
    fs = MemoryFileSystem()
    log = Log.open(fs, FOLDER, LogOptions(tail_bytes_max=0))
    store(log, 3000, size=2000)
    before = fs.bytes_read
    assert next(log.frames(2, 3001)).index == 2
    assert fs.bytes_read - before < 2 << 20
