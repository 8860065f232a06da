"""Until when members have time: for their sessions, and to give partitions up. Seconds are passed in.

None of it is replicated: a new leader gives everybody their whole time again (``restored``).
"""

from __future__ import annotations

import heapq
import math
from typing import Final, NamedTuple

from node.coordinator.groups.group import Group
from node.coordinator.groups.requests import MemberAnswer
from node.coordinator.keys import TopicPartition

SESSION: Final = 0
_SPARE: Final = 64
"""Entries of the heap that may be of members who are gone."""


class Over(NamedTuple):
    """A member's time: its session, or with an ``epoch`` that in which it had to give partitions up."""

    group: str
    member_id: str
    epoch: int = SESSION


class Sessions:
    """Of all members of the groups that a leader coordinates.

    A deadline that moves later costs no more than an assignment: the heap learns of it when the earlier one
    comes up.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, Over]] = []
        self._queued: dict[Over, float] = {}
        """When the heap tells of each."""
        self._until: dict[Over, float] = {}
        self._giving_up: dict[tuple[str, str], tuple[Over, tuple[TopicPartition, ...]]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def answered(self, group: str, answer: MemberAnswer, now: float) -> None:
        """A member joined or sent a heartbeat, and this is what it is told."""
        id_ = answer.member_id
        self._set(Over(group, id_), now + answer.session_timeout_ms / 1_000)
        told = (Over(group, id_, answer.epoch), answer.revoking)
        before = self._giving_up.get((group, id_))
        if before == told:
            return
        if before is not None:
            self._keep(group, id_)
        if answer.revoking:
            self._give_up(*told, now + answer.rebalance_timeout_ms / 1_000)

    def gone(self, group: str, member_id: str) -> None:
        """A member left for good, or another took its place."""
        self._until.pop(Over(group, member_id), None)
        self._keep(group, member_id)

    def restored(self, group: Group, now: float) -> None:
        """A new leader's: everybody has their whole time from now on."""
        for id_, member in group.members.items():
            self._set(Over(group.name, id_), now + member.session_timeout_ms / 1_000)
            current = group.currents.get(id_)
            if current is not None and current.revoking:
                over = Over(group.name, id_, current.epoch)
                until = now + member.rebalance_timeout_ms / 1_000
                self._give_up(over, tuple(sorted(current.revoking)), until)

    def due(self, now: float) -> list[Over]:
        """Whose time is over; each is told once. Ask ``is_over`` in the step, as a heartbeat may come first.

        Then call ``gone`` for it, or ``postpone`` where the step could not be committed.
        """
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, over = heapq.heappop(self._heap)
            if self._queued.get(over) != at:
                continue
            del self._queued[over]
            until = self._until.get(over)
            if until is None:
                continue
            if until > now:
                self._push(over, until)
            else:
                found.append(over)
        return found

    def is_over(self, over: Over, now: float) -> bool:
        """Whether its time is over, still."""
        until = self._until.get(over)
        return until is not None and until <= now

    def postpone(self, over: Over, until: float) -> None:
        """Tell of it again, unless it is not remembered any more."""
        if over in self._until:
            self._set(over, until)

    def next(self) -> float | None:
        """When to ask again at the latest."""
        return self._heap[0][0] if self._heap else None

    def _give_up(self, over: Over, revoking: tuple[TopicPartition, ...], until: float) -> None:
        self._giving_up[over.group, over.member_id] = (over, revoking)
        self._set(over, until)

    def _keep(self, group: str, member_id: str) -> None:
        before = self._giving_up.pop((group, member_id), None)
        if before is not None:
            self._until.pop(before[0], None)

    def _set(self, over: Over, until: float) -> None:
        self._until[over] = until
        if until < self._queued.get(over, math.inf):
            self._push(over, until)

    def _push(self, over: Over, at: float) -> None:
        self._queued[over] = at
        heapq.heappush(self._heap, (at, over))
        if len(self._heap) > 2 * len(self._until) + _SPARE:
            self._queued = dict(self._until)
            self._heap = [(until, each) for each, until in self._until.items()]
            heapq.heapify(self._heap)
