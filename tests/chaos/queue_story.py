"""Histories of a queue, told worker by worker, and final states to go with them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from chaos.checker.check import CheckResult
from chaos.checker.final_state import Death, ReplicaState
from chaos.checker.violation import Kind
from chaos.history import (
    Breaker,
    Counted,
    Deliveries,
    Delivery,
    Done,
    Letter,
    LetterAt,
    Letters,
    ListDead,
    LookAtQueue,
    MakeQueue,
    PurgeDead,
    QueueState,
    Receive,
    Replay,
    Settle,
    Settlements,
    Settling,
)
from chaos.record_value import key_of
from tests.chaos.story import TOPIC, Story, kinds, replica, replicas, v, vs

QUEUE, DEAD = "q", f"{TOPIC}.dead"
ALL = vs(0, 1, 2, next(n for n in itertools.count(3) if key_of(v(n)) == key_of(v(0))))
"""The first and the last one have the same key, and the others have others."""


class Workers(Story):
    """Four records, a queue of their topic in order of keys, and workers."""

    def __init__(self, values: Sequence[int] = ALL, breaker: Breaker | None = None) -> None:
        """``breaker``: after three deliveries a record dies."""
        super().__init__()
        self.values = list(values)
        self.letters: list[int] = []
        """What is in the topic of dead letters."""
        most = 1 if breaker is None else 3
        made = MakeQueue(QUEUE, TOPIC, DEAD, by_key=True, max_deliveries=most, breaker=breaker)
        self.ok(self.invoke(made), Done())
        self.produce(self.values, at=0)

    def receives(self, *offsets: int, deliveries: int = 1, who: str = "a", again: bool = False) -> None:
        """It gets records, or letters."""
        self.ok(self.invoke(Receive(QUEUE), who), self.got(*offsets, deliveries=deliveries, again=again))

    def got(self, *offsets: int, deliveries: int = 1, again: bool = False) -> Deliveries:
        """An answer."""
        stored = self.letters if again else self.values
        return Deliveries([Delivery(0, offset, stored[offset], deliveries, again) for offset in offsets])

    def is_told(self, paused: str = "breaker_open", who: str = "a") -> None:
        """There is nothing."""
        self.ok(self.invoke(Receive(QUEUE), who), Deliveries([], paused=paused))

    def says(
        self,
        action: str,
        *offsets: int,
        deliveries: int = 1,
        result: str = "done",
        who: str = "a",
        again: bool = False,
    ) -> None:
        """It settles them, or has no answer."""
        op = self.invoke(self.saying(action, *offsets, deliveries=deliveries, again=again), who)
        if result == "unknown":
            self.unknown(op)
        else:
            self.ok(op, Settlements([result] * len(offsets)))

    def saying(self, action: str, *offsets: int, deliveries: int = 1, again: bool = False) -> Settle:
        """What it says."""
        return Settle(QUEUE, [Settling(0, offset, deliveries, action, again) for offset in offsets])

    def does(self, *offsets: int, deliveries: int = 1, who: str = "a", again: bool = False) -> None:
        """Both, well."""
        self.receives(*offsets, deliveries=deliveries, who=who, again=again)
        self.says("ack", *offsets, deliveries=deliveries, who=who, again=again)

    def dies(self, *offsets: int, again: bool = False) -> None:
        """These are rejected, and are letters then."""
        for offset in offsets:
            self.receives(offset, again=again)
            self.says("reject", offset, again=again)
            self.letters.append((self.letters if again else self.values)[offset])

    def replays(self, *offsets: int, count: int | None = None, per_second: float = 0.0) -> None:
        """Somebody has them delivered again, or all that are listed."""
        letters = [LetterAt(0, offset) for offset in offsets] or None
        op = self.invoke(Replay(QUEUE, letters, per_second=per_second), "m")
        self.ok(op, Counted(len(offsets) if count is None else count))

    def purges(self, *offsets: int, count: int | None = None) -> None:
        """And has them off the list."""
        op = self.invoke(PurgeDead(QUEUE, [LetterAt(0, offset) for offset in offsets]), "m")
        self.ok(op, Counted(len(offsets) if count is None else count))

    def lists(self, *offsets: int, replaying: bool = False) -> None:
        """These are listed."""
        op = self.invoke(ListDead(QUEUE), "m")
        self.ok(op, Letters([Letter(0, offset, replaying) for offset in offsets]))

    def judged(
        self, *, dead: Sequence[int] = (), deaths: Sequence[Death] = (), left: int | None = 0
    ) -> CheckResult:
        """The verdict, with these dead letters or those that it told of; ``left`` None: nobody has looked at
        the end."""
        dead = dead or self.letters
        if left is not None:
            self.ok(self.invoke(LookAtQueue(QUEUE)), QueueState(left, len(dead)))
        deaths = deaths or [Death(number=str(number)) for number in range(len(self.letters))]
        return self.check(*replicas(self.values), *_dead(dead, deaths))

    def found(
        self, *, dead: Sequence[int] = (), deaths: Sequence[Death] = (), left: int | None = 0
    ) -> dict[Kind, int]:
        """What is wrong."""
        return kinds(self.judged(dead=dead, deaths=deaths, left=left))


def _dead(values: Sequence[int], deaths: Sequence[Death]) -> list[ReplicaState]:
    held = [replica(node, values) for node in ("n1", "n2", "n3")] if values else []
    for each in held:
        each.topic = DEAD
        each.deaths = dict(enumerate(deaths))
    return held
