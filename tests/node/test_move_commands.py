"""Moves of replicas in the cluster's description: who is to have one, and which commands are of the past."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from floodmark.errors import Conflict, FloodmarkError, InvalidRequest
from hypothesis import given
from hypothesis import strategies as st

from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.moves import CancelMoves, FinishMoves, MoveReplicas, Reassignment, StartMoves
from node.metadata.domains.nodes import RegisterNode, RemoveNode
from node.metadata.domains.topics import DeleteTopic
from node.metadata.holders import holders, wanted
from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.metadata.state import Move, PartitionEntry
from node.metadata.this_build import THIS_BUILD
from node.replicas.wanted import gone, wanted_here
from tests.node.test_metadata_state import create, frame

KNOWS = (1, THIS_BUILD.highest)
NAMES = ["n1", "n2", "n3", "n4", "n5"]


class Cluster:
    """A machine with five nodes and a topic of two partitions, groups 1 and 2, on three of them."""

    def __init__(self, level: int = MEMBERSHIP) -> None:
        self.machine = MetadataMachine()
        self.index = 1
        for name in NAMES:
            self.do(RegisterNode(name, f"http://{name}", f"{name}:1", f"i-{name}", levels=KNOWS))
        self.do(create("t", ["n1", "n2", "n3"], ["n2", "n3", "n1"]))
        if level > 1:
            self.do(RaiseLevel(level))

    def do(self, command: Command) -> object:
        """Apply it, as every node does from what it reads."""
        self.index += 1
        self.machine.apply(frame(self.index, commands.encode(command)))
        return self.machine.outcome(self.index)

    def entry(self, group: int = 1) -> PartitionEntry:
        """One partition."""
        return self.machine.state.topics["t"].partitions[group - 1]

    def move(self, group: int = 1) -> Move | None:
        """Its move."""
        return self.machine.state.moves.get(group)

    def to(self, *replicas: str, group: int = 1) -> object:
        """Move a partition there from wherever it is."""
        move = self.move(group)
        change = Reassignment(
            group, list(self.entry(group).replicas), list(replicas), move.number if move else 0
        )
        return self.do(MoveReplicas([change]))

    def here(self, node: str) -> set[int]:
        """The groups of which a node has a replica."""
        return {group for group, _ in wanted_here(self.machine.state, node)}


def test_both_have_a_replica_from_the_start_of_a_move_to_its_end() -> None:
    """A queued move changes nothing; when it is finished the new ones have the partition and the old none."""
    cluster = Cluster()
    assert cluster.to("n4", "n2", "n3") == 1
    assert cluster.move() == Move(1, ("n4", "n2", "n3"))
    assert (cluster.here("n4"), wanted(cluster.entry(), cluster.move())) == (set(), ("n1", "n2", "n3"))
    assert cluster.do(FinishMoves({1: 1})) == 0, "it has not begun"
    assert cluster.do(StartMoves({1: 1, 2: 1})) == 1
    assert wanted(cluster.entry(), cluster.move()) == ("n4", "n2", "n3")
    assert cluster.here("n4") == {1}
    assert cluster.here("n1") == {1, 2}
    assert holders(cluster.entry(), cluster.move()) == ("n1", "n2", "n3", "n4")
    assert cluster.do(FinishMoves({1: 1})) == 1
    assert cluster.move() is None
    assert cluster.entry().replicas == ("n4", "n2", "n3")
    assert (cluster.here("n1"), cluster.here("n4")) == ({2}, {1})
    assert gone({1, 2}, cluster.here("n1"), cluster.machine.state) == {1}


def test_a_replica_that_came_counts_as_lost_where_its_folder_is_not_whole() -> None:
    """Only the folders of those who were there from the first may be new without having lost anything."""
    cluster = Cluster()
    cluster.to("n4", "n2", "n3")
    cluster.do(StartMoves({1: 1}))
    assert cluster.entry().incarnation_of("n4") == ""
    cluster.do(FinishMoves({1: 1}))
    assert cluster.entry().incarnations == ("", "i-n2", "i-n3")


def test_whoever_means_another_state_is_refused_and_nothing_of_it_is_done() -> None:
    """Two operators, or two controllers: the second one's moves, all of them, come to nothing."""
    cluster = Cluster()
    first = MoveReplicas([Reassignment(1, ["n1", "n2", "n3"], ["n4", "n2", "n3"])])
    second = MoveReplicas(
        [
            Reassignment(2, ["n2", "n3", "n1"], ["n5", "n3", "n1"]),
            Reassignment(1, ["n1", "n2", "n3"], ["n5", "n2", "n3"]),
        ]
    )
    assert cluster.do(first) == 1
    refused = cluster.do(second)
    assert isinstance(refused, Conflict)
    assert "t/0 was moved meanwhile" in refused.detail
    assert cluster.machine.state.moves == {1: Move(1, ("n4", "n2", "n3"))}
    cluster.do(StartMoves({1: 1}))
    cluster.do(FinishMoves({1: 1}))
    assert isinstance(cluster.do(first), Conflict), "the replicas are others by now"
    # What is meant for a move that was changed since is passed over.
    cluster.to("n1", "n2", "n3")
    cluster.to("n5", "n2", "n3")
    assert (cluster.do(StartMoves({1: 2})), cluster.do(CancelMoves({1: 2}))) == (0, 0)
    assert cluster.do(StartMoves({1: 3})) == 1
    cluster.to("n1", "n2", "n3")
    assert cluster.do(FinishMoves({1: 3})) == 0
    assert cluster.move() is not None


