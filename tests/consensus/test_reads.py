"""Read indexes: a read sees everything that was acknowledged before it began, or waits."""

from __future__ import annotations

from consensus.core.safeguards import Safeguard
from tests.support.raft import Lone, Replicas


def test_a_read_index_resolves_on_every_replica() -> None:
    """On the leader and, through it, on the others; what it names is applied there by then."""
    replicas = Replicas()
    replicas.start()
    replicas.elect()
    replicas.propose(b"seen")
    replicas.run(0.05)
    read_indexes = [(group, group.read_index()) for group in replicas.groups()]
    replicas.run(0.2)
    for group, read_index in read_indexes:
        assert read_index.index == replicas.leader().commit_index
        assert group.applied_index >= read_index.index


def test_a_leader_that_nobody_answers_serves_no_read() -> None:
    """H3: it may have been deposed; without the safeguard it would not ask."""
    done = {}
    for without in (None, Safeguard.H3):
        lone = Lone(without=without)
        lone.lead()
        lone.flush()
        lone.ack("b", 3)
        read_index = lone.group.read_index()
        lone.step()
        done[without] = read_index.done
        if without is None:
            lone.ack("b", 3, round_=1)
            assert not read_index.done, "an answer to an earlier round says nothing"
            lone.ack("b", 3, round_=2)
            assert read_index.index == 2
    assert done == {None: False, Safeguard.H3: True}


def test_a_new_leader_serves_reads_once_it_knows_what_is_committed() -> None:
    """H3: only an entry of its own term tells."""
    lone = Lone()
    lone.lead()
    read_index = lone.group.read_index()
    lone.flush()
    lone.ack("b", 2, round_=5)
    assert not read_index.done
    lone.ack("b", 3, round_=5)
    lone.ack("b", 3, round_=6)
    assert read_index.index == 2


def test_a_read_index_survives_a_change_of_leaders() -> None:
    """A deposed leader asks its successor."""
    replicas = Replicas()
    replicas.start()
    old = replicas.elect()
    replicas.isolate(old.node_id)
    read_index = old.read_index()
    replicas.run(3.0)
    assert not read_index.done
    replicas.heal()
    replicas.run(3.0)
    assert read_index.index is not None
    assert read_index.index >= replicas.leader().commit_index


def test_a_read_index_without_a_leader_waits_and_ends_with_the_replica() -> None:
    """Nobody is left waiting for a replica that stopped."""
    lone = Lone()
    answers: list[int | None] = []
    lone.group.read_index().add_done_callback(answers.append)
    cancelled = lone.group.read_index()
    cancelled.add_done_callback(answers.append)
    cancelled.cancel()
    lone.step()
    assert answers == []
    lone.group.stop()
    assert answers == [None]
