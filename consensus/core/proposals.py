"""Proposals whose outcome is open.

Each ends when the commit index passes its place: the same term there means that it is stored, another one
that it never will be. Losing the leadership ends nothing, for another replica may hold the entry and commit
it; whoever waits sets a deadline. What is left when the replica stops or fails is unknown.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from floodmark.format.frame import FrameKind

from consensus.types import NotStored, Proposal, Stored, Unknown

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.journal import Journal, ProposedEntry


class Proposals:
    """First in a queue, then in the log, then resolved."""

    def __init__(self, core: Core, journal: Journal) -> None:
        self._core = core
        self._journal = journal
        self._queued: list[ProposedEntry] = []
        self._open: list[tuple[int, int, Proposal]] = []
        self._count = itertools.count()
        self._membership_is_queued = False

    def add(self, entry: ProposedEntry) -> None:
        """Queue a proposal for the next ``drain``."""
        self._queued.append(entry)
        if entry.kind is FrameKind.MEMBERSHIP:
            self._membership_is_queued = True

    @property
    def is_idle(self) -> bool:
        """Whether none waits for the next ``drain``."""
        return not self._queued

    @property
    def membership_is_queued(self) -> bool:
        """Whether a membership change waits for the next ``drain``."""
        return self._membership_is_queued

    def drain(self) -> bool:
        """Append what is queued; returns whether anything was.

        Past the engine, which would do the same with what it takes out of a queue of its own, at more cost
        than the entry.
        """
        if not self._queued:
            return False
        engine = self._core.engine
        leads = engine.is_leader
        if leads:
            for entry in self._queued:
                self._journal.propose(entry, engine.term)
        # Only now: whatever a failing log left without a place is still in the queue, and ends as unknown.
        queued, self._queued = self._queued, []
        self._membership_is_queued = False
        for entry in queued:
            if leads:
                heapq.heappush(self._open, (entry.proposal.index, next(self._count), entry.proposal))
            else:
                entry.proposal.resolve(NotStored("this replica no longer led when it came to append it"))
        return True

    def settle(self, up_to: int) -> None:
        """Everything up to this index is committed and applied."""
        log = self._core.log
        while self._open and self._open[0][0] <= up_to:
            index, _, proposal = heapq.heappop(self._open)
            if index < log.base_index:
                proposal.resolve(Unknown("the log was replaced by a newer one meanwhile"))
            elif log.term_at(index) == proposal.term:
                proposal.resolve(Stored(index, proposal.term, proposal.first_offset))
            else:
                proposal.resolve(NotStored("another leader's entry was committed in its place"))

    def abandon(self, reason: str) -> None:
        """The outcomes will not be known here."""
        queued, self._queued = self._queued, []
        opened, self._open = self._open, []
        for proposal in [*(entry.proposal for entry in queued), *(item[2] for item in opened)]:
            proposal.resolve(Unknown(reason))
