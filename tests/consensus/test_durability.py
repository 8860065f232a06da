"""What counts as stored, and when (C1, C3, C4): with each safeguard, and what happens without it."""

from __future__ import annotations

import errno
import math

import pytest
from floodmark.format.frame import FrameKind

from consensus.core.checkpoint_format import State
from consensus.core.safeguards import Safeguard
from consensus.messages import AppendEntriesResponse, ReplicaGone, RequestVote, RequestVoteResponse
from consensus.types import LogDiverged, Stored
from storage.errors import LogFailed
from storage.vote import VoteFile
from tests.support.raft import Lone, Replicas, frame, of_kind


def test_a_resent_append_removes_nothing() -> None:
    """C1: entries that were acknowledged stay when the leader sends the first of them again."""
    last = {}
    for without in (None, Safeguard.C1):
        lone = Lone(without=without)
        lone.append((1, 0), [frame(2, 1), frame(3, 1), frame(4, 1)], term=1)
        lone.flush()
        lone.append((1, 0), [frame(2, 1)], term=1)
        last[without] = lone.log.last_index
    assert last == {None: 4, Safeguard.C1: 2}


def test_a_conflicting_entry_replaces_what_stands_there_and_after() -> None:
    """C1: only where the terms differ something is removed."""
    lone = Lone()
    lone.append((1, 0), [frame(2, 1), frame(3, 1), frame(4, 1)], term=1)
    lone.append((1, 0), [frame(2, 1), frame(3, 2, b"new")], term=2, source="c")
    assert [(f.index, f.term) for f in lone.log.frames(2, lone.log.last_index)] == [(2, 1), (3, 2)]


def test_what_is_committed_is_never_replaced_and_the_difference_is_named() -> None:
    """A leader that lacks it sends another entry there: this replica ends, and says which one it is."""
    lone = Lone()
    lone.append((1, 0), [frame(2, 1), frame(3, 1), frame(4, 1)], term=1, commit=3)
    lone.flush()
    lone.append((1, 0), [frame(2, 1), frame(3, 2, b"other")], term=2, source="c")
    error = lone.group.failed
    assert isinstance(error, LogDiverged)
    assert (error.index, error.term, error.leaders_term) == (3, 1, 2)
    assert "entry 3 is committed here with term 1, and its leader has it with 2" in str(error)
    assert [f.term for f in lone.log.frames(2, lone.log.last_index)] == [1, 1, 1]


def test_a_commit_index_covers_only_what_its_append_vouches_for() -> None:
    """C1B: another leader's entries behind the append are not committed by its commit index."""
    commit = {}
    for without in (None, Safeguard.C1B):
        lone = Lone(without=without, frames=[frame(2, 1), frame(3, 1), frame(4, 1)], term=1)
        lone.append((2, 1), [], term=2, commit=4)
        commit[without] = lone.group.commit_index
    assert commit == {None: 2, Safeguard.C1B: 4}


def test_a_stored_commit_index_beyond_the_log_is_not_believed() -> None:
    """C3: a leader whose log lost its end acknowledges nothing that no other replica has."""
    outcomes = {}
    for without in (None, Safeguard.C3):
        lone = Lone(frames=[frame(2, 1), frame(3, 1)], term=1)
        lone.log.checkpoint(State(9, 3, 0, [(1, lone.membership)]).encode())
        lone.group.stop()
        again = lone.group = lone.node.start(lone.membership, safeguards=frozenset(Safeguard) - {without})
        lone.log = lone.node.log
        lone.group.links.peer_up("b")
        lone.lead()
        proposal = again.propose(FrameKind.COMMAND, b"new", append_time=1)
        lone.step()
        lone.flush()
        lone.step()
        outcomes[without] = proposal.outcome
    assert outcomes[None] is None
    assert isinstance(outcomes[Safeguard.C3], Stored)


def test_a_follower_acknowledges_what_is_durable() -> None:
    """C4: the acknowledgement leaves with the fsync, not before."""
    for without in (None, Safeguard.C4):
        lone = Lone(without=without)
        said = lone.append((1, 0), [frame(2, 1)], term=1)
        assert bool(said) == (without is not None)
        if without is None:
            acks = of_kind(AppendEntriesResponse, lone.flush())
            assert [(ack.success, ack.next_index) for ack in acks] == [(True, 3)]


