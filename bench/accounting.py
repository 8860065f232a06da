"""Resources used by the servers: processor time, and bytes written to the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over all servers, since they were started or, as a difference, over some time."""

    cpu_s: float
    written_bytes: int
    """``write_bytes`` of /proc/PID/io: pages that became dirty and have to reach the disk, whenever that is.
    A page that is written again after it was synced counts again, as it is written again."""

    def __sub__(self, other: Self) -> Usage:
        return Usage(self.cpu_s - other.cpu_s, self.written_bytes - other.written_bytes)

    def __mul__(self, part: float) -> Usage:
        return Usage(self.cpu_s * part, round(self.written_bytes * part))


def usage(pids: Iterable[int]) -> Usage:
    """The usage of these processes and their children."""
    cpu_s, written = 0.0, 0
    for pid in pids:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu_s += times.user + times.system
                written += process.io_counters().write_bytes
    return Usage(cpu_s, written)
