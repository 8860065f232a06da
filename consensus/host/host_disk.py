"""What is asked of a host about the disk below its groups."""

from __future__ import annotations

from floodmark.errors import ReplicaNotAvailable

from consensus.host.disk_work import DiskWork, Verified
from consensus.host.host_types import Slot
from consensus.host.mender import Mender
from consensus.host.scheduler import Scheduler
from consensus.host.stall import StallWatch
from storage.errors import LogCorrupt, StorageError


class HostDisk:
    """A part of ``GroupHost``, which fills the attributes."""

    _slots: dict[int, Slot]
    _disk: DiskWork
    _stall: StallWatch
    _mender: Mender
    _scheduler: Scheduler

    @property
    def flushes(self) -> int:
        """Writes with fsync so far, of all groups."""
        return self._disk.flushes

    @property
    def stalled_s(self) -> float:
        """How long the oldest fsync under way has not come back."""
        return self._stall.seconds

    @property
    def stalls(self) -> int:
        """How many fsyncs took so long that leaders gave way."""
        return self._stall.stalls

    async def checkpoint(self, raft_group: int) -> None:
        """Store the group's state now."""
        await self._disk.checkpoint(self._slot(raft_group))

    async def truncate_head(self, raft_group: int, before_index: int) -> int:
        """Drop whole segments of applied entries below ``before_index``; the log's new base index."""
        return await self._disk.truncate_head(self._slot(raft_group), before_index)

    async def roll(self, raft_group: int, *, now_ms: int, roll_ms: int) -> bool:
        """Begin a new segment when the active one is older than that; whether there is a new one."""
        return await self._disk.roll(self._slot(raft_group), now_ms, roll_ms)

    def disk_failed(self, raft_group: int, error: StorageError) -> None:
        """Somebody else found that a group's log cannot be read: it is mended, or of no more use."""
        slot = self._slots.get(raft_group)
        if slot is None:
            return
        if isinstance(error, LogCorrupt) and not error.is_beyond_mending:
            self._mender.damaged(slot, error)
        else:
            slot.group.flush_failed(error)
            self._wake(slot)

    def doubt_leader(self, raft_group: int, leader: str) -> None:
        """A node that the group takes for its leader said that it is not: a group that sleeps on it looks."""
        slot = self._slots.get(raft_group)
        if slot is not None:
            slot.group.peer_silent(leader)
            self._wake(slot)

    async def verify(self, raft_group: int, first: int, *, max_bytes: int) -> Verified:
        """Read applied entries back from disk, from ``first`` on.

        Damage is mended, or fails the group; this waits for it. Raises ``Unavailable`` where there is no such
        group.
        """
        slot = self._slot(raft_group)
        verified = await self._disk.verify(slot, first, max_bytes)
        if verified.damage is not None:
            self._mender.damaged(slot, verified.damage)
            await self._mender.settled(slot)
        return verified

    async def verify_files(self, raft_group: int) -> None:
        """Have what lies beside a group's segments, its vote and checkpoint, be whole on the disk."""
        await self._disk.verify_files(self._slot(raft_group))

    def _slot(self, raft_group: int) -> Slot:
        slot = self._slots.get(raft_group)
        if slot is None:
            raise ReplicaNotAvailable("this node has no replica of it any more")
        return slot

    def _wake(self, slot: Slot) -> None:
        self._scheduler.wake(slot)
