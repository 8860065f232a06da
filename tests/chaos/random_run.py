"""A correct log and its clients, at random: what the checker must find nothing in, however odd it looks."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from chaos.checker.final_state import ReplicaState
from chaos.history import Produce, Produced, Read
from tests.chaos.story import IDEMPOTENT, PLAIN, TOPIC, Story, replicas, v


@dataclass
class _Open:
    """A produce under way; ``at`` once it is stored."""

    op: int
    values: list[int]
    at: int | None = None


@dataclass
class RandomRun:
    """Produces that overlap and end in every way, retries, polls, tails, faults and leaders."""

    seed: int
    steps: int
    story: Story = field(default_factory=Story)
    log: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._open: list[_Open] = []
        self._numbers = {IDEMPOTENT: 0, PLAIN: 0}
        self._positions = {"c1": 0, "c2": 0}
        self._sessions = {"c1": 0, "c2": 0}
        self._waiting: list[_Open] = []
        self._pauses = False
        self._fault = 0
        self._term = 0
        actions = [self._send, self._send, self._store, self._store, self._answer, self._answer]
        actions += [self._poll, self._poll, self._tail, self._fault_changes, self._retry, self._pause]
        for _ in range(self.steps):
            self._chance.choice(actions)()
        self._recover()

    def final(self) -> list[ReplicaState]:
        """All replicas, the same."""
        return replicas(self.log)

    def _send(self) -> None:
        """Records of one producer leave in the order of their numbers, and are stored in that order."""
        if self._pauses:
            return
        producer = self._chance.choice((IDEMPOTENT, PLAIN))
        first = self._numbers[producer]
        self._numbers[producer] += self._chance.randrange(1, 6)
        values = [v(number, producer) for number in range(first, self._numbers[producer])]
        sent = _Open(self.story.invoke(Produce(TOPIC, 0, values), f"p{producer}"), values)
        self._open.append(sent)
        self._waiting.append(sent)

    def _store(self) -> None:
        if self._waiting:
            stored = self._waiting.pop(0)
            if self._chance.random() < 0.9:
                stored.at = len(self.log)
                self.log.extend(stored.values)

    def _answer(self) -> None:
        settled = [one for one in self._open if one not in self._waiting]
        if not settled:
            return
        one = self._chance.choice(settled)
        self._open.remove(one)
        if self._chance.random() < 0.1:
            self.story.unknown(one.op)
        elif one.at is None:
            self.story.fail(one.op)
        else:
            self.story.ok(one.op, Produced(one.at))

    def _retry(self) -> None:
        """An idempotent producer asks again for what it never heard of, and is told where it stands."""
        lost = [one for one in self._open if one.at is not None and one.values[0] < v(0, PLAIN)]
        if lost and not self._pauses:
            one = self._chance.choice(lost)
            self._open.remove(one)
            self.story.unknown(one.op)
            assert one.at is not None
            self.story.ok(self.story.invoke(Produce(TOPIC, 0, one.values), "p1"), Produced(one.at))

    def _poll(self) -> None:
        consumer = self._chance.choice(sorted(self._positions))
        if self._chance.random() < 0.01:
            self._positions[consumer] = self._chance.randrange(len(self.log) + 1)
            self._sessions[consumer] += 1
        at, session = self._positions[consumer], self._sessions[consumer]
        values = self.log[at : at + self._chance.randrange(1, 40)]
        if self._chance.random() < 0.05:
            self.story.fail(self.story.invoke(Read(TOPIC, 0, at, session), consumer))
        else:
            runs = [(at, values)] if values else []
            self.story.read(at, *runs, high_watermark=len(self.log), process=consumer, session=session)
            self._positions[consumer] += len(values)

    def _tail(self) -> None:
        self.story.tail(len(self.log))

    def _pause(self) -> None:
        if self._pauses:
            self.story.pause_ended()
        elif self._chance.random() < 0.2:
            self.story.pause_began()
        else:
            return
        self._pauses = not self._pauses

    def _fault_changes(self) -> None:
        if self._fault % 2:
            self.story.fault_ended(self._fault)
        else:
            self._term += 1
            self.story.leads(self._chance.choice(("n1", "n2", "n3")), self._term)
        self._fault += 1
        if self._fault % 2:
            self.story.fault_began(self._fault)

    def _recover(self) -> None:
        if self._fault % 2:
            self.story.fault_ended(self._fault)
        self.story.healed()
        if self._pauses:
            self.story.pause_ended()
        self._numbers[IDEMPOTENT] += 1
        value = v(self._numbers[IDEMPOTENT] - 1)
        self.story.produce([value], at=len(self.log))
        self.log.append(value)