def test_a_started_move_that_is_undone_goes_back_before_anything_is_deleted() -> None:
    """Where it was to go may have a replica by now: it is leaving, and keeps its data until the end."""
    cluster = Cluster()
    cluster.to("n4", "n5", "n3")
    cluster.do(StartMoves({1: 1}))
    assert cluster.do(CancelMoves({1: 1}, "no")) == 1
    assert cluster.move() == Move(2, ("n1", "n2", "n3"), "no", started=True, leaving=("n4", "n5"))
    assert cluster.here("n4") == {1}
    # Changed once more, to a third place: who was to come first is still leaving.
    cluster.to("n5", "n2", "n3")
    assert cluster.move() == Move(3, ("n5", "n2", "n3"), started=True, leaving=("n4",))
    cluster.do(CancelMoves({1: 3}))
    assert cluster.do(FinishMoves({1: 4})) == 1
    assert cluster.entry().replicas == ("n1", "n2", "n3")
    assert cluster.entry().incarnations == ("i-n1", "i-n2", "i-n3")
    assert cluster.here("n4") == cluster.here("n5") == set()


def test_moves_that_are_undone_are_numbered_in_the_order_of_their_partitions() -> None:
    """However the command lists them: every build gives the same numbers."""
    cluster = Cluster()
    cluster.do(create("a", ["n1", "n2"]))
    cluster.to("n4", "n2", "n3")
    cluster.to("n4", "n3", "n1", group=2)
    cluster.do(MoveReplicas([Reassignment(3, ["n1", "n2"], ["n4", "n2"])]))
    cluster.do(StartMoves({1: 1, 2: 2, 3: 3}))
    assert cluster.do(CancelMoves({3: 3, 2: 2, 1: 1})) == 3
    assert {group: move.number for group, move in cluster.machine.state.moves.items()} == {1: 4, 2: 5, 3: 6}


def test_a_queued_move_is_forgotten_and_another_order_needs_none() -> None:
    """Nothing has to be carried anywhere."""
    cluster = Cluster()
    cluster.to("n4", "n5", "n3")
    assert cluster.do(CancelMoves({1: 1})) == 1
    assert cluster.move() is None
    assert cluster.to("n1", "n2", "n3") == 0
    assert cluster.to("n3", "n1", "n2") == 1
    assert cluster.move() is None
    assert cluster.entry().replicas == ("n3", "n1", "n2")
    assert cluster.entry().incarnations == ("i-n3", "i-n1", "i-n2")
    both = [
        Reassignment(1, ["n3", "n1", "n2"], ["n1", "n2", "n3"]),
        Reassignment(2, ["n2", "n3", "n1"], ["n3", "n1", "n2"]),
    ]
    assert cluster.do(MoveReplicas(both)) == 2
    assert (cluster.entry(1).replicas[0], cluster.entry(2).replicas[0]) == ("n1", "n3")


