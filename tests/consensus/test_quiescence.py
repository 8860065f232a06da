"""Idle groups sleep, and wake for everything that matters."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from consensus.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Message,
    Quiesce,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
)
from consensus.types import GroupOptions, Role, Stored
from consensus.wire import COMMIT_WITH_QUIESCE
from tests.support.raft import Lone, Replicas, frame, of_kind


def _asleep() -> Replicas:
    replicas = Replicas(options=GroupOptions(quiesce_after_s=0.5))
    replicas.start()
    replicas.elect()
    replicas.propose(b"1")
    replicas.run(3.0)
    assert all(group.asleep and group.next_deadline == math.inf for group in replicas.groups())
    return replicas


def test_an_idle_group_says_nothing() -> None:
    """Not one message, and no step is due."""
    replicas = _asleep()
    replicas.sent.clear()
    replicas.run(60.0)
    assert replicas.sent == []


def test_a_proposal_wakes_a_sleeping_group() -> None:
    """It is stored as ever, and the group falls asleep again."""
    replicas = _asleep()
    proposal = replicas.propose(b"2")
    replicas.run(0.1)
    assert isinstance(proposal.outcome, Stored)
    assert {group.leader for group in replicas.groups()} == {replicas.leader().node_id}
    replicas.run(3.0)
    assert all(group.asleep for group in replicas.groups())


def test_a_sleeping_group_notices_that_its_leader_is_gone() -> None:
    """The host says that the leader's node is silent, and an election follows."""
    replicas = _asleep()
    gone = replicas.leader().node_id
    replicas.stop(gone)
    assert replicas.elect().node_id != gone


def test_a_follower_that_comes_back_wakes_the_leader() -> None:
    """A sleeping leader catches it up."""
    replicas = Replicas(options=GroupOptions(quiesce_after_s=0.5))
    replicas.start("ab")
    replicas.elect()
    replicas.propose(b"1")
    replicas.run(3.0)
    assert replicas.leader().asleep
    replicas.start("c")
    replicas.run(2.0)
    assert replicas.group("c").commit_index == replicas.leader().commit_index
    assert all(group.asleep for group in replicas.groups())


def test_a_read_index_wakes_a_sleeping_follower_and_its_leader() -> None:
    """Reads are confirmed as ever."""
    replicas = _asleep()
    read_index = replicas.followers()[0].read_index()
    replicas.run(0.1)
    assert read_index.index == replicas.leader().commit_index


def test_a_group_with_something_uncommitted_stays_awake() -> None:
    """A leader that cannot commit keeps trying."""
    replicas = _asleep()
    replicas.flushing = False
    replicas.propose(b"2")
    replicas.run(3.0)
    assert not replicas.leader().asleep


def test_a_question_that_is_as_new_as_the_leaders_good_night_is_asked() -> None:
    """The message to go to sleep comes between a read index and the step that was to ask the leader."""
    lone = Lone()
    lone.append((1, 0), [], term=1)
    read_index = lone.group.read_index()
    said = lone.hear("b", Quiesce(term=1, commit=1, last_index=1, last_term=0))
    (question,) = of_kind(ReadIndexRequest, said)
    lone.hear("b", ReadIndexResponse(id=question.id, index=1, ok=True))
    assert read_index.done
    assert not lone.group.asleep


def test_the_acknowledgement_that_lets_a_leader_sleep_does_not_wait_for_another_heartbeat() -> None:
    """Which would only ask for one more."""
    lone = Lone(options=GroupOptions(quiesce_after_s=0.5))
    lone.lead()
    lone.flush()
    for name in "bc":
        lone.ack(name, 3)
    term = lone.group.term
    while not lone.group.asleep:
        said = lone.until_deadline()
        for name, sent in said:
            assert isinstance(sent, AppendEntries | Quiesce)
            if isinstance(sent, AppendEntries):
                ack = AppendEntriesResponse(
                    term, 3, success=True, reset=False, round=sent.round, attempt=0, trusted=True
                )
                if lone.group.receive(name, ack):
                    lone.step()
        assert lone.now < 110, "it never sleeps"


