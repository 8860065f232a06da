"""A leader that is deposed but does not know it when clients ask."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar

from chaos.faults.background import in_background
from chaos.faults.fault import Fault, Scene
from chaos.faults.network import cut_off


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseInCut(Fault):
    """SIGSTOP and a cut between nodes; SIGCONT ``pause_s`` later, and the cut stays until it heals.

    The old leader goes on believing that it leads, and clients reach it; nothing in its sockets tells it
    otherwise. The pause is long enough for the others to elect a leader.
    """

    kind: ClassVar[str] = "pause in a cut"
    pause_s: float = 2.5

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Pause first: a running leader that is cut off would step down before the others elect one."""
        undo.push_async_callback(scene.cluster.let_go, scene.tag, *scene.nodes)
        await scene.cluster.hold_still(scene.tag, *scene.nodes)
        await cut_off(scene, undo)
        in_background(undo, lambda stop: self._go_on(scene, stop))

    async def _go_on(self, scene: Scene, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.pause_s):
                await stop.wait()
        await scene.cluster.let_go(scene.tag, *scene.nodes)
