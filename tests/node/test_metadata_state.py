"""The metadata state machine: what commands do, and that it is a pure function of their order."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, TopicExists, UnknownTopic
from floodmark.format.frame import Frame, FrameKind, crc_of
from hypothesis import given
from hypothesis import strategies as st

from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains import (
    acls,
    coordinator,
    features,
    moves,
    producers,
    quotas,
    recoveries,
    shape,
    tokens,
    topics,
    users,
)
from node.metadata.domains import nodes as node_commands
from node.metadata.domains.features import FormCluster, RaiseLevel
from node.metadata.domains.nodes import ForgetNode, RegisterNode
from node.metadata.domains.topics import AlterTopic, CreateTopic, DeleteTopic
from node.metadata.levels import Levels
from node.metadata.machine import OUTCOMES_KEPT, MetadataMachine
from node.metadata.state import TopicEntry
from node.metadata.this_build import THIS_BUILD
from node.metadata.topic_config import CONFIG_FIELDS, TopicConfig, changed_config
from tests.support.newer import NEWER_BUILD, Paint


def frame(index: int, payload: bytes) -> Frame:
    """A committed COMMAND frame."""
    return Frame(index, 1, 0, 0, 0, FrameKind.COMMAND, payload, crc_of(payload))


DOMAINS: Any = (
    features,
    node_commands,
    topics,
    producers,
    moves,
    recoveries,
    shape,
    coordinator,
    users,
    tokens,
    acls,
    quotas,
)
UP_TO_7 = dataclasses.replace(THIS_BUILD, highest=7)


def machine_after(*given_commands: Command, levels: Levels = THIS_BUILD) -> MetadataMachine:
    """A machine that has applied these, from index 2 on."""
    machine = MetadataMachine(levels)
    for index, command in enumerate(given_commands, start=2):
        machine.apply(frame(index, commands.encode(command)))
    return machine


def register(node: str, incarnation: str = "i1", levels: tuple[int, int] = (1, 1)) -> RegisterNode:
    """A node on loopback."""
    return RegisterNode(node, f"http://{node}", f"{node}:1", incarnation, levels=levels)


def create(name: str, *assignments: list[str]) -> CreateTopic:
    """A topic with these placements."""
    return CreateTopic(name, len(assignments[0]) if assignments else 1, TopicConfig(), list(assignments))


NODES = (register("n1"), register("n2"), register("n3"))


def test_a_topic_gets_group_ids_that_are_never_used_again() -> None:
    """Deleting a topic and making a namesake gives new ids to the topic and its groups."""
    machine = machine_after(
        *NODES,
        create("a", ["n1", "n2"], ["n2", "n3"]),
        DeleteTopic("a", 1),
        create("a", ["n1", "n2"]),
    )
    topic = machine.state.topics["a"]
    assert topic.topic_id == 2
    assert [partition.raft_group for partition in topic.partitions] == [3]
    assert topic.partitions[0].incarnation_of("n1") == "i1"
    assert topic.partitions[0].incarnation_of("n3") == ""


def test_a_partition_keeps_the_incarnations_that_it_was_made_on() -> None:
    """A node that comes back wiped shows a new incarnation, the partition the old one."""
    machine = machine_after(register("n1"), create("a", ["n1"]), register("n1", "i2"), create("b", ["n1"]))
    assert machine.state.topics["a"].partitions[0].incarnation_of("n1") == "i1"
    assert machine.state.topics["b"].partitions[0].incarnation_of("n1") == "i2"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (create("a", ["n1"]), TopicExists),
        (create("b"), InvalidRequest),
        (create("b", ["n1", "n1"]), InvalidRequest),
        (create("b", ["n9"]), Conflict),
        (AlterTopic("b", 1, {}), UnknownTopic),
        (AlterTopic("a", 7, {}), UnknownTopic),
        (AlterTopic("a", 1, {"retention_ms": "x"}), InvalidRequest),
        (AlterTopic("a", 1, {"segment_bytes": 0}), InvalidRequest),
        (DeleteTopic("a", 7), UnknownTopic),
    ],
)
def test_a_command_that_cannot_hold_changes_nothing(command: Command, error: type[FloodmarkError]) -> None:
    """The proposer learns why, and the state stays as it was."""
    machine = machine_after(*NODES, create("a", ["n1"]))
    before = msgspec.msgpack.encode(msgspec.structs.replace(machine.state, applied_index=9))
    machine.apply(frame(9, commands.encode(command)))
    assert isinstance(machine.outcome(9), error)
    assert msgspec.msgpack.encode(machine.state) == before


def test_altering_changes_only_what_is_named() -> None:
    """The other fields keep their values; None lifts a limit."""
    machine = machine_after(
        register("n1"), create("a", ["n1"]), AlterTopic("a", 1, {"retention_ms": 5, "retention_bytes": None})
    )
    topic = machine.outcome(4)
    assert isinstance(topic, TopicEntry)
    assert topic.config == dataclasses.replace(TopicConfig(), retention_ms=5)
    assert changed_config(topic.config, {"retention_ms": None}) == TopicConfig()


DAMAGED = [
    b"",
    b"\xc1",
    b"\x93\x01\x02\x03",
    msgspec.msgpack.encode({"name": "a"}),
    msgspec.msgpack.encode({"kind": 7, "name": "a"}),
    msgspec.msgpack.encode({"kind": "delete_topic", "name": "a"}),
    msgspec.msgpack.encode({"kind": "delete_topic", "name": "a", "topic_id": "1", "force": True}),
    b"\x91" * 100_000,
]


@pytest.mark.parametrize("payload", DAMAGED, ids=lambda payload: repr(payload)[:30])
def test_a_damaged_command_is_skipped_and_told_to_its_proposer(payload: bytes) -> None:
    """Every build rejects it, so all go on: the state stays usable and the next command is applied."""
    machine = machine_after(register("n1"))
    machine.apply(frame(3, payload))
    machine.apply(frame(4, commands.encode(create("a", ["n1"]))))
    assert machine.halted is None
    assert isinstance(machine.outcome(3), InvalidRequest)
    assert isinstance(machine.outcome(4), TopicEntry)


def _with(command: Command, place: str, value: object) -> bytes:
    """The command as a newer build writes it, with a member more."""
    raw = msgspec.to_builtins(command)
    *path, name = place.split(".")
    inner = raw
    for step in path:
        inner = inner[step]
    inner[name] = value
    return msgspec.msgpack.encode(raw)


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (msgspec.msgpack.encode({"kind": "paint_topic", "name": "a"}), "command 'paint_topic'"),
        (_with(DeleteTopic("a", 1), "later", None), "command 'delete_topic' with 'later'"),
        (_with(create("b", ["n1"]), "config.colour", "red"), "command 'create_topic' with 'config.colour'"),
        (
            _with(AlterTopic("a", 1, {}), "changes.colour", None),
            "command 'alter_topic' with 'changes.colour'",
        ),
    ],
)
def test_what_only_a_newer_build_knows_ends_the_applying(payload: bytes, what: str) -> None:
    """Neither it nor anything behind it is applied; what was true up to there stays."""
    machine = machine_after(*NODES, create("a", ["n1"]))
    before = machine.snapshot()
    machine.apply(frame(6, payload))
    machine.apply(frame(7, commands.encode(DeleteTopic("a", 1))))
    assert (
        machine.halted
        == f"metadata entry 6 is {what}, which this build does not know: start a newer Floodmark"
    )
    assert machine.snapshot() == before
    assert machine.outcome(6) is machine.outcome(7) is None


def _snapshot_with(place: str, value: object) -> bytes:
    """A snapshot as a newer build writes it."""
    raw = msgspec.msgpack.decode(machine_after(*NODES, create("a", ["n1"])).snapshot())
    *path, name = place.split(".")
    inner = raw
    for step in path:
        inner = inner[int(step) if isinstance(inner, list) else step]
    inner[name] = value
    return msgspec.msgpack.encode(raw)


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        ("version", 9, "version 9, and this build reads 1"),
        ("state.colours", {}, "'colours'"),
        ("state.nodes.n1.zone", "z", "'nodes.n1.zone'"),
        ("state.topics.a.config.colour", "red", "'topics.a.config.colour'"),
        ("state.topics.a.partitions.0.leader_epoch", 1, "'topics.a.partitions.0.leader_epoch'"),
    ],
)
def test_a_snapshot_of_a_newer_build_is_kept_for_one(place: str, value: object, what: str) -> None:
    """It is not taken in part: this node halts, and hands on exactly what it was given."""
    given_snapshot = _snapshot_with(place, value)
    machine = MetadataMachine()
    machine.restore(given_snapshot)
    assert what in (machine.halted or "")
    assert machine.snapshot() == given_snapshot
    machine.apply(frame(9, commands.encode(register("n1"))))
    assert machine.snapshot() == given_snapshot
    assert machine.state.applied_index == 0


def test_every_command_stands_in_the_table_of_one_domain() -> None:
    """Under the kind that it is written with, with a level that this build knows, and with what it does."""
    assert sum(len(domain.COMMANDS) for domain in DOMAINS) == len(THIS_BUILD.commands) == 35
    for kind, known in THIS_BUILD.commands.items():
        assert known.command.__struct_config__.tag == kind
        assert THIS_BUILD.knows(known.level)
        assert any(known in domain.COMMANDS.values() for domain in DOMAINS)
    assert THIS_BUILD.settings.keys() == CONFIG_FIELDS


def test_outcomes_are_kept_for_a_while_only() -> None:
    """A bounded number of them, the oldest go."""
    machine = machine_after(*[register("n1")] * (OUTCOMES_KEPT + 1))
    assert machine.outcome(2) is None
    assert machine.outcome(3) is not None


def test_changes_are_told_once_per_change() -> None:
    """A refused command is no change; restoring is one."""
    told: list[int] = []
    machine = MetadataMachine()
    machine.follow(lambda _state, _delta: told.append(1))
    machine.apply(frame(2, commands.encode(register("n1"))))
    machine.apply(frame(2, commands.encode(register("n1"))))
    machine.apply(frame(3, commands.encode(DeleteTopic("a", 1))))
    machine.restore(b"")
    assert len(told) == 2
    assert machine.state.nodes == {}


@pytest.mark.parametrize(
    "state",
    [
        b"junk",
        msgspec.msgpack.encode({"version": "9", "state": {}}),
        msgspec.msgpack.encode({"version": 1}),
        msgspec.msgpack.encode({"version": 1, "state": {"nodes": 7}}),
        msgspec.msgpack.encode([1]),
    ],
)
def test_a_snapshot_that_cannot_be_read_is_refused(state: bytes) -> None:
    """Never taken for an empty state."""
    with pytest.raises(ValueError, match="snapshot"):
        MetadataMachine().restore(state)


names = st.sampled_from(["a", "b", "c"])
nodes = st.sampled_from(["n1", "n2", "n3", "n4"])
any_command = st.one_of(
    st.builds(register, nodes, st.sampled_from(["i1", "i2"]), st.sampled_from([(1, 1), (1, 7), (2, 7)])),
    st.builds(RaiseLevel, st.integers(0, 7)),
    st.builds(
        lambda name, rows: CreateTopic(name, 2, TopicConfig(), rows),
        names,
        st.lists(st.lists(nodes, min_size=1, max_size=3), max_size=3),
    ),
    st.builds(
        AlterTopic,
        names,
        st.integers(1, 4),
        st.dictionaries(st.sampled_from(["retention_ms"]), st.integers(-1, 9)),
    ),
    st.builds(DeleteTopic, names, st.integers(1, 4)),
    st.builds(FormCluster, st.sampled_from(["f1", "f2"])),
    st.builds(ForgetNode, nodes, st.dictionaries(st.integers(1, 6), nodes, max_size=3)),
)


@given(st.lists(any_command, max_size=30), st.integers(0, 30), st.integers(0, 7))
def test_replicas_agree_whatever_way_they_got_there(history: list[Command], cut: int, overlap: int) -> None:
    """A node that starts from a snapshot and sees some commands again equals one that applied them all."""
    whole = machine_after(*history, levels=UP_TO_7)
    cut = min(cut, len(history))
    later = MetadataMachine(UP_TO_7)
    later.restore(machine_after(*history[:cut], levels=UP_TO_7).snapshot())
    start = max(0, cut - overlap)
    for index, command in enumerate(history[start:], start=start + 2):
        later.apply(frame(index, commands.encode(command)))
    assert later.snapshot() == whole.snapshot()
    groups = [entry.raft_group for topic in whole.state.topics.values() for entry in topic.partitions]
    assert len(groups) == len(set(groups))
    assert all(0 < group < whole.state.next_raft_group for group in groups)
    for topic in whole.state.topics.values():
        for entry in topic.partitions:
            assert 1 <= len(set(entry.replicas)) == len(entry.incarnations) <= topic.replication_factor
            assert set(entry.replicas) <= whole.state.nodes.keys()


@given(st.lists(any_command | st.builds(Paint, names), max_size=30))
def test_an_older_build_stops_where_a_newer_one_goes_on(history: list[Command]) -> None:
    """Its state is the newer one's as of before the first command that it does not know, never another."""
    payloads = [commands.encode(command) for command in history]
    levels = dataclasses.replace(NEWER_BUILD, highest=8)
    older, newer = MetadataMachine(), MetadataMachine(levels)
    before = newer.snapshot()
    for index, (payload, command) in enumerate(zip(payloads, history, strict=True), start=2):
        older.apply(frame(index, payload))
        newer.apply(frame(index, payload))
        if isinstance(command, Paint) or newer.state.level > THIS_BUILD.highest:
            assert older.halted is not None
        if older.halted is None:
            before = newer.snapshot()
    assert older.snapshot() == before
    assert newer.halted is None


