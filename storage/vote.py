"""The vote file: term and vote of one replica, durable before any reply that depends on them.

Version v of the vote is written twice, 4096 bytes apart, at byte 8192 * (v % 2), with one fsync: a torn
write leaves the version before, and one damaged sector leaves the other copy. Each copy is 512 bytes;
all integers are little-endian.

     0  magic           4  "FMV1"; its last character is the format's version
     4  crc32c          4  of bytes 8 to 512
     8  version         8  counts the saves
    16  term            8
    24  recover_until   8  see ``VoteFile.save``
    32  length          2  of the node id, 0xffff for no vote
    34  voted_for     478  UTF-8, filled up with zeros
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c
import msgspec

from storage import magic
from storage.atomic_file import replace_file
from storage.errors import LogClosed, LogCorrupt, LogFailed, LogTooNew, StorageError
from storage.failures import failure_of
from storage.filesystem import FileSystem, write_all

NAME: Final = "vote"
MAGIC: Final = b"FMV1"
COPY_BYTES: Final = 512
COPY_DISTANCE: Final = 4096
FILE_BYTES: Final = 4 * COPY_DISTANCE
NODE_ID_BYTES_MAX: Final = 478
TERM_MAX: Final = (1 << 31) - 1
"""Elections come at most some a second: no cluster gets here in sixty years. A term at the end of its range
would leave no next one to elect anybody in."""

_NO_VOTE: Final = 0xFFFF
_PADDING: Final = bytes(COPY_DISTANCE - COPY_BYTES)
_COPY = struct.Struct("<4sIQQQH478s")
_AFTER_CRC = struct.Struct("<QQQH478s")
_PREFIX = struct.Struct("<4sI")


class Vote(msgspec.Struct, frozen=True):
    """One version, as in the diagram above."""

    version: int
    term: int
    voted_for: str | None
    recover_until: int

    def encode(self) -> bytes:
        """One copy. Raises ``ValueError`` for a node id that does not fit."""
        name = b"" if self.voted_for is None else self.voted_for.encode()
        if len(name) > NODE_ID_BYTES_MAX:
            raise ValueError(f"a node id of {len(name)} bytes; at most {NODE_ID_BYTES_MAX} fit")
        length = _NO_VOTE if self.voted_for is None else len(name)
        rest = _AFTER_CRC.pack(self.version, self.term, self.recover_until, length, name)
        return _PREFIX.pack(MAGIC, google_crc32c.value(rest)) + rest


def decode(data: bytes) -> Vote | None:
    """One copy, or None when it is damaged or was never written."""
    if len(data) < COPY_BYTES:
        return None
    found, crc, version, term, recover_until, length, name = _COPY.unpack_from(data)
    if found != MAGIC or google_crc32c.value(data[8:COPY_BYTES]) != crc:
        return None
    try:
        return Vote(version, term, None if length == _NO_VOTE else name[:length].decode(), recover_until)
    except UnicodeDecodeError:
        return None  # Nothing that a node writes, whatever its checksum.


def unlike(data: bytes) -> str | None:
    """What of a whole file this build does not know, and what it knows; None when it knows all."""
    copies = (data[at : at + COPY_BYTES] for at in range(0, FILE_BYTES, COPY_DISTANCE))
    return next(filter(None, (magic.unlike(MAGIC, copy) for copy in copies)), None)


def newest(data: bytes) -> Vote | None:
    """The latest version in a whole file, or None when no copy is valid."""
    copies = [decode(data[at : at + COPY_BYTES]) for at in range(0, FILE_BYTES, COPY_DISTANCE)]
    return max((copy for copy in copies if copy is not None), key=lambda copy: copy.version, default=None)


class VoteFile:
    """Term and vote of the replica in one folder.

    A missing file is a fresh replica: term 0, no vote. The file appears atomically, so one without any
    valid copy was damaged: ``LogCorrupt``, for a replica that read it as empty could vote twice in a term.
    One with a copy of a newer version is ``LogTooNew``.
    """

    def __init__(self, fs: FileSystem, folder: str) -> None:
        self.failed: StorageError | None = None
        self._path = f"{folder}/{NAME}"
        try:
            if not fs.exists(self._path):
                fs.mkdir(folder)
                first = Vote(0, 0, None, 0).encode()
                replace_file(fs, folder, NAME, first.ljust(FILE_BYTES, b"\0"), durable=True)
            self._file = fs.open(self._path)
            data = self._file.pread(FILE_BYTES, 0)
        except OSError as error:
            raise failure_of(error, f"opening {self._path}") from error
        strange = unlike(data)
        if strange is not None:
            self._file.close()
            raise LogTooNew(self._path, strange)
        found = newest(data)
        if found is None:
            self._file.close()
            raise LogCorrupt(
                "no copy of the vote is valid",
                path=self._path,
                position=0,
                first_bad_index=0,
                last_known_index=0,
            )
        self._vote = found
        if self._vote.term > TERM_MAX:
            self._file.close()
            raise LogFailed(
                f"{self._path} says term {self._vote.term}, above {TERM_MAX}: no elections lead there. "
                "See 'floodmark repair-votes --help'"
            )
        try:
            # If an earlier process saw its fsync fail, what was read may never reach the disk by itself.
            self._write(self._vote)
            fs.sync_folder(folder)
        except OSError as error:
            self._file.close()
            raise failure_of(error, f"opening {self._path}") from error

    @property
    def term(self) -> int:
        """The greatest term that was saved."""
        return self._vote.term

    @property
    def voted_for(self) -> str | None:
        """Whom this replica voted for in that term."""
        return self._vote.voted_for

    @property
    def recover_until(self) -> int:
        """The index that the log must reach before this replica may vote again; 0 for no such condition."""
        return self._vote.recover_until

    def save(self, term: int, voted_for: str | None, recover_until: int = 0) -> None:
        """Durable on return; nothing is written when nothing changes.

        Raises ``LogFailed`` or ``DiskFull``; what is on disk is then unknown, and all further saves are
        refused with ``LogClosed``. A term above ``TERM_MAX`` is refused before anything is written.
        """
        if self.failed is not None:
            raise LogClosed(f"{self._path} cannot be used any more: {self.failed}")
        if term > TERM_MAX:
            self.failed = LogFailed(
                f"{self._path}: term {term} is above {TERM_MAX}, the last one that there is. "
                "See 'floodmark repair-votes --help'"
            )
            raise self.failed
        if (term, voted_for, recover_until) == (self.term, self.voted_for, self.recover_until):
            return
        vote = Vote(self._vote.version + 1, term, voted_for, recover_until)
        try:
            self._write(vote)
        except OSError as error:
            self.failed = failure_of(error, f"saving {self._path}")
            raise self.failed from error
        self._vote = vote

    def verify(self) -> bool:
        """Whether both copies of the newest version are on the disk; else writes it again, as a newer one.

        Raises as ``save`` does.
        """
        if self.failed is not None:
            raise LogClosed(f"{self._path} cannot be used any more: {self.failed}")
        start = 2 * COPY_DISTANCE * (self._vote.version % 2)
        try:
            self._file.forget_cached(0, FILE_BYTES)
            copies = [decode(self._file.pread(COPY_BYTES, start + at)) for at in (0, COPY_DISTANCE)]
            if copies == [self._vote, self._vote]:
                return True
            # Over the older version first: at no moment is there less than what there was.
            vote = msgspec.structs.replace(self._vote, version=self._vote.version + 1)
            self._write(vote)
        except OSError as error:
            self.failed = failure_of(error, f"verifying {self._path}")
            raise self.failed from error
        self._vote = vote
        return False

    def _write(self, vote: Vote) -> None:
        copy = vote.encode()
        write_all(self._file, [copy, _PADDING, copy], 2 * COPY_DISTANCE * (vote.version % 2))
        self._file.sync()

    def close(self) -> None:
        """Let go of the file."""
        self.failed = self.failed or LogClosed(f"{self._path} is closed")
        self._file.close()
