"""Following the deltas of the metadata gives what a walk over all of them gives, and looks at far less."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from floodmark.format.frame import Frame, FrameKind, crc_of

from consensus.types import Membership
from node.control.unsettled import Unsettled
from node.metadata import commands
from node.metadata.command import Command
from node.metadata.delta import MetadataDelta
from node.metadata.domains.moves import FinishMoves, MoveReplicas, Reassignment, StartMoves
from node.metadata.domains.nodes import RegisterNode
from node.metadata.domains.topics import AlterTopic, CreateTopic, DeleteTopic
from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.metadata.state import MetadataState, PartitionEntry, TopicEntry
from node.metadata.topic_config import TopicConfig
from node.replicas.deletions import Deletions
from node.replicas.partition_replicas import PartitionReplicas
from node.replicas.partition_spec import partition_spec
from node.replicas.replica_spec import ReplicaSpec
from node.replicas.wanted import wanted_here
from tests.support.metadata_commands import NODES, RandomCommands

KEYED = ("topics", "nodes", "moves")
OTHERS = [name for name in MetadataState.__struct_fields__ if name not in {"applied_index", *KEYED}]


def frame(index: int, command: Command) -> Frame:
    """A committed COMMAND frame."""
    payload = commands.encode(command)
    return Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload))


class Manager:
    """Stands for the manager of replicas, and counts what it is told."""

    def __init__(self) -> None:
        self.specs: dict[int, ReplicaSpec] = {}
        self.told = 0
        self.broken: dict[int, Exception] = {}

    def want(self, spec: ReplicaSpec) -> None:
        self.told += 1
        self.specs[spec.raft_group] = spec

    def remove(self, raft_groups: Any) -> None:
        for raft_group in raft_groups:
            self.told += 1
            self.specs.pop(raft_group, None)


def spec_of(topic: TopicEntry, entry: PartitionEntry, node: str) -> ReplicaSpec:
    """Of a partition's replica on a node."""
    return partition_spec(
        topic,
        entry,
        node_id=node,
        incarnation="a",
        on_open=lambda _: None,
        on_closed=lambda _: None,
    )


def shown(spec: ReplicaSpec) -> tuple[object, ...]:
    """What a spec says, without who is told."""
    members = (spec.members.voters, spec.members.learners)
    return (members, spec.keep, spec.segment_bytes, spec.wiped, spec.comes, spec.campaign_new_s)


def replicas_of(machine: MetadataMachine, node: str) -> tuple[PartitionReplicas, Manager]:
    """The partitions of one node, on a manager that does nothing."""
    manager = Manager()
    registry: Any = SimpleNamespace(groups=set())
    taken: Any = manager
    parts: Any = None
    replicas = PartitionReplicas(
        node_id=node,
        incarnation="a",
        machine=machine,
        manager=taken,
        registry=registry,
        local={},
        parts=parts,
    )
    machine.follow(replicas.metadata_changed)
    replicas.start([])
    replicas.metadata_are_current()
    return replicas, manager


class Follower:
    """Knows of the metadata what their deltas say."""

    def __init__(self, machine: MetadataMachine) -> None:
        self._machine = machine
        self.told: list[MetadataDelta] = []
        self._take_all(machine.state)
        machine.follow(self._follow)

    def _take_all(self, state: MetadataState) -> None:
        self.tables = {name: dict(getattr(state, name)) for name in KEYED}
        self.members = {name: getattr(state, name) for name in OTHERS}

    def _follow(self, state: MetadataState, delta: MetadataDelta) -> None:
        self.told.append(delta)
        if delta.is_whole:
            self._take_all(state)
            return
        changes: dict[str, Any] = {"topics": delta.topics, "nodes": delta.nodes, "moves": delta.moves}
        for name, table in self.tables.items():
            for key, value in changes[name].items():
                if value is None:
                    del table[key]
                else:
                    table[key] = value
        self.members.update({name: getattr(state, name) for name in delta.members})

    def check(self) -> None:
        """It is the state, looked at as a whole; also in the order of its entries."""
        state = self._machine.state
        for name, table in self.tables.items():
            assert table == getattr(state, name), name
        assert self.members == {name: getattr(state, name) for name in OTHERS}
        assert state.places == {
            entry.raft_group: (topic.name, entry.number) for topic, entry in state.partitions()
        }


def placed(state: MetadataState) -> dict[int, object]:
    """Where each partition is and goes."""
    return {entry.raft_group: (entry, state.moves.get(entry.raft_group)) for _, entry in state.partitions()}


@pytest.mark.parametrize("seed", range(20))
def test_who_follows_deltas_knows_what_who_looks_at_all_knows(seed: int) -> None:
    """Of topics, nodes, moves, partitions and the rest, and of each node's replicas; across snapshots too."""
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    rng = random.Random(seed)
    draw = RandomCommands(rng)
    ahead, machine = MetadataMachine(), MetadataMachine()
    follower = Follower(machine)
    here = {node: replicas_of(machine, node)[1] for node in NODES}
    index, missed, changed = 1, 0, 0
    for _ in range(400):
        index += 1
        entry = frame(index, draw.next(ahead.state))
        ahead.apply(entry)
        if missed or rng.random() < 0.03:
            missed += 1
            if rng.random() < 0.7:
                continue
            machine.restore(ahead.snapshot())
            missed = 0
            assert follower.told.pop().is_whole
        else:
            before = placed(machine.state)
            places = dict(machine.state.places)
            machine.apply(entry)
            after = placed(machine.state)
            differ = {group for group in before | after if before.get(group) != after.get(group)}
            delta = follower.told.pop() if follower.told else MetadataDelta()
            assert delta.partitions >= differ
            assert delta.configs <= {name for name, topic in delta.topics.items() if topic is not None}
            assert not delta.partitions - differ - places.keys() - machine.state.places.keys()
            changed += bool(differ)
        assert not follower.told
        follower.check()
        for node, manager in here.items():
            wanted = {
                group: shown(spec_of(*found, node)) for group, found in wanted_here(machine.state, node)
            }
            assert {group: shown(spec) for group, spec in manager.specs.items()} == wanted
    assert changed > 10, "the run is about something"


