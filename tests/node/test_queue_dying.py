"""Records that die, dead letters that are delivered again, and the breaker, as pure steps."""

from __future__ import annotations

import pytest
from floodmark.errors import UnknownDeadLetter, UnknownQueue

from node.coordinator.queues import administration, dead_letters, dying
from node.coordinator.queues.dead_letters import Letter
from node.coordinator.queues.dying import Sent
from node.coordinator.queues.leasing import key_hash
from node.coordinator.queues.requests import Action, Breaker, DeadName, Place, Settled, Settlement
from node.coordinator.queues.values import CLOSED, HALF_OPEN, OPEN, State
from tests.node.queue_steps import DEAD_TOPIC, TOPIC, KeptQueue

DONE, ALREADY, LATE = Settled.DONE, Settled.ALREADY, Settled.LATE
NEVER = Breaker(failures=0)


def _kept(**config: object) -> KeptQueue:
    return KeptQueue(
        **{"backoff_ms": (), "dead_letter_topic": "dead", "dead_letter_topic_id": DEAD_TOPIC} | config
    )


def test_a_record_dies_after_its_last_delivery() -> None:
    """With a number, its reason, its count and its last worker; until it is sent it is dying."""
    kept = _kept(max_deliveries=2)
    kept.produce([None] * 3)
    assert kept.offsets(3) == [0, 1, 2]
    kept.settle(Action.NACK, [0, 2], reason="no such account")
    kept.settle(Action.ACK, [1])
    assert kept.offsets(3, worker="v") == [0, 2]
    assert kept.settle(Action.NACK, [2], reason="no such account") == [DONE]
    kept.passes(30_000)
    assert kept.end() == 1
    kept.queue = kept.again()
    assert [(number, offset) for number, offset, _ in kept.queue.dying(TOPIC, 0)] == [(0, 2), (1, 0)]
    assert kept.offsets(3) == []
    assert kept.settle(Action.ACK, [0], lease=2) == [LATE]
    assert kept.die() == [0, 1]
    (first, second) = dead_letters.listed(kept.queue, after=None, limit=5)
    assert (first.source, first.number, first.at) == (Place(TOPIC, 0, 2), 0, Place(DEAD_TOPIC, 0, 100))
    assert (first.reason, first.deliveries, first.worker) == (
        "2 deliveries; at the last one it failed: no such account",
        2,
        "v",
    )
    assert (second.reason, second.died_ms) == ("2 deliveries; at the last one its time was up", kept.now_ms)
    assert len(kept.queue.shares[TOPIC, 0].at) == 0
    assert kept.settle(Action.NACK, [0, 2], lease=2) == [LATE, ALREADY]


def test_a_rejected_record_dies_at_once() -> None:
    """The worker's reason is the letter's; the same again is no harm."""
    kept = _kept(max_deliveries=5)
    kept.produce([None] * 2)
    kept.offsets(2)
    assert kept.settle(Action.REJECT, [1], reason="not JSON") == [DONE]
    assert kept.settle(Action.REJECT, [1], reason="not JSON") == [ALREADY]
    assert kept.settle(Action.ACK, [1]) == [LATE]
    assert kept.die() == [0]
    assert kept.settle(Action.REJECT, [1], reason="not JSON") == [ALREADY]
    assert kept.settle(Action.ACK, [1]) == [LATE]
    assert [each.reason for each in dead_letters.listed(kept.queue, after=None, limit=5)] == ["not JSON"]


def test_without_dead_letters_a_dead_record_is_dropped() -> None:
    """And counted: its number is used up."""
    kept = KeptQueue(max_deliveries=1, ordering="key")
    kept.produce(["a", "a"])
    assert kept.offsets(2) == [0]
    assert kept.settle(Action.NACK, [0]) == [DONE]
    assert kept.queue.shares[TOPIC, 0].source.died == 1
    assert kept.offsets(2) == [1]


def test_a_dying_record_stops_its_key_until_it_is_sent() -> None:
    """Those of other keys go on."""
    kept = _kept(ordering="key")
    kept.produce(["a", "a", "b"])
    assert kept.offsets(3) == [0, 2]
    assert kept.settle(Action.REJECT, [0]) == [DONE]
    kept.queue = kept.again()
    assert kept.offsets(3) == []
    kept.die()
    assert kept.offsets(3) == [1]