def test_the_feature_level_rises_to_what_every_node_knows_and_never_falls() -> None:
    """Who does not know it is named; the present one is fine."""
    machine = machine_after(register("n1", levels=(1, 3)), register("n2", levels=(1, 2)), levels=UP_TO_7)

    def outcome(index: int, level: int) -> object:
        machine.apply(frame(index, commands.encode(RaiseLevel(level))))
        return machine.outcome(index)

    assert outcome(4, 1) == 1
    refused = outcome(5, 3)
    assert isinstance(refused, Conflict)
    assert "n2 knows feature levels 1 to 2, not 3" in refused.detail
    assert (outcome(6, 2), machine.state.level) == (2, 2)
    machine.apply(frame(7, commands.encode(register("n2", levels=(3, 7)))))
    assert outcome(8, 2) == 2, "nothing is changed, whoever does not know it"
    refused = outcome(9, 1)
    assert isinstance(refused, Conflict)
    assert "never lowered" in refused.detail
    assert machine.state.level == 2


def test_an_older_build_stops_where_the_level_is_raised_above_what_it_knows() -> None:
    """At the command, and at a snapshot from behind it; not where the level cannot be raised anyway."""
    nodes_of_another_build = [register("n1", levels=(1, 7))]
    older = machine_after(
        *nodes_of_another_build, RaiseLevel(8), register("n2", levels=(1, 7)), RaiseLevel(7)
    )
    newer = machine_after(*nodes_of_another_build, RaiseLevel(7), levels=UP_TO_7)
    assert isinstance(older.outcome(3), Conflict)
    assert older.halted == (
        "metadata entry 5 is command 'raise_level' to level 7, which this build does not know: "
        "start a newer Floodmark"
    )
    machine = MetadataMachine()
    machine.restore(newer.snapshot())
    assert machine.halted == (
        "the metadata snapshot has feature level 7, and this build knows 1 to 6: start a newer Floodmark"
    )
    assert machine.snapshot() == newer.snapshot()


