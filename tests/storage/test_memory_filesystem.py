"""The filesystem in memory keeps what the port promises, and loses what it does not."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from storage.atomic_file import read_file, replace_file
from storage.filesystem import FileSystem, RealFileSystem, write_all
from storage.memory_filesystem import MemoryFileSystem


def both(tmp_path: Path) -> list[tuple[FileSystem, str]]:
    """The real one and the one in memory, each with a folder."""
    return [(RealFileSystem(), f"{tmp_path}/a/b"), (MemoryFileSystem(), "/a/b")]


def test_both_filesystems_answer_alike(tmp_path: Path) -> None:
    """The calls of the port, their results and their errors."""
    for fs, folder in both(tmp_path):
        fs.mkdir(folder)
        fs.mkdir(folder)
        file = fs.open(f"{folder}/x", create=True)
        assert write_all(file, [b"abc", b"", b"defg"], 2) == 9
        assert write_all(file, [b""], 9) == write_all(file, [], 9) == 9
        assert file.pread(100, 0) == b"\0\0abcdefg"
        assert file.pread(2, 3) == b"bc"
        assert file.pread(5, 50) == b""
        file.truncate(4)
        file.sync()
        assert file.size() == fs.size(f"{folder}/x") == 4
        fs.rename(f"{folder}/x", f"{folder}/y")
        fs.sync_folder(folder)
        assert fs.listdir(folder) == ["y"]
        assert fs.listdir(folder.removesuffix("/b"))[-1] == "b"
        fs.unlink(f"{folder}/y")
        assert file.pread(1, 2) == b"a"
        assert not fs.exists(f"{folder}/y")
        assert fs.exists(folder)
        for call in (fs.open, fs.size, fs.unlink, fs.listdir):
            with pytest.raises(FileNotFoundError):
                call(f"{folder}/none")
        file.close()
        replace_file(fs, folder, "z", b"1", durable=True)
        replace_file(fs, folder, "z", b"22", durable=False)
        assert read_file(fs, f"{folder}/z") == b"22"
        assert read_file(fs, f"{folder}/none") is None
        fs.remove_tree(folder)
        fs.remove_tree(folder)
        assert not fs.exists(folder)


def test_a_crash_keeps_what_was_synced_and_may_lose_or_tear_the_rest() -> None:
    """Over many seeds: all lost, all kept, and holes in between; synced bytes always stay."""
    seen = set()
    for seed in range(200):
        fs = MemoryFileSystem()
        fs.mkdir("/d")
        file = fs.open("/d/f", create=True)
        write_all(file, [b"s" * 700], 0)
        file.sync()
        fs.sync_folder("/d")
        write_all(file, [b"u" * 2000], 700)
        fs.crash(Random(seed))
        data = fs.content("/d/f")
        assert data[:700] == b"s" * 700
        assert set(data[700:]) <= set(b"u\0")
        seen.add("none" if len(data) == 700 else "all" if data[700:] == b"u" * 2000 else "part")
        if b"\0u" in data:
            seen.add("hole")
    assert seen == {"none", "all", "part", "hole"}


def test_a_crash_is_decided_by_its_seed_alone() -> None:
    """The same calls and the same seed leave the same bytes."""

    def run() -> dict[str, bytes]:
        fs = MemoryFileSystem()
        fs.mkdir("/d")
        for name in "abcdef":
            write_all(fs.open(f"/d/{name}", create=True), [name.encode() * 3000], 0)
        fs.rename("/d/a", "/d/g")
        fs.crash(Random(5))
        return {name: fs.content(f"/d/{name}") for name in fs.listdir("/d")}

    assert run() == run()


def test_names_are_lost_in_order_unless_their_folder_was_synced() -> None:
    """A prefix of the changes stays; a rename is atomic."""
    kept = set()
    for seed in range(100):
        fs = MemoryFileSystem()
        fs.mkdir("/d")
        fs.open("/d/old", create=True)
        fs.sync_folder("/d")
        fs.open("/d/a", create=True)
        fs.rename("/d/old", "/d/new")
        fs.unlink("/d/a")
        fs.crash(Random(seed))
        kept.add(tuple(fs.listdir("/d")))
    assert kept == {("old",), ("a", "old"), ("a", "new"), ("new",)}


def test_a_failed_sync_is_not_mended_by_another_one() -> None:
    """The bytes stay readable, and are lost with the power although a later sync said yes."""
    lost = 0
    for seed in range(50):
        fs = MemoryFileSystem()
        fs.mkdir("/d")
        file = fs.open("/d/f", create=True)
        fs.sync_folder("/d")
        write_all(file, [b"x" * 600], 0)
        fs.fail("sync")
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        file.sync()
        assert file.pread(600, 0) == b"x" * 600
        fs.crash(Random(seed))
        lost += fs.content("/d/f") != b"x" * 600
    assert lost > 10


def test_space_runs_out_after_a_part_of_a_write() -> None:
    """First a short write, then ENOSPC; overwriting needs no space."""
    fs = MemoryFileSystem()
    fs.mkdir("/d")
    file = fs.open("/d/f", create=True)
    fs.space_left_bytes = 10
    with pytest.raises(OSError, match="No space") as caught:
        write_all(file, [b"x" * 16], 0)
    assert caught.value.errno == errno.ENOSPC
    assert file.size() == 10
    assert write_all(file, [b"y" * 10], 0) == 10


def test_files_opened_before_a_crash_are_dead() -> None:
    """Whoever still holds one can do no harm to what comes after."""
    fs = MemoryFileSystem()
    fs.mkdir("/d")
    file = fs.open("/d/f", create=True)
    fs.restart()
    with pytest.raises(OSError, match="Bad file descriptor"):
        write_all(file, [b"x"], 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.sync()
    assert fs.content("/d/f") == b""


def test_damage_is_seen_at_once_and_after_a_crash() -> None:
    """A flipped bit is on the disk."""
    fs = MemoryFileSystem()
    fs.mkdir("/d")
    file = fs.open("/d/f", create=True)
    write_all(file, [b"\0" * 10], 0)
    file.sync()
    fs.sync_folder("/d")
    fs.flip_bit("/d/f", 3, 7)
    assert file.pread(10, 0)[3] == 128
    fs.crash(Random(0))
    assert fs.content("/d/f")[3] == 128
