"""Who leads, and who must not (H1 to H5): with each safeguard, and what happens without it."""

from __future__ import annotations

from typing import Any

import pytest
from floodmark.format.frame import FrameKind
from msgspec.structs import replace

from consensus.core.admission import TERM_RISE_MAX
from consensus.core.safeguards import Safeguard
from consensus.messages import (
    KINDS,
    Message,
    ReplicaGone,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    StaleTerm,
    TermMessage,
    TimeoutNow,
)
from consensus.types import Membership, NotLeader, Role
from storage.vote import VoteFile
from tests.support.raft import Lone, Node, Replicas, example_of, frame, of_kind


def test_three_replicas_elect_one_leader() -> None:
    """All agree on it and on the term, and its first entry is committed everywhere."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    replicas.run(0.2)
    assert {(g.leader, g.term, g.commit_index) for g in replicas.groups()} == {
        (leader.node_id, leader.term, 2)
    }


def test_an_acknowledgement_of_another_term_commits_nothing() -> None:
    """H1: an answer to an earlier leadership says nothing about the entries of this one."""
    commit = {}
    for without in (None, Safeguard.H1):
        lone = Lone(without=without, frames=[frame(2, 1), frame(3, 1)], term=3)
        term = lone.lead()
        lone.flush()
        lone.ack("b", 5, term=term - 1)
        commit[without] = lone.group.commit_index
    assert commit == {None: 1, Safeguard.H1: 4}


def test_an_answer_of_a_higher_term_deposes_the_leader() -> None:
    """H1: whoever answers from a later term knows of a later election."""
    lone = Lone()
    term = lone.lead()
    lone.hear("c", StaleTerm(term=term + 3))
    assert (lone.group.role, lone.group.term) == (Role.FOLLOWER, term + 3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, TermMessage)])
def test_no_message_moves_a_term_further_than_elections_do(kind: type[Message]) -> None:
    """A term near the end of its range would leave no election to come: such a message is left out."""
    lone = Lone()
    term = lone.lead()
    example = example_of(kind)
    told = "own_term" if isinstance(example, RequestPreVoteResponse) else "term"
    said = lone.hear("b", replace(example, **{told: term + TERM_RISE_MAX + 1}))
    assert (lone.group.role, lone.group.term, lone.group.terms_refused, said) == (Role.LEADER, term, 1, [])
    lone.hear("b", replace(example, **{told: term + TERM_RISE_MAX}))
    assert lone.group.terms_refused == 1


def test_a_term_may_rise_as_far_as_elections_can_have_led() -> None:
    """A replica that was away for very many elections follows."""
    lone = Lone()
    term = lone.lead()
    lone.hear("c", StaleTerm(term=term + TERM_RISE_MAX))
    assert (lone.group.role, lone.group.term) == (Role.FOLLOWER, term + TERM_RISE_MAX)


def test_a_vote_counts_once() -> None:
    """H2: of five voters, one that is heard twice does not make a majority."""
    roles = {}
    for without in (None, Safeguard.H2):
        lone = Lone("abcde", without=without)
        term = lone.campaign("bc")
        lone.hear("b", RequestVoteResponse(term=term))
        lone.hear("b", RequestVoteResponse(term=term))
        roles[without] = lone.group.role
    assert roles == {None: Role.CANDIDATE, Safeguard.H2: Role.LEADER}


def test_a_late_vote_after_asking_again_makes_a_leader_that_says_so() -> None:
    """No vote came in time, so it asks in advance anew; the votes that arrive then still count."""
    lone = Lone()
    term = lone.campaign("b")
    said: list[Any] = []
    while not of_kind(RequestPreVote, said):
        said = lone.until_deadline()
    assert (lone.group.leader, lone.group.term) == (None, term)
    lone.hear("b", RequestVoteResponse(term=term))
    lone.flush()
    assert (lone.group.role, lone.group.leader) == (Role.LEADER, "a")


def test_a_follower_names_no_leader_once_it_asks_for_votes() -> None:
    """It was silent for a whole timeout; when it is heard again, it is the leader again."""
    lone = Lone()
    lone.append((1, 0), [frame(2, 1)], term=1)
    assert lone.group.leader == "b"
    said: list[Any] = []
    while not of_kind(RequestPreVote, said):
        said = lone.until_deadline()
    assert lone.group.leader is None
    lone.append((2, 1), [frame(3, 1)], term=1)
    assert lone.group.leader == "b"


def test_a_vote_of_a_stranger_does_not_count() -> None:
    """H2: only the voters of the members in force elect."""
    lone = Lone("abc")
    term = lone.campaign()
    lone.hear("x", RequestVoteResponse(term=term))
    assert lone.group.role is Role.CANDIDATE


def test_a_leader_that_hears_nobody_steps_down() -> None:
    """H3: before others can have elected its successor, not half a minute later."""
    roles = {}
    for without in (None, Safeguard.H3):
        lone = Lone(without=without)
        lone.lead()
        end = lone.now + 1.0
        while lone.now < end:
            lone.until_deadline()
        roles[without] = lone.group.role
    assert roles[None] is not Role.LEADER
    assert roles[Safeguard.H3] is Role.LEADER


def test_an_isolated_replica_keeps_its_term() -> None:
    """H4: it may ask for ever, and when it is back nobody has to follow it into a higher term."""
    terms = {}
    for without in (None, Safeguard.H4):
        replicas = Replicas(without=without)
        replicas.start()
        leader = replicas.elect()
        lonely = replicas.followers()[0]
        replicas.isolate(lonely.node_id)
        replicas.run(20.0)
        terms[without] = lonely.term - leader.term
        if without is None:
            replicas.heal()
            replicas.run(3.0)
            assert replicas.leader() is leader
            assert lonely.leader == leader.node_id
    assert terms[None] == 0
    assert terms[Safeguard.H4] > 10


def test_nobody_grants_a_prevote_while_the_leader_lives() -> None:
    """H4: and once it has been silent for the shortest election timeout, they do."""
    lone = Lone()
    lone.append((1, 0), [], term=1)
    request = RequestPreVote(term=2, last_index=9, last_term=1)
    (early,) = of_kind(RequestPreVoteResponse, lone.hear("c", request))
    lone.now += 0.501
    late, *_ = of_kind(RequestPreVoteResponse, lone.hear("c", request))
    assert (early.granted, late.granted) == (False, True)


def test_a_replica_stuck_in_a_higher_term_comes_back() -> None:
    """H4: its answers depose the leader of the lower term, and the next one leads them all."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    stuck = replicas.followers()[0]
    node = replicas.nodes[stuck.node_id]
    replicas.stop(stuck.node_id)
    vote = VoteFile(node.fs, "g")
    vote.save(leader.term + 5, None)
    vote.close()
    replicas.start(stuck.node_id)
    replicas.run(5.0)
    assert {g.term for g in replicas.groups()} == {replicas.leader().term}
    assert replicas.leader().term > 5


