"""Idle groups sleep, and wake for everything that matters."""

from __future__ import annotations

import math

from consensus.types import GroupOptions, Message, Stored
from tests.support.raft import Lone, Replicas


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


def test_a_barrier_wakes_a_sleeping_follower_and_its_leader() -> None:
    """Reads are confirmed as ever."""
    replicas = _asleep()
    barrier = replicas.followers()[0].barrier()
    replicas.run(0.1)
    assert barrier.index == replicas.leader().commit_index


def test_a_group_with_something_uncommitted_stays_awake() -> None:
    """A leader that can not commit keeps trying."""
    replicas = _asleep()
    replicas.flushing = False
    replicas.propose(b"2")
    replicas.run(3.0)
    assert not replicas.leader().asleep


def test_a_question_that_is_as_new_as_the_leaders_good_night_is_asked() -> None:
    """The message to go to sleep comes between a barrier and the step that was to ask the leader."""
    lone = Lone()
    lone.append((1, 0), [], term=1)
    barrier = lone.group.barrier()
    said = lone.hear("b", "quiesce", term=1, commit=1, last_index=1, last_term=0)
    (question,) = [fields for _, kind, fields in said if kind == "read_request"]
    lone.hear("b", "read_index", id=question["id"], index=1, ok=True)
    assert barrier.done
    assert not lone.group.asleep


def test_the_acknowledgement_that_lets_a_leader_sleep_does_not_wait_for_another_heartbeat() -> None:
    """Which would only ask for one more."""
    lone = Lone(options=GroupOptions(quiesce_after_s=0.5))
    lone.lead()
    lone.flush()
    for name in "bc":
        lone.ack(name, 3)
    fields = {"term": lone.group.term, "next_index": 3, "success": True, "reset": False, "attempt": 0}
    while not lone.group.asleep:
        said = lone.until_deadline()
        for name, kind, sent in said:
            assert kind in ("append", "quiesce")
            if kind == "append" and lone.group.receive(
                name, Message("ack", {**fields, "round": sent["round"], "trusted": True}, [])
            ):
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
    assert leader.match_of(gone) == 0
    assert not leader.keeps_up(gone)
    replicas.reopen(gone)
    replicas.run(3.0)
    assert leader.match_of(gone) == leader.log.last_index
    assert all(group.asleep for group in replicas.groups())


def test_a_sleeping_follower_looks_when_the_node_that_it_follows_says_it_does_not_lead() -> None:
    """As a request that it passed on was answered. Where the leader does lead, nothing changes."""
    replicas = _asleep()
    leader, follower = replicas.leader(), replicas.followers()[0]
    term = leader.term
    follower.peer_silent("nobody")
    assert follower.asleep
    follower.peer_silent(leader.node_id)
    assert not follower.asleep
    replicas.run(5.0)
    assert all(group.asleep and group.term == term for group in replicas.groups())


def test_a_node_that_is_no_member_wakes_nobody() -> None:
    """One that joins the cluster, or goes: with a thousand groups each costs something."""
    replicas = _asleep()
    for group in replicas.groups():
        group.peer_up("z")
        group.peer_down("z")
        group.peer_silent("z")
        group.peer_gone("z")
    assert all(group.asleep for group in replicas.groups())


def test_a_new_connection_wakes_those_alone_that_have_to_say_something() -> None:
    """The leader, whoever comes back; a follower where the leader is another process now."""
    replicas = _asleep()
    leader, (one, other) = replicas.leader(), replicas.followers()
    one.peer_up(other.node_id)
    assert one.asleep
    one.peer_up(leader.node_id)
    assert not one.asleep
    leader.peer_up(other.node_id)
    assert not leader.asleep
    replicas.run(5.0)
    assert all(group.asleep for group in replicas.groups())
    assert replicas.leader() is leader
