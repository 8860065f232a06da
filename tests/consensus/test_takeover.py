"""Where the leader's process is gone another one leads soon, however long the timeouts are."""

from __future__ import annotations

import pytest

from consensus.messages import RequestPreVote, RequestPreVoteResponse, RequestVote
from consensus.types import GroupOptions, Stored
from tests.support.raft import Lone, Replicas, of_kind

PATIENT = GroupOptions(election_timeout_min_s=100.0, election_timeout_max_s=200.0, takeover_s=0.5)
"""No election of these tests can be one of a timeout."""
ASKED_S = 0.01


def _led(*, names: str = "abc", raft_group: int = 1) -> Replicas:
    replicas = Replicas(names, options=PATIENT)
    replicas.start(raft_group=raft_group)
    replicas.group("a").campaign()
    assert replicas.elect().node_id == "a"
    replicas.propose(b"1")
    replicas.run(5.0)
    return replicas


@pytest.mark.parametrize("names", ["abc", "abcde"])
@pytest.mark.parametrize("raft_group", range(1, 7))
def test_a_group_whose_leader_is_gone_elects_once(names: str, raft_group: int) -> None:
    """One replica asks for votes, and becomes the leader of the next term."""
    replicas = _led(names=names, raft_group=raft_group)
    term = replicas.leader().term
    assert all(group.asleep for group in replicas.groups())
    replicas.sent.clear()
    replicas.stop("a")
    replicas.until(lambda: any(group.is_ready_leader for group in replicas.groups()), len(names))
    asked = {source for source, _, message in replicas.sent if isinstance(message, RequestVote)}
    assert asked == {replicas.leader().node_id}
    assert {group.term for group in replicas.groups()} == {term + 1}


def test_those_who_are_left_share_what_was_led() -> None:
    """Who asks first differs from group to group."""
    leaders = set()
    for raft_group in (1, 2):
        replicas = _led(raft_group=raft_group)
        replicas.stop("a")
        leaders.add(replicas.elect().node_id)
    assert leaders == {"b", "c"}


def test_a_leader_that_one_replica_hears_stays() -> None:
    """A cut in one direction: who does not hear the leader asks in vain, and nobody follows it."""
    replicas = _led()
    leader, term = replicas.leader(), replicas.leader().term
    replicas.cut.add(("a", "b"))
    replicas.group("b").links.peer_silent("a")
    replicas.group("b").links.peer_gone("a")
    replicas.run(30.0)
    asked = [source for source, _, message in replicas.sent if isinstance(message, RequestPreVote)]
    assert "b" in asked
    assert replicas.leader() is leader
    assert {group.term for group in replicas.groups()} == {term}


def test_who_asks_in_vain_does_not_ask_often() -> None:
    """Three times soon, and then as seldom as timeouts are."""
    replicas = _led()
    replicas.cut.add(("a", "b"))
    replicas.sent.clear()
    replicas.group("b").links.peer_gone("a")
    replicas.run(90.0)
    asked = [target for source, target, message in replicas.sent if isinstance(message, RequestPreVote)]
    assert asked.count("c") == 4


def test_nobody_has_to_hear_of_it_first() -> None:
    """Whoever is asked before it knows that the leader is gone refuses, and is asked again."""
    replicas = _led(raft_group=1)
    first, second = ("b", "c") if _first_to_ask(1) == "b" else ("c", "b")
    replicas.cut |= {("a", "b"), ("a", "c")}
    replicas.group(first).links.peer_gone("a")
    replicas.until(
        lambda: any(isinstance(message, RequestPreVote) for source, _, message in replicas.sent), 1.0
    )
    replicas.run(ASKED_S)
    replicas.group(second).links.peer_gone("a")
    replicas.until(lambda: any(replicas.group(name).is_ready_leader for name in "bc"), 5.0)


def _first_to_ask(raft_group: int) -> str:
    replicas = _led(raft_group=raft_group)
    replicas.sent.clear()
    replicas.stop("a")
    replicas.elect()
    return next(source for source, _, message in replicas.sent if isinstance(message, RequestPreVote))


def test_of_two_that_ask_at_once_one_yields() -> None:
    """Else each would have the other's word, and vote for itself. A longer log goes first all the same."""
    for last_index, granted in ((1, False), (2, True)):
        lone = Lone(options=PATIENT)
        lone.append((1, 0), [], term=1, source="c")
        lone.group.links.peer_gone("c")
        said = lone.until_deadline()
        assert [type(message) for _, message in said] == [RequestPreVote] * 2
        said = lone.hear("b", RequestPreVote(term=2, last_index=last_index, last_term=0))
        assert [message.granted for message in of_kind(RequestPreVoteResponse, said)] == [granted]


def test_who_would_vote_for_another_lets_it_win() -> None:
    """Its own question waits."""
    lone = Lone(options=PATIENT)
    lone.append((1, 0), [], term=1, source="c")
    lone.group.links.peer_gone("c")
    lone.hear("b", RequestPreVote(term=2, last_index=1, last_term=0))
    assert lone.group.next_deadline > lone.now + PATIENT.takeover_s


def test_who_was_held_up_asks_all_the_same() -> None:
    """A busy process grants a leader the time in which it did not run, but not one that is gone."""
    lone = Lone(options=PATIENT)
    lone.append((1, 0), [], term=1, source="c")
    lone.group.links.peer_gone("c")
    lone.now += 2.0
    lone.group.held_up(2.0)
    assert [type(message) for _, message in lone.step()] == [RequestPreVote] * 2


def test_a_group_whose_leaders_replica_ended_elects_soon_as_well() -> None:
    """Its node lives and says so: no link tells it."""
    replicas = _led()
    replicas.fail("a")
    proposal = replicas.propose(b"2", to=replicas.elect())
    replicas.run(0.1)
    assert isinstance(proposal.outcome, Stored)
