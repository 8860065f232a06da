"""Which nodes form a cluster, and what happens when those that are none meet. Real folders, no sockets."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from consensus.links.link_types import Reception
from node.membership.formation import digest, named
from node.membership.identity import Standing
from tests.node.test_discovery import NODES, Member, dial, meet

REFUSED = (Reception.REFUSED, Reception.REFUSED)


def formed(folder: Path, nodes: list[str], name: str) -> dict[str, Member]:
    """A cluster as it is once its metadata have a leader."""
    members = {node: Member(folder / node, node, nodes) for node in nodes}
    for one in members.values():
        for other in members.values():
            if one is not other:
                dial(one, other)
    for member in members.values():
        assert member.discovery.standing is Standing.MEMBER
        member.discovery.settle()
        member.discovery.own.formed(name, member.discovery.nodes)
    return members


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_nothing_forms_around_a_node_that_holds_data(tmp_path: Path, size: int, restarted: bool) -> None:
    """A cluster of one is given more peers, in its own settings too or not: all say why."""
    nodes = [f"n{number}" for number in range(1, size + 1)]
    alone = formed(tmp_path, ["n1"], "one")["n1"]
    if restarted:
        alone = alone.restarted(nodes)
        assert alone.discovery.misplaced is not None
        assert alone.discovery.obstacles == [alone.discovery.misplaced]
        assert "formed of n1, and cluster.peers names n1, n2" in alone.discovery.misplaced
    empty = [Member(tmp_path / node, node, nodes) for node in nodes[1:]]
    for one in empty:
        for other in empty:
            if one is not other:
                assert dial(one, other) == (Reception.WELCOME, Reception.WELCOME)
    for one in empty:
        assert dial(one, alone) == REFUSED
        assert dial(alone, one) == REFUSED
        assert not one.discovery.decided.is_set()
        assert one.discovery.unheard == ["n1"]
        assert "n1 holds data of a cluster formed of n1" in one.discovery.refusals[0]
    assert len(alone.discovery.refusals) == size - 1
    assert "n2 is not one of the nodes that this cluster was formed of (n1)" in alone.discovery.refusals[0]
    assert [*alone.discovery.nodes] == ["n1"]
    assert alone.registry.peers == {}


@pytest.mark.parametrize("nodes", [["n1"], ["n1", "n2"], ["n1", "n2", "n3", "n4"], ["n1", "n8", "n9"]])
def test_a_folder_with_data_runs_with_the_peers_that_it_was_formed_with_only(
    tmp_path: Path, nodes: list[str]
) -> None:
    """Fewer, more or others: it takes part in nothing, and says what to put back; the right ones mend it."""
    member = formed(tmp_path, NODES, "three")["n1"]
    elsewhere = member.restarted(nodes)
    assert elsewhere.discovery.obstacles == [elsewhere.discovery.misplaced]
    assert "formed of n1, n2, n3" in str(elsewhere.discovery.misplaced)
    assert elsewhere.restarted().discovery.misplaced is None


def test_a_fourth_node_is_refused_by_the_three_and_says_so(tmp_path: Path) -> None:
    """It is never registered, whatever it says that its peers are."""
    members = formed(tmp_path, NODES, "three")
    fourth = Member(tmp_path / "n4", "n4", [*NODES, "n4"])
    for member in members.values():
        assert dial(fourth, member) == REFUSED
        assert "n4" not in member.discovery.nodes
        assert "n4 is not one of the nodes" in member.discovery.refusals[0]
    assert fourth.discovery.standing is Standing.NEW
    assert len(fourth.discovery.refusals) == 3
    # One that claims to be of the three: only its name is wrong.
    said = msgspec.msgpack.decode(fourth.discovery.announce("n1"))
    said[8] = digest(NODES)
    assert members["n1"].discovery.heard("n4", msgspec.msgpack.encode(said)) is Reception.REFUSED
    fresh = Member(tmp_path / "n9", "n1")
    assert fresh.discovery.heard("n4", msgspec.msgpack.encode(said)) is Reception.REFUSED


def test_empty_nodes_with_different_peers_do_not_form(tmp_path: Path) -> None:
    """Both sides say which lists differ; once they are the same, the cluster forms."""
    one, other = (
        Member(tmp_path / "n1", "n1", ["n1", "n2"]),
        Member(tmp_path / "n2", "n2", ["n1", "n2", "n3"]),
    )
    assert dial(one, other) == REFUSED
    assert "cluster.peers of n2 names n1, n2, n3, and that of this node n1, n2" in one.discovery.refusals[0]
    assert "cluster.peers of n1 names n1, n2, and that of this node n1, n2, n3" in other.discovery.refusals[0]
    other = other.restarted(["n1", "n2"])
    meet(one, other)
    assert one.discovery.standing is other.discovery.standing is Standing.MEMBER
    assert one.discovery.refusals == other.discovery.refusals == []


def test_two_clusters_of_the_same_names_never_become_one(tmp_path: Path) -> None:
    """Same secret, ids and peers, other data: told apart by name, and before there is one."""
    ours, theirs = formed(tmp_path / "a", NODES, "ours"), formed(tmp_path / "b", NODES, "theirs")
    assert dial(ours["n1"], theirs["n2"]) == REFUSED
    assert "holds data of another cluster" in ours["n1"].discovery.refusals[0]
    early, late = formed(tmp_path / "c", NODES, ""), formed(tmp_path / "d", NODES, "")
    assert dial(early["n1"], late["n2"]) == REFUSED
    # A replaced folder joins one of them, and has nothing to do with the other.
    wiped = Member(tmp_path / "new", "n3")
    assert dial(wiped, ours["n1"]) == (Reception.WELCOME, Reception.WELCOME)
    assert wiped.discovery.standing is Standing.WIPED
    assert dial(wiped, theirs["n2"]) == REFUSED
    wiped.discovery.settle()
    assert wiped.restarted().identity.formation == "ours"


def test_a_replaced_folder_is_taken_in_by_a_formed_cluster(tmp_path: Path) -> None:
    """One of the nodes comes back empty: it is welcome, and knows that it was there before."""
    members = formed(tmp_path, NODES, "three")
    wiped = members["n3"].restarted(folder=tmp_path / "empty")
    assert dial(wiped, members["n1"]) == (Reception.WELCOME, Reception.WELCOME)
    assert wiped.discovery.standing is Standing.WIPED
    assert members["n1"].discovery.nodes["n3"].incarnation == wiped.identity.incarnation


def test_the_formation_is_named_once_and_kept(tmp_path: Path) -> None:
    """node.json has the nodes and the name from then on; another name changes nothing."""
    member = formed(tmp_path, ["n1"], "first")["n1"]
    member.discovery.own.formed("second", member.discovery.nodes)
    told = json.loads((tmp_path / "n1" / "node.json").read_text())
    assert (told["standing"], told["nodes"], told["formation"]) == ("member", ["n1"], "first")


def test_an_old_copy_of_a_folder_is_recognised(tmp_path: Path) -> None:
    """A boot number that a peer has met before: it is told, and refused. A restart is not."""
    members = formed(tmp_path, NODES, "three")
    n1, n2 = members["n1"], members["n2"]
    before = {path.name: path.read_bytes() for path in (tmp_path / "n2").iterdir() if path.is_file()}
    for _ in range(3):
        n2 = n2.restarted()
        meet(n1, n2)
        assert (n1.set_back, n2.set_back) == (0, 0)
        assert dial(n2, n1) == (Reception.WELCOME, Reception.WELCOME)  # the same process again
    n1 = n1.restarted()  # what it has met is on its disk
    for name, content in before.items():
        (tmp_path / "n2" / name).write_bytes(content)
    old = n2.restarted()
    assert old.identity.boot == 2
    assert n1.discovery.heard("n2", old.discovery.announce("n1")) is Reception.REFUSED
    assert old.discovery.heard("n1", n1.discovery.answer("n2")) is Reception.REFUSED
    assert old.set_back == 1
    assert not old.discovery.answered.is_set()


def test_a_folder_that_was_replaced_and_comes_back_is_an_old_copy(tmp_path: Path) -> None:
    """The old disk is found again: what the node promised on the new one is not on it."""
    members = formed(tmp_path, NODES, "three")
    wiped = members["n3"].restarted(folder=tmp_path / "empty")
    meet(wiped, members["n1"])
    wiped.registry.close()
    back = Member(tmp_path / "n3", "n3")
    dial(back, members["n1"])
    assert back.set_back == 1
    meet(Member(tmp_path / "empty", "n3"), members["n1"])


def test_who_starts_waits_for_all_answers(tmp_path: Path) -> None:
    """What a peer says when it dials is no answer; what it says when it is dialled is one."""
    members = formed(tmp_path, NODES, "three")
    again = members["n1"].restarted()
    dial(members["n2"], again)
    dial(members["n3"], again)
    assert not again.discovery.answered.is_set()
    assert again.discovery.obstacles == [
        "waiting a moment for n2, n3 to say whether this data folder is an old copy"
    ]
    dial(again, members["n2"])
    assert not again.discovery.answered.is_set()
    dial(again, members["n3"])
    assert again.discovery.answered.is_set()
    again.discovery.settle()
    assert again.discovery.obstacles == []


def test_many_and_long_names_fit_an_announcement(tmp_path: Path) -> None:
    """At most 512 bytes travel, however many nodes there are."""
    nodes = [f"{'n' * 60}{number:04}" for number in range(100)]
    member = Member(tmp_path, nodes[0], nodes)
    member.discovery.introduce(http="h" * 196, peer="p", rack="r" * 64)
    assert len(member.discovery.announce(nodes[1])) <= 512
    assert len(named(nodes)) <= 120
    assert named(["b", "a"]) == "a, b"
