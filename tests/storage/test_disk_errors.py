"""A disk that is full, refuses, or writes less than asked for."""

from __future__ import annotations

import errno
from random import Random

import pytest

from storage.errors import DiskFull, LogClosed, LogCorrupt, LogFailed, OutOfRange
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from tests.storage.frames import FOLDER, all_frames, fill, last_segment, make_frame, reopen, store


def assert_closed_for_good(log: Log) -> None:
    """Nothing is accepted any more but close()."""
    for call in (
        lambda: log.append(make_frame(log)),
        log.write,
        log.sync,
        lambda: log.frame(2),
        lambda: log.read(0, end_offset=1, max_bytes=1),
        lambda: log.truncate(2),
        lambda: log.truncate_head(before_index=2),
        lambda: log.checkpoint(b""),
        lambda: log.reset(index=1, term=1, offset=1, state=b""),
    ):
        with pytest.raises(LogClosed):
            call()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart_and_what_was_durable_stays(number: int) -> None:
    """The write fails as DiskFull; after space was made and the log reopened it goes on."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 5)
    fs.fail("write", error=number)
    fill(log, 3)
    with pytest.raises(DiskFull):
        log.write()
    assert isinstance(log.failed, DiskFull)
    assert log.durable_index == 6
    assert_closed_for_good(log)
    log = reopen(fs)
    assert all_frames(log) == frames
    store(log, 3)


def test_a_disk_that_fills_up_within_a_write_leaves_a_tail_that_is_cut() -> None:
    """Of three frames one and a half fit."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 5)
    fs.space_left_bytes = 104 + 52
    fill(log, 3)
    with pytest.raises(DiskFull):
        log.write()
    fs.heal()
    log = reopen(fs)
    assert log.last_index == 7
    store(log, 1)


def test_an_error_on_write_closes_the_log() -> None:
    """EIO on write is LogFailed, not DiskFull."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    fs.fail("write")
    fill(log, 1)
    with pytest.raises(LogFailed) as caught:
        log.write()
    assert not isinstance(caught.value, DiskFull)
    assert_closed_for_good(log)


def test_a_failed_fsync_closes_the_log_for_good_and_is_never_tried_again() -> None:
    """The operating system forgets what it could not write; a second fsync would lie."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 2)
    fill(log, 2)
    log.write()
    fs.fail("sync")
    calls = fs.calls["sync"]
    with pytest.raises(LogFailed):
        log.sync()
    with pytest.raises(LogClosed):
        log.sync()
    assert fs.calls["sync"] == calls + 1
    assert log.durable_index == 3
    assert_closed_for_good(log)
    fs.crash(Random(4))
    assert all_frames(reopen(fs))[:2] == frames


def test_an_error_on_read_closes_the_log() -> None:
    """A log whose disk cannot be read serves nobody."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    fs.fail("read", path=".log")
    with pytest.raises(LogFailed):
        log.frame(2)
    assert_closed_for_good(log)


def test_an_error_while_opening_is_a_typed_error() -> None:
    """Nothing of the operating system leaks out of open()."""
    for operation in ("open", "mkdir", "write", "sync", "sync_folder"):
        fs = MemoryFileSystem()
        fs.fail(operation)
        with pytest.raises(LogFailed):
            reopen(fs)
        store(reopen(fs), 1)
        fs.fail("read")
        with pytest.raises(LogFailed):
            reopen(fs)


def test_short_writes_are_completed() -> None:
    """However little each call takes, every byte arrives in its place."""
    fs = MemoryFileSystem()
    fs.short_writes = Random(1)
    log = reopen(fs)
    frames = store(log, 200)
    fs.restart()
    assert all_frames(reopen(fs)) == frames


def test_more_frames_than_one_call_takes_are_written_in_order() -> None:
    """A write of thousands of frames is split at the limit of buffers."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 3000, size=1)
    fs.restart()
    assert all_frames(reopen(fs)) == frames


