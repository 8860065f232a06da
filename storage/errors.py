"""What a log can fail with. The layers above act on the class, never on the text.

StorageError
├── LogCorrupt     bytes that were durable are wrong: never cut, the replica repairs itself from its peers
├── LogTooNew      whole, and made by a newer Floodmark: no byte is changed, and nothing is repaired or mended
├── LogFailed      a write or fsync failed: the log is closed for good until the process opens it again
│   └── DiskFull   ... because there is no space left
├── LogClosed      used after close, or after it failed
└── OutOfRange     an index or offset outside of what the log holds
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all storage errors."""


class LogCorrupt(StorageError):
    """A frame that was durable cannot be read back.

    ``path`` and ``position`` say where (bytes from the file's start); ``first_bad_index`` is the Raft
    index of the first frame that is lost; ``last_known_index`` the highest index that the log is known
    to have held, so that a repaired replica knows how far it must get before it may vote again.
    """

    def __init__(
        self, detail: str, *, path: str, position: int, first_bad_index: int, last_known_index: int
    ) -> None:
        super().__init__(f"{path} at byte {position}: {detail}")
        self.path = path
        self.position = position
        self.first_bad_index = first_bad_index
        self.last_known_index = last_known_index
        self.is_beyond_mending = False
        """Set once it is known that no frame of another replica can be put in its place."""


class LogTooNew(StorageError):
    """A file holds what this build does not know, with right checksums. Only a newer build can open it.

    ``what`` names the thing with its path; ``unlike`` says what was met and what this build knows.
    """

    def __init__(self, what: str, unlike: str) -> None:
        super().__init__(f"{what} {unlike}: start a newer Floodmark")


class LogFailed(StorageError):
    """A write or an fsync failed. What was not acknowledged may or may not be on disk."""


class DiskFull(LogFailed):
    """No space left on the device, or a quota is used up."""


class LogClosed(StorageError):
    """The log was closed, or failed before."""


class OutOfRange(StorageError):
    """An index or offset that the log does not hold (any more, or yet)."""
