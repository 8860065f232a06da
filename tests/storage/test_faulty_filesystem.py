"""The filesystem of tests: its faults come and go while files are open."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

import pytest

from storage.faulty.conditions import Board, Conditions, DiskFault
from storage.faulty.trace import NAME
from storage.filesystem import write_all
from tests.storage.faulty_disk import Disk


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """An empty one."""
    return Disk(tmp_path)


def test_a_full_disk_takes_what_does_not_grow(disk: Disk) -> None:
    """Appends and new files fail with ENOSPC, overwriting goes on; and all is well once there is room."""
    path = disk.put("a", b"0123456789")
    file = disk.fs.open(path)
    disk.fail(DiskFault("full"))
    for grow in (
        lambda: file.writev([b"xx"], 9),
        lambda: file.truncate(11),
        lambda: disk.fs.open(f"{disk.data}/b", create=True),
        lambda: disk.fs.mkdir(f"{disk.data}/folder"),
    ):
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            grow()
    file.writev([b"xx"], 8)
    file.sync()
    disk.fail()
    file.writev([b"yy"], 10)
    assert disk.contents() == {"a": b"01234567xxyy"}


def test_errors_short_writes_and_slow_syncs(disk: Disk) -> None:
    """Each operation fails alone, on files that were open before; a short write is gone on with."""
    file = disk.fs.open(disk.put("a", b"0123456789"))
    calls = {
        "read": lambda: file.pread(10, 0),
        "write": lambda: file.writev([b"0"], 0),
        "sync": file.sync,
    }
    for broken in calls:
        disk.fail(DiskFault("error", broken))  # type: ignore[arg-type]
        for operation, call in calls.items():
            if operation == broken:
                with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                    call()
            else:
                call()
    disk.fail(DiskFault("short"))
    assert file.writev([b"abcdef", b"ghi"], 0) == 3
    assert write_all(file, [b"abcdef", b"ghi"], 0) == 9
    assert disk.contents() == {"a": b"abcdefghi9"}
    disk.fail(DiskFault("slow", "sync", delay_ms=50))
    began = time.monotonic()
    file.sync()
    assert time.monotonic() - began >= 0.05


def test_a_scarce_disk_tells_of_no_room_and_works(disk: Disk) -> None:
    """As one that others have filled up; a full one, as under a quota, tells of the room that there is."""
    room = disk.fs.space(str(disk.data))
    assert 0 < room.free_bytes <= room.total_bytes
    disk.fail(DiskFault("scarce"))
    assert disk.fs.space(str(disk.data)) == (0, room.total_bytes)
    disk.put("a", b"0123456789")
    disk.fail(DiskFault("full"))
    assert disk.fs.space(str(disk.data)).free_bytes > 0


def test_the_trace_stays_short(disk: Disk) -> None:
    """Many syncs, renames and removals: what is durable is forgotten, graves included.

    A file that stays open keeps its inode from being used again, as it is on tmpfs for every file.
    """
    with contextlib.ExitStack() as kept:
        _replace_often(disk, kept)
    assert os.path.getsize(f"{disk.folder}/{NAME}") < 2 << 20
    assert os.listdir(f"{disk.folder}/graves") == []


def _replace_often(disk: Disk, kept: contextlib.ExitStack) -> None:
    for number in range(60):
        path = disk.put("a", b"%d" % number * 50_000)
        kept.callback(os.close, os.open(path, os.O_RDONLY))
        disk.fs.open(path).truncate(0)
        disk.fs.rename(path, f"{disk.data}/b")
        disk.fs.unlink(f"{disk.data}/b")
        assert os.path.getsize(f"{disk.folder}/{NAME}") > 50_000
        disk.fs.sync_folder(disk.data)


def test_conditions_are_seen_by_all_at_once(tmp_path: Path) -> None:
    """A reader that was there before, one that comes later, and a writer that goes on after another."""
    first = Board(str(tmp_path))
    reader = Board(str(tmp_path))
    for number in range(50):
        first.post(Conditions(clock_offset_ms=number, disk=(DiskFault("full"),) * (number % 3)))
        assert reader.now.clock_offset_ms == number
        assert len(reader.now.disk) == number % 3
    second = Board(str(tmp_path))
    assert second.now.clock_offset_ms == 49
    second.post(Conditions())
    assert reader.now == first.now == Conditions()
    with pytest.raises(ValueError, match="too many"):
        first.post(Conditions(disk=(DiskFault("full"),) * 10_000))
