"""Faults of clocks."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar, Literal

from chaos.faults.fault import Fault, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump(Fault):
    """The wall clocks of the target nodes jump, forward or back, and jump back when it heals.

    Only the time of day jumps: the monotonic clock does not jump on real machines either.
    """

    kind: ClassVar[str] = "clock jump"
    jump_s: float = 3600.0
    direction: Literal["forward", "back"] = "forward"

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Every later reading of the clock is affected."""
        offset_ms = round(self.jump_s * 1000) * (1 if self.direction == "forward" else -1)
        for name in scene.nodes:
            undo.callback(scene.cluster.machines.mend, scene.tag, name)
            scene.cluster.machines.harm(scene.tag, name, clock_offset_ms=offset_ms)
