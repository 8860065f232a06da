"""Rules of changes of members (M), of recoveries (E), of consumer groups (G) and of queues (Q), each of
which a run can leave out: the checks must find what it is for.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from consensus.core.group import Group
from consensus.core.member_steps import HandOver, next_step
from consensus.types import Membership, Role


class Rule(enum.Enum):
    """Each names what is done where it does not hold. Those of the group itself (C7) are left out with it."""

    M1 = "all members change in one step"
    M2 = "a change is begun while another is not committed"
    M3 = "a leader changes members before an entry of its term is committed"
    M4 = "a learner is promoted before it has caught up"
    M5 = "a learner is promoted while a dead voter still counts"
    M6 = "all that leave are demoted before anybody has come"
    M7 = "what leaves is deleted before the change is committed"
    M8 = "a replica that comes to a node votes as if it had always been there"
    E1 = "nodes do not compare the cluster's epoch"
    E2 = "a recovery chooses the replica by its index alone"
    E3 = "a recovery leaves the group's members as they were"
    E4 = "a recovery calls nothing lost but what would stand behind the chosen log"
    G1 = "a commit is judged while what ends its member is being stored"
    G2 = "a leader judges before an entry of its term is applied"
    G3 = "a partition is given to a member before its owner has given it up"
    G4 = "a member gives up what it has not committed yet"
    G5 = "a new leader counts the time of members from before it led"
    G6 = "a member commits more than it has got"
    G7 = "a commit may move an offset back"
    Q1 = "a queue's leader answers before what it decided is stored"
    Q2 = "a queue's leader decides on what is stored, while what it decided is under way"
    Q3 = "a queue's leader decides before an entry of its term is applied"
    Q4 = "dead letters are sent by whoever takes itself for the leader, without epoch and number"
    Q5 = "a settlement counts whichever delivery it is about"
    Q6 = "records are delivered before they are due"
    Q7 = "records of one key are delivered as if they had none"
    Q8 = "records that wait for their time are passed, and not written down"
    Q9 = "a dead letter is sent before it is stored that its record died"
    Q10 = "a leader begins again in its term while something that it decided is under way"
    Q11 = "a dead letter is delivered again, and stays on the list as if it were not"
    Q12 = "dead letters are delivered again as if they had no keys"
    Q13 = "failures count also while a queue pauses"
    Q14 = "a queue that pauses delivers as if it did not"
    Q15 = "it is not stored that a queue pauses"
    Q16 = "what retention takes is passed over, and not counted"
    Q17 = "what retention takes is counted, and still waited for"
    Q18 = "a queue that pauses tries one record, and no other one when that comes to nothing"
    Q19 = "a record that dies and is gone is left out without a word"


IN_THE_GROUP = frozenset({Rule.M1, Rule.M2, Rule.M3, Rule.M4})
"""Checked by the group too: left out together with C7."""


class _Careless:
    """A leader that does not look at everything."""

    def __init__(self, group: Group, broken: Collection[Rule]) -> None:
        self._group = group
        self._broken = broken
        self.node_id = group.node_id
        self.membership = group.membership
        self.commit_index = group.commit_index
        self.has_lost = group.followers.has_lost

    @property
    def may_change_members(self) -> bool:
        group = self._group
        if Rule.M2 in self._broken:
            return group.is_ready_leader
        if Rule.M3 in self._broken:
            return group.role is Role.LEADER and group._core.members.changed_at <= group.commit_index
        return group.followers.may_change_members

    def match_of(self, node: str) -> int:
        blind = Rule.M4 in self._broken and node in self.membership.learners
        return self.commit_index if blind else self._group.followers.match_of(node)

    def is_trusted(self, node: str) -> bool:
        return Rule.M4 in self._broken or self._group.followers.is_trusted(node)


def step_without(
    broken: Collection[Rule], group: Group, wanted: Membership, *, alive: Collection[str]
) -> Membership | HandOver | None:
    """The next step, but for the rules in ``broken``."""
    if not broken:
        return next_step(group.followers, wanted, alive=alive)
    now = group.membership
    if Rule.M1 in broken and group.followers.may_change_members and now != wanted:
        if group.node_id not in wanted.voters:
            return HandOver(tuple(sorted(now.voters & wanted.voters)) or tuple(sorted(now.voters)))
        return wanted
    if Rule.M5 in broken and group.followers.may_change_members:
        for node in sorted(now.learners & wanted.voters & set(alive)):
            if group.followers.is_trusted(node) and group.followers.match_of(node) >= group.commit_index - 8:
                return Membership(now.voters | {node}, now.learners - {node})
    if Rule.M6 in broken and group.followers.may_change_members:
        for node in sorted(now.voters - wanted.voters - {group.node_id}):
            return Membership(now.voters - {node}, now.learners | {node})
    return next_step(_Careless(group, broken), wanted, alive=alive)
