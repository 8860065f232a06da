"""What opening reports as durable is durable, whatever the process before wrote, synced or saw fail."""

from __future__ import annotations

from random import Random

import pytest

from storage.errors import LogFailed
from storage.memory_filesystem import MemoryFileSystem
from tests.storage.frames import all_frames, fill, last_segment, reopen, store


def _survives(fs: MemoryFileSystem, seed: int) -> None:
    log = reopen(fs)
    frames = all_frames(log)
    assert log.durable_index == log.last_index
    fs.crash(Random(seed))
    assert all_frames(reopen(fs))[: len(frames)] == frames


@pytest.mark.parametrize("seed", range(10))
def test_what_a_dead_process_wrote_and_did_not_sync(seed: int) -> None:
    """It is in the page cache only, and is made durable before anything is told of it."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 5)
    fill(log, 20)
    assert log.write() == 26
    fs.restart()
    _survives(fs, seed)


@pytest.mark.parametrize("seed", range(10))
def test_what_a_dead_process_saw_the_fsync_of_fail(seed: int) -> None:
    """The page cache calls it clean, so that a sync alone would do nothing: it is written once more."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 5)
    fill(log, 20)
    log.write()
    fs.fail("sync")
    with pytest.raises(LogFailed):
        log.sync()
    fs.restart()
    _survives(fs, seed)


@pytest.mark.parametrize("seed", range(10))
def test_a_new_segment_whose_name_was_not_durable(seed: int) -> None:
    """Its frames are synced later, and would go with the name."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 30)
    fill(log, 30)
    before = last_segment(fs)
    fs.fail("sync_folder")
    with pytest.raises(LogFailed):
        log.write()
    assert last_segment(fs) != before
    fs.restart()
    log = reopen(fs)
    frames = all_frames(log) + store(log, 3)
    fs.crash(Random(seed))
    assert all_frames(reopen(fs)) == frames
