"""Replicas that go to other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """A replica that is on its way to be one: entries and, by their share of the log, bytes that it lacks."""

    node: str
    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class MoveInfo:
    """One partition whose replicas go to other nodes; Kafka calls it a reassignment.

    ``replicas`` are those that it has, ``target`` those that it is to have, the preferred leader first.
    ``leader``, ``voters``, ``catching_up`` and ``arrived`` are the leader's word: None and empty without it.
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
    """The group's members are the target, and nobody else; committed."""


@dataclass(frozen=True, slots=True)
class MoveWanted:
    """Where a partition's replicas are to go, the preferred leader first; None undoes what is under way."""

    topic: str
    partition: int
    replicas: Sequence[str] | None


class MoveAdmin(Protocol):
    """Replicas on their way to other nodes."""

    async def led_here(self) -> list[MoveInfo]:
        """The moves of partitions that this node leads, as it sees them."""

    async def everywhere(self, *, timeout_s: float) -> list[MoveInfo]:
        """All that are queued or under way, in order of topic and partition; as of after the call began.

        Raises Unavailable.
        """

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[MoveInfo]:
        """Have replicas go to other nodes, or none of them; only where ``metadata.leads_here``.

        Those of ``everywhere`` that are meant. Raises FeatureLevelNeeded, UnknownTopic, UnknownPartition,
        InvalidRequest, Conflict (a node can take no replicas, or somebody else moved them meanwhile),
        TooManyPartitions, Unavailable, OutcomeUnknown.
        """

    def sizes_led_here(self) -> dict[int, int]:
        """Bytes of the partitions that this node leads, by group id."""