def test_letters_are_taken_in_the_order_of_their_numbers() -> None:
    """One that is told out of order is not taken; one that cannot be read any more is lost."""
    kept = _kept()
    kept.produce([None] * 3)
    kept.offsets(3)
    kept.settle(Action.REJECT, [0, 1, 2])
    at = Place(DEAD_TOPIC, 0, 100)
    assert kept.take(dying.sent(kept.queue, TOPIC, 0, [Sent(1, at)])) == 0
    assert kept.take(dying.sent(kept.queue, TOPIC, 0, [Sent(0, at), Sent(1, None)])) == 1
    assert [number for number, _, _ in kept.again().dying(TOPIC, 0)] == [2]
    assert list(kept.queue.dead) == [DeadName(TOPIC, 0, 0)]
    assert kept.queue.shares[TOPIC, 0].source.lost == 1
    assert kept.take(dying.sent(kept.queue, TOPIC, 0, [Sent(0, at), Sent(1, at)])) == 0


def _five_dead(**config: object) -> KeptQueue:
    kept = _kept(**config)
    kept.produce(["a", "b", "a", "b", "a"])
    while offsets := kept.offsets(5):
        kept.settle(Action.REJECT, offsets)
        kept.die()
    return kept


def test_dead_letters_are_delivered_again_from_where_they_are() -> None:
    """In the order of their key; each is off the list once it is settled, and not before."""
    kept = _five_dead(ordering="key")
    names = sorted(kept.queue.dead)
    at = {kept.queue.dead[name].offset: kept.queue.dead[name].at_offset for name in names}
    by_offset = {kept.queue.dead[name].offset: name for name in names}
    letters = [Letter(by_offset[offset], key_hash(b"a")) for offset in (0, 2)]
    assert kept.take(dead_letters.replay(kept.queue, letters)) == 2
    assert kept.take(dead_letters.replay(kept.queue, letters)) == 0
    kept.queue = kept.again()
    assert kept.queue.delayed == 2
    leased = kept.lease(5)
    assert [(given.topic_id, given.offsets, given.deliveries) for given in leased.given] == [
        (DEAD_TOPIC, [at[0]], 1)
    ]
    assert len(kept.queue.dead) == 5
    assert dead_letters.letter(kept.queue, by_offset[0]).replaying
    assert kept.take(dead_letters.purge_dead(kept.queue, None)) == 3
    assert kept.settle_at(Action.ACK, Place(DEAD_TOPIC, 0, at[0])) == DONE
    assert list(kept.queue.dead) == [by_offset[2]]
    (given,) = kept.lease(5).given
    assert given.offsets == [at[2]]
    with pytest.raises(UnknownDeadLetter):
        dead_letters.letter(kept.queue, by_offset[0])


def test_a_dead_letter_that_dies_again_is_a_new_one() -> None:
    """The old one is off the list in the same step in which the new one is on it."""
    kept = _kept()
    kept.produce([None])
    kept.settle(Action.REJECT, kept.offsets())
    kept.die()
    (name,) = kept.queue.dead
    assert kept.take(dead_letters.replay(kept.queue, [Letter(name, 0)])) == 1
    kept.lease()
    assert kept.settle_at(Action.REJECT, Place(DEAD_TOPIC, 0, 100)) == DONE
    assert list(kept.queue.dead) == [name]
    assert kept.die(topic_id=DEAD_TOPIC) == [0]
    assert list(kept.queue.dead) == [DeadName(DEAD_TOPIC, 0, 0)]
    assert kept.queue.replaying == {}
    assert kept.state.keys() == set(kept.queue.keys()) | {b"\x10\x01q"}


def test_replays_can_be_spread_over_time() -> None:
    """Each has its time."""
    kept = _five_dead()
    letters = [
        Letter(name, 0, kept.now_ms + 100 * place) for place, name in enumerate(sorted(kept.queue.dead))
    ]
    assert kept.take(dead_letters.replay(kept.queue, letters)) == 5
    seen = []
    for _ in range(5):
        seen.append(len(kept.offsets(5)))
        kept.passes(100)
    assert seen == [1] * 5


def _failing(kept: KeptQueue, records: int) -> None:
    for _ in range(records):
        kept.settle(Action.NACK, kept.offsets())


