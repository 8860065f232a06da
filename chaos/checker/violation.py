"""The checker's reports: each broken promise with the records, places and times that show it."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import Final

KEPT_MAX: Final = 1_000
"""How many violations of one kind are kept with their evidence; all are counted."""


class Kind(enum.StrEnum):
    """Which promise was broken. docs/CHAOS.md says what each means."""

    LOST_PREFIX = "lost_prefix"
    LOST_MIDDLE = "lost_middle"
    LOST_TAIL = "lost_tail"
    LOST_ALL = "lost_all"
    DUPLICATE = "duplicate"
    VALUE_AT_TWO_OFFSETS = "value_at_two_offsets"
    TWO_VALUES_AT_ONE_OFFSET = "two_values_at_one_offset"
    FAILED_RECORD_READ = "failed_record_read"
    FOREIGN_RECORD = "foreign_record"
    OUT_OF_ORDER = "out_of_order"
    SKIPPED_OFFSETS = "skipped_offsets"
    NON_MONOTONIC_POLL = "non_monotonic_poll"
    STALE_READ = "stale_read"
    REPLICAS_DIFFER = "replicas_differ"
    REPLICA_DAMAGED = "replica_damaged"
    REPLICA_MISSING = "replica_missing"
    TWO_LEADERS = "two_leaders"
    NO_PROGRESS = "no_progress"
    NOT_LINEARIZABLE = "not_linearizable"
    UNDECIDED = "undecided"
    OFFSET_WENT_BACK = "offset_went_back"
    TWO_OWNERS = "two_owners"
    GROUP_SKIPPED = "group_skipped"
    HANDED_OVER_TWICE = "handed_over_twice"
    QUEUE_LOST = "queue_lost"
    QUEUE_NOT_EMPTIED = "queue_not_emptied"
    ACKED_CAME_AGAIN = "acked_came_again"
    TWO_DELIVERIES = "two_deliveries"
    KEY_OVERTAKEN = "key_overtaken"
    DEAD_LETTER_TWICE = "dead_letter_twice"
    DELIVERED_EARLY = "delivered_early"
    WRONG_DELIVERY = "wrong_delivery"
    BREAKER_STAYED_CLOSED = "breaker_stayed_closed"
    PASSED_A_PAUSE = "passed_a_pause"
    DIED_EARLY = "died_early"
    REPLAYED_UNASKED = "replayed_unasked"
    STILL_LISTED = "still_listed"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact that a violation rests on. ``value`` is a value id, ``op`` an operation of the history."""

    what: str
    time_ns: int | None = None
    offset: int | None = None
    value: int | None = None
    node: str = ""
    process: str = ""
    op: int | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise. ``partition`` is None where the promise is about a topic or the cluster."""

    kind: Kind
    summary: str
    evidence: tuple[Evidence, ...] = ()
    topic: str = ""
    partition: int | None = None


class Findings:
    """Violations as they are found: all counted, the first of each kind kept."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self.counts: Counter[Kind] = Counter()
        self.kept: list[Violation] = []

    def add(
        self, kind: Kind, summary: str, *evidence: Evidence, topic: str = "", partition: int | None = None
    ) -> None:
        """Report one."""
        self.counts[kind] += 1
        if self.counts[kind] <= self._kept_max:
            self.kept.append(Violation(kind, summary, evidence, topic, partition))
