"""Deliveries and settlements of a queue as pure steps."""

from __future__ import annotations

from itertools import permutations

import pytest
from floodmark.errors import InvalidRequest, QueueExists

from node.coordinator.queues import administration
from node.coordinator.queues.administration import Put
from node.coordinator.queues.requests import Action, Breaker, Place, QueueConfig, Settled, Settlement
from node.coordinator.queues.values import CLOSED, HALF_OPEN, OPEN, State
from tests.node.queue_steps import DEAD_TOPIC, TOPIC, KeptQueue, read_anew

DONE, ALREADY, LATE = Settled.DONE, Settled.ALREADY, Settled.LATE


def test_neighbours_take_a_pair_to_deliver_and_a_pair_to_acknowledge() -> None:
    """A hundred records are leased by one run and one source; when all are acknowledged nothing is left."""
    kept = KeptQueue()
    kept.produce([None] * 100)
    kept.writes = 0
    assert kept.offsets(100) == list(range(100))
    assert kept.writes == 2
    assert kept.queue.in_flight == 100
    assert kept.settle(Action.ACK, range(100)) == [DONE] * 100
    assert kept.writes == 3
    assert (kept.queue.in_flight, len(kept.state)) == (0, 2)
    assert kept.settle(Action.ACK, range(100)) == [ALREADY] * 100


def test_records_of_one_delivery_are_settled_one_by_one() -> None:
    """In any order, and what is left is what a new leader finds."""
    kept = KeptQueue()
    kept.produce([None] * 5)
    kept.offsets(5)
    for offset in (2, 0, 4):
        assert kept.settle(Action.ACK, [offset]) == [DONE]
        for view in (kept.queue, kept.again()):
            share = view.shares[TOPIC, 0]
            assert view.in_flight == len(share.at)
    assert sorted(kept.again().shares[TOPIC, 0].at) == [1, 3]
    assert kept.settle(Action.ACK, [1, 2, 3]) == [DONE, ALREADY, DONE]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_records_of_one_delivery_end_in_one_step_each_in_its_own_way(order: tuple[int, ...]) -> None:
    """In whatever order it is said: none is lost, in the view or in what is stored."""
    kept = KeptQueue(max_deliveries=1, backoff_ms=(1_000,), dead_letter_topic_id=DEAD_TOPIC)
    kept.produce([None] * 4)
    kept.offsets(4)
    actions = {0: Action.NACK, 1: Action.RELEASE, 2: Action.REJECT, 3: Action.ACK}
    asked = [
        Settlement(place=Place(TOPIC, 0, offset), lease=kept.leases, action=actions[offset])
        for offset in order
    ]
    assert kept.settle_all(asked) == [DONE] * 4
    for view in (kept.queue, kept.again()):
        found = {offset: run.value.state for offset, run in view.shares[TOPIC, 0].at.items()}
        assert found == {0: State.DYING, 1: State.WAITING, 2: State.DYING}
    assert kept.offsets(4) == [1]


def test_what_failed_comes_again_after_its_delay() -> None:
    """With the queue's backoff or the worker's delay; before what is new, and counted."""
    kept = KeptQueue(backoff_ms=(1_000, 5_000))
    kept.produce([None] * 4)
    assert kept.offsets(3) == [0, 1, 2]
    assert kept.settle(Action.NACK, [0]) == [DONE]
    assert kept.settle(Action.NACK, [2], delay_ms=500) == [DONE]
    assert kept.settle(Action.NACK, [2]) == [ALREADY]
    assert kept.offsets(10) == [3]
    kept.passes(500)
    assert kept.offsets(10) == [2]
    kept.passes(500)
    leased = kept.lease(10)
    assert [(given.offsets, given.deliveries) for given in leased.given] == [([0], 2)]
    assert kept.settle(Action.NACK, [0]) == [DONE]
    kept.passes(4_999)
    assert kept.offsets(10) == []
    kept.passes(1)
    assert kept.offsets(10) == [0]
    assert kept.queue.shares[TOPIC, 0].source.redelivered == 3


def test_what_was_not_begun_is_given_back_and_counts_as_nothing() -> None:
    """Neither as a delivery, after which it would be dead, nor as a failure, after which the queue pauses."""
    breaker = Breaker(failures=50, deliveries=4, window_ms=60_000, pause_ms=1_000)
    kept = KeptQueue(max_deliveries=1, backoff_ms=(1_000,), breaker=breaker, dead_letter_topic_id=DEAD_TOPIC)
    kept.produce([None] * 4)
    for _ in range(3):
        assert kept.offsets(4) == [0, 1, 2, 3]
        assert kept.settle(Action.RELEASE, range(4)) == [DONE] * 4
        assert kept.settle(Action.RELEASE, range(4)) == [ALREADY] * 4
        assert kept.settle(Action.ACK, [0]) == [LATE]
    assert kept.queue.state.breaker == CLOSED
    assert {run.value.state for run in kept.queue.shares[TOPIC, 0].at.values()} == {State.WAITING}
    assert kept.offsets(4) == [0, 1, 2, 3]
    assert kept.settle(Action.NACK, range(4)) == [DONE] * 4
    assert kept.queue.state.breaker == OPEN
    assert {run.value.state for run in kept.queue.shares[TOPIC, 0].at.values()} == {State.DYING}


