"""Faults of disks that are in use: full, failing, slow; and the loss of power."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar, Literal

from chaos.faults.fault import Fault, Scene
from storage.faulty.conditions import DiskFault


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDiskFault(Fault):
    """Base of the faults of a running node's disk."""

    refuses_starts: ClassVar[bool] = False
    """Whether a node ends at once that is started meanwhile, as it cannot store that it was. Then one that
    ends is started again once its disk is well, as somebody would who has read its log."""

    @abstractmethod
    def disk_fault(self) -> DiskFault:
        """What its disk does."""

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Every later call is affected."""
        if self.refuses_starts:
            undo.push_async_callback(scene.cluster.let_up, scene.tag, *scene.nodes)
            await scene.cluster.hold_once_down(scene.tag, *scene.nodes)
        for name in scene.nodes:
            undo.callback(scene.cluster.machines.mend, scene.tag, name)
            scene.cluster.machines.harm(scene.tag, name, self.disk_fault())


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFull(LiveDiskFault):
    """No space is left: files cannot grow, overwriting works."""

    kind: ClassVar[str] = "disk full"
    refuses_starts: ClassVar[bool] = True

    def disk_fault(self) -> DiskFault:
        return DiskFault("full")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskError(LiveDiskFault):
    """Every call of one kind fails with an I/O error: write, sync or read.

    A failed sync leaves its bytes readable and never makes them durable, as on Linux.
    """

    kind: ClassVar[str] = "disk error"
    refuses_starts: ClassVar[bool] = True
    operation: Literal["write", "sync", "read"] = "sync"

    def disk_fault(self) -> DiskFault:
        return DiskFault("error", self.operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowSync(LiveDiskFault):
    """Every sync takes longer."""

    kind: ClassVar[str] = "slow sync"
    delay_ms: int = 100

    def disk_fault(self) -> DiskFault:
        return DiskFault("slow", "sync", delay_ms=self.delay_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortWrites(LiveDiskFault):
    """Every write takes only a third of its bytes."""

    kind: ClassVar[str] = "short writes"

    def disk_fault(self) -> DiskFault:
        return DiskFault("short")


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLoss(Fault):
    """All target nodes end at the same moment, and what they had not synced is gone.

    They are started again when it heals. ``written_back`` keeps a random part of it: pages and names
    that the kernel had written back early, in any order, so that torn ends and holes appear.
    """

    kind: ClassVar[str] = "power loss"
    written_back: bool = True

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Kill, then remove what was not synced; the nodes stay down in between."""
        cluster = scene.cluster
        undo.push_async_callback(cluster.let_up, scene.tag, *scene.nodes)
        await cluster.hold_down(scene.tag, *scene.nodes)
        for name in scene.nodes:
            rng = scene.random if self.written_back else None
            await asyncio.to_thread(cluster.machines.lose_power, name, rng)
