"""Mends logs while their groups run: what cannot be read is fetched from a peer and put where it stood.

The replica keeps its vote meanwhile, for all of its log's bounds and terms are known; what is damaged is
served to nobody. Only what is beyond mending ends the replica: the next opening sets the damage aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from floodmark.format.frame import Frame

from consensus.host.disk_work import DiskWork
from consensus.host.host_types import HostHooks, Slot
from consensus.types import GroupStopped
from storage.errors import LogCorrupt, LogFailed, LogTooNew, OutOfRange, StorageError
from storage.holes import Misfit
from storage.log import Log
from storage.log_mending import Wound
from storage.mending import by_index

MEND_BYTES_MAX: Final = 64 << 20
"""Bad bytes in one segment that are fetched again: they are in memory meanwhile. More is set aside."""
RETRY_S: Final = 1.0
"""After a disk that did not take the mended segment, as one that is full."""

_log = structlog.get_logger("consensus.host.mender")


class Mender:
    """At most one segment of each group at a time."""

    def __init__(self, disk: DiskWork, wake: Callable[[Slot], None], hooks: HostHooks) -> None:
        self._disk = disk
        self._wake = wake
        self._hooks = hooks
        self._tasks: dict[Slot, asyncio.Task[None]] = {}

    def damaged(self, slot: Slot, error: LogCorrupt) -> None:
        """Somebody met a bad frame in a group's log."""
        if slot in self._tasks or slot.removed or slot.group.failed is not None:
            return
        group = slot.group
        _log.error(
            "log_corrupt",
            group=group.raft_group,
            reason=str(error),
            first_bad_index=error.first_bad_index,
            hint="it is fetched from another replica; the old segment is kept in quarantine/",
        )
        self._hooks.on_damage(group.raft_group)
        task = self._tasks[slot] = asyncio.ensure_future(self._run(slot, error))
        task.add_done_callback(lambda _: self._tasks.pop(slot, None))

    async def settled(self, slot: Slot) -> None:
        """Until nothing of the group's is being mended."""
        task = self._tasks.get(slot)
        if task is not None:
            await asyncio.wait([task])

    def stop(self) -> None:
        """Give up what is under way."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, slot: Slot, error: LogCorrupt) -> None:
        group = slot.group
        try:
            while not slot.removed and group.failed is None:
                try:
                    count = await self._mend(slot, error.first_bad_index)
                except OSError as failure:
                    _log.error("not_mended", group=group.raft_group, reason=str(failure))
                    await asyncio.sleep(RETRY_S)
                else:
                    if count:
                        _log.info("log_mended", group=group.raft_group, frames=count)
                        self._hooks.on_mended(group.raft_group, count)
                    return
        except LogCorrupt as beyond:
            beyond.is_beyond_mending = True
            group.flush_failed(beyond)
            self._wake(slot)
        except (GroupStopped, OutOfRange):
            return  # Retention, or the leader's log, has replaced it meanwhile.
        except LogTooNew as strange:
            group.flush_failed(strange)
            self._wake(slot)
        except StorageError:
            return  # The disk failed: the group has been told.
        except Exception as defect:
            group.flush_failed(LogFailed(f"a defect while mending: {defect!r}"))
            self._wake(slot)
            raise

    async def _mend(self, slot: Slot, index: int) -> int:
        """Mend the segment that holds a frame; how many were. Raises ``LogCorrupt`` beyond mending."""
        group, log = slot.group, slot.group.log
        if index > group.applied_index:
            if await asyncio.to_thread(_is_readable, log, index):
                return 0
            raise self._beyond(slot, index, "it is not known to be committed")
        if not await self._disk.seal(slot, index):
            return 0
        wound = await asyncio.to_thread(log.wound, index)
        holes = wound.holes
        if not holes:
            return 0
        if sum(hole.end - hole.position for hole in holes) > MEND_BYTES_MAX:
            raise self._beyond(slot, index, f"more than {MEND_BYTES_MAX} bytes of its segment are bad")
        if holes[-1].last > group.applied_index:
            raise self._beyond(slot, index, "another one behind it is not known to be committed")
        frames: dict[int, Frame] = {}
        for hole in holes:
            await self._fetch(slot, hole.first, hole.last, frames)
        path = await self._prepare(slot, wound, frames)
        await self._disk.take_mended(slot, wound, path)
        return sum(hole.last + 1 - hole.first for hole in holes)

    async def _fetch(self, slot: Slot, first: int, last: int, frames: dict[int, Frame]) -> None:
        while first <= last:
            future: asyncio.Future[list[Frame] | None] = asyncio.get_running_loop().create_future()
            fetch = slot.group.fetch(first, last)
            fetch.add_done_callback(lambda found, future=future: future.done() or future.set_result(found))  # type: ignore[misc]
            self._wake(slot)
            found = await future
            if found is None:
                if slot.removed or slot.group.failed is not None:
                    raise GroupStopped("this replica does not run any more")
                raise self._beyond(slot, first, "no other replica has it")
            frames |= by_index(found, first)
            first = found[-1].last_index + 1

    async def _prepare(self, slot: Slot, wound: Wound, frames: dict[int, Frame]) -> str:
        try:
            return await asyncio.to_thread(slot.group.log.prepare_mended, wound, frames)
        except Misfit as wrong:
            raise self._beyond(slot, wound.holes[0].first, str(wrong)) from wrong

    def _beyond(self, slot: Slot, index: int, why: str) -> LogCorrupt:
        log = slot.group.log
        return LogCorrupt(
            f"frame {index} is damaged and cannot be mended: {why}",
            path=log.path,
            position=0,
            first_bad_index=index,
            last_known_index=log.durable_index,
        )


def _is_readable(log: Log, index: int) -> bool:
    try:
        return any(True for _ in log.stored(index, index))
    except LogCorrupt:
        return False
