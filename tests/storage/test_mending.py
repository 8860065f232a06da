"""Mending: good frames in the place of bad ones; a crash at any moment leaves one segment or the other."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from floodmark.format.frame import Frame

from storage.errors import LogCorrupt, LogFailed
from storage.holes import Misfit
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from tests.storage.frames import FOLDER, all_frames, reopen, store

FRAME = 104
"""Bytes of each frame."""
COUNT = 150


def segment(fs: MemoryFileSystem, number: int) -> str:
    """The path of a segment."""
    return f"{FOLDER}/{[name for name in fs.listdir(FOLDER) if name.endswith('.log')][number]}"


def damaged(*places: int, number: int = 1) -> tuple[MemoryFileSystem, Log, list[Frame]]:
    """A log whose checkpoint covers it all, bad at these bytes of a segment, and what it held."""
    fs = MemoryFileSystem()
    log = reopen(fs)
    frames = store(log, COUNT)
    log.checkpoint(b"state")
    log.close()
    for place in places:
        fs.flip_bit(segment(fs, number), place)
    return fs, reopen(fs), frames


def mend(log: Log, frames: list[Frame]) -> None:
    """As the host does, with peers that have everything. The first bad frame is what a reader finds."""
    with pytest.raises(LogCorrupt) as found:
        list(log.stored(log.base_index, log.last_index))
    index = found.value.first_bad_index
    log.seal(index)
    wound = log.wound(index)
    assert wound.holes
    log.take_mended(wound, log.prepare_mended(wound, {frame.index: frame for frame in frames}))


@pytest.mark.parametrize("number", [0, 1, -1], ids=["first", "sealed", "active"])
@pytest.mark.parametrize(
    "places",
    [
        [64 + 5 * FRAME + 80],
        [64 + 3 * FRAME + 20],
        [64 + 3 * FRAME + 9],
        [64 + 2 * FRAME + 30, 64 + 2 * FRAME + 80],
        [64 + 1 * FRAME + 70, 64 + 3 * FRAME + 10, 64 + 6 * FRAME + 90],
        [64 + 2 * FRAME + 8, 64 + 3 * FRAME + 8],
        [64],
    ],
    ids=["payload", "index", "length", "both", "three frames", "two headers", "magic of the first"],
)
def test_a_bad_frame_is_mended_where_it_stands(number: int, places: list[int]) -> None:
    """Every frame reads as before, nothing else changed, and the log opens and goes on."""
    fs, log, frames = damaged(*places, number=number)
    size = log.size_bytes
    mend(log, frames)
    assert list(log.stored(log.base_index, log.last_index)) == frames
    assert log.size_bytes in (size, size + 64), "only a new, empty segment may have come"
    assert log.offset_at_time(0) == 0
    assert [name.endswith(".log") for name in fs.listdir(f"{FOLDER}/quarantine")] == [True]
    frames += store(log, 20)
    fs.crash(Random(1))
    fs.restart()
    log = reopen(fs)
    assert all_frames(log) == frames
    assert list(log.stored(log.base_index, log.last_index)) == frames


@pytest.mark.parametrize("seed", range(40))
def test_a_crash_in_the_middle_leaves_one_segment_or_the_other(seed: int) -> None:
    """Power fails at any call; the log opens with the hole or without it, and can be mended then."""
    rng = Random(seed)
    number = rng.choice((0, 1, -1))
    fs, log, frames = damaged(64 + rng.randrange(1, 6) * FRAME + rng.choice((20, 80)), number=number)
    operation = rng.choice(("write", "sync", "rename", "sync_folder", "truncate"))
    fs.fail(operation, error=5, after=rng.randint(0, 4))
    with suppress(OSError, LogFailed):
        mend(log, frames)
    fs.crash(rng)
    fs.restart()
    fs.heal()
    log = reopen(fs)
    assert (log.base_index, log.last_index) == (2, COUNT + 1)
    try:
        assert list(log.stored(log.base_index, log.last_index)) == frames
    except LogCorrupt:
        mend(log, frames)
        assert list(log.stored(log.base_index, log.last_index)) == frames
    assert not [name for name in fs.listdir(FOLDER) if name.endswith(".tmp")]


def test_nothing_is_mended_with_other_frames_than_those_that_stood_there() -> None:
    """Of another term, content, size or place."""
    _, log, frames = damaged(64 + 5 * FRAME + 80)
    good = {frame.index: frame for frame in frames}
    with pytest.raises(LogCorrupt) as found:
        list(log.stored(log.base_index, log.last_index))
    index = found.value.first_bad_index
    wound = log.wound(index)
    for other in (good[index + 1], frames[0]):
        with pytest.raises(Misfit):
            log.prepare_mended(wound, {**good, index: other})
    del good[index]
    with pytest.raises(Misfit):
        log.prepare_mended(wound, good)
    with pytest.raises(LogCorrupt):
        list(log.stored(log.base_index, log.last_index))
