"""The vote file: durable, never forgotten, never silently empty."""

from __future__ import annotations

from random import Random

import pytest

from storage.errors import DiskFull, LogClosed, LogCorrupt, LogFailed
from storage.memory_filesystem import MemoryFileSystem
from storage.vote import COPY_BYTES, COPY_DISTANCE, TERM_MAX, Vote, VoteFile, decode

FOLDER = "/data/groups/7"
PATH = f"{FOLDER}/vote"


def test_a_missing_file_is_a_fresh_replica() -> None:
    """Term 0 and no vote, and the file is there afterwards."""
    fs = MemoryFileSystem()
    vote = VoteFile(fs, FOLDER)
    assert (vote.term, vote.voted_for, vote.recover_until) == (0, None, 0)
    fs.crash(Random(0))
    assert VoteFile(fs, FOLDER).term == 0


@pytest.mark.parametrize("seed", range(30))
def test_what_was_saved_survives_any_loss_of_power(seed: int) -> None:
    """Crashes after each save and within saves: the vote is that of the last save, or of one cut short."""
    fs, random = MemoryFileSystem(), Random(seed)
    expected: tuple[int, str | None, int] = (0, None, 0)
    for term in range(1, 40):
        vote = VoteFile(fs, FOLDER)
        assert (vote.term, vote.voted_for, vote.recover_until) == expected
        step = (term, random.choice([None, "n1", "n2"]), random.randint(0, 5))
        allowed = {step}
        if random.random() < 0.5:
            fs.fail(random.choice(["write", "sync"]))
            allowed.add(expected)
            with pytest.raises(LogFailed):
                vote.save(*step)
        else:
            vote.save(*step)
        fs.heal()
        fs.crash(random)
        vote = VoteFile(fs, FOLDER)
        expected = (vote.term, vote.voted_for, vote.recover_until)
        assert expected in allowed


def test_one_damaged_sector_does_not_take_the_vote_back() -> None:
    """Each save has two copies far apart: the older vote must not win because of one bad sector."""
    for damaged in range(4):
        fs = MemoryFileSystem()
        vote = VoteFile(fs, FOLDER)
        for term in range(1, 4):
            vote.save(term, f"n{term}")
        for byte in range(COPY_BYTES):
            fs.flip_bit(PATH, damaged * COPY_DISTANCE + byte)
        vote = VoteFile(fs, FOLDER)
        assert (vote.term, vote.voted_for) == (3, "n3")


def test_a_file_without_a_valid_copy_is_corrupt_and_never_reads_as_empty() -> None:
    """Also an empty or zeroed one: the file appears atomically, so it was damaged."""
    for content in (b"", bytes(4 * COPY_DISTANCE), b"\xff" * 4 * COPY_DISTANCE):
        fs = MemoryFileSystem()
        VoteFile(fs, FOLDER).save(5, "n1")
        fs.set_content(PATH, content)
        with pytest.raises(LogCorrupt):
            VoteFile(fs, FOLDER)


def test_a_save_that_changes_nothing_touches_no_disk() -> None:
    """Saving the same vote again is free."""
    fs = MemoryFileSystem()
    vote = VoteFile(fs, FOLDER)
    vote.save(5, "n1", 9)
    syncs = fs.calls["sync"]
    vote.save(5, "n1", 9)
    assert fs.calls["sync"] == syncs
    vote.save(5, "n1")
    assert fs.calls["sync"] == syncs + 1
    assert vote.recover_until == 0


def test_after_a_failed_save_nothing_more_is_accepted() -> None:
    """What is on disk is unknown; the old vote stays visible."""
    fs = MemoryFileSystem()
    vote = VoteFile(fs, FOLDER)
    vote.save(5, "n1")
    fs.fail("sync", error=28)
    with pytest.raises(DiskFull):
        vote.save(6, "n2")
    assert (vote.term, vote.voted_for) == (5, "n1")
    with pytest.raises(LogClosed):
        vote.save(7, "n2")


def test_a_node_id_that_does_not_fit_is_refused() -> None:
    """It must not be cut to another node's name."""
    vote = VoteFile(MemoryFileSystem(), FOLDER)
    with pytest.raises(ValueError, match="479 bytes"):
        vote.save(1, "n" * 479)
    vote.save(1, "n" * 478)
    assert vote.voted_for == "n" * 478


def test_a_save_that_is_torn_within_its_sectors_leaves_the_vote_before() -> None:
    """A sector that was being written when the power went may hold anything; nobody was answered."""
    fs = MemoryFileSystem()
    vote = VoteFile(fs, FOLDER)
    for term in range(1, 6):
        before = fs.content(PATH)
        vote.save(term, f"n{term}")
        after = fs.content(PATH)
        torn = bytearray(after)
        for sector in range(0, len(after), COPY_DISTANCE):
            if before[sector : sector + COPY_DISTANCE] != after[sector : sector + COPY_DISTANCE]:
                torn[sector + 20 : sector + COPY_DISTANCE] = b"\xff" * (COPY_DISTANCE - 20)
        fs.set_content(PATH, bytes(torn))
        again = VoteFile(fs, FOLDER)
        assert (again.term, again.voted_for) == (term - 1, f"n{term - 1}" if term > 1 else None)
        fs.set_content(PATH, after)
        vote = VoteFile(fs, FOLDER)


@pytest.mark.parametrize("seed", range(10))
def test_a_vote_that_was_read_once_stays_also_when_the_process_before_saw_its_fsync_fail(seed: int) -> None:
    """The page cache holds it and calls it clean: what the next process acts on it has to write itself."""
    fs = MemoryFileSystem()
    vote = VoteFile(fs, FOLDER)
    vote.save(5, "n1")
    fs.fail("sync")
    with pytest.raises(LogFailed):
        vote.save(6, "n2")
    fs.restart()
    read = VoteFile(fs, FOLDER)
    seen = (read.term, read.voted_for)
    fs.crash(Random(seed))
    again = VoteFile(fs, FOLDER)
    assert (again.term, again.voted_for) == seen == (6, "n2")


@pytest.mark.parametrize("seed", range(10))
def test_a_vote_stays_also_when_the_process_that_made_the_file_died_at_once(seed: int) -> None:
    """Its name was not durable yet: without it the votes in it would be gone, and a new file empty."""
    fs = MemoryFileSystem()
    fs.fail("sync_folder")
    with pytest.raises(LogFailed):
        VoteFile(fs, FOLDER)
    fs.restart()
    VoteFile(fs, FOLDER).save(5, "n1")
    fs.crash(Random(seed))
    assert VoteFile(fs, FOLDER).term == 5


def test_a_changed_byte_anywhere_makes_a_copy_none() -> None:
    """A term or a name that nobody saved is never read."""
    data = Vote(7, 5, "n1", 9).encode()
    assert decode(data) == Vote(7, 5, "n1", 9)
    for at in range(COPY_BYTES):
        assert decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None
    assert decode(data[:-1]) is None


def test_a_term_beyond_the_last_one_is_refused_and_nothing_is_written() -> None:
    """Terms are leader epochs, which have 31 bits: the file stays as it was, and takes nothing any more."""
    fs = MemoryFileSystem()
    vote = VoteFile(fs, FOLDER)
    vote.save(TERM_MAX, "n1")
    with pytest.raises(LogFailed, match="the last one that there is"):
        vote.save(TERM_MAX + 1, None)
    with pytest.raises(LogClosed):
        vote.save(TERM_MAX, "n2")
    assert (VoteFile(fs, FOLDER).term, VoteFile(fs, FOLDER).voted_for) == (TERM_MAX, "n1")
