"""What a proposer is told, and when (H7 to H9)."""

from __future__ import annotations

import contextlib

import pytest
from floodmark.format.frame import Frame, FrameKind
from structlog.testing import capture_logs

from consensus.messages import AppendEntriesResponse, InstallSnapshot, StaleTerm
from consensus.types import GroupStopped, NotLeader, NotStored, Stored, Unknown
from tests.support.raft import Lone, Machine, Replicas, frame, of_kind


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
        lone.hear("c", StaleTerm(term=term + 1))
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
    lone.hear("c", StaleTerm(term=lone.group.term + 1))
    assert isinstance(proposal.outcome, NotStored)


def test_a_waiter_that_raises_applies_nothing_twice_and_stops_nobody() -> None:
    """H7: the log tells of the defect; other waiters get their outcomes and the replica goes on."""
    lone = Lone("a")
    lone.until_deadline()
    lone.flush()

    def broken(_: object) -> None:
        raise RuntimeError("a defect in a callback")

    first, second = _propose(lone, b"first"), _propose(lone, b"second")
    told: list[object] = []
    first.add_done_callback(broken)
    first.add_done_callback(told.append)
    second.add_done_callback(told.append)
    lone.step()
    with capture_logs() as logs:
        for advance in (lone.flush, lone.step):
            # Whatever a step raises: what counts is what came of it.
            with contextlib.suppress(RuntimeError):
                advance()
    assert lone.node.machine.applied == [(3, b"first"), (4, b"second")]
    assert told == [first.outcome, second.outcome] == [Stored(3, 1, 0), Stored(4, 1, 0)]
    assert [line["event"] for line in logs] == ["callback_defect"]
    assert lone.group.failed is None


def test_a_broken_waiter_of_a_read_stops_nobody() -> None:
    """H7: a read index's other callbacks are told, and the replica goes on."""
    lone = Lone("a")
    lone.until_deadline()
    lone.flush()

    def broken(_: object) -> None:
        raise RuntimeError("a defect in a callback")

    told: list[int | None] = []
    read_index = lone.group.read_index()
    read_index.add_done_callback(broken)
    read_index.add_done_callback(told.append)
    with capture_logs():
        lone.step()
    assert told == [2]
    assert lone.group.failed is None


def test_a_machine_that_raises_is_given_nothing_more() -> None:
    """H7: its state cannot be trusted any more: the replica fails, and the entry comes no second time."""

    class Broken(Machine):
        def apply(self, frame: Frame) -> None:
            super().apply(frame)
            if frame.payload == b"poison":
                raise RuntimeError("a defect in the machine")

    lone = Lone("a", machine=Broken())
    lone.until_deadline()
    lone.flush()
    stored, poison, after = [_propose(lone, payload) for payload in (b"fine", b"poison", b"after")]
    lone.step()
    with pytest.raises(RuntimeError):
        lone.flush()
    lone.step()
    assert lone.node.machine.applied == [(3, b"fine"), (4, b"poison")]
    assert lone.group.failed is not None
    # All three are on disk; what the failed replica says of them is that it does not know.
    assert {type(proposal.outcome) for proposal in (stored, poison, after)} == {Unknown}


def test_a_proposal_whose_place_was_replaced_by_an_install_is_unknown() -> None:
    """H8: the engine never calls back when a snapshot takes the log's place; here nobody waits for ever."""
    lone = Lone()
    term = lone.lead()
    proposal = _propose(lone)
    lone.step()
    lone.flush()
    lone.hear("c", StaleTerm(term=term + 1))
    assert proposal.outcome is None
    place = {"index": 50, "entry_term": term + 1, "offset": 7, "voters": ["a", "b", "c"], "learners": []}
    lone.hear("c", InstallSnapshot(term=term + 1, round=1, attempt=0, **place))
    lone.append((50, term + 1), [frame(51, term + 1, offset=7)], term=term + 1, commit=51, source="c")
    lone.flush()
    assert isinstance(proposal.outcome, Unknown)


def test_nothing_is_queued_or_forwarded_without_leadership() -> None:
    """H9: a follower refuses at once, says who leads as far as it knows, and forgets what was asked."""
    lone = Lone()
    for leader in (None, "b"):
        for _ in range(1000):
            with pytest.raises(NotLeader) as caught:
                _propose(lone)
            assert caught.value.leader == leader
        said = lone.append((1, 0), [], term=1)
        assert of_kind(AppendEntriesResponse, said) == [message for _, message in said]
    lone.lead()
    lone.flush()
    assert lone.log.last_index == 2, "the new leadership's no-op is all that was appended"


def test_a_leader_that_lost_its_leadership_keeps_no_queue() -> None:
    """H9: what waited for its turn is refused then, and does not come back with the next leadership."""
    lone = Lone()
    term = lone.lead()
    waiting = [_propose(lone) for _ in range(1000)]
    lone.hear("c", StaleTerm(term=term + 1))
    assert {type(proposal.outcome) for proposal in waiting} == {NotStored}
    lone.lead()
    _propose(lone)
    lone.flush()
    assert lone.log.last_index == 4, "two leaderships' no-ops and what was proposed in the second"


def test_a_replica_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """H6: the engine's own transport, poller and listener are never made."""
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    lone = Lone()
    lone.lead()
    assert lone.group.term == 1
