"""Deliveries: which records a worker gets, in which order, and what is passed meanwhile.

Records of a partition are looked at in order, each once: whoever leads reads them from ``Queue.next_of`` on.
One that may not be delivered now is remembered, and is in ``Queue.ready_now`` later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from node.coordinator.groups.decision import Decision, Pair
from node.coordinator.queues import breaker
from node.coordinator.queues.changes import Changes
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import BY_KEY, Place
from node.coordinator.queues.run import NO_KEY, Run
from node.coordinator.queues.share_partition import SharePartition
from node.coordinator.queues.times import Delayed
from node.coordinator.queues.values import CLOSED, HALF_OPEN, OPEN, RunValue, SourceValue, State

DELAYED_MAX: Final = 5_000_000
"""Records of one queue that wait for their time: they take up some 40 bytes each in the shard's memory."""

_SHORT_BYTES: Final = 64
"""Hashes of longer keys are not kept."""
BREAKER_OPEN: Final = "breaker_open"
IN_FLIGHT_FULL: Final = "in_flight_full"
WINDOW_FULL: Final = "window_full"
DELAYED_FULL: Final = "delayed_full"
TOPIC_GONE: Final = "topic_gone"


class Seen(NamedTuple):
    """A record as it was read. ``key``: see ``key_hash``; ``deliver_at_ms`` 0: at once."""

    offset: int
    key: int
    deliver_at_ms: int
    size: int


class Fresh(NamedTuple):
    """What was read of a partition of the queue's topic, in order. It begins at ``Queue.next_of``, or before;
    otherwise it is passed over, unless the queue
    has not begun there. ``end``: all below was read, whether or not there were records."""

    partition: int
    begin: int
    end: int
    records: Sequence[Seen]


class Again(NamedTuple):
    """One of ``Queue.ready_now`` that was read."""

    place: Place
    size: int


class Ask(NamedTuple):
    """``lease``: a random number of up to 63 bits, which is not 0. ``again`` goes before ``fresh``."""

    worker: str
    lease: int
    max_records: int
    max_bytes: int
    again: Sequence[Again] = ()
    fresh: Sequence[Fresh] = ()


class Given(NamedTuple):
    """Records of a partition that were leased, in order, and how often they were delivered, this time
    included."""

    topic_id: int
    partition: int
    offsets: Sequence[int]
    deliveries: int


class Leased(NamedTuple):
    """``paused``: see ``Received``; "" too where there was just nothing among what was read."""

    given: Sequence[Given]
    """In the order of delivery."""
    visible_ms: int
    paused: str = ""


class _Lot:
    """What becomes one new run, or several: records with the hashes of their keys."""

    __slots__ = ("deliveries", "excused", "first_delivered_ms", "found", "share")

    def __init__(self, share: SharePartition, deliveries: int, excused: int, first_delivered_ms: int) -> None:
        self.share = share
        self.deliveries = deliveries
        self.excused = excused
        self.first_delivered_ms = first_delivered_ms
        self.found: list[tuple[int, int]] = []


def lease(queue: Queue, ask: Ask, *, now_ms: int) -> Decision[Leased]:
    """Deliver what may be delivered, of what was read."""
    queue.advance(now_ms)
    room, paused = room_for(queue, ask.worker, now_ms)
    leasing = _Leasing(queue, ask, min(ask.max_records, room), now_ms)
    if room:
        leasing.again()
        for fresh in ask.fresh:
            if leasing.is_full:
                break
            leasing.fresh(fresh)
    visible_ms = queue.state.config.visibility_timeout_ms
    pairs = leasing.pairs()
    if leasing.any_given:
        return Decision(pairs, Leased(leasing.given(), visible_ms))
    return Decision(pairs, Leased((), visible_ms, paused or leasing.paused))


