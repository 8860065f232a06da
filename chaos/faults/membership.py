"""Changes of the placement of replicas, while clients and other faults go on. They do no harm by themselves.

A change that nodes refuse, because one is down or another change is under way, is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from chaos.faults.admin_api import ask, change, rest
from chaos.faults.background import in_background
from chaos.faults.fault import Fault, Scene

_AGAIN_S: Final = 0.3
_UNDO_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Fault):
    """The target nodes are drained: all their replicas go to others, and may return when it heals."""

    kind: ClassVar[str] = "drain"
    moves_replicas: ClassVar[bool] = True

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Begin; the change may have to wait for a leader."""
        undo.push_async_callback(self._undrain, scene)
        in_background(undo, lambda stop: self._drain(scene, stop))

    async def _drain(self, scene: Scene, stop: asyncio.Event) -> None:
        for name in scene.nodes:
            while not stop.is_set() and not await change(scene, "POST", f"/v1/nodes/{name}/drain"):
                await rest(stop, _AGAIN_S)

    async def _undrain(self, scene: Scene) -> None:
        never = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNDO_S):
                for name in scene.nodes:
                    while not await change(scene, "DELETE", f"/v1/nodes/{name}/drain"):
                        await rest(never, _AGAIN_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves(Fault):
    """Replicas of random partitions move to the target nodes, and away from them, again and again.

    every_s   the time between two moves; the previous one may still be under way
    """

    kind: ClassVar[str] = "moves"
    moves_replicas: ClassVar[bool] = True
    every_s: float = 1.0

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Start moving. Moves under way at the end go on."""
        in_background(undo, lambda stop: self._move(scene, stop))

    async def _move(self, scene: Scene, stop: asyncio.Event) -> None:
        while not stop.is_set():
            move = await self._draw(scene)
            if move is not None:
                await change(scene, "POST", "/v1/reassignments", {"reassignments": [move]})
            await rest(stop, self.every_s)

    async def _draw(self, scene: Scene) -> dict[str, Any] | None:
        """A random partition and its next replicas; None if no node answers or no other replicas are
        possible."""
        listed = await ask(scene, "GET", "/v1/topics")
        parts = [
            (topic["topic"], topic["replication_factor"], part)
            for topic in (listed[1]["topics"] if listed is not None and listed[0] == 200 else [])
            for part in topic["partitions"]
        ]
        if not parts:
            return None
        topic, factor, part = scene.random.choice(parts)
        held, aimed = list(part["replicas"])[:factor], scene.random.choice(scene.nodes)
        free = [name for name in scene.cluster.names if name not in held]
        if not free:
            return None
        leaving = aimed if aimed in held else scene.random.choice(held)
        coming = scene.random.choice(free) if aimed in held else aimed
        replicas = [coming if name == leaving else name for name in held]
        return {"topic": topic, "partition": part["partition"], "replicas": replicas}
