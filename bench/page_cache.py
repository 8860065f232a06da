"""The operating system's page cache, which would make the disk look fast in a benchmark."""

from __future__ import annotations

import os
from pathlib import Path


def forget(file: Path) -> None:
    """Have the operating system drop the file from its cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
