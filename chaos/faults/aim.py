"""The target of a fault, and the nodes that this means at the moment of the injection."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from chaos.cluster import ChaosCluster


class NoSuchNode(ValueError):
    """The named node does not exist: it was removed, or has not joined yet."""


class Target(StrEnum):
    """Kinds of nodes."""

    ONE = "one"
    LEADER = "leader"
    METADATA_LEADER = "metadata leader"
    MAJORITY = "majority"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A target, with the parameters to find its nodes.

    node               with ONE: this node; empty means any
    topic, partition   with LEADER: of which partition
    """

    target: Target = Target.ONE
    node: str = ""
    topic: str = ""
    partition: int = 0

    def __post_init__(self) -> None:
        if self.node and self.target is not Target.ONE:
            raise ValueError(
                f"a node is named ({self.node!r}) for the target {self.target.value!r}; use 'one'"
            )
        if bool(self.topic) is not (self.target is Target.LEADER):
            raise ValueError("the target 'leader' needs a topic, and no other target takes one")

    async def choose(self, cluster: ChaosCluster, rng: random.Random) -> list[str]:
        """The nodes, sorted. Raises ``NobodyLeads``, and ``NoSuchNode``."""
        names = cluster.names
        match self.target:
            case Target.ONE if self.node and self.node not in names:
                raise NoSuchNode(f"there is no node {self.node!r}; there are {', '.join(names)}")
            case Target.ONE:
                return [self.node or rng.choice(names)]
            case Target.LEADER:
                return [await cluster.view.leader(self.topic, self.partition)]
            case Target.METADATA_LEADER:
                return [await cluster.view.metadata_leader()]
            case Target.MAJORITY:
                return sorted(rng.sample(names, len(names) // 2 + 1))
            case Target.ALL:
                return names
