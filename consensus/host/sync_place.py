"""Where a small fsync runs: on the event loop while the disk is quick, in a thread while it is not.

To hand an fsync to a thread and back costs as much processor as a quick disk takes for it, on a machine that
has no processor to spare. A slow disk must not hold up the event loop: one fsync that takes too long, and the
threads have them all until a run of quick ones.
"""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.002
"""An fsync within this may as well run on the event loop. Where processes wait for a processor, half do."""
QUICK_RUN: Final = 8
"""After so many quick ones, one after the other, the next is tried on the event loop."""


class SyncPlace:
    """One for all logs of a process, which share a disk."""

    def __init__(self) -> None:
        self._quick = 0

    @property
    def is_event_loop(self) -> bool:
        """Whether the next one may run on the event loop."""
        return self._quick >= QUICK_RUN

    def took(self, seconds: float) -> None:
        """A write and fsync, wherever it ran, took this long."""
        self._quick = self._quick + 1 if seconds <= QUICK_S else 0