class Topics(dict[str, TopicEntry]):
    """Counts the topics that are looked at."""

    looks = 0

    def values(self) -> Any:
        self.looks += len(self)
        return super().values()

    def items(self) -> Any:
        self.looks += len(self)
        return super().items()

    def __iter__(self) -> Any:
        self.looks += len(self)
        return super().__iter__()

    def get(self, *args: Any) -> Any:
        self.looks += 1
        return super().get(*args)

    def __getitem__(self, name: str) -> TopicEntry:
        self.looks += 1
        return super().__getitem__(name)


class Group:
    """A group that is led here and as it should be; counts how often it is looked at."""

    is_ready_leader = True
    asked = 0

    def __init__(self, raft_group: int, replicas: tuple[str, ...]) -> None:
        self.raft_group = raft_group
        self._members = Membership(frozenset(replicas))
        self.followers = SimpleNamespace(has_lost=lambda _node: False)

    @property
    def membership(self) -> Membership:
        Group.asked += 1
        return self._members


PER_TOPIC, COUNT = 30, 100
CHANGES: list[tuple[list[Command], int]] = [
    ([AlterTopic("t7", 8, {"retention_ms": 9})], PER_TOPIC),
    ([DeleteTopic("t7", 8)], PER_TOPIC),
    ([CreateTopic("new", 3, TopicConfig(), [["n1", "n2", "n3"]])], 2),
    ([RegisterNode("n4", "http://n4", "other:1", "a", levels=(1, 3))], 0),
    (
        [
            MoveReplicas([Reassignment(40, ["n1", "n2", "n3"], ["n1", "n2", "n4"])]),
            StartMoves({40: 1}),
            FinishMoves({40: 1}),
        ],
        6,
    ),
]


@pytest.mark.parametrize(("changes", "bound"), CHANGES)
def test_one_change_among_3000_partitions_looks_at_few(changes: list[Command], bound: int) -> None:
    """No walk over the topics: in applying it, in the replicas here, in what is unsettled, in deletions."""
    machine = MetadataMachine()
    state = machine.state
    for node in NODES:
        known = RegisterNode(node, f"http://{node}", f"{node}:1", "a", levels=(1, 3))
        machine.apply(frame(state.applied_index + 1, known))
    state.level = MEMBERSHIP
    placement = [["n1", "n2", "n3"]] * PER_TOPIC
    for number in range(COUNT):
        machine.apply(frame(state.applied_index + 1, CreateTopic(f"t{number}", 3, TopicConfig(), placement)))
    assert sum(len(topic.partitions) for topic in state.topics.values()) == PER_TOPIC * COUNT == 3_000
    topics = state.topics = Topics(state.topics)
    _, manager = replicas_of(machine, "n1")
    groups = {entry.raft_group: Group(entry.raft_group, entry.replicas) for _, entry in state.partitions()}
    local: Any = {raft_group: SimpleNamespace(group=group) for raft_group, group in groups.items()}
    metadata: Any = SimpleNamespace(state=state)
    unsettled = Unsettled(node_id="n1", metadata=metadata, local=local)
    unsettled.look()
    deletions = Deletions(lambda name: topic.topic_id if (topic := state.topics.get(name)) else None)
    for number in range(COUNT):
        deletions.watch(f"t{number}", number + 1, lambda: None)
    machine.follow(lambda _state, delta: unsettled.changed(delta.partitions))
    machine.follow(lambda _state, delta: deletions.look(delta.topics))
    topics.looks = manager.told = Group.asked = 0
    for change in changes:
        machine.apply(frame(state.applied_index + 1, change))
        assert not isinstance(machine.outcome(state.applied_index), Exception)
        unsettled.look()
    assert manager.told <= bound
    assert Group.asked <= bound
    assert topics.looks <= 3 * bound + 5 * len(changes)


def test_a_snapshot_is_followed_by_one_look_at_all() -> None:
    """What it does not name any more goes, what it names anew comes."""
    ahead, machine = MetadataMachine(), MetadataMachine()
    index = 1
    for command in (
        RegisterNode("n1", "h", "p", "a"),
        CreateTopic("a", 1, TopicConfig(), [["n1"]]),
        CreateTopic("b", 1, TopicConfig(), [["n1"]]),
    ):
        index += 1
        ahead.apply(frame(index, command))
        machine.apply(frame(index, command))
    _, manager = replicas_of(machine, "n1")
    assert manager.specs.keys() == {1, 2}
    ahead.apply(frame(5, DeleteTopic("a", 1)))
    ahead.apply(frame(6, CreateTopic("c", 1, TopicConfig(), [["n1"]])))
    machine.restore(ahead.snapshot())
    assert manager.specs.keys() == {2, 3}
    assert msgspec.msgpack.encode(machine.state) == msgspec.msgpack.encode(ahead.state)
