"""Assignors: every partition has one subscriber, numbers are even, sticky moves as few as that takes."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from node.coordinator.groups.assignors import ASSIGNORS, Subscriber, range_, sticky
from node.coordinator.groups.balancing import Load, balance
from node.coordinator.groups.group import Partitions

COUNTS = st.dictionaries(st.integers(1, 6), st.integers(0, 9), min_size=1)
NAMES = st.sets(st.text("abcdefgh", min_size=1, max_size=2), min_size=1, max_size=8)


def _every(counts: dict[int, int]) -> set[tuple[int, int]]:
    return {(topic_id, number) for topic_id, count in counts.items() for number in range(count)}


def _check_owners(
    given_: dict[str, Partitions], members: dict[str, Subscriber], counts: dict[int, int]
) -> None:
    assert given_.keys() == members.keys()
    everything = [each for partitions in given_.values() for each in partitions]
    assert len(everything) == len(set(everything))
    subscribed = frozenset().union(*(member.topics for member in members.values()))
    assert set(everything) == {each for each in _every(counts) if each[0] in subscribed}
    for id_, partitions in given_.items():
        assert {topic_id for topic_id, _ in partitions} <= members[id_].topics


@st.composite
def _before(draw: st.DrawFn, names: set[str], counts: dict[int, int]) -> dict[str, Partitions]:
    """Some earlier state: partitions that are there, or were, each with one owner who may have left."""
    had: dict[str, set[tuple[int, int]]] = {}
    for topic_id, count in counts.items():
        for number in range(count + 2):
            owner = draw(st.sampled_from([*sorted(names), "", "left"]))
            if owner:
                had.setdefault(owner, set()).add((topic_id, number))
    return {owner: frozenset(partitions) for owner, partitions in had.items()}


@given(data=st.data(), counts=COUNTS, names=NAMES)
@settings(max_examples=25, deadline=None)
def test_sticky_moves_as_few_as_balance_takes(
    data: st.DataObject, counts: dict[int, int], names: set[str]
) -> None:
    """All subscribe to the same: numbers differ by one at most, and no balanced assignment keeps more."""
    topics = frozenset(data.draw(st.sets(st.sampled_from(sorted(counts)), min_size=1)))
    before = data.draw(_before(names, counts))
    members = {name: Subscriber(topics, before.get(name, frozenset())) for name in names}
    found = sticky(members, counts)
    _check_owners(found, members, counts)
    sizes = sorted(map(len, found.values()))
    assert sizes[-1] - sizes[0] <= 1
    there = {each for each in _every(counts) if each[0] in topics}
    had = sorted((len(before.get(name, frozenset()) & there) for name in names), reverse=True)
    fewest, more = divmod(len(there), len(names))
    best = sum(min(count, fewest + (place < more)) for place, count in enumerate(had))
    assert sum(len(found[name] & before.get(name, frozenset())) for name in names) == best
    again = {name: Subscriber(topics, found[name]) for name in names}
    assert sticky(again, counts) == found


@given(data=st.data(), counts=COUNTS, names=NAMES)
@settings(max_examples=25, deadline=None)
def test_sticky_where_members_subscribe_to_different_topics(
    data: st.DataObject, counts: dict[int, int], names: set[str]
) -> None:
    """Nobody could give a partition to a subscriber with two fewer; what is even stays as it is."""
    before = data.draw(_before(names, counts))
    members = {
        name: Subscriber(
            frozenset(data.draw(st.sets(st.sampled_from(sorted(counts))))), before.get(name, frozenset())
        )
        for name in sorted(names)
    }
    found = sticky(members, counts)
    _check_owners(found, members, counts)
    for giver, partitions in found.items():
        for topic_id in {each[0] for each in partitions}:
            for taker, member in members.items():
                assert topic_id not in member.topics or len(found[taker]) >= len(partitions) - 1, (
                    giver,
                    taker,
                )
    assert _stays(members, counts, found)
    swapped = _swapped(found)
    assert swapped is None or _stays(members, counts, swapped)


def _stays(members: dict[str, Subscriber], counts: dict[int, int], had: dict[str, Partitions]) -> bool:
    return sticky({name: Subscriber(members[name].topics, had[name]) for name in members}, counts) == had


def _swapped(found: dict[str, Partitions]) -> dict[str, Partitions] | None:
    """Just as even: two members have exchanged a partition of the same topic."""
    for one, two in itertools.permutations(sorted(found), 2):
        for mine, other in itertools.product(sorted(found[one]), sorted(found[two])):
            if mine[0] == other[0]:
                return {**found, one: found[one] - {mine} | {other}, two: found[two] - {other} | {mine}}
    return None


@given(data=st.data(), counts=COUNTS, names=NAMES)
@settings(max_examples=25, deadline=None)
def test_range_gives_runs_of_each_topic(data: st.DataObject, counts: dict[int, int], names: set[str]) -> None:
    """Each topic is even on its own; alike topics are divided alike; the order decides, not the id."""
    members = {
        name: Subscriber(frozenset(data.draw(st.sets(st.sampled_from(sorted(counts))))), order=f"i-{name}")
        for name in sorted(names)
    }
    found = range_(members, counts)
    _check_owners(found, members, counts)
    for topic_id, count in counts.items():
        runs = [
            sorted(number for each, number in found[name] if each == topic_id)
            for name in sorted(names)
            if topic_id in members[name].topics
        ]
        assert not runs or [number for run in runs for number in run] == list(range(count))
        assert not runs or max(map(len, runs)) - min(map(len, runs)) <= 1
    renamed = range_({f"new-{name}": member for name, member in members.items()}, counts)
    assert renamed == {f"new-{name}": partitions for name, partitions in found.items()}


def test_a_path_of_moves_makes_room() -> None:
    """Where no partition can go to the one with the fewest directly, another member's makes room for it."""
    members = {
        "a": Subscriber(frozenset({1}), frozenset({(1, 0), (1, 1), (1, 2)})),
        "b": Subscriber(frozenset({1, 2}), frozenset({(2, 0), (2, 1)})),
        "c": Subscriber(frozenset({2}), frozenset({(2, 2)})),
    }
    found = sticky(members, {1: 3, 2: 3})
    assert {name: len(partitions) for name, partitions in found.items()} == {"a": 2, "b": 2, "c": 2}
    assert sum(len(found[name] - members[name].before) for name in members) == 2


