"""What opening makes of a damaged log: cut what was never durable, refuse what was."""

from __future__ import annotations

import pytest
from floodmark.format.frame import Frame

from storage.errors import LogCorrupt
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.segment_header import HEADER_BYTES
from tests.storage.frames import FOLDER, SMALL, damage_checkpoint, fill, last_segment, reopen, store

FRAME = 64 + 40
BIG = LogOptions(segment_bytes=1 << 20, index_interval_bytes=256)


def position_of(number: int) -> int:
    """Where the frame number (from 0) of a one-segment log of 40-byte payloads stands."""
    return HEADER_BYTES + number * FRAME


def refused(fs: MemoryFileSystem, options: LogOptions = BIG) -> LogCorrupt:
    """Opening must refuse, and must not change a byte of any segment."""
    names = [name for name in fs.listdir(FOLDER) if name.endswith(".log")]
    before = {name: fs.content(f"{FOLDER}/{name}") for name in names}
    with pytest.raises(LogCorrupt) as caught:
        reopen(fs, options)
    assert {name: fs.content(f"{FOLDER}/{name}") for name in names} == before
    return caught.value


def test_a_new_log_is_empty_after_the_virtual_first_entry() -> None:
    """Index 1 is a no-op of term 0 that nobody stores."""
    log = reopen(MemoryFileSystem())
    assert (log.base_index, log.base_term, log.last_index, log.last_term) == (2, 0, 1, 0)
    assert (log.start_offset, log.next_offset, log.checkpoint_state, log.checkpoint_index) == (0, 0, b"", 1)
    assert log.term_at(1) == 0


@pytest.mark.parametrize("left", [1, 4, 63, 64, 65, FRAME - 1])
def test_a_torn_last_frame_is_cut(left: int) -> None:
    """Of the last frame only some bytes reached the disk: the log ends before it."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 5)
    fill(log, 1)
    log.write()
    path = last_segment(fs)
    fs.set_content(path, fs.content(path)[: position_of(5) + left])
    log = reopen(fs, BIG)
    assert log.last_index == 6
    assert len(fs.content(path)) == position_of(5)


def test_a_hole_in_the_unsynced_tail_with_valid_frames_after_it_is_torn() -> None:
    """Pages reach the disk in any order: valid frames behind a hole prove nothing when none was synced."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 3)
    fill(log, 4)
    log.write()
    fs.flip_bit(last_segment(fs), position_of(4) + 70)
    log = reopen(fs, BIG)
    assert log.last_index == 5
    assert len(fs.content(last_segment(fs))) == position_of(4)


def test_stale_frames_behind_a_cut_never_come_back() -> None:
    """What was cut is gone from the file: new frames of the same size must not run into old ones."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 3)
    fill(log, 4)
    log.write()
    fs.flip_bit(last_segment(fs), position_of(3) + 70)
    log = reopen(fs, BIG)
    assert log.last_index == 4
    store(log, 1)
    fs.restart()
    assert reopen(fs, BIG).last_index == 5


def test_a_flipped_bit_in_the_durable_middle_is_corruption_and_is_never_cut() -> None:
    """A later frame says that the bad one had been durable, also where the synced mark is missing."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 4)
    store(log, 4)
    for byte in (0, 5, 8, 60, 64, 100):
        fs.set_content(f"{FOLDER}/synced", b"")
        fs.flip_bit(last_segment(fs), position_of(2) + byte)
        error = refused(fs)
        assert (error.first_bad_index, error.last_known_index, error.position) == (4, 9, position_of(2))
        assert error.path == last_segment(fs)
        fs.flip_bit(last_segment(fs), position_of(2) + byte)
    assert reopen(fs, BIG).last_index == 9


def test_a_checkpoint_is_evidence_that_the_last_frame_was_durable() -> None:
    """After a checkpoint at the end, even a truncated last frame is corruption."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 4)
    log.checkpoint(b"state")
    path = last_segment(fs)
    fs.set_content(path, fs.content(path)[: position_of(3) + 10])
    error = refused(fs)
    assert (error.first_bad_index, error.last_known_index) == (5, 5)


@pytest.mark.parametrize("damage", ["flipped", "truncated", "emptied", "an old copy"])
def test_damage_to_the_very_last_synced_frames_is_corruption(damage: str) -> None:
    """No frame was written after them; the synced mark remembers, though it was never synced itself."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 4)
    path = last_segment(fs)
    old = fs.content(path)
    store(log, 1)
    if damage == "flipped":
        fs.flip_bit(path, position_of(4) + 80)
    else:
        fs.set_content(path, {"truncated": old[:-1], "emptied": b"", "an old copy": old}[damage])
    fs.restart()
    assert refused(fs).last_known_index == 6


