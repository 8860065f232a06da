"""Workers of a queue, as processes of their own: they receive, settle, repeat themselves, stand still and
die, while the replicas of their shard do and the times of day of its nodes are set.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from node.coordinator.queues import leasing, settling
from node.coordinator.queues.leasing import Again, Ask, Fresh, Leased, Seen
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import BY_KEY, NO_ORDER, Action, Breaker, Place, QueueConfig, Settlement
from tests.simulation.broken import Rule
from tests.simulation.letter_log import LetterLog
from tests.simulation.queue_broken import by_whoever_has_it, receive_without
from tests.simulation.queue_lead import NAME, QueueLead, may_decide
from tests.simulation.queue_promises import QueuePromises
from tests.simulation.queue_topic import DEAD_ID, TOPIC_ID, Topics
from tests.simulation.queue_trouble import BREAKER, LAST_RECORDS, MORE_RECORDS, Trouble
from tests.simulation.violation import require

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

WORKERS: Final = 4
RECORDS: Final = 240
KEYS: Final = 6
DAY_MS: Final = 1_000_000
SKEW_MS: Final = 400
"""As much as the time of day of a node is ahead or behind, at most."""
TICK_S: Final = 0.06
ASK_AGAIN_S: Final = 1.0
LOST: Final = 0.1
"""Of the answers."""
TWICE: Final = 0.2
"""Of the settlements: they come once more, late."""
SETTLES_S: Final = 60.0
"""Until all is settled, once nothing fails any more."""


@dataclass
class Process:
    """A worker. ``in_hand``: what it has received, with the lease."""

    number: int
    in_hand: list[tuple[Place, int]] = field(default_factory=list)
    under_way: int = 0
    asked_at: float = 0.0
    asleep_until: float = 0.0


class Workers:
    """All of them, the topic, its dead letters, and who leads the shard just now."""

    partitions: Final = 2
    skew_ms: Final = 2 * SKEW_MS
    """Between whoever said when a record is due and whoever leads."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self.cluster = cluster
        self.rests = False
        """While nobody asks for anything: the replicas heal."""
        self._rng = rng
        self._faults = True
        self.by_key = rng.random() < 0.75
        troubled = cluster.profile.troubled
        self.config = QueueConfig(
            topic="t",
            topic_id=TOPIC_ID,
            dead_letter_topic="d",
            dead_letter_topic_id=DEAD_ID,
            ordering=BY_KEY if self.by_key else NO_ORDER,
            visibility_timeout_ms=1_500,
            max_deliveries=2 if troubled else 3,
            backoff_ms=(50, 300),
            max_in_flight=16,
            max_in_flight_per_worker=8,
            window=40,
            breaker=BREAKER if troubled else Breaker(failures=0),
        )
        self.letters = LetterLog(careless=Rule.Q4 in cluster.broken)
        self.topics = Topics(self.partitions, self.letters)
        self._trouble = Trouble(self, cluster.rng("trouble")) if troubled else None
        self._records = RECORDS + MORE_RECORDS * troubled
        self.promises = QueuePromises(self, NAME)
        self._skews = {name: rng.randint(-SKEW_MS, SKEW_MS) for name in cluster.names}
        self._leads: dict[str, QueueLead] = {}
        self._begun = 0
        self._leases = 0
        self._requests = 0
        self._processes = [Process(number) for number in range(WORKERS)]
        self._again()

    def wall_ms(self, name: str) -> int:
        """The time of day as a node has it."""
        return int(DAY_MS + self.cluster.scheduler.now * 1_000 + self._skews[name])

    def deliver_at_ms(self, place: Place, due_ms: int) -> float:
        """When a record is due by the true time of day, in the time of the run; 0: at once. ``due_ms``: as it
        was told, of a letter."""
        at_ms = self.topics.deliver_at_ms(place) or due_ms
        return at_ms - DAY_MS if at_ms else 0

    def begin(self) -> int:
        """The number of another leader."""
        self._begun += 1
        return self._begun

    def takes(self) -> float:
        """How long something outside takes."""
        return self._rng.uniform(0.005, 0.4 if self._faults else 0.02)

    def is_lost(self) -> bool:
        """Whether an answer of something outside is lost."""
        return self._faults and self._rng.random() < LOST

    # One moment after the other.

    def _again(self) -> None:
        def tick() -> None:
            if not self.rests:
                self._tick()
            self._again()

        self.cluster.scheduler.after(self._rng.uniform(0.5, 1.5) * TICK_S, tick)

    def _tick(self) -> None:
        for replica in self.cluster.leaders():
            lead = self._leads.get(replica.name)
            if (lead is None or lead.may_be_followed) and may_decide(replica, self.cluster.broken):
                lead = self._leads[replica.name] = QueueLead(self, replica)
            if lead is not None:
                lead.look()
        if self._faults:
            self._strike()
        elif self._trouble is not None:
            self._trouble.heal()
        if self.topics.records < self._records:
            self._produce()
        for process in self._processes:
            if process.asleep_until <= self.cluster.scheduler.now and self._rng.random() < 0.8:
                self._lives(process)

    def _produce(self) -> None:
        log = self._rng.choice(self.topics.logs)
        at_ms = 0
        if self._rng.random() < 0.2:
            due_s = self.cluster.scheduler.now + self._rng.uniform(0.1, 4.0)
            at_ms = int(DAY_MS + due_s * 1_000 + self._rng.randint(-SKEW_MS, SKEW_MS))
        for _ in range(self._rng.randint(0, 3)):
            log.append(Seen(len(log), self._rng.randint(0, KEYS), at_ms, 10))

    def _strike(self) -> None:
        chance, now = self._rng.random(), self.cluster.scheduler.now
        process = self._rng.choice(self._processes)
        if chance < 0.010:
            process.asleep_until = now + self._rng.uniform(0.3, 4.0)
        elif chance < 0.020:  # Its process dies; another begins.
            process.in_hand, process.under_way = [], 0
        elif chance < 0.030:
            name = self._rng.choice(self.cluster.names)
            self._skews[name] = self._rng.randint(-SKEW_MS, SKEW_MS)
        if self._trouble is not None:
            self._trouble.strike()

    # A worker.

    def _lives(self, process: Process) -> None:
        if process.under_way and self.cluster.scheduler.now - process.asked_at < ASK_AGAIN_S:
            return
        process.under_way = 0
        if process.in_hand and self._rng.random() < 0.7:
            self._settle(process)
        else:
            self._receive(process)

    def _settle(self, process: Process) -> None:
        count = self._rng.randint(1, len(process.in_hand))
        chosen = self._rng.sample(process.in_hand, count)
        if self._faults and self._trouble is not None:
            if self._trouble.ends_all():
                chosen = list(process.in_hand)
            else:
                chosen = [each for each in chosen if not self._trouble.holds_on(each[0])]
        asked = self._ends(chosen)

        def told(answers: Any) -> None:
            self.promises.told(asked, answers)
            ended = {(each.place, each.lease) for each in asked if each.action is not Action.EXTEND}
            process.in_hand = [each for each in process.in_hand if each not in ended]

        self._ask(process, "settle", asked, lambda lead: self._settling(lead, asked), told)
        if self._faults and self._rng.random() < TWICE:
            self.cluster.scheduler.after(self._rng.uniform(0, 3), lambda: self._comes_late(asked))

    def _ends(self, chosen: list[tuple[Place, int]]) -> list[Settlement]:
        """How these deliveries do: all alike, but where more gives trouble."""
        action = Action.ACK
        if self._faults and self._trouble is None and self._rng.random() < 0.3:
            action = self._rng.choice(
                (Action.NACK, Action.NACK, Action.EXTEND, Action.REJECT, Action.RELEASE)
            )
        delay_ms = self._rng.choice((None, 0, 500)) if action is Action.NACK else None
        return [
            Settlement(
                place=place,
                lease=lease,
                action=self._trouble.action() if self._faults and self._trouble is not None else action,
                delay_ms=delay_ms,
            )
            for place, lease in chosen
        ]

    def _settling(self, lead: QueueLead, asked: list[Settlement]) -> Any:
        def step(view: Queue) -> Any:
            settlements = asked
            if Rule.Q5 in self.cluster.broken:
                settlements = [by_whoever_has_it(view, each) for each in asked]
            return settling.settle(view, settlements, now_ms=lead.wall_ms)

        return step

    def _comes_late(self, asked: list[Settlement]) -> None:
        """A request that was on its way for long; whoever sent it does not wait for it any more."""
        if (lead := self.lead()) is not None:
            lead.ask("settle", asked, self._settling(lead, asked), lambda _: None)

    def _receive(self, process: Process) -> None:
        self._leases += 1
        number, most = self._leases, self._rng.randint(1, 6)
        reads = self._rng.randint(1, 12)

        def receiving(lead: QueueLead) -> Any:
            ahead_ms = 5_000 if Rule.Q6 in self.cluster.broken else 0

            def step(view: Queue) -> Any:
                now_ms = lead.wall_ms + ahead_ms
                again = [Again(place, 10) for place in view.ready_now(now_ms, most) if lead.has(place)]
                fresh = []
                for partition, log in enumerate(self.topics.logs):
                    begin = view.next_of(partition)
                    end = min(len(log), begin + reads)
                    records = log[begin:end]
                    if Rule.Q7 in self.cluster.broken:
                        records = [seen._replace(key=0) for seen in records]
                    fresh.append(Fresh(partition, begin, max(begin, end), records))
                ask = Ask(f"w{process.number}", number, most, 1_000, again, fresh)
                return leasing.lease(view, ask, now_ms=now_ms)

            return receive_without(self.cluster.broken, step)

        def told(answer: Leased) -> None:
            for given in answer.given:
                for offset in given.offsets:
                    process.in_hand.append((Place(given.topic_id, given.partition, offset), number))

        self._ask(process, "receive", number, receiving, told)

    def lead(self) -> QueueLead | None:
        """Of a node that takes itself for the leader; it may not know better."""
        leads = [lead for _, lead in sorted(self._leads.items()) if lead.leads and not lead.replica.paused]
        return self._rng.choice(leads) if leads else None

    def _ask(self, process: Process, kind: str, request: Any, step_at: Any, then: Any) -> None:
        self._requests += 1
        number = process.under_way = self._requests
        process.asked_at = self.cluster.scheduler.now
        lost = self.is_lost()

        def told(answer: Any) -> None:
            if number != process.under_way or lost:
                return
            process.under_way = 0
            if answer is not None:
                then(answer)

        if (lead := self.lead()) is not None:
            if self._trouble is not None and self._trouble.looks():
                lead.learn()
            lead.ask(kind, request, step_at(lead), told)

    # The end.

    def settle(self) -> None:
        """Nothing fails any more: all that was produced is settled."""
        self._faults = self.rests = False
        self._records += LAST_RECORDS * (self._trouble is not None)
        for process in self._processes:
            process.asleep_until = 0.0
        scheduler = self.cluster.scheduler
        done = scheduler.run(scheduler.now + SETTLES_S, stop=self._is_done)
        require(
            done, "the queue comes to rest", lambda: f"{self.promises.view.shares}, {self.promises.counts}"
        )
        self.promises.check([place for _, _, place in self.letters.letters])

    def _is_done(self) -> bool:
        records = self.topics.records
        is_over = self._trouble is None or self._trouble.is_over
        return records >= self._records and is_over and self.promises.is_done(records)
