"""Tells the C library's allocator to keep the memory that a node uses again and again.

By default glibc returns memory freed at the end of its heap, and blocks above 128 KiB at first, to the
kernel, and takes new pages for the next read or body of some megabytes: each has to be found, cleared and
mapped again. A node that serves pages of 4 MiB spent a quarter of its processor time on that. What a burst
leaves behind is still returned when it is over (``spare_memory``).
"""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

_KEPT_BYTES: Final = 64 << 20
_OF_THEIR_OWN_BYTES: Final = 32 << 20
"""Blocks from this size on, which are rare, come from the kernel and go back to it; glibc's maximum."""
_ARENAS: Final = 2
"""Each arena keeps memory; by default every thread has one. Python's threads seldom allocate at once."""


def keep_pages() -> bool:
    """Returns whether that worked: only on glibc. Call it before other threads start."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    told = (
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES),
        library.mallopt(_M_MMAP_THRESHOLD, _OF_THEIR_OWN_BYTES),
        library.mallopt(_M_ARENA_MAX, _ARENAS),
    )
    return all(told)


def give_back() -> bool:
    """Return free memory to the kernel; returns whether there was any. Slow: not on the event loop."""
    library = ctypes.CDLL(None)
    return hasattr(library, "malloc_trim") and bool(library.malloc_trim(0))


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the kernel does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
