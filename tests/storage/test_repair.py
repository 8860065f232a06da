"""Repair after corruption: the log ends before the damage, and the damaged bytes are kept aside."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from storage.errors import LogCorrupt, LogFailed
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.storage.frames import FOLDER, SMALL, all_frames, reopen, store

QUARANTINE = f"{FOLDER}/quarantine"


def damaged(position: int = 64 + 5 * 104 + 80) -> tuple[MemoryFileSystem, LogCorrupt, int]:
    """A log of 150 frames with one bad byte in its first segment, found by a full scan."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    log.close()
    fs.flip_bit(f"{FOLDER}/{2:020d}.log", position)
    with pytest.raises(LogCorrupt) as caught:
        reopen(fs)
    size = sum(len(fs.content(f"{FOLDER}/{n}")) for n in fs.listdir(FOLDER) if n.endswith(".log"))
    return fs, caught.value, size


def test_a_repaired_log_ends_before_the_damage_and_every_byte_is_kept() -> None:
    """The tail of the damaged segment is copied, later segments are moved."""
    fs, error, size = damaged()
    assert (error.first_bad_index, error.last_known_index) == (7, 151)
    log = Log.repair(fs, FOLDER, SMALL, keep_before=error.first_bad_index)
    assert [frame.index for frame in all_frames(log)] == [2, 3, 4, 5, 6]
    assert log.durable_index == 6
    kept = sum(len(fs.content(f"{QUARANTINE}/{name}")) for name in fs.listdir(QUARANTINE))
    assert kept == size - (64 + 5 * 104)
    frames = all_frames(log) + store(log, 100, term=2)
    fs.crash(Random(1))
    assert all_frames(reopen(fs)) == frames


@pytest.mark.parametrize("seed", range(8))
def test_what_a_repair_set_aside_survives_a_loss_of_power(seed: int) -> None:
    """Before anything is cut, its copy is durable, and so are the names of what was moved."""
    fs, error, size = damaged()
    Log.repair(fs, FOLDER, SMALL, keep_before=error.first_bad_index)
    fs.crash(Random(seed))
    kept = sum(len(fs.content(f"{QUARANTINE}/{name}").rstrip(b"\0")) for name in fs.listdir(QUARANTINE))
    assert kept == size - (64 + 5 * 104)


def test_repair_keeps_less_when_more_is_bad_than_was_asked_for() -> None:
    """``keep_before`` is an upper bound."""
    fs, _error, _size = damaged()
    assert Log.repair(fs, FOLDER, SMALL, keep_before=30).last_index == 6


def test_a_repair_of_a_damaged_first_header_leaves_an_empty_new_log() -> None:
    """Nothing can be kept: the peers install everything anew."""
    fs, _error, _size = damaged(position=20)
    log = Log.repair(fs, FOLDER, SMALL, keep_before=2)
    assert (log.base_index, log.last_index, log.next_offset) == (2, 1, 0)
    assert len(fs.listdir(QUARANTINE)) == 4


def test_a_checkpoint_beyond_the_cut_goes_and_one_before_it_stays() -> None:
    """It must not claim what is gone; a good one saves the scan."""
    for at, kept in ((20, True), (60, False)):
        fs = MemoryFileSystem()
        log = reopen(fs)
        store(log, 100)
        log.checkpoint(b"state", index=at)
        log = Log.repair(fs, FOLDER, SMALL, keep_before=50)
        assert log.last_index == 49
        assert log.checkpoint_state == (b"state" if kept else b"")
        assert fs.exists(f"{FOLDER}/checkpoint") == kept


def test_quarantine_is_bounded_and_the_newest_stay() -> None:
    """Repairs that repeat for ever must not fill the disk."""
    fs = MemoryFileSystem()
    options = LogOptions(segment_bytes=4096, quarantine_files_max=3)
    for _ in range(6):
        log = reopen(fs, options)
        store(log, 10)
        log = Log.repair(fs, FOLDER, options, keep_before=log.last_index)
    assert [int(name[:8]) for name in fs.listdir(QUARANTINE)] == [4, 5, 6]


@pytest.mark.parametrize("seed", range(60))
def test_a_repair_that_is_interrupted_can_be_repeated(seed: int) -> None:
    """Power fails at any call within it: afterwards the log is whole up to the cut, or still corrupt."""
    random = Random(seed)
    fs, error, _size = damaged()
    fs.fail("any", after=random.randint(0, 60))
    with suppress(LogFailed):
        Log.repair(fs, FOLDER, SMALL, keep_before=error.first_bad_index)
    fs.heal()
    fs.crash(random)
    log = Log.repair(fs, FOLDER, SMALL, keep_before=error.first_bad_index)
    assert [frame.index for frame in all_frames(log)] == [2, 3, 4, 5, 6]
    assert reopen(fs).last_index == 6
