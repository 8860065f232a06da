"""What a group shows of itself: free to read between steps, and nothing here changes anything."""

from __future__ import annotations

import math

from consensus.core.core import Core
from consensus.core.membership import MADE_WITH_INDEX
from consensus.core.parts import Parts
from consensus.types import Membership, Role
from storage.errors import LogCorrupt
from storage.log import Log


class GroupView:
    """The state of one replica, for its host and its users."""

    node_id: str
    log: Log
    failed: Exception | None
    """Why this replica is of no more use; after this it takes part in nothing."""
    _stopped: bool
    _core: Core
    _parts: Parts

    @property
    def needs_flush(self) -> bool:
        """Whether the log holds entries that are not durable yet, and may be written."""
        return (
            self.log.durable_index < self.log.last_index
            and self.failed is None
            and not self._parts.stands_still
        )

    @property
    def needs_vote_saved(self) -> bool:
        """Whether this replica stands still until ``save_vote``, then ``vote_saved`` are called."""
        return self.failed is None and self._parts.journal.vote_is_unsaved

    @property
    def needs_disk(self) -> bool:
        """Whether ``needs_vote_saved`` or ``needs_flush`` is so."""
        parts, log = self._parts, self.log
        return self.failed is None and (
            parts.journal.vote_is_unsaved or (log.durable_index < log.last_index and not parts.stands_still)
        )

    @property
    def next_deadline(self) -> float:
        """When a step is due though nothing arrives; inf while asleep."""
        core, parts = self._core, self._parts
        if self.failed is not None or self._stopped or core.asleep:
            return math.inf
        if parts.journal.vote_is_unsaved or core.installing:
            return math.inf
        if parts.applier.is_behind:
            return core.now
        engine = core.engine
        own = math.inf
        if engine.is_leader:
            own = min(engine.heartbeat_due, parts.replication.deadline)
        elif parts.prevote.may_campaign:
            own = engine.election_deadline
            if own < core.now:
                own = parts.prevote.retry_at
        # The engine acts strictly after its deadlines.
        return math.nextafter(
            min(own, parts.reads.deadline, parts.fetching.deadline, parts.transfer.deadline), math.inf
        )

    @property
    def role(self) -> Role:
        """What this replica is now."""
        return self._core.engine.role if self._core.members.is_voter else Role.LEARNER

    @property
    def term(self) -> int:
        """The highest term that this replica knows of."""
        return self._core.engine.term

    @property
    def leader(self) -> str | None:
        """Who leads that term, as far as is known here; nobody once this replica asks for votes."""
        return None if self._parts.prevote.is_asking else self._core.engine.leader

    @property
    def membership(self) -> Membership:
        """The members in force."""
        return self._core.members.current

    @property
    def members_are_written(self) -> bool:
        """Whether the log says who the members are. Else they are those that this replica was made with, and
        one that lost everything may have been made anew with others.
        """
        return self._core.members.changed_at > MADE_WITH_INDEX

    @property
    def may_change_members(self) -> bool:
        """Whether this replica leads, an entry of its term is committed, and so is the last change."""
        core = self._core
        return (
            self.is_ready_leader
            and core.transfer_target is None
            and core.members.changed_at <= core.engine.commit_index
            and not self._parts.proposals.membership_is_queued
        )

    @property
    def commit_index(self) -> int:
        """The last entry that is known committed."""
        return self._core.engine.commit_index

    @property
    def applied_index(self) -> int:
        """The last entry that the machine has seen: committed, and durable here."""
        return self._core.applied_index

    @property
    def high_watermark(self) -> int:
        """Records below this offset are committed, and durable here."""
        return self._core.applied_offset

    @property
    def is_ready_leader(self) -> bool:
        """Whether this replica leads and has applied all that was committed before it did."""
        engine = self._core.engine
        return engine.is_leader and self._core.applied_index >= engine.noop_index

    @property
    def terms_refused(self) -> int:
        """How many messages were not taken in because they would have moved the term too far."""
        return self._core.terms_refused

    @property
    def asleep(self) -> bool:
        """Quiescent: nothing to do, and no heartbeats."""
        return self._core.asleep

    @property
    def damage(self) -> LogCorrupt | None:
        """A frame that could not be read for a peer, and that ``take_damage`` has not handed over."""
        return self._core.damage

    @property
    def has_member_news(self) -> bool:
        """Whether ``take_member_news`` would say so."""
        return self._core.member_news

    @property
    def may_vote(self) -> bool:
        """False while this replica has lost data and not regained it."""
        return self._parts.disk_loss_recovery.may_vote

    def match_of(self, node: str) -> int:
        """On a leader: up to where a member is known to have its log."""
        return self.log.durable_index if node == self.node_id else self._parts.replication.match_of(node)

    def keeps_up(self, node: str) -> bool:
        """On a leader: whether a member has all of its log, or the rest is on its way there."""
        return node == self.node_id or self._parts.replication.keeps_up(node)

    @property
    def others_are_enough(self) -> bool:
        """On a leader: whether the others, connected and as far as its disk, are a majority without it."""
        core = self._core
        reached = max(self.log.durable_index, self.commit_index)
        fit = [
            node
            for node in core.members.other_voters & core.up
            if self.is_trusted(node) and self.match_of(node) >= reached
        ]
        return 2 * len(fit) > len(self.membership.voters)

    def is_trusted(self, node: str) -> bool:
        """On a leader: whether a member has told it that its votes and acknowledgements count."""
        return self._parts.replication.is_trusted(node)

    def has_lost(self, node: str) -> bool:
        """On a leader: whether a member has told it that its data, votes included, is gone."""
        return self._parts.replication.has_lost(node)
