"""What the metadata cost a node as the cluster grows: in this process, without nodes.

Every node holds all of them and walks over them about twice a second; the node that is asked for a new topic
places it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from floodmark.errors import FloodmarkError

from bench.growth.figures import Gauge
from bench.growth.meter import Sink
from bench.growth.scale import Scale
from node.metadata.command import Command
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.topics import CreateTopic
from node.metadata.edit import Edit
from node.metadata.machine import MetadataMachine
from node.metadata.placement import place_in
from node.metadata.state import MetadataState
from node.metadata.topic_config import TopicConfig
from node.replicas.wanted import wanted_here

REPLICAS_PER_NODE: Final = 1_000
_REPLICATION: Final = 3
_TOPIC_PARTITIONS: Final = 100
_LARGE_TOPIC: Final = 1_000
_TRIES: Final = 5


async def metadata(scale: Scale, round_number: int, sink: Sink) -> None:
    """At each number of nodes: a cluster full of topics of 100 partitions."""
    for x in scale.metadata_nodes:
        machine = _full(x)
        state = machine.state
        racks = {node.node_id: node.rack for node in state.nodes.values()}
        place = partial(place_in, state, racks, partitions=_LARGE_TOPIC, replication_factor=_REPLICATION)
        for name, value in (
            ("cluster_partitions", float(sum(len(topic.partitions) for topic in state.topics.values()))),
            ("walk_ms", _median_ms(partial(_walk, state))),
            ("snapshot_ms", _median_ms(machine.snapshot)),
            ("snapshot_mb", len(machine.snapshot()) / 1e6),
            ("place_ms", _median_ms(place)),
        ):
            sink(Gauge("metadata", name, x, round_number, value))


def _walk(state: MetadataState) -> None:
    for _ in wanted_here(state, "n000"):
        pass


def _full(nodes: int) -> MetadataMachine:
    machine = MetadataMachine()
    names = [f"n{number:03}" for number in range(nodes)]
    for name in names:
        _apply(machine, RegisterNode(name, f"http://{name}:7070", f"{name}:7170", name))
    for first in range(0, nodes * REPLICAS_PER_NODE // _REPLICATION, _TOPIC_PARTITIONS):
        assignments = [
            [names[(first + number + replica) % nodes] for replica in range(_REPLICATION)]
            for number in range(_TOPIC_PARTITIONS)
        ]
        command = CreateTopic(f"t{first}", _REPLICATION, TopicConfig(), assignments)
        _apply(machine, command)
    return machine


def _apply(machine: MetadataMachine, command: Command) -> None:
    outcome = machine.levels.commands[command.kind].apply(Edit(machine.state), command)
    assert not isinstance(outcome, FloodmarkError), outcome


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TRIES):
        begin = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(taken)
