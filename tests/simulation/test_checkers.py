"""The simulator's own checks find what they are there to find."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import pytest
from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.core.replication import Position, Progress
from consensus.messages import (
    AppendEntries,
    Message,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from consensus.types import Stored
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from tests.simulation.holdings import Holdings
from tests.simulation.ledger import Asked, Ledger
from tests.simulation.machine import AppliedHistory, ChainMachine
from tests.simulation.producers import Producers
from tests.simulation.progress import look_at_progress
from tests.simulation.violation import Violation
from tests.simulation.watch import View, Watch


def _frame(index: int, payload: bytes, *, offset: int, term: int = 1, count: int = 2) -> Frame:
    return Frame(index, term, offset, 1_000, count, FrameKind.RECORDS, payload, crc_of(payload))


def _ledger_with(*payloads: bytes) -> Ledger:
    ledger = Ledger()
    for number, payload in enumerate(payloads):
        ledger.ask(payload, Asked(number, 2))
    return ledger


def test_entries_committed_alike_on_all_replicas_pass() -> None:
    """A healthy run raises nothing and counts each entry once."""
    ledger = _ledger_with(b"a", b"b")
    for node in ("n1", "n2", "n3"):
        ledger.commit(node, _frame(2, b"a", offset=0))
        ledger.commit(node, _frame(3, b"b", offset=2))
    ledger.answer_stored(b"a", Stored(2, 1, 0))
    ledger.answer_read_index("n1", ledger.highest_stored, 3)
    assert ledger.highest == 3
    assert ledger.next_offset_after(3) == 4


def test_two_entries_at_one_index_are_found() -> None:
    """Replicas that commit different bytes at one index have diverged."""
    ledger = _ledger_with(b"a", b"b")
    ledger.commit("n1", _frame(2, b"a", offset=0))
    with pytest.raises(Violation, match="committed logs agree"):
        ledger.commit("n2", _frame(2, b"b", offset=0))


def test_a_skipped_index_and_a_skipped_offset_are_found() -> None:
    """Commits leave out neither an index nor an offset."""
    ledger = _ledger_with(b"a", b"b")
    with pytest.raises(Violation, match="commits have no gap"):
        ledger.commit("n1", _frame(3, b"a", offset=0))
    ledger.commit("n1", _frame(2, b"a", offset=0))
    with pytest.raises(Violation, match="offsets have no gap"):
        ledger.commit("n1", _frame(3, b"b", offset=3))


def test_an_entry_that_nobody_proposed_is_found() -> None:
    """Bytes that no producer sent cannot become committed."""
    with pytest.raises(Violation, match="only what was proposed"):
        _ledger_with().commit("n1", _frame(2, b"a", offset=0))


def test_one_proposal_in_two_places_is_found() -> None:
    """A proposal is committed at most once."""
    ledger = _ledger_with(b"a")
    ledger.commit("n1", _frame(2, b"a", offset=0))
    with pytest.raises(Violation, match="exactly once"):
        ledger.commit("n1", _frame(3, b"a", offset=2))


def test_an_acknowledged_entry_that_is_not_there_is_found() -> None:
    """Stored names an index, a term and an offset, and all three must be true."""
    ledger = _ledger_with(b"a", b"b")
    with pytest.raises(Violation, match="acknowledged is committed"):
        ledger.answer_stored(b"a", Stored(2, 1, 0))
    ledger.commit("n1", _frame(2, b"b", offset=0))
    with pytest.raises(Violation, match="acknowledged is committed"):
        ledger.answer_stored(b"a", Stored(2, 1, 0))
    with pytest.raises(Violation, match="acknowledged as stored"):
        ledger.answer_stored(b"b", Stored(2, 1, 7))


def test_a_refused_entry_that_is_committed_is_found_in_either_order() -> None:
    """NotStored is final, whether it is said before or after the commit."""
    ledger = _ledger_with(b"a", b"b")
    ledger.answer_not_stored(b"a")
    with pytest.raises(Violation, match="not stored stays so"):
        ledger.commit("n1", _frame(2, b"a", offset=0))
    ledger.commit("n1", _frame(2, b"b", offset=0))
    with pytest.raises(Violation, match="not stored stays so"):
        ledger.answer_not_stored(b"b")


def test_a_stale_read_is_found() -> None:
    """A read index answers with at least what was acknowledged before it was asked for."""
    with pytest.raises(Violation, match="reads are not stale"):
        _ledger_with().answer_read_index("n1", floor=5, index=4)


def _view(**changes: object) -> View:
    values: dict[str, object] = {
        "term": 3,
        "is_leader": False,
        "commit_index": 5,
        "high_watermark": 9,
        "vote_term": 3,
        "voted_for": None,
        "voters": frozenset({"n1", "n2", "n3"}),
    }
    return View(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ({}, {"term": 2}, "terms never fall"),
        ({}, {"commit_index": 4}, "commit indexes never fall"),
        ({}, {"high_watermark": 8}, "high watermarks never fall"),
        ({"voted_for": "n2"}, {"voted_for": "n3"}, "one vote per term"),
        ({"voted_for": "n2"}, {"voted_for": None}, "one vote per term"),
        ({}, {"term": 4}, "terms are durable"),
    ],
)
def test_what_may_not_go_back_is_found(
    before: dict[str, object], after: dict[str, object], rule: str
) -> None:
    """Terms, commit indexes and high watermarks never fall on a running replica; a vote stays a vote."""
    watch = Watch()
    watch.started("n1")
    watch.look("n1", _view(**before))
    with pytest.raises(Violation, match=rule):
        watch.look("n1", _view(**after))


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (AppendEntries(4, 1, 1, 1, 1, 1), "terms are durable before they are told"),
        (RequestPreVoteResponse(4, granted=True, own_term=4), "terms are durable before they are told"),
        (RequestVoteResponse(3), "votes are durable before they are told"),
        (RequestVote(3, 1, 1), "votes are durable before they are told"),
    ],
)
def test_what_is_told_before_it_is_durable_is_found(message: Message, rule: str) -> None:
    """With term 3 and a vote for n2 on disk, n1 may ask about term 4 and speak for n2, and no more."""
    watch = Watch()
    watch.said("n1", "n2", RequestVoteResponse(term=3), 3, "n2")
    watch.said("n1", "n2", RequestPreVote(4, 1, 1), 3, "n2")
    with pytest.raises(Violation, match=rule):
        watch.said("n1", "n3", message, 3, "n2")


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"match": 6}, "is behind what it has"),
        ({"next": 12}, "no further than the log"),
        ({"inflight_bytes": 1}, "are counted"),
        ({"match": 4}, "in order, and not acknowledged"),
        ({"next": 8}, "follows what is in flight"),
        ({"position": Position.PROBE}, "bounds what is in flight"),
        ({"position": Position.SNAPSHOT}, "bounds what is in flight"),
        ({"position": Position.SNAPSHOT, "inflight": deque(), "inflight_bytes": 0}, "has no more"),
    ],
)
def test_a_progress_that_cannot_be_is_found(changed: dict[str, Any], rule: str) -> None:
    """Two messages are in flight behind entry 3; each of its fields is then set to what it never is."""
    progress = Progress(4, 0.0)
    progress.matched(3)
    progress.sent(4, 10)
    progress.sent(5, 20)
    look_at_progress("n1", "n2", progress, base_index=2, last_index=9)
    for name, value in changed.items():
        setattr(progress, name, value)
    with pytest.raises(Violation, match=rule):
        look_at_progress("n1", "n2", progress, base_index=2, last_index=9)


def test_a_vote_is_remembered_across_a_crash_and_not_across_a_new_disk() -> None:
    """A crash makes a replica forget its memory; its vote file still binds it."""
    watch = Watch()
    watch.started("n1")
    watch.look("n1", _view(voted_for="n2"))
    watch.started("n1")
    with pytest.raises(Violation, match="one vote per term"):
        watch.look("n1", _view(voted_for="n3"))
    watch.wiped("n1")
    watch.look("n1", _view(voted_for="n3"))


def test_two_leaders_of_one_term_are_found() -> None:
    """A term has one leader, however long ago the other one led."""
    watch = Watch()
    for node in ("n1", "n2", "n3"):
        watch.started(node)
    watch.look("n3", _view(voted_for="n1"))
    watch.look("n1", _view(is_leader=True, voted_for="n1"))
    watch.look("n1", _view(term=4, vote_term=4))
    with pytest.raises(Violation, match="one leader per term"):
        watch.look("n2", _view(is_leader=True))


def test_a_leader_without_a_majority_of_votes_is_found() -> None:
    """Votes are counted on the voters' disks, whatever the candidate has counted."""
    watch = Watch()
    for node in ("n1", "n2"):
        watch.started(node)
    watch.look("n2", _view(voted_for="n3"))
    with pytest.raises(Violation, match="leaders are elected by a majority"):
        watch.look("n1", _view(is_leader=True, voted_for="n1"))


