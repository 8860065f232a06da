"""Gaps in replicated logs: sent to who lacks what they stand for, taken in where it is lacking, never cut."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from floodmark.format import frame as frames_module
from floodmark.format.frame import Frame, FrameKind, gap

from consensus.core.group import Group
from consensus.messages import AppendEntries, AppendEntriesResponse
from consensus.types import GroupOptions, LogDiverged
from consensus.wire import decode_packet, encode_packet
from storage.options import LogOptions
from tests.support.compaction import compact, compactable, nothing, problem, some
from tests.support.raft import Lone, Replicas, frame, of_kind

SMALL = LogOptions(segment_bytes=1024, index_interval_bytes=128, tail_bytes_max=300, zeros_ahead_bytes=0)


def run_of(first: int, last: int, *, term: int = 1, offset: int = 0) -> Frame:
    """A gap over entries of one record each."""
    count = last - first + 1
    return gap(first, term, offset, 5, entries=count, offset_count=count)


def records(first: int, last: int, *, term: int = 1, offset: int = 0) -> list[Frame]:
    """Frames of one record each."""
    return [
        frame(index, term, b"%d" % index, offset=offset + index - first, records=1)
        for index in range(first, last + 1)
    ]


def held(group: Group) -> list[tuple[int, int, int, int]]:
    """(first entry, last entry, term, first offset) of every frame."""
    log = group.log
    return [
        (each.index, each.last_index, each.term, each.first_offset)
        for each in log.frames(log.base_index, log.last_index)
    ]


def test_a_follower_takes_what_it_lacks_of_a_gap() -> None:
    """The leader sends it whole; what is here stays, the rest is a shorter gap. It is committed."""
    lone = Lone(frames=records(2, 6), term=1)
    lone.append((6, 1), [run_of(4, 20, offset=2), *records(21, 22, offset=19)], term=2, commit=3)
    lone.flush()
    assert held(lone.group)[4:] == [(6, 6, 1, 4), (7, 20, 1, 5), (21, 21, 1, 19), (22, 22, 1, 20)]
    assert lone.group.commit_index == lone.group.applied_index == 20
    assert [index for index, _ in lone.node.machine.applied] == [2, 3, 4, 5, 6]
    assert lone.group.high_watermark == 19
    (said,) = of_kind(AppendEntriesResponse, lone.append((22, 1), [], term=2, commit=22))
    assert (said.next_index, said.success) == (23, True)


def test_a_gap_that_is_here_already_changes_nothing() -> None:
    """Whole frames on this side, a gap on the other, or the other way round, or two gaps."""
    whole = records(2, 9)
    for mine in (whole, [*whole[:2], run_of(4, 8, offset=2), whole[7]]):
        lone = Lone(frames=mine, term=1)
        before = held(lone.group)
        for prev, sent in (
            ((1, 0), run_of(2, 7)),
            ((5, 1), run_of(3, 7, offset=1)),
            ((3, 1), run_of(4, 9, offset=2)),
        ):
            said = lone.append(prev, [sent], term=2)
            assert [message.next_index for message in of_kind(AppendEntriesResponse, said)] == [
                sent.last_index + 1
            ]
        for number in range(3, 9):
            lone.append((number, 1), whole[number - 1 :], term=2)
        assert held(lone.group) == before


def test_what_is_not_committed_makes_way_for_a_gap() -> None:
    """Entries of a term that lost; the gap fills the place from where the logs part."""
    lone = Lone(frames=[*records(2, 5), *records(6, 9, term=2, offset=4)], term=2)
    lone.append((5, 1), [run_of(3, 30, offset=1)], term=3)
    lone.flush()
    assert held(lone.group)[3:] == [(5, 5, 1, 3), (6, 30, 1, 4)]
    assert lone.group.applied_index == 30


def test_a_gap_against_something_committed_is_a_loss_of_data() -> None:
    """As with any entry: one of the two has lost what it had acknowledged."""
    lone = Lone(frames=[*records(2, 5), *records(6, 9, term=2, offset=4)], term=2)
    lone.append((9, 2), [], term=2, commit=9)
    assert lone.group.commit_index == 9
    lone.append((5, 1), [run_of(3, 30, offset=1)], term=3)
    assert isinstance(lone.group.failed, LogDiverged)


@pytest.mark.parametrize(
    ("prev", "sent"),
    [
        ((6, 1), [run_of(8, 20, offset=6)]),
        ((6, 1), [run_of(2, 6)]),
        ((6, 1), [run_of(2, 20, term=2)]),
        ((6, 1), [run_of(7, 20, term=9, offset=5)]),
        ((6, 1), [*records(7, 8, offset=5), run_of(8, 20, offset=6)]),
        ((6, 1), [run_of(7, 20, offset=5), run_of(20, 30, offset=18)]),
        ((6, 1), [run_of(7, 20, offset=5), run_of(21, 30, offset=18)]),
    ],
)
def test_gaps_that_do_not_follow_are_dropped(prev: tuple[int, int], sent: list[Frame]) -> None:
    """Only the first may begin before the place, in the predecessor's term; each goes on from the last."""
    lone = Lone(frames=records(2, 6), term=1)
    before = held(lone.group)
    assert of_kind(AppendEntriesResponse, lone.append(prev, sent, term=3)) == []
    assert held(lone.group) == before
    assert lone.group.failed is None


