"""A queue and its state, for tests of its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from node.coordinator.groups.decision import Decision
from node.coordinator.queues import administration, dying, leasing, settling
from node.coordinator.queues.administration import Put
from node.coordinator.queues.leasing import Again, Ask, Fresh, Leased, Seen, key_hash
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.reading import Reading
from node.coordinator.queues.requests import Action, Place, QueueConfig, Settled, Settlement

R = TypeVar("R")
TOPIC = 7
DEAD_TOPIC = 8
BEGAN_MS = 1_000_000


def read_anew(
    name: str, get: Callable[[bytes], bytes | None], all_keys: Iterable[bytes], *, clock_s: float = 0.0
) -> Queue:
    """The view that a new leader makes of the state, in the smallest pieces."""
    reading = Reading(name, get, all_keys)
    while not reading.go_on(clock_s=clock_s, piece=1):
        continue
    return reading.queue


class KeptQueue:
    """``state``: the pairs. ``take`` applies what a step decided to it and to the view.

    Partitions have records of 10 bytes: ``produce`` appends some.
    """

    def __init__(self, **config: Any) -> None:
        self.state: dict[bytes, bytes] = {}
        self.queue = Queue("q")
        self.now_ms = BEGAN_MS
        self.clock_s = 0.0
        self.writes = 0
        self.leases = 0
        self.dead_end = 100
        """Of the dead letter topic, partition 0."""
        self.topic: dict[int, list[Seen]] = {}
        self.config = QueueConfig(topic="jobs", topic_id=TOPIC, **config)
        self.take(administration.put(self.queue, Put(self.config, 1, {}), now_ms=self.now_ms))

    def again(self) -> Queue:
        """What a new leader has."""
        return read_anew("q", self.state.get, list(self.state))

    def take(self, decision: Decision[R]) -> R:
        """What the caller is told."""
        for key, value in decision.pairs:
            self.writes += 1
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        self.queue.replay(decision.pairs, clock_s=self.clock_s)
        return decision.answer

    def passes(self, ms: int) -> None:
        """Both clocks go on."""
        self.now_ms += ms
        self.clock_s += ms / 1_000

    def produce(self, keys: Iterable[str | None], *, partition: int = 0, deliver_at_ms: int = 0) -> None:
        """One record for each key."""
        log = self.topic.setdefault(partition, [])
        for key in keys:
            hashed = key_hash(key.encode()) if key is not None else 0
            log.append(Seen(len(log), hashed, deliver_at_ms, 10))

    def lease(self, records: int = 1, *, worker: str = "w", max_bytes: int = 1 << 20) -> Leased:
        """What a worker gets that asks for so many."""
        self.leases += 1
        again = [Again(place, 10) for place in self.queue.ready_now(self.now_ms, records)]
        fresh = []
        for partition, log in sorted(self.topic.items()):
            begin = self.queue.next_of(partition)
            fresh.append(Fresh(partition, begin, len(log), log[begin:]))
        ask = Ask(worker, self.leases, records, max_bytes, again, fresh)
        return self.take(leasing.lease(self.queue, ask, now_ms=self.now_ms))

    def offsets(self, records: int = 1, *, worker: str = "w") -> list[int]:
        """Likewise, of all partitions."""
        return [offset for given in self.lease(records, worker=worker).given for offset in given.offsets]

    def settle(
        self, action: Action, offsets: Iterable[int], *, lease: int | None = None, **more: Any
    ) -> list[Settled]:
        """Of partition 0, by the last lease if none is said."""
        number = self.leases if lease is None else lease
        asked = [
            Settlement(place=Place(TOPIC, 0, offset), lease=number, action=action, **more)
            for offset in offsets
        ]
        return self.settle_all(asked)

    def settle_at(self, action: Action, place: Place) -> Settled:
        """One record, wherever it is, by the last lease."""
        return self.settle_all([Settlement(place=place, lease=self.leases, action=action)])[0]

    def settle_all(self, asked: Sequence[Settlement]) -> list[Settled]:
        """What came of each."""
        return self.take(settling.settle(self.queue, asked, now_ms=self.now_ms))

    def end(self) -> int:
        """Terms that are over end; how many records they had."""
        records = 0
        while count := self.take(settling.end(self.queue, clock_s=self.clock_s, now_ms=self.now_ms)):
            records += count
        return records

    def die(self, *, partition: int = 0, topic_id: int = TOPIC) -> list[int]:
        """What is on its way to the dead letters gets there; the numbers."""
        found = list(self.queue.dying(topic_id, partition))
        sent = [
            dying.Sent(number, Place(DEAD_TOPIC, partition, self.dead_end + place))
            for place, (number, _, _) in enumerate(found)
        ]
        self.dead_end += len(sent)
        self.take(dying.sent(self.queue, topic_id, partition, sent))
        return [number for number, _, _ in found]
