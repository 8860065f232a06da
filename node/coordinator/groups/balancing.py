"""Balance where members subscribe to different topics: a partition moves to a member that has fewer, or moves
make room for each other along a path of members, until no path makes the numbers more even.

Without such a path they are as even as they can be (semi-matchings: Harvey, Ladner, Lovász, Tamir 2003).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from node.coordinator.keys import TopicPartition

VISITS_MAX: Final = 1_000_000
"""Of members and topics in one balancing: about a second. Odd groups that would take longer are less even."""


class Load:
    """Who has what meanwhile."""

    def __init__(self, topics: Mapping[str, frozenset[int]]) -> None:
        self.subscribers: dict[int, list[str]] = {}
        for member in sorted(topics):
            for topic_id in topics[member]:
                self.subscribers.setdefault(topic_id, []).append(member)
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


def balance(load: Load, visits_max: int = VISITS_MAX) -> None:
    """Move partitions until no path of moves makes the numbers more even."""
    visits = visits_max
    moved = True
    while moved and visits > 0:
        moved = False
        for member in sorted(load.counts, key=lambda each: (-load.counts[each], each)):
            while visits > 0:
                path, cost = _path(load, member)
                visits -= cost
                if not path:
                    break
                for giver, topic_id, taker in reversed(path):
                    load.give(taker, (topic_id, max(load.held[giver][topic_id])))
                moved = True


def _path(load: Load, member: str) -> tuple[list[tuple[str, int, str]], int]:
    """Moves (giver, topic, taker) from a member to the nearest one that has at least two fewer; and what the
    search cost."""
    reached: dict[str, tuple[str, int] | None] = {member: None}
    seen: set[int] = set()
    queue = [member]
    aim = load.counts[member] - 2
    for giver in queue:
        for topic_id in sorted(load.held[giver]):
            if topic_id in seen:
                continue
            seen.add(topic_id)
            for taker in load.subscribers[topic_id]:
                if taker in reached:
                    continue
                reached[taker] = (giver, topic_id)
                if load.counts[taker] <= aim:
                    return _back(reached, taker), len(reached) + len(seen)
                queue.append(taker)
    return [], len(reached) + len(seen)


def _back(reached: Mapping[str, tuple[str, int] | None], last: str) -> list[tuple[str, int, str]]:
    path: list[tuple[str, int, str]] = []
    while (step := reached[last]) is not None:
        path.append((*step, last))
        last = step[0]
    return path[::-1]
