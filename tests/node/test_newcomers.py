"""Whom a partition forgets and whom it refuses: over a real log, by the times in it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from floodmark.errors import OutOfOrderSequence, TooManyProducers
from floodmark.format import batch
from floodmark.format.batch import BatchHeader
from floodmark.format.record import Record

from consensus.types import Proposal
from node.partition.appender import Appender
from node.partition.newcomers import MakingRoom, ProducerLimits
from node.partition.producers import ProducerTable, Remembered
from node.partition.producers_here import ProducersLed
from tests.node.test_appender import Queue, appender_of

HOUR_MS = 3_600_000
LIMITS = ProducerLimits(per_partition=4, per_node=1000, remembered_s=3600)


def made(name: str, sequence: int = 0) -> tuple[bytes, BatchHeader]:
    """A batch of an idempotent producer."""
    body = batch.encode([Record(0, None, b"v")], producer_id=batch.producer_id_of(name), sequence=sequence)
    return body, batch.decode_header(body)


def send(appender: Appender, queue: Queue, name: str, sequence: int = 0) -> Any:
    """As ``Confirmed`` does: when room is being made, wait for that and ask again."""
    for _ in range(10):
        try:
            placed = appender.append(*made(name, sequence), term=1, expected_offset=None)
        except MakingRoom:
            queue.commit()
            continue
        queue.commit()
        return placed
    raise AssertionError("room is being made, and never there")


def names(table: ProducerTable, among: str) -> str:
    """Who is remembered."""
    return "".join(name for name in among if batch.producer_id_of(name) in table.producers)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    """A leader's group, some time after 1970."""
    queue = Queue(tmp_path)
    queue.now_ms = 10 * HOUR_MS
    return queue


def test_nobody_is_forgotten_who_was_not_silent_for_an_hour(queue: Queue) -> None:
    """New ones are refused, told when to ask again, and leave no trace; all others go on as before."""
    appender = appender_of(queue, producers=LIMITS)
    for name in "abcd":
        send(appender, queue, name)
    queue.now_ms += HOUR_MS - 20_000
    for name in "efg":
        with pytest.raises(TooManyProducers) as refused:
            send(appender, queue, name)
        assert refused.value.retry_after_s == pytest.approx(20)
        assert refused.value.retriable
    assert names(queue.table, "abcdefg") == "abcd"
    for number, name in enumerate("abcd"):
        assert send(appender, queue, name) == Remembered(0, number, 1, made(name)[1].crc)
        assert isinstance(send(appender, queue, name, 1), Proposal)
    assert queue.table.forgotten == 0


def test_the_longest_silent_ones_make_room_after_an_hour(queue: Queue) -> None:
    """As many as are needed; who wrote meanwhile stays; and also where nobody wrote at all meanwhile."""
    appender = appender_of(queue, producers=LIMITS)
    for name in "abcd":
        send(appender, queue, name)
    queue.now_ms += HOUR_MS - 1
    send(appender, queue, "a", 1)
    queue.now_ms += 1
    assert isinstance(send(appender, queue, "e"), Proposal)
    assert names(queue.table, "abcde") == "acde"
    with pytest.raises(OutOfOrderSequence, match="does not remember"):
        send(appender, queue, "b", 1)
    assert isinstance(send(appender, queue, "f"), Proposal)
    assert isinstance(send(appender, queue, "g"), Proposal)
    assert names(queue.table, "abcdefg") == "aefg"
    with pytest.raises(TooManyProducers):
        send(appender, queue, "h")
    assert (queue.table.forgotten, len(queue.table.producers)) == (3, 4)


def test_an_entry_makes_room_for_many(queue: Queue) -> None:
    """A sixteenth of all is forgotten at once, so that not every newcomer costs an entry."""
    limits = ProducerLimits(per_partition=64, per_node=1000, remembered_s=3600)
    appender = appender_of(queue, producers=limits)
    for number in range(64):
        send(appender, queue, f"old {number}")
    queue.now_ms += HOUR_MS
    before = queue.log.last_index
    for number in range(5):
        send(appender, queue, f"new {number}")
    # One that tells the time, one that forgets, and five batches.
    assert queue.log.last_index - before == 7
    assert queue.table.forgotten == 5


def test_producers_in_flight_count_and_are_not_forgotten(queue: Queue) -> None:
    """The bound holds for what is on its way, and who writes again just then stays."""
    appender = appender_of(queue, producers=LIMITS)
    for name in "abc":
        send(appender, queue, name)
    queue.now_ms += HOUR_MS
    send(appender, queue, "c", 1)
    appender.append(*made("d"), term=1, expected_offset=None)
    appender.append(*made("a", 1), term=1, expected_offset=None)
    with pytest.raises(MakingRoom):
        appender.append(*made("e"), term=1, expected_offset=None)
    queue.commit()
    send(appender, queue, "e")
    assert names(queue.table, "abcde") == "acde"
    with pytest.raises(TooManyProducers):
        send(appender, queue, "f")
    assert send(appender, queue, "a", 1).first_offset == 5


