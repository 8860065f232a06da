"""What a queue promises, held against all that is committed, one entry after the other, and against what
workers are told. It believes no replica: the state is made again from the committed log.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
from floodmark.format.frame import Frame

from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import Action, Place, Settled, Settlement
from node.coordinator.queues.values import State
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.queue_workers import Workers

OPEN, LEASED, DYING, ACKED, DEAD = "open", "leased", "dying", "acked", "dead"
PENDING = frozenset({OPEN, LEASED, DYING})
BY_STATE = {State.LEASED: LEASED, State.WAITING: OPEN, State.HELD: OPEN, State.DYING: DYING}


class Meant(NamedTuple):
    """What a frame stands for: the kind of step, what was asked, the answer, and the true time of day."""

    kind: str
    request: Any
    answer: Any
    now_ms: float


class _Fate:
    __slots__ = ("deliveries", "lease", "state")

    def __init__(self) -> None:
        self.state = OPEN
        self.lease = 0
        self.deliveries = 0


class QueuePromises:
    """Of one run."""

    def __init__(self, workers: Workers, name: str) -> None:
        self._workers = workers
        self._ledger = workers.cluster.ledger
        self._meant: dict[bytes, Meant] = {}
        self._seen = 1
        self._asked = 0
        self.view = Queue(name)
        """What the committed log has led to."""
        self.counts: Counter[str] = Counter()
        """Steps that were committed, by kind, and what came about."""
        self.fates: dict[Place, _Fate] = {}
        self._confirmed: set[Place] = set()
        """Somebody was told that they are acknowledged."""

    def number(self) -> int:
        """Of the next frame; below 0, as those above are the workload's."""
        self._asked -= 1
        return self._asked

    def proposed(self, payload: bytes, what: Meant) -> None:
        """This is what the frame stands for, if it is committed."""
        self._meant[payload] = what

    def told(self, settlements: list[Settlement], answers: list[Settled]) -> None:
        """A worker was told what came of these."""
        for settlement, answer in zip(settlements, answers, strict=True):
            if settlement.action is Action.ACK and answer is Settled.DONE:
                self._confirmed.add(settlement.place)
                self.counts["confirmed"] += 1
            self.counts["late"] += answer is Settled.LATE

    def look(self) -> None:
        """Take in what has been committed since the last look."""
        while self._seen < self._ledger.highest:
            self._seen += 1
            frame = self._ledger.committed[self._seen]
            if (what := self._meant.get(frame.payload)) is not None:
                self._take(frame, what)

    def _take(self, frame: Frame, what: Meant) -> None:
        flat = msgpack.unpackb(frame.payload)
        self.counts[what.kind] += 1
        if what.kind == "receive":
            for given in what.answer.given:
                for offset in given.offsets:
                    self._delivered(Place(given.topic_id, given.partition, offset), given, what)
        elif what.kind == "settle":
            for settlement, answer in zip(what.request, what.answer, strict=True):
                if answer is Settled.DONE:
                    self._settled(settlement)
        self.view.replay(list(zip(flat[:-2:2], flat[1:-2:2], strict=True)), clock_s=0.0)
        if what.kind == "sent":
            for place in what.request:
                self.fates[place].state = DEAD
        self._settled_or_pending()

    def _delivered(self, place: Place, given: Any, what: Meant) -> None:
        fate = self.fates.setdefault(place, _Fate())
        require(
            place not in self._confirmed,
            "what was acknowledged and confirmed is never delivered again",
            lambda: f"{place} by {what.request}",
        )
        require(fate.state == OPEN, "only what waits is delivered", lambda: f"{place} is {fate.state}")
        early_ms = self._workers.deliver_at_ms(place) - what.now_ms
        require(
            early_ms <= self._workers.skew_ms, "a delay is kept", lambda: f"{place} came {early_ms} ms early"
        )
        self._in_order(place, fate)
        fate.state, fate.lease = LEASED, what.request
        fate.deliveries += 1
        self.counts["delivered"] += 1
        self.counts["redelivered"] += fate.deliveries > 1
        require(
            given.deliveries == fate.deliveries,
            "deliveries are counted",
            lambda: f"{place}: {given.deliveries} of {fate.deliveries}",
        )

    def _in_order(self, place: Place, fate: _Fate) -> None:
        key = self._workers.key_of(place)
        if not key or not self._workers.by_key:
            return
        for other, each in self.fates.items():
            if other == place or each.state not in PENDING or self._workers.key_of(other) != key:
                continue
            if other.partition != place.partition:
                continue
            require(
                each.state == OPEN and not each.deliveries,
                "one record of a key is in hand",
                lambda at=other, it=each: (
                    f"{place} while {at} is {it.state}, after {it.deliveries} deliveries"
                ),
            )
            delayed = self._workers.deliver_at_ms(other) > 0
            require(
                other.offset > place.offset or delayed or fate.deliveries > 0,
                "records of a key are delivered in order",
                lambda at=other: f"{place} before {at}",
            )

    def _settled(self, settlement: Settlement) -> None:
        fate = self.fates[settlement.place]
        require(
            fate.state == LEASED and fate.lease == settlement.lease,
            "only who has a record settles it",
            lambda: f"{settlement} while it is {fate.state} of lease {fate.lease}",
        )
        if settlement.action is Action.ACK:
            fate.state = ACKED

    def _settled_or_pending(self) -> None:
        found: dict[Place, str] = {}
        for share in self.view.shares.values():
            for offset, run in share.at.items():
                found[share.place(offset)] = BY_STATE[State(run.value.state)]
            for times in share.times.values():
                for index in range(times.count):
                    if times.open >> index & 1:
                        found[share.place(times.offset(index))] = OPEN
        for partition in range(self._workers.partitions):
            for offset in range(self.view.next_of(partition) if self.view else 0):
                place = Place(self._workers.topic_id, partition, offset)
                fate = self.fates.setdefault(place, _Fate())
                now = found.get(place)
                require(
                    (fate.state in PENDING) == (now is not None),
                    "each record is settled or pending",
                    lambda at=place, it=fate, of=now: f"{at} is {it.state}, and {of} in the state",
                )
                if now is not None:
                    fate.state = now

    # The end.

    def is_done(self, records: int) -> bool:
        """Whether so many records are all settled."""
        return len(self.fates) == records and all(fate.state not in PENDING for fate in self.fates.values())

    def check_letters(self, places: list[Place]) -> None:
        """What is with the dead letters is what died."""
        dead = sorted(place for place, fate in self.fates.items() if fate.state == DEAD)
        require(sorted(places) == dead, "who died is with the dead letters", lambda: f"{places} of {dead}")