def test_durable_frames_missing_before_the_checkpoint_are_corruption() -> None:
    """The whole segment is gone; the checkpoint remembers."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 4)
    log.checkpoint(b"state")
    fs.unlink(last_segment(fs))
    error = refused(fs)
    assert (error.first_bad_index, error.last_known_index) == (2, 5)


@pytest.mark.parametrize("change", [-1, -200, 1])
def test_a_sealed_segment_of_another_size_is_corruption(change: int) -> None:
    """The next segment says how long a sealed one must be; no byte of it has to be read for that."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    log.checkpoint(b"")
    first = f"{FOLDER}/{2:020d}.log"
    data = fs.content(first)
    fs.set_content(first, data[:change] if change < 0 else data + b"x")
    error = refused(fs, SMALL)
    assert error.path == first
    assert error.last_known_index == 101
    assert 2 < error.first_bad_index <= 41


def test_a_missing_segment_in_the_middle_is_corruption() -> None:
    """The positions of its neighbours do not meet."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    names = [name for name in fs.listdir(FOLDER) if name.endswith(".log")]
    fs.unlink(f"{FOLDER}/{names[1]}")
    assert refused(fs, SMALL).first_bad_index == int(names[1][:20])


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_damaged_header_of_a_segment_with_frames_is_corruption(which: int) -> None:
    """The header is durable before any frame is written, so it cannot have been torn."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    name = [name for name in fs.listdir(FOLDER) if name.endswith(".log")][which]
    fs.flip_bit(f"{FOLDER}/{name}", 20)
    assert refused(fs, SMALL).first_bad_index == int(name[:20])


@pytest.mark.parametrize("size", [0, 10, 64])
def test_a_segment_that_a_crash_left_without_a_header_is_removed(size: int) -> None:
    """Rolling was interrupted before the first frame: nothing is lost with the file."""
    fs = MemoryFileSystem()
    log = reopen(fs, BIG)
    store(log, 5)
    fs.open(f"{FOLDER}/{7:020d}.log", create=True)
    fs.set_content(f"{FOLDER}/{7:020d}.log", b"\xff" * size)
    log = reopen(fs, BIG)
    assert log.last_index == 6
    store(log, 1)
    assert reopen(fs, BIG).last_index == 7


def test_a_flipped_bit_in_a_sealed_segment_is_found_without_a_checkpoint() -> None:
    """A full scan refuses a bad frame in any sealed segment, with the highest index still seen."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 100)
    fs.flip_bit(f"{FOLDER}/{2:020d}.log", position_of(3) + 64)
    error = refused(fs, SMALL)
    assert (error.first_bad_index, error.last_known_index) == (5, 101)


def test_a_missing_or_damaged_checkpoint_means_a_full_scan() -> None:
    """Every frame is seen again, and the owner's state starts out empty."""
    for damage in (True, False):
        fs = MemoryFileSystem()
        log = reopen(fs)
        frames = store(log, 100)
        log.checkpoint(b"state")
        if damage:
            damage_checkpoint(fs, 0, 1)
        else:
            fs.unlink(f"{FOLDER}/checkpoint")
        seen: list[Frame] = []
        log = Log.open(fs, FOLDER, SMALL, on_frame=seen.append)
        assert seen == frames
        assert (log.checkpoint_state, log.checkpoint_index) == (b"", 1)


def test_scanning_starts_at_the_checkpoint() -> None:
    """Only frames behind it are shown; its state comes back."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, 100)
    log.checkpoint(b"up to 60", index=60)
    seen: list[Frame] = []
    log = Log.open(fs, FOLDER, SMALL, on_frame=seen.append)
    assert seen == frames[59:]
    assert (log.checkpoint_state, log.checkpoint_index) == (b"up to 60", 60)
