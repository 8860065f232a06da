"""A whole data folder is restored from an old copy: a snapshot of a machine, restored after the node went on.

The copy is made while the node is down, and every other node has met a later start of it before the copy is
restored: operators are asked to do so, and this is how an old copy is recognised (docs/OPERATIONS.md).
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from chaos.cluster import ChaosCluster
from chaos.faults.fault import Fault, Scene
from chaos.faults.replica_files import NothingToDamage
from chaos.polling import until

_MET_S_MAX: Final = 60.0
_LOOK_AGAIN_S: Final = 0.1


class _Identity(msgspec.Struct, frozen=True):
    """The part of a folder's node.json about its starts."""

    incarnation: str
    boot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredCopy(Fault):
    """On healing, with the node killed, the data folder is restored to its state at the injection.

    In between the node is started and, ``restarts`` times, killed and started again. One at a time.
    """

    kind: ClassVar[str] = "restored copy"
    restarts: int = 1

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Copy, then let the nodes go on until it heals. Raises ``NothingToDamage``, ``NotReady``."""
        cluster = scene.cluster
        if not scene.others:
            raise NothingToDamage("no node is left that could recognise an old copy")
        await undo.enter_async_context(cluster.losing_data)
        await cluster.ready()
        undo.push_async_callback(cluster.let_up, scene.tag, *scene.nodes)
        await cluster.hold_down(scene.tag, *scene.nodes)
        copies = {name: cluster.processes.folder / f"{name}.{scene.tag}.copy" for name in scene.nodes}
        for name, copy in copies.items():
            cluster.machines.settle(name)
            undo.push_async_callback(asyncio.to_thread, shutil.rmtree, copy, ignore_errors=True)
            await asyncio.to_thread(shutil.copytree, cluster.processes.data_dir(name), copy)
        await _let_up_and_be_met(scene)
        for _ in range(self.restarts):
            await cluster.hold_down(scene.tag, *scene.nodes)
            await _let_up_and_be_met(scene)
        undo.push_async_callback(_go_back, scene, copies)


async def _let_up_and_be_met(scene: Scene) -> None:
    """Start the nodes, and wait until every other one has noted that start of each."""
    cluster = scene.cluster
    before = {name: _identity(cluster, name).boot for name in scene.nodes}
    await cluster.let_up(scene.tag, *scene.nodes)
    try:
        async with asyncio.timeout(_MET_S_MAX):
            await until(partial(asyncio.to_thread, _are_met, cluster, before), every_s=_LOOK_AGAIN_S)
    except TimeoutError:
        names = ", ".join(scene.nodes)
        raise NothingToDamage(f"not every node met {names} again within {_MET_S_MAX:.0f} s") from None


def _are_met(cluster: ChaosCluster, before: Mapping[str, int]) -> bool:
    """Whether all others have noted a start of each of these nodes with a number above the one before."""
    met = {name: _boots_met(cluster, name) for name in cluster.names}
    now = {name: _identity(cluster, name) for name in before}
    return all(
        mine.boot > before[name] and (name, mine.incarnation, mine.boot) in met[other]
        for name, mine in now.items()
        for other in cluster.names
        if other != name
    )


def _identity(cluster: ChaosCluster, name: str) -> _Identity:
    raw = (cluster.processes.data_dir(name) / "node.json").read_bytes()
    return msgspec.json.decode(raw, type=_Identity)


def _boots_met(cluster: ChaosCluster, name: str) -> set[tuple[str, str, int]]:
    """The starts of others that a node has noted, each as node, incarnation of its folder, and number."""
    lines = (cluster.processes.data_dir(name) / "registry.log").read_bytes().splitlines(keepends=True)
    # Each line is a checksum and JSON; the node may just be writing the last one.
    changes = [json.loads(line[9:]) for line in lines if line.endswith(b"\n")]
    return {tuple(change["boot"][:3]) for change in changes if "boot" in change}


async def _go_back(scene: Scene, copies: Mapping[str, Path]) -> None:
    cluster = scene.cluster
    try:
        await cluster.hold_down(scene.tag, *scene.nodes)
        for name, copy in copies.items():
            cluster.machines.settle(name)
            await asyncio.to_thread(_put_back, copy, cluster.processes.data_dir(name))
    finally:
        await cluster.let_up(scene.tag, *scene.nodes)


def _put_back(copy: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    copy.rename(folder)
