"""A scenario as TOML, both ways."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from typing import Any, Final

from floodmark.errors import InvalidName
from floodmark.format.names import check_name

from chaos.faults.aim import Target
from chaos.scenario.errors import ScenarioInvalid
from chaos.scenario.fault_table import read_fault
from chaos.scenario.kinds import fields_of, kinds
from chaos.scenario.model import DEFAULT_TOPIC, RACES_TOPIC, Scenario, TimedFault, Workload
from chaos.scenario.table import REQUIRED, Table

_WORKLOAD_RANGES: Final[dict[str, tuple[float, float]]] = {
    "records_per_s": (1, 100_000),
    "record_bytes": (1, 1 << 20),
    "list_records": (1, 10_000),
    "pause_s": (0, 60),
    "pause_every_s": (1, 3_600),
    "pause_at_faults": (0, 1),
    "broken_every_s": (0, 3_600),
}
_OTHER_RANGE: Final = (0, 64)
_NODES_MAX: Final = 9


def parse_scenario(text: str, *, source: str = "scenario") -> Scenario:
    """The scenario. Raises ``ScenarioInvalid``, which lists everything that is wrong."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioInvalid(source, [f"invalid TOML: {error}"]) from error
    problems: list[str] = []
    table = Table(values, "", problems)
    scenario = Scenario(
        name=table.take("name", str, REQUIRED),
        description=table.take("description", str, ""),
        nodes=table.take("nodes", int, 3, low=1, high=_NODES_MAX),
        duration_s=table.take("duration_s", float, 30.0, low=1, high=86_400),
        seed=table.take("seed", int, None, low=0),
        topics=_topics(table),
        partitions=table.take("partitions", int, 2, low=1, high=64),
        replication=table.take("replication", int, min(3, _int(values.get("nodes", 3))), low=1, high=9),
        ready_s_max=table.take("ready_s_max", float, 120.0, low=1, high=3_600),
        gap_s_max=table.take("gap_s_max", float, None, low=0.1, high=3_600),
        scrub_interval_s=table.take("scrub_interval_s", float, None, low=0.1, high=86_400),
        secure=table.take("secure", bool, default=False),
        workload=_workload(table.take("workload", dict[str, Any], {}), problems),
    )
    if scenario.replication > scenario.nodes:
        table.wrong(f"'replication' is {scenario.replication}, but there are {scenario.nodes} nodes")
    faults = table.take("fault", list[dict[str, Any]], [])
    table.finish()
    joining = sum(cls.brings_nodes for fault in faults if (cls := kinds().get(str(fault.get("kind")))))
    read = [read_fault(fault, number, scenario, problems, joining) for number, fault in enumerate(faults, 1)]
    found = tuple(fault for fault in read if fault is not None)
    if scenario.workload.topic_admins and any(timed.fault.loses_records for timed in found):
        table.wrong("a lost majority may cost changes of topics, too: set 'topic_admins = 0' in [workload]")
    if scenario.workload.group_members and any(timed.fault.loses_records for timed in found):
        table.wrong("a lost majority may cost committed offsets, too: set 'group_members = 0' in [workload]")
    if scenario.workload.queue_workers and any(timed.fault.loses_records for timed in found):
        table.wrong("a lost majority may cost settlements, too: set 'queue_workers = 0' in [workload]")
    if scenario.nodes + joining > _NODES_MAX:
        table.wrong(f"{joining} nodes join {scenario.nodes}; at most {_NODES_MAX} in total are allowed")
    if problems:
        raise ScenarioInvalid(source, problems)
    return dataclasses.replace(scenario, faults=found)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 3


def _topics(table: Table) -> tuple[str, ...]:
    topics: tuple[str, ...] = table.take("topics", tuple[str, ...], (DEFAULT_TOPIC,))
    for topic in topics:
        try:
            check_name(topic)
        except InvalidName as error:
            table.wrong(f"'topics': {error.detail}")
        if topic.startswith("admin-"):
            table.wrong(f"'topics': {topic!r} is one of the topics that the admins make and delete")
        if topic == RACES_TOPIC:
            table.wrong(f"'topics': {topic!r} is the topic that the racers write to")
    if not topics or len(set(topics)) != len(topics):
        table.wrong("'topics' must name at least one topic, and each only once")
    return topics


def _workload(values: dict[str, Any], problems: list[str]) -> Workload:
    table = Table(values, "[workload]: ", problems)
    given = {}
    for field in dataclasses.fields(Workload):
        low, high = _WORKLOAD_RANGES.get(field.name, _OTHER_RANGE)
        given[field.name] = table.take(field.name, type(field.default), field.default, low=low, high=high)
    table.finish()
    workload = Workload(**given)
    if not workload.idempotent_producers + workload.plain_producers:
        table.wrong(
            "nothing can be checked without producers: set 'idempotent_producers' or 'plain_producers'"
        )
    return workload


def to_toml(scenario: Scenario) -> str:
    """The text from which ``parse_scenario`` makes the same scenario."""
    lines = [
        f"{field.name} = {toml_value(value)}"
        for field in dataclasses.fields(Scenario)
        if field.name not in ("workload", "faults") and (value := getattr(scenario, field.name)) is not None
    ]
    lines += ["", "[workload]"]
    lines += [
        f"{name} = {toml_value(value)}" for name, value in dataclasses.asdict(scenario.workload).items()
    ]
    for timed in scenario.faults:
        lines += ["", "[[fault]]", *_fault_lines(timed)]
    return "\n".join(lines) + "\n"


def _fault_lines(timed: TimedFault) -> list[str]:
    fault, aim = timed.fault, timed.fault.aim
    members: dict[str, Any] = {"at_s": timed.at_s, "for_s": timed.for_s, "kind": fault.kind}
    members["target"] = aim.target.value
    if timed.when_ready:
        members["when_ready"] = True
    if aim.node:
        members["node"] = aim.node
    if aim.target is Target.LEADER:
        members |= {"topic": aim.topic, "partition": aim.partition}
    for name, field in fields_of(type(fault)).items():
        value = getattr(fault, name)
        if value != field.default:
            members[name] = value
    return [f"{name} = {toml_value(value)}" for name, value in members.items()]


def toml_value(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists of these are TOML's too."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