def test_a_heartbeat_is_answered_while_the_disk_is_slow() -> None:
    """C4: the answer covers what is durable, and tells the leader that this replica lives."""
    lone = Lone()
    lone.append((1, 0), [frame(2, 1)], term=1)
    lone.flush()
    lone.append((2, 1), [frame(3, 1)], term=1)
    (ack,) = of_kind(AppendEntriesResponse, lone.append((3, 1), [], term=1))
    assert (ack.success, ack.next_index) == (True, 3)


def test_a_leader_counts_itself_when_its_own_disk_is_done() -> None:
    """C4: with one follower's acknowledgement of three voters, the leader's own fsync decides."""
    commit = {}
    for without in (None, Safeguard.C4):
        lone = Lone(without=without)
        lone.lead()
        lone.ack("b", 3)
        commit[without] = lone.group.commit_index
    assert commit == {None: 1, Safeguard.C4: 2}
    lone = Lone()
    lone.lead()
    lone.ack("b", 3)
    lone.flush()
    assert lone.group.commit_index == 2


def test_a_single_voter_commits_what_its_disk_has() -> None:
    """C4: with nobody to ask, durable is what decides, also while more is coming in."""
    lone = Lone("a")
    lone.until_deadline()
    first = lone.group.propose(FrameKind.COMMAND, b"1", append_time=1)
    lone.step()
    lone.node.log.write()
    second = lone.group.propose(FrameKind.COMMAND, b"2", append_time=1)
    lone.step()
    assert first.outcome is None
    lone.group.flushed(lone.log.sync())
    lone.step()
    assert isinstance(first.outcome, Stored)
    assert second.outcome is None


def test_a_vote_survives_power_loss() -> None:
    """C4: who was promised a vote is on disk before the promise leaves."""
    voted = {}
    for without in (None, Safeguard.C4):
        lone = Lone(without=without)
        said = lone.hear("b", RequestVote(term=5, last_index=1, last_term=0))
        assert [(node, type(message)) for node, message in said] == [("b", RequestVoteResponse)]
        lone.node.crash()
        voted[without] = VoteFile(lone.node.fs, "g").voted_for
    assert voted == {None: "b", Safeguard.C4: None}


def test_a_replica_stands_still_until_its_vote_is_saved() -> None:
    """C4: meanwhile nothing is said, taken in or written; then it goes on where it was."""
    lone = Lone()
    group = lone.group
    group.receive("b", RequestVote(term=5, last_index=1, last_term=0))
    group.receive("c", RequestVote(term=6, last_index=1, last_term=0))
    group.step()
    group.step()
    assert group.needs_vote_saved
    assert (group.term, group.ready().messages, group.next_deadline) == (5, [], math.inf)
    group.save_vote()
    assert VoteFile(lone.node.fs, "g").voted_for == "b"
    assert group.ready().messages == []
    group.vote_saved()
    group.step()
    assert [(node, type(message)) for node, message in group.ready().messages] == [("b", RequestVoteResponse)]
    assert group.needs_vote_saved
    assert group.term == 6


def test_a_candidate_writes_nothing_before_its_own_vote() -> None:
    """C4: a single voter leads at once, and its first entry waits for the term that it belongs to."""
    lone = Lone("a")
    lone.now = lone.group.next_deadline
    lone.group.step()
    assert lone.log.last_index == 2
    assert not lone.group.needs_flush
    assert lone.node.save_vote()
    assert lone.group.needs_flush


def test_a_vote_that_cannot_be_saved_ends_the_replica() -> None:
    """C4: the promise is not given."""
    lone = Lone()
    lone.node.fs.fail("sync", error=errno.EIO)
    lone.group.receive("b", RequestVote(term=5, last_index=1, last_term=0))
    lone.group.step()
    with pytest.raises(LogFailed) as failure:
        lone.group.save_vote()
    lone.group.flush_failed(failure.value)
    lone.group.step()
    assert {type(message) for _, message in lone.group.ready().messages} == {ReplicaGone}
    assert lone.group.failed is failure.value


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_failed_disk_ends_the_replica(operation: str) -> None:
    """C4: nothing is acknowledged, nothing retried, and the others elect a new leader."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    node = replicas.nodes[leader.node_id]
    proposal = replicas.propose()
    leader.step()
    node.fs.fail(operation)
    try:
        node.log.write()
        node.log.sync()
    except Exception as error:  # noqa: BLE001 # whatever it is, the host hands it on
        leader.flush_failed(error)  # type: ignore[arg-type]
    assert leader.failed is not None
    assert proposal.outcome is not None
    assert not isinstance(proposal.outcome, Stored)
    replicas.run(5.0)
    assert replicas.leader() is not leader
