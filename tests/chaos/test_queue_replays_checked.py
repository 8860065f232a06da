"""What the checker says of dead letters that are delivered again, or purged."""

from __future__ import annotations

import pytest

from chaos.checker.final_state import Death
from chaos.checker.violation import Kind
from chaos.history import Counted, LetterAt, PurgeDead, Receive, Replay
from chaos.record_value import key_of
from tests.chaos.queue_story import ALL, QUEUE, Workers


def _died(*offsets: int) -> Workers:
    """These records are dead letters, in this order, and the others are done."""
    story = Workers()
    story.dies(*offsets)
    for offset in range(len(ALL)):
        if offset not in offsets:
            story.does(offset)
    story.lists(*range(len(offsets)))
    return story


def test_letters_are_delivered_again_once_and_may_die_again() -> None:
    """Also where answers are lost; one that is left, or purged, is not delivered."""
    story = _died(0, 1, 2, 3)
    story.replays(0, 1)
    story.receives(0, 1, again=True)
    story.says("ack", 0, again=True)
    story.says("reject", 1, again=True)
    story.letters.append(ALL[1])
    story.lists(2, 3, 4)
    story.purges(3)
    lost = story.invoke(Replay(QUEUE, [LetterAt(0, 4)]), "m")
    story.unknown(lost)
    story.does(4, deliveries=2, again=True)
    story.lists(2)
    result = story.judged()
    assert result.is_clean, result.violations
    assert (result.figures.queue_dead_letters, result.figures.queue_replayed) == (5, 3)


def test_nothing_is_delivered_again_that_nobody_asked_for() -> None:
    """Not before it was asked for, not another one, and not what had no effect or was purged."""
    asked: list[tuple[Replay, dict[Kind, int]]] = [
        (Replay(QUEUE), {}),
        (Replay(QUEUE, [LetterAt(0, 0)]), {}),
        (Replay(QUEUE, [LetterAt(0, 1)]), {Kind.REPLAYED_UNASKED: 1}),
        (Replay(QUEUE, died_in=0), {}),
        (Replay(QUEUE, died_in=1), {Kind.REPLAYED_UNASKED: 1}),
        (Replay(QUEUE, key_prefix=key_of(ALL[0]).decode()), {}),
        (Replay(QUEUE, key_prefix="x"), {Kind.REPLAYED_UNASKED: 1}),
    ]
    for action, expected in asked:
        story = _died(0)
        story.ok(story.invoke(action, "m"), Counted(1))
        story.does(0, again=True)
        story.lists()
        assert story.found() == expected, action
    failed = _died(0)
    failed.fail(failed.invoke(Replay(QUEUE), "m"))
    failed.does(0, again=True)
    failed.lists()
    assert failed.found() == {Kind.REPLAYED_UNASKED: 1}
    early = _died(0)
    early.does(0, again=True)
    early.replays(0)
    early.lists()
    assert early.found() == {Kind.REPLAYED_UNASKED: 1}
    purged = _died(0)
    purged.replays(0, count=0)
    purged.purges(0)
    purged.does(0, again=True)
    purged.lists()
    assert purged.found() == {Kind.REPLAYED_UNASKED: 1}


def test_what_was_acknowledged_when_it_was_delivered_again_never_comes_again() -> None:
    """To who asks afterwards, by a later delivery, or as one more letter."""
    story = _died(0)
    story.replays(0)
    story.does(0, again=True)
    story.receives(0, deliveries=2, again=True)
    story.lists()
    assert Kind.ACKED_CAME_AGAIN in story.found()
    letter = _died(0)
    letter.replays(0)
    letter.does(0, again=True)
    letter.letters.append(ALL[0])
    letter.lists(1)
    assert letter.found() == {Kind.ACKED_CAME_AGAIN: 1}
    twice = _died(0)
    twice.replays(0)
    twice.receives(0, again=True)
    twice.receives(0, again=True, who="b")
    twice.says("ack", 0, again=True)
    twice.lists()
    assert twice.found() == {Kind.TWO_DELIVERIES: 1}