def test_a_half_open_queue_tries_another_record_when_one_is_given_back() -> None:
    """Nobody knows yet whether things work again."""
    breaker = Breaker(failures=50, deliveries=1, window_ms=60_000, pause_ms=1_000)
    kept = KeptQueue(backoff_ms=(1,), breaker=breaker)
    kept.produce([None] * 3)
    kept.offsets(1)
    kept.settle(Action.NACK, [0])
    assert kept.queue.state.breaker == OPEN
    kept.passes(1_000)
    for _ in range(3):
        assert kept.offsets(3) == [0]
        assert kept.queue.state.breaker == HALF_OPEN
        assert kept.offsets(3) == []
        assert kept.settle(Action.RELEASE, [0], lease=kept.leases - 1) == [DONE]
    assert kept.offsets(3) == [0]
    assert kept.settle(Action.ACK, [0]) == [DONE]
    assert kept.queue.state.breaker == CLOSED


def test_a_receipt_is_late_when_its_time_is_up() -> None:
    """What was not settled comes again, and the first delivery can do nothing any more."""
    kept = KeptQueue(visibility_timeout_ms=1_000, backoff_ms=())
    kept.produce([None] * 3)
    assert kept.offsets(3) == [0, 1, 2]
    kept.passes(600)
    assert kept.settle(Action.EXTEND, [1]) == [DONE]
    assert kept.settle(Action.ACK, [0]) == [DONE]
    kept.passes(400)
    assert kept.end() == 1
    assert kept.settle(Action.ACK, [0, 1, 2]) == [ALREADY, DONE, LATE]
    assert kept.offsets(3) == [2]
    assert kept.settle(Action.ACK, [2], lease=1) == [LATE]
    assert kept.settle(Action.NACK, [2], lease=1) == [LATE]
    assert kept.settle(Action.ACK, [2]) == [DONE]
    assert kept.settle(Action.ACK, [2], lease=1) == [LATE]
    assert kept.settle(Action.NACK, [0], lease=1) == [LATE]


def test_a_new_leader_gives_everybody_their_whole_time() -> None:
    """By its own monotonic clock, from when it begins."""
    kept = KeptQueue(visibility_timeout_ms=1_000)
    kept.produce([None] * 3)
    kept.offsets(3)
    kept.passes(900)
    view = kept.again()
    assert kept.queue.visibility.next() == 1.0
    assert view.visibility.next() == 1.0
    kept.queue = read_anew("q", kept.state.get, list(kept.state), clock_s=kept.clock_s)
    kept.passes(999)
    assert kept.end() == 0
    kept.passes(1)
    assert kept.end() == 3


def test_what_was_never_delivered_cannot_be_settled() -> None:
    """Neither by a lease that is none, nor beyond what was delivered."""
    kept = KeptQueue()
    kept.produce([None] * 3)
    kept.offsets(1)
    assert kept.settle(Action.ACK, [0, 1, 2], lease=9) == [LATE, LATE, LATE]
    assert kept.queue.in_flight == 1


def test_one_settlement_counts_where_two_are_about_one_delivery() -> None:
    """The first; the same once more is no harm."""
    kept = KeptQueue()
    kept.produce([None] * 2)
    kept.offsets(2)
    assert kept.settle(Action.ACK, [0, 0]) == [DONE, ALREADY]
    asked = kept.settle(Action.NACK, [1])
    assert asked == [DONE]
    assert kept.settle(Action.ACK, [1]) == [LATE]
    assert kept.queue.counts[State.WAITING] == 1


@pytest.mark.parametrize(("first", "second"), list(permutations(Action, 2)))
def test_of_two_settlements_in_one_request_the_first_one_counts(first: Action, second: Action) -> None:
    """The other one is late, and changes nothing."""
    alone, both = KeptQueue(), KeptQueue()
    for kept in (alone, both):
        kept.produce([None] * 3)
        kept.offsets(3)
    asked = [Settlement(place=Place(TOPIC, 0, 1), lease=1, action=action) for action in (first, second)]
    assert both.settle_all(asked) == [DONE, LATE]
    assert alone.settle_all(asked[:1]) == [DONE]
    assert both.state == alone.state


