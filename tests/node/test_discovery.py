"""What nodes say of themselves, and how a replaced data folder is noticed."""

from __future__ import annotations

import dataclasses
import errno
import json
from functools import partial
from pathlib import Path

import pytest

from consensus.links.link_types import Reception
from node.membership.discovery import Discovery
from node.membership.formation import nodes_of
from node.membership.identity import NodeIdentity, Standing, load_or_create, save
from node.membership.registry import Registry
from node.metadata.domains.nodes import RegisterNode
from node.metadata.levels import Levels
from node.metadata.machine import applied
from node.metadata.state import MetadataState
from node.metadata.this_build import THIS_BUILD
from storage.filesystem import RealFileSystem

FS = RealFileSystem()
NODES = ["n1", "n2", "n3"]


class Member:
    """One node's part in the handshakes, over a real folder."""

    def __init__(
        self, folder: Path, node_id: str, nodes: list[str] = NODES, levels: Levels = THIS_BUILD
    ) -> None:
        self.folder = str(folder)
        self.identity: NodeIdentity = load_or_create(FS, self.folder, node_id=node_id, cluster_id="c")
        self.registry = Registry(FS, self.folder)
        self.changes = self.set_back = 0
        self.discovery = Discovery(
            self.identity,
            self.registry,
            initial_nodes=nodes,
            nodes=nodes_of(FS, self.folder, self.identity, self.registry),
            keep=partial(save, FS, self.folder),
            levels=levels,
        )
        self.discovery.set_back.follow(self._set_back)
        self.discovery.changed.follow(self._changed)
        self.discovery.introduce(http=f"http://{node_id}", peer=f"{node_id}:1", rack="r")

    def _changed(self) -> None:
        self.changes += 1

    def _set_back(self) -> None:
        self.set_back += 1

    def restarted(
        self, nodes: list[str] = NODES, *, folder: Path | None = None, levels: Levels = THIS_BUILD
    ) -> Member:
        """Another process on the same folder, or on another one; perhaps of another build."""
        self.registry.close()
        return Member(folder or Path(self.folder), self.identity.node_id, nodes, levels)


def dial(one: Member, other: Member) -> tuple[Reception, Reception | None]:
    """A connection that ``one`` makes: what each side makes of the other."""
    names = one.identity.node_id, other.identity.node_id
    heard = other.discovery.heard(names[0], one.discovery.announce(names[1]))
    if heard is Reception.UNKEPT:
        return heard, None
    return heard, one.discovery.heard(names[1], other.discovery.answer(names[0]))


def meet(one: Member, other: Member) -> None:
    """Connections both ways."""
    dial(one, other)
    dial(other, one)


def test_a_new_cluster_decides_once_everybody_was_heard(tmp_path: Path) -> None:
    """Not before: the missing one might know better."""
    n1, n2, n3 = (Member(tmp_path / name, name) for name in NODES)
    meet(n1, n2)
    assert not n1.discovery.decided.is_set()
    assert n1.discovery.unheard == ["n3"]
    meet(n3, n1)
    assert n1.discovery.decided.is_set()
    assert n1.discovery.standing is Standing.MEMBER
    assert n2.discovery.standing is Standing.NEW


