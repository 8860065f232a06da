"""What a leader does about members that lost their data, step by step."""

from __future__ import annotations

from consensus.types import Membership
from node.controller import next_membership
from tests.support.raft import Lone


def test_a_new_leader_expels_nobody_who_has_said_nothing() -> None:
    """Only who has lost its data is made a learner, and only who has not is made a voter."""
    lone = Lone()
    lone.lead()
    lone.flush()
    lone.ack("b", 3)
    lone.group.propose_membership(Membership(frozenset("abc"), frozenset("d")))
    lone.step()
    lone.flush()
    wanted = Membership(frozenset("abcd"))
    assert next_membership(lone.group, wanted) is None
    lone.ack("b", 4)
    lone.ack("d", 4)
    assert next_membership(lone.group, wanted) == wanted
    lone.ack("c", 4, trusted=False)
    assert next_membership(lone.group, wanted) == Membership(frozenset("ab"), frozenset("cd"))