def test_a_disk_too_full_for_an_index_does_not_fail_a_read() -> None:
    """A rebuilt index need not be stored."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    fs.unlink(f"{FOLDER}/{2:020d}.idx")
    log = reopen(fs)
    fs.space_left_bytes = 0
    assert log.frame(3).index == 3


@pytest.mark.parametrize("damage", ["missing", "garbage", "flipped", "of another segment", "truncated"])
def test_a_missing_or_wrong_index_is_rebuilt(damage: str) -> None:
    """The segment itself has all that its index says."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 120)
    log.checkpoint(b"")
    for path in [f"{FOLDER}/{name}" for name in fs.listdir(FOLDER) if name.endswith(".idx")]:
        data = fs.content(path)
        if damage == "missing":
            fs.unlink(path)
        elif damage == "garbage":
            fs.set_content(path, b"\xa5" * len(data))
        elif damage == "flipped":
            fs.flip_bit(path, len(data) - 20)
        elif damage == "of another segment":
            fs.set_content(path, fs.content(f"{FOLDER}/{2:020d}.idx"))
        else:
            fs.set_content(path, data[:-8])
    log = reopen(fs)
    assert all_frames(log) == frames
    for frame in frames:
        assert log.index_at_offset(frame.first_offset) == frame.index
        assert (
            log.read(frame.first_offset, end_offset=log.next_offset, max_bytes=1).frames[64:] == frame.payload
        )


def test_an_index_that_passes_its_checksum_but_lies_is_rebuilt() -> None:
    """An entry is believed only when the frame that it leads to says the same."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 120)
    segment = log._segments.first
    lie = log._segments.index(segment)
    lie._positions[3] += 104
    log._segments.save_index(segment, lie)
    log = reopen(fs)
    for index in range(2, 40):
        assert log.frame(index).index == index
        assert log.index_at_offset(index - 2) == index


def test_reading_a_damaged_frame_raises_and_stays_readable_elsewhere() -> None:
    """A payload that fails its checksum is LogCorrupt for replication; others are served."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    fs.flip_bit(f"{FOLDER}/{2:020d}.log", 64 + 5 * 104 + 80)
    with pytest.raises(LogCorrupt) as caught:
        log.frame(7)
    assert (caught.value.first_bad_index, caught.value.last_known_index) == (7, 101)
    assert log.frame(8).index == 8
    assert log.failed is None


def test_a_damaged_header_is_found_by_reads_in_bulk() -> None:
    """Headers are checked while walking; what stands before is not served past the damage."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    fs.flip_bit(f"{FOLDER}/{2:020d}.log", 64 + 5 * 104 + 30)
    with pytest.raises(LogCorrupt) as caught:
        log.read(0, end_offset=100, max_bytes=10_000)
    assert caught.value.first_bad_index == 7
    with pytest.raises(LogCorrupt):
        log.frame(7)


def test_out_of_bounds_is_said_so() -> None:
    """Indexes and offsets outside of what the log holds."""
    log = reopen(MemoryFileSystem())
    store(log, 100)
    log.checkpoint(b"")
    log.truncate_head(before_index=60)
    for call in (
        lambda: log.frame(log.base_index - 1),
        lambda: log.frame(102),
        lambda: log.term_at(log.base_index - 2),
        lambda: list(log.frames(2, 101)),
        lambda: log.read(log.start_offset - 1, end_offset=100, max_bytes=10),
        lambda: log.read(101, end_offset=200, max_bytes=10),
        lambda: log.index_at_offset(100),
        lambda: log.truncate(2),
        lambda: log.checkpoint(b"", index=102),
    ):
        with pytest.raises(OutOfRange):
            call()
    assert log.read(100, end_offset=200, max_bytes=10).frames == b""


def test_the_folder_of_a_log_keeps_no_other_name() -> None:
    """Temporary files of an interrupted replacement are removed when opening."""
    fs = MemoryFileSystem()
    store(reopen(fs), 3)
    fs.open(f"{FOLDER}/checkpoint.tmp", create=True)
    reopen(fs)
    assert fs.listdir(FOLDER) == [last_segment(fs).rpartition("/")[2], "synced"]
