"""Gives a queue's records to those who wait for them: first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from floodmark.errors import FloodmarkError

from node.coordinator.delivery.partition_ahead import PartitionAhead, Payload
from node.coordinator.delivery.payloads import Payloads
from node.coordinator.delivery.read_ahead import ReadAhead
from node.coordinator.delivery.windows import a_window_is_full, window_is_full
from node.coordinator.proposals import Entry
from node.coordinator.queues.leasing import (
    IN_FLIGHT_FULL,
    TOPIC_GONE,
    WINDOW_FULL,
    Again,
    Ask,
    Fresh,
    Given,
    Leased,
    Seen,
    key_hash,
    lease,
    room_for,
)
from node.coordinator.queues.requests import BY_KEY, Delivered, Place, Receive

if TYPE_CHECKING:
    from node.coordinator.delivery.queue_lead import QueueLead

LOOK_S: Final = 1.0
"""How long one who does not want to wait waits until it was looked what there is."""
MORE_BY_KEY: Final = 100
"""So many records more than wanted are looked at, where some may be held for their keys' sake."""
MISSING_MAX: Final = 500
"""Records that are read again at once."""
STEPS_MAX: Final = 2
"""So many steps that pass records and find none for a receiver are made in one turn of the event loop."""
DELAYED_MAX: Final = 1_000
"""Records that wait for their time, and are passed at once."""
_NONE: Final[tuple[list[Seen], list[Payload]]] = ([], [])


class Found(NamedTuple):
    """For one receiver. ``entry``: what is to be stored before they are told."""

    records: Sequence[Delivered]
    entry: Entry | None
    paused: str = ""


class _Receiver:
    __slots__ = ("found", "paused", "request")

    def __init__(self, request: Receive, found: asyncio.Future[Found]) -> None:
        self.request = request
        self.found = found
        self.paused = ""