def test_a_replica_that_lost_its_disk_does_not_vote() -> None:
    """H5: it cannot know whom it has voted for before."""
    said = {}
    for without in (None, Safeguard.H5):
        lone = Lone(without=without, voting=False)
        said[without] = [
            type(message)
            for _, message in lone.hear("b", RequestPreVote(term=1, last_index=1, last_term=0))
            + lone.hear("b", RequestVote(term=1, last_index=1, last_term=0))
        ]
    assert RequestVoteResponse not in said[None]
    assert RequestPreVoteResponse not in said[None]
    assert RequestVoteResponse in said[Safeguard.H5]


def test_a_replica_that_lost_its_disk_rejoins() -> None:
    """H5: shown as no voter, then as one again, and it counts again, whatever restarts come between."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    lost = replicas.followers()[0].node_id
    replicas.propose(b"before")
    replicas.run(0.3)
    replicas.stop(lost)
    replicas.nodes[lost] = Node(lost, lambda: replicas.now)
    replicas.start(lost, voting=False)
    replicas.run(1.0)
    assert not replicas.group(lost).may_vote
    voters = replicas.membership.voters
    for members in (Membership(voters - {lost}, frozenset({lost})), Membership(voters)):
        replicas.leader().propose_membership(members)
        replicas.run(0.5)
        replicas.stop(lost)
        replicas.start(lost)
        replicas.run(0.5)
    assert replicas.group(lost).may_vote
    assert replicas.nodes[lost].machine.snapshot() == b"before"
    assert replicas.leader() is leader


def test_a_repaired_replica_votes_when_it_has_all_that_was_committed() -> None:
    """H5: until then what it lost may have been part of a majority."""
    replicas = Replicas()
    replicas.start()
    replicas.elect()
    for number in range(5):
        replicas.propose(b"%d" % number)
    replicas.run(0.3)
    damaged = replicas.followers()[0].node_id
    replicas.stop(damaged)
    node = replicas.nodes[damaged]
    log = node.open_log()
    log.truncate(4)
    log.close()
    vote = VoteFile(node.fs, "g")
    vote.save(vote.term, vote.voted_for, recover_until=7)
    vote.close()
    replicas.start(damaged)
    assert not replicas.group(damaged).may_vote
    replicas.run(1.0)
    assert replicas.group(damaged).may_vote
    assert replicas.group(damaged).commit_index == replicas.leader().commit_index
    assert node.vote.recover_until == 0


def test_a_leadership_is_handed_over() -> None:
    """The successor leads within a few messages; meanwhile proposals are refused with its name."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    replicas.run(0.3)
    to = replicas.followers()[0].node_id
    assert leader.transfer(to)
    with pytest.raises(NotLeader) as caught:
        leader.propose(FrameKind.COMMAND, b"x", append_time=1)
    assert caught.value.leader == to
    replicas.run(0.01)
    assert replicas.leader().node_id == to
    assert leader.role is Role.FOLLOWER