def test_what_a_large_group_costs() -> None:
    """Counted, not timed: partitions that move when the 101st of 1,000 comes, and visits of a balancing that
    is stopped when they are too many."""
    counts = {1: 600, 2: 400}
    members = {f"m{number:03}": Subscriber(frozenset(counts)) for number in range(100)}
    found = sticky(members, counts)
    assert {len(partitions) for partitions in found.values()} == {10}
    more = {name: Subscriber(frozenset(counts), found[name]) for name in members}
    moved = sticky(more | {"new": Subscriber(frozenset(counts))}, counts)
    assert len(moved["new"]) == 9
    assert sum(len(moved[name] - found[name]) for name in members) == 0
    fewer = {name: member for name, member in more.items() if name != "m050"}
    left = sticky(fewer, counts)
    assert sum(len(left[name] - found[name]) for name in fewer) == 10
    load = Load({"a": frozenset({1}), "b": frozenset({1})})
    for number in range(100):
        load.give("a", (1, number))
    assert 30 <= balance(load, visits_max=30) < 40
    assert 2 <= load.counts["b"] < 50
    assert sorted(ASSIGNORS) == ["range", "sticky"]


def test_what_many_members_of_two_patterns_cost() -> None:
    """Topics with the same subscribers are looked at together, and what moves goes to who has the fewest:
    three hundred members of two patterns, with all partitions at one of them."""
    every, some = frozenset(range(300)), frozenset(range(270))
    topics = {f"m{number:03}": every if number % 2 else some for number in range(300)}
    load = Load(topics)
    assert len({id(members) for members in load.subscribers.values()}) == 2
    for topic_id in every:
        load.give("m001", (topic_id, 0))
    assert balance(load, visits_max=1 << 40) < 200_000
    assert set(load.counts.values()) == {1}
