"""Terms that were driven out of their range come back, on all replicas alike."""

from __future__ import annotations

import pytest

from storage.errors import LogFailed
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.vote import FILE_BYTES, TERM_MAX, Vote, VoteFile
from storage.vote_repair import REPAIRED_TERM, NotRepairable, repair_votes
from tests.support.raft import frame
from tests.support.votes import write_vote


def _replica(fs: MemoryFileSystem, folder: str, *, log_term: int, vote_term: int) -> None:
    log = Log.open(fs, folder, LogOptions())
    log.append(frame(2, log_term))
    log.write()
    log.sync()
    log.close()
    write_vote(fs, folder, vote_term, "n2", 7)


def test_all_replicas_get_one_term_and_no_vote() -> None:
    """Those that are out of range and those that are not; what else the vote file says stays."""
    fs = MemoryFileSystem()
    for group, term in ((0, (1 << 63) - 2), (1, 12)):
        _replica(fs, f"data/groups/{group}", log_term=5, vote_term=term)
    with pytest.raises(LogFailed, match="repair-votes"):
        VoteFile(fs, "data/groups/0")
    before = {repaired.path: repaired.term_before for repaired in repair_votes(fs, "data")}
    assert before == {"data/groups/0": (1 << 63) - 2, "data/groups/1": 12}
    for group in (0, 1):
        votes = VoteFile(fs, f"data/groups/{group}")
        assert (votes.term, votes.voted_for, votes.recover_until) == (REPAIRED_TERM, None, 7)
        votes.close()


def test_nothing_is_changed_where_one_replica_cannot_be_repaired() -> None:
    """An entry of a term above the new one is in its log: there is no sound term below it."""
    fs = MemoryFileSystem()
    _replica(fs, "data/groups/0", log_term=5, vote_term=12)
    _replica(fs, "data/groups/1", log_term=REPAIRED_TERM + 1, vote_term=REPAIRED_TERM + 1)
    with pytest.raises(NotRepairable, match=r"groups/1: the log itself holds"):
        list(repair_votes(fs, "data"))
    votes = VoteFile(fs, "data/groups/0")
    assert votes.term == 12
    votes.close()


def test_a_crash_in_the_middle_leaves_the_old_vote_or_the_new_one() -> None:
    """The file's two versions stand apart, as at every save."""
    fs = MemoryFileSystem()
    _replica(fs, "data/groups/0", log_term=5, vote_term=12)
    newest = Vote(3, REPAIRED_TERM, None, 7)
    list(repair_votes(fs, "data"))
    raw = fs.open("data/groups/0/vote").pread(FILE_BYTES, 0)
    assert newest.encode() in raw or Vote(2, REPAIRED_TERM, None, 7).encode() in raw
    assert TERM_MAX > REPAIRED_TERM
    assert any(Vote(version, 12, "n2", 7).encode() in raw for version in range(4)), "the version before stays"
