"""What a log writes leaves the cache of files where nobody is expected to read it, and only then."""

from __future__ import annotations

import pytest

from storage.cached_pages import KEPT_BYTES, STEP_BYTES, CachedPages
from storage.log import Log
from storage.memory_filesystem import MemoryFile, MemoryFileSystem
from storage.options import LogOptions
from tests.storage.frames import fill, reopen

MIB = 1 << 20
SEGMENTS_OF_16_MIB = LogOptions(segment_bytes=16 * MIB, zeros_ahead_bytes=0)
Ranges = list[tuple[str, int, int]]


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Ranges:
    """Path, start and end of all that was let go."""
    found: Ranges = []
    monkeypatch.setattr(
        MemoryFile, "forget_cached", lambda file, start, end: found.append((file.path, start, end))
    )
    return found


def store(log: Log, mebibytes: int) -> None:
    """One frame and one fsync for each."""
    for _ in range(mebibytes):
        fill(log, 1, size=MIB - 100)
        log.write()
        log.sync()


def test_a_log_that_is_read_stays_cached(forgotten: Ranges) -> None:
    """A leader's: consumers are about to ask for it."""
    store(reopen(MemoryFileSystem(), SEGMENTS_OF_16_MIB), 40)
    assert forgotten == []


def test_a_log_that_is_not_read_keeps_its_newest_only(forgotten: Ranges) -> None:
    """Step by step, each byte once, in every segment."""
    log = reopen(MemoryFileSystem(), SEGMENTS_OF_16_MIB)
    log.is_read = False
    store(log, 44)
    paths = list(dict.fromkeys(path for path, _, _ in forgotten))
    assert len(paths) == 3
    for path in paths[:2]:
        ranges = [(start, end) for name, start, end in forgotten if name == path]
        assert all(STEP_BYTES <= end - start < 2 * STEP_BYTES for start, end in ranges)
        assert [start for start, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
        assert 16 * MIB - KEPT_BYTES - 2 * STEP_BYTES < ranges[-1][1] <= 16 * MIB - KEPT_BYTES


def test_what_was_written_while_it_was_read_stays(forgotten: Ranges) -> None:
    """A leader that is deposed lets go of nothing at once: a reader may be in the middle of it."""
    log = reopen(MemoryFileSystem(), LogOptions(zeros_ahead_bytes=0))
    store(log, 20)
    written = log.size_bytes
    log.is_read = False
    store(log, 20)
    assert forgotten[0][1] == written


def test_a_log_that_is_cut_goes_on_from_there(forgotten: Ranges) -> None:
    """What another leader overrules takes the place of bytes that had left."""
    log = reopen(MemoryFileSystem(), LogOptions(zeros_ahead_bytes=0))
    log.is_read = False
    store(log, 20)
    log.truncate(5)
    cut = log.size_bytes
    forgotten.clear()
    store(log, 20)
    assert forgotten[0][1] == cut


def test_nothing_leaves_before_it_is_durable_or_for_small_writes() -> None:
    """The cache is asked once for a mebibyte, whatever the size of the writes."""
    asked = []

    class Asked:
        def forget_cached(self, start: int, end: int) -> None:
            asked.append((start, end))

    pages = CachedPages(0)
    for size in range(0, 32 * MIB, 4096):
        pages.synced(Asked(), size, are_kept=False)  # type: ignore[arg-type]
    assert 20 <= len(asked) <= 24
    assert all(end <= 32 * MIB - KEPT_BYTES for _, end in asked)
