"""What all faults share: a description that never changes, and an injection that is in force or not."""

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
    """Where one injection of a fault happens.

    ``tag`` is this injection's alone: faults of the same kind on the same link must not undo each other.
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
    """Whether other nodes may hold a partition in the end than in the beginning."""
    loses_records: ClassVar[bool] = False
    """Whether acknowledged records may be lost, of which the history tells then; and changes of topics."""
    brings_nodes: ClassVar[int] = 0
    """How many nodes join, which the cluster has to be made with."""
    aim: Aim = field(default_factory=Aim)

    async def choose(self, cluster: ChaosCluster, rng: random.Random, tag: str) -> list[str]:  # noqa: ARG002
        """The nodes that it is about. Raises ``NobodyLeads``, ``NoFurtherNode``, ``ValueError``."""
        return await self.aim.choose(cluster, rng)

    @abstractmethod
    async def apply(self, scene: Scene, undo: AsyncExitStack) -> None:
        """Make it happen. What undoes a step goes onto ``undo`` first, so that half a fault heals too."""


class Injection:
    """One fault on one cluster. ``async with Injection(fault, cluster): ...`` has it in force in between."""

    def __init__(self, fault: Fault, cluster: ChaosCluster, *, rng: random.Random | None = None) -> None:
        self.fault = fault
        self.nodes: list[str] = []
        """The nodes that it concerned when it was last put into force."""
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
        """Choose the nodes and put the fault into force, unless it is. Undoes what fails halfway.

        ``on_chosen`` is called in between, when ``nodes`` are known and nothing is done to them yet: some
        faults take seconds until they are wholly in force.
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
        """Take it back; does nothing when it is not in force. Nodes may still need a while to be ready."""
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
