"""One queue, as its pairs of key and value say: what steps decide on.

Who leads applies what was decided at once, before it is stored: it is the only one who decides in its term,
and begins again from what is stored when something was not. So it need not wait between two steps.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final

from node.coordinator import keys, values
from node.coordinator.groups.decision import Pair
from node.coordinator.keys import Kind, TopicPartition
from node.coordinator.queues.breaker import Outcomes
from node.coordinator.queues.requests import DeadName, Place
from node.coordinator.queues.run import Run
from node.coordinator.queues.share_partition import SharePartition
from node.coordinator.queues.values import (
    DeadValue,
    LeftValue,
    QueueValue,
    RunValue,
    SourceValue,
    State,
    TimesValue,
)
from node.coordinator.queues.visibility import Visibility

REMEMBERED_MAX: Final = 10_000
"""Records of which the leader knows by which lease they were settled, the last ones."""
LOOKS_MAX: Final = 256
"""So much of what is due is taken note of at once: some 15 ms where all of it is of different pairs."""
SET_BACK_MS: Final = 1_000
"""The wall clock is moved by less than this all the time."""
_RUN: Final = 0
_TIMES: Final = -1
READY_MAX: Final = 10_000
"""Records that are due and taken note of; others are when those have been delivered."""


class Queue:
    """A view that follows the state: ``replay`` takes what was decided or applied. Steps do not change it,
    but for what is beside the state: ``outcomes``.

    ``ready``: records that may be delivered and were seen before, the longest ready one first; also some
    that may not (any more): ``ready_now`` tells. ``counts``: records by their run's state.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.header: QueueValue | None = None
        self.shares: dict[TopicPartition, SharePartition] = {}
        self.counts: dict[int, int] = dict.fromkeys(State, 0)
        self.delayed = 0
        self.workers: Counter[str] = Counter()
        """How many records each has in hand."""
        self.ready: dict[Place, None] = {}
        self.dead: dict[DeadName, DeadValue] = {}
        self.replaying: dict[Place, DeadName] = {}
        """Where dead letters are that are on their way through the queue again."""
        self.visibility = Visibility()
        self.outcomes = Outcomes()
        self._due: list[tuple[int, int, int, int, int]] = []
        """When, topic, partition, first offset, and what: times, a run that waits until then, or one of this
        lease that waits no longer than until then."""
        self._seen_ms = 1 << 62
        self._remembered: deque[tuple[SharePartition, Sequence[int], tuple[int, str]]] = deque()
        self._remembers = 0
        self._clock_s = 0.0

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self.header is not None and not self.header.deleting

    @property
    def state(self) -> QueueValue:
        """What the queue itself is, where there is one."""
        assert self.header is not None, "looked for before"
        return self.header

    @property
    def in_runs(self) -> int:
        """Records that were passed and are not settled, but for delayed ones."""
        return sum(self.counts.values())

    @property
    def in_flight(self) -> int:
        """Records that are delivered and not settled."""
        return self.counts[State.LEASED]

    def next_of(self, partition: int) -> int:
        """From where on records of a partition of its topic were not looked at yet."""
        share = self.shares.get((self.state.config.topic_id, partition))
        return share.source.next if share else 0

    def share(self, topic_id: int, partition: int) -> SharePartition:
        """What is unsettled of a partition."""
        share = self.shares.get((topic_id, partition))
        if share is None:
            share = self.shares[topic_id, partition] = SharePartition(self, topic_id, partition)
        return share

    def share_of(self, place: Place) -> SharePartition | None:
        """That of a record, where there is one."""
        return self.shares.get((place.topic_id, place.partition))

    def keys(self) -> Iterator[bytes]:
        """Of all that is known of it, but for its own."""
        for (topic_id, partition), share in self.shares.items():
            at = (topic_id, partition)
            if share.stored is not None:
                yield keys.source_key(self.name, at)
            for first in share.runs:
                yield share.run_key(first)
            for base in share.times:
                yield keys.numbered_key(Kind.TIMES, self.name, at, base)
                yield keys.numbered_key(Kind.LEFT, self.name, at, base)
        for name in self.dead:
            yield keys.numbered_key(Kind.DEAD, self.name, (name.topic_id, name.partition), name.number)

    # What is ready, and when something will be.

    def advance(self, now_ms: int) -> None:
        """Take note of what is due by the wall clock. Before each step that leases, and before a look at
        ``ready_now``."""
        if self._seen_ms - now_ms > SET_BACK_MS:
            self._is_set_back(now_ms)
        self._seen_ms = now_ms
        for _ in range(LOOKS_MAX):
            if not self._due or self._due[0][0] > now_ms or len(self.ready) >= READY_MAX:
                break
            due_ms, topic_id, partition, first, what = heapq.heappop(self._due)
            share = self.share(topic_id, partition)
            if what == _TIMES:
                share.ripen(first, due_ms, now_ms)
                continue
            run = share.runs.get(first)
            if run is None or run.value.state != State.WAITING:
                continue
            if run.value.due_ms == due_ms if what == _RUN else run.value.lease == what:
                for offset in run.offsets():
                    self.ready[share.place(offset)] = None

    def _is_set_back(self, now_ms: int) -> None:
        """The wall clock went back, or another one counts from now on. Records that wait for their next
        delivery do so no longer than they were told to; those with a time of their own wait for that time.
        """
        for share in self.shares.values():
            for first, run in share.runs.items():
                value = run.value
                if value.state == State.WAITING and value.due_ms - now_ms > value.visible_ms:
                    at = (share.topic_id, share.partition, first, value.lease)
                    heapq.heappush(self._due, (now_ms + value.visible_ms, *at))

    def ready_now(self, now_ms: int, limit: int, skip: Container[Place] = ()) -> list[Place]:
        """Records that may be delivered (again), the longest ready one first. Read them, and ``lease``."""
        self.advance(now_ms)
        found: list[Place] = []
        void: list[Place] = []
        for place in self.ready:
            share = self.share_of(place)
            if share is None or not share.may_go(place.offset):
                void.append(place)
            elif place not in skip:
                found.append(place)
                if len(found) == limit:
                    break
        for place in void:
            del self.ready[place]
        return found

    def next_due_ms(self) -> int | None:
        """When something that waits may be ready, by the wall clock; None: nothing waits for a time."""
        return self._due[0][0] if self._due else None

    def dying(self, topic_id: int, partition: int) -> Iterator[tuple[int, int, RunValue]]:
        """Number, offset and run of the records that are on their way to the dead letters, in order."""
        share = self.share(topic_id, partition)
        for number in sorted(share.dying):
            offset = share.dying[number]
            yield number, offset, share.at[offset].value

    # What was decided, or applied.

    def replay(self, pairs: Iterable[Pair], *, clock_s: float) -> None:
        """Take in pairs, in their order; ``clock_s``: of the monotonic clock by which leases end. Kinds of a
        newer build are passed over. Raises ``TooNew`` and ``ValueError``; the view is void then."""
        self._clock_s = clock_s
        new: list[tuple[SharePartition, int, RunValue]] = []
        """Runs, while there may be more that lose records to them."""
        for key, value in pairs:
            kind = keys.kind_of(key)
            if kind == Kind.RUN:
                self._replay_run(key, value, new)
                continue
            if new:
                _put_all(new)
            if kind == Kind.QUEUE:
                self.header = None if value is None else values.decode(QueueValue, value)
            elif kind in _NUMBERED:
                topic_id, partition, number = keys.numbered(key)
                if kind == Kind.DEAD:
                    self._replay_dead(DeadName(topic_id, partition, number), value)
                else:
                    _replay_at(self.share(topic_id, partition), kind, number, value)
        _put_all(new)

    def _replay_run(
        self, key: bytes, value: bytes | None, new: list[tuple[SharePartition, int, RunValue]]
    ) -> None:
        topic_id, partition, first = keys.numbered(key)
        share = self.share(topic_id, partition)
        if value is None:
            share.drop(first)
            return
        run = values.decode(RunValue, value)
        if not share.keeps(first, run):
            share.drop(first)  # It takes the place of that one, which may lose records to others too.
            new.append((share, first, run))

    def _replay_dead(self, name: DeadName, value: bytes | None) -> None:
        before = self.dead.get(name)
        if before is not None and before.replaying:
            self.replaying.pop(dead_at(before), None)
        if value is None:
            self.dead.pop(name, None)
            return
        dead = self.dead[name] = values.decode(DeadValue, value)
        if dead.replaying:
            self.replaying[dead_at(dead)] = name

    # For shares: what concerns all of the queue.

    def comes_due(self, due_ms: int, share: SharePartition, first: int, *, times: bool = False) -> None:
        """Something is to be looked at then."""
        what = _TIMES if times else _RUN
        heapq.heappush(self._due, (due_ms, share.topic_id, share.partition, first, what))

    def leased(self, run: Run, records: int) -> None:
        """A worker has some more."""
        self.workers[run.value.worker] += records
        self.visibility.add(run, self._clock_s)

    def unleased(self, run: Run, gone: int, records: int) -> None:
        """A worker has some less."""
        worker = run.value.worker
        self.workers[worker] -= records
        if not self.workers[worker]:
            del self.workers[worker]
        if gone == run.open:
            self.visibility.remove(run)

    def remember(self, share: SharePartition, offsets: Sequence[int], how: tuple[int, str]) -> None:
        """Records left a run; if they are in no other one now, this is how they were settled."""
        share.over.update(dict.fromkeys(offsets, how))
        self._remembered.append((share, offsets, how))
        self._remembers += len(offsets)
        while self._remembers > REMEMBERED_MAX:
            share, offsets, how = self._remembered.popleft()
            self._remembers -= len(offsets)
            for offset in offsets:
                if share.over.get(offset) is how:
                    del share.over[offset]


_NUMBERED: Final = frozenset((Kind.SOURCE, Kind.TIMES, Kind.LEFT, Kind.DEAD))


def _put_all(new: list[tuple[SharePartition, int, RunValue]]) -> None:
    for share, first, value in new:
        share.put(first, value)
    new.clear()


def _replay_at(share: SharePartition, kind: int, number: int, value: bytes | None) -> None:
    if kind == Kind.SOURCE:
        share.stored = None if value is None else values.decode(SourceValue, value)
    elif kind == Kind.TIMES:
        if value is None:
            share.drop_times(number)
        else:
            share.put_times(number, values.decode(TimesValue, value))
    elif value is not None:
        share.left(number, values.decode(LeftValue, value))


def dead_at(dead: DeadValue) -> Place:
    """Where a dead letter is."""
    return Place(dead.at_topic_id, dead.at_partition, dead.at_offset)
