"""Zeros are written ahead of a log that grows by little, and are never taken for anything else."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from floodmark.format.frame import Frame

from storage.errors import DiskFull, LogCorrupt, LogFailed
from storage.faulty.conditions import Board
from storage.faulty.filesystem import FaultyFileSystem
from storage.faulty.power_loss import lose_power
from storage.filesystem import FileSystem
from storage.log import Log
from storage.memory_filesystem import MemoryFile, MemoryFileSystem
from storage.options import LogOptions
from storage.verify import verify_replica
from storage.zeros_ahead import SMALL_BYTES, SMALL_RUN
from tests.storage.frames import FOLDER, SMALL, all_frames, last_segment, make_frame, reopen, store

AHEAD = LogOptions(index_interval_bytes=256, zeros_ahead_bytes=2000)
FRAME = 104
HEADER = 64


def one_by_one(log: Log, count: int) -> list[Frame]:
    """Frames of which each has a write and an fsync of its own."""
    return [store(log, 1)[0] for _ in range(count)]


def grown(count: int = 10) -> tuple[MemoryFileSystem, Log, list[Frame]]:
    """A log in one segment, with zeros ahead."""
    fs = MemoryFileSystem()
    log = reopen(fs, AHEAD)
    frames = one_by_one(log, count)
    assert fs.size(last_segment(fs)) > HEADER + count * FRAME
    return fs, log, frames


def test_the_size_of_the_file_changes_once_for_many_small_writes() -> None:
    """That is what the zeros are for; the log's own size does not count them."""
    fs = MemoryFileSystem()
    log = reopen(fs, AHEAD)
    sizes = set()
    for number in range(1, 41):
        one_by_one(log, 1)
        sizes.add(fs.size(last_segment(fs)))
        assert log.size_bytes == HEADER + number * FRAME
    assert len(sizes) < SMALL_RUN + 40 * FRAME // 2000 + 1
    assert log.read(40, end_offset=99, max_bytes=9999).frames == b""


def test_zeros_are_written_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one large write the kernel makes a large page, all of which each small frame in it makes dirty."""
    pieces: list[tuple[int, int]] = []
    writev = MemoryFile.writev

    def noted(file: MemoryFile, buffers: Sequence[bytes], position: int) -> int:
        if not any(map(any, buffers)):
            pieces.append((position, position + sum(map(len, buffers))))
        return writev(file, buffers, position)

    monkeypatch.setattr(MemoryFile, "writev", noted)
    one_by_one(reopen(MemoryFileSystem(), LogOptions(zeros_ahead_bytes=64 << 10)), 10)
    assert pieces[-1][1] - pieces[0][0] == 64 << 10
    assert all(start // 4096 == (end - 1) // 4096 for start, end in pieces)


def test_a_log_that_is_hardly_written_to_takes_up_no_space() -> None:
    """A leader's no-op and a record or two are no reason."""
    fs = MemoryFileSystem()
    log = reopen(fs, AHEAD)
    one_by_one(log, SMALL_RUN - 1)
    assert fs.size(last_segment(fs)) == log.size_bytes


