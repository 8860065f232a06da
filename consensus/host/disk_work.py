"""Work on the logs, in threads: the event loop waits for no slow disk. One thread at a time per group.

While one fsync of a group runs, what arrives is buffered, and the next fsync covers all of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from consensus.host.disk_jobs import DiskJobs, settle
from consensus.host.disk_threads import DiskThreads, Done
from consensus.host.host_types import Slot
from consensus.host.sync_place import SyncPlace
from storage.errors import LogCorrupt, LogFailed, OutOfRange, StorageError
from storage.log import Log
from storage.log_mending import Wound

T = TypeVar("T")
INLINE_WRITE_BYTES = 128 << 10
BULK_THREADS = 2


class Flushed(NamedTuple):
    """What one write and fsync did."""

    durable_index: int
    seconds: float


class Verified(NamedTuple):
    """What one look at the disk found."""

    after: int
    """The index behind the last frame that was looked at; that of the first one where there was nothing."""
    size: int
    """Bytes read."""
    damage: LogCorrupt | None = None


class DiskWork:
    """The threads, and who of the groups uses one."""

    def __init__(
        self, threads: int, wake: Callable[[Slot], None], on_flush: Callable[[int, float], None]
    ) -> None:
        self.flushes = 0
        self._under_way: dict[Slot, float] = {}
        """Since when a thread is to write and fsync for a group, the oldest first."""
        self._place = SyncPlace()
        self._threads = DiskThreads(threads)
        self._bulk = DiskThreads(BULK_THREADS)
        self._wake = wake
        self.jobs = DiskJobs(self, self._bulk, wake)
        """What groups want to have done beside it."""
        self._on_flush = on_flush

    @property
    def oldest_flush(self) -> tuple[float, Slot | None]:
        """When the oldest one that has not come back was begun, and for whom. Votes count as well."""
        for slot, begun in self._under_way.items():
            return begun, slot
        return 0.0, None

    def flush(self, slot: Slot, *, alone: bool) -> bool:
        """Write and fsync what the log has buffered, unless a thread works on it already.

        Whether it is done, or failed, and the group is to be stepped for it; else a thread will wake it.

        A little is written right here, to the page cache: less work than another hand-over between threads.
        Where the disk is quick, and no other log waits for it (``alone``), so is the fsync.
        """
        if slot.io_running:
            return False
        log = slot.group.log
        flushed = None
        if log.fits_in_segment(INLINE_WRITE_BYTES):
            try:
                if alone and self._place.is_event_loop:
                    flushed = _flush(log)
                else:
                    log.write()
            except Exception as error:  # noqa: BLE001 - as in a thread: it ends this group, and no other
                return self._flushed(slot, None, error)
        if flushed is not None:
            return self._flushed(slot, flushed, None)
        self._under_way[slot] = time.monotonic()
        self.begin(slot, lambda: _flush(log), lambda result, error: self._flush_ended(slot, result, error))
        return False

    def save_vote(self, slot: Slot) -> None:
        """Save term and vote of a group that stands still for it; after what a thread does for it now."""
        if not slot.io_running:
            group = slot.group
            self._under_way[slot] = time.monotonic()
            self.begin(slot, group.save_vote, lambda _, error: self._vote_saved(slot, error))

    async def checkpoint(self, slot: Slot) -> None:
        """Store the group's state, and let the next start scan from there. Of a machine that keeps its state
        in files, a new file."""
        if slot.group.storage.is_large:
            self.jobs.begin_checkpoint(slot)
            while slot.group.storage.checkpoint_under_way and not slot.removed and slot.group.failed is None:
                await self.jobs.one_done(slot)
            return
        await self.idle(slot)
        if slot.removed or slot.group.failed is not None:
            return
        group, log = slot.group, slot.group.log
        if log.checkpoint_index >= group.applied_index:
            return
        state, index = group.storage.checkpoint_state(), group.applied_index
        slot.position_at_checkpoint = log.end_position

        def work() -> None:
            try:
                log.checkpoint(state, index=index)
            except OutOfRange:
                # The leader replaced the log meanwhile, and stored a newer state with it.
                return

        await self._guarded(slot, work)

    async def truncate_head(self, slot: Slot, before_index: int) -> int:
        """Drop old segments below ``before_index`` of what is applied; the new base index.

        Of a machine that keeps its state in files, below what the last one covers: none is written for it.
        """
        limit = min(before_index, slot.group.applied_index + 1)
        if not slot.group.storage.is_large:
            await self.checkpoint(slot)
        await self.idle(slot)
        log = slot.group.log
        if not slot.removed and slot.group.failed is None:
            await self._guarded(
                slot, lambda: log.truncate_head(before_index=min(limit, log.checkpoint_index + 1))
            )
        return log.base_index

    async def roll(self, slot: Slot, now_ms: int, roll_ms: int) -> bool:
        """Begin a new segment when the active one began longer ago than ``roll_ms``."""
        await self.idle(slot)
        log, rolled = slot.group.log, False

        def work() -> None:
            nonlocal rolled
            rolled = log.roll(now_ms=now_ms, roll_ms=roll_ms)

        if not slot.removed and slot.group.failed is None:
            await self._guarded(slot, work)
        return rolled

    async def verify(self, slot: Slot, first: int, max_bytes: int) -> Verified:
        """Read applied frames back from the disk, from ``first`` on. Nothing is cut or trimmed meanwhile."""
        await self.idle(slot)
        log, last = slot.group.log, slot.group.applied_index
        if slot.removed or slot.group.failed is not None:
            return Verified(first, 0)
        after, size, damage = first, 0, None

        def work() -> None:
            nonlocal after, size, damage
            start = max(first, log.base_index)
            try:
                log.forget_cached(start, max_bytes)
                for frame in log.stored(start, last):
                    after = frame.last_index + 1
                    size += frame.size
                    if size >= max_bytes:
                        return
            except LogCorrupt as error:
                # What is behind it is read all the same.
                damage, after = error, max(after, error.first_bad_index) + 1

        await self._guarded(slot, work)
        return Verified(after, size, damage)

    async def verify_files(self, slot: Slot) -> None:
        """Read vote and checkpoint back; a bad copy is written again from what is known."""
        await self.idle(slot)
        if slot.removed or slot.group.failed is not None:
            return

        def work() -> None:
            slot.group.storage.verify_vote()
            slot.group.log.verify_checkpoint()

        await self._guarded(slot, work)
        if slot.group.storage.is_large:
            await self._verify_state(slot)

    async def _verify_state(self, slot: Slot) -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._bulk.submit(slot.group.storage.verify_state, lambda found, error: settle(future, found, error))
        found = await future
        if found is not None and not slot.removed:
            slot.group.storage.distrust_state(*found)
            self._wake(slot)

    async def seal(self, slot: Slot, index: int) -> bool:
        """Have the segment that holds a frame be none that is written to; False where the group has ended."""
        await self.idle(slot)
        if slot.removed or slot.group.failed is not None:
            return False
        log = slot.group.log
        await self._guarded(slot, lambda: log.seal(index))
        return slot.group.failed is None

    async def take_mended(self, slot: Slot, wound: Wound, path: str) -> None:
        """Put a mended segment into its place."""
        await self.idle(slot)
        if not slot.removed and slot.group.failed is None:
            log = slot.group.log
            await self._guarded(slot, lambda: log.take_mended(wound, path))

    async def idle(self, slot: Slot) -> None:
        """Wait until no thread works on the group's log."""
        while slot.io_running:
            free = asyncio.get_running_loop().create_future()
            slot.on_io_done.append(lambda free=free: free.done() or free.set_result(None))  # type: ignore[misc]
            await free

    def begin(self, slot: Slot, work: Callable[[], object], done: Done) -> None:
        """Have a thread work on the group's log, on which none works now."""
        assert not slot.io_running, "one thread at a time per group"
        slot.io_running = True

        def ended(result: Any, error: BaseException | None) -> None:
            slot.io_running = False
            done(result, error)
            waiting, slot.on_io_done = slot.on_io_done, []
            for callback in waiting:
                callback()

        self._threads.submit(work, ended)

    async def run(self, work: Callable[[], T]) -> T:
        """Anything else that may block."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._threads.submit(work, lambda result, error: settle(future, result, error))
        return await future

    def stop(self) -> None:
        """Once all groups are idle."""
        self._threads.stop()
        self._bulk.stop()

    async def _guarded(self, slot: Slot, work: Callable[[], object]) -> None:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def done(result: object, error: BaseException | None) -> None:
            settle(future, result, error)
            self._wake(slot)

        self.begin(slot, work, done)
        try:
            # A caller that is cancelled does not end what a thread does.
            await future
        except StorageError as error:
            slot.group.flush_failed(error)
            self._wake(slot)

    def _flush_ended(self, slot: Slot, flushed: Flushed | None, error: BaseException | None) -> None:
        del self._under_way[slot]
        if self._flushed(slot, flushed, error):
            self._wake(slot)

    def _flushed(self, slot: Slot, flushed: Flushed | None, error: BaseException | None) -> bool:
        """Take in what a flush did; whether the group is to be stepped for it."""
        if flushed is not None:
            self.flushes += 1
            self._place.took(flushed.seconds)
            slot.dirty_since = time.monotonic()
            self._on_flush(slot.group.raft_group, flushed.seconds)
            slot.group.log.mark_synced()
            # What was buffered meanwhile is flushed after the next step.
            return slot.group.flushed(flushed.durable_index)
        assert error is not None, "a flush ends well or with an error"
        slot.group.flush_failed(_failure(error))
        return True

    def _vote_saved(self, slot: Slot, error: BaseException | None) -> None:
        del self._under_way[slot]
        if error is None:
            slot.group.vote_saved()
        else:
            slot.group.flush_failed(_failure(error))
        self._wake(slot)


def _failure(error: BaseException) -> StorageError:
    return error if isinstance(error, StorageError) else LogFailed(f"a defect while writing: {error!r}")


def _flush(log: Log) -> Flushed:
    started = time.monotonic()
    log.write()
    durable = log.sync(mark=False)
    return Flushed(durable, time.monotonic() - started)
