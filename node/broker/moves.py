"""Moves of replicas to other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """A new replica that is catching up: the entries that it lacks, and about how many bytes these are."""

    node: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MoveInfo:
    """The move of one partition's replicas to other nodes; Kafka calls it a reassignment.

    ``replicas`` are those that it has, ``target`` those that it is to have, the preferred leader first.
    ``leader``, ``voters``, ``catching_up`` and ``arrived`` come from the leader: None or empty without it.
    """

    topic: str
    partition: int
    number: int
    started: bool
    reason: str
    replicas: Sequence[str]
    target: Sequence[str]
    adding: Sequence[str]
    removing: Sequence[str]
    leader: str | None = None
    voters: Sequence[str] = ()
    catching_up: Sequence[CatchingUp] = ()
    arrived: bool = False
    """The group's members are exactly the target, and that is committed."""


@dataclass(frozen=True, slots=True)
class MoveWanted:
    """Where a partition's replicas are to go, the preferred leader first; None undoes what is under way."""

    topic: str
    partition: int
    replicas: Sequence[str] | None


class MoveAdmin(Protocol):
    """Moves of replicas to other nodes."""

    async def led_here(self) -> list[MoveInfo]:
        """The moves of partitions that this node leads, as it sees them."""

    async def everywhere(self, *, timeout_s: float) -> list[MoveInfo]:
        """All that are queued or under way, in order of topic and partition; as of after the call began.

        Raises Unavailable.
        """

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[MoveInfo]:
        """Move replicas to other nodes, all or none; only where ``metadata.leads_here``.

        Returns these moves, as ``everywhere`` does. Raises FeatureLevelNeeded, UnknownTopic,
        UnknownPartition, InvalidRequest, Conflict (a node can take no replicas, or somebody else moved them
        meanwhile), TooManyPartitions, Unavailable, OutcomeUnknown.
        """

    def sizes_led_here(self) -> dict[int, int]:
        """Bytes of the partitions that this node leads, by group id."""
