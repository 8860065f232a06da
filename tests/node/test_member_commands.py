"""Nodes that come and go in the cluster's description: who may, and what stays of one that has gone."""

from __future__ import annotations

from typing import Any

import msgspec
from floodmark.errors import Conflict, FloodmarkError, NotFound

from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.moves import MoveReplicas, Reassignment, StartMoves
from node.metadata.domains.nodes import ForgetNode, JoinNode, RegisterNode, RemoveNode
from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.metadata.state import NodeEntry
from node.metadata.this_build import THIS_BUILD
from tests.node.test_metadata_state import create, frame

KNOWS = (1, THIS_BUILD.highest)


def joining(name: str, incarnation: str = "i", levels: tuple[int, int] = KNOWS) -> JoinNode:
    """A node that asks to come."""
    return JoinNode(name, f"http://{name}", f"{name}:1", incarnation, "r", levels)


class Cluster:
    """A machine with three nodes and a topic on the first two of them."""

    def __init__(self, level: int = MEMBERSHIP) -> None:
        self.machine = MetadataMachine()
        self.index = 1
        for name in ("n2", "n1", "n3"):
            self.do(RegisterNode(name, f"http://{name}", f"{name}:1", f"i-{name}", levels=KNOWS))
        self.do(create("t", ["n1", "n2"]))
        self.do(RaiseLevel(level))

    def do(self, command: Command) -> Any:
        """Apply it, as every node does from what it reads."""
        self.index += 1
        self.machine.apply(frame(self.index, commands.encode(command)))
        return self.machine.outcome(self.index)

    def refused(self, command: Command, words: str, kind: type[FloodmarkError] = Conflict) -> None:
        """It changes nothing, and says why."""
        before = msgspec.to_builtins(self.machine.state)
        outcome = self.do(command)
        assert isinstance(outcome, kind), outcome
        assert words in outcome.detail
        before["applied_index"] = self.index
        assert msgspec.to_builtins(self.machine.state) == before


def test_a_node_comes_and_goes_and_its_id_never_returns() -> None:
    """Nor does its number; whoever comes then has the next one. A snapshot has all of it."""
    cluster = Cluster()
    state = cluster.machine.state
    assert state.node_numbers == {"n1": 1, "n2": 2, "n3": 3}
    assert cluster.do(joining("n0")) == NodeEntry("n0", "http://n0", "n0:1", "i", "r", KNOWS)
    cluster.refused(joining("n0"), "has a node n0 already")
    assert cluster.do(RemoveNode("n0")).node_id == "n0"
    cluster.refused(joining("n0", "another folder"), "its id never returns")
    cluster.refused(RegisterNode("n0", "h", "p", "i", levels=KNOWS), "not one of the cluster's nodes")
    cluster.refused(RemoveNode("n0"), "knows no node n0", NotFound)
    cluster.do(joining("n4"))
    assert state.node_numbers == {"n1": 1, "n2": 2, "n3": 3, "n0": 4, "n4": 5}
    assert state.removed == {"n0": "i"}
    assert sorted(state.nodes) == ["n1", "n2", "n3", "n4"]
    other = MetadataMachine()
    other.restore(cluster.machine.snapshot())
    assert other.state == state


def test_a_node_that_has_replicas_does_not_go() -> None:
    """Nor one to which some are on their way, or that is the only one."""
    cluster = Cluster()
    cluster.refused(RemoveNode("n1"), "n1 has replicas of t/0: move them first")
    cluster.do(MoveReplicas([Reassignment(1, ["n1", "n2"], ["n1", "n3"])]))
    for move in (0, cluster.machine.state.moves[1].number):
        cluster.do(StartMoves({1: move}))
        for name in ("n2", "n3"):
            cluster.refused(RemoveNode(name), f"{name} has replicas of t/0")
    alone = MetadataMachine()
    for index, command in enumerate(
        (RegisterNode("n1", "h", "p", "i", levels=KNOWS), RaiseLevel(3), RemoveNode("n1")), 2
    ):
        alone.apply(frame(index, commands.encode(command)))
    assert isinstance(alone.outcome(4), Conflict)


def test_below_the_level_nobody_comes_or_goes_that_way() -> None:
    """Nodes are registered and forgotten as ever, and nothing of the later level is written."""
    cluster = Cluster(level=2)
    cluster.refused(joining("n4"), "needs feature level 3")
    cluster.refused(RemoveNode("n3"), "needs feature level 3")
    cluster.do(RegisterNode("n4", "h", "p", "i", levels=KNOWS))
    cluster.do(ForgetNode("n4"))
    assert sorted(cluster.machine.state.nodes) == ["n1", "n2", "n3"]
    written = msgspec.msgpack.decode(cluster.machine.snapshot())["state"]
    assert not {"removed", "node_numbers"} & written.keys()
    cluster.do(RaiseLevel(3))
    assert cluster.machine.state.node_numbers == {"n1": 1, "n2": 2, "n3": 3}
    cluster.refused(ForgetNode("n3"), "is one of the cluster's nodes")
    assert {"removed", "node_numbers"} <= msgspec.msgpack.decode(cluster.machine.snapshot())["state"].keys()


def test_a_build_that_does_not_know_the_level_does_not_come() -> None:
    """It could not read what the cluster writes."""
    Cluster().refused(joining("n4", levels=(1, 2)), "n4 knows feature levels 1 to 2, and the cluster is at 3")
