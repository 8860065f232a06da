"""Which coming calls of a filesystem in memory fail, and how much its writes get through."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass
from random import Random

OPERATIONS = frozenset(
    {"any", "open", "read", "write", "truncate", "sync", "rename", "unlink", "mkdir", "sync_folder", "space"}
)


@dataclass(slots=True)
class _Fault:
    operation: str
    path: str
    error: int
    after: int
    times: int


def os_error(number: int, path: str) -> OSError:
    """What the operating system would raise."""
    return OSError(number, os.strerror(number), path)


class MemoryFaults:
    """Faults to come, limits of writes, and a count of ``calls`` per operation."""

    def __init__(self) -> None:
        self.space_left_bytes: int | None = None
        """Growth that is left before writes fail with ENOSPC; None for no limit."""
        self.short_writes: Random | None = None
        """When set, each write takes only a random part of its bytes, at least one."""
        self.calls: Counter[str] = Counter()
        self._faults: list[_Fault] = []

    def fail(
        self, operation: str, *, path: str = "", error: int = errno.EIO, after: int = 0, times: int = 1
    ) -> None:
        """Let ``times`` calls of an operation raise, once ``after`` calls went through.

        ``operation`` is one of ``OPERATIONS``, "any" stands for all others; only paths that contain
        ``path`` count.
        """
        assert operation in OPERATIONS, operation
        self._faults.append(_Fault(operation, path, error, after, times))

    def heal(self) -> None:
        """No more faults of ``fail``, no limit of space, no short writes."""
        self._faults.clear()
        self.space_left_bytes = None
        self.short_writes = None

    def enter(self, operation: str, path: str) -> None:
        """Count a call, and raise when a fault is due."""
        self.calls[operation] += 1
        for fault in self._faults:
            if fault.operation not in (operation, "any") or fault.path not in path:
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
            raise os_error(fault.error, path)

    def admit(self, total: int, position: int, size: int, path: str) -> int:
        """How many of ``total`` bytes a write gets through; raises ENOSPC for none."""
        limit = total
        if self.short_writes is not None and total > 1:
            limit = self.short_writes.randint(1, total)
        if self.space_left_bytes is not None:
            room = max(0, size - position) + self.space_left_bytes
            limit = min(limit, room)
            if limit <= 0 < total:
                raise os_error(errno.ENOSPC, path)
            self.space_left_bytes -= max(0, position + limit - size)
        return limit
