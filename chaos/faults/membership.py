"""Changes of who holds what, while clients and other faults go on: no harm in themselves, and no excuse.

Nodes are asked past all network faults. What they refuse, because a node is away or another change is under
way, is left at that: the next one may do.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import aiohttp

from chaos.faults.background import in_background
from chaos.faults.fault import Fault, Scene

_ANSWER_S: Final = 3.0
_AGAIN_S: Final = 0.3
_UNDO_S: Final = 30.0
_REFUSED: Final = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain(Fault):
    """The nodes aimed at are drained: all their replicas go to others. They may come back when it heals."""

    kind: ClassVar[str] = "drain"
    moves_replicas: ClassVar[bool] = True

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Begin; that it is taken may need a leader, which there need not be now."""
        undo.push_async_callback(self._undrain, scene)
        in_background(undo, lambda stop: self._drain(scene, stop))

    async def _drain(self, scene: Scene, stop: asyncio.Event) -> None:
        for name in scene.nodes:
            while not stop.is_set() and not await _change(scene, "POST", f"/v1/nodes/{name}/drain"):
                await _rest(stop, _AGAIN_S)

    async def _undrain(self, scene: Scene) -> None:
        never = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNDO_S):
                for name in scene.nodes:
                    while not await _change(scene, "DELETE", f"/v1/nodes/{name}/drain"):
                        await _rest(never, _AGAIN_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves(Fault):
    """Replicas of random partitions go to the nodes aimed at, and away from them, again and again.

    every_s   the time between two moves; the one before may still be under way
    """

    kind: ClassVar[str] = "moves"
    moves_replicas: ClassVar[bool] = True
    every_s: float = 1.0

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Start moving. What is under way in the end goes on."""
        in_background(undo, lambda stop: self._move(scene, stop))

    async def _move(self, scene: Scene, stop: asyncio.Event) -> None:
        while not stop.is_set():
            move = await self._draw(scene)
            if move is not None:
                await _change(scene, "POST", "/v1/reassignments", {"reassignments": [move]})
            await _rest(stop, self.every_s)

    async def _draw(self, scene: Scene) -> dict[str, Any] | None:
        """A partition and its next replicas; None where no node answers or no other replicas are possible."""
        listed = await _ask(scene, "GET", "/v1/topics")
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


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _change(scene: Scene, method: str, path: str, body: dict[str, Any] | None = None) -> bool:
    """Whether it is settled: done, or refused for a reason that stays."""
    answer = await _ask(scene, method, path, body)
    return answer is not None and (answer[0] < 400 or answer[0] in _REFUSED)


async def _ask(
    scene: Scene, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, Any] | None:
    """Status and document from the first node that runs and answers; None when none does."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
        for name in scene.random.sample(scene.cluster.names, len(scene.cluster.names)):
            if not scene.cluster.runs(name):
                continue
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                url = scene.cluster.direct_url(name) + path
                async with session.request(method, url, json=body) as answer:
                    return answer.status, await answer.json(content_type=None)
    return None
