"""What one step does to the records of a queue, as pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from node.coordinator import keys, values
from node.coordinator.groups.decision import Pair
from node.coordinator.keys import Kind
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import DeadName
from node.coordinator.queues.run import Run, indexes, made_of
from node.coordinator.queues.share_partition import SharePartition
from node.coordinator.queues.times import GROWS_UP_TO, RECORDS_MAX, Delayed, Times, left_value, times_value
from node.coordinator.queues.values import QueueValue, RunValue, SourceValue, State

RUN_MAX: Final = 1_024
"""Offsets of one run: what is settled one by one writes a bit of each."""
KEYED_RUN_MAX: Final = 256
"""Likewise where each has the hash of a key, of 8 bytes."""


class Changes:
    """Collects them. A record leaves its run or times by ``take``, and gets into another run by ``put``; in
    this order ``pairs`` tells it: what is left, what is gone, what is new, one after the other. A view relies
    on that."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._taken: dict[Run, int] = {}
        self._ripe: dict[Times, int] = {}
        self._new: dict[bytes, bytes] = {}
        self._others: list[Pair] = []

    def take(self, run: Run, bits: int) -> None:
        """Records leave a run, those of these bits."""
        self._taken[run] = self._taken.get(run, 0) | bits

    def take_ripe(self, times: Times, bits: int) -> None:
        """Records do not wait for their time any more."""
        self._ripe[times] = self._ripe.get(times, 0) | bits

    def put(self, share: SharePartition, found: Sequence[tuple[int, int]], like: RunValue) -> None:
        """New runs of these offsets, in order, with the hashes of their keys."""
        span = found[-1][0] - found[0][0]
        if span < KEYED_RUN_MAX:
            self._put(share, *made_of(found, like))
            return
        most = KEYED_RUN_MAX if any(key for _, key in found) else RUN_MAX
        begin = 0
        for place, (offset, _) in enumerate(found):
            if offset - found[begin][0] >= most:
                self._put(share, *made_of(found[begin:place], like))
                begin = place
        self._put(share, *made_of(found[begin:], like))

    def move(self, run: Run, bits: int, like: RunValue) -> None:
        """Records of one run go on in another one."""
        self.take(run, bits)
        self._put(run.share, *run.part(bits, like))

    def settle(self, run: Run, bits: int) -> None:
        """Records are settled. A dead letter that was on its way through the queue again is not listed any
        more."""
        self.take(run, bits)
        if self._has_replays(run.share):
            self._replayed(run.share, run.offsets(bits))

    def settle_times(self, times: Times, bits: int) -> None:
        """Likewise records that wait for their time."""
        self.take_ripe(times, bits)
        if self._has_replays(times.share):
            self._replayed(times.share, [times.offset(index) for index in indexes(bits)])

    def _has_replays(self, share: SharePartition) -> bool:
        return bool(self._queue.replaying) and share.topic_id != self._queue.state.config.topic_id

    def _replayed(self, share: SharePartition, offsets: Sequence[int]) -> None:
        for offset in offsets:
            name = self._queue.replaying.get(share.place(offset))
            if name is not None:
                self.other((dead_key(self._queue, name), None))

    def source(self, share: SharePartition, value: SourceValue) -> None:
        """How far it is now."""
        key = keys.source_key(self._queue.name, (share.topic_id, share.partition))
        self._others.append((key, values.encode(value)))

    def header(self, value: QueueValue) -> None:
        """What the queue itself is now."""
        self._others.append((keys.queue_key(self._queue.name), values.encode(value)))

    def other(self, pair: Pair) -> None:
        """Something else that is written."""
        self._others.append(pair)

    def delay(self, share: SharePartition, records: list[Delayed]) -> None:
        """Records that wait for their time, in order, behind all others that do."""
        tail = share.tail
        at = 0
        # Of one that loses records in this step what is left is written already.
        grows = tail is not None and tail not in self._ripe and tail.count < GROWS_UP_TO
        if tail is not None and grows and records[0][0] > tail.offset(tail.count - 1):
            at = max(0, GROWS_UP_TO - tail.count) if len(records) < RECORDS_MAX else RECORDS_MAX - tail.count
            grown = times_value([*tail.records(), *records[:at]])
            self._others.append((self._key(Kind.TIMES, share, tail.base), values.encode(grown)))
            if tail.open != (1 << tail.count) - 1:
                left = left_value(tail.open | ((1 << grown.count) - (1 << tail.count)))
                self._others.append((self._key(Kind.LEFT, share, tail.base), values.encode(left)))
        self.scatter(share, records[at:])

    def scatter(self, share: SharePartition, records: list[Delayed]) -> None:
        """Records that wait for their time, in order, anywhere between others; none of them did before."""
        for begin in range(0, len(records), RECORDS_MAX):
            some = records[begin : begin + RECORDS_MAX]
            self._others.append((self._key(Kind.TIMES, share, some[0][0]), values.encode(times_value(some))))

    def pairs(self) -> list[Pair]:
        """All of it."""
        return [*self._rests(), *self._left(), *self._new.items(), *self._others]

    def _put(self, share: SharePartition, first: int, value: RunValue) -> None:
        self._new[share.run_key(first)] = values.encode(value)

    def _rests(self) -> Iterator[Pair]:
        gone: list[bytes] = []
        for run, bits in self._taken.items():
            before = run.first
            left = run.open & ~bits
            if left:
                value = run.value
                if value.state == State.DYING:
                    below = run.open & (left & -left) - 1
                    value = msgspec.structs.replace(value, number=value.number + below.bit_count())
                first, value = run.part(left, value)
                yield run.share.run_key(first), values.encode(value)
                if first == before:
                    continue
            gone.append(run.share.run_key(before))
        for key in gone:
            if key not in self._new:
                yield key, None

    def _left(self) -> Iterator[Pair]:
        for times, bits in self._ripe.items():
            left = times.open & ~bits
            if left:
                yield self._key(Kind.LEFT, times.share, times.base), values.encode(left_value(left))
                continue
            yield self._key(Kind.TIMES, times.share, times.base), None
            if times.open != (1 << times.count) - 1:
                yield self._key(Kind.LEFT, times.share, times.base), None

    def _key(self, kind: Kind, share: SharePartition, number: int) -> bytes:
        return keys.numbered_key(kind, self._queue.name, (share.topic_id, share.partition), number)


def dead_key(queue: Queue, name: DeadName) -> bytes:
    """Of a dead letter."""
    return keys.numbered_key(Kind.DEAD, queue.name, (name.topic_id, name.partition), name.number)
