"""Asking before campaigning (H4): a replica raises its term only after a majority would vote for it.

Raft dissertation, section 9.6. Nothing here is durable or changes a term; a replica that cannot hear the
leader asks in vain for as long as the others do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from consensus.core.safeguards import Safeguard
from consensus.messages import RequestPreVote, RequestPreVoteResponse

if TYPE_CHECKING:
    from consensus.core.core import Core
    from consensus.core.disk_loss_recovery import DiskLossRecovery


HURRIED_ASKS: Final = 3
"""So often it is asked soon where the leader is gone: not all have heard that when they are asked first."""


class Prevote:
    """Both sides of the question."""

    def __init__(self, core: Core, disk_loss_recovery: DiskLossRecovery) -> None:
        self._core = core
        self._disk_loss_recovery = disk_loss_recovery
        self._term = -1
        self._granted: set[str] = set()
        self._hurried = 0
        """Questions that are still asked soon, since the leader's process is gone."""
        self.retry_at = math.inf
        self.leaving = False
        """This replica is about to stop, or cannot apply what is committed."""

    @property
    def may_campaign(self) -> bool:
        """Whether this replica may ever become the leader."""
        return self._core.members.is_voter and self._disk_loss_recovery.may_vote and not self.leaving

    @property
    def may_vote(self) -> bool:
        """Whether it answers those who want to. It need not be a voter as far as it knows itself: the
        candidate counts, and may know of newer members than this replica does.
        """
        return self._disk_loss_recovery.may_vote

    @property
    def is_asking(self) -> bool:
        """Whether it has asked since a leader was heard, which was silent for a whole timeout.

        The votes of an earlier question may still make it the leader; then it is an answer.
        """
        engine = self._core.engine
        return self._term >= 0 and self._term == engine.term and not engine.is_leader

    @property
    def is_hurried(self) -> bool:
        """Whether the leader is gone, and this replica is to ask soon."""
        return self._hurried > 0

    def gate(self) -> bool:
        """The engine's election deadline has passed: True lets it campaign in this very tick."""
        core = self._core
        if not self.may_campaign:
            return False
        if core.engine.election_is_forced or not core.has(Safeguard.H4):
            return True
        if self._term == core.engine.term and core.now < self.retry_at:
            return self._has_majority()
        self._ask()
        return self._has_majority()

    def cancel(self) -> None:
        """A leader was heard."""
        self._term = -1
        self._hurried = 0
        self._granted.clear()

    def leader_is_gone(self) -> None:
        """Its process ended, or nothing came from its node for long: no timeout is waited for.

        Those who are left ask one after the other, or they would take each other's votes; who begins differs
        from group to group. Whoever still hears the leader refuses as ever.
        """
        core = self._core
        engine = core.engine
        core.leader_heard_at = -math.inf
        if not self.may_campaign or engine.election_is_forced:
            return
        left = {core.node_id, *(core.members.other_voters & core.up)} - {engine.leader}
        order = sorted(left)
        place = (order.index(core.node_id) + core.raft_group) % len(order)
        self.cancel()
        self._hurried = HURRIED_ASKS
        engine.end_election_clock(core.options.takeover_s * (place + core.random.random()))

    def on_request(self, source: str, message: RequestPreVote) -> None:
        """Would this replica vote for ``source`` in that term?"""
        core = self._core
        if not self.may_vote:
            return
        mine = (core.log.last_term, core.log.last_index)
        theirs = (message.last_term, message.last_index)
        granted = (
            message.term > core.engine.term
            and theirs >= mine
            and not self._leader_lives(source)
            and not self._goes_first(source, is_even=theirs == mine)
        )
        if granted and self._hurried and not self.is_asking:
            # Who would vote for another one gives it the time to win.
            core.engine.end_election_clock(core.options.takeover_s * (1 + core.random.random()))
        core.emit(source, RequestPreVoteResponse(message.term, granted=granted, own_term=core.engine.term))

    def on_answer(self, source: str, message: RequestPreVoteResponse) -> None:
        """One voter's answer."""
        engine = self._core.engine
        if message.own_term > engine.term:
            engine.observe_term(message.own_term)
        elif message.granted and message.term == engine.term + 1 and self._term == engine.term:
            self._granted.add(source)

    def _goes_first(self, other: str, *, is_even: bool) -> bool:
        """Of two that ask at once because the leader is gone, and have the same log, one yields."""
        return is_even and self._hurried > 0 and self.is_asking and self._core.node_id < other

    def _has_majority(self) -> bool:
        members = self._core.members
        granted = len(self._granted & members.other_voters) + 1
        if granted < members.current.quorum:
            return False
        self.cancel()
        return True

    def _ask(self) -> None:
        core = self._core
        options = core.options
        self._term = core.engine.term
        self._granted.clear()
        shortest, longest = options.election_timeout_min_s, options.election_timeout_max_s
        if self._hurried:
            self._hurried -= 1
            shortest, longest = options.takeover_s, 2 * options.takeover_s
        self.retry_at = core.now + shortest + (longest - shortest) * core.random.random()
        request = RequestPreVote(
            term=core.engine.term + 1, last_index=core.log.last_index, last_term=core.log.last_term
        )
        for name in sorted(core.members.other_voters):
            core.emit(name, request)

    def _leader_lives(self, candidate: str) -> bool:
        core = self._core
        if core.engine.is_leader:
            return True
        if core.engine.leader in (None, candidate):
            return False
        return core.now - core.leader_heard_at < core.options.election_timeout_min_s