def test_a_sleeping_group_hears_that_its_leaders_replica_ended() -> None:
    """The leader's node lives, so no link tells it: the replica's last words do, and the others elect."""
    replicas = _asleep()
    gone = replicas.leader().node_id
    replicas.fail(gone)
    assert replicas.elect().node_id != gone
    proposal = replicas.propose(b"2")
    replicas.run(0.5)
    assert isinstance(proposal.outcome, Stored)
    assert {group.leader for group in replicas.groups()} == {replicas.leader().node_id}


def test_a_leader_sleeps_no_more_while_a_followers_replica_is_absent() -> None:
    """What that one had acknowledged may be damaged: it counts again once it says so anew."""
    replicas = _asleep()
    gone = replicas.followers()[0].node_id
    replicas.fail(gone)
    replicas.run(10.0)
    leader = replicas.leader()
    assert not leader.asleep
    assert leader.followers.match_of(gone) == 0
    assert not leader.followers.keeps_up(gone)
    replicas.reopen(gone)
    replicas.run(3.0)
    assert leader.followers.match_of(gone) == leader.log.last_index
    assert all(group.asleep for group in replicas.groups())


def test_a_sleeping_follower_looks_when_the_node_that_it_follows_says_it_does_not_lead() -> None:
    """As a request that it passed on was answered. Where the leader does lead, nothing changes."""
    replicas = _asleep()
    leader, follower = replicas.leader(), replicas.followers()[0]
    term = leader.term
    follower.links.peer_silent("nobody")
    assert follower.asleep
    follower.links.peer_silent(leader.node_id)
    assert not follower.asleep
    replicas.run(5.0)
    assert all(group.asleep and group.term == term for group in replicas.groups())


def test_a_node_that_is_no_member_wakes_nobody() -> None:
    """One that joins the cluster, or goes: with a thousand groups each costs something."""
    replicas = _asleep()
    for group in replicas.groups():
        group.links.peer_up("z")
        group.links.peer_down("z")
        group.links.peer_silent("z")
        group.links.peer_gone("z")
    assert all(group.asleep for group in replicas.groups())


def test_a_new_connection_wakes_those_alone_that_have_to_say_something() -> None:
    """The leader, whoever comes back; a follower where the leader is another process now."""
    replicas = _asleep()
    leader, (one, other) = replicas.leader(), replicas.followers()
    one.links.peer_up(other.node_id)
    assert one.asleep
    one.links.peer_up(leader.node_id)
    assert not one.asleep
    leader.links.peer_up(other.node_id)
    assert not leader.asleep
    replicas.run(5.0)
    assert all(group.asleep for group in replicas.groups())
    assert replicas.leader() is leader


def _kinds(replicas: Replicas) -> Counter[type[Message]]:
    return Counter(type(message) for _, _, message in replicas.sent)


def _asleep_at_once(names: str = "abc", **options: Any) -> Replicas:
    replicas = Replicas(names, options=GroupOptions(), **options)
    replicas.start()
    replicas.elect()
    replicas.propose(b"1")
    replicas.run(3.0)
    assert all(group.asleep for group in replicas.groups())
    replicas.sent.clear()
    return replicas


def test_a_record_of_a_sleeping_group_costs_three_messages_for_each_follower() -> None:
    """The entry, its acknowledgement, and the message that tells of the commit and puts to sleep again."""
    replicas = _asleep_at_once()
    proposal = replicas.propose(b"2")
    replicas.run(0.03)
    assert isinstance(proposal.outcome, Stored)
    assert _kinds(replicas) == {AppendEntries: 2, AppendEntriesResponse: 2, Quiesce: 2}
    assert all(group.asleep and group.applied_index == proposal.outcome.index for group in replicas.groups())
    replicas.run(60.0)
    assert len(replicas.sent) == 6
    for number in range(5):
        replicas.propose(b"%d" % number)
        replicas.run(0.5)
    assert len(replicas.sent) == 36


