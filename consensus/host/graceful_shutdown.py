"""How a node leaves: others take over what it leads, and everything is on disk, before it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from consensus.host import waiting
from consensus.host.disk_work import DiskWork
from consensus.host.host_types import Slot
from consensus.types import Role


async def graceful_shutdown(
    slots: Iterable[Slot], disk: DiskWork, wake: Callable[[Slot], None], timeout_s: float
) -> None:
    """Hand over all leaderships at once, then flush and checkpoint each group."""
    live = [slot for slot in slots if slot.group.failed is None]
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.gather(*(_hand_over(slot, wake) for slot in live))
    except TimeoutError:
        # Somebody will be elected once this node is gone; it only takes longer.
        pass
    await asyncio.gather(*(_save(slot, disk) for slot in live))


async def _save(slot: Slot, disk: DiskWork) -> None:
    await disk.idle(slot)
    if slot.group.needs_flush:
        disk.flush(slot, alone=False)
        await disk.idle(slot)
    if not slot.group.storage.is_large:
        # A large state would keep the node from stopping; the next start goes on from the last file.
        await disk.checkpoint(slot)


async def _hand_over(slot: Slot, wake: Callable[[Slot], None]) -> None:
    group = slot.group

    def gone() -> bool | None:
        return True if group.role is not Role.LEADER or group.failed is not None else None

    # An attempt gives up after the longest election timeout; then the next one may go to another node.
    while gone() is None and group.transfer():
        wake(slot)
        await waiting.condition(slot.leader_waiters, gone, timeout_s=1.0)
