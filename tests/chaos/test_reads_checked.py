"""Polls that skip or go back, and answers that deny what was shown before."""

from __future__ import annotations

from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Bounds, Page, Read, Tail
from tests.chaos.story import TOPIC, Story, kinds, replicas, vs

ALL = vs(0, 1, 2, 3, 4, 5)
CONFIRMED = CheckOptions(reads_are_confirmed=True)


def told() -> Story:
    """Six records, acknowledged together."""
    story = Story()
    story.produce(ALL, at=0)
    return story


def test_polls_that_go_on_where_the_last_one_ended_are_clean() -> None:
    """Empty polls and failed ones between, another partition's and another session's polls as well."""
    story = told()
    story.read(0, (0, vs(0, 1)))
    story.fail(story.invoke(Read(TOPIC, 0, 2), "c"))
    story.read(2, high_watermark=6)
    story.read(2, (2, vs(2, 3, 4, 5)))
    story.read(0, (0, vs(0, 1)), session=1, high_watermark=6)
    assert story.check(*replicas(ALL)).is_clean


def test_offsets_left_out_between_polls_and_within_a_page_are_skipped() -> None:
    """Each place where something is missing is one violation, with the offsets named."""
    between, within, behind = told(), told(), told()
    between.read(0, (0, vs(0, 1)))
    between.read(4, (4, vs(4, 5)))
    within.read(0, (0, vs(0, 1)), (4, vs(4, 5)))
    behind.read(0, (0, vs(0, 1)), next_offset=4)
    for story in (between, within, behind):
        result = story.check(*replicas(ALL))
        assert kinds(result) == {Kind.SKIPPED_OFFSETS: 1}
        assert result.violations[0].summary == "offsets 2 to 3 were skipped"
        assert [evidence.process for evidence in result.violations[0].evidence] == ["c", "c"]


def test_polls_that_go_back_are_not_monotonic() -> None:
    """Between polls, and a page that begins before the offset asked for."""
    between, within = told(), told()
    between.read(0, (0, vs(0, 1, 2)))
    between.read(2, (2, vs(2, 3)), high_watermark=4)
    within.read(2, (1, vs(1, 2)))
    for story in (between, within):
        assert kinds(story.check(*replicas(ALL))) == {Kind.NON_MONOTONIC_POLL: 1}


def test_a_tail_covers_what_was_acknowledged_before_it_began() -> None:
    """And need not cover what was acknowledged while it was under way."""
    stale, fine = told(), Story()
    stale.tail(5)
    result = stale.check(*replicas(ALL))
    assert kinds(result) == {Kind.STALE_READ: 1}
    assert [evidence.offset for evidence in result.violations[0].evidence] == [6, 5]
    op = fine.invoke(Tail(TOPIC, 0))
    fine.produce(ALL, at=0)
    fine.ok(op, Bounds(0, 0))
    fine.tail(6)
    assert fine.check(*replicas(ALL)).is_clean


def test_a_tail_is_not_undone_by_a_later_tail_of_anyone() -> None:
    """Though nobody was told that those records are stored."""
    story = Story()
    story.produce(ALL)
    story.tail(6, "t1")
    story.tail(4, "t2")
    assert kinds(story.check(*replicas(ALL))) == {Kind.STALE_READ: 1}


def test_a_poll_covers_what_its_own_process_was_shown() -> None:
    """An older end is a stale read, as an empty page and as an offset past the end."""
    for answer in ("empty", "past the end"):
        story = told()
        story.read(0, (0, ALL))
        op = story.invoke(Read(TOPIC, 0, 6), "c")
        if answer == "empty":
            story.ok(op, Page([], 6, 5))
        else:
            story.fail(op, "offset_past_end", high_watermark=5)
        assert kinds(story.check(*replicas(ALL))) == {Kind.STALE_READ: 1}


def test_a_poll_need_not_cover_what_others_were_shown_unless_that_is_promised() -> None:
    """A leader that was deposed unawares may answer an older end to whoever has not seen a newer one."""
    story = told()
    story.read(0, (0, ALL), process="c1")
    story.read(0, (0, vs(0, 1)), process="c2")
    assert story.check(*replicas(ALL)).is_clean
    assert kinds(story.check(*replicas(ALL), options=CONFIRMED)) == {Kind.STALE_READ: 1}


def test_a_refusal_past_the_end_is_confirmed() -> None:
    """Like a tail: it covers what was acknowledged to anybody before it began."""
    story = told()
    story.fail(story.invoke(Read(TOPIC, 0, 9), "d"), "offset_past_end", high_watermark=6)
    assert story.check(*replicas(ALL)).is_clean
    story.fail(story.invoke(Read(TOPIC, 0, 9), "d"), "offset_past_end", high_watermark=5)
    assert kinds(story.check(*replicas(ALL))) == {Kind.STALE_READ: 1}


def test_a_poll_at_a_node_that_may_be_deposed_unawares_need_not_know_what_others_showed() -> None:
    """While a fault is about it and for a moment after; what it has shown itself it does not deny."""
    for answering, after_s, is_stale in (("n1", 0.5, False), ("n1", 2.5, True), ("n2", 0.5, True)):
        story = told()
        for node, end in (("n3", 6), (answering, 5)):
            if node == answering:
                story.fault_began(1)  # It is about n1.
                story.fault_ended(1)
                story.wait(after_s)
            story.ok(story.invoke(Read(TOPIC, 0, 0), "c"), Page([], 0, end), node)
        assert kinds(story.check(*replicas(ALL))) == ({Kind.STALE_READ: 1} if is_stale else {})
    story = told()
    story.fault_began(1)
    for end in (6, 5):
        story.ok(story.invoke(Read(TOPIC, 0, 0), "c"), Page([], 0, end), "n1")
    assert kinds(story.check(*replicas(ALL))) == {Kind.STALE_READ: 1}