def room_for(queue: Queue, worker: str, now_ms: int) -> tuple[int, str]:
    """How many records a worker may get now, and why none."""
    state = queue.state
    config = state.config
    most = config.max_in_flight
    if state.breaker != CLOSED:
        # A clock that was set back does not make the pause longer.
        waits = 0 < state.breaker_until_ms - now_ms <= config.breaker.pause_ms
        if state.breaker == OPEN and waits:
            return 0, BREAKER_OPEN
        if state.breaker == HALF_OPEN and queue.visibility.leases(state.probe):
            return 0, BREAKER_OPEN
        most = 1
    room = min(most, config.max_in_flight - queue.in_flight)
    room = min(room, config.max_in_flight_per_worker - queue.workers.get(worker, 0))
    return (room, "") if room > 0 else (0, IN_FLIGHT_FULL)


class _Leasing:
    def __init__(self, queue: Queue, ask: Ask, records: int, now_ms: int) -> None:
        self.paused = ""
        self.any_given = False
        self.records = records
        """So many more may be given, of so many ``bytes``."""
        self.bytes = ask.max_bytes
        self.queue = queue
        self.now_ms = now_ms
        self.changes = Changes(queue)
        self._ask = ask
        self._lots: list[_Lot] = []
        self._lots_again: dict[tuple[SharePartition, int, int, int], _Lot] = {}
        self._sources: dict[SharePartition, SourceValue] = {}
        self._redelivered: dict[SharePartition, int] = {}

    @property
    def is_full(self) -> bool:
        """Nothing more is to be given."""
        return self.records <= 0 or self.bytes <= 0

    def given(self) -> list[Given]:
        """What was, in order."""
        return [
            Given(
                lot.share.topic_id, lot.share.partition, [offset for offset, _ in lot.found], lot.deliveries
            )
            for lot in self._lots
        ]

    def fits(self, size: int) -> bool:
        """Whether one more record may be given, which then is."""
        if self.records <= 0 or (size > self.bytes and self.any_given):
            return False
        self.records -= 1
        self.bytes -= size
        self.any_given = True
        return True

    def lot(self, share: SharePartition, deliveries: int, excused: int, first_delivered_ms: int) -> _Lot:
        """For records that are delivered alike."""
        key = (share, deliveries, excused, first_delivered_ms)
        lot = self._lots_again.get(key)
        if lot is None:
            lot = self._lots_again[key] = _Lot(*key)
            self._lots.append(lot)
        return lot

    def again(self) -> None:
        """What was seen before."""
        ready = self.queue.ready
        given: set[Place] = set()
        taken: dict[Run, int] = {}
        for place, size in self._ask.again:
            share = self.queue.share_of(place)
            if share is None or place in given or place not in ready:
                continue
            offset = place.offset
            run = share.at.get(offset)
            key = NO_KEY if run is None else run.key_at(offset)
            if not share.may_go_in(run, key, offset):
                continue
            if not self.fits(size):
                break
            given.add(place)
            if run is None:
                times, index = share.ripe[offset]
                self.changes.take_ripe(times, 1 << index)
                self.lot(share, 1, 0, self.now_ms).found.append((offset, times.key(index)))
            else:
                taken[run] = taken.get(run, 0) | 1 << (offset - run.base)
                self._lot_of(run).found.append((offset, key))
        for run, bits in taken.items():
            self.changes.take(run, bits)

    def _lot_of(self, run: Run) -> _Lot:
        share, value = run.share, run.value
        if not value.deliveries:
            return self.lot(share, 1, 0, self.now_ms)
        self._redelivered[share] = self._redelivered.get(share, 0) + 1
        return self.lot(share, value.deliveries + 1, value.excused, value.first_delivered_ms)

    def fresh(self, fresh: Fresh) -> None:
        """What was not seen before."""
        share = self.queue.share(self.queue.state.config.topic_id, fresh.partition)
        source = share.source
        if fresh.begin > source.next and share.stored is not None:
            return
        passing = _Passing(self, share)
        after = passing.pass_all(_unseen(fresh, source.next), fresh.end)
        given, held, delayed = passing.given, passing.held, passing.delayed
        self.paused = passing.paused or self.paused
        if held:
            self.changes.put(share, held, RunValue(state=State.HELD))
        if delayed:
            self.changes.delay(share, delayed)
        if given:
            self.lot(share, 1, 0, self.now_ms).found += given
        if after > source.next:
            taken = source.taken + len(given) + len(held) + len(delayed)
            self._sources[share] = msgspec.structs.replace(source, next=after, taken=taken)

    def pairs(self) -> list[Pair]:
        """What it comes to."""
        state = self.queue.state
        visible_ms = state.config.visibility_timeout_ms
        for lot in self._lots:
            lot.found.sort()
            leased = RunValue(
                state=State.LEASED,
                deliveries=lot.deliveries,
                excused=lot.excused,
                lease=self._ask.lease,
                due_ms=self.now_ms + visible_ms,
                visible_ms=visible_ms,
                worker=self._ask.worker,
                first_delivered_ms=lot.first_delivered_ms,
            )
            self.changes.put(lot.share, lot.found, leased)
        for share, records in self._redelivered.items():
            source = self._sources.get(share, share.source)
            redelivered = source.redelivered + records
            self._sources[share] = msgspec.structs.replace(source, redelivered=redelivered)
        for share, source in self._sources.items():
            self.changes.source(share, source)
        if self.any_given and state.breaker != CLOSED:
            self.changes.header(breaker.half_opened(state, self._ask.lease))
        return self.changes.pairs()


