"""What the checker says of queues: histories that are right, and one for each way to be wrong."""

from __future__ import annotations

from chaos.checker.violation import Kind
from chaos.history import Deliveries, Delivery, Done, MakeQueue, Produce, Produced, Receive
from tests.chaos.queue_story import ALL, DEAD, QUEUE, Workers
from tests.chaos.story import TOPIC


def test_records_that_are_settled_once_are_clean_and_counted() -> None:
    """Also where workers fail, die, and are late, and where answers are lost."""
    story = Workers()
    story.receives(0, 1, 2)
    story.says("nack", 1)
    story.says("ack", 0)
    story.receives(1, deliveries=2, who="b")
    story.says("ack", 1, result="late")
    story.says("ack", 1, deliveries=2, who="b", result="unknown")
    story.receives(1, deliveries=3, who="b")
    story.says("ack", 1, deliveries=3, who="b")
    story.receives(2, deliveries=3, who="b")
    story.says("reject", 2, deliveries=3, who="b")
    story.says("ack", 2, result="late")
    lost = story.invoke(Receive(QUEUE), "c")
    story.unknown(lost)
    story.does(3, deliveries=2)
    result = story.judged(dead=[ALL[2]])
    assert result.is_clean, result.violations
    assert (result.figures.queue_acknowledged, result.figures.queue_dead_letters) == (3, 1)


def test_what_was_acknowledged_never_comes_again() -> None:
    """To who asks afterwards, whatever the delivery is; and no later delivery, whenever it was asked for."""
    story = Workers()
    story.does(0, 1, 2)
    story.does(3)
    assert story.found() == {}
    story.receives(0, deliveries=2)
    assert Kind.ACKED_CAME_AGAIN in story.found()
    waited = Workers()
    waiting = waited.invoke(Receive(QUEUE), "b")
    waited.does(0, 1, 2)
    waited.does(3)
    waited.ok(waiting, waited.got(1, deliveries=2))
    assert waited.found() == {Kind.ACKED_CAME_AGAIN: 1}
    slow = Workers()
    first = slow.invoke(Receive(QUEUE), "a")
    slow.does(0, 2)
    slow.does(1, deliveries=2, who="b")
    slow.does(3)
    slow.ok(first, slow.got(1))
    slow.says("ack", 1, result="already")
    assert slow.found() == {}, "the first delivery's answer came late"


def test_what_was_acknowledged_is_no_dead_letter() -> None:
    """An acknowledgement without an answer says nothing."""
    story = Workers()
    story.does(0, 1)
    story.receives(2)
    story.says("ack", 2, result="unknown")
    story.does(3)
    assert story.found(dead=[ALL[2]]) == {}
    assert story.found(dead=[ALL[1], ALL[2]]) == {Kind.ACKED_CAME_AGAIN: 1}


def test_a_delivery_is_given_to_one_worker() -> None:
    """The next one has another number."""
    story = Workers()
    story.receives(0)
    story.receives(0, deliveries=2, who="b")
    story.says("ack", 0, deliveries=2, who="b")
    story.does(1, 2)
    story.does(3)
    assert story.found() == {}
    twice = Workers()
    twice.receives(0)
    twice.receives(0, who="b")
    twice.says("ack", 0)
    twice.does(1, 2)
    twice.does(3)
    assert twice.found() == {Kind.TWO_DELIVERIES: 1}


def test_records_of_a_key_come_one_after_the_other() -> None:
    """The next one comes once somebody has begun to settle the one before, whatever came of that."""
    for how, expected in (("unknown", {}), ("late", {Kind.KEY_OVERTAKEN: 1}), ("done", {})):
        story = Workers()
        story.receives(0)
        story.says("ack", 0, result=how)
        story.does(3, who="b")
        story.does(1, 2)
        if how == "late":
            story.receives(0, deliveries=2)
            story.says("ack", 0, deliveries=2)
        assert story.found() == expected, how
    again = Workers()
    again.receives(0)
    again.says("ack", 0, result="unknown")
    again.does(3, who="b")
    again.does(0, deliveries=2)
    again.does(1, 2)
    assert again.found() == {Kind.KEY_OVERTAKEN: 1}, "the first one was not settled after all"
    together = Workers()
    together.receives(0, 3)
    together.says("ack", 0, 3)
    together.does(1, 2)
    assert together.found() == {Kind.KEY_OVERTAKEN: 1}


def test_a_dead_letter_ends_the_wait_of_its_key() -> None:
    """After its last delivery, and not before."""
    story = Workers()
    story.receives(0)
    story.says("reject", 0)
    story.does(3)
    story.does(1, 2)
    assert story.found(dead=[ALL[0]]) == {}
    early = Workers()
    early.receives(0)
    early.does(3)
    early.receives(0, deliveries=2)
    early.does(1, 2)
    assert early.found(dead=[ALL[0]]) == {Kind.KEY_OVERTAKEN: 1}


def test_every_record_is_settled_or_left() -> None:
    """What nobody settled may not be gone; what was rejected is a dead letter."""
    story = Workers()
    story.does(0, 1)
    story.does(3)
    story.receives(2)
    assert story.found() == {Kind.QUEUE_LOST: 1}
    assert story.found(left=1) == {Kind.QUEUE_NOT_EMPTIED: 1}
    rejected = Workers()
    rejected.does(0, 1)
    rejected.does(3)
    rejected.receives(2)
    rejected.says("reject", 2)
    assert rejected.found() == {Kind.QUEUE_LOST: 1}
    unseen = Workers()
    unseen.does(0, 1, 2)
    unseen.does(3)
    assert unseen.found(left=None) == {Kind.QUEUE_NOT_EMPTIED: 1}


def test_a_dead_letter_is_stored_once() -> None:
    """By what is on the disks."""
    story = Workers()
    story.does(0, 1)
    story.does(3)
    story.receives(2)
    story.says("reject", 2)
    assert story.found(dead=[ALL[2]]) == {}
    assert story.found(dead=[ALL[2], ALL[2]]) == {Kind.DEAD_LETTER_TWICE: 1}


def test_a_delayed_record_does_not_come_early_and_blocks_nobody_until_then() -> None:
    """By the clock of the run; a key's later record goes first."""
    for wait_s, expected in ((0.9, {Kind.DELIVERED_EARLY: 1}), (1.0, {})):
        story = Workers()
        first, *others = ALL
        story.events = story.events[:3]  # Without the records.
        story.ok(story.invoke(MakeQueue(QUEUE, TOPIC, DEAD, by_key=True)), Done())
        story.ok(story.invoke(Produce(TOPIC, 0, [first], delay_ms=1000)), Produced(0))
        story.produce(others, at=1)
        story.does(3)
        story.does(1, 2)
        story.wait(wait_s)
        story.does(0)
        assert story.found() == expected


def test_a_worker_gets_what_is_in_the_log() -> None:
    """And nothing else."""
    story = Workers()
    wrong = Deliveries([Delivery(0, 1, ALL[2], 1)])
    story.ok(story.invoke(Receive(QUEUE), "a"), wrong)
    story.says("ack", 1)
    story.does(0, 2)
    story.does(3)
    assert story.found() == {Kind.WRONG_DELIVERY: 1}
