"""What is asked of a host about the disk below its groups."""

from __future__ import annotations

from floodmark.errors import Unavailable

from consensus.disk_work import DiskWork
from consensus.host_types import Slot
from consensus.scheduler import Scheduler
from storage.errors import StorageError


class HostDisk:
    """A part of ``GroupHost``, which fills the attributes."""

    _slots: dict[int, Slot]
    _disk: DiskWork
    _scheduler: Scheduler

    @property
    def flushes(self) -> int:
        """Writes with fsync so far, of all groups."""
        return self._disk.flushes

    async def checkpoint(self, group_id: int) -> None:
        """Store the group's state now."""
        await self._disk.checkpoint(self._slot(group_id))

    async def trim(self, group_id: int, before_index: int) -> int:
        """Drop whole segments of applied entries below ``before_index``; the log's new base index."""
        return await self._disk.trim(self._slot(group_id), before_index)

    def disk_failed(self, group_id: int, error: StorageError) -> None:
        """Somebody else found that a group's log can not be read: the group is of no more use."""
        slot = self._slots.get(group_id)
        if slot is not None:
            slot.group.flush_failed(error)
            self._wake(slot)

    def doubt_leader(self, group_id: int, leader: str) -> None:
        """A node that the group takes for its leader said that it is not: a group that sleeps on it looks."""
        slot = self._slots.get(group_id)
        if slot is not None:
            slot.group.peer_silent(leader)
            self._wake(slot)

    async def verify(self, group_id: int, first: int, *, max_bytes: int) -> int:
        """Read applied entries back from disk, from ``first`` on; the index behind the last one read.

        Damage fails the group. Raises ``Unavailable`` where there is no such group.
        """
        return await self._disk.verify(self._slot(group_id), first, max_bytes)

    def _slot(self, group_id: int) -> Slot:
        slot = self._slots.get(group_id)
        if slot is None:
            raise Unavailable(f"this node has no replica of group {group_id}")
        return slot

    def _wake(self, slot: Slot) -> None:
        self._scheduler.wake(slot)
