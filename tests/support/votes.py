"""Vote files as builds left them that did not yet refuse what they were told."""

from __future__ import annotations

from storage.filesystem import FileSystem, write_all
from storage.vote import COPY_BYTES, COPY_DISTANCE, NAME, Vote, VoteFile


def write_vote(fs: FileSystem, folder: str, term: int, voted_for: str | None, recover_until: int = 0) -> None:
    """The vote of the replica in ``folder``, of whatever term; durable on return."""
    VoteFile(fs, folder).close()
    file = fs.open(f"{folder}/{NAME}")
    copy = Vote(2, term, voted_for, recover_until).encode()
    write_all(file, [copy, bytes(COPY_DISTANCE - COPY_BYTES), copy], 0)
    file.sync()
    file.close()
