"""The order in which a group's members change: the next single step from those in force to those wanted.

A live move: the new one comes as a learner, catches up, and is promoted; the leadership is handed over if
the one that leads is to leave; the leaving one is demoted, and removed. Where the leaving one is dead it is
demoted *before* the new one is promoted, or three live voters of four would be needed where two of three were
enough. What may be proposed at all is checked again in membership.py (C7); here is what should be, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.types import Membership

CAUGHT_UP_ENTRIES: Final = 64
"""How far behind the commit index a member may be and still be relied on."""


class LedGroup(Protocol):
    """What is asked of the replica that leads; ``Followers`` is one."""

    @property
    def node_id(self) -> str: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def may_change_members(self) -> bool: ...
    def match_of(self, node: str) -> int: ...
    def is_trusted(self, node: str) -> bool: ...
    def has_lost(self, node: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class HandOver:
    """The leadership goes to one of these first, best first: who leads now is to leave."""

    to: tuple[str, ...]


def next_step(
    group: LedGroup,
    wanted: Membership,
    *,
    alive: Collection[str],
    preferred: Sequence[str] = (),
    force: bool = False,
) -> Membership | HandOver | None:
    """The next change towards ``wanted``; None when there is nothing to do, or nothing now.

    ``alive`` are the nodes that can be reached; ``preferred`` the order in which members are promoted and
    handed the leadership. ``force`` lets a group that should have three voters fall below two.
    """
    now = group.membership
    if now == wanted and not any(group.has_lost(node) for node in now.voters):
        return None
    if not group.may_change_members:
        return None
    return _Look(group, wanted, alive, preferred, force).next()


class _Look:
    """One look at one group."""

    def __init__(
        self,
        group: LedGroup,
        wanted: Membership,
        alive: Collection[str],
        preferred: Sequence[str],
        force: bool,  # noqa: FBT001
    ) -> None:
        self._group = group
        self._now = group.membership
        self._wanted = wanted
        self._alive = alive
        rank = {node: place for place, node in enumerate(preferred)}
        self._order = lambda node: (rank.get(node, len(rank)), node)
        self._voters_min = 2 if len(wanted.voters) >= 3 and not force else 1

    def next(self) -> Membership | HandOver | None:
        now, wanted = self._now, self._wanted
        if coming := wanted.members - now.members:
            return Membership(now.voters, now.learners | coming)
        return self._demote_lost() or self._replace() or self._remove()

    def _demote_lost(self) -> Membership | None:
        """A voter without its data counts for nothing, and may count again only after it was no voter."""
        for node in sorted(self._now.voters - {self._group.node_id}):
            if self._group.has_lost(node) and self._can_do_without(node):
                return self._without(node)
        return None

    def _replace(self) -> Membership | HandOver | None:
        """Voters come and go in turn, so that there is never more than one too many."""
        now, wanted = self._now, self._wanted
        leaving = now.voters - wanted.voters
        dead = sorted(node for node in leaving if not self._is_fit(node))
        coming = sorted((wanted.voters - now.voters), key=self._order)
        ready = [node for node in coming if self._is_fit(node)]
        if dead and (ready or not coming):
            for node in dead:
                if self._can_do_without(node):
                    return self._without(node)
        if ready and len(now.voters) <= len(wanted.voters) and self._can_take(ready[0]):
            return Membership(now.voters | {ready[0]}, now.learners - {ready[0]})
        if len(now.voters) > len(wanted.voters):
            return self._demote(leaving)
        return None

    def _demote(self, leaving: frozenset[str]) -> Membership | HandOver | None:
        me = self._group.node_id
        for node in sorted(leaving - {me}, key=lambda node: (self._is_fit(node), node)):
            if self._can_do_without(node):
                return self._without(node)
        if leaving == {me} and self._can_do_without(me):
            heirs = [node for node in self._now.voters - {me} if self._is_fit(node)]
            return HandOver(tuple(sorted(heirs, key=self._order)))
        return None

    def _remove(self) -> Membership | None:
        gone = self._now.learners - self._wanted.members
        return Membership(self._now.voters, self._now.learners - gone) if gone else None

    def _is_fit(self, node: str) -> bool:
        """Whether the group can rely on a member: it is there, whole, and not far behind."""
        group = self._group
        if node == group.node_id:
            return True
        behind = group.commit_index - group.match_of(node)
        return node in self._alive and group.is_trusted(node) and behind <= CAUGHT_UP_ENTRIES

    def _fit(self, voters: frozenset[str]) -> int:
        return sum(1 for node in voters if self._is_fit(node))

    def _can_do_without(self, node: str) -> bool:
        """Whether the voters that are left have a majority among those that can be relied on."""
        left = self._now.voters - {node}
        return len(left) >= self._voters_min and 2 * self._fit(left) > len(left)

    def _can_take(self, node: str) -> bool:
        """Whether one more voter asks for no more than there is: those that are there should be enough by
        themselves, unless they are not enough even now, or there is but one.
        """
        voters = self._now.voters
        more = voters | {node}
        fit = self._fit(voters)
        enough = 2 * fit > len(more)
        return enough or ((len(voters) == 1 or 2 * fit <= len(voters)) and 2 * (fit + 1) > len(more))

    def _without(self, node: str) -> Membership:
        """A voter becomes a learner; whether it goes at all is looked at when all others are in place."""
        return Membership(self._now.voters - {node}, self._now.learners | {node})