def test_learners_are_told_of_the_last_commit_and_sleep_as_well() -> None:
    """Nobody would tell them later: they never ask for votes."""
    replicas = _asleep_at_once("abcd", learners="d")
    index = replicas.leader().commit_index
    replicas.propose(b"2")
    replicas.run(0.03)
    assert replicas.group("d").asleep
    assert replicas.group("d").applied_index == index + 1
    assert _kinds(replicas) == {AppendEntries: 3, AppendEntriesResponse: 3, Quiesce: 3}


def test_a_read_index_of_a_sleeping_group_asks_everybody_once() -> None:
    """At the leader, and for a follower with one question and answer more. No heartbeat goes beside it."""
    replicas = _asleep_at_once()
    for group, more in (
        (replicas.leader(), {}),
        (replicas.followers()[0], {ReadIndexRequest: 1, ReadIndexResponse: 1}),
    ):
        replicas.sent.clear()
        read_index = group.read_index()
        replicas.run(5.0)
        assert read_index.index == group.commit_index
        assert _kinds(replicas) == {AppendEntries: 2, AppendEntriesResponse: 2, Quiesce: 2, **more}


def test_records_that_follow_each_other_keep_a_group_awake() -> None:
    """The next one comes before the commit of the last would have been told by itself."""
    replicas = _asleep_at_once()
    for _ in range(20):
        replicas.propose(b"2")
        replicas.run(0.015)
        assert not replicas.leader().asleep
    replicas.run(0.2)
    assert all(group.asleep for group in replicas.groups())
    assert _kinds(replicas)[Quiesce] == 2


def test_a_proposal_that_comes_when_the_group_would_fall_asleep_is_appended() -> None:
    """The step that is to put the group to sleep has it in its queue."""
    replicas = _asleep_at_once()
    leader = replicas.leader()
    replicas.propose(b"2")
    replicas.run(0.01)
    assert not leader.asleep
    replicas.now = leader.next_deadline
    proposal = replicas.propose(b"3")
    replicas.run(0.01)
    assert isinstance(proposal.outcome, Stored)


def test_a_follower_that_misses_the_message_is_told_again_and_disturbs_nobody() -> None:
    """It hears nobody, asks for votes, and so wakes the leader; the other one sleeps and grants it none."""
    replicas = _asleep_at_once()
    leader, (one, other) = replicas.leader(), replicas.followers()
    term = leader.term
    proposal = replicas.propose(b"2")
    replicas.run(0.01)
    assert isinstance(proposal.outcome, Stored)
    replicas.cut.add((leader.node_id, one.node_id))
    replicas.run(0.02)
    assert leader.asleep
    assert other.asleep
    assert not one.asleep
    assert one.applied_index < proposal.outcome.index
    replicas.cut.clear()
    replicas.run(3.0)
    assert one.applied_index == proposal.outcome.index
    assert all(group.asleep and group.term == term for group in replicas.groups())


def test_who_sleeps_grants_no_vote_to_who_cannot_hear_the_leader() -> None:
    """It wakes the leader instead, and hears it before it is asked again."""
    replicas = _asleep_at_once()
    leader, (one, other) = replicas.leader(), replicas.followers()
    term = leader.term
    replicas.cut |= {(leader.node_id, one.node_id), (one.node_id, leader.node_id)}
    one.links.peer_silent(leader.node_id)
    replicas.run(30.0)
    assert _kinds(replicas)[RequestPreVote] > 20
    assert not other.asleep
    assert {group.term for group in replicas.groups()} == {term}
    assert leader.role is Role.LEADER


def test_a_sleeping_group_elects_as_soon_as_others_when_its_leader_is_gone() -> None:
    """Who was told that the leader's link is silent does not wait any longer for it."""
    replicas = _asleep_at_once()
    replicas.stop(replicas.leader().node_id)
    began = replicas.now
    replicas.elect()
    assert replicas.now - began < 1.1


