"""Which member is to have which partitions: pure, and the same for the same input.

``sticky`` gives everybody as many as the others, within one, and moves as few as that takes. ``range`` gives
each member a run of each topic's partitions, within one for each topic: members that subscribe to the same
topics have the same numbers of each of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Final, NamedTuple

from node.coordinator.groups.balancing import Load, balance, subscribers_of
from node.coordinator.groups.group import NOTHING, Partitions
from node.coordinator.keys import TopicPartition

STICKY: Final = "sticky"
RANGE: Final = "range"


class Subscriber(NamedTuple):
    """A member: the ids of its topics, what it was to have before, and what it is ordered by."""

    topics: frozenset[int]
    before: Partitions = NOTHING
    order: str = ""


Subscribers = Mapping[str, Subscriber]
Counts = Mapping[int, int]
"""Topics' ids and how many partitions they have."""
Assignor = Callable[[Subscribers, Counts], dict[str, Partitions]]


def range_(members: Subscribers, counts: Counts) -> dict[str, Partitions]:
    """See above. What was before does not matter."""
    given: dict[str, list[TopicPartition]] = {member: [] for member in members}
    topics = {member: subscriber.topics for member, subscriber in members.items()}
    for topic_id, subscribers in subscribers_of(topics, lambda member: members[member].order).items():
        count = counts.get(topic_id, 0)
        each, more = divmod(count, len(subscribers))
        first = 0
        for place, member in enumerate(subscribers):
            if first == count:
                break
            end = first + each + (place < more)
            given[member] += ((topic_id, number) for number in range(first, end))
            first = end
    return {member: frozenset(partitions) for member, partitions in given.items()}


def sticky(members: Subscribers, counts: Counts) -> dict[str, Partitions]:
    """See above. Where members subscribe to different topics, no partition can be moved so that two members'
    numbers come closer to each other, also not by moving others on."""
    if not members:
        return {}
    if len({subscriber.topics for subscriber in members.values()}) == 1:
        return _alike(members, counts)
    return _unlike(members, counts)


ASSIGNORS: Final[Mapping[str, Assignor]] = {STICKY: sticky, RANGE: range_}


def _kept(members: Subscribers, counts: Counts) -> dict[str, list[TopicPartition]]:
    """What each had that is there and that it subscribes to, in order."""
    return {
        member: sorted(
            (topic_id, number)
            for topic_id, number in subscriber.before
            if topic_id in subscriber.topics and number < counts.get(topic_id, 0)
        )
        for member, subscriber in members.items()
    }


def _alike(members: Subscribers, counts: Counts) -> dict[str, Partitions]:
    """All subscribe to the same topics: the ``more`` members with the most keep one more than the others."""
    topics = next(iter(members.values())).topics
    every = [(topic_id, number) for topic_id in sorted(topics) for number in range(counts.get(topic_id, 0))]
    each, more = divmod(len(every), len(members))
    kept = _kept(members, counts)
    for place, member in enumerate(sorted(kept, key=lambda name: (-len(kept[name]), name))):
        del kept[member][each + (place < more) :]
    taken = set(chain.from_iterable(kept.values()))
    heap = [(len(kept[member]), member) for member in sorted(members)]
    heapq.heapify(heap)
    for partition in every:
        if partition not in taken:
            number, member = heap[0]
            kept[member].append(partition)
            heapq.heapreplace(heap, (number + 1, member))
    return {member: frozenset(partitions) for member, partitions in kept.items()}


def _unlike(members: Subscribers, counts: Counts) -> dict[str, Partitions]:
    load = Load({member: subscriber.topics for member, subscriber in members.items()})
    kept = _kept(members, counts)
    for member, partitions in kept.items():
        for partition in partitions:
            load.give(member, partition)
    heap: list[tuple[int, str]] = []
    of: list[str] = []
    for topic_id in sorted(load.subscribers, key=lambda each: (len(load.subscribers[each]), each)):
        free = [
            (topic_id, number)
            for number in range(counts.get(topic_id, 0))
            if (topic_id, number) not in load.owner
        ]
        if free and of is not load.subscribers[topic_id]:
            of = load.subscribers[topic_id]
            heap = [(load.counts[member], member) for member in of]
            heapq.heapify(heap)
        for partition in free:
            count, member = heap[0]
            load.give(member, partition)
            heapq.heapreplace(heap, (count + 1, member))
    balance(load)
    return {
        member: frozenset((topic_id, number) for topic_id, numbers in held.items() for number in numbers)
        for member, held in load.held.items()
    }
