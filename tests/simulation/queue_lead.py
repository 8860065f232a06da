"""Who leads a simulated queue's shard: it decides on what it decided before, and answers when that is stored.

The steps and the view are the product's; what stands between them is small: who decides when, in the way of
``node.coordinator.delivery``, on virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import IMPLIED

from consensus.core.keyed_state import command
from consensus.types import NotLeader, NotStored, Outcome, Role, Stored
from node.coordinator.groups.decision import Decision
from node.coordinator.keys import TopicPartition
from node.coordinator.queues import administration, dead_letters, dying, retention, settling
from node.coordinator.queues.administration import Put
from node.coordinator.queues.dead_letters import Letter
from node.coordinator.queues.dying import Sent
from node.coordinator.queues.queue import Queue, dead_at
from node.coordinator.queues.requests import Action, DeadName, Place, Settlement
from tests.node.queue_steps import read_anew
from tests.simulation.broken import Rule
from tests.simulation.ledger import Asked
from tests.simulation.letter_log import Died
from tests.simulation.queue_broken import pairs_without, stored_without
from tests.simulation.queue_promises import Meant
from tests.simulation.queue_topic import DEAD_ID
from tests.simulation.shard import ShardMachine

if TYPE_CHECKING:
    from tests.simulation.queue_workers import Workers
    from tests.simulation.replica import Replica

NAME: Final = "q"
_UNIQUE: Final = b"\xff"
"""A key of no queue, whose value makes each frame another one, so that every entry has one origin."""
HELD_UP_S: Final = 1.0
REPLAYED_AT_ONCE: Final = 4

Told = Callable[[Any], None]
"""Gets the answer, or None where nobody knows."""


class QueueLead:
    """One replica in one term; it ends as a whole when something that it decided was not stored."""

    def __init__(self, workers: Workers, replica: Replica) -> None:
        group, machine = replica.group, replica.machine
        assert group is not None
        assert isinstance(machine, ShardMachine)
        self.replica = replica
        self._workers = workers
        self._cluster = workers.cluster
        self._broken = workers.cluster.broken
        self._group = group
        self._term = group.term
        self._over = False
        self._under_way = 0
        self._waiting: list[Callable[[], None]] = []
        """Answers that store nothing: once all is stored that they were decided on."""
        self._looked = self._now
        self._taken: dict[TopicPartition, int] = {}
        """In which epoch this leader sends the letters of a source."""
        self._sending: set[TopicPartition] = set()
        self._in_doubt: dict[TopicPartition, list[Died]] = {}
        self._starts: dict[TopicPartition, int] = {}
        """Where partitions began when this leader looked. What it read before may be gone since."""
        self._number = workers.begin()
        self.view = read_anew(NAME, machine.get, list(machine.queue_keys(NAME)), clock_s=self._now)
        workers.promises.counts["failover"] += bool(self.view.in_flight)

    @property
    def _now(self) -> float:
        return self._cluster.scheduler.now

    @property
    def leads(self) -> bool:
        """Still, as far as it knows itself."""
        group = self.replica.group
        if self._over or group is not self._group or group.term != self._term:
            return False
        return may_decide(self.replica, self._broken)

    @property
    def may_be_followed(self) -> bool:
        """Whether another one may begin: what it decided is stored or will never be. One in the same term
        could else begin without what is under way, as after a transfer of leadership that came to nothing."""
        if self.leads:
            return False
        group = self.replica.group
        is_same = group is self._group and group.term == self._term
        return not is_same or not self._under_way or Rule.Q10 in self._broken

    @property
    def wall_ms(self) -> int:
        """The time of day as this node has it."""
        return self._workers.wall_ms(self.replica.name)

    def ask(self, kind: str, request: Any, step: Callable[[Queue], Decision[Any]], told: Told) -> None:
        """Decide, go on from it, and answer once it is stored."""
        if not self.leads or (kind != "put" and not self.view):
            told(None)
            return
        decision = step(self.view)
        if decision.pairs:
            self._propose(kind, request, decision, told)
        elif told is not _nothing:
            self._without_pairs(decision.answer, told)

    def _propose(self, kind: str, request: Any, decision: Decision[Any], told: Told) -> None:
        pairs = pairs_without(self._broken, kind, decision.pairs, self.view)
        promises, ledger = self._workers.promises, self._cluster.ledger
        number = promises.number()
        payload = command([*stored_without(self._broken, kind, pairs), (_UNIQUE, b"%d" % number)])
        ledger.ask(payload, Asked(number, 0))
        now_ms = self._now * 1_000
        promises.proposed(payload, Meant(kind, request, decision.answer, now_ms, self._number, self.wall_ms))
        try:
            proposal = self._group.propose(
                FrameKind.COMMAND, payload, append_time=int(self._now * 1_000), record_count=0, form=IMPLIED
            )
        except NotLeader:
            ledger.answer_not_stored(payload)
            self._over = True
            told(None)
            return
        self._under_way += 1
        late, early = Rule.Q2 in self._broken, Rule.Q1 in self._broken
        if not late:
            self.view.replay(pairs, clock_s=self._now)
        if early:
            told(decision.answer)

        def ended(outcome: Outcome) -> None:
            if isinstance(outcome, NotStored):
                ledger.answer_not_stored(payload)
            is_stored = isinstance(outcome, Stored)
            if isinstance(outcome, Stored):
                ledger.answer_stored(payload, outcome)
                if late:
                    self.view.replay(pairs, clock_s=self._now)
            if not early:
                told(decision.answer if is_stored else None)
            self._ended(stored=is_stored)

        proposal.add_done_callback(lambda outcome: self._cluster.after_step(lambda: ended(outcome)))
        self._cluster.note(self.replica.name, f"{kind} #{number}")
        self.replica.wake()

    def _ended(self, *, stored: bool) -> None:
        self._over |= not stored
        self._under_way -= 1
        if not self._under_way:
            waiting, self._waiting = self._waiting, []
            for action in waiting:
                action()

    def _without_pairs(self, answer: Any, told: Told) -> None:
        def confirm() -> None:
            def done(index: int | None) -> None:
                surely = index is not None and self.leads
                self._cluster.after_step(lambda: told(answer if surely else None))

            if self._over:
                told(None)
                return
            self._group.read_index().add_done_callback(done)
            self.replica.wake()

        if self._under_way:
            self._waiting.append(confirm)
        else:
            confirm()

    # What nobody asks for.

    def look(self) -> None:
        """Leases may be over, and records on their way to the dead letters."""
        if not self.leads:
            return
        now, before = self._now, self._looked
        self._looked = now
        if not self.view:
            put = Put(self._workers.config, 1, dict.fromkeys(range(self._workers.partitions), 0))
            self.ask("put", None, lambda view: administration.put(view, put, now_ms=self.wall_ms), _nothing)
            return
        if not self._starts:
            self.learn()
        if now - before > HELD_UP_S:
            self.view.visibility.postpone(now + HELD_UP_S)
        while self.leads and (runs := self.view.visibility.over(now)):
            over = [
                Settlement(place=run.share.place(offset), lease=run.value.lease, action=Action.NACK)
                for run in runs
                for offset in run.offsets()
            ]
            self.ask("end", over, lambda view: settling.end(view, clock_s=now, now_ms=self.wall_ms), _nothing)
            if Rule.Q2 in self._broken:
                break
        for (topic_id, partition), share in list(self.view.shares.items()):
            if share.dying and (topic_id, partition) not in self._sending:
                self._sending.add((topic_id, partition))
                self._later(lambda source=(topic_id, partition): self._send(source))

    def _later(self, action: Callable[[], None]) -> None:
        takes = 0.001 if Rule.Q9 in self._broken else self._workers.takes()
        self._cluster.scheduler.after(takes, action)

    def _send(self, source: TopicPartition) -> None:
        """One step: take the source over, or store some letters, or say where they are."""
        self._sending.discard(source)
        if not self.leads or self.replica.paused:
            return
        log = self._workers.letters
        if source not in self._taken and Rule.Q4 not in self._broken:
            epoch, number, offsets = log.take_over(source)
            if not self._workers.is_lost():
                self._taken[source] = epoch
                known = [(n, o) for n, o, _ in self.view.dying(*source) if n < number]
                self._are_sent(source, {n: offsets.get(n) for n, _ in known}, dict(known))
            return
        letters = (
            self._in_doubt.get(source) or [(n, Place(*source, o)) for n, o, _ in self.view.dying(*source)][:3]
        )
        if not letters:
            return

        self._sending.add(source)
        # Of what may not be stored nobody may ever know.
        if self._under_way and Rule.Q9 not in self._broken:
            self._waiting.append(lambda: self._later(lambda: self._store(source, letters)))
        else:
            self._later(lambda: self._store(source, letters))

    def _store(self, source: TopicPartition, letters: list[Died]) -> None:
        self._sending.discard(source)
        if not self.leads:
            return
        topics = self._workers.topics
        if source not in self._in_doubt:
            gone = list(takewhile(lambda died: topics.is_gone(died[1]), letters))
            letters = list(takewhile(lambda died: not topics.is_gone(died[1]), letters))
            if gone:
                if Rule.Q19 not in self._broken:
                    self._are_sent(source, dict.fromkeys(n for n, _ in gone), _offsets(gone))
                return
        self._in_doubt[source] = letters  # Until it is answered the same is sent again.
        stored = self._workers.letters.store(source, self._taken.get(source, 0), letters)
        if stored is None:
            del self._taken[source], self._in_doubt[source]
        elif not self._workers.is_lost():
            del self._in_doubt[source]
            self._are_sent(source, stored, _offsets(letters))

    def _are_sent(
        self, source: TopicPartition, stored: dict[int, int] | dict[int, int | None], offsets: dict[int, int]
    ) -> None:
        """``stored``: where each number is; None: nowhere."""
        sent = [Sent(n, None if at is None else Place(DEAD_ID, 0, at)) for n, at in stored.items()]
        died = [(Place(*source, offsets[each.number]), each) for each in sent]
        still = {n for n, _, _ in self.view.dying(*source)} if self.view else set()
        if sent and all(each.number in still for each in sent):
            self.ask("sent", died, lambda view: dying.sent(view, *source, sent), _nothing)

    # What retention took.

    def learn(self) -> None:
        """Read where partitions begin: what was not settled before is lost."""
        self._starts = dict(self._workers.topics.starts)
        for (topic_id, partition), start in self._starts.items() if self.view else ():
            self.ask(
                "passed",
                (topic_id, partition, start),
                lambda view, at=(topic_id, partition, start): retention.passed(view, *at),  # type: ignore[misc]
                _nothing,
            )

    def has(self, place: Place) -> bool:
        """Whether a record can be delivered, as far as this leader knows."""
        return place.offset >= self._starts.get((place.topic_id, place.partition), 0)

    # An operator.

    def replay(self, names: Sequence[DeadName], every_ms: float) -> None:
        """Deliver letters again as the product does: in the order in which they are in their topic, those
        that can be read where keys have an order, in parts that are each stored before the next one."""
        dead = self.view.dead if self.view else {}
        found = sorted((dead_at(dead[name]), name) for name in dict.fromkeys(names) if name in dead)
        found = [(at, name) for at, name in found if not dead[name].replaying]
        self._replay(found, self.wall_ms, every_ms, 0)

    def _replay(self, found: list[tuple[Place, DeadName]], now_ms: int, every_ms: float, begun: int) -> None:
        topics = self._workers.topics
        some, others = found[:REPLAYED_AT_ONCE], found[REPLAYED_AT_ONCE:]
        by_key = self._workers.by_key
        letters = [
            Letter(name, 0 if Rule.Q12 in self._broken else topics.key_of(at))
            for at, name in some
            if not by_key or not topics.is_gone(at)
        ]
        if every_ms:
            letters = [
                each._replace(due_ms=now_ms + int((begun + place) * every_ms))
                for place, each in enumerate(letters)
            ]

        def told(count: int | None) -> None:
            if count is not None and others:
                self._later(lambda: self._replay(others, now_ms, every_ms, begun + count))

        self.ask("replay", letters, lambda view: dead_letters.replay(view, letters), told)

    def purge(self, names: Sequence[DeadName]) -> None:
        """Take letters off the list."""
        self.ask("purge", names, lambda view: dead_letters.purge_dead(view, names), _nothing)


def _nothing(_: Any) -> None:
    """Nobody waits for it."""


def _offsets(letters: list[Died]) -> dict[int, int]:
    return {number: place.offset for number, place in letters}


def may_decide(replica: Replica, broken: frozenset[Rule]) -> bool:
    """Whether its state has all that was decided before: an entry of its term is applied."""
    group = replica.group
    if group is None:
        return False
    return group.is_ready_leader or (Rule.Q3 in broken and group.role is Role.LEADER)
