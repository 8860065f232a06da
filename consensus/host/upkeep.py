"""Checkpoints in the background, after much was written or once a group rests: restarts scan little.

A checkpoint (two files are made, one of them is synced, and so is their folder) costs three times what
storing an entry does: a group that rests after each entry gets one for some of them, and a start reads the
few behind it.
"""

from __future__ import annotations

import asyncio
import time

from consensus.host.disk_work import DiskWork
from consensus.host.host_types import HostOptions, Slot


class Upkeep:
    """Looks at the groups that wrote since their last checkpoint; sleeps while there are none."""

    def __init__(self, disk: DiskWork, options: HostOptions) -> None:
        self._disk = disk
        self._options = options
        self._dirty: dict[Slot, None] = {}
        self._someone = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="checkpoints")

    def wrote(self, slot: Slot) -> None:
        """The group applied something that its checkpoint does not cover."""
        self._dirty[slot] = None
        self._someone.set()

    def stop(self) -> None:
        """No more checkpoints begin here."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self._someone.wait()
            await asyncio.sleep(self._options.checkpoint_idle_s / 4)
            for slot in [slot for slot in self._dirty if self._is_due(slot)][
                : self._options.checkpoints_per_round
            ]:
                del self._dirty[slot]
                if slot.group.storage.is_large:
                    self._disk.jobs.begin_checkpoint(slot)
                else:
                    await self._disk.checkpoint(slot)
            for slot in [slot for slot in self._dirty if self._rests(slot) and not self._is_due(slot)]:
                # Not worth a checkpoint: the log leads from the last one to here.
                del self._dirty[slot]
            if not self._dirty:
                self._someone.clear()

    def _is_due(self, slot: Slot) -> bool:
        group, options = slot.group, self._options
        if group.storage.is_large:
            return group.storage.checkpoint_is_due(
                rests=self._rests(slot), bytes_max=options.checkpoint_bytes
            )
        written = group.log.end_position - slot.position_at_checkpoint
        if not self._rests(slot):
            return written >= options.checkpoint_bytes
        entries = group.applied_index - group.log.checkpoint_index
        return entries >= options.checkpoint_idle_entries or written >= options.checkpoint_idle_bytes

    def _rests(self, slot: Slot) -> bool:
        return time.monotonic() - slot.dirty_since >= self._options.checkpoint_idle_s
