"""A damaged checkpoint: of no weight while the other copy or every frame is there; never read as empty."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest

from storage.errors import LogCorrupt, LogFailed, OutOfRange
from storage.filesystem import write_all
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.verify import verify_replica
from tests.storage.frames import FOLDER, SMALL, all_frames, damage_checkpoint, reopen, store


def trimmed() -> tuple[MemoryFileSystem, Log]:
    """A log of frames up to 151 that lost its first segments, with a checkpoint at 120."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    log.checkpoint(b"state", index=120)
    assert log.truncate_head(before_index=100) > 2
    return fs, log


@pytest.mark.parametrize("copy", [0, 1])
def test_one_damaged_sector_costs_nothing_and_is_mended(copy: int) -> None:
    """The other copy counts, and a second bad sector later finds two good ones again."""
    fs, log = trimmed()
    frames = all_frames(log)
    damage_checkpoint(fs, copy)
    (finding,) = verify_replica(fs, FOLDER).findings
    assert not finding.is_damage
    for damaged in (copy, 1 - copy):
        log = reopen(fs)
        assert (log.checkpoint_state, log.checkpoint_index) == (b"state", 120)
        assert all_frames(log) == frames
        assert verify_replica(fs, FOLDER).findings == []
        damage_checkpoint(fs, damaged)


@pytest.mark.parametrize("what", ["both copies", "missing", "emptied", "an older copy"])
@pytest.mark.parametrize("mark", [True, False])
def test_a_trimmed_log_without_its_checkpoint_is_corrupt_from_its_first_frame_on(
    what: str, mark: bool
) -> None:
    """What its frames go on from is lost, and so is the group's membership: nothing of it is of use."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 150)
    log.checkpoint(b"old", index=20)
    old = fs.content(f"{FOLDER}/checkpoint")
    log.checkpoint(b"state", index=120)
    base_index = log.truncate_head(before_index=100)
    if what == "both copies":
        damage_checkpoint(fs, 0, 1)
    elif what == "missing":
        fs.unlink(f"{FOLDER}/checkpoint")
    else:
        fs.set_content(f"{FOLDER}/checkpoint", b"" if what == "emptied" else old)
    if not mark:
        fs.set_content(f"{FOLDER}/synced", b"")
    assert not verify_replica(fs, FOLDER).is_sound
    for _ in range(2):
        with pytest.raises(LogCorrupt) as caught:
            reopen(fs)
        assert (caught.value.first_bad_index, caught.value.last_known_index) == (base_index, 151)
    log = Log.repair(fs, FOLDER, SMALL, keep_before=base_index)
    assert (log.base_index, log.last_index, log.checkpoint_state) == (2, 1, b"")
    assert fs.listdir(f"{FOLDER}/quarantine")
    log.reset(index=200, term=2, offset=300, state=b"installed")
    fs.crash(Random(0))
    assert reopen(fs).checkpoint_state == b"installed"


def test_damage_below_the_checkpoint_of_a_trimmed_log_takes_all_of_it() -> None:
    """Frames before the checkpoint alone lead to no state."""
    fs, log = trimmed()
    keep_before = log.base_index + 5
    log = Log.repair(fs, FOLDER, SMALL, keep_before=keep_before)
    assert (log.base_index, log.last_index, log.checkpoint_state) == (2, 1, b"")


def test_damage_behind_the_checkpoint_of_a_trimmed_log_leaves_what_is_before() -> None:
    """The state still goes with the frames that are kept."""
    fs, log = trimmed()
    log = Log.repair(fs, FOLDER, SMALL, keep_before=130)
    assert (log.last_index, log.checkpoint_state, log.checkpoint_index) == (129, b"state", 120)


@pytest.mark.parametrize("seed", range(40))
def test_a_repair_without_the_checkpoint_that_is_interrupted_can_be_repeated(seed: int) -> None:
    """Power fails at any call within it: the log never opens with a part of its frames and no state."""
    random = Random(seed)
    fs, log = trimmed()
    base_index = log.base_index
    damage_checkpoint(fs, 0, 1)
    fs.fail("any", after=random.randint(0, 60))
    with suppress(LogFailed):
        Log.repair(fs, FOLDER, SMALL, keep_before=base_index)
    fs.heal()
    fs.crash(random)
    try:
        log = reopen(fs)
    except LogCorrupt as error:
        log = Log.repair(fs, FOLDER, SMALL, keep_before=error.first_bad_index)
    assert (log.base_index, log.last_index) == (2, 1)


def test_what_a_trimmed_logs_checkpoint_covers_cannot_be_truncated() -> None:
    """It is committed; and without its checkpoint the log could not be opened again."""
    _fs, log = trimmed()
    with pytest.raises(OutOfRange, match="checkpoint"):
        log.truncate(120)
    log.truncate(121)
    assert log.last_index == 120


@pytest.mark.parametrize("after", range(40))
def test_a_reset_that_is_interrupted_has_happened_or_has_not(after: int) -> None:
    """Power fails at any call within it: the log is the old one with its state, or the new one."""
    fs, log = trimmed()
    frames = all_frames(log)
    fs.fail("any", after=after)
    with suppress(LogFailed):
        log.reset(index=500, term=3, offset=900, state=b"new")
    fs.heal()
    fs.crash(Random(after))
    log = reopen(fs)
    if log.checkpoint_state == b"new":
        assert (log.base_index, log.last_index, log.next_offset) == (501, 500, 900)
    else:
        assert (log.checkpoint_state, all_frames(log)) == (b"state", frames)


def test_a_checkpoint_at_the_same_place_does_not_need_the_frame_there() -> None:
    """It has gone bad since: a replica that stores what it finds at its start would never open else."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    store(log, 5)
    log.checkpoint(b"first")
    segment, position, _header = log._reader.header(log.last_index)
    log.close()
    file = fs.open(segment.path)
    write_all(file, [bytes(64)], position)
    file.sync()
    file.close()
    log = reopen(fs)
    log.checkpoint(b"second")
    log.close()
    log = reopen(fs)
    assert log.checkpoint_state == b"second"
    with pytest.raises(LogCorrupt):
        log.frame(log.last_index)
