"""Nodes that join and leave for good, while clients and other faults go on. They do no harm by themselves.

Each change is completed, however long it takes: one that is not done a minute after the fault's time is over,
although all nodes may run by then, is reported as a failure of the cluster.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from chaos.cluster import ChaosCluster
from chaos.faults.admin_api import ask, wait_whole
from chaos.faults.aim import Target
from chaos.faults.background import END_S, to_the_end
from chaos.faults.fault import Fault, Scene
from chaos.faults.replica_files import NothingToDamage
from chaos.polling import until

_DONE: Final = range(200, 300)
_GONE: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Fault):
    """A fresh node joins, and gets its share of the replicas by a rebalance. It stays when this heals."""

    kind: ClassVar[str] = "join"
    moves_replicas: ClassVar[bool] = True
    brings_nodes: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse a target: the node does not exist yet."""
        if self.aim.target is not Target.ONE or self.aim.node:
            raise ValueError("a node that joins does not exist yet: leave out target and node")

    async def choose(self, cluster: ChaosCluster, rng: random.Random, tag: str) -> list[str]:  # noqa: ARG002
        """The next further node."""
        return [await cluster.join(tag)]

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Start it."""
        undo.push_async_callback(scene.cluster.let_up, scene.tag, *scene.nodes)
        await scene.cluster.let_up(scene.tag, *scene.nodes)
        _to_the_end(scene, undo, f"{scene.nodes[0]} joins", self._come(scene, scene.nodes[0]))

    async def _come(self, scene: Scene, name: str) -> None:
        await _until_listed(scene, name, is_there=True)
        await _until_done(scene, "POST", "/v1/cluster/rebalance")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfOneNode(Fault):
    """Base of the faults that end with a node removed."""

    moves_replicas: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse targets of several nodes."""
        if self.aim.target in (Target.MAJORITY, Target.ALL):
            raise ValueError(f"one node at a time, not {self.aim.target.value}: aim at one or a leader")

    async def choose(self, cluster: ChaosCluster, rng: random.Random, tag: str) -> list[str]:  # noqa: ARG002
        """Choose among the nodes once no other one is about to leave."""
        async with cluster.leaving:
            return await self.aim.choose(cluster, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove(OfOneNode):
    """The target node is drained and removed from the cluster for good; then its process ends.

    force   both in one step, like ``node remove --force``
    """

    kind: ClassVar[str] = "remove"
    force: bool = False

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Begin. Raises ``NothingToDamage`` if too few nodes would be left."""
        (name,) = scene.nodes
        await undo.enter_async_context(scene.cluster.leaving)
        listed = await ask(scene, "GET", "/v1/topics")
        topics = listed[1]["topics"] if listed is not None and listed[0] == 200 else []
        most = max((topic["replication_factor"] for topic in topics), default=1)
        if name not in scene.cluster.names or len(scene.cluster.names) <= most:
            raise NothingToDamage(f"{name} is gone, or no other node could take its replicas")
        _to_the_end(scene, undo, f"{name} is removed", self._remove(scene, name))

    async def _remove(self, scene: Scene, name: str) -> None:
        if self.force:
            await _until_done(scene, "DELETE", f"/v1/nodes/{name}?force=true", gone=True)
            await _leave(scene, name)
        else:
            await _remove(scene, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(OfOneNode):
    """The target node is killed and its disk is gone for good; a fresh one joins and takes its place."""

    kind: ClassVar[str] = "replaced machine"
    brings_nodes: ClassVar[int] = 1

    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Begin once no replica lacks data. Raises ``NotReady``, ``NothingToDamage``."""
        cluster, (name,) = scene.cluster, scene.nodes
        await undo.enter_async_context(cluster.leaving)
        await undo.enter_async_context(cluster.losing_data)
        await cluster.ready()
        await wait_whole(scene)
        if name not in cluster.names:
            raise NothingToDamage(f"{name} is gone")
        undo.push_async_callback(cluster.let_up, scene.tag, name)
        await cluster.hold_down(scene.tag, name)
        cluster.machines.settle(name)
        await asyncio.to_thread(shutil.rmtree, cluster.processes.data_dir(name))
        other = await cluster.join(scene.tag)
        await cluster.let_up(scene.tag, other)
        _to_the_end(scene, undo, f"{other} replaces {name}", self._replace(scene, name, other))

    async def _replace(self, scene: Scene, name: str, other: str) -> None:
        await _until_listed(scene, other, is_there=True)
        # Refused while the dead one may be alive, or the new one is not ready.
        await _until_done(scene, "POST", f"/v1/nodes/{name}/replacement", {"node_id": other}, gone=True)
        await _leave(scene, name)
        await wait_whole(scene)


async def _remove(scene: Scene, name: str) -> None:
    """Drain a node, dead or alive, and take it out of the cluster."""
    await _until_done(scene, "POST", f"/v1/nodes/{name}/drain")

    async def is_removed() -> bool:
        said = await ask(scene, "GET", f"/v1/nodes/{name}/drain")
        if said is None or said[0] != 200 or said[1]["replicas"]:
            return said is not None and said[0] == _GONE
        # 409 if it has got a replica again; 404 if only the answer was lost.
        removed = await ask(scene, "DELETE", f"/v1/nodes/{name}")
        return removed is not None and removed[0] in (*_DONE, _GONE)

    await until(is_removed)
    await _leave(scene, name)


async def _leave(scene: Scene, name: str) -> None:
    """End its process once the others do not list it any more."""
    await _until_listed(scene, name, is_there=False)
    await scene.cluster.part(name)


def _to_the_end(scene: Scene, undo: AsyncExitStack, what: str, work: Coroutine[Any, Any, None]) -> None:
    late = f"{what}: not done {END_S:.0f} s after its time was over"
    to_the_end(undo, work, lambda: scene.cluster.unfinished.append(late))


async def _until_done(
    scene: Scene, method: str, path: str, body: dict[str, Any] | None = None, *, gone: bool = False
) -> None:
    """Repeat a change until it is accepted; with ``gone`` also until its subject does not exist any more."""

    async def is_done() -> bool:
        answer = await ask(scene, method, path, body)
        return answer is not None and (answer[0] in _DONE or (gone and answer[0] == _GONE))

    await until(is_done)


async def _until_listed(scene: Scene, name: str, *, is_there: bool) -> None:
    """Wait until a node lists it as a member, or does not any more."""

    async def is_so() -> bool:
        said = await ask(scene, "GET", "/v1/nodes")
        if said is None or said[0] != 200:
            return False
        listed = [node["node_id"] for node in said[1]["nodes"]]
        return (name in listed) is is_there and bool(listed or is_there)

    await until(is_so)
