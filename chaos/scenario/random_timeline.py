"""Scenarios from a seed: faults of all kinds, on all targets, some of them at the same time.

A seed gives the same scenario only as long as this file and the faults do not change, so every run keeps its
scenario as text.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from chaos.faults.aim import Aim, Target
from chaos.faults.clock import ClockJump
from chaos.scenario.kinds import kinds as all_kinds
from chaos.scenario.model import DEFAULT_TOPIC, Scenario, TimedFault, Workload

_PARTITIONS: Final = 3
_REPLICATION: Final = 3
_FIRST_AT_S: Final = (1.0, 3.0)
_FOR_S: Final = (1.0, 8.0)
_PAUSE_S: Final = (0.5, 5.0)
_OVERLAP_SHARE: Final = 0.4
_CALM_END_S: Final = 1.0
"""The last fault ends this long before the timeline does."""

_TARGET_WEIGHTS: Final = {
    Target.ONE: 3,
    Target.LEADER: 4,
    Target.METADATA_LEADER: 2,
    Target.MAJORITY: 2,
    Target.ALL: 1,
}
_SINGLE: Final = (Target.ONE, Target.LEADER, Target.METADATA_LEADER)
_OF_ONE_NODE: Final = ("bridge", "drain", "remove", "replaced machine", "restored copy")
"""A bridge is one node; old copies that are a majority cannot be recognised as old."""
_NODES_MAX: Final = 7
_LOSS_SHARE: Final = 0.2
"""Share of the scenarios in which a majority may be lost for good, once."""
_RESHAPING: Final = ("drain", "join", "lost majority", "moves", "remove", "replaced machine")
Settings = Callable[[random.Random], dict[str, Any]]


def _links(rng: random.Random) -> dict[str, Any]:
    links = rng.choice(["peers", "peers", "http", "all"])
    return {"links": links, "direction": rng.choice(["both", "out", "in"]) if links != "http" else "both"}


RECIPES: Final[dict[str, Settings]] = {
    "bandwidth": lambda rng: {**_links(rng), "kb_per_s": rng.choice([8, 32, 128, 512])},
    "bridge": lambda _rng: {},
    "clock jump": lambda rng: {
        "jump_s": rng.choice([1.0, 60.0, 86_400.0]),
        "direction": rng.choice(["forward", "back"]),
    },
    "cut": _links,
    "data limit": lambda rng: {**_links(rng), "data_bytes": rng.choice([2_000, 20_000, 200_000])},
    "disk error": lambda rng: {"operation": rng.choice(["write", "sync"])},
    "disk full": lambda _rng: {},
    "drain": lambda _rng: {},
    "join": lambda _rng: {},
    "kill": lambda _rng: {},
    "kill storm": lambda rng: {"down_s": rng.choice([0.0, 0.1, 1.0]), "up_s": rng.choice([0.5, 1.0, 3.0])},
    "latency": lambda rng: {
        **_links(rng),
        "latency_ms": rng.choice([10, 50, 200, 500]),
        "jitter_ms": rng.choice([0, 5, 50]),
    },
    "lost majority": lambda _rng: {},
    "moves": lambda rng: {"every_s": rng.choice([0.3, 1.0, 3.0])},
    "pause": lambda _rng: {},
    "pause in a cut": lambda rng: {"pause_s": rng.choice([1.0, 2.5])},
    "power loss": lambda rng: {"written_back": rng.random() < 0.7},
    "remove": lambda rng: {"force": rng.random() < 0.3},
    "replaced machine": lambda _rng: {},
    "reset": lambda rng: {**_links(rng), "after_ms": rng.choice([0, 50, 500])},
    "restart": lambda rng: {"gently": rng.random() < 0.5},
    "restored copy": lambda rng: {"restarts": rng.choice([0, 1])},
    "rolling restart": lambda rng: {"gently": rng.random() < 0.7},
    "short writes": lambda _rng: {},
    "slicing": lambda rng: {**_links(rng), "average_bytes": rng.choice([32, 512]), "variation_bytes": 16},
    "slow close": lambda rng: {**_links(rng), "delay_ms": rng.choice([500, 3_000])},
    "slow sync": lambda rng: {"delay_ms": rng.choice([5, 50, 300])},
}
"""kind -> how its settings are drawn. Only kinds with a recipe are drawn unless others are asked for: a fault
that may rightly cost records must be chosen with care."""

_GROUP_SHARE = 0.5
"""Of the runs that lose no majority have members of a consumer group, so many:"""
_GROUP_MEMBERS = 8
_QUEUE_SHARE = 0.5
"""Likewise of workers of a queue."""
_QUEUE_WORKERS = 8


def random_scenario(
    seed: int, duration_s: float, nodes: int = 3, kinds: Collection[str] | None = None
) -> Scenario:
    """The scenario of a seed. Raises ``ValueError`` for kinds that are not known."""
    chosen = sorted(_drawn(nodes) if kinds is None else kinds)
    unknown = [kind for kind in chosen if kind not in all_kinds()]
    if unknown or not chosen:
        raise ValueError(f"{', '.join(unknown) or 'none'}: known kinds are {', '.join(all_kinds())}")
    rng = random.Random(f"{seed}/{duration_s}/{nodes}/{','.join(chosen)}")
    if kinds is None and rng.random() >= _LOSS_SHARE:
        chosen = [kind for kind in chosen if not all_kinds()[kind].loses_records]
    faults = tuple(_timeline(rng, duration_s, _Shape(nodes), chosen))
    loses = any(timed.fault.loses_records for timed in faults)
    members = _GROUP_MEMBERS if rng.random() < _GROUP_SHARE else 0
    workers = _QUEUE_WORKERS if rng.random() < _QUEUE_SHARE else 0
    jumps = any(isinstance(timed.fault, ClockJump) for timed in faults)
    # What has a time comes by the clocks.
    delayed_per_s = 0.0 if jumps else Workload().delayed_per_s
    return Scenario(
        name="random",
        description=f"Drawn from seed {seed}.",
        nodes=nodes,
        duration_s=duration_s,
        seed=seed,
        partitions=_PARTITIONS,
        replication=min(_REPLICATION, nodes),
        workload=Workload(topic_admins=0)
        if loses
        else Workload(group_members=members, queue_workers=workers, delayed_per_s=delayed_per_s),
        faults=faults,
    )


def _drawn(nodes: int) -> list[str]:
    """Kinds that are possible: replicas cannot move if every node has one of each, and few nodes must all
    stay."""
    if nodes > _REPLICATION:
        return list(RECIPES)
    left_out = {"drain", "moves"} if nodes == _REPLICATION else _RESHAPING
    return [kind for kind in RECIPES if kind not in left_out]


class _Shape:
    """The number of nodes at this point of the drawn timeline."""

    def __init__(self, nodes: int) -> None:
        self.nodes = self.ever = nodes
        self._has_lost = False

    def allows(self, kind: str) -> bool:
        """Whether there are enough nodes for it, and not too many."""
        cls = all_kinds()[kind]
        if cls.loses_records:
            return self.nodes >= _REPLICATION and not self._has_lost
        if kind == "remove":
            return self.nodes > _REPLICATION
        return not cls.brings_nodes or self.ever + cls.brings_nodes <= _NODES_MAX

    def take(self, kind: str) -> None:
        """Note that it was drawn."""
        cls = all_kinds()[kind]
        self.ever += cls.brings_nodes
        self.nodes += {"join": 1, "remove": -1}.get(kind, 0)
        self._has_lost |= cls.loses_records


def _timeline(rng: random.Random, duration_s: float, shape: _Shape, kinds: list[str]) -> Iterator[TimedFault]:
    at_s = rng.uniform(*_FIRST_AT_S)
    while at_s < duration_s - _CALM_END_S:
        for_s = min(rng.uniform(*_FOR_S), duration_s - _CALM_END_S - at_s)
        possible = [kind for kind in kinds if shape.allows(kind)]
        if not possible:
            break
        kind = rng.choice(possible)
        yield _fault(rng, round(at_s, 1), round(for_s, 1), shape, kind)
        shape.take(kind)
        if rng.random() < _OVERLAP_SHARE:
            at_s += rng.uniform(0.2, for_s)
        else:
            at_s += for_s + rng.uniform(*_PAUSE_S)


def _fault(rng: random.Random, at_s: float, for_s: float, shape: _Shape, kind: str) -> TimedFault:
    settings = RECIPES[kind](rng) if kind in RECIPES else {}
    fault = all_kinds()[kind](aim=_aim(rng, shape, kind), **settings)
    return TimedFault(at_s=at_s, for_s=for_s, fault=fault)


def _aim(rng: random.Random, shape: _Shape, kind: str) -> Aim:
    if kind == "join":
        return Aim()
    if all_kinds()[kind].loses_records:
        return Aim(target=Target.MAJORITY)
    targets = _SINGLE if kind in _OF_ONE_NODE else tuple(Target)
    target = rng.choices(targets, [_TARGET_WEIGHTS[each] for each in targets])[0]
    # After nodes have joined and left, the names of the nodes are only known in the run.
    is_as_it_was = shape.nodes == shape.ever
    return Aim(
        target=target,
        node=f"n{rng.randint(1, shape.nodes)}" if target is Target.ONE and is_as_it_was else "",
        topic=DEFAULT_TOPIC if target is Target.LEADER else "",
        partition=rng.randrange(_PARTITIONS) if target is Target.LEADER else 0,
    )