def test_a_follower_with_another_log_says_that_it_stays_awake() -> None:
    """Its commit index stays as well: the message says nothing about such a log. The leader then wakes up."""
    for quiesce in (
        Quiesce(term=1, commit=1, last_index=3, last_term=1),
        Quiesce(term=1, commit=2, last_index=2, last_term=0),
        Quiesce(term=2, commit=2, last_index=2, last_term=1),
    ):
        lone = Lone(options=GroupOptions())
        lone.append((1, 0), [frame(2, 1)], term=1)
        lone.flush()
        ((to, answer),) = lone.hear("b", quiesce)
        assert to == "b"
        assert isinstance(answer, AppendEntriesResponse)
        assert (answer.success, answer.reset, answer.next_index) == (False, False, 3)
        assert not lone.group.asleep
        assert lone.group.commit_index == 1
    lone = Lone(options=GroupOptions())
    lone.append((1, 0), [frame(2, 1)], term=1)
    lone.flush()
    assert lone.hear("b", Quiesce(term=1, commit=2, last_index=2, last_term=1)) == []
    assert lone.group.asleep
    assert lone.group.applied_index == 2


def test_a_leader_hears_of_a_member_that_stays_awake() -> None:
    """It goes on with heartbeats, believes nothing about the member's log, and sleeps once all is said."""
    replicas = _asleep_at_once()
    leader, (one, _) = replicas.leader(), replicas.followers()
    ack = AppendEntriesResponse(leader.term, 1, success=False, reset=False, round=0, attempt=0, trusted=True)
    leader.receive(one.node_id, ack)
    replicas.run(0.001)
    assert not leader.asleep
    assert leader.followers.match_of(one.node_id) == leader.log.last_index
    replicas.run(1.0)
    assert _kinds(replicas) == {AppendEntries: 2, AppendEntriesResponse: 2, Quiesce: 2}


def test_a_follower_sleeps_once_it_has_applied_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be more than one step's worth, and a sleeping replica takes no steps."""
    monkeypatch.setattr("consensus.core.apply.FRAMES_PER_STEP_MAX", 2)
    lone = Lone(options=GroupOptions())
    lone.append((1, 0), [frame(index, 1) for index in range(2, 7)], term=1)
    lone.flush()
    lone.hear("b", Quiesce(term=1, commit=6, last_index=6, last_term=1))
    steps = 0
    while not lone.group.asleep:
        assert lone.group.next_deadline <= lone.now + 1e-6
        lone.until_deadline()
        steps += 1
        assert steps < 5
    assert lone.group.applied_index == 6
    assert steps == 2


def test_a_successor_that_was_asked_to_take_over_does_not_fall_asleep() -> None:
    """A message of the outgoing leader that comes behind that is none of a leader any more."""
    lone = Lone(options=GroupOptions())
    lone.append((1, 0), [frame(2, 1)], term=1)
    lone.flush()
    lone.group.receive("b", TimeoutNow(term=1))
    quiesce = {"term": 1, "commit": 2, "last_index": 2, "last_term": 1}
    said = lone.hear("b", Quiesce(**quiesce)) + lone.until_deadline()
    assert len(of_kind(RequestVote, said)) == 2


def test_members_of_an_older_build_hear_of_the_commit_first_and_sleep_after_a_second() -> None:
    """They take the message to sleep only for what they know, and would sleep before they have applied it."""
    replicas = _asleep_at_once()
    leader, (one, _) = replicas.leader(), replicas.followers()
    leader.links.peer_down(one.node_id)
    leader.links.peer_up(one.node_id, COMMIT_WITH_QUIESCE - 1)
    replicas.run(3.0)
    assert leader.asleep
    replicas.sent.clear()
    replicas.propose(b"2")
    replicas.run(0.9)
    assert not leader.asleep
    assert _kinds(replicas)[Quiesce] == 0
    assert one.commit_index == leader.commit_index
    replicas.run(1.0)
    assert all(group.asleep for group in replicas.groups())
    leader.links.peer_down(one.node_id)
    leader.links.peer_up(one.node_id)
    replicas.run(0.5)
    assert leader.asleep