def test_a_frame_applied_twice_or_left_out_is_found() -> None:
    """The chain notices a repetition at once and an omission at the next entry."""
    history = AppliedHistory()
    good, again, short = (ChainMachine(name, history, {}, {}) for name in ("n1", "n2", "n3"))
    frames = [_frame(index, b"%d" % index, offset=2 * index) for index in (2, 3, 4)]
    for frame in frames:
        good.apply(frame)
    again.apply(frames[0])
    with pytest.raises(Violation, match="applied exactly once"):
        again.apply(frames[0])
    short.apply(frames[0])
    with pytest.raises(Violation, match="applied exactly once"):
        short.apply(frames[2])


def test_a_replica_that_remembers_other_producers_is_found() -> None:
    """The table of producers is compared as the chain is, and goes with the state."""
    history = AppliedHistory()
    first, second, third = (ChainMachine(name, history, {}, {}) for name in ("n1", "n2", "n3"))
    producers = Producers(Random(1))
    batches = [producers.batch(0, b"%d" % index, 1) for index in range(9)]
    frames = [_frame(index, batch, offset=2 * index) for index, batch in enumerate(batches, start=2)]
    for frame in frames[:-1]:
        first.apply(frame)
        second.apply(frame)
    third.restore(first.snapshot())
    for machine in (first, third):
        machine.apply(frames[-1])
    second._producers.producers.popitem()
    with pytest.raises(Violation, match="applied exactly once"):
        second.apply(frames[-1])


def test_a_restored_state_takes_repeated_frames_without_change() -> None:
    """What the state contains may come again after a restart."""
    history = AppliedHistory()
    first, second = ChainMachine("n1", history, {}, {}), ChainMachine("n2", history, {}, {})
    frames = [_frame(index, b"%d" % index, offset=2 * index) for index in (2, 3, 4)]
    for frame in frames:
        first.apply(frame)
    second.restore(first.snapshot())
    for frame in frames:
        second.apply(frame)
    assert second.snapshot() == first.snapshot()


def test_what_a_disk_lost_counts_while_its_replica_does_not_vote() -> None:
    """A leader may still count what was acknowledged before; the replica that votes again must have it."""
    log = Log.open(MemoryFileSystem(), "/log", LogOptions())
    for index, offset in ((2, 0), (3, 2)):
        log.append(_frame(index, b"x", offset=offset))
    log.write()
    log.sync()
    held = Holdings()
    held.look(log, votes=True)
    assert held.has(3, 1, votes=True)
    held.are_lost()
    assert held.has(3, 1, votes=False)
    assert not held.has(3, 2, votes=False)
    assert not held.has(3, 1, votes=True)
    log.truncate(3)
    held.look(log, votes=True)
    assert not held.has(3, 1, votes=False)
