"""What nodes say of themselves, and how a replaced data folder is noticed."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import pytest

from consensus.link_types import Reception
from node.formation import nodes_of
from node.identity import NodeIdentity, Standing, load_or_create, save
from node.metadata.commands import RegisterNode
from node.metadata.state import MetadataState, apply
from node.presence import Presence
from node.registry import Registry
from storage.filesystem import RealFileSystem

FS = RealFileSystem()
NODES = ["n1", "n2", "n3"]


class Member:
    """One node's part in the handshakes, over a real folder."""

    def __init__(self, folder: Path, node_id: str, nodes: list[str] = NODES) -> None:
        self.folder = str(folder)
        self.identity: NodeIdentity = load_or_create(FS, self.folder, node_id=node_id, cluster_id="c")
        self.registry = Registry(FS, self.folder)
        self.changes = self.set_back = 0
        self.presence = Presence(
            self.identity,
            self.registry,
            initial_nodes=nodes,
            nodes=nodes_of(FS, self.folder, self.identity, self.registry),
            keep=partial(save, FS, self.folder),
        )
        self.presence.on_set_back = self._set_back
        self.presence.on_change = self._changed
        self.presence.introduce(http=f"http://{node_id}", peer=f"{node_id}:1", rack="r")

    def _changed(self) -> None:
        self.changes += 1

    def _set_back(self) -> None:
        self.set_back += 1

    def restarted(self, nodes: list[str] = NODES, *, folder: Path | None = None) -> Member:
        """Another process on the same folder, or on another one."""
        self.registry.close()
        return Member(folder or Path(self.folder), self.identity.node_id, nodes)


def dial(one: Member, other: Member) -> tuple[Reception, Reception | None]:
    """A connection that ``one`` makes: what each side makes of the other."""
    names = one.identity.node_id, other.identity.node_id
    heard = other.presence.heard(names[0], one.presence.announce(names[1]))
    if heard is Reception.UNKEPT:
        return heard, None
    return heard, one.presence.heard(names[1], other.presence.answer(names[0]))


def meet(one: Member, other: Member) -> None:
    """Connections both ways."""
    dial(one, other)
    dial(other, one)


def test_a_new_cluster_decides_once_everybody_was_heard(tmp_path: Path) -> None:
    """Not before: the missing one might know better."""
    n1, n2, n3 = (Member(tmp_path / name, name) for name in NODES)
    meet(n1, n2)
    assert not n1.presence.decided.is_set()
    assert n1.presence.unheard == ["n3"]
    meet(n3, n1)
    assert n1.presence.decided.is_set()
    assert n1.presence.standing is Standing.MEMBER
    assert n2.presence.standing is Standing.NEW


def test_a_disk_that_takes_nothing_puts_a_peer_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is believed that a restart would forget; said again when there is room, it counts."""
    n1, n2 = Member(tmp_path / "n1", "n1", ["n1", "n2"]), Member(tmp_path / "n2", "n2", ["n1", "n2"])
    said = n2.presence.announce("n1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as harm:
        harm.setattr("node.registry.write_all", full)
        assert n1.presence.heard("n2", said) is Reception.UNKEPT
    assert not n1.presence.decided.is_set()
    assert (n1.registry.peers, n1.presence.unheard, n1.changes) == ({}, ["n2"], 0)
    assert n1.presence.heard("n2", said) is Reception.WELCOME
    assert n1.presence.decided.is_set()
    assert list(Registry(FS, str(tmp_path / "n1")).peers) == ["n2"]


def test_one_node_alone_decides_at_once(tmp_path: Path) -> None:
    """It has nobody to ask."""
    assert Member(tmp_path, "n1", ["n1"]).presence.standing is Standing.MEMBER


def test_a_node_that_comes_back_with_another_folder_is_told(tmp_path: Path) -> None:
    """By the first peer that it meets, however often that one restarts, and for as often as it happens."""
    n1, n2 = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    meet(n1, n2)
    for life in range(2):
        n2.registry.close()
        n2 = Member(tmp_path / "n2", "n2")
        wiped = Member(tmp_path / f"n1-{life}", "n1")
        meet(wiped, n2)
        assert wiped.presence.standing is Standing.WIPED
        assert wiped.presence.decided.is_set()


def test_a_folder_that_is_known_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    """A restart before the decision changes nothing."""
    n2 = Member(tmp_path / "n2", "n2")
    for _ in range(3):
        n1 = Member(tmp_path / "n1", "n1")
        meet(n1, n2)
        assert n1.presence.standing is Standing.NEW
        n1.registry.close()


def test_unknown_and_changed_nodes_are_to_be_registered(tmp_path: Path) -> None:
    """Those whose announcement the metadata has are not."""
    n1, n2 = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    meet(n1, n2)
    assert n1.changes == 1
    state = MetadataState()
    wanted = n1.presence.unregistered(state)
    assert [command.node_id for command in wanted] == ["n1", "n2"]
    apply(state, wanted[0])
    assert n1.presence.unregistered(state) == [wanted[1]]
    apply(state, wanted[1])
    apply(state, RegisterNode("n1", "http://old", "n1:1", n1.identity.incarnation, "r"))
    assert n1.presence.unregistered(state) == [wanted[0]]
    meet(n1, n2)
    assert n1.changes == 1


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x93\x01\x02\x03"])
def test_an_announcement_that_is_not_understood_is_ignored(tmp_path: Path, raw: bytes) -> None:
    """So is one that speaks for another node."""
    n1, n2 = Member(tmp_path / "n1", "n1"), Member(tmp_path / "n2", "n2")
    assert n1.presence.heard("n2", raw) is Reception.REFUSED
    assert n1.presence.heard("n3", n2.presence.announce("n1")) is Reception.REFUSED
    assert list(n1.presence.nodes) == ["n1"]
    assert n1.registry.peers == {}
