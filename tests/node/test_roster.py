"""Who belongs to the cluster as one node knows it, and what it takes its metadata's group for at first."""

from __future__ import annotations

from pathlib import Path

from consensus.types import Membership
from node.membership.identity import NodeIdentity, Standing
from node.membership.roster import Roster
from node.metadata.domains.features import RaiseLevel
from node.metadata.domains.nodes import JoinNode, RegisterNode, RemoveNode
from node.metadata.machine import applied
from node.metadata.state import MetadataState
from node.metadata.this_build import THIS_BUILD
from tests.node.test_discovery import Member, meet

KNOWS = (1, THIS_BUILD.highest)
NODES = ("n1", "n2", "n3")


def identity(node: str, *, joined: bool, standing: Standing = Standing.MEMBER) -> NodeIdentity:
    """A folder's own word."""
    return NodeIdentity(1, node, "c", "i", standing, NODES, "name", joined=joined)


def described(level: int) -> MetadataState:
    """Three nodes, at a level."""
    state = MetadataState()
    for node in NODES:
        applied(state, RegisterNode(node, "h", f"{node}:1", "i", levels=KNOWS))
    applied(state, RaiseLevel(level))
    return state


def test_a_newcomer_can_elect_nobody_before_the_log_says_who_votes() -> None:
    """Those who formed the cluster vote; who came later learns, and who lost its data may have voted."""
    formed = Roster(identity("n1", joined=False), NODES)
    assert formed.first_membership(identity("n1", joined=False)) == Membership(frozenset(NODES))
    newcomer = Roster(identity("n4", joined=True), (*NODES, "n4"))
    assert newcomer.first_membership(identity("n4", joined=True)) == Membership(
        frozenset(NODES), frozenset(["n4"])
    )
    wiped = identity("n4", joined=True, standing=Standing.WIPED)
    assert newcomer.first_membership(wiped) == Membership(frozenset([*NODES, "n4"]))


def test_settings_name_the_members_below_the_level_and_the_metadata_from_there_on() -> None:
    """A node that was removed is no member, and one that joined is."""
    roster = Roster(identity("n1", joined=False), NODES)
    state = described(2)
    applied(state, RegisterNode("n9", "h", "n9:1", "i", levels=KNOWS))
    roster.told(state)
    assert (roster.members, roster.addresses) == (NODES, {})
    state = described(3)
    applied(state, JoinNode("n4", "h", "n4:1", "i", levels=KNOWS))
    applied(state, RemoveNode("n2"))
    roster.told(state)
    assert roster.addresses == {"n1": "n1:1", "n3": "n3:1", "n4": "n4:1"}
    assert roster.members == ("n1", "n3", "n4")
    assert roster.removed == {"n2": "i"}


def test_only_who_would_be_taken_is_proposed(tmp_path: Path) -> None:
    """Each proposal is an entry of the metadata's log, and a newcomer asks several times a second."""
    n1, n2 = Member(tmp_path / "n1", "n1", ["n1", "n2"]), Member(tmp_path / "n2", "n2", ["n1", "n2"])
    meet(n1, n2)
    said = n1.discovery.nodes["n2"]
    n1.discovery.joining.waits(said, "it asks", is_ours=True)
    state = MetadataState()
    applied(state, n1.discovery.nodes["n1"].registration())
    assert not any(isinstance(command, JoinNode) for command in n1.discovery.unregistered(state))
    applied(state, RaiseLevel(3))
    assert [said.joining()] == [
        command for command in n1.discovery.unregistered(state) if isinstance(command, JoinNode)
    ]
    state.removed["n2"] = "i"
    assert not any(isinstance(command, JoinNode) for command in n1.discovery.unregistered(state))
