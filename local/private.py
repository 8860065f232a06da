"""Files and folders that only their owner may read: logs and settings tell about data and secrets."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def make_private(folder: Path) -> None:
    """Make a folder with mode 700, or remove other users' permissions from an existing one, if it is ours."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        folder.chmod(0o700)


def private(path: str | os.PathLike[str], flags: int) -> int:
    """An opener for ``open``: a new file gets mode 600, and so does an existing one, if it is ours."""
    descriptor = os.open(path, flags, 0o600)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o600)
    return descriptor
