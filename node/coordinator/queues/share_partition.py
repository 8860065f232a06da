"""What is unsettled of one partition, as a queue's view holds it: a share partition, in Kafka's words. It
only takes in what was decided.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from node.coordinator import keys
from node.coordinator.keys import Kind
from node.coordinator.queues.key_order import KeyOrder
from node.coordinator.queues.requests import Place
from node.coordinator.queues.run import Run, bits_of, indexes, offsets
from node.coordinator.queues.times import SPAN, Times
from node.coordinator.queues.values import LeftValue, RunValue, SourceValue, State, TimesValue

if TYPE_CHECKING:
    from node.coordinator.queues.queue import Queue

ACKED: Final = "ack"
_OFFSET: Final = struct.Struct(">Q")
_SOURCE: Final = SourceValue()


class SharePartition:
    """``at``: in which run a record is. ``dying``: offsets by their number. ``ripe``: delayed records that
    are due, and where they are. ``over``: how records that are settled were, as far as this leader knows:
    the lease that did it, and what it did."""

    def __init__(self, queue: Queue, topic_id: int, partition: int) -> None:
        self.topic_id = topic_id
        self.partition = partition
        self.stored: SourceValue | None = None
        self.runs: dict[int, Run] = {}
        self.at: dict[int, Run] = {}
        self.times: dict[int, Times] = {}
        self._spans: dict[int, list[Times]] = {}
        """Those that have records in a span of offsets."""
        self.tail: Times | None = None
        """The last ones, which may still grow."""
        self.delayed = 0
        """Records that wait for their time, or are due and were not delivered yet."""
        self.ripe: dict[int, tuple[Times, int]] = {}
        self.order = KeyOrder()
        self.dying: dict[int, int] = {}
        self.over: dict[int, tuple[int, str]] = {}
        self._queue = queue
        self._head = keys.numbered_key(Kind.RUN, queue.name, (topic_id, partition), 0)[:-8]

    @property
    def source(self) -> SourceValue:
        """How far it is; that of one which has not begun where there is none."""
        return self.stored or _SOURCE

    def run_key(self, first: int) -> bytes:
        """Of a run."""
        return self._head + _OFFSET.pack(first)

    def place(self, offset: int) -> Place:
        """Of a record."""
        return Place(self.topic_id, self.partition, offset)

    @property
    def unsettled(self) -> int:
        """Records that are not settled, of those that were passed; delayed ones included."""
        return len(self.at) + self.delayed

    def is_delayed(self, offset: int) -> bool:
        """Whether it waits for its time."""
        return any(offset in times for times in self._spans.get(offset // SPAN, ()))

    # Runs.

    def keeps(self, first: int, value: RunValue) -> bool:
        """Whether this is what is left of a run that is there; it is done then."""
        old = self.at.get(first)
        if old is None or not _is_rest(old.value, value):
            return False
        bits = bits_of(value.open, value.count) << (first - old.base)
        if bits & ~old.open:
            return False
        self._shrink(old, first, bits, value)
        return True

    def put(self, first: int, value: RunValue) -> None:
        """A run is stored. All runs that its records were in have lost them."""
        self._add(first, Run(self, first, value))

    def drop(self, first: int) -> None:
        """A run is deleted."""
        run = self.runs.get(first)
        if run is not None:
            self._remove(run, first)

    def _shrink(self, run: Run, first: int, bits: int, value: RunValue) -> None:
        before = run.first
        gone = run.open & ~bits
        self._leave(run, gone)
        run.open, run.value = bits, value
        if before != first:
            del self.runs[before]
            self.runs[first] = run
        if value.state == State.WAITING:
            self._queue.comes_due(value.due_ms, self, first)

    def _add(self, first: int, run: Run) -> None:
        queue, value = self._queue, run.value
        self.runs[first] = run
        found = run.offsets()
        self.at.update(dict.fromkeys(found, run))
        queue.counts[value.state] += len(found)
        if run.hashes:
            self._keyed(run, found)
        elif value.state == State.HELD:
            for offset in found:
                queue.ready[self.place(offset)] = None
        if value.state == State.LEASED:
            queue.leased(run, len(found))
        elif value.state == State.WAITING:
            queue.comes_due(value.due_ms, self, first)
        elif value.state == State.DYING:
            self.dying.update(zip(range(value.number, value.number + len(found)), found, strict=True))

    def _keyed(self, run: Run, found: Iterable[int]) -> None:
        order, hashes, base = self.order, run.hashes, run.base
        if run.value.state != State.HELD:
            for offset in found:
                if key := hashes[offset - base]:
                    order.takes(key, offset)
            return
        for offset in found:
            key = hashes[offset - base]
            if not key or order.holds(key, offset):
                self._queue.ready[self.place(offset)] = None

    def _remove(self, run: Run, first: int) -> None:
        if self.runs.get(first) is run:
            del self.runs[first]
        self._leave(run, run.open)
        run.open = 0

    def _leave(self, run: Run, gone: int) -> None:
        queue, state = self._queue, run.value.state
        found = offsets(run.base, gone)
        at = self.at
        for offset in found:
            del at[offset]
        queue.counts[state] -= len(found)
        if run.hashes:
            leaves, hashes, base = self.order.leaves, run.hashes, run.base
            for offset in found:
                if (key := hashes[offset - base]) and (following := leaves(key, offset)) is not None:
                    queue.ready[self.place(following)] = None
        if queue.ready and state != State.LEASED:
            for offset in found:
                queue.ready.pop(self.place(offset), None)
        if state == State.LEASED:
            queue.unleased(run, gone, len(found))
            self._queue.remember(self, found, (run.value.lease, ACKED))
        elif state == State.DYING:
            self._queue.remember(self, found, (run.value.lease, run.value.ended))
            self._died(run, found)

    def _died(self, run: Run, found: Iterable[int]) -> None:
        gone = set(found)
        before = run.offsets()
        for number, offset in enumerate(before, run.value.number):
            if offset in gone:
                self.dying.pop(number, None)

    # Records that wait for their time.

    def put_times(self, base: int, value: TimesValue) -> None:
        """Some more."""
        times = self.times.get(base)
        before = 0
        if times is None:
            times = self.times[base] = Times(self, base, value)
        else:
            before = times.open.bit_count()
            self._forget_spans(times)
            times.grow(value)
        for span in times.spans():
            self._spans.setdefault(span, []).append(times)
        if self.tail is None or base >= self.tail.base:
            self.tail = times
        self._later(times.open.bit_count() - before)
        due = times.first_due()
        if times.next_ms is None or due < times.next_ms:
            times.next_ms = due
            self._queue.comes_due(due, self, base, times=True)

    def left(self, base: int, value: LeftValue) -> None:
        """Only these are left."""
        times = self.times[base]
        self._gone(times, times.left(value))

    def drop_times(self, base: int) -> None:
        """None are left."""
        times = self.times.pop(base, None)
        if times is not None:
            if self.tail is times:
                self.tail = None
            self._forget_spans(times)
            self._gone(times, times.open)
            times.open = 0

    def _forget_spans(self, times: Times) -> None:
        for span in times.spans():
            those = self._spans[span]
            those.remove(times)
            if not those:
                del self._spans[span]

    def _later(self, records: int) -> None:
        self.delayed += records
        self._queue.delayed += records

    def ripen(self, base: int, due_ms: int, now_ms: int) -> None:
        """Records are due: each takes its place among those of its key."""
        times = self.times.get(base)
        if times is None or times.next_ms != due_ms:
            return
        for index in times.all_due(now_ms):
            offset, key = times.offset(index), times.key(index)
            if offset in self.ripe:
                continue
            self.ripe[offset] = (times, index)
            if not key or self.order.holds(key, offset):
                self._queue.ready[self.place(offset)] = None
        times.next_ms = times.next_due()
        if times.next_ms is not None:
            self._queue.comes_due(times.next_ms, self, base, times=True)

    def _gone(self, times: Times, gone: int) -> None:
        self._later(-gone.bit_count())
        if not self.ripe:
            return
        for index in indexes(gone):
            offset, key = times.offset(index), times.key(index)
            if self.ripe.pop(offset, None) is not None:
                self._queue.ready.pop(self.place(offset), None)
                if key and (following := self.order.leaves(key, offset)) is not None:
                    self._queue.ready[self.place(following)] = None

    def may_go(self, offset: int) -> bool:
        """Whether a record that was taken for ready is."""
        run = self.at.get(offset)
        return self.may_go_in(run, 0 if run is None else run.key_at(offset), offset)

    def may_go_in(self, run: Run | None, key: int, offset: int) -> bool:
        """The same of one whose run, and key in that, are known."""
        if run is not None:
            state = run.value.state
            return state == State.WAITING or (
                state == State.HELD and (not key or self.order.may_go(key, offset))
            )
        found = self.ripe.get(offset)
        if found is None:
            return False
        key = found[0].key(found[1])
        return not key or self.order.may_go(key, offset)


def _is_rest(old: RunValue, new: RunValue) -> bool:
    """Whether the new one may be what is left of the old one."""
    return (
        old.state == new.state
        and old.lease == new.lease
        and old.due_ms == new.due_ms
        and old.worker == new.worker
    )