def test_a_disk_that_takes_nothing_puts_a_peer_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is believed that a restart would forget; said again when there is room, it counts."""
    n1, n2 = Member(tmp_path / "n1", "n1", ["n1", "n2"]), Member(tmp_path / "n2", "n2", ["n1", "n2"])
    said = n2.discovery.announce("n1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as harm:
        harm.setattr("node.membership.registry.write_all", full)
        assert n1.discovery.heard("n2", said) is Reception.UNKEPT
    assert not n1.discovery.decided.is_set()
    assert (n1.registry.peers, n1.discovery.unheard, n1.changes) == ({}, ["n2"], 0)
    assert n1.discovery.heard("n2", said) is Reception.WELCOME
    assert n1.discovery.decided.is_set()
    assert list(Registry(FS, str(tmp_path / "n1")).peers) == ["n2"]


def test_one_node_alone_decides_at_once(tmp_path: Path) -> None:
    """It has nobody to ask."""
    assert Member(tmp_path, "n1", ["n1"]).discovery.standing is Standing.MEMBER


def test_a_node_that_comes_back_with_another_folder_is_told(tmp_path: Path) -> None:
    """By the first peer that it meets, however often that one restarts, and for as often as it happens."""
    n1, n2 = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    meet(n1, n2)
    for life in range(2):
        n2.registry.close()
        n2 = Member(tmp_path / "n2", "n2")
        wiped = Member(tmp_path / f"n1-{life}", "n1")
        meet(wiped, n2)
        assert wiped.discovery.standing is Standing.WIPED
        assert wiped.discovery.decided.is_set()


def test_a_folder_that_is_known_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """A restart before the decision changes nothing."""
    n2 = Member(tmp_path / "n2", "n2")
    for _ in range(3):
        n1 = Member(tmp_path / "n1", "n1")
        meet(n1, n2)
        assert n1.discovery.standing is Standing.NEW
        n1.registry.close()


def test_unknown_and_changed_nodes_are_to_be_registered(tmp_path: Path) -> None:
    """Those whose announcement the metadata has are not."""
    n1, n2 = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    meet(n1, n2)
    assert n1.changes == 1
    state = MetadataState()
    wanted = n1.discovery.unregistered(state)
    assert [command.node_id for command in wanted] == ["n1", "n2"]
    applied(state, wanted[0])
    assert n1.discovery.unregistered(state) == [wanted[1]]
    applied(state, wanted[1])
    applied(state, RegisterNode("n1", "http://old", "n1:1", n1.identity.incarnation, "r"))
    assert n1.discovery.unregistered(state) == [wanted[0]]
    meet(n1, n2)
    assert n1.changes == 1


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x93\x01\x02\x03"])
def test_an_announcement_that_is_not_understood_is_ignored(tmp_path: Path, raw: bytes) -> None:
    """So is one that speaks for another node."""
    n1, n2 = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    assert n1.discovery.heard("n2", raw) is Reception.REFUSED
    assert n1.discovery.heard("n3", n2.discovery.announce("n1")) is Reception.REFUSED
    assert list(n1.discovery.nodes) == ["n1"]
    assert n1.registry.peers == {}


LATER = dataclasses.replace(THIS_BUILD, highest=7)


def test_a_node_that_does_not_know_the_clusters_level_is_refused_and_both_say_so(tmp_path: Path) -> None:
    """Whoever dials: one side names the node, the other says that it is itself, and each says what to do."""
    n1, n2, n3 = (Member(tmp_path / name, name, levels=LATER) for name in NODES)
    for one, other in ((n1, n2), (n1, n3), (n2, n3)):
        meet(one, other)
    for member in (n1, n2, n3):
        member.discovery.settle()
        assert member.discovery.refusals == []
    n1.discovery.own.is_at(7)
    old = n3.restarted()
    there = "n3 knows feature levels 1 to 6, and the cluster is at 7: start a newer Floodmark there"
    here = "this node knows feature levels 1 to 6, and the cluster is at 7: start a newer Floodmark here"
    assert dial(old, n1) == (Reception.REFUSED, Reception.REFUSED)
    assert (n1.discovery.refusals, old.discovery.refusals) == ([there], [here])
    n1, old = n1.restarted(levels=LATER), old.restarted()
    assert dial(n1, old) == (Reception.REFUSED, Reception.REFUSED)
    assert (n1.discovery.refusals, old.discovery.refusals) == ([there], [here])
    # n2 does not know of the new level yet, and n3 none that it could not work with there.
    assert dial(old, n2) == (Reception.WELCOME, Reception.WELCOME)
    newer = old.restarted(levels=LATER)
    assert dial(newer, n1) == (Reception.WELCOME, Reception.WELCOME)


def test_a_build_that_begins_above_the_clusters_level_is_refused(tmp_path: Path) -> None:
    """It has left out what the cluster still uses."""
    n1, n2 = (
        Member(tmp_path / "n1", "n1", ["n1", "n2"]),
        Member(tmp_path / "n2", "n2", ["n1", "n2"], dataclasses.replace(THIS_BUILD, lowest=2, highest=3)),
    )
    assert dial(n2, n1)[0] is Reception.REFUSED
    assert n1.discovery.refusals == [
        "n2 knows feature levels 2 to 3, and the cluster is at 1: start an older Floodmark there"
    ]


def test_the_feature_level_is_known_from_the_start_on(tmp_path: Path) -> None:
    """It stands in the folder, so nobody is let in before the metadata are read; it never falls."""
    member = Member(tmp_path, "n1", ["n1"], LATER)
    assert member.discovery.level == 1
    member.discovery.own.is_at(2)
    member.discovery.own.is_at(1)
    assert member.restarted(["n1"]).discovery.level == 2
    path = tmp_path / "node.json"
    document = json.loads(path.read_text())
    del document["level"]
    path.write_text(json.dumps(document))
    assert member.restarted(["n1"]).discovery.level == 1, "as builds before levels left it"


def test_a_seed_is_who_its_certificate_says(tmp_path: Path) -> None:
    """With the certificate of one node, another one's announcement gives nobody a place; both are named."""
    one, two = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    said = two.discovery.announce("?")
    one.discovery.probed("10.0.0.2:7170", said, "n3")
    assert "n2" not in one.discovery.nodes
    (reason,) = one.discovery.refusals
    assert reason == "10.0.0.2:7170 says that it is n2, and its certificate is for node n3"
    one.discovery.probed("10.0.0.2:7170", said, "n2")
    assert "n2" in one.discovery.nodes