def test_large_writes_are_written_once() -> None:
    """Nothing is written that is then written over, and small writes have to come in a row anew."""
    fs = MemoryFileSystem()
    log = reopen(fs, AHEAD)
    fs.bytes_written = 0
    for _ in range(2 * SMALL_RUN):
        one_by_one(log, SMALL_RUN - 1)
        store(log, SMALL_BYTES // FRAME + 1)
    marks = 2 * SMALL_RUN * SMALL_RUN * 32
    assert fs.bytes_written == log.size_bytes - HEADER + marks


def test_no_zeros_are_written_when_they_are_switched_off() -> None:
    """The option says how many; 0 means none."""
    fs = MemoryFileSystem()
    log = reopen(fs, LogOptions(zeros_ahead_bytes=0))
    one_by_one(log, 50)
    assert fs.size(last_segment(fs)) == log.size_bytes


def test_a_sealed_segment_ends_behind_its_last_frame() -> None:
    """Before the next one is there: its header tells how long this one is, whenever the power goes."""
    fs = MemoryFileSystem()
    log = reopen(fs, SMALL)
    frames = one_by_one(log, 100)
    log_files = [f"{FOLDER}/{name}" for name in fs.listdir(FOLDER) if name.endswith(".log")]
    assert len(log_files) == 3
    assert [fs.size(path) for path in log_files[:-1]] == [HEADER + 38 * FRAME] * 2
    for seed in range(8):
        fs.crash(Random(seed))
        log = reopen(fs, SMALL)
        assert all_frames(log) == frames


def test_close_cut_and_reset_leave_no_zeros() -> None:
    """And the next small writes have some again."""
    fs, log, frames = grown()
    path = last_segment(fs)
    log.truncate(8)
    assert fs.size(path) == HEADER + 6 * FRAME
    frames[6:] = one_by_one(log, SMALL_RUN)
    assert fs.size(path) > log.size_bytes
    log.close()
    log.close()
    assert fs.size(path) == HEADER + len(frames) * FRAME
    log = reopen(fs, AHEAD)
    assert all_frames(log) == frames
    one_by_one(log, SMALL_RUN)
    log.reset(index=100, term=3, offset=500, state=b"")
    assert fs.size(last_segment(fs)) == HEADER


def test_a_log_that_failed_is_closed_as_it_is() -> None:
    """What lies behind its last whole write is for the next start to judge."""
    fs, log, _frames = grown()
    size = fs.size(last_segment(fs))
    fs.fail("sync")
    with pytest.raises(LogFailed):
        store(log, 1)
    log.close()
    assert fs.size(last_segment(fs)) == size


def test_a_full_disk_refuses_zeros_and_not_frames() -> None:
    """As long as there is room for frames they are taken; only then the log fails."""
    fs = MemoryFileSystem()
    log = reopen(fs, AHEAD)
    one_by_one(log, SMALL_RUN - 1)
    fs.space_left_bytes = 5 * FRAME
    frames = one_by_one(log, 5)
    with pytest.raises(DiskFull):
        store(log, 1)
    fs.heal()
    fs.crash(Random(1))
    assert all_frames(reopen(fs, AHEAD))[-5:] == frames


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_zeros_that_cannot_be_written_fail_nothing(error: int) -> None:
    """The log goes on without, and has them later."""
    fs = MemoryFileSystem()
    log = reopen(fs, AHEAD)
    one_by_one(log, SMALL_RUN - 1)
    fs.fail("write", path=".log", after=1, error=error)
    frames = one_by_one(log, 1)
    assert fs.size(last_segment(fs)) == log.size_bytes
    frames += one_by_one(log, SMALL_RUN)
    assert log.failed is None
    assert fs.size(last_segment(fs)) > log.size_bytes
    assert all_frames(log)[-SMALL_RUN - 1 :] == frames


def test_a_process_that_ends_leaves_zeros_that_the_next_start_cuts() -> None:
    """All frames are there, and nothing else."""
    fs, _log, frames = grown()
    fs.restart()
    log = reopen(fs, AHEAD)
    assert all_frames(log) == frames
    assert fs.size(last_segment(fs)) == log.size_bytes
    assert log.next_offset == 10


@pytest.mark.parametrize("seed", range(6))
def test_no_loss_of_power_at_any_call_costs_what_was_synced(seed: int) -> None:
    """Small writes with zeros ahead, across segments: the disk fails from some call on, then power goes."""
    for after in range(0, 240, 5):
        fs, random = MemoryFileSystem(), Random(seed * 1000 + after)
        log, frames = reopen(fs, SMALL), []
        fs.fail("any", after=after + random.randrange(5), times=1 << 30)
        try:
            for _ in range(45):
                frames.append(make_frame(log))
                log.append(frames[-1])
                log.write()
                log.sync()
        except LogFailed:
            log.close()
        fs.heal()
        fs.crash(random)
        kept = all_frames(reopen(fs, SMALL))
        assert kept == frames[: len(kept)], f"seed {seed}, {after} calls"
        assert len(kept) >= log.durable_index - 1, f"seed {seed}, {after} calls"


def test_damage_before_the_zeros_is_told_from_a_torn_write() -> None:
    """Evidence counts as ever: a bad frame that had been durable is refused, and not one byte is changed."""
    for number in (4, 9):
        fs, _log, _frames = grown()
        fs.flip_bit(last_segment(fs), HEADER + number * FRAME + 70)
        before = fs.content(last_segment(fs))
        with pytest.raises(LogCorrupt) as caught:
            reopen(fs, AHEAD)
        assert (caught.value.first_bad_index, caught.value.last_known_index) == (2 + number, 11)
        assert fs.content(last_segment(fs)) == before
    fs, log, frames = grown()
    log.append(make_frame(log))
    log.write()
    fs.flip_bit(last_segment(fs), HEADER + 10 * FRAME + 70)
    assert all_frames(reopen(fs, AHEAD)) == frames


def test_frames_that_became_zeros_are_refused() -> None:
    """Zeros where a frame had been durable are damage, though zeros follow it by right."""
    fs, _log, _frames = grown()
    path = last_segment(fs)
    data = fs.content(path)
    fs.set_content(path, data[: HEADER + 9 * FRAME] + bytes(len(data) - HEADER - 9 * FRAME))
    with pytest.raises(LogCorrupt) as caught:
        reopen(fs, AHEAD)
    assert (caught.value.first_bad_index, caught.value.last_known_index) == (11, 11)
    assert not verify_replica(fs, FOLDER).is_sound


@pytest.mark.parametrize("with_mark", [True, False])
def test_an_old_copy_with_zeros_up_to_beyond_the_checkpoint_is_refused(with_mark: bool) -> None:
    """Its size does not tell that what the checkpoint covers is not there: the frames before it do."""
    fs, log, _frames = grown(5)
    old = fs.content(last_segment(fs))
    one_by_one(log, 10)
    log.checkpoint(b"state")
    if not with_mark:
        fs.unlink(f"{FOLDER}/synced")
    assert len(old) > log.size_bytes
    fs.set_content(last_segment(fs), old)
    with pytest.raises(LogCorrupt) as caught:
        reopen(fs, AHEAD)
    assert (caught.value.first_bad_index, caught.value.last_known_index) == (7, 16)
    log = Log.repair(fs, FOLDER, AHEAD, keep_before=7)
    assert log.last_index == 6
    assert len(all_frames(log)) == 5


def test_verify_finds_nothing_wrong_with_zeros() -> None:
    """A running log has them, and so has one whose process was killed; sizes do not count them."""
    fs, log, _frames = grown()
    report = verify_replica(fs, FOLDER)
    assert (report.findings, report.frames, report.size_bytes) == ([], 10, log.size_bytes)
    fs.flip_bit(last_segment(fs), log.size_bytes + 200)
    (finding,) = verify_replica(fs, FOLDER).findings
    assert not finding.is_damage


@pytest.mark.parametrize("seed", range(6))
def test_a_loss_of_power_on_a_real_disk_takes_nothing_that_was_synced(tmp_path: Path, seed: int) -> None:
    """The same with the filesystem that nodes under chaos run on."""

    def opened() -> Log:
        fs: FileSystem = FaultyFileSystem(f"{tmp_path}/faults", Board(f"{tmp_path}/faults"))
        return Log.open(fs, f"{tmp_path}/data", SMALL)

    log = opened()
    frames = one_by_one(log, 60)
    log.append(make_frame(log))
    log.write()
    lose_power(f"{tmp_path}/faults", f"{tmp_path}/data", Random(seed) if seed else None)
    log = opened()
    assert all_frames(log)[:60] == frames
    log.close()
