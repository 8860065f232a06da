"""What the checker says of a queue that pauses because everything fails."""

from __future__ import annotations

import pytest

from chaos.checker.final_state import Death
from chaos.checker.violation import Kind
from chaos.history import Breaker, FaultBegan, LookAtQueue, QueueState, Receive
from chaos.record_value import key_of
from tests.chaos.queue_story import QUEUE, Workers
from tests.chaos.story import v

BREAKER = Breaker(deliveries=2, window_ms=1_000, pause_ms=1_000)
LIMIT = 40
"""So many failures in a row show that it should have opened."""
OTHERS = sorted(next(v(n) for n in range(2_000) if key_of(v(n)) == b"k%d" % key) for key in range(40))
"""Records, each with a key of its own."""


def _paused(records: int = 4) -> Workers:
    """One that is known to pause."""
    story = Workers(OTHERS[:records], BREAKER)
    story.is_told()
    return story


def _goes_on(story: Workers, *offsets: int, deliveries: int = 1) -> None:
    """One record is tried, and then the others are delivered."""
    first, *others = offsets
    story.does(first, deliveries=deliveries)
    story.does(*others, deliveries=deliveries)


def test_one_record_is_tried_and_the_others_follow_once_it_was_done() -> None:
    """Also where several tries fail, as far apart as pauses are long."""
    story = _paused()
    for number in range(1, 4):
        story.receives(0, deliveries=number)
        story.says("nack", 0, deliveries=number)
        story.is_told(who="b")
        story.wait(1)
    _goes_on(story, 0, 1, 2, 3, deliveries=4)
    result = story.judged()
    assert result.is_clean, result.violations
    assert result.figures.queue_pauses == 1


def test_nothing_but_a_try_passes_a_pause() -> None:
    """Told by an answer to a receive, or by a description."""
    for is_described in (False, True):
        story = Workers(OTHERS[:4], BREAKER)
        if is_described:
            story.ok(story.invoke(LookAtQueue(QUEUE)), QueueState(4, 0, "open"))
        else:
            story.is_told()
        story.does(0, 1)
        story.does(2, 3)
        assert story.found() == {Kind.PASSED_A_PAUSE: 2}


def test_a_receive_that_began_before_the_pause_says_nothing_of_it() -> None:
    """Nor does one that was answered once the record that was tried may have been done."""
    story = Workers(OTHERS[:4], BREAKER)
    before = story.invoke(Receive(QUEUE), "b")
    story.is_told()
    story.receives(0)
    after = story.invoke(Receive(QUEUE), "c")
    story.ok(before, story.got(1, 2))
    story.says("ack", 0, result="unknown")
    story.ok(after, story.got(3))
    story.says("ack", 1, 2, who="b")
    story.says("ack", 3, who="c")
    assert story.found() == {}


def test_tries_are_as_far_apart_as_pauses_are_long() -> None:
    """Unless clocks jump: then a pause may be over at once."""
    for jumps, expected in ((False, {Kind.PASSED_A_PAUSE: 1}), (True, {})):
        story = _paused()
        if jumps:
            story.events.append(FaultBegan(story.now, 1, "clock jump on one", ["n1"]))
        for number in range(1, 4):
            story.receives(0, deliveries=number)
            story.says("nack", 0, deliveries=number)
        story.wait(3)
        _goes_on(story, 0, 1, 2, 3, deliveries=4)
        assert story.found() == expected


def test_a_queue_in_which_all_fails_pauses() -> None:
    """By what was answered, whether or not somebody is told of the pause afterwards."""
    for failures, told, expected in (
        (LIMIT, False, {}),
        (LIMIT + 1, False, {Kind.BREAKER_STAYED_CLOSED: 1}),
        (LIMIT + 1, True, {}),
    ):
        story = Workers(OTHERS[:1], BREAKER)
        for number in range(1, failures + 1):
            story.receives(0, deliveries=number)
            story.says("nack", 0, deliveries=number)
            if told and number == LIMIT:
                story.is_told()
        story.wait(2)
        story.does(0, deliveries=failures + 1)
        assert story.found() == expected, failures


def test_where_some_are_done_it_need_not_pause() -> None:
    """Within the window, or at the same time."""
    story = Workers(OTHERS[:3], BREAKER)
    story.receives(2)
    for number in range(1, 2 * LIMIT):
        if number == LIMIT:
            story.does(1)
        story.receives(0, deliveries=number)
        story.says("nack", 0, deliveries=number)
    story.says("ack", 2)
    story.does(0, deliveries=2 * LIMIT)
    assert story.found() == {}


@pytest.mark.parametrize(("deliveries", "expected"), [(4, {}), (3, {Kind.DIED_EARLY: 1})])
def test_what_fails_in_a_pause_costs_no_delivery(deliveries: int, expected: dict[Kind, int]) -> None:
    """One failed in a pause: it dies after the fourth delivery, and not after the third."""
    story = Workers(OTHERS[:1], BREAKER)
    story.receives(0)
    story.is_told(who="b")
    story.says("nack", 0)
    for number in range(2, deliveries + 1):
        story.receives(0, deliveries=number, who="b")
        story.wait(1)
    story.letters = [OTHERS[0]]
    assert story.found(deaths=[Death(deliveries=deliveries)]) == expected


def test_what_was_rejected_may_die_at_any_time() -> None:
    """In a pause as well, and where nobody knows whether it was."""
    for result in ("done", "unknown"):
        story = _paused(1)
        story.receives(0)
        story.says("reject", 0, result=result)
        story.letters = [OTHERS[0]]
        assert story.found(deaths=[Death(deliveries=1)]) == {}


def test_what_may_have_been_done_ends_what_is_certain_of_a_pause() -> None:
    """The record that was tried was acknowledged without an answer: for a while it may be done."""
    story = _paused()
    story.receives(0)
    story.says("ack", 0, result="unknown")
    story.is_told(who="b")
    story.does(1, 2)
    story.does(3)
    assert story.found() == {}
    later = _paused()
    later.receives(0)
    later.says("ack", 0, result="unknown")
    later.wait(11)
    later.is_told(who="b")
    later.does(1, 2)
    later.does(3)
    assert later.found() == {Kind.PASSED_A_PAUSE: 1}
