"""Who belongs to a group, and how that changes (C7)."""

from __future__ import annotations

import pytest
from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.core import membership
from consensus.core.safeguards import Safeguard
from consensus.messages import AppendEntries, Message
from consensus.types import ChangeRefused, Membership, NotLeader, Role, Stored
from tests.support.raft import Lone, Replicas, frame


def _members(voters: str, learners: str = "") -> Membership:
    return Membership(frozenset(voters), frozenset(learners))


def _entry(index: int, term: int, members: Membership) -> Frame:
    payload = membership.encode(members)
    return Frame(index, term, 0, 0, 0, FrameKind.MEMBERSHIP, payload, crc_of(payload))


def test_a_learner_catches_up_becomes_a_voter_and_another_leaves() -> None:
    """A replica moves from one node to another, one step at a time, with nothing lost."""
    replicas = Replicas("abcd", learners="d")
    replicas.start()
    leader = replicas.elect()
    for number in range(20):
        replicas.propose(b"%d" % number)
    replicas.run(0.5)
    assert replicas.group("d").role is Role.LEARNER
    leaving = replicas.followers()[0].node_id
    leaving = leaving if leaving != "d" else replicas.followers()[1].node_id
    for members in (_members("abcd"), Membership(frozenset("abcd") - {leaving})):
        proposal = replicas.leader().propose_membership(members)
        replicas.run(0.5)
        assert isinstance(proposal.outcome, Stored)
    replicas.stop(leaving)
    replicas.propose(b"last")
    replicas.run(0.5)
    assert replicas.nodes["d"].machine.applied[-1][1] == b"last"
    assert replicas.group("d").role is Role.FOLLOWER
    assert leader.membership == Membership(frozenset("abcd") - {leaving})


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (_members("abcd"), "learner first"),
        (_members("ab", "x"), None),
        (_members("a"), "one at a time"),
        (_members("bc"), "transfer"),
        (_members("abcx"), "learner first"),
    ],
)
def test_only_changes_that_keep_majorities_overlapping_are_taken(
    wanted: Membership, reason: str | None
) -> None:
    """C7: voters change one at a time, out of learners, and never the leader itself."""
    lone = Lone()
    lone.lead()
    lone.flush()
    lone.ack("b", 3)
    if reason is None:
        lone.group.propose_membership(wanted)
    else:
        with pytest.raises(ChangeRefused, match=reason):
            lone.group.propose_membership(wanted)


def test_a_learner_that_lags_is_not_promoted() -> None:
    """C7: a majority with it would have to wait for it."""
    lone = Lone(frames=[frame(index, 1) for index in range(2, 400)], term=1)
    lone.lead()
    lone.flush()
    lone.ack("b", lone.log.last_index + 1)
    lone.group.propose_membership(_members("abc", "d"))
    lone.step()
    lone.flush()
    lone.ack("b", lone.log.last_index + 1)
    with pytest.raises(ChangeRefused, match="caught up"):
        lone.group.propose_membership(_members("abcd"))
    lone.ack("d", lone.log.last_index)
    lone.group.propose_membership(_members("abcd"))


def test_changes_do_not_overlap_and_wait_for_the_leaders_own_entry() -> None:
    """C7: without the safeguard, two would be under way at once."""
    lone = Lone()
    lone.lead()
    with pytest.raises(ChangeRefused, match="entry of its own"):
        lone.group.propose_membership(_members("abc", "d"))
    lone.flush()
    lone.ack("b", 3)
    for without in (None, Safeguard.C7):
        lone = Lone(without=without)
        lone.lead()
        lone.flush()
        lone.ack("b", 3)
        lone.group.propose_membership(_members("abc", "d"))
        lone.step()
        if without is None:
            with pytest.raises(ChangeRefused, match="not committed"):
                lone.group.propose_membership(_members("abc", "e"))
        else:
            lone.group.propose_membership(_members("abc", "e"))


def test_a_membership_is_in_force_when_appended_and_rolled_back_when_truncated() -> None:
    """C7: what counts is what is in the log, committed or not."""
    lone = Lone()
    lone.append((1, 0), [_entry(2, 1, _members("abcd"))], term=1)
    assert lone.group.membership == _members("abcd")
    lone.append((1, 0), [frame(2, 2)], term=2, source="c")
    assert lone.group.membership == _members("abc")


def test_a_membership_survives_a_restart() -> None:
    """Committed or not, before the checkpoint or after it."""
    lone = Lone()
    lone.append((1, 0), [_entry(2, 1, _members("abcd"))], term=1, commit=2)
    lone.flush()
    lone.group.storage.checkpoint()
    lone.append((2, 1), [_entry(3, 1, _members("abcde"))], term=1, commit=2)
    lone.flush()
    lone.group.stop()
    again = lone.node.start(_members("xyz"))
    assert again.membership == _members("abcde")
    again.receive("c", _append_of(frame(3, 2)))
    again.step()
    assert again.membership == _members("abcd")


def _append_of(new: Frame) -> Message:
    return AppendEntries(2, 2, 1, commit=2, round=1, attempt=0, frames=[new])


def test_a_follower_takes_no_change() -> None:
    """It says who leads instead."""
    lone = Lone()
    lone.append((1, 0), [], term=1)
    with pytest.raises(NotLeader) as caught:
        lone.group.propose_membership(_members("ab"))
    assert caught.value.leader == "b"
