"""What is planned for nodes that go for good, and what is refused, by the metadata alone."""

from __future__ import annotations

import random

import pytest
from floodmark.errors import Conflict, InvalidRequest, NotFound

from node.control.retiring import check_places
from node.metadata import commands
from node.metadata.command import Command
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.moves import MoveReplicas, Reassignment
from node.metadata.domains.nodes import RegisterNode, RemoveNode
from node.metadata.domains.recoveries import RecordRecovery
from node.metadata.domains.shape import DrainNode, RetireNode, UndrainNode
from node.metadata.levels import MEMBERSHIP
from node.metadata.machine import MetadataMachine
from node.planning.plan import Nodes, next_moves
from tests.node.test_member_commands import Cluster
from tests.node.test_metadata_state import create, frame
from tests.node.test_planning import RACKS
from tests.node.test_planning import Cluster as LargeCluster


def _machine(racks: dict[str, str], *assignments: list[str]) -> MetadataMachine:
    machine = MetadataMachine()
    given: list[Command] = [
        RegisterNode(name, f"http://{name}", f"{name}:1", "i", rack, (1, MEMBERSHIP))
        for name, rack in racks.items()
    ]
    for index, command in enumerate((*given, RaiseLevel(MEMBERSHIP), create("t", *assignments)), 2):
        machine.apply(frame(index, commands.encode(command)))
    return machine


def _planned(machine: MetadataMachine, retire: RetireNode, nodes: Nodes) -> list[list[str]]:
    machine.apply(frame(machine.state.applied_index + 1, commands.encode(retire)))
    assert retire.node_id in machine.state.retiring
    moves = [change for command in next_moves(machine.state, nodes) for change in command.moves]
    return [change.replicas for change in moves]


def test_by_force_replicas_without_another_place_go_all_the_same() -> None:
    """But for the last one of a partition, and not while a node that is there has only not said anything."""
    racks = dict.fromkeys(("n1", "n2", "n3"), "")
    placed = (["n3", "n1", "n2"], ["n1", "n2", "n3"])
    moves = _planned(_machine(racks, *placed), RetireNode("n3"), Nodes(racks))
    assert moves == [["n2", "n1"], ["n1", "n2"]], "and each leads one"
    racks["n4"] = ""
    moves = _planned(_machine(racks, *placed), RetireNode("n3"), Nodes(["n1", "n2", "n4"]))
    assert sorted(sorted(replicas) for replicas in moves) == [["n1", "n2", "n4"]] * 2
    unsaid = Nodes(["n1", "n2"], unsaid={"n4"})
    moves = _planned(_machine(racks, *placed), RetireNode("n3"), unsaid)
    assert [sorted(replicas) for replicas in moves] == [["n1", "n2", "n3"]], "it only leads no more"
    assert _planned(_machine(racks, ["n3"], ["n3"]), RetireNode("n3"), Nodes(["n3"])) == []


def test_the_heir_gets_what_the_other_had_and_is_waited_for() -> None:
    """Whoever else has room; and where it has a replica itself the other one finds a place as ever."""
    racks = dict.fromkeys(("n1", "n2", "n3", "n4", "n5"), "")
    placed = (["n3", "n1", "n2"], ["n1", "n2", "n3"], ["n1", "n4", "n3"])
    everybody = ["n1", "n2", "n4", "n5"]
    moves = _planned(_machine(racks, *placed), RetireNode("n3", "n4"), Nodes(everybody))
    assert [sorted(replicas) for replicas in moves[:2]] == [["n1", "n2", "n4"]] * 2
    assert sorted(moves[2]) in (["n1", "n2", "n4"], ["n1", "n4", "n5"])
    moves = _planned(_machine(racks, *placed), RetireNode("n3", "n4"), Nodes(["n1", "n2", "n5"]))
    moves = [sorted(replicas) for replicas in moves]
    assert moves == [["n1", "n2", "n3"], ["n1", "n4", "n5"]], "what the heir is to have waits for it"


