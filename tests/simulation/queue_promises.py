"""What a queue promises, held against all that is committed, one entry after the other, and against what
workers are told. It believes no replica: the state is made again from the committed log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack
from floodmark.format.frame import Frame

from node.coordinator.queues import description
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import Action, Place, Settled, Settlement
from node.coordinator.queues.values import CLOSED, State
from tests.simulation.breaker_promises import BreakerPromises, Came
from tests.simulation.letter_promises import LetterPromises
from tests.simulation.queue_topic import TOPIC_ID
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.queue_workers import Workers

OPEN, LEASED, DYING, ACKED, DEAD, LOST = "open", "leased", "dying", "acked", "dead", "lost"
PENDING = frozenset({OPEN, LEASED, DYING})
BY_STATE = {State.LEASED: LEASED, State.WAITING: OPEN, State.HELD: OPEN, State.DYING: DYING}


class Meant(NamedTuple):
    """What a frame stands for: the kind of step, what was asked, the answer, the true time of day, and the
    leader that decided it with its own."""

    kind: str
    request: Any
    answer: Any
    now_ms: float
    lead: int
    wall_ms: int


class _Fate:
    """``failed``: deliveries that count. ``due_ms``: of a letter, not before, by the clock of a leader."""

    __slots__ = ("deliveries", "due_ms", "failed", "lease", "state")

    def __init__(self, due_ms: int = 0) -> None:
        self.state = OPEN
        self.lease = 0
        self.deliveries = 0
        self.failed = 0
        self.due_ms = due_ms


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
        """Of all records that were passed, and of letters that are or were delivered again."""
        self.letters = LetterPromises(workers.topics)
        self._breaker = BreakerPromises(workers.config.breaker, self.counts)
        self._confirmed: set[Place] = set()
        """Somebody was told that they are settled."""
        self._acknowledged: set[Place] = set()
        """... by the acknowledgement that this was said of."""

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
            self.counts["late"] += answer is Settled.LATE
            if settlement.action is not Action.ACK or answer is Settled.LATE:
                continue
            fate = self.fates.get(settlement.place)
            self.counts["acknowledged when lost"] += fate is not None and fate.state == LOST
            self._confirmed.add(settlement.place)
            if answer is Settled.DONE:
                self._acknowledged.add(settlement.place)
                self.counts["confirmed"] += 1

    def look(self) -> None:
        """Take in what has been committed since the last look."""
        while self._seen < self._ledger.highest:
            self._seen += 1
            frame = self._ledger.committed[self._seen]
            if (what := self._meant.get(frame.payload)) is not None:
                self._take(frame, what)

    def _take(self, frame: Frame, what: Meant) -> None:
        flat = msgpack.unpackb(frame.payload)
        before = self.view.header
        self.counts[what.kind] += 1
        came = self._came(what)
        self.view.replay(list(zip(flat[:-2:2], flat[1:-2:2], strict=True)), clock_s=0.0)
        self._breaker.took(before, self.view.header, what, came)
        self._settled_or_pending()
        self.letters.check(self.view)
        self._next_of_keys()

    def _came(self, what: Meant) -> Came:
        """Hold one step against all before; what it did to deliveries."""
        match what.kind:
            case "receive":
                return self._given(what)
            case "settle":
                settled = zip(what.request, what.answer, strict=True)
                return self._ended([each for each, answer in settled if answer is Settled.DONE])
            case "end":
                return self._ended(what.request)
            case "sent":
                for place, letter in what.request:
                    self.counts["died again"] += place.topic_id != TOPIC_ID
                    self.letters.sent((place.topic_id, place.partition), place, letter)
                    self._settles(place, LOST if letter.at is None else DEAD)
            case "replay":
                for place, due_ms in self.letters.begin(what.request, what.answer):
                    self.fates[place] = _Fate(due_ms)
                    self.counts["replayed"] += 1
            case "purge":
                self.letters.purge(what.request, what.answer)
            case "passed":
                self._lost(*what.request, what.answer.records)
        return Came()

    def _settles(self, place: Place, state: str) -> None:
        self.fates[place].state = state
        self.letters.settled(place)

    # Deliveries.

    def _given(self, what: Meant) -> Came:
        given = [
            (Place(each.topic_id, each.partition, offset), each.deliveries)
            for each in what.answer.given
            for offset in each.offsets
        ]
        for place, deliveries in given:
            self._delivered(place, deliveries, what)
        return Came(len(given))

    def _delivered(self, place: Place, deliveries: int, what: Meant) -> None:
        fate = self.fates.setdefault(place, _Fate())
        require(
            place not in self._confirmed,
            "what was acknowledged and confirmed is never delivered again",
            lambda: f"{place} by {what.request}",
        )
        require(fate.state == OPEN, "only what waits is delivered", lambda: f"{place} is {fate.state}")
        early_ms = self._workers.deliver_at_ms(place, fate.due_ms) - what.now_ms
        require(
            early_ms <= self._workers.skew_ms, "a delay is kept", lambda: f"{place} came {early_ms} ms early"
        )
        self._in_order(place, fate, what)
        fate.state, fate.lease = LEASED, what.request
        fate.deliveries += 1
        self.counts["delivered"] += 1
        self.counts["redelivered"] += fate.deliveries > 1
        require(
            deliveries == fate.deliveries,
            "deliveries are counted",
            lambda: f"{place}: {deliveries} of {fate.deliveries}",
        )

    def _in_order(self, place: Place, fate: _Fate, what: Meant) -> None:
        key = self._workers.topics.key_of(place)
        if not key or not self._workers.by_key:
            return
        for other, each in self.fates.items():
            if other == place or each.state not in PENDING or other[:2] != place[:2]:
                continue
            if self._workers.topics.key_of(other) != key:
                continue
            require(
                each.state == OPEN and not each.deliveries,
                "one record of a key is in hand",
                lambda at=other, it=each: (
                    f"{place} while {at} is {it.state}, after {it.deliveries} deliveries"
                ),
            )
            if place.topic_id == TOPIC_ID:
                delayed = self._workers.topics.deliver_at_ms(other) > 0
            else:
                delayed = each.due_ms > what.wall_ms
            require(
                other.offset > place.offset or delayed or fate.deliveries > 0,
                "records of a key are delivered in order",
                lambda at=other: f"{place} before {at}",
            )

    # How they end.

    def _ended(self, settlements: Sequence[Settlement]) -> Came:
        """Deliveries end as these say, or when their time is up."""
        state = self.view.state
        done = failed = 0
        tried_well: bool | None = None
        for settlement in settlements:
            place, action, fate = settlement.place, settlement.action, self.fates[settlement.place]
            require(
                fate.state == LEASED and fate.lease == settlement.lease,
                "only who has a record settles it",
                lambda each=settlement, it=fate: f"{each} while it is {it.state} of lease {it.lease}",
            )
            ends_well = action in (Action.ACK, Action.REJECT)
            if ends_well or action is Action.NACK:
                done += ends_well
                failed += not ends_well
                if fate.lease == state.probe:
                    tried_well = ends_well
            if action is Action.ACK:
                self._settles(place, ACKED)
            elif action is Action.REJECT:
                fate.state = DYING
            elif action is Action.NACK:
                self._failed(fate, counts=state.breaker == CLOSED)
            elif action is Action.RELEASE:
                fate.state = OPEN
        return Came(0, done, failed, tried_well)

    def _failed(self, fate: _Fate, *, counts: bool) -> None:
        fate.failed += counts
        dies = counts and fate.failed >= self._workers.config.max_deliveries
        fate.state = DYING if dies else OPEN
        self.counts["died of failures"] += dies
        self.counts["excused"] += not counts

    def _lost(self, topic_id: int, partition: int, start: int, lost: int) -> None:
        """Retention took what is before ``start``; what is dying is told of when it is sent."""
        if topic_id == TOPIC_ID:
            for offset in range(self.view.next_of(partition), start):
                self.fates.setdefault(Place(topic_id, partition, offset), _Fate())
        found = [
            place
            for place, fate in self.fates.items()
            if place[:2] == (topic_id, partition) and place.offset < start and fate.state in (OPEN, LEASED)
        ]
        require(len(found) == lost, "what retention took is counted", lambda: f"{lost}, not {found}")
        for place in found:
            self.counts["lost in hand"] += self.fates[place].state == LEASED
            self.counts["lost letters"] += topic_id != TOPIC_ID
            self._settles(place, LOST)
        self.counts["lost"] += lost

    # The state.

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
                self.fates.setdefault(Place(TOPIC_ID, partition, offset), _Fate())
        states: Counter[str] = Counter()
        for place, fate in self.fates.items():
            now = found.pop(place, None)
            states[fate.state] += 1
            require(
                (fate.state in PENDING) == (now is not None),
                "each record is settled or pending",
                lambda at=place, it=fate, of=now: f"{at} is {it.state}, and {of} in the state",
            )
            require(
                now is None or now == fate.state,
                "a record dies of its last failure that counts, and no other",
                lambda at=place, it=fate, of=now: f"{at} is {it.state}, and {of} in the state",
            )
        require(not found, "each record is settled or pending", lambda: f"{found} were never passed")
        if self.view:
            self._counted(states)

    def _counted(self, states: Counter[str]) -> None:
        info = description.info(self.view, ends={}, oldest_ms=None)
        said = (info.depth, info.in_flight, info.dying, info.settled, info.lost)
        pending = sum(states[state] for state in PENDING)
        there = (pending, states[LEASED], states[DYING], states[ACKED] + states[DEAD], states[LOST])
        require(
            said == there,
            "the counts of a queue agree",
            lambda: f"depth, in flight, dying, settled, lost: {said}, not {there}",
        )

    def _next_of_keys(self) -> None:
        """Who waits for nobody of its key may go, whatever became of those before it."""
        for share in self.view.shares.values() if self._workers.by_key else ():
            waits: dict[int, int] = {}
            in_hand: set[int] = set()
            for offset, run in share.at.items():
                key = self._workers.topics.key_of(share.place(offset))
                if run.value.state == State.HELD:
                    waits[key] = min(offset, waits.get(key, offset))
                else:
                    in_hand.add(key)
            for key, offset in waits.items():
                require(
                    key in in_hand or share.place(offset) in self.view.ready,
                    "a key goes on when what it waited for is settled or lost",
                    lambda at=offset: f"{at}",  # type: ignore[misc]
                )

    # The end.

    def is_done(self, records: int) -> bool:
        """Whether so many records are all settled."""
        passed = sum(place.topic_id == TOPIC_ID for place in self.fates)
        return passed == records and all(fate.state not in PENDING for fate in self.fates.values())

    def check(self, places: list[Place]) -> None:
        """What was said to be acknowledged is, and ``places``, with the dead letters, are what died."""
        for place in self._acknowledged:
            require(
                self.fates[place].state == ACKED,
                "what was acknowledged counts",
                lambda at=place: f"{at} is {self.fates[at].state}",  # type: ignore[misc]
            )
        dead = sorted(place for place, fate in self.fates.items() if fate.state == DEAD)
        require(sorted(places) == dead, "who died is with the dead letters", lambda: f"{places} of {dead}")
