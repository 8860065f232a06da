"""What a proposer is told, and when (H7 to H9)."""

from __future__ import annotations

import pytest
from floodmark.frame import FrameKind

from consensus.types import GroupStopped, NotLeader, NotStored, Stored, Unknown
from tests.support.raft import Lone, Replicas, frame


def _propose(lone: Lone, payload: bytes = b"x", *, records: int = 0):  # type: ignore[no-untyped-def]
    return lone.group.propose(FrameKind.RECORDS, payload, append_time=1, record_count=records)


def test_stored_names_index_term_and_first_offset() -> None:
    """Offsets count records, indexes count entries."""
    replicas = Replicas()
    replicas.start()
    leader = replicas.elect()
    proposals = [replicas.propose(b"p", records=count) for count in (3, 0, 2)]
    replicas.run(0.3)
    assert [p.outcome for p in proposals] == [
        Stored(3, leader.term, 0),
        Stored(4, leader.term, 3),
        Stored(5, leader.term, 3),
    ]
    assert {g.high_watermark for g in replicas.groups()} == {5}


def test_a_proposal_outlives_the_leadership_and_ends_with_its_place() -> None:
    """H8: another leader may still commit it, or put something else there; only then it is decided."""
    for its_term, outcome in ((1, Stored), (2, NotStored)):
        lone = Lone()
        term = lone.lead()
        proposal = _propose(lone)
        lone.step()
        lone.flush()
        own = lone.log.frame(3)
        lone.hear("c", "stale", term=term + 1)
        assert proposal.outcome is None
        kept = own if its_term == 1 else frame(3, 2)
        lone.append((2, 1), [kept, frame(4, 2, offset=kept.next_offset)], term=2, commit=4, source="c")
        lone.flush()
        assert isinstance(proposal.outcome, outcome)


def test_stopping_leaves_nobody_waiting() -> None:
    """H8: what is not decided is unknown, whether it was appended or not."""
    lone = Lone()
    lone.lead()
    appended = _propose(lone)
    lone.step()
    queued = _propose(lone)
    lone.group.stop()
    assert isinstance(appended.outcome, Unknown)
    assert isinstance(queued.outcome, Unknown)
    with pytest.raises(GroupStopped):
        _propose(lone)


def test_what_was_never_appended_is_not_stored() -> None:
    """H8: the leadership went before the step that would have appended it."""
    lone = Lone()
    lone.lead()
    proposal = _propose(lone)
    lone.hear("c", "stale", term=lone.group.term + 1)
    assert isinstance(proposal.outcome, NotStored)


def test_a_callback_that_raises_applies_nothing_twice() -> None:
    """H7: the replica fails and says so; the entry was applied once."""
    lone = Lone("a")
    lone.until_deadline()
    lone.flush()

    def broken(_: object) -> None:
        raise RuntimeError("a defect in a callback")

    _propose(lone, b"once").add_done_callback(broken)
    lone.step()
    with pytest.raises(RuntimeError):
        lone.flush()
    lone.step()
    assert lone.group.failed is not None
    assert lone.node.machine.applied == [(3, b"once")]


def test_nothing_is_queued_or_forwarded_without_leadership() -> None:
    """H9: a follower refuses at once and says who leads, as far as it knows."""
    lone = Lone()
    for leader in (None, "b"):
        with pytest.raises(NotLeader) as caught:
            _propose(lone)
        assert caught.value.leader == leader
        assert not [kind for _, kind, _ in lone.append((1, 0), [], term=1) if kind != "ack"]


def test_a_replica_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """H6: the engine's own transport, poller and listener are never made."""
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    lone = Lone()
    lone.lead()
    assert lone.group.term == 1
