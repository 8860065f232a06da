"""What a recovery has given up is not missed; nothing else is let pass."""

from __future__ import annotations

import pytest

from chaos.checker.check import CheckResult
from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Bounds, GivenUp, Produce, Produced, Recovered, Tail
from tests.chaos.story import TOPIC, Story, kinds, replica, replicas, v, vs

OLD, NEW = vs(0, 1, 2, 3, 4, 5), vs(10, 11)


def told(*given_up: GivenUp) -> Story:
    """Six records, acknowledged and read to the end; then a majority is lost, and two more are stored."""
    story = Story()
    story.produce(OLD[:4], at=0)
    story.produce(OLD[4:], at=4)
    story.read(0, (0, OLD))
    story.read(6, high_watermark=6)
    story.tail(6)
    story.leads("n1", 3)
    story.recovered(*given_up)
    story.leads("n2", 3)
    return story


def judged(story: Story, *values: int, recovered: bool = True) -> CheckResult:
    """With replicas that hold these; ``recovered``: as if nobody had said that something is given up."""
    recoveries = [event for event in story.events if isinstance(event, Recovered)] if recovered else []
    return story.check(*replicas(list(values)), options=CheckOptions(recoveries=recoveries))


def test_what_is_given_up_may_be_gone_and_its_offsets_used_again() -> None:
    """The same reader goes on in the new log, where its offset is another record's; terms count anew."""
    story = told(GivenUp(TOPIC, 0, 4))
    story.tail(4)
    story.produce(NEW, at=4)
    story.read(5, (5, NEW[1:]))
    assert judged(story, *OLD[:4], *NEW).is_clean
    assert kinds(judged(story, *OLD[:4], *NEW, recovered=False)).keys() >= {
        *(Kind.LOST_MIDDLE, Kind.TWO_VALUES_AT_ONE_OFFSET, Kind.NON_MONOTONIC_POLL, Kind.STALE_READ),
        Kind.TWO_LEADERS,
    }


def test_what_stands_before_it_is_missed() -> None:
    """A recovery that said 4 and lost the record at 3 is found, whatever came in its place."""
    story = told(GivenUp(TOPIC, 0, 4))
    story.produce(NEW, at=3)
    found = kinds(judged(story, *OLD[:3], *NEW))
    assert found == {Kind.LOST_MIDDLE: 1, Kind.TWO_VALUES_AT_ONE_OFFSET: 1, Kind.OUT_OF_ORDER: 1}


def test_partitions_that_are_not_named_lose_nothing() -> None:
    """The loss of another one excuses none."""
    assert kinds(judged(told(GivenUp(TOPIC, 1, 0)), *OLD[:5])) == {Kind.LOST_TAIL: 1}


def test_what_is_acknowledged_after_it_is_held_to_all_promises() -> None:
    """Also a tail that does not reach what is left."""
    story = told(GivenUp(TOPIC, 0, 4))
    story.tail(3)
    story.produce(NEW, at=4)
    assert kinds(judged(story, *OLD[:4], NEW[0])) == {Kind.STALE_READ: 1, Kind.LOST_TAIL: 1}


def test_a_partition_of_which_nothing_is_left_begins_anew() -> None:
    """Far above all that it can have had; conditional appends go on from there."""
    begins = 1 << 40
    story = told(GivenUp(TOPIC, 0, -1))
    story.tail(begins)
    op = story.invoke(Produce(TOPIC, 0, NEW, if_offset=begins))
    story.ok(op, Produced(begins))
    story.read(begins, (begins, NEW))
    recoveries = [event for event in story.events if isinstance(event, Recovered)]
    found = story.check(
        *(replica(node, NEW, start_offset=begins) for node in ("n1", "n2", "n3")),
        options=CheckOptions(recoveries=recoveries),
    )
    assert found.is_clean


@pytest.mark.parametrize("end", [1, 2, 3])
def test_races_are_judged_as_if_the_log_had_ended_there(end: int) -> None:
    """Appends behind it never were, refusals by their end tell nothing; one that is won twice is found."""
    story = Story()
    for at in range(3):
        story.ok(story.invoke(Produce(TOPIC, 0, [v(at)], if_offset=at)), Produced(at))
        story.ok(story.invoke(Tail(TOPIC, 0)), Bounds(0, at + 1))
    lost_race = story.invoke(Produce(TOPIC, 0, [v(7)], if_offset=1))
    story.fail(lost_race, "offset_mismatch", next_offset=3)
    story.recovered(GivenUp(TOPIC, 0, end))
    for value in (v(8), v(9)):
        story.ok(story.invoke(Produce(TOPIC, 0, [value], if_offset=end)), Produced(end))
    left = vs(0, 1, 2)[:end]
    assert Kind.NOT_LINEARIZABLE in kinds(judged(story, *left, v(8)))
    fair = Story()
    fair.events = story.events[:-2]
    assert judged(fair, *left, v(8)).is_clean
