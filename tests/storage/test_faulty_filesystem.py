"""The filesystem of tests: its faults, and losses of power that take what the port does not promise."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.faulty.conditions import Board, Conditions, DiskFault
from storage.faulty.filesystem import FaultyFileSystem
from storage.faulty.power_loss import lose_power
from storage.faulty.trace import NAME
from storage.filesystem import FileSystem, write_all
from storage.memory_filesystem import MemoryFileSystem

_NAMES = ("a", "b", "c", "sub/a", "sub/b")


class Disk:
    """A faulty filesystem in a folder, with the side that makes it fail."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.data = str(tmp_path / "faults"), str(tmp_path / "data")
        self.board = Board(self.folder)
        self.fs = FaultyFileSystem(self.folder, Board(self.folder))
        self.fs.mkdir(f"{self.data}/sub")

    def put(self, name: str, content: bytes, *, sync: bool = True) -> str:
        """A file with this content."""
        path = f"{self.data}/{name}"
        file = self.fs.open(path, create=True)
        file.truncate(0)
        write_all(file, [content], 0)
        if sync:
            file.sync()
            self.fs.sync_folder(os.path.dirname(path))
        return path

    def fail(self, *faults: DiskFault) -> None:
        """Put these into force, and no others."""
        self.board.post(Conditions(disk=faults))

    def lose_power(self, rng: random.Random | None = None) -> None:
        """Lose it, and come back."""
        lose_power(self.folder, self.data, rng)
        self.fs = FaultyFileSystem(self.folder, Board(self.folder))

    def contents(self) -> dict[str, bytes]:
        """What there is."""
        return {
            str(path.relative_to(self.data)): path.read_bytes()
            for path in Path(self.data).rglob("*")
            if path.is_file()
        }


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


def test_the_trace_stays_short(disk: Disk) -> None:
    """Many syncs, renames and removals: what is durable is forgotten, graves included."""
    for number in range(3_000):
        path = disk.put("a", b"%d" % number * 10)
        disk.fs.rename(path, f"{disk.data}/b")
        disk.fs.unlink(f"{disk.data}/b")
        disk.fs.sync_folder(disk.data)
        if number == 5:
            assert os.path.getsize(f"{disk.folder}/{NAME}") > 100
    assert os.path.getsize(f"{disk.folder}/{NAME}") < 2 << 20
    assert os.listdir(f"{disk.folder}/graves") == []


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
