"""Room for producers that a partition does not know yet: decided by its leader, carried out through the log.

An idempotent retry finds its batch only while its producer is remembered. So a producer is forgotten only
when there is no room, and only a while after its last batch, by the times in the log; until then newcomers
are refused. The leader chooses whom to forget and proposes that as an entry of its own: what replicas
remember follows from the log alone, whatever their own limits are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final, Protocol

from floodmark.errors import TooManyProducers

from consensus.types import Proposal
from node.partition.producers import ProducerTable, forgetting

FORGOTTEN_AT_ONCE: Final = 1 / 16
"""This fraction of the producers that a partition may remember, so that not every newcomer costs an entry."""
FORGOTTEN_AT_ONCE_MAX: Final = 4096
LOOK_EVERY_S: Final = 1.0
"""How old the time in the log may be when a newcomer is refused by it."""
RETRY_AFTER_S_MAX: Final = 60.0


class ProducersHere(Protocol):
    """The producers that all partitions led by this node remember."""

    @property
    def count(self) -> int:
        """How many."""

    def forget(self, count: int, now_ms: int) -> int:
        """Begin to forget up to ``count`` that are silent at ``now_ms``; returns how many."""


@dataclass(frozen=True, slots=True)
class ProducerLimits:
    """The limits that an operator has set."""

    per_partition: int
    per_node: int
    remembered_s: float


class MakingRoom(Exception):
    """There may be room for a newcomer once the last proposed entry is committed: then ask again."""


class Newcomers:
    """Admits new producers to one partition while this replica leads it. ``propose`` appends a command."""

    def __init__(
        self,
        table: ProducerTable,
        limits: ProducerLimits,
        here: ProducersHere,
        propose: Callable[[bytes], Proposal],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._limits = limits
        self._here = here
        self._propose = propose
        self._clock = clock
        self._proposed: Proposal | None = None
        self._looked_at = -LOOK_EVERY_S

    def admit(self, in_flight: Collection[bytes]) -> None:
        """Admit one more producer. ``in_flight``: those that have batches between proposal and apply.

        Raises ``MakingRoom``; ``TooManyProducers`` once that was in vain; and as ``propose`` does.
        """
        known, limits = self._table.producers, self._limits
        coming = sum(name not in known for name in in_flight)
        beyond = len(known) + coming - limits.per_partition
        beyond_here = self._here.count + coming - limits.per_node
        if max(beyond, beyond_here) < 0:
            return
        wanted = max(beyond, beyond_here, int(limits.per_partition * FORGOTTEN_AT_ONCE)) + 1
        if self._is_proposed() or self.forget(wanted, self._table.time, in_flight):
            raise MakingRoom
        if self._clock() - self._looked_at >= LOOK_EVERY_S:
            # When nobody has written for long, the log's time stands still: this entry moves it on.
            self._looked_at = self._clock()
            self._proposed = self._propose(forgetting([]))
            raise MakingRoom
        if beyond >= 0:
            raise self._refusal("partition", limits.per_partition, self._next_s())
        going = self._here.forget(wanted, self._table.time)
        raise self._refusal("node", limits.per_node, 1.0 if going else self._next_s())

    def forget(self, count: int, now_ms: int, in_flight: Collection[bytes]) -> int:
        """Propose to forget up to ``count`` that are silent at ``now_ms``; returns how many."""
        if self._is_proposed():
            return 0
        producers, remembered_ms = self._table.producers, self._limits.remembered_s * 1000
        oldest = next(iter(producers.values()), None)
        if oldest is not None and not 0 < oldest.time <= now_ms + remembered_ms:
            self._date(now_ms, now_ms + remembered_ms)
        old = takewhile(lambda item: now_ms - item[1].time >= remembered_ms, producers.items())
        names = (name for name, _ in old if name not in in_flight)
        found = list(islice(names, min(count, FORGOTTEN_AT_ONCE_MAX)))
        if found:
            self._proposed = self._propose(forgetting(found))
        return len(found)

    def _is_proposed(self) -> bool:
        return self._proposed is not None and self._proposed.outcome is None

    def _date(self, now_ms: int, latest_ms: float) -> None:
        """A time that is missing or far ahead counts as the time when it is met. Replicas may differ."""
        for producer in self._table.producers.values():
            if not 0 < producer.time <= latest_ms:
                producer.time = now_ms

    def _next_s(self) -> float:
        """In how many seconds the next one may be forgotten, if it stays silent."""
        oldest = next(iter(self._table.producers.values()), None)
        silent_s = 0.0 if oldest is None else (self._table.time - oldest.time) / 1000
        return self._limits.remembered_s - silent_s

    def _refusal(self, of: str, count: int, after_s: float) -> TooManyProducers:
        return TooManyProducers(
            f"this {of} remembers {count} idempotent producers (limits.producers_per_{of}_max), each for "
            f"{self._limits.remembered_s:g} s after its last batch (limits.producer_remembered_s), and takes "
            "no new one meanwhile; nothing was stored. Use one producer for many batches",
            retry_after_s=max(1.0, min(RETRY_AFTER_S_MAX, after_s)),
        )
