"""Takes the terms of a stopped node's replicas back into their range, once they were driven out of it.

A term cannot simply be lowered to what the log says: a leader may have stood in a higher one, and have
written entries that only its own log has. So every replica gets the same term, far above what elections can
have reached and far below the end, and no vote in it. That is safe only while all nodes are stopped, and if
all get it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from storage.filesystem import FileSystem, write_all
from storage.verify import verify
from storage.vote import COPY_DISTANCE, FILE_BYTES, NAME, Vote, newest

REPAIRED_TERM: Final = 1 << 30


class NotRepairable(Exception):
    """The replica cannot be given a term that is above all of its own; the text says why."""


@dataclass(frozen=True, slots=True)
class RepairedVote:
    """One replica, and the term that it had before."""

    path: str
    term_before: int
    term: int


def repair_votes(fs: FileSystem, folder: str) -> Iterator[RepairedVote]:
    """Give every replica below ``folder`` the term ``REPAIRED_TERM``; all are read before one is changed.

    Raises ``NotRepairable`` and then has changed nothing, ``OSError``.
    """
    reports = list(verify(fs, folder))
    for report in reports:
        if report.is_too_new:
            strange = next(finding for finding in report.findings if finding.is_too_new)
            raise NotRepairable(f"{strange.path}: {strange.what}")
    replicas = [(report.path, report.last_term) for report in reports]
    found = [(path, _newest(fs, path, last_term)) for path, last_term in replicas]
    for path, vote in found:
        repaired = Vote(vote.version + 1, REPAIRED_TERM, None, vote.recover_until)
        file = fs.open(f"{path}/{NAME}")
        try:
            copy = repaired.encode().ljust(COPY_DISTANCE, b"\0")
            write_all(file, [copy, copy], 2 * COPY_DISTANCE * (repaired.version % 2))
            file.sync()
        finally:
            file.close()
        yield RepairedVote(path, vote.term, repaired.term)


def _newest(fs: FileSystem, path: str, last_term: int) -> Vote:
    if last_term > REPAIRED_TERM:
        raise NotRepairable(
            f"{path}: the log itself holds an entry of term {last_term}, above {REPAIRED_TERM}"
        )
    if not fs.exists(f"{path}/{NAME}"):
        raise NotRepairable(f"{path}: there is no vote file")
    file = fs.open(f"{path}/{NAME}")
    try:
        data = file.pread(FILE_BYTES, 0)
    finally:
        file.close()
    vote = newest(data)
    if vote is None:
        raise NotRepairable(f"{path}: no copy of the vote is valid")
    return vote