def test_a_snapshot_without_a_level_is_of_level_1() -> None:
    """As builds before levels wrote it, without what nodes know either."""
    raw = msgspec.msgpack.decode(machine_after(*NODES).snapshot())
    del raw["state"]["level"]
    for node in raw["state"]["nodes"].values():
        del node["levels"]
    machine = MetadataMachine()
    machine.restore(msgspec.msgpack.encode(raw))
    assert (machine.state.level, machine.state.nodes["n1"].levels) == (1, (1, 1))


def test_a_setting_of_a_later_level_is_not_written_down_before() -> None:
    """Older builds read what is written until the level is raised: neither commands nor snapshots name it."""
    later = dataclasses.replace(
        THIS_BUILD, highest=2, settings={**THIS_BUILD.settings, "segment_bytes": 2, "retention_ms": 2}
    )
    without = later.later_settings(1)
    assert without == ["retention_ms", "segment_bytes"]
    payload = commands.encode(create("a", ["n1"]), later_settings=without)
    assert set(msgspec.msgpack.decode(payload)["config"]) == {"retention_bytes", "max_record_bytes"}
    assert commands.decode(payload) == create("a", ["n1"])
    machine = machine_after(register("n1", levels=(1, 2)), create("a", ["n1"]), levels=later)

    def stored() -> set[str]:
        return set(msgspec.msgpack.decode(machine.snapshot())["state"]["topics"]["a"]["config"])

    assert stored() == {"retention_bytes", "max_record_bytes"}
    machine.apply(frame(4, commands.encode(RaiseLevel(2))))
    assert stored() == CONFIG_FIELDS
    assert dict.fromkeys(needed for needed, _ in commands.needs(create("a", ["n1"]), later)) == {1: None}
    altered = AlterTopic("a", 1, {"retention_ms": None})
    assert (2, "setting retention_ms") in commands.needs(altered, later)
    with_segments = CreateTopic("b", 1, TopicConfig(segment_bytes=5_000), [["n1"]])
    assert (2, "setting segment_bytes") in commands.needs(with_segments, later)