def test_a_broken_downstream_opens_the_breaker() -> None:
    """The queue pauses, tries one record, pauses again, tries again and goes on; nothing dies meanwhile."""
    kept = _kept(max_deliveries=4, breaker=Breaker(failures=50, deliveries=4, pause_ms=1_000))
    kept.produce([None] * 50)
    for _ in range(3):
        kept.settle(Action.ACK, kept.offsets())
    _failing(kept, 2)
    assert kept.queue.state.breaker == CLOSED
    _failing(kept, 1)
    assert kept.queue.state.breaker == OPEN
    assert kept.lease().paused == "breaker_open"
    kept.queue = kept.again()
    kept.passes(999)
    assert kept.lease().paused == "breaker_open"
    for _ in range(4):
        kept.passes(1_000)
        (probe,) = kept.offsets(10)
        lease = kept.leases
        assert kept.queue.state.breaker == HALF_OPEN
        assert kept.lease().paused == "breaker_open"
        assert kept.settle(Action.NACK, [probe], lease=lease) == [DONE]
        assert kept.queue.state.breaker == OPEN
    kept.passes(1_000)
    (probe,) = kept.offsets(10)
    assert kept.settle(Action.ACK, [probe]) == [DONE]
    assert kept.queue.state.breaker == CLOSED
    assert len(kept.offsets(10)) == 10
    assert kept.queue.counts[State.DYING] == 0


def test_failures_while_the_breaker_is_open_use_up_no_delivery() -> None:
    """What was in hand when it opened comes back as if that delivery had not been."""
    kept = _kept(max_deliveries=2, breaker=Breaker(failures=50, deliveries=2, pause_ms=1_000))
    kept.produce([None] * 5)
    assert len(kept.offsets(5)) == 5
    kept.settle(Action.NACK, [0, 1])
    assert kept.queue.state.breaker == OPEN
    kept.settle(Action.NACK, [2])
    kept.settle(Action.REJECT, [3])
    assert kept.queue.counts[State.DYING] == 1
    share = kept.queue.shares[TOPIC, 0]
    assert [share.at[offset].value.excused for offset in (0, 1, 2)] == [0, 0, 1]


@pytest.mark.parametrize(("tried", "other"), [(Action.ACK, Action.NACK), (Action.NACK, Action.ACK)])
def test_the_record_that_is_tried_decides_alone(tried: Action, other: Action) -> None:
    """Whatever comes of an older delivery that is settled in the same request."""
    kept = _kept(breaker=Breaker(failures=50, deliveries=2, pause_ms=1_000))
    kept.produce([None] * 5)
    assert len(kept.offsets(3)) == 3
    kept.settle(Action.NACK, [0, 1], delay_ms=60_000)
    assert kept.queue.state.breaker == OPEN
    kept.passes(1_000)
    assert kept.offsets(3) == [3]
    asked = [
        Settlement(place=Place(TOPIC, 0, 3), lease=kept.leases, action=tried),
        Settlement(place=Place(TOPIC, 0, 2), lease=1, action=other),
    ]
    assert kept.settle_all(asked) == [DONE, DONE]
    assert kept.queue.state.breaker == (CLOSED if tried is Action.ACK else OPEN)


def test_a_probe_that_is_gone_is_not_waited_for() -> None:
    """Where what was tried is settled otherwise another record is."""
    kept = _kept(breaker=Breaker(failures=1, deliveries=1, pause_ms=1_000))
    kept.produce([None] * 3)
    _failing(kept, 1)
    kept.passes(1_000)
    assert kept.offsets(3) == [0]
    assert kept.lease().paused == "breaker_open"
    kept.take(administration.purge(kept.queue, {}))
    assert kept.queue.state.breaker == HALF_OPEN
    assert kept.offsets(3) == [1]


def test_a_queue_is_emptied_and_deleted() -> None:
    """What is on its way to the dead letters goes on when it is emptied; nothing of it is left at last."""
    kept = _kept(ordering="key", breaker=NEVER)
    kept.produce(["a", "b", "a", None, "c"])
    kept.produce(["d"] * 3, deliver_at_ms=kept.now_ms + 1_000)
    kept.offsets(3)
    kept.settle(Action.REJECT, [0])
    kept.settle(Action.NACK, [1], delay_ms=10)
    kept.offsets(3)
    removed = kept.take(administration.purge(kept.queue, {0: 8}))
    assert (removed.records, removed.more) == (7, False)
    assert kept.queue.next_of(0) == 8
    assert kept.offsets(3) == []
    assert kept.die() == [0]
    kept.take(administration.delete(kept.queue, list(kept.state)))
    assert kept.state == {}
    assert not kept.queue
    with pytest.raises(UnknownQueue):
        administration.purge(kept.queue, {})


def test_a_large_queue_is_deleted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is none any more from the first part on."""
    monkeypatch.setattr(administration, "PAIRS_PER_STEP", 3)
    kept = KeptQueue(ordering="key")
    kept.produce([f"{n}" for n in range(10)])
    for _ in range(10):
        kept.lease()
    parts = 0
    while kept.take(administration.delete(kept.queue, list(kept.state))).more:
        parts += 1
        assert not kept.queue
        assert not kept.again()
    assert (parts, kept.state) == (3, {})