@pytest.mark.parametrize("odd_ms", [0, 1 << 45], ids=["unknown", "in the future"])
def test_a_time_that_cannot_be_is_the_time_at_which_it_was_met(queue: Queue, odd_ms: int) -> None:
    """A table of version 1 has no times, and a clock may have been years ahead: an hour from now, for all."""
    old = {
        "version": 1,
        "last_index": 1,
        "forgotten": 0,
        "producers": {batch.producer_id_of(name): [0, [[0, 0, 1]]] for name in "abcd"},
    }
    queue.table.restore(msgspec.msgpack.encode(old))
    for producer in queue.table.producers.values():
        producer.time = odd_ms
    appender = appender_of(queue, producers=LIMITS)
    with pytest.raises(TooManyProducers):
        send(appender, queue, "e")
    queue.now_ms += HOUR_MS - 1
    appender = appender_of(queue, producers=LIMITS)
    with pytest.raises(TooManyProducers):
        send(appender, queue, "e")
    queue.now_ms += 1
    appender = appender_of(queue, producers=LIMITS)
    for name in "efgh":
        send(appender, queue, name)
    assert names(queue.table, "abcdefgh") == "efgh"


def test_all_partitions_of_a_node_have_a_bound_together(tmp_path: Path) -> None:
    """It refuses new ones everywhere, and silent ones of any of them make room."""
    limits = ProducerLimits(per_partition=100, per_node=6, remembered_s=3600)
    queues = [Queue(tmp_path / str(number)) for number in range(2)]
    here = ProducersLed(lambda: appenders)
    appenders = [appender_of(queue, producers=limits, here=here) for queue in queues]
    for queue, appender in zip(queues, appenders, strict=True):
        queue.now_ms = 10 * HOUR_MS
        for name in "abc":
            send(appender, queue, name)
    for queue, appender in zip(queues, appenders, strict=True):
        with pytest.raises(TooManyProducers, match="this node remembers 6"):
            send(appender, queue, "d")
    queues[1].now_ms += HOUR_MS
    for name in "abc":
        send(appenders[1], queues[1], name, 1)
    appenders[1] = appender_of(queues[1], producers=limits, here=here)
    with pytest.raises(TooManyProducers) as refused:
        send(appenders[1], queues[1], "d")
    assert refused.value.retry_after_s == 1
    queues[0].commit()
    assert isinstance(send(appenders[1], queues[1], "d"), Proposal)
    assert names(queues[1].table, "abcd") == "abcd"
    assert here.count == 6 - queues[0].table.forgotten + 1 <= 6


class Model:
    """Leaders with limits of their own over one log; replicas restart from checkpoints anywhere."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.queue = Queue(folder)
        self.queue.now_ms = 10 * HOUR_MS
        self.follower = ProducerTable()
        self.stored: dict[tuple[str, int], int] = {}
        self.next: dict[str, int] = {}
        self.spoke: dict[str, int] = {}
        self.latest = 0
        """The clock at its furthest: it may go back."""
        self.lead()

    def lead(self) -> None:
        """Another node leads: what it remembers follows from the log."""
        self.queue.table = self.replayed()
        bound = self.random.choice([4, 5, 6])
        limits = ProducerLimits(bound, self.random.choice([5, 1000]), self.random.choice([3600, 7200]))
        here = ProducersLed(lambda: [self.appender])
        self.appender = appender_of(self.queue, producers=limits, here=here)

    def replayed(self) -> ProducerTable:
        """A replica that restarts from a checkpoint of another one and reads the rest of the log."""
        table = ProducerTable()
        if self.random.random() < 0.7:
            table.restore(self.queue.table.snapshot())
        for frame in self.queue.log.frames(2, self.queue.log.last_index):
            table.apply(frame)
        return table

    def step(self) -> None:
        """Someone writes, new or again, after some time."""
        match self.random.randrange(10):
            case 0:
                self.lead()
            case 1 | 2:
                self.queue.now_ms += self.random.choice([1, HOUR_MS // 2, HOUR_MS])
            case 3:
                self.queue.now_ms -= 5000
            case _:
                self.write()

    def write(self) -> None:
        """The next batch of some producer, or its last one again."""
        queue, name = self.queue, self.random.choice("abcdefghij")
        repeat = self.random.random() < 0.4 and self.next.get(name, 0) > 0
        sequence = self.next.get(name, 0) - repeat
        self.latest = max(self.latest, queue.now_ms)
        recent = self.latest - self.spoke.get(name, -HOUR_MS) < HOUR_MS
        try:
            placed = send(self.appender, queue, name, sequence)
        except OutOfOrderSequence:
            assert not recent, f"{name} wrote within the hour and is not remembered"
            self.next[name] = 0
            return
        except TooManyProducers:
            assert not recent, f"{name} wrote within the hour and is refused"
            return
        if isinstance(placed, Remembered):
            assert placed.first_offset == self.stored[name, sequence]
            return
        assert not (repeat and recent), f"batch {sequence} of {name} is stored twice"
        self.stored[name, sequence] = placed.first_offset
        self.next[name] = sequence + 1
        self.spoke[name] = queue.now_ms

    def check(self) -> None:
        """All replicas remember the same, and none too many."""
        held = [(name, item.epoch, item.recent) for name, item in self.queue.table.producers.items()]
        table = self.replayed()
        assert [(name, item.epoch, item.recent) for name, item in table.producers.items()] == held
        assert len(held) <= 6


@pytest.mark.parametrize("seed", range(20))
def test_within_the_hour_nothing_is_stored_twice_whoever_leads(tmp_path: Path, seed: int) -> None:
    """Leaders with other limits, clocks that go back a little, restarts."""
    model = Model(tmp_path, seed)
    for _ in range(150):
        model.step()
        model.check()