@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        (Reassignment(1, ["n1", "n2", "n3"], []), InvalidRequest, "each node is named once"),
        (Reassignment(1, ["n1", "n2", "n3"], ["n4", "n4"]), InvalidRequest, "each node is named once"),
        (Reassignment(1, ["n1", "n2", "n3"], ["n9"]), Conflict, "n9 is not a node of the cluster"),
        (Reassignment(3, ["n1", "n2", "n3"], ["n4"]), Conflict, "no partition of group 3"),
        (Reassignment(1, ["n1", "n2", "n3"], ["n4"], 7), Conflict, "moved meanwhile"),
    ],
)
def test_what_cannot_be_is_refused(change: Reassignment, error: type[FloodmarkError], what: str) -> None:
    """With what is wrong; a partition that is named twice as well."""
    cluster = Cluster()
    before = cluster.machine.snapshot()
    refused = cluster.do(MoveReplicas([change]))
    assert isinstance(refused, error)
    assert what in refused.detail
    assert msgspec.msgpack.decode(cluster.machine.snapshot())["state"]["moves"] == {}
    twice = Reassignment(1, ["n1", "n2", "n3"], ["n4"])
    assert isinstance(cluster.do(MoveReplicas([twice, twice])), InvalidRequest)
    assert len(before) == len(cluster.machine.snapshot())


def test_moves_go_with_their_topic_and_keep_the_nodes_that_they_need() -> None:
    """A deleted topic has none; a node that replicas are on their way to is not removed."""
    cluster = Cluster()
    cluster.to("n4", "n2", "n3")
    assert isinstance(cluster.do(RemoveNode("n4")), Conflict)
    cluster.do(StartMoves({1: 1}))
    cluster.do(DeleteTopic("t", 1))
    assert cluster.machine.state.moves == {}
    assert cluster.here("n4") == set()
    assert not isinstance(cluster.do(RemoveNode("n4")), FloodmarkError)


def test_below_their_level_there_are_no_moves() -> None:
    """Neither in the state nor in what is written of it: builds of before read that."""
    cluster = Cluster(level=2)
    refused = cluster.to("n4", "n2", "n3")
    assert isinstance(refused, Conflict)
    assert "feature level 3" in refused.detail
    stored = msgspec.msgpack.decode(cluster.machine.snapshot())["state"]
    assert not {"moves", "next_move"} & stored.keys()
    older = MetadataMachine(dataclasses.replace(THIS_BUILD, highest=2))
    older.restore(cluster.machine.snapshot())
    assert older.halted is None


some_replicas = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)
numbers = st.dictionaries(st.integers(1, 2), st.integers(1, 9), max_size=2)
any_move = st.one_of(
    st.tuples(st.integers(1, 2), some_replicas),
    st.builds(StartMoves, numbers),
    st.builds(FinishMoves, numbers),
    st.builds(CancelMoves, numbers),
)


@given(st.lists(any_move, max_size=25), st.integers(0, 25))
def test_no_node_that_may_have_a_replica_is_left_out(
    steps: list[Command | tuple[int, list[str]]], cut: int
) -> None:
    """Whoever came to have a replica has one until a finish says that the members are others.

    And a node that starts from a snapshot in between comes to the same.
    """
    cluster = Cluster()
    later: MetadataMachine | None = None
    for number, step in enumerate(steps):
        before = {group: holders(cluster.entry(group), cluster.move(group)) for group in (1, 2)}
        targets = {group: wanted(cluster.entry(group), cluster.move(group)) for group in (1, 2)}
        if isinstance(step, tuple):
            cluster.to(*step[1], group=step[0])
        else:
            cluster.do(step)
        for group, had in before.items():
            has = holders(cluster.entry(group), cluster.move(group))
            assert set(has) >= set(had) or (isinstance(step, FinishMoves) and has == targets[group])
        if number == cut:
            later = MetadataMachine()
            later.restore(cluster.machine.snapshot())
        elif later is not None and not isinstance(step, tuple):
            later.apply(frame(cluster.index, commands.encode(step)))
        elif later is not None:
            later = None
    if later is not None:
        assert later.snapshot() == cluster.machine.snapshot()