def test_each_death_has_one_letter() -> None:
    """A second one needs a second death, for which it has to be delivered again, and differs."""
    for replays, deaths, expected in (
        (True, [Death(number="0"), Death(number="1")], {}),
        (True, [Death(number="0"), Death(number="0")], {Kind.DEAD_LETTER_TWICE: 1}),
        (False, [Death(number="0"), Death(number="1")], {Kind.DEAD_LETTER_TWICE: 1}),
    ):
        story = _died(0)
        if replays:
            story.replays(0)
            story.receives(0, again=True)
            story.says("reject", 0, again=True)
        story.letters = [ALL[0], ALL[0]]
        story.lists(1)
        assert story.found(deaths=deaths) == expected


def test_letters_of_a_key_come_one_after_the_other_where_they_came_together() -> None:
    """Or the first one came before; not where that one was asked for later, or slowly."""
    for first, second, expected in (
        ((0, 1), (), {Kind.KEY_OVERTAKEN: 1}),
        ((0,), (1,), {Kind.KEY_OVERTAKEN: 1}),
        ((1,), (0,), {}),
    ):
        story = _died(0, 3)
        story.replays(*first)
        if second:
            story.replays(*second)
        story.receives(1, again=True)
        story.does(0, again=True)
        story.says("ack", 1, again=True)
        story.does(1, 2)
        story.lists()
        found = story.found()
        found.pop(Kind.ACKED_CAME_AGAIN, None)
        found.pop(Kind.TWO_DELIVERIES, None)
        assert found == expected, (first, second)


def test_letters_of_a_limit_are_in_order_among_themselves() -> None:
    """One that was asked for afterwards without a limit may be due before those."""
    for first, second, expected in (((0, 1), (), {Kind.KEY_OVERTAKEN: 1}), ((0,), (1,), {})):
        story = _died(0, 3)
        story.replays(*first, per_second=1)
        if second:
            story.replays(*second)
        story.does(1, again=True)
        story.does(0, again=True)
        story.lists()
        assert story.found() == expected, (first, second)


def test_letters_in_order_are_clean() -> None:
    """The second one once somebody has begun to settle the first."""
    story = _died(0, 3)
    story.replays(0, 1)
    story.receives(0, again=True)
    story.says("ack", 0, again=True, result="unknown")
    story.does(1, again=True)
    story.lists()
    assert story.found() == {}


def test_a_letter_is_listed_until_it_is_settled() -> None:
    """And then it is not, nor when it was purged; what was asked for has been delivered."""
    settled = _died(0)
    settled.replays(0)
    settled.does(0, again=True)
    settled.lists(0)
    assert settled.found() == {Kind.STILL_LISTED: 1}
    purged = _died(0)
    purged.purges(0)
    purged.lists(0)
    assert purged.found() == {Kind.STILL_LISTED: 1}
    partly = _died(0, 3)
    partly.purges(0, 1, count=1)
    partly.lists(0)
    assert partly.found() == {}
    passed = _died(0)
    passed.replays(0)
    passed.lists(0)
    assert passed.found() == {Kind.STILL_LISTED: 1}
    stuck = _died(0)
    stuck.lists(0, replaying=True)
    assert stuck.found() == {Kind.STILL_LISTED: 1}
    gone = _died(0)
    gone.lists()
    assert gone.found() == {Kind.QUEUE_LOST: 1}
    unsettled = _died(0)
    unsettled.replays(0)
    unsettled.receives(0, again=True)
    unsettled.lists()
    assert unsettled.found() == {Kind.QUEUE_LOST: 1}
    rejected = _died(0)
    rejected.replays(0)
    rejected.receives(0, again=True)
    rejected.says("reject", 0, again=True)
    rejected.lists()
    assert rejected.found() == {Kind.QUEUE_LOST: 1}


@pytest.mark.parametrize("last", [Receive(QUEUE), PurgeDead(QUEUE, [LetterAt(0, 0)])])
def test_the_list_counts_that_was_made_when_nothing_else_was_under_way(last: Receive | PurgeDead) -> None:
    """Without one there is no verdict on what is left."""
    story = _died(0)
    story.lists()
    story.invoke(last)
    assert story.found() == {Kind.QUEUE_NOT_EMPTIED: 1}


def test_what_is_delivered_again_is_the_letter() -> None:
    """And no other record."""
    story = _died(0, 1)
    story.replays(0)
    story.letters.reverse()
    story.does(0, again=True)
    story.letters.reverse()
    story.lists(1)
    assert story.found() == {Kind.WRONG_DELIVERY: 1}
