"""Damage to the files of stopped nodes: each target node is killed, and started again on healing.

Everything written counts as durable: these are disks that forget or rot, not losses of power.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from abc import abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from chaos.faults.fault import Fault, Scene
from chaos.faults.replica_files import PATTERNS, Of, ReplicaFile, choose


@dataclass(frozen=True, slots=True, kw_only=True)
class AtRestFault(Fault):
    """Base of the faults that do their damage while the nodes are down."""

    @abstractmethod
    def damage(self, scene: Scene) -> None:
        """Do the damage on all target nodes. Blocks."""

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Kill, then do the damage; the nodes stay down in between."""
        cluster = scene.cluster
        undo.push_async_callback(cluster.let_up, scene.tag, *scene.nodes)
        await cluster.hold_down(scene.tag, *scene.nodes)
        for name in scene.nodes:
            cluster.machines.settle(name)
        await asyncio.to_thread(self.damage, scene)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipBit(AtRestFault):
    """One bit is flipped, somewhere in the middle half of a file: segment, index, checkpoint or vote."""

    kind: ClassVar[str] = "flipped bit"
    of: Of = "partition"
    file: ReplicaFile = "segment"

    def damage(self, scene: Scene) -> None:
        for path in choose(scene, self.file, self.of):
            data = bytearray(path.read_bytes())
            size = _written(data) if self.file == "segment" else len(data)
            data[_in_the_middle(size, scene.random)] ^= 1 << scene.random.randrange(8)
            path.write_bytes(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncateSegment(AtRestFault):
    """A segment is cut off somewhere in its middle half."""

    kind: ClassVar[str] = "truncated segment"
    of: Of = "partition"

    def damage(self, scene: Scene) -> None:
        for path in choose(scene, "segment", self.of):
            with path.open("r+b") as file:
                file.truncate(_in_the_middle(_written(path.read_bytes()), scene.random))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteIndex(AtRestFault):
    """All sparse indexes of the nodes are gone."""

    kind: ClassVar[str] = "deleted index"

    def damage(self, scene: Scene) -> None:
        for name in scene.nodes:
            for path in scene.cluster.processes.data_dir(name).rglob(PATTERNS["index"]):
                path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeFolder(AtRestFault):
    """The data folder is empty: a new disk under the old name."""

    kind: ClassVar[str] = "wiped folder"

    def damage(self, scene: Scene) -> None:
        for name in scene.nodes:
            shutil.rmtree(scene.cluster.processes.data_dir(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class OldCopy(Fault):
    """A file is restored on healing to its content at the injection, with the nodes killed for it."""

    kind: ClassVar[str] = "old copy"
    of: Of = "partition"
    file: ReplicaFile = "segment"

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Copy now; the nodes go on until it heals."""
        paths = await asyncio.to_thread(choose, scene, self.file, self.of)
        copies = [(path, await asyncio.to_thread(path.read_bytes)) for path in paths]
        undo.push_async_callback(_go_back, scene, copies)


async def _go_back(scene: Scene, copies: list[tuple[Path, bytes]]) -> None:
    cluster = scene.cluster
    try:
        await cluster.hold_down(scene.tag, *scene.nodes)
        for name, (path, content) in zip(scene.nodes, copies, strict=True):
            cluster.machines.settle(name)
            await asyncio.to_thread(path.write_bytes, content)
    finally:
        await cluster.let_up(scene.tag, *scene.nodes)


def _written(segment: bytes | bytearray) -> int:
    """Bytes of a segment without the zeros that its log wrote ahead, which are not data."""
    return len(segment.rstrip(b"\0"))


def _in_the_middle(size: int, rng: random.Random) -> int:
    return rng.randint(size // 4, size * 3 // 4)