class Dispatch:
    """Of one ``QueueLead``."""

    def __init__(self, lead: QueueLead) -> None:
        self._lead = lead
        self._receivers: deque[_Receiver] = deque()
        self._ahead: ReadAhead | None = None
        self._first = 0
        """The partition that comes first the next time."""
        self._window_was_full = False
        around = lead.around
        self.payloads = Payloads(
            around.records,
            around.memory,
            look=lead.look_soon,
            is_of_use=lead.waits,
            gone=lead.gone,
            passed=lead.passed,
        )

    @property
    def is_used(self) -> bool:
        """Whether somebody waits, or anything was read for those who will."""
        return bool(self._receivers) or (self._ahead is not None and self._ahead.is_running)

    @property
    def waiting(self) -> int:
        """How many receivers wait."""
        return len(self._receivers)

    def close(self, error: FloodmarkError) -> None:
        """It is over: whoever waits is told."""
        receivers, self._receivers = self._receivers, deque()
        for receiver in receivers:
            if not receiver.found.done():
                receiver.found.set_exception(error)
        if self._ahead is not None:
            self._ahead.close()
        self.payloads.close()

    async def receive(self, request: Receive) -> Found:
        """Records as soon as there are some, or nothing when the time is up. Who is cancelled meanwhile gets
        nothing: nothing is leased for it."""
        loop = asyncio.get_running_loop()
        receiver = _Receiver(request, loop.create_future())
        self._receivers.append(receiver)
        self._need()
        if len(self._receivers) == 1:
            self.pump()
        if receiver.found.done():
            return receiver.found.result()
        try:
            if request.wait_s <= 0:
                await self._looked(receiver)
            else:
                self._lead.look_soon()
                await asyncio.wait((receiver.found,), timeout=request.wait_s)
        finally:
            if not receiver.found.done():
                receiver.found.cancel()
                self._receivers.remove(receiver)
        if receiver.found.cancelled():
            return Found((), None, receiver.paused or self._why_never())
        return receiver.found.result()

    def _why_never(self) -> str:
        """Why nothing comes but dead letters that are delivered again; "" where something may."""
        lead = self._lead
        is_gone = bool(lead.view) and not lead.around.records.partitions(lead.view.state.config.topic_id)
        return TOPIC_GONE if is_gone else ""

    async def _looked(self, receiver: _Receiver) -> None:
        """Until it was looked once at all that may have something."""
        ahead = self._ahead
        assert ahead is not None, "it is needed"
        ahead.look_again()
        loop = asyncio.get_running_loop()
        end = loop.time() + LOOK_S
        while not receiver.found.done() and (left := end - loop.time()) > 0:
            looking: list[asyncio.Future[Any]] = [ahead.caught_up(), *self.payloads.reading]
            looking = [each for each in looking if not each.done()]
            if looking:
                looking.append(receiver.found)
                await asyncio.wait(looking, timeout=left, return_when="FIRST_COMPLETED")
                continue
            self.pump()  # Which may have more to be read of what was seen before.
            if self._looks_on:
                await asyncio.sleep(0)
            elif not self.payloads.reading:
                return

    def next_due_ms(self) -> int | None:
        """When something may be ready for those who wait, by the wall clock."""
        if not self._receivers:
            return None
        view, now_ms = self._lead.view, self._lead.around.wall_ms()
        # What was due before has been looked at.
        return min(
            (
                due_ms
                for due_ms in (view.next_due_ms(), view.state.breaker_until_ms)
                if due_ms is not None and due_ms > now_ms
            ),
            default=None,
        )

    def pump(self) -> None:
        """Give what there is to those who wait."""
        receivers, view = self._receivers, self._lead.view
        self._looks_on = False
        if not receivers:
            return
        if self._ahead is not None:
            self._follow(self._ahead)
        now_ms = self._lead.around.wall_ms()
        full: list[_Receiver] = []
        while receivers:
            receiver = receivers[0]
            if not receiver.found.done():
                room, receiver.paused = room_for(view, receiver.request.worker, now_ms)
                if not room:
                    if receiver.paused != IN_FLIGHT_FULL or view.in_flight >= view.state.config.max_in_flight:
                        break
                    full.append(receivers.popleft())  # It has enough: the others may not.
                    continue
                try:
                    if not self._give(receiver, room, now_ms):
                        if not receiver.paused and a_window_is_full(view):
                            receiver.paused = WINDOW_FULL
                        break
                except FloodmarkError as error:
                    receiver.found.set_exception(error)
            receivers.popleft()
        receivers.extendleft(reversed(full))

    def _give(self, receiver: _Receiver, room: int, now_ms: int) -> bool:
        """Whether it got something."""
        lead, request = self._lead, receiver.request
        limit = min(request.max_records, room)
        for _ in range(STEPS_MAX):
            again = self._again(limit, now_ms)
            fresh = self._fresh(limit - len(again), now_ms)
            if not again and not fresh:
                return False
            ask = Ask(request.worker, lead.around.number(), limit, request.max_bytes, again, fresh)
            decision = lease(lead.view, ask, now_ms=now_ms)
            leased = decision.answer
            receiver.paused = leased.paused
            if not decision.pairs:
                return False
            entry = lead.put(decision)
            records = self._taken(leased, ask, now_ms)
            if records:
                receiver.found.set_result(Found(records, entry, ""))
                return True
        # All of those are held or delayed: it is looked on, and others come between.
        self._looks_on = True
        lead.look_soon()
        return False

    def _again(self, limit: int, now_ms: int) -> list[Again]:
        """What is ready and was seen before; what is not here is read."""
        view, payloads = self._lead.view, self.payloads
        places = view.ready_now(now_ms, limit, payloads.failing)
        if any(place not in payloads for place in places):
            places = view.ready_now(now_ms, max(limit, MISSING_MAX), payloads.failing)
            if not payloads.are_read:  # Else it is looked again when they are here.
                payloads.want(place for place in places if place not in payloads)
        again: list[Again] = []
        for place in places:
            payload = payloads.get(place)
            if payload is not None:
                again.append(Again(place, payload.size))
                if len(again) == limit:
                    break
        return again

    def _fresh(self, limit: int, now_ms: int) -> list[Fresh]:
        """What was read and not seen before, of one partition after the other."""
        ahead = self._ahead
        if ahead is None or limit <= 0:
            return []
        more = MORE_BY_KEY if self._lead.view.state.config.ordering == BY_KEY else 0
        found: list[Fresh] = []
        count = len(ahead.partitions)
        for step in range(count):
            partition = ahead.partitions[(self._first + step) % count]
            if len(partition) or partition.first < partition.next:
                some = max(limit + more, DELAYED_MAX) if partition.begins_delayed(now_ms) else limit + more
                fresh = partition.fresh(some)
                found.append(fresh)
                limit -= len(fresh.records)
                if limit <= 0:
                    break
        self._first += 1
        return found

    def _taken(self, leased: Leased, ask: Ask, now_ms: int) -> list[Delivered]:
        """What was leased; of what was passed besides, that which was held is kept for later."""
        view, kept = self._lead.view, self.payloads
        topic_id = view.state.config.topic_id
        passed: dict[tuple[int, int], tuple[list[Seen], list[Payload]]] = {}
        for each in ask.fresh:
            assert self._ahead is not None, "it was read"
            partition = self._ahead.partitions[each.partition]
            passed[topic_id, each.partition] = self._ahead.take(partition, view.next_of(each.partition))
        records: list[Delivered] = []
        for given in leased.given:
            at = (given.topic_id, given.partition)
            seen, payloads = passed.pop(at, _NONE)
            found: Iterable[tuple[Place, Payload | None]]
            if len(seen) == len(given.offsets) and not ask.again:
                found = zip(_places(given), payloads, strict=True)  # All that was passed.
            else:
                by_offset = dict(zip([each.offset for each in seen], payloads, strict=True))
                found = [
                    (place, by_offset.pop(place.offset, None) or kept.pop(place)) for place in _places(given)
                ]
                left = [each for each in seen if each.offset in by_offset]
                passed[at] = (left, list(by_offset.values()))
            records += _delivered(found, given.deliveries, ask.lease, leased.visible_ms)
        for (_, number), (seen, payloads) in passed.items():
            for record, payload in zip(seen, payloads, strict=True):
                if record.deliver_at_ms <= now_ms:
                    kept.keep(Place(topic_id, number, record.offset), payload)
        return records

    def _need(self) -> None:
        """Have the topic read ahead."""
        lead = self._lead
        config = lead.view.state.config
        ahead = self._ahead
        if ahead is None:
            ahead = self._ahead = ReadAhead(
                lead.around.records,
                lead.around.memory,
                config.topic_id,
                look=lead.look_soon,
                wants=self._wants,
                is_needed=lambda: bool(self._receivers),
                key_of=key_hash if config.ordering == BY_KEY else None,
            )
        count = lead.around.records.partitions(config.topic_id)
        if count > len(ahead.partitions):
            ahead.set_partitions([lead.view.next_of(number) for number in range(count)])
        ahead.need()

    def _follow(self, ahead: ReadAhead) -> None:
        """Other steps may have passed records too, or made room in a window."""
        if self._window_was_full:
            self._window_was_full = False
            ahead.nudge()
        shares, topic_id = self._lead.view.shares, ahead.topic_id
        for partition in ahead.partitions:
            share = shares.get((topic_id, partition.number))
            next_ = 0 if share is None else share.source.next
            if partition.first < next_:
                ahead.take(partition, next_)
            elif partition.first > next_:
                ahead.go_back(partition, next_)
            if partition.start:
                self._lead.passed(ahead.topic_id, partition.number, partition.start)

    def _wants(self, partition: PartitionAhead) -> bool:
        """Whether there is room for more of it in the window."""
        if window_is_full(self._lead.view, partition.number):
            self._window_was_full = True
            return False
        return True


def _places(given: Given) -> list[Place]:
    topic_id, partition = given.topic_id, given.partition
    return [Place(topic_id, partition, offset) for offset in given.offsets]


def _delivered(
    found: Iterable[tuple[Place, Payload | None]], deliveries: int, lease_number: int, visible_ms: int
) -> list[Delivered]:
    records = []
    for place, payload in found:
        assert payload is not None, "only what was read is leased"
        record, appended, _ = payload
        records.append(
            Delivered(
                place=place,
                lease=lease_number,
                deliveries=deliveries,
                timestamp_ms=appended if record.timestamp is None else record.timestamp,
                key=record.key,
                value=record.value,
                value_is_json=record.is_json,
                headers=record.headers.pairs if record.pairs else (),
                visible_ms=visible_ms,
            )
        )
    return records