def test_a_hand_over_that_nobody_takes_ends() -> None:
    """The leader goes on when the successor does not answer."""
    lone = Lone()
    lone.lead()
    lone.flush()
    lone.ack("b", 3)
    assert lone.group.transfer("c")
    end = lone.now + 1.1
    while lone.now < end:
        lone.until_deadline()
        lone.ack("b", 3, round_=10**6)
    lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    assert lone.group.role is Role.LEADER


def test_a_hand_over_ends_with_the_link_to_its_successor() -> None:
    """Writes are not held up until a deadline for one that cannot hear; the next attempt goes elsewhere."""
    lone = Lone()
    lone.lead()
    lone.flush()
    lone.ack("b", 3)
    assert lone.group.transfer("c")
    with pytest.raises(NotLeader):
        lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    lone.group.links.peer_down("c")
    lone.step()
    lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    assert lone.group.transfer("b")
    lone.group.links.peer_down("b")
    assert not lone.group.transfer(), "there is nobody left"
    assert lone.group.role is Role.LEADER


def test_a_hand_over_that_is_refused_goes_to_the_next() -> None:
    """At once; where all refuse there is none. Some time later all are asked again."""
    lone = Lone()
    lone.lead()
    lone.flush()
    lone.ack("b", 3)
    assert lone.group.transfer()
    lone.hear("b", ReplicaGone(lone.group.term))
    lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    assert not lone.group.transfer("b")
    assert lone.group.transfer()
    lone.hear("c", ReplicaGone(lone.group.term))
    assert not lone.group.transfer()
    lone.now += 3
    assert lone.group.transfer("b")


def test_replicas_that_are_all_about_to_stop_hand_nothing_over() -> None:
    """The leader of a cluster that stops as a whole learns within a few messages that it waits in vain."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    replicas.run(0.3)
    for group in replicas.groups():
        group.leave()
    assert leader.transfer()
    replicas.run(0.01)
    assert leader.transfer(), "the other one"
    replicas.run(0.01)
    assert not leader.transfer()
    assert leader.role is Role.LEADER


def test_a_replica_that_is_about_to_stop_takes_no_leadership() -> None:
    """Neither what is handed over to it, which it says, nor by itself; it still votes."""
    lone = Lone()
    lone.group.leave()
    assert lone.hear("b", TimeoutNow(term=0)) == [("b", ReplicaGone(0))]
    lone.now += 60.0
    assert lone.step() == []
    said = lone.hear("b", RequestVote(term=5, last_index=1, last_term=0))
    assert [(node, type(message)) for node, message in said] == [("b", RequestVoteResponse)]


def test_whoever_is_counted_votes() -> None:
    """A replica that does not know yet that it is a voter elects a candidate that does."""
    lone = Lone("bc")
    said = lone.hear("b", RequestVote(term=1, last_index=1, last_term=0))
    assert [(node, type(message)) for node, message in said] == [("b", RequestVoteResponse)]
    lone.now += 10
    assert lone.step() == []
    assert lone.group.role is Role.LEARNER


def test_a_follower_that_is_always_late_campaigns_all_the_same():
    """Time in which it did not run is granted to a silent leader once, and again when that was heard."""
    lone = Lone()
    for _ in range(2):
        lone.append((1, 0), [], term=1)
        lone.now = lone.group.next_deadline
        lone.group.held_up(1.0)
        assert not of_kind(RequestPreVote, lone.step())
        lone.now = lone.group.next_deadline
        lone.group.held_up(1.0)
        assert of_kind(RequestPreVote, lone.step())
