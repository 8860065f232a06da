"""The one place where errors of the operating system become errors of this room."""

from __future__ import annotations

import errno

from storage.errors import DiskFull, LogFailed

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def failure_of(error: OSError, doing: str) -> LogFailed:
    """The typed error for a failed call; ``doing`` says what was being done, for the operator."""
    kind = DiskFull if error.errno in _FULL else LogFailed
    return kind(f"{doing}: {error.strerror or error}")
