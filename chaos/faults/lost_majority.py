"""A majority of the nodes is lost for good, and the others go on: what an operator does with ``recover``.

As in docs/OPERATIONS.md: the remaining nodes are stopped, a plan is made from their folders and written, and
they are started. The lost ones come back with empty folders, as new members. What the plan says may be lost
is recorded in the history; nothing else may be lost.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from chaos.cluster import ChaosCluster
from chaos.faults.admin_api import wait_whole
from chaos.faults.aim import NoSuchNode, Target
from chaos.faults.background import END_S
from chaos.faults.fault import Fault, Scene
from chaos.faults.replica_files import NothingToDamage
from chaos.history import GivenUp

_RECOVER_S: Final = 60.0
_EVERYTHING: Final = -1


class _Replica(msgspec.Struct):
    node: str
    next_offset: int = 0


class _Group(msgspec.Struct):
    topic: str
    partition: int | None
    loss: str
    chosen: str
    replicas: list[_Replica]


class _Plan(msgspec.Struct):
    groups: list[_Group]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostMajority(Fault):
    """The target nodes are killed and their disks are gone; the others are recovered and go on without them.

    left   a node that is among the others; empty means any
    """

    kind: ClassVar[str] = "lost majority"
    moves_replicas: ClassVar[bool] = True
    loses_records: ClassVar[bool] = True
    left: str = ""

    def __post_init__(self) -> None:
        """Refuse targets that are not a majority, or leave no node."""
        if self.aim.target is not Target.MAJORITY:
            raise ValueError(f"the target must be a majority, not {self.aim.target.value}")

    async def choose(self, cluster: ChaosCluster, rng: random.Random, tag: str) -> list[str]:  # noqa: ARG002
        """Choose among the nodes once none is about to leave."""
        async with cluster.leaving, cluster.losing_data:
            if not self.left:
                return await self.aim.choose(cluster, rng)
            if self.left not in cluster.names:
                raise NoSuchNode(f"there is no node {self.left!r}; there are {', '.join(cluster.names)}")
            names = [name for name in cluster.names if name != self.left]
            return sorted(rng.sample(names, len(cluster.names) // 2 + 1))

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Kill them, and recover the others. Raises ``NothingToDamage``, ``NotReady``."""
        cluster = scene.cluster
        await undo.enter_async_context(cluster.leaving)
        await undo.enter_async_context(cluster.losing_data)
        if cluster.has_grown:  # A node without a place in the cluster could not go on.
            await cluster.ready()
        lost, left = scene.nodes, scene.others
        if not 0 < len(left) < len(lost) or cluster.gone.intersection(lost):
            raise NothingToDamage(
                "nodes joined or left in the meantime, so the chosen ones are not a majority any more"
            )
        undo.push_async_callback(self._made_whole, scene)
        undo.push_async_callback(cluster.let_up, scene.tag, *lost, *left)
        await cluster.hold_down(scene.tag, *lost)
        await cluster.hold_down(scene.tag, *left, gently=True)
        for name in (*lost, *left):
            cluster.machines.settle(name)
        for name in lost:
            await asyncio.to_thread(shutil.rmtree, cluster.processes.data_dir(name))
        folders = [cluster.processes.data_dir(name) for name in left]
        plan = cluster.processes.folder / f"{scene.tag}.plan"
        given_up = _given_up(await _recover("plan", *folders, "--to", plan, "-o", "json"))
        await _recover("apply", plan, *folders, "--yes")
        cluster.when_recovered(given_up)
        await cluster.let_up(scene.tag, *left)
        for name in lost:
            await cluster.rejoin(name)

    async def _made_whole(self, scene: Scene) -> None:
        """Wait until the lost nodes have everything that is left: no other node may lose data before that."""
        try:
            async with asyncio.timeout(END_S):
                await wait_whole(scene)
        except TimeoutError:
            scene.cluster.unfinished.append(f"partitions lack replicas {END_S:.0f} s after the recovery")


def _given_up(document: bytes) -> list[GivenUp]:
    """The partitions that may lose records according to the plan, and from which offset on."""
    found = []
    for group in msgspec.json.decode(document, type=_Plan).groups:
        if group.loss == "none" or group.partition is None:
            continue
        ends = {replica.node: replica.next_offset for replica in group.replicas}
        end = _EVERYTHING if group.loss == "all" else ends[group.chosen]
        found.append(GivenUp(group.topic, group.partition, end))
    return found


async def _recover(*words: str | Path) -> Any:
    """The output of ``floodmark recover``. Raises ``RuntimeError`` with its message if it refuses."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cli.main", "recover", *map(str, words)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_RECOVER_S):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(
            f"floodmark recover {words[0]}: {process.returncode}: {err.decode(errors='replace')}"
        )
    return out
