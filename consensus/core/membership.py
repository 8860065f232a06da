"""Who belongs to the group: entries in the log, in force from the moment they are appended.

A truncated entry takes its membership with it. Only one change may be uncommitted, voters change one at a
time, and a new voter must have been a learner that has caught up: majorities of neighbouring memberships
then always share a replica (Raft dissertation, section 4.1, with the correction of 2015 about the no-op).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgpack
from floodmark.format.frame import Frame

from consensus.types import ChangeRefused, Membership

MADE_WITH_INDEX: Final = 1
"""Where those stand that a replica was made with: before the first entry of all logs."""
PROMOTION_LAG_MAX: Final = 256
"""Entries that a learner may be behind the commit index when it becomes a voter."""


def encode(membership: Membership) -> bytes:
    """The payload of a MEMBERSHIP frame."""
    packed: bytes = msgpack.packb([sorted(membership.voters), sorted(membership.learners)])
    return packed


def decode(payload: bytes) -> Membership:
    """Back from ``encode``. Raises ``ValueError``."""
    return from_lists(msgpack.unpackb(payload))


def from_lists(value: Any) -> Membership:
    """From [voters, learners]. Raises ``ValueError``."""
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(names, list) for names in value)):
        raise ValueError("a membership is two lists of names")
    return Membership(frozenset(value[0]), frozenset(value[1]))


class Members:
    """The memberships of the log's tail: the newest committed one, then those that may be rolled back."""

    def __init__(
        self, node_id: str, index: int, membership: Membership, on_change: Callable[[Membership], None]
    ) -> None:
        self._node_id = node_id
        self.on_change = on_change
        self._set([(index, membership)])

    def _set(self, history: list[tuple[int, Membership]]) -> None:
        self._history = history
        self.current = history[-1][1]
        """In force: the newest, committed or not."""
        self.is_voter = self._node_id in self.current.voters
        """Whether this replica counts."""
        self.other_voters = self.current.voters - {self._node_id}
        """The voters but this replica."""
        self.others = self.current.members - {self._node_id}
        """All members but this replica."""

    @property
    def changed_at(self) -> int:
        """Index of the newest change."""
        return self._history[-1][0]

    @property
    def history(self) -> list[tuple[int, Membership]]:
        """From the newest committed one on, with their indexes."""
        return list(self._history)

    def appended(self, frame: Frame) -> None:
        """A MEMBERSHIP frame came into the log."""
        self._set([*self._history, (frame.index, decode(frame.payload))])
        self.on_change(self.current)

    def truncated(self, from_index: int) -> None:
        """``from_index`` and all after it left the log."""
        kept = [self._history[0]] + [item for item in self._history[1:] if item[0] < from_index]
        if len(kept) != len(self._history):
            self._set(kept)
            self.on_change(self.current)

    def committed(self, index: int) -> None:
        """What was before the newest committed membership cannot come back."""
        while len(self._history) > 1 and self._history[1][0] <= index:
            del self._history[0]

    def reset(self, index: int, membership: Membership) -> None:
        """The log was replaced."""
        self._set([(index, membership)])
        self.on_change(membership)

    def check_change(
        self,
        wanted: Membership,
        *,
        commit_index: int,
        match: Callable[[str], int],
        is_trusted: Callable[[str], bool],
    ) -> None:
        """Whether this leader may propose ``wanted`` now; raises ``ChangeRefused`` with the reason.

        ``match`` says up to where a member's log is known to be the leader's, ``is_trusted`` whether it has
        told this leader that its acknowledgements count.
        """
        now = self.current
        if self.changed_at > commit_index:
            raise ChangeRefused("another membership change is not committed yet")
        if len(now.voters ^ wanted.voters) > 1:
            raise ChangeRefused("voters change one at a time")
        if self._node_id not in wanted.voters:
            raise ChangeRefused("the leader stays a voter: transfer the leadership first")
        for name in wanted.voters - now.voters:
            if name not in now.learners:
                raise ChangeRefused(f"{name} has to be a learner first")
            if match(name) < commit_index - PROMOTION_LAG_MAX:
                raise ChangeRefused(f"{name} has not caught up yet")
            if not is_trusted(name):
                raise ChangeRefused(f"{name} has not said that its acknowledgements count")
