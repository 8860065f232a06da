"""What is asked of a host about the disk below its groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from consensus.host.disk_work import DiskWork, Verified
from consensus.host.host_types import Slot, slot_of
from consensus.host.mender import Mender
from consensus.host.stall import StallWatch
from storage.errors import LogCorrupt, StorageError


class HostDisk:
    """Of one host. What names a group raises ``Unavailable`` where this node has no replica of it."""

    def __init__(
        self,
        slots: Mapping[int, Slot],
        work: DiskWork,
        stall: StallWatch,
        mender: Mender,
        wake: Callable[[Slot], None],
    ) -> None:
        self._slots = slots
        self._work = work
        self._stall = stall
        self._mender = mender
        self._wake = wake

    @property
    def flushes(self) -> int:
        """Writes with fsync so far, of all groups."""
        return self._work.flushes

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
        await self._work.checkpoint(slot_of(self._slots, raft_group))

    async def truncate_head(self, raft_group: int, before_index: int) -> int:
        """Drop whole segments of applied entries below ``before_index``; the log's new base index."""
        return await self._work.truncate_head(slot_of(self._slots, raft_group), before_index)

    async def roll(self, raft_group: int, *, now_ms: int, roll_ms: int) -> bool:
        """Begin a new segment when the active one is older than that; whether there is a new one."""
        return await self._work.roll(slot_of(self._slots, raft_group), now_ms, roll_ms)

    def failed(self, raft_group: int, error: StorageError) -> None:
        """Somebody else found that a group's log cannot be read: it is mended, or of no more use.

        Where there is no replica of it, nothing is done.
        """
        slot = self._slots.get(raft_group)
        if slot is None:
            return
        if isinstance(error, LogCorrupt) and not error.is_beyond_mending:
            self._mender.damaged(slot, error)
        else:
            slot.group.flush_failed(error)
            self._wake(slot)

    async def verify(self, raft_group: int, first: int, *, max_bytes: int) -> Verified:
        """Read applied entries back from disk, from ``first`` on.

        Damage is mended, or fails the group; this waits for it.
        """
        slot = slot_of(self._slots, raft_group)
        verified = await self._work.verify(slot, first, max_bytes)
        if verified.damage is not None:
            self._mender.damaged(slot, verified.damage)
            await self._mender.settled(slot)
        return verified

    async def verify_files(self, raft_group: int) -> None:
        """Have what lies beside a group's segments, its vote and checkpoint, be whole on the disk."""
        await self._work.verify_files(slot_of(self._slots, raft_group))
