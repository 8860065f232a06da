"""Histories told event by event, and final states to go with them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from chaos.checker.check import CheckResult, check
from chaos.checker.final_state import ReplicaState
from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import (
    VERSION,
    Acks,
    Action,
    Bounds,
    Event,
    Fail,
    FaultBegan,
    FaultEnded,
    GivenUp,
    Healed,
    History,
    Invoke,
    Leads,
    Ok,
    Page,
    PauseBegan,
    PauseEnded,
    Produce,
    Produced,
    Producer,
    Read,
    Recovered,
    Result,
    Run,
    Tail,
    Unknown,
)
from chaos.record_value import value_id

MS = 1_000_000
NODES = ("n1", "n2", "n3")
TOPIC = "orders"

IDEMPOTENT, PLAIN = 1, 2


def v(number: int, producer: int = IDEMPOTENT) -> int:
    """A value id."""
    return value_id(producer, number)


def vs(*numbers: int, producer: int = IDEMPOTENT) -> list[int]:
    """Value ids of one producer."""
    return [value_id(producer, number) for number in numbers]


class Story:
    """Every event takes a millisecond, and more where ``wait`` says so."""

    def __init__(self) -> None:
        self.events: list[Event] = [History(VERSION, 0, 1)]
        self.now = 0
        self._ops = 0
        self.events.append(Producer(self._tick(), IDEMPOTENT, "p1", idempotent=True))
        self.events.append(Producer(self._tick(), PLAIN, "p2", idempotent=False))

    def wait(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.now += int(seconds * 1e9)

    def invoke(self, action: Action, process: str = "x") -> int:
        """An operation begins."""
        self._ops += 1
        self.events.append(Invoke(self._ops, self._tick(), process, action))
        return self._ops

    def ok(self, op: int, result: Result, node: str = "n1") -> None:
        """It is done."""
        self.events.append(Ok(op, self._tick(), result, node))

    def fail(
        self,
        op: int,
        error: str = "unavailable",
        high_watermark: int | None = None,
        next_offset: int | None = None,
    ) -> None:
        """It is not."""
        self.events.append(Fail(op, self._tick(), error, "n1", high_watermark, next_offset))

    def unknown(self, op: int) -> None:
        """Nobody knows."""
        self.events.append(Unknown(op, self._tick(), "outcome_unknown"))

    def produce(
        self, values: list[int], *, at: int | None = None, partition: int = 0, acks: Acks = "quorum"
    ) -> None:
        """A produce that is stored at an offset; without one its outcome stays unknown."""
        op = self.invoke(Produce(TOPIC, partition, values, acks))
        if at is None:
            self.unknown(op)
        else:
            self.ok(op, Produced(at))

    def read(
        self,
        offset: int,
        *runs: tuple[int, list[int]],
        next_offset: int | None = None,
        high_watermark: int = 0,
        process: str = "c",
        session: int = 0,
    ) -> None:
        """A poll and what it brought; without a ``next_offset``, the one behind the last record."""
        op = self.invoke(Read(TOPIC, 0, offset, session), process)
        end = runs[-1][0] + len(runs[-1][1]) if runs else offset
        end = end if next_offset is None else next_offset
        page = Page([Run(first, values) for first, values in runs], end, max(end, high_watermark))
        self.ok(op, page)

    def tail(self, high_watermark: int, process: str = "t") -> None:
        """A confirmed end."""
        self.ok(self.invoke(Tail(TOPIC, 0), process), Bounds(0, high_watermark))

    def leads(self, node: str, term: int, group: str = "orders/0") -> None:
        """A sample."""
        self.events.append(Leads(self._tick(), node, group, term))

    def fault_began(self, fault: int, name: str = "kill") -> None:
        """A fault is in force."""
        self.events.append(FaultBegan(self._tick(), fault, name, ["n1"]))

    def fault_ended(self, fault: int) -> None:
        """It is over."""
        self.events.append(FaultEnded(self._tick(), fault))

    def pause_began(self, partition: int = 0) -> None:
        """Nobody writes any more."""
        self.events.append(PauseBegan(self._tick(), TOPIC, partition))

    def pause_ended(self, partition: int = 0) -> None:
        """Somebody does again."""
        self.events.append(PauseEnded(self._tick(), TOPIC, partition))

    def recovered(self, *given_up: GivenUp) -> None:
        """A majority was lost, and these offsets with it."""
        self.events.append(Recovered(self._tick(), list(given_up)))

    def healed(self) -> None:
        """All faults are over."""
        self.events.append(Healed(self._tick()))

    def check(self, *final: ReplicaState, options: CheckOptions | None = None) -> CheckResult:
        """The verdict."""
        return check(self.events, final, options)

    def _tick(self) -> int:
        self.now += MS
        return self.now


def replica(
    node: str, values: Sequence[int], *, start_offset: int = 0, partition: int = 0, term: int = 1
) -> ReplicaState:
    """A replica that holds these values, one frame each."""
    frames = array("Q", [hash((term, value)) & (1 << 64) - 1 for value in values])
    digest = repr((start_offset, list(values), term))
    return ReplicaState(
        node, TOPIC, partition, start_offset, array("q", values), 2 + start_offset, frames, digest
    )


def replicas(values: Sequence[int], *, partition: int = 0) -> list[ReplicaState]:
    """Three replicas that hold the same."""
    return [replica(node, values, partition=partition) for node in NODES]


def kinds(result: CheckResult) -> dict[Kind, int]:
    """How many violations of which kind."""
    return dict(result.counts)