@pytest.mark.parametrize(("first", "second"), list(permutations((Action.ACK, Action.NACK))))
def test_a_settlement_that_came_second_says_nothing_of_what_is_tried(first: Action, second: Action) -> None:
    """A half open queue closes, or opens again, by the first one."""
    kept = KeptQueue(backoff_ms=(1,), breaker=Breaker(failures=50, deliveries=1, pause_ms=1_000))
    kept.produce([None])
    kept.offsets(1)
    kept.settle(Action.NACK, [0])
    kept.passes(1_000)
    assert kept.offsets(1) == [0]
    assert kept.queue.state.breaker == HALF_OPEN
    asked = [Settlement(place=Place(TOPIC, 0, 0), lease=2, action=action) for action in (first, second)]
    assert kept.settle_all(asked) == [DONE, LATE]
    assert kept.queue.state.breaker == (CLOSED if first is Action.ACK else OPEN)


def test_records_of_one_key_go_one_after_the_other() -> None:
    """Others pass them; the next one of a key comes when the one before is settled, not when it failed."""
    kept = KeptQueue(ordering="key", backoff_ms=())
    kept.produce(["a", "a", "b", None, "a", "b"])
    assert kept.offsets(10) == [0, 2, 3]
    assert kept.offsets(10) == []
    first = kept.leases - 1
    assert kept.settle(Action.NACK, [0], lease=first) == [DONE]
    assert kept.settle(Action.ACK, [2], lease=first) == [DONE]
    assert sorted(kept.offsets(10)) == [0, 5]
    assert kept.settle(Action.ACK, [0, 5]) == [DONE, DONE]
    kept.queue = kept.again()
    assert kept.offsets(10) == [1]
    assert kept.offsets(10) == []
    assert kept.settle(Action.ACK, [1], lease=kept.leases - 1) == [DONE]
    assert kept.offsets(10) == [4]


def test_a_full_window_stops_what_is_new() -> None:
    """Records that are held count as others do; it goes on when one is settled."""
    kept = KeptQueue(ordering="key", window=3)
    kept.produce(["a"] * 4 + ["b"])
    assert kept.offsets(10) == [0]
    leased = kept.lease(10)
    assert (leased.given, leased.paused) == ((), "window_full")
    assert kept.settle(Action.ACK, [0], lease=1) == [DONE]
    assert kept.offsets(10) == [1]
    assert kept.settle(Action.ACK, [1]) == [DONE]
    assert sorted(kept.offsets(10)) == [2, 4]


def test_workers_have_only_so_many_records_in_hand() -> None:
    """Each and together; and no more bytes than asked for but for one record."""
    kept = KeptQueue(max_in_flight=5, max_in_flight_per_worker=3)
    kept.produce([None] * 20)
    assert len(kept.offsets(10, worker="a")) == 3
    assert kept.lease(1, worker="a").paused == "in_flight_full"
    assert len(kept.offsets(10, worker="b")) == 2
    assert kept.lease(1, worker="c").paused == "in_flight_full"
    assert kept.settle(Action.ACK, range(3), lease=1) == [DONE] * 3
    (given,) = kept.lease(10, worker="a", max_bytes=25).given
    assert given.offsets == [5, 6]
    assert kept.settle(Action.ACK, [3], lease=3) == [DONE]
    (given,) = kept.lease(10, worker="a", max_bytes=5).given
    assert given.offsets == [7]


def test_a_queue_stays_with_its_topic_and_ordering() -> None:
    """Other settings may change; the same ones write nothing."""
    kept = KeptQueue()
    for config in (
        QueueConfig(topic="jobs", topic_id=TOPIC + 1),
        QueueConfig(topic="jobs", topic_id=TOPIC, ordering="key"),
    ):
        with pytest.raises(QueueExists):
            administration.put(kept.queue, Put(config, 2, {}), now_ms=1)
    with pytest.raises(InvalidRequest):
        administration.put(
            kept.queue, Put(QueueConfig(topic="jobs", topic_id=TOPIC, window=0), 2, {}), now_ms=1
        )
    assert not administration.put(kept.queue, Put(kept.config, 2, {}), now_ms=1).pairs
    other = QueueConfig(topic="jobs", topic_id=TOPIC, max_deliveries=9)
    assert kept.take(administration.put(kept.queue, Put(other, 2, {}), now_ms=1)) is False
    assert (kept.again().state.config.max_deliveries, kept.again().state.number) == (9, 1)


def test_a_time_of_day_that_is_set_back_makes_no_lease_shorter() -> None:
    """What is extended gets its whole time, also where it is written down as an earlier one would be."""
    kept = KeptQueue(visibility_timeout_ms=1_000)
    kept.produce([None] * 2)
    kept.offsets(2)
    kept.passes(600)
    kept.now_ms -= 600
    assert kept.settle(Action.EXTEND, [1]) == [DONE]
    kept.passes(999)
    assert kept.end() == 1
    kept.passes(2)
    assert kept.end() == 1
