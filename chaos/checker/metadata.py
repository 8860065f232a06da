"""Creating, altering, deleting and describing topics behaves as if one node did it, one after the other.

Operations on different topics are independent, so each topic is searched by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from chaos.checker import topic_model
from chaos.checker.linearizability import Operation, Outcome, Verdict, search
from chaos.checker.options import CheckOptions
from chaos.checker.topic_model import State
from chaos.checker.violation import Evidence, Findings, Kind
from chaos.history import Action, Alter, Create, Delete, Describe, End, Event, Invoke, Unknown


@dataclass(frozen=True, slots=True)
class _Call:
    """An operation on a topic, and its end if there was one."""

    call: Invoke
    action: Action
    end: End | None


class Metadata:
    """Collects the operations of each topic, and searches for an order at the end."""

    def __init__(self, options: CheckOptions, findings: Findings) -> None:
        self._options = options
        self._findings = findings
        self._open: dict[int, tuple[str, Invoke]] = {}
        self._topics: dict[str, list[Operation[_Call]]] = {}
        self.operations = 0

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event."""
        if isinstance(event, Invoke):
            action = event.action
            if isinstance(action, Create | Alter | Delete) or (
                isinstance(action, Describe) and self._options.describes_are_confirmed
            ):
                self._open[event.op] = (action.topic, event)
        elif call is not None and isinstance(event, End) and call.op in self._open:
            topic, _ = self._open.pop(call.op)
            self._ended(topic, call, None if isinstance(event, Unknown) else event)

    def finish(self) -> None:
        """Search every topic's operations; those that never ended are unknown."""
        for topic, call in self._open.values():
            self._ended(topic, call, None)
        self._open.clear()
        for topic, operations in sorted(self._topics.items()):
            operations.sort(key=lambda operation: operation.began_ns)
            steps_max = self._options.search_steps_max
            found = search(operations, None, _step, only_looks=_only_looks, steps_max=steps_max)
            if found.verdict is not Verdict.LINEARIZABLE:
                self._report(topic, operations, found)

    def _ended(self, topic: str, call: Invoke, end: End | None) -> None:
        if topic_model.is_observation(call.action, end):
            ended_ns = None if end is None else end.time_ns
            operation = Operation(call.time_ns, ended_ns, _Call(call, call.action, end))
            self._topics.setdefault(topic, []).append(operation)
            self.operations += 1

    def _report(self, topic: str, operations: list[Operation[_Call]], found: Outcome[_Call]) -> None:
        if found.verdict is Verdict.GIVEN_UP:
            summary = f"no order of {len(operations)} operations was found in {found.steps} steps"
            self._findings.add(Kind.UNDECIDED, summary, topic=topic)
            return
        assert found.stuck_at is not None
        stuck = _evidence(found.stuck_at)
        order = [_evidence(operation) for operation in found.order]
        summary = f"no order explains {stuck.what}, after the {len(order)} that can be put in one"
        self._findings.add(Kind.NOT_LINEARIZABLE, summary, stuck, *order, topic=topic)


def _step(state: State, what: _Call) -> tuple[bool, State]:
    return topic_model.step(state, what.action, what.end)


def _only_looks(what: _Call) -> bool:
    return isinstance(what.action, Describe)


def _evidence(operation: Operation[_Call]) -> Evidence:
    what, end = operation.what, operation.what.end
    action = msgspec.json.encode(what.action).decode()
    answer = "unknown" if end is None else msgspec.json.encode(end).decode()
    text = f"{action} -> {answer}"
    node = what.call.node if end is None else end.node
    return Evidence(text, what.call.time_ns, None, None, node, what.call.process, what.call.op)
