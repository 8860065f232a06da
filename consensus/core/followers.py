"""What a leader knows of its members, and whether they may change. Free to read between steps."""

from __future__ import annotations

from consensus.core.group_parts import GroupParts
from consensus.core.membership import MADE_WITH_INDEX
from consensus.types import Membership


class Followers:
    """The members of one group as this replica, where it leads, sees them."""

    def __init__(self, parts: GroupParts) -> None:
        self._parts = parts
        self._core = parts.core

    @property
    def node_id(self) -> str:
        """The leader itself."""
        return self._core.node_id

    @property
    def membership(self) -> Membership:
        """The members in force."""
        return self._core.members.current

    @property
    def commit_index(self) -> int:
        """The last entry that is known committed."""
        return self._core.engine.commit_index

    @property
    def members_are_written(self) -> bool:
        """Whether the log says who the members are. Else they are those that this replica was made with, and
        one that lost everything may have been made again with others.
        """
        return self._core.members.changed_at > MADE_WITH_INDEX

    @property
    def may_change_members(self) -> bool:
        """Whether this replica leads, an entry of its term is committed, and so is the last change."""
        core = self._core
        return (
            core.is_ready_leader
            and core.transfer_target is None
            and core.members.changed_at <= core.engine.commit_index
            and not self._parts.proposals.membership_is_queued
        )

    def match_of(self, node: str) -> int:
        """Up to which index a member is known to have this log on its disk."""
        core = self._core
        return core.log.durable_index if node == core.node_id else self._parts.replication.match_of(node)

    def keeps_up(self, node: str) -> bool:
        """Whether a member has all of this log, or the rest is on its way there."""
        return node == self._core.node_id or self._parts.replication.keeps_up(node)

    def is_trusted(self, node: str) -> bool:
        """Whether a member has told this leader that its votes and acknowledgements count."""
        return self._parts.replication.is_trusted(node)

    def has_lost(self, node: str) -> bool:
        """Whether a member has told this leader that its data, votes included, is gone."""
        return self._parts.replication.has_lost(node)

    @property
    def are_enough(self) -> bool:
        """Whether the connected ones that have all that this disk has are a majority without this replica."""
        core = self._core
        reached = max(core.log.durable_index, core.engine.commit_index)
        fit = [
            node
            for node in core.members.other_voters & core.up
            if self.is_trusted(node) and self.match_of(node) >= reached
        ]
        return 2 * len(fit) > len(core.members.current.voters)