def test_a_cluster_is_named_once() -> None:
    """The first name stays."""
    assert machine_after(FormCluster("f1"), FormCluster("f2")).state.formation == "f1"


def test_a_forgotten_node_leaves_its_replicas_to_others() -> None:
    """Each replacement begins as one that has lost everything; without one there is a replica less."""
    machine = machine_after(
        *NODES,
        register("n4"),
        create("a", ["n4", "n1"], ["n1", "n2"]),
        create("b", ["n2", "n4"]),
        create("c", ["n4"]),
    )
    machine.apply(frame(9, commands.encode(ForgetNode("n4", {1: "n3"}))))
    assert isinstance(machine.outcome(9), Conflict)
    assert "n4" in machine.state.nodes
    machine.apply(frame(10, commands.encode(DeleteTopic("c", 3))))
    machine.apply(frame(11, commands.encode(ForgetNode("n4", {1: "n3", 3: "n9"}))))
    a, b = machine.state.topics["a"], machine.state.topics["b"]
    assert [entry.replicas for entry in a.partitions] == [("n1", "n3"), ("n1", "n2")]
    assert a.partitions[0].incarnations == ("i1", "")
    assert (b.partitions[0].replicas, a.replication_factor, b.replication_factor) == (("n2",), 2, 1)
    assert sorted(machine.state.nodes) == ["n1", "n2", "n3"]