class _Passing:
    """Goes through what is new in one partition."""

    def __init__(self, leasing: _Leasing, share: SharePartition) -> None:
        self._leasing = leasing
        self._is_free = share.order.is_free
        self._room = leasing.queue.state.config.window - len(share.at)
        self._by_key = leasing.queue.state.config.ordering == BY_KEY
        self.given: list[tuple[int, int]] = []
        self.held: list[tuple[int, int]] = []
        self.delayed: list[Delayed] = []
        self.paused = ""

    def pass_all(self, records: Sequence[Seen], end: int) -> int:
        """Each is given, or remembered. ``end``, or the first one that is left for the next time."""
        fits, is_free, by_key = self._leasing.fits, self._is_free, self._by_key
        given, held, now_ms = self.given, self.held, self._leasing.now_ms
        room = self._room
        keys: set[int] = set()
        """Of what is being given."""
        for offset, key_read, deliver_at_ms, size in records:
            key = key_read if by_key else NO_KEY
            if deliver_at_ms > now_ms:
                if not self._delays((offset, key, deliver_at_ms)):
                    return offset
                continue
            if room <= 0:
                self.paused = WINDOW_FULL
                return offset
            if key and (key in keys or not is_free(key)):
                held.append((offset, key))
            elif fits(size):
                keys.add(key)
                given.append((offset, key))
            else:
                return offset
            room -= 1
        return end

    def _delays(self, delayed: Delayed) -> bool:
        if len(self.delayed) >= DELAYED_MAX - self._leasing.queue.delayed:
            self.paused = DELAYED_FULL
            return False
        self.delayed.append(delayed)
        return True


def _unseen(fresh: Fresh, next_: int) -> Sequence[Seen]:
    records = fresh.records
    if fresh.begin == next_:
        return records
    return records[bisect_left(records, next_, key=lambda seen: seen.offset) :]


def key_hash(key: bytes | None) -> int:
    """By which the order of keys goes: 64 bits, the same in every process; 0 for a record without a key."""
    if key is None:
        return NO_KEY
    return _hash_again(key) if len(key) <= _SHORT_BYTES else _hash(key)


def _hash(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest()) or 1


_hash_again: Final = lru_cache(maxsize=4_096)(_hash)
"""Most keys come again soon."""