@pytest.mark.parametrize("seed", range(3))
def test_five_hundred_partitions_are_inherited_whatever_is_lost_on_the_way(seed: int) -> None:
    """Every step of every group as it is; the dead node is removed when nothing is on it."""
    cluster = LargeCluster(random.Random(seed), 500, [name for name in RACKS if name != "n9"])
    held = [set(entry.replicas) for _, entry in cluster.state.partitions()]
    cluster.alive.discard("n6")
    cluster.do(RetireNode("n6", "n9"))
    for _ in range(500):
        cluster.round()
        if not any("n6" in entry.replicas for _, entry in cluster.state.partitions()):
            break
    now = [set(entry.replicas) for _, entry in cluster.state.partitions()]
    assert now == [{"n9" if node == "n6" else node for node in replicas} for replicas in held]
    assert isinstance(cluster.do(RemoveNode("n9")), Conflict), "it takes a place as long as that is there"
    cluster.do(RemoveNode("n6"))
    assert (cluster.state.retiring, cluster.state.draining) == ({}, {})


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    """By the metadata themselves: whoever asked may have known an older state of them."""
    cluster = Cluster()
    cluster.refused(RetireNode("n9"), "knows no node n9", NotFound)
    cluster.refused(RetireNode("n1", "n9"), "n9 is not a node of the cluster")
    cluster.refused(RetireNode("n1", "n1"), "cannot take its own place", InvalidRequest)
    cluster.do(DrainNode("n3"))
    cluster.refused(RetireNode("n1", "n3"), "n3 is being drained")
    cluster.do(UndrainNode("n3"))
    cluster.do(RetireNode("n1", "n3"))
    state = cluster.machine.state
    assert (state.retiring, set(state.draining)) == ({"n1": "n3"}, {"n1"})
    cluster.do(RetireNode("n1", "n3"))
    cluster.refused(RetireNode("n1", "n2"), "n3 takes the place of n1 already")
    cluster.refused(RetireNode("n1"), "n3 takes the place of n1 already")
    cluster.refused(DrainNode("n3"), "n3 takes the place of n1")
    cluster.refused(RemoveNode("n3"), "n3 takes the place of n1")
    other = MetadataMachine()
    other.restore(cluster.machine.snapshot())
    assert other.state == state
    cluster.do(UndrainNode("n1"))
    assert (state.retiring, state.draining) == ({}, {})
    for name in ("n2", "n3"):
        cluster.do(DrainNode(name))
    cluster.refused(RetireNode("n1"), "there is no node that takes replicas")
    Cluster(level=2).refused(RetireNode("n1"), "feature level 3")


def test_a_place_in_another_rack_is_refused_where_racks_would_be_fewer() -> None:
    """By partition; and so is a node that has a replica itself where no other one is free."""
    racks = {"n1": "a", "n2": "b", "n3": "c", "n4": "c", "n5": "a"}
    machine = _machine(racks, ["n3", "n1", "n2"])
    check_places(machine.state, "n3", "n4")
    with pytest.raises(Conflict, match=r"1 partitions of n3, t/0 for one, would be in fewer racks with n5"):
        check_places(machine.state, "n3", "n5")
    check_places(machine.state, "n3", "n1")
    for number, name in enumerate(("n4", "n5"), machine.state.applied_index + 1):
        machine.apply(frame(number, commands.encode(DrainNode(name))))
    with pytest.raises(Conflict, match="let one more node join"):
        check_places(machine.state, "n3", "n1")
    move = MoveReplicas([Reassignment(1, ["n3", "n1", "n2"], ["n4", "n1", "n2"])])
    machine.apply(frame(machine.state.applied_index + 1, commands.encode(move)))
    check_places(machine.state, "n3", "n1")  # Nothing of it is to stay there anyway.


def test_after_a_recovery_nobody_waits_for_an_heir_that_was_lost() -> None:
    """The other one is drained still; one that was lost itself is gone from all of it."""
    cluster = Cluster()
    cluster.do(RetireNode("n1", "n3"))
    assert cluster.do(RecordRecovery(1, "r", 0, ["n3"], {}, {}, [])) == 1
    state = cluster.machine.state
    assert (state.retiring, set(state.draining)) == ({}, {"n1"})
    cluster.do(RetireNode("n1", "n2"))
    assert cluster.do(RecordRecovery(2, "s", 0, ["n1"], {1: ["n2"]}, {}, [])) == 2
    assert (state.retiring, state.draining, set(state.nodes)) == ({}, {}, {"n2"})
