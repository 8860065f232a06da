"""Process faults: real signals to real nodes."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar

from chaos.faults.background import in_background
from chaos.faults.fault import Fault, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill(Fault):
    """kill -9 all target nodes at the same moment. They are started again when it heals."""

    kind: ClassVar[str] = "kill"

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Kill, and keep down."""
        undo.push_async_callback(scene.cluster.let_up, scene.tag, *scene.nodes)
        await scene.cluster.hold_down(scene.tag, *scene.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Fault):
    """SIGSTOP; SIGCONT when it heals. Connections stay open and clocks go on."""

    kind: ClassVar[str] = "pause"

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Pause them."""
        undo.push_async_callback(scene.cluster.let_go, scene.tag, *scene.nodes)
        await scene.cluster.hold_still(scene.tag, *scene.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Fault):
    """The target nodes end, all at once, and start again: SIGTERM if ``gently``, else kill -9."""

    kind: ClassVar[str] = "restart"
    gently: bool = False

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Stop and start; nothing is left to heal, unless this is interrupted."""
        undo.push_async_callback(scene.cluster.let_up, scene.tag, *scene.nodes)
        await scene.cluster.hold_down(scene.tag, *scene.nodes, gently=self.gently)
        await scene.cluster.let_up(scene.tag, *scene.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingRestart(Fault):
    """The target nodes are restarted one after the other, each once the previous one is ready.

    Runs in the background; healing waits until the current node serves, and leaves out the rest.
    """

    kind: ClassVar[str] = "rolling restart"
    gently: bool = True

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Start the rolling restart."""
        in_background(undo, lambda stop: self._go_round(scene, stop))

    async def _go_round(self, scene: Scene, stop: asyncio.Event) -> None:
        for name in scene.random.sample(scene.nodes, len(scene.nodes)):
            if stop.is_set():
                return
            await scene.cluster.hold_down(scene.tag, name, gently=self.gently)
            await scene.cluster.let_up(scene.tag, name)
            if name in scene.cluster.names:  # else: it was removed meanwhile
                await scene.cluster.processes.ready(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillStorm(Fault):
    """kill -9 one target node after the other, in random order, again and again until it heals.

    down_s   how long each stays down
    up_s     longest pause before the next one is killed; few nodes get ready in that time
    """

    kind: ClassVar[str] = "kill storm"
    down_s: float = 0.1
    up_s: float = 1.0

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Start killing."""
        in_background(undo, lambda stop: self._rage(scene, stop))

    async def _rage(self, scene: Scene, stop: asyncio.Event) -> None:
        while not stop.is_set():
            name = scene.random.choice(scene.nodes)
            await scene.cluster.hold_down(scene.tag, name)
            await _set_within(stop, self.down_s)
            await scene.cluster.let_up(scene.tag, name)
            await _set_within(stop, scene.random.uniform(0, self.up_s))


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
