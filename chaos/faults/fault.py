"""The base of all faults: an immutable description, and an injection that is in force or not."""

from __future__ import annotations

import asyncio
import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self

from chaos.cluster import ChaosCluster
from chaos.faults.aim import Aim

_TAGS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Scene:
    """The environment of one injection of a fault.

    ``tag`` is unique to this injection: faults of the same kind on the same link must not undo each other.
    """

    cluster: ChaosCluster
    nodes: list[str]
    random: random.Random
    tag: str

    @property
    def others(self) -> list[str]:
        """The nodes that were not chosen."""
        return [name for name in self.cluster.names if name not in self.nodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(ABC):
    """What goes wrong, and where."""

    kind: ClassVar[str]
    moves_replicas: ClassVar[bool] = False
    """Whether other nodes may hold a partition at the end than at the beginning."""
    loses_records: ClassVar[bool] = False
    """Whether acknowledged records, which the history then names, and changes of topics may be lost."""
    brings_nodes: ClassVar[int] = 0
    """How many nodes join; the cluster has to be made with these as further nodes."""
    aim: Aim = field(default_factory=Aim)

    async def choose(self, cluster: ChaosCluster, rng: random.Random, tag: str) -> list[str]:  # noqa: ARG002
        """The target nodes. Raises ``NobodyLeads``, ``NoFurtherNode``, ``ValueError``."""
        return await self.aim.choose(cluster, rng)

    @abstractmethod
    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Put it into force. The undo of each step goes onto ``undo`` first, so that half a fault heals
        too."""


class Injection:
    """One fault on one cluster. ``async with Injection(fault, cluster): ...`` has it in force in between."""

    def __init__(self, fault: Fault, cluster: ChaosCluster, *, rng: random.Random | None = None) -> None:
        self.fault = fault
        self.nodes: list[str] = []
        """The target nodes of the last injection."""
        self._cluster = cluster
        self._random = rng or random.Random()
        self._tag = f"f{next(_TAGS)}"
        self._undo: AsyncExitStack | None = None
        self._changing = asyncio.Lock()

    @property
    def in_force(self) -> bool:
        """Between ``inject`` and ``heal``."""
        return self._undo is not None

    async def inject(self, on_chosen: Callable[[], None] = lambda: None) -> None:
        """Choose the nodes and put the fault into force, unless it already is. Undoes a half-done injection.

        ``on_chosen`` is called when ``nodes`` are known and nothing is done to them yet: some faults take
        seconds until they are fully in force.
        """
        async with self._changing:
            if self._undo is not None:
                return
            self.nodes = await self.fault.choose(self._cluster, self._random, self._tag)
            on_chosen()
            async with AsyncExitStack() as undo:
                await self.fault.apply(Scene(self._cluster, self.nodes, self._random, self._tag), undo)
                self._undo = undo.pop_all()

    async def heal(self) -> None:
        """End the fault; does nothing if it is not in force. Nodes may need a while to be ready."""
        async with self._changing:
            undo, self._undo = self._undo, None
            if undo is not None:
                await undo.aclose()

    async def __aenter__(self) -> Self:
        await self.inject()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.heal()

    def __str__(self) -> str:
        nodes = ", ".join(self.nodes) or "not chosen yet"
        return f"{self.fault.kind} on {self.fault.aim.target.value} ({nodes})"