def test_a_restart_knows_what_its_gaps_prove() -> None:
    """They are behind its last checkpoint; it applies them though no leader has told it anything yet."""
    replicas = Lone(
        frames=[*records(2, 6), run_of(7, 3000, offset=5), *records(3001, 3003, offset=2999)], term=1
    )
    assert replicas.group.commit_index == 3000
    replicas.step()
    assert replicas.group.applied_index == 3000
    term = replicas.lead()
    replicas.flush()
    replicas.ack("b", 3005, term=term)
    assert replicas.group.applied_index == 3004


def _life(seed: int, *, entries: int) -> tuple[Replicas, random.Random]:
    replicas = Replicas(log_options=SMALL)
    replicas.start()
    replicas.elect()
    rng = random.Random(seed)
    for number in range(entries):
        replicas.propose(b"%4d" % number * rng.randint(1, 20), records=rng.randint(0, 3))
        if number % 7 == 0:
            replicas.run(0.01)
    replicas.run(1.0)
    return replicas, rng


def _compact(group: Group, keep: Callable[[Frame], bool] = nothing) -> int:
    group.storage.checkpoint()
    return sum(compact(group.log, index, keep) for index in compactable(group.log))


def _keeping_members(keep: Callable[[Frame], bool]) -> Callable[[Frame], bool]:
    return lambda each: each.kind is FrameKind.MEMBERSHIP or keep(each)


@pytest.mark.parametrize("seed", range(12))
def test_a_follower_catches_up_over_the_gaps_of_its_leader(seed: int) -> None:
    """From anywhere in them; every index, term and offset is what it was."""
    replicas, rng = _life(seed, entries=40)
    leader = replicas.leader()
    away = replicas.followers()[0].node_id
    replicas.stop(away)
    for number in range(60):
        replicas.propose(b"%4d" % number * rng.randint(1, 20), records=rng.randint(0, 3))
    replicas.run(1.0)
    log = leader.log
    original = list(log.frames(log.base_index, log.last_index))
    assert _compact(leader, some(rng, 0.3))
    if rng.random() < 0.5:
        # Another one that is compacted otherwise leads from here on.
        other = next(group for group in replicas.followers())
        _compact(other, some(rng, 0.5))
        assert leader.transfer(other.node_id)
        replicas.until(lambda: other.is_ready_leader)
        leader = other
    replicas.sent.clear()
    replicas.start(away)
    replicas.until(lambda: replicas.group(away).log.last_index == leader.log.last_index)
    replicas.run(1.0)
    for group in replicas.groups():
        assert problem(group.log.frames(2, original[-1].index), original) is None
        assert group.log.next_offset == leader.log.next_offset
        assert group.applied_index == leader.applied_index
        assert group.high_watermark == leader.high_watermark
    assert any(
        each.kind is FrameKind.GAP
        for _, target, message in replicas.sent
        if isinstance(message, AppendEntries) and target == away
        for each in message.frames
    )
    proposal = replicas.propose(b"more", records=1)
    replicas.until(lambda: proposal.outcome)
    group = replicas.group(away)
    group.storage.checkpoint()
    replicas.stop(away)
    replicas.start(away)
    replicas.run(1.0)
    group = replicas.group(away)
    assert group.applied_index == leader.applied_index


def test_a_long_gap_is_one_message() -> None:
    """However many entries it stands for: no walk over them anywhere."""
    # The gap is a message of its own, sent before the ones around it are acknowledged: those are large.
    replicas = Replicas(
        "abc", options=GroupOptions(quiesce_after_s=1e9, append_bytes_max=400, unacknowledged_bytes_max=1500)
    )
    for name in "ab":
        log = replicas.nodes[name].open_log()
        for each in [
            *(frame(index, 1, b"x" * 390, offset=index - 2, records=1) for index in (2, 3)),
            run_of(4, 10**9, offset=2),
            frame(10**9 + 1, 1, b"x" * 390, offset=10**9 - 1, records=1),
            *records(10**9 + 2, 10**9 + 4, offset=10**9),
        ]:
            log.append(each)
        log.write()
        log.sync()
        log.close()
    replicas.start()
    leader = replicas.elect()
    replicas.until(lambda: replicas.group("c").log.last_index == leader.log.last_index)
    sent = [
        each
        for _, target, message in replicas.sent
        if isinstance(message, AppendEntries) and target == "c"
        for each in message.frames
    ]
    assert len(sent) <= 12
    assert sum(each.kind is FrameKind.GAP for each in sent) == 1
    assert held(replicas.group("c")) == held(leader)
    replicas.run(1.0)
    assert replicas.group("c").applied_index == leader.applied_index


def test_an_older_build_leaves_a_message_with_a_gap_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never sees one, for gaps wait for the cluster's level; if it did, it would lose only that."""
    message = AppendEntries(2, 6, 1, commit=9, round=1, attempt=0, frames=[run_of(7, 20, offset=5)])
    header, *body = encode_packet([(1, message)])
    assert decode_packet(header, b"".join(body)) == [(1, message)]
    monkeypatch.setattr(frames_module, "LEVEL", 1)
    told: list[str] = []
    assert decode_packet(header, b"".join(body), told.append) == []
    assert told == ["AppendEntries of group 1: frame 7 needs feature level 2, this build knows 1"]
