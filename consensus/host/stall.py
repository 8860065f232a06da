"""A disk that does not come back from an fsync: who leads on it gives way to nodes whose disks answer.

Such a leader is alive to all others, so no election would begin: its heartbeats go on, followers store what
it sends and acknowledge, and only its own disk keeps the watermark where it is. To hand over needs nothing of
that disk: the successor has everything, and the votes of the others are a majority without this node's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import structlog

from consensus.host.disk_work import DiskWork
from consensus.host.host_types import Slot
from consensus.types import Role

TICKS = 8
"""Looks in the time after which an fsync counts as stalled."""

_log = structlog.get_logger("consensus.host.group_host")


class StallWatch:
    """One per host. ``wake`` has a group stepped."""

    def __init__(
        self, disk: DiskWork, slots: Mapping[int, Slot], wake: Callable[[Slot], None], stall_s: float
    ) -> None:
        self.seconds = 0.0
        """How long the oldest fsync that is under way has not come back."""
        self.stalls = 0
        """Fsyncs that stalled so far."""
        self._disk = disk
        self._slots = slots
        self._wake = wake
        self._stall_s = stall_s
        self._oldest: Slot | None = None
        self._begun = 0.0
        self._is_stalled = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """No more looks."""
        self._task.cancel()

    async def _run(self) -> None:
        tick = self._stall_s / TICKS
        while True:
            before = time.monotonic()
            await asyncio.sleep(tick)
            self._look(min(time.monotonic() - before, 2 * tick))

    def _look(self, passed: float) -> None:
        """``passed``: what counts of the time since the last look.

        While this process stood still it could not hear of an fsync that had ended.
        """
        begun, slot = self._disk.oldest_flush
        if slot is None or slot is not self._oldest or begun != self._begun:
            self._end()
            self._oldest, self._begun, self.seconds = slot, begun, 0.0
            return
        self.seconds += passed
        if self.seconds >= self._stall_s:
            if not self._is_stalled:
                self._is_stalled = True
                self.stalls += 1
                _log.error("disk_stalled", group=slot.group.raft_group, seconds=round(self.seconds, 1))
            self._give_way(self._slots.values())

    def _end(self) -> None:
        if self._is_stalled:
            self._is_stalled = False
            _log.warning("disk_stall_ended", seconds=round(self.seconds, 1))

    def _give_way(self, slots: Iterable[Slot]) -> None:
        """Hand over all that others can lead without this disk; tried again at every look."""
        for slot in slots:
            group = slot.group
            if group.role is Role.LEADER and group.followers.are_enough and group.transfer():
                self._wake(slot)
