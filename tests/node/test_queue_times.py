"""Records that are not to be delivered before their time, and what retention takes, as pure steps."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from node.coordinator.queues import administration, retention
from node.coordinator.queues.requests import Action, Place, Settled
from node.coordinator.queues.times import Times
from tests.node.queue_steps import TOPIC, KeptQueue

DONE, ALREADY, LATE = Settled.DONE, Settled.ALREADY, Settled.LATE


def test_a_delayed_record_is_delivered_when_it_is_due() -> None:
    """Not before, also by a new leader; others pass it, and it is not in the window."""
    kept = KeptQueue(window=2)
    kept.produce([None] * 3, deliver_at_ms=kept.now_ms + 1_000)
    kept.produce([None] * 2)
    assert kept.offsets(10) == [3, 4]
    assert kept.queue.delayed == 3
    assert kept.settle(Action.ACK, [0, 3, 4]) == [LATE, DONE, DONE]
    kept.passes(999)
    kept.queue = kept.again()
    assert kept.queue.next_due_ms() == kept.now_ms + 1
    assert kept.offsets(10) == []
    kept.passes(1)
    assert kept.offsets(2) == [0, 1]
    kept.queue = kept.again()
    assert kept.offsets(2) == [2]
    assert kept.settle(Action.ACK, [2]) == [DONE]
    assert (kept.queue.delayed, kept.again().delayed) == (0, 0)
    assert kept.queue.shares[TOPIC, 0].unsettled == 2


def test_delayed_records_share_pairs() -> None:
    """Also those that come in one by one, and between others; what is due is one bit less."""
    kept = KeptQueue()
    for _ in range(100):
        kept.produce([None], deliver_at_ms=kept.now_ms + 1_000)
        kept.produce([None])
        kept.settle(Action.ACK, kept.offsets())
    assert kept.queue.delayed == 100
    assert len(kept.state) == 2 + 2
    kept.passes(1_000)
    assert kept.offsets(3) == [0, 2, 4]
    assert len(kept.state) == 2 + 3 + 1
    for _ in range(10):
        kept.produce([None], deliver_at_ms=kept.now_ms + 1_000)
    kept.lease(10)
    again = kept.again()
    assert again.delayed == kept.queue.delayed
    kept.produce([None] * 600, deliver_at_ms=kept.now_ms + 1_000)
    kept.settle(Action.ACK, kept.offsets(300))
    kept.passes(1_000)
    assert kept.offsets(1_000) == list(range(200, 810))
    assert kept.again().in_flight == kept.queue.in_flight


def test_a_delayed_record_takes_its_place_in_its_key_when_it_is_due() -> None:
    """Before those that wait, behind the one that is in hand; one of a key at a time all along."""
    kept = KeptQueue(ordering="key")
    kept.produce(["a"], deliver_at_ms=kept.now_ms + 1_000)
    kept.produce(["a", "a"])
    assert kept.offsets(10) == [1]
    assert kept.offsets(10) == []
    kept.passes(1_000)
    assert kept.offsets(10) == []
    kept.produce(["a"])
    assert kept.offsets(10) == []
    for lease, (offset, following) in zip((1, 5, 6), ((1, 0), (0, 2), (2, 3)), strict=True):
        assert kept.settle(Action.ACK, [offset], lease=lease) == [DONE]
        assert kept.offsets(10) == [following]


def test_a_clock_that_is_set_back_delivers_nothing_early() -> None:
    """What was due by the clock as it was may be delivered; all else waits."""
    kept = KeptQueue()
    kept.produce([None], deliver_at_ms=kept.now_ms + 1_000)
    kept.produce([None], deliver_at_ms=kept.now_ms + 2_000)
    kept.lease()
    kept.passes(1_500)
    assert kept.queue.ready_now(kept.now_ms, 5)
    kept.passes(-1_500)
    assert kept.offsets(5) == [0]
    kept.passes(1_999)
    assert kept.offsets(5) == []
    kept.passes(1)
    assert kept.offsets(5) == [1]


def test_what_retention_takes_is_lost() -> None:
    """Counted wherever it was: in hand, waiting, delayed or not seen yet; what is left goes on."""
    kept = KeptQueue(ordering="key")
    kept.produce(["a", "a", "b", None])
    kept.produce([None] * 3, deliver_at_ms=kept.now_ms + 1_000)
    kept.produce([None] * 4)
    assert kept.offsets(4) == [0, 2, 3, 7]
    assert kept.settle(Action.ACK, [2]) == [DONE]
    removed = kept.take(retention.passed(kept.queue, TOPIC, 0, 1))
    assert (removed.records, removed.more) == (1, False)
    assert kept.offsets(1) == [1]
    removed = kept.take(retention.passed(kept.queue, TOPIC, 0, 5))
    assert removed.records == 3
    assert kept.queue.delayed == 2
    removed = kept.take(retention.passed(kept.queue, TOPIC, 0, 10))
    assert removed.records == 2 + 1 + 2
    assert kept.settle(Action.ACK, [7], lease=1) == [ALREADY]
    assert kept.offsets(4) == [10]
    for view in (kept.queue, kept.again()):
        share = view.shares[TOPIC, 0]
        assert (share.source.lost, share.source.taken, share.unsettled, view.in_flight) == (9, 11, 1, 1)
    assert kept.take(retention.passed(kept.queue, TOPIC, 0, 10)).records == 0


def test_single_records_that_are_gone_are_not_waited_for() -> None:
    """Compaction removes one here and there; what is in hand stays its worker's."""
    kept = KeptQueue(ordering="key")
    kept.produce(["a"], deliver_at_ms=kept.now_ms + 1_000)
    kept.produce(["b", "b", "b", "c"])
    assert kept.offsets(5) == [1, 4]
    kept.settle(Action.NACK, [4], delay_ms=5_000)
    kept.passes(1_000)
    kept.queue.advance(kept.now_ms)
    places = [Place(TOPIC, 0, offset) for offset in (0, 1, 2, 4, 4, 9)]
    assert kept.take(retention.missing(kept.queue, places)) == 3
    kept.queue = kept.again()
    assert kept.queue.shares[TOPIC, 0].source.lost == 0
    assert kept.settle(Action.ACK, [1]) == [DONE]
    assert kept.offsets(5) == [3]


