"""A ``[[fault]]`` of a scenario: time, kind, target, and the settings of its kind."""

from __future__ import annotations

import typing
from typing import Any, Literal

from chaos.faults.aim import Aim, Target
from chaos.faults.fault import Fault
from chaos.scenario.kinds import fields_of, kinds
from chaos.scenario.model import RACES_TOPIC, Scenario, TimedFault
from chaos.scenario.table import REQUIRED, Table

_SHARED = ("at_s", "for_s", "when_ready", "kind", "target", "node", "topic", "partition")
_TARGETS = Literal["one", "leader", "metadata leader", "majority", "all"]


def read_fault(
    values: dict[str, Any], number: int, scenario: Scenario, problems: list[str], joining: int
) -> TimedFault | None:
    """The fault, or None if something is wrong with it, which is added to ``problems``.

    ``joining``: how many nodes the faults of the scenario have join.
    """
    known_problems = len(problems)
    kind = values.get("kind")
    cls = kinds().get(kind) if isinstance(kind, str) else None
    where = f"fault {number} ({kind}): " if cls is not None else f"fault {number}: "
    table = Table(values, where, problems)
    at_s, for_s = _time(table, scenario.duration_s)
    if cls is None:
        table.wrong(f"'kind' is {kind!r}; known kinds: {', '.join(kinds())}")
        return None
    aim = _aim(table, scenario, joining)
    when_ready: bool = table.take("when_ready", bool, default=False)
    settings = {
        name: table.take(name, field.type, field.default, low=0 if _is_number(field.type) else None)
        for name, field in fields_of(cls).items()
    }
    table.finish(besides=_SHARED)
    if len(problems) > known_problems or aim is None:
        return None
    fault = _made(table, cls, aim, settings)
    if fault is None:
        return None
    return TimedFault(at_s=at_s, for_s=for_s, fault=fault, when_ready=when_ready)


def _made(table: Table, cls: type[Fault], aim: Aim, settings: dict[str, Any]) -> Fault | None:
    try:
        return cls(aim=aim, **settings)
    except ValueError as error:
        table.wrong(str(error))
        return None


def _time(table: Table, duration_s: float) -> tuple[float, float]:
    at_s: float = table.take("at_s", float, REQUIRED, low=0)
    for_s: float = table.take("for_s", float, REQUIRED, low=0)
    if isinstance(at_s, float) and isinstance(for_s, float) and at_s + for_s > duration_s:
        table.wrong(f"it ends {at_s + for_s:g} s after the start; 'duration_s' is {duration_s:g}")
    return at_s, for_s


def _aim(table: Table, scenario: Scenario, joining: int) -> Aim | None:
    target = table.take("target", _TARGETS, "one")
    nodes = [f"n{number}" for number in range(1, scenario.nodes + joining + 1)]
    node = table.take("node", str, "")
    if node and node not in nodes:
        table.wrong(f"'node' is {node!r}; there are {', '.join(nodes)}")
    is_leader = target == Target.LEADER
    topic = table.take("topic", str, scenario.topics[0] if is_leader and scenario.topics else "")
    races = (RACES_TOPIC,) if scenario.workload.racers else ()
    if topic and topic not in (*scenario.topics, *races):
        table.wrong(f"'topic' is {topic!r}; there are {', '.join((*scenario.topics, *races))}")
    partitions = 1 if topic in races else scenario.partitions
    partition = table.take("partition", int, 0, low=0, high=partitions - 1)
    try:
        return Aim(target=Target(target), node=node, topic=topic, partition=partition)
    except ValueError as error:
        table.wrong(str(error))
        return None


def _is_number(kind: Any) -> bool:
    return kind in (int, float) or bool(set(typing.get_args(kind)) & {int, float})
