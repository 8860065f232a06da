"""What is as it should be is not looked at every second; what is not is found."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from consensus.types import Membership, Role
from node.control.unsettled import Unsettled
from node.metadata.state import MetadataState, Move, PartitionEntry, TopicEntry
from node.metadata.topic_config import TopicConfig

NODES = ("a", "b", "c")


class StubGroup:
    """Counts how often its members are asked for."""

    def __init__(self, raft_group: int) -> None:
        self.raft_group = raft_group
        self.is_ready_leader = True
        self.role = Role.LEADER
        self.members = Membership(frozenset(NODES))
        self.lost: set[str] = set()
        self.followers = self
        self.asked = 0

    @property
    def membership(self) -> Membership:
        self.asked += 1
        return self.members

    def has_lost(self, node: str) -> bool:
        return node in self.lost


class Led:
    """Ten partitions that node a leads, and is to lead."""

    def __init__(self) -> None:
        entries = tuple(PartitionEntry(number, number + 1, NODES, ("i",) * 3) for number in range(10))
        self.state = MetadataState(topics={"t": TopicEntry("t", 1, 3, TopicConfig(), entries)})
        self.groups = {entry.raft_group: StubGroup(entry.raft_group) for entry in entries}
        local: Any = {raft_group: SimpleNamespace(group=group) for raft_group, group in self.groups.items()}
        metadata: Any = SimpleNamespace(state=self.state)
        self.unsettled = Unsettled(node_id="a", metadata=metadata, local=local)

    def look(self) -> list[int]:
        """The groups that were found."""
        return [group.raft_group for _, group in self.unsettled.look()]

    @property
    def asked(self) -> int:
        """How often groups were looked at, in all."""
        return sum(group.asked for group in self.groups.values())


def _lost(led: Led) -> None:
    led.groups[4].lost.add("b")


def _learner(led: Led) -> None:
    led.groups[4].members = Membership(frozenset(NODES), frozenset({"d"}))


def _moves(led: Led) -> None:
    led.state.moves[4] = Move(1, ("a", "b", "d"), started=True)


def _has_others(led: Led) -> None:
    led.groups[4].members = Membership(frozenset("abd"))


def _other_leads_best(led: Led) -> None:
    (topic,) = led.state.topics.values()
    entries = list(topic.partitions)
    entries[3] = PartitionEntry(3, 4, ("b", "a", "c"), ("i",) * 3)
    led.state.topics["t"] = TopicEntry("t", 1, 3, TopicConfig(), tuple(entries))


@pytest.mark.parametrize("unsettle", [_lost, _learner, _moves, _has_others, _other_leads_best])
def test_what_is_not_as_it_should_be_is_found_and_looked_at_alone(unsettle: Callable[[Led], None]) -> None:
    """At once when something is said to have changed; nothing that is not named is looked at again."""
    led = Led()
    assert (led.look(), led.asked) == ([], 10)
    unsettle(led)
    assert (led.look(), led.asked) == ([], 10), "nobody was told"
    led.unsettled.changed()
    assert (led.look(), led.asked) == ([4], 20)
    assert [led.look() for _ in range(5)] == [[4]] * 5
    assert led.asked == 25


@pytest.mark.parametrize("unsettle", [_lost, _learner, _moves, _has_others, _other_leads_best])
def test_one_look_at_the_group_that_changed_finds_it(unsettle: Callable[[Led], None]) -> None:
    """The other nine are left alone."""
    led = Led()
    led.look()
    unsettle(led)
    led.unsettled.changed([4])
    assert (led.look(), led.asked) == ([4], 11)


def test_who_leads_ten_settled_partitions_looks_at_none() -> None:
    """However often, and whatever changes in groups that others lead, or that are not here."""
    led = Led()
    led.look()
    for _ in range(1_000):
        led.unsettled.changed([77])
        assert led.look() == []
    led.groups[4].is_ready_leader, led.groups[4].role = False, Role.FOLLOWER
    led.unsettled.changed([4])
    assert led.look() == led.look() == []
    assert led.asked == 10, "once each, at first"


def test_a_leader_that_is_not_ready_is_looked_at_once_it_is() -> None:
    """It was told of but once."""
    led = Led()
    led.look()
    _lost(led)
    led.groups[4].is_ready_leader = False
    led.unsettled.changed([4])
    assert led.look() == led.look() == []
    led.groups[4].is_ready_leader = True
    assert led.look() == [4]


def test_a_drained_node_is_to_lead_nothing() -> None:
    """All that it leads is found."""
    led = Led()
    led.look()
    led.state.draining["a"] = 1
    led.unsettled.changed()
    assert len(led.look()) == 10


def test_who_leads_no_more_is_not_found() -> None:
    """Another node looks at it."""
    led = Led()
    _lost(led)
    assert led.look() == [4]
    led.groups[4].is_ready_leader, led.groups[4].role = False, Role.FOLLOWER
    assert led.look() == []
    led.groups[4].is_ready_leader, led.groups[4].role = True, Role.LEADER
    assert led.look() == []
    led.unsettled.changed([4])
    assert led.look() == [4]