def test_who_waits_for_the_next_delivery_waits_no_longer_when_the_clock_is_set_back() -> None:
    """Neither at the leader that has seen it nor at a new one; a time that was asked for stays."""
    for is_new in (False, True):
        kept = KeptQueue(backoff_ms=(1_000,))
        kept.produce([None, None])
        kept.passes(3_600_000)
        kept.produce([None], deliver_at_ms=kept.now_ms + 1_000)
        assert kept.offsets(10) == [0, 1]
        assert kept.settle(Action.NACK, [0]) == [DONE]
        assert kept.offsets(10) == []
        kept.now_ms -= 3_600_000
        if is_new:
            kept.queue = kept.again()
        assert kept.offsets(10) == [], "nor is it early"
        kept.passes(999)
        assert kept.offsets(10) == []
        kept.passes(1)
        assert kept.offsets(10) == [0]
        assert kept.settle(Action.NACK, [0], lease=kept.leases) == [DONE]
        kept.passes(999)
        assert kept.offsets(10) == [], "the next wait is one of its own"
        kept.passes(1)
        assert kept.offsets(10) == [0]
        assert kept.queue.delayed == 1


def test_delayed_records_are_not_looked_through_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an acknowledgement is late, where all that waits is settled, and where retention takes most."""
    counts: Counter[str] = Counter()
    for name in ("__contains__", "offset"):
        real = getattr(Times, name)

        def counted(times: Times, asked: int, *, name: str = name, real: Any = real) -> Any:
            counts[name] += 1
            return real(times, asked)

        monkeypatch.setattr(Times, name, counted)
    kept = KeptQueue(window=100_000)
    for _ in range(200):
        kept.produce([None] * 256, deliver_at_ms=kept.now_ms + 1_000)
        kept.produce([None] * 10)
    while given := kept.offsets(1_000):
        kept.settle(Action.ACK, given)
    kept.queue = kept.again()
    pairs = len(kept.queue.shares[TOPIC, 0].times)
    assert kept.queue.delayed == 256 * 200
    counts.clear()
    others = [n * 266 + 256 for n in range(200)]
    assert kept.settle(Action.ACK, others) == [ALREADY] * 200
    assert kept.settle(Action.ACK, [offset - 1 for offset in others]) == [LATE] * 200
    assert counts["__contains__"] <= 3 * 400
    assert counts["offset"] == 0
    kept.take(retention.passed(kept.queue, TOPIC, 0, 150 * 266 + 5))
    assert kept.queue.delayed == 256 * 50 - 5
    kept.take(administration.purge(kept.queue, {}))
    assert kept.queue.delayed == 0
    assert counts["offset"] <= 6 * pairs + 256
    assert not kept.queue.shares[TOPIC, 0].is_delayed(200 * 266 - 20)
    assert kept.again().delayed == 0


def test_what_joins_others_is_known_to_wait_as_well() -> None:
    """Also beyond the offsets that the first ones were among."""
    kept = KeptQueue()
    kept.produce([None] * 250)
    kept.settle(Action.ACK, kept.offsets(250))
    for _ in range(20):
        kept.produce([None], deliver_at_ms=kept.now_ms + 1_000)
        assert kept.offsets() == []
    assert len(kept.queue.shares[TOPIC, 0].times) == 1
    for view in (kept.queue, kept.again()):
        kept.queue = view
        assert kept.settle(Action.ACK, range(250, 270), lease=99) == [LATE] * 20
