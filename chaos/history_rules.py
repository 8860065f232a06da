"""The rules that hold between the lines of a history."""

from __future__ import annotations

from chaos.history import (
    RESULT_OF,
    VERSION,
    Action,
    End,
    Event,
    FaultBegan,
    FaultEnded,
    History,
    Invoke,
    Ok,
    PauseBegan,
    PauseEnded,
    Produce,
    Producer,
)
from chaos.record_value import producer_of


class HistoryRules:
    """Takes events one after the other and says what is wrong; remembers open operations and no others."""

    def __init__(self) -> None:
        self.is_empty = True
        self._time_ns = 0
        self._highest_op = 0
        self._open: dict[int, Action] = {}
        self._faults: set[int] = set()
        self._highest_fault = 0
        self._producers: set[int] = set()
        self._pausing: set[tuple[str, int]] = set()

    def take(self, event: Event) -> str | None:
        """What is wrong with this event after those before it, or None."""
        if isinstance(event, History) is not self.is_empty:
            return "a history must begin with its only history line"
        if not self.is_empty and event.time_ns < self._time_ns:
            return f"time went back from {self._time_ns} to {event.time_ns}"
        self.is_empty = False
        self._time_ns = event.time_ns
        if isinstance(event, Invoke):
            return self._invoke(event)
        if isinstance(event, End):
            return self._end(event)
        return self._rare(event)

    def _rare(self, event: Event) -> str | None:
        wrong: str | None = None
        match event:
            case History() if event.version != VERSION:
                wrong = f"version {event.version}; {VERSION} is known"
            case Producer():
                if event.producer in self._producers:
                    wrong = f"producer {event.producer} is declared twice"
                self._producers.add(event.producer)
            case FaultBegan():
                if event.fault <= self._highest_fault:
                    wrong = f"fault {event.fault} began after fault {self._highest_fault}"
                self._highest_fault = event.fault
                self._faults.add(event.fault)
            case FaultEnded():
                if event.fault not in self._faults:
                    wrong = f"fault {event.fault} ended but is not in force"
                self._faults.discard(event.fault)
            case PauseBegan() | PauseEnded():
                wrong = self._pause(event)
        return wrong

    def _pause(self, event: PauseBegan | PauseEnded) -> str | None:
        place = (event.topic, event.partition)
        begins, pauses = isinstance(event, PauseBegan), place in self._pausing
        self._pausing ^= {place}
        if begins is pauses:
            return f"{event.topic}/{event.partition} {'pauses already' if pauses else 'does not pause'}"
        return None

    def _invoke(self, event: Invoke) -> str | None:
        if event.op <= self._highest_op:
            return f"operation {event.op} began after operation {self._highest_op}"
        self._highest_op = event.op
        self._open[event.op] = event.action
        if isinstance(event.action, Produce):
            if not event.action.values:
                return "a produce without values"
            if (event.action.topic, event.action.partition) in self._pausing:
                return f"{event.action.topic}/{event.action.partition} is written to in its pause"
            unknown = {producer_of(value) for value in event.action.values} - self._producers
            if unknown:
                return f"producer {min(unknown)} is not declared"
        return None

    def _end(self, event: End) -> str | None:
        action = self._open.pop(event.op, None)
        if action is None:
            return f"operation {event.op} ended but is not under way"
        if isinstance(event, Ok) and not isinstance(event.result, RESULT_OF[type(action)]):
            return f"a {type(event.result).__name__} cannot be the result of a {type(action).__name__}"
        return None
