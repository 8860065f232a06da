"""Losses of power on real files: they take what the port does not promise, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.faulty.conditions import Board, DiskFault
from storage.faulty.filesystem import FaultyFileSystem
from storage.filesystem import FileSystem, write_all
from storage.memory_filesystem import MemoryFileSystem
from tests.storage.faulty_disk import Disk

_NAMES = ("a", "b", "c", "sub/a", "sub/b")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """An empty one."""
    return Disk(tmp_path)


def test_power_loss_takes_unsynced_bytes_and_names_and_nothing_else(disk: Disk) -> None:
    """What was synced stays to the byte; an append, an overwrite, a truncation and names do not."""
    for name in ("appended", "overwritten", "cut", "renamed", "removed", "replaced", "by"):
        disk.put(name, name.encode() * 100)
    before = disk.contents()
    write_all(disk.fs.open(f"{disk.data}/appended"), [b"x" * 5_000], 800)
    write_all(disk.fs.open(f"{disk.data}/overwritten"), [b"y" * 50], 10)
    disk.fs.open(f"{disk.data}/cut").truncate(7)
    disk.fs.rename(f"{disk.data}/renamed", f"{disk.data}/sub/renamed")
    disk.fs.unlink(f"{disk.data}/removed")
    disk.fs.rename(f"{disk.data}/by", f"{disk.data}/replaced")
    disk.put("new", b"new", sync=False)
    assert disk.contents().keys() ^ before.keys() == {"renamed", "sub/renamed", "removed", "by", "new"}
    disk.lose_power()
    assert disk.contents() == before


def test_synced_bytes_of_a_file_whose_name_was_not_synced(disk: Disk) -> None:
    """The folder was not synced: the file is gone, whatever its own sync said."""
    path = disk.put("new", b"content", sync=False)
    disk.fs.open(path).sync()
    disk.lose_power()
    assert disk.contents() == {}


def test_the_end_of_the_process_takes_nothing_and_a_later_power_loss_does(disk: Disk) -> None:
    """The page cache outlives the process; what it holds is as little durable as before."""
    disk.put("a", b"durable")
    write_all(disk.fs.open(f"{disk.data}/a"), [b"unsynced"], 7)
    disk.fs = FaultyFileSystem(disk.folder, Board(disk.folder))
    assert disk.contents() == {"a": b"durableunsynced"}
    write_all(disk.fs.open(f"{disk.data}/a"), [b"DUR"], 0)
    disk.lose_power()
    assert disk.contents() == {"a": b"durable"}
    disk.lose_power()
    assert disk.contents() == {"a": b"durable"}


def test_a_killed_process_leaves_a_trace_that_can_be_used(disk: Disk, tmp_path: Path) -> None:
    """kill -9 in the middle of writes: all that it had synced is there after the power loss, in order."""
    code = (
        "import sys; from storage.faulty.conditions import Board\n"
        "from storage.faulty.filesystem import FaultyFileSystem\n"
        "fs = FaultyFileSystem(sys.argv[1], Board(sys.argv[1])); path = sys.argv[2] + '/log'\n"
        "file = fs.open(path, create=True); fs.sync_folder(sys.argv[2])\n"
        "for n in range(1_000_000):\n"
        "    file.writev([n.to_bytes(4, 'big') * 200], n * 800)\n"
        "    if n % 10 == 9: file.sync(); print(n + 1, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, disk.folder, disk.data], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for _ in range(30):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    said = [int(line) for line in child.stdout.read().split()]
    child.wait()
    child.stdout.close()
    synced = said[-1] if said else 300
    killed = disk.contents()["log"]
    disk.lose_power()
    left = disk.contents()["log"]
    # The last sync may have ended without a word about it.
    assert len(left) in (synced * 800, (synced + 10) * 800)
    assert killed.startswith(left)
    assert left == b"".join(n.to_bytes(4, "big") * 200 for n in range(len(left) // 800))


def test_a_sync_after_a_failed_one_makes_durable_only_what_was_written_anew(disk: Disk) -> None:
    """As on Linux: the failed sync leaves its bytes readable and clean, so a second one passes over them."""
    path = disk.put("a", b"." * 1_000)
    file = disk.fs.open(path)
    file.writev([b"x" * 600], 200)
    file.writev([b"new"], 1_000)
    disk.fail(DiskFault("error", "sync"))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        file.sync()
    disk.fail()
    file.writev([b"y" * 100], 300)
    file.sync()
    disk.lose_power()
    assert disk.contents() == {"a": b"." * 300 + b"y" * 100 + b"." * 600 + b"\0\0\0"}


@pytest.mark.parametrize("seed", range(40))
def test_what_power_loss_leaves_is_what_the_model_in_memory_allows(tmp_path: Path, seed: int) -> None:
    """The same random calls on both, failed syncs too: equally much is durable; chance leaves a mixture."""
    rng = random.Random(seed)
    disk, model = Disk(tmp_path), MemoryFileSystem()
    model.mkdir("/d/sub")
    for _ in range(rng.randint(1, 60)):
        _do(rng, disk, model)
        if rng.random() < 0.05:  # the process ends, and another one goes on
            disk.fs = FaultyFileSystem(disk.folder, Board(disk.folder))
    now = disk.contents()
    assert now == _model_contents(model, durable=False), f"seed {seed}"
    if seed % 2:
        disk.lose_power()
        assert disk.contents() == _model_contents(model, durable=True), f"seed {seed}"
        return
    pairs = [(bytes(c.durable), bytes(c.current)) for c in _all_contents(model)]
    disk.lose_power(rng)
    for name, left in disk.contents().items():
        assert any(_is_mixture(left, old, new) for old, new in pairs), (seed, name)


def _do(rng: random.Random, disk: Disk, model: MemoryFileSystem) -> None:
    """One random call on both; neither or both raise."""
    name, other = rng.choice(_NAMES), rng.choice(_NAMES)
    operation = rng.choice(
        ("write", "write", "write", "truncate", "sync", "fail", "rename", "unlink", "folder")
    )
    position, data = rng.randint(0, 3_000), rng.randbytes(rng.randint(1, 2_000))
    size = rng.randint(0, 4_000)
    for fs, root in ((disk.fs, disk.data), (model, "/d")):
        path = f"{root}/{name}"
        if operation == "fail" and fs.exists(path):
            _fail_sync(disk, model, fs, path)
        elif operation == "write":
            fs.open(path, create=True).writev([data], position)
        elif operation == "folder":
            fs.sync_folder(path.rpartition("/")[0])
        elif fs.exists(path):
            if operation == "truncate":
                fs.open(path).truncate(size)
            elif operation == "sync":
                fs.open(path).sync()
            elif operation == "unlink":
                fs.unlink(path)
            elif name != other:
                fs.rename(path, f"{root}/{other}")


def _fail_sync(disk: Disk, model: MemoryFileSystem, fs: FileSystem, path: str) -> None:
    disk.fail(DiskFault("error", "sync"))
    if fs is model:
        model.fail("sync")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        fs.open(path).sync()
    disk.fail()


def _model_contents(model: MemoryFileSystem, *, durable: bool) -> dict[str, bytes]:
    tree = model._durable if durable else model._now
    return {
        f"{folder}/{name}".removeprefix("/d/"): bytes(content.durable if durable else content.current)
        for folder, names in tree.items()
        for name, content in names.items()
    }


def _all_contents(model: MemoryFileSystem) -> list:  # type: ignore[type-arg]
    trees = (model._durable, model._now)
    return [content for tree in trees for names in tree.values() for content in names.values()] + [
        content for change in model._journal for _, _, content in change if content is not None
    ]


def _is_mixture(left: bytes, old: bytes, new: bytes) -> bool:
    """Whether each byte is that of one of both, or a hole."""
    if not min(len(old), len(new)) <= len(left) <= max(len(old), len(new)):
        return False
    pairs = zip(left, old.ljust(len(left), b"\0"), new.ljust(len(left), b"\0"), strict=False)
    return all(byte in (before, after) for byte, before, after in pairs)
