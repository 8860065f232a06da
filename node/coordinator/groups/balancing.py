"""Balance where members subscribe to different topics: a partition moves to a member that has fewer, or moves
make room for each other along a path of members, until no path makes the numbers more even.

Without such a path they are as even as they can be (semi-matchings: Harvey, Ladner, Lovász, Tamir 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from node.coordinator.keys import TopicPartition

VISITS_MAX: Final = 200_000
"""Of members and topics in one balancing: about a tenth of a second. What would take longer is less even."""


def subscribers_of(topics: Mapping[str, frozenset[int]], order: Callable[[str], str]) -> dict[int, list[str]]:
    """Each topic's members in this order. Topics that the same members subscribe to share a list."""
    alike: dict[frozenset[int], list[str]] = {}
    for member in sorted(topics, key=lambda each: (order(each), each)):
        alike.setdefault(topics[member], []).append(member)
    of_topic: dict[int, list[frozenset[int]]] = {}
    for wanted in alike:
        for topic_id in wanted:
            of_topic.setdefault(topic_id, []).append(wanted)
    together: dict[tuple[frozenset[int], ...], list[str]] = {}
    for classes in map(tuple, of_topic.values()):
        if classes not in together:
            members = (member for wanted in classes for member in alike[wanted])
            together[classes] = sorted(members, key=lambda each: (order(each), each))
    return {topic_id: together[tuple(classes)] for topic_id, classes in of_topic.items()}


class Load:
    """Who has what meanwhile."""

    def __init__(self, topics: Mapping[str, frozenset[int]]) -> None:
        self.subscribers = subscribers_of(topics, str)
        self.counts = dict.fromkeys(topics, 0)
        self.held: dict[str, dict[int, set[int]]] = {member: {} for member in topics}
        self.owner: dict[TopicPartition, str] = {}

    def give(self, member: str, partition: TopicPartition) -> None:
        """To one member, in place of whoever has it."""
        topic_id, number = partition
        before = self.owner.get(partition)
        if before is not None:
            self.counts[before] -= 1
            numbers = self.held[before][topic_id]
            numbers.discard(number)
            if not numbers:
                del self.held[before][topic_id]
        self.owner[partition] = member
        self.counts[member] += 1
        self.held[member].setdefault(topic_id, set()).add(number)


def balance(load: Load, visits_max: int = VISITS_MAX) -> int:
    """Move partitions until no path of moves makes the numbers more even. Returns how much that took."""
    visits = 0
    moved = True
    while moved:
        moved = False
        for member in sorted(load.counts, key=lambda each: (-load.counts[each], each)):
            if load.counts[member] < min(load.counts.values()) + 2:
                break  # Nobody after it has more.
            while visits < visits_max:
                path, cost = _path(load, member)
                visits += cost
                if not path:
                    break
                for giver, topic_id, taker in reversed(path):
                    load.give(taker, (topic_id, max(load.held[giver][topic_id])))
                moved = True
    return visits


def _path(load: Load, member: str) -> tuple[list[tuple[str, int, str]], int]:
    """Moves (giver, topic, taker) from a member to one near it that has at least two fewer; and what the
    search cost."""
    reached: dict[str, tuple[str, int] | None] = {member: None}
    seen: set[int] = set()
    """Lists of subscribers, by identity: whoever is in one is reached then."""
    queue = [member]
    aim = load.counts[member] - 2
    cost = 0
    for giver in queue:
        for topic_id in sorted(load.held[giver]):
            subscribers = load.subscribers[topic_id]
            cost += 1
            if id(subscribers) in seen:
                continue
            seen.add(id(subscribers))
            cost += len(subscribers)
            takers = [each for each in subscribers if each not in reached]
            reached.update(dict.fromkeys(takers, (giver, topic_id)))
            fewest = min(takers, key=load.counts.__getitem__, default=None)
            if fewest is not None and load.counts[fewest] <= aim:
                return _back(reached, fewest), cost
            queue += takers
    return [], cost


def _back(reached: Mapping[str, tuple[str, int] | None], last: str) -> list[tuple[str, int, str]]:
    path: list[tuple[str, int, str]] = []
    while (step := reached[last]) is not None:
        path.append((*step, last))
        last = step[0]
    return path[::-1]
