"""The way back of a replica that lost data (H5): what it must wait for, and that it always gets there."""

from __future__ import annotations

from typing import Any

import pytest
from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.core import membership
from consensus.messages import (
    AppendEntriesResponse,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
)
from consensus.types import ChangeRefused, Membership
from storage.vote import VoteFile
from tests.support.raft import Lone, frame, of_kind


def _recovering() -> tuple[Lone, int]:
    """A replica that lost entry 4 of 4, after a leader's heartbeat; with the id of what it asks."""
    lone = Lone()
    lone.append((1, 0), [frame(2, 1), frame(3, 1)], term=1)
    lone.flush()
    lone.node.crash()
    vote = VoteFile(lone.node.fs, "g")
    vote.save(vote.term, vote.voted_for, recover_until=4)
    vote.close()
    lone.group = lone.node.start(lone.membership)
    lone.log = lone.node.log
    return lone, _asked(lone.append((3, 1), [], term=1, commit=3))


def _asked(said: list[Any]) -> int:
    """The id of the only read index that was asked for."""
    (number,) = (message.id for message in of_kind(ReadIndexRequest, said))
    return int(number)


def test_a_repaired_replica_does_not_vote_while_its_acknowledgement_may_still_count() -> None:
    """H5: until it hears otherwise the leader counts entry 4, and commits it with its own fsync."""
    lone, first = _recovering()
    said = lone.hear("b", ReadIndexResponse(id=first, index=3, ok=True))
    assert not lone.group.may_vote
    second = _asked(said)
    lone.hear("b", ReadIndexResponse(id=second, index=3, ok=True))
    assert lone.group.may_vote
    assert lone.node.vote.recover_until == 0


def test_a_repaired_replica_votes_when_what_it_lost_is_back() -> None:
    """H5: it has what it acknowledged; nothing more need be asked."""
    lone, first = _recovering()
    lone.hear("b", ReadIndexResponse(id=first, index=3, ok=True))
    lone.append((3, 1), [frame(4, 1)], term=1, commit=3)
    assert not lone.group.may_vote
    lone.flush()
    assert lone.group.may_vote


def test_a_new_connection_takes_acknowledgements_back_until_they_are_repeated() -> None:
    """H5: another process may answer now, with a log that was repaired since."""
    lone = Lone()
    lone.lead()
    lone.ack("b", 3)
    lone.group.links.peer_down("b")
    lone.group.links.peer_up("b")
    lone.flush()
    assert lone.group.commit_index == 1
    lone.ack("b", 3)
    assert lone.group.commit_index == 2


def test_who_comes_over_a_new_connection_has_not_said_yet_that_it_counts() -> None:
    """H5: where the whole log is shorter than the lag that is allowed, an empty disk would be promoted."""
    lone = Lone(frames=[_members_frame(2, "abc", "d")], term=1)
    lone.lead()
    lone.flush()
    lone.ack("b", 4)
    lone.ack("d", 4)
    lone.group.links.peer_down("d")
    lone.group.links.peer_up("d")
    assert not lone.group.followers.is_trusted("d")
    with pytest.raises(ChangeRefused, match="has not said"):
        lone.group.propose_membership(Membership(frozenset("abcd")))
    lone.ack("d", 4)
    assert lone.group.followers.is_trusted("d")


def test_who_has_lost_everything_has_until_it_says_otherwise() -> None:
    """H5: a new connection alone brings nothing back."""
    lone = Lone()
    lone.lead()
    lone.ack("b", 1, trusted=False)
    lone.group.links.peer_down("b")
    lone.group.links.peer_up("b")
    assert lone.group.followers.has_lost("b")
    lone.ack("b", 2)
    assert not lone.group.followers.has_lost("b")


@pytest.mark.parametrize("again_at", [1, 2])
def test_a_lost_replica_stays_lost_without_its_checkpoint(again_at: int) -> None:
    """H5: what it may not do does not stand in one file alone."""
    lone = Lone(voting=False)
    for _ in range(again_at):
        lone.node.crash()
        lone.node.fs.unlink("g/checkpoint")
        lone.group = lone.node.start(lone.membership)
    assert not lone.group.may_vote
    said = lone.append((1, 0), [], term=1)
    assert [message.trusted for message in of_kind(AppendEntriesResponse, said)] == [False]


@pytest.mark.parametrize("trusted", [True, False, None])
def test_a_learner_becomes_a_voter_only_when_it_has_said_that_it_may_count(trusted: bool | None) -> None:
    """H5: a new leader knows of no loss before an acknowledgement tells it, and must not assume none."""
    lone = Lone(frames=[_members_frame(2, "abc", "d")], term=1)
    lone.lead()
    lone.flush()
    lone.ack("b", 4)
    assert lone.group.is_ready_leader
    if trusted is not None:
        lone.ack("d", 4, trusted=trusted)
    assert (lone.group.followers.is_trusted("d"), lone.group.followers.has_lost("d")) == (
        trusted is True,
        trusted is False,
    )
    wanted = Membership(frozenset("abcd"))
    if trusted:
        lone.group.propose_membership(wanted)
        return
    with pytest.raises(ChangeRefused, match="has not said"):
        lone.group.propose_membership(wanted)


def _members_frame(index: int, voters: str, learners: str) -> Frame:
    payload = membership.encode(Membership(frozenset(voters), frozenset(learners)))
    return Frame(index, 1, 0, 0, 0, FrameKind.MEMBERSHIP, payload, crc_of(payload))


def test_a_lost_replica_votes_from_the_next_term_on_once_it_counts_for_nothing() -> None:
    """H5: it may be made a voter, and the leader may die, before it hears of either. In the term of now it
    may have voted before the loss.
    """
    lone = Lone(voting=False)
    first = _asked(lone.append((1, 0), [_members_frame(2, "bc", "a")], term=1, commit=1))
    lone.flush()
    lone.hear("b", ReadIndexResponse(id=first, index=1, ok=True))
    assert not lone.group.may_vote, "that it counts for nothing is not known to be committed"
    lone.append((2, 1), [], term=1, commit=2)
    assert lone.group.may_vote
    assert lone.node.vote.recover_until == 0
    log = {"last_index": 2, "last_term": 1}
    assert not of_kind(RequestVoteResponse, lone.hear("c", RequestVote(term=1, **log)))
    assert [type(message) for _, message in lone.hear("c", RequestVote(term=2, **log))] == [
        RequestVoteResponse
    ]
