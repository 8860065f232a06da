"""Replicas' folders: made, found again, repaired, recognised as lost, and removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from floodmark.format import batch
from floodmark.format.frame import Frame, FrameKind, crc_of
from floodmark.format.record import Record

from node.replicas.group_factory import tail_bytes
from node.replicas.replica_store import Opened, ReplicaStore
from storage.errors import LogCorrupt
from storage.filesystem import RealFileSystem
from storage.options import LogOptions

OPTIONS = LogOptions(segment_bytes=4096)


@pytest.fixture
def store(tmp_path: Path) -> ReplicaStore:
    """A store over a fresh folder."""
    return ReplicaStore(RealFileSystem(), str(tmp_path))


def close(opened: Opened) -> None:
    """Let go of all files."""
    opened.log.close()
    opened.vote.close()


def make(store: ReplicaStore, frames: int = 0) -> None:
    """Replica 7 with some durable frames and a vote."""
    opened = store.open(7, OPTIONS, known=False, wiped=False)
    payload = batch.encode([Record(0, None, b"x" * 500)])
    for number in range(frames):
        opened.log.append(Frame(number + 2, 1, number, 0, 1, FrameKind.RECORDS, payload, crc_of(payload)))
        opened.log.write()
        opened.log.sync()
    opened.vote.save(1, "n1")
    assert not opened.lost
    close(opened)


def test_a_replica_is_made_once_and_found_again(store: ReplicaStore) -> None:
    """With its frames and its vote."""
    assert store.sweep() == set()
    make(store, 3)
    assert store.sweep() == {7}
    again = store.open(7, OPTIONS, known=True, wiped=True)
    assert (again.lost, again.log.last_index, again.vote.voted_for) == (False, 4, "n1")
    close(again)


@pytest.mark.parametrize("what", [".", "vote", "*.log"])
def test_a_replica_that_lost_its_files_is_lost_until_the_group_knows(
    store: ReplicaStore, tmp_path: Path, what: str
) -> None:
    """Whoever deleted the folder, the vote or the segments; also when the node stops in between."""
    make(store, 3)
    folder = tmp_path / "groups" / "7"
    if what == ".":
        shutil.rmtree(folder)
    else:
        for path in folder.glob(what):
            path.unlink()
    for _ in range(2):
        opened = store.open(7, OPTIONS, known=True, wiped=False)
        assert opened.lost
        close(opened)
    store.settle(7)
    store.settle(7)
    opened = store.open(7, OPTIONS, known=True, wiped=False)
    assert not opened.lost
    close(opened)


def test_a_replica_of_an_earlier_folder_of_this_node_is_lost(store: ReplicaStore) -> None:
    """It is not known here, but the node has had it."""
    opened = store.open(7, OPTIONS, known=False, wiped=True)
    assert opened.lost
    close(opened)


def test_a_damaged_vote_costs_the_vote(store: ReplicaStore, tmp_path: Path) -> None:
    """The log stays, the damaged file is kept."""
    make(store, 3)
    file = tmp_path / "groups" / "7" / "vote"
    file.write_bytes(b"\xff" * file.stat().st_size)
    opened = store.open(7, OPTIONS, known=True, wiped=False)
    assert (opened.lost, opened.vote.term, opened.log.last_index) == (True, 0, 4)
    assert (tmp_path / "groups" / "7" / "vote.damaged").exists()
    close(opened)


def test_a_damaged_log_is_repaired_and_may_not_vote_before_it_has_caught_up(
    store: ReplicaStore, tmp_path: Path
) -> None:
    """The frames before the damage stay; the vote file says up to where it must get."""
    make(store, 20)
    segment = min((tmp_path / "groups" / "7").glob("*.log"))
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    segment.write_bytes(damaged)
    opened = store.open(7, OPTIONS, known=True, wiped=False)
    assert not opened.lost
    assert 2 <= opened.log.last_index < 21
    assert opened.vote.recover_until >= 20
    assert opened.vote.voted_for == "n1"
    close(opened)
    again = store.open(7, OPTIONS, known=True, wiped=False)
    assert again.vote.recover_until == opened.vote.recover_until
    close(again)


def test_removal_is_finished_after_a_crash(store: ReplicaStore, tmp_path: Path) -> None:
    """A retired folder is no replica any more, and the next start deletes it."""
    make(store, 3)
    store.retire(7)
    store.retire(7)
    assert (tmp_path / "groups" / "7.deleted").exists()
    assert store.sweep() == set()
    assert list((tmp_path / "groups").iterdir()) == []
    make(store)
    store.retire(7)
    store.remove(7)
    assert store.sweep() == set()


def test_damage_that_was_met_while_running_is_set_aside_when_it_is_opened_again(store: ReplicaStore) -> None:
    """Opening alone would not find it before the checkpoint; what is told to be bad goes into quarantine."""
    make(store, frames=20)
    damage = LogCorrupt("a bad frame", path="-", position=0, first_bad_index=12, last_known_index=21)
    opened = store.open(7, OPTIONS, known=True, wiped=False, damage=damage)
    assert (opened.log.last_index, opened.damage) == (21, damage), "it may yet be mended"
    close(opened)
    damage.is_beyond_mending = True
    opened = store.open(7, OPTIONS, known=True, wiped=False, damage=damage)
    assert opened.log.last_index < 12
    assert opened.vote.recover_until == 21
    close(opened)


@pytest.mark.parametrize(
    ("groups", "kept"), [(1, 4 << 20), (64, 4 << 20), (1024, 256 << 10), (100_000, 64 << 10)]
)
def test_replicas_share_the_memory_for_recent_frames(groups: int, kept: int) -> None:
    """A few replicas keep 4 MiB each; a thousand of them 256 MiB together, and not 4 GiB."""
    assert tail_bytes(groups) == kept
