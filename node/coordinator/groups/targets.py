"""What the members of a group are to have: made again, with a new epoch, whenever members, what they
subscribe to, or their topics are not what the last targets were made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from floodmark.errors import InvalidRequest

from node.coordinator import keys, values
from node.coordinator.groups.assignors import ASSIGNORS, STICKY, Subscriber
from node.coordinator.groups.decision import Pair, TopicsView
from node.coordinator.groups.group import NOTHING, Group, Partitions, target_value
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.patterns import select
from node.coordinator.values import GroupValue, MemberValue

Members = Mapping[str, MemberValue]


class Plan(NamedTuple):
    """A new epoch: the group, everybody's target, and what is to be written for that."""

    header: GroupValue
    targets: Mapping[str, Partitions]
    pairs: list[Pair]


def subscribed(members: Members, topics: TopicsView) -> dict[str, frozenset[int]]:
    """The ids of each member's topics that are there now."""
    by_pattern: dict[str, frozenset[str]] = {}
    known: dict[tuple[tuple[str, ...], str | None], frozenset[int]] = {}
    for member in members.values():
        wanted = (member.topics, member.pattern)
        if wanted not in known:
            if member.pattern is not None and member.pattern not in by_pattern:
                by_pattern[member.pattern] = frozenset(select(member.pattern, topics.names()))
            names = by_pattern.get(member.pattern or "", frozenset()).union(member.topics)
            ids = (topics.id_of(name) for name in names)
            known[wanted] = frozenset(topic_id for topic_id in ids if topic_id is not None)
    return {id_: known[member.topics, member.pattern] for id_, member in members.items()}


def counts_of(wanted: Mapping[str, frozenset[int]], topics: TopicsView) -> tuple[tuple[int, int], ...]:
    """All of their topics with their partitions, in order."""
    return tuple((each, topics.partitions(each)) for each in sorted(frozenset().union(*wanted.values())))


def planned(
    group: Group,
    members: Members,
    before: Mapping[str, Partitions],
    *,
    topics: TopicsView,
    now_ms: int,
    limits: GroupLimits | None = None,
) -> Plan:
    """The next epoch of a group that has these members, with what they were to have ``before``.

    Raises ``InvalidRequest`` where they subscribe to more than the limits allow, if there are some.
    """
    wanted = subscribed(members, topics)
    if limits is not None and sum(map(len, set(wanted.values()))) > limits.different:
        raise InvalidRequest(
            f"the members' subscriptions differ too much: the different ones have up to {limits.different} "
            "topics together; let members subscribe to the same topics"
        )
    counts = counts_of(wanted, topics)
    assignor = _assignor(members)
    targets = ASSIGNORS[assignor](
        {
            id_: Subscriber(wanted[id_], before.get(id_, NOTHING), member.instance_id or id_)
            for id_, member in members.items()
        },
        dict(counts),
    )
    header = GroupValue(
        epoch=group.epoch + 1,
        assignor=assignor,
        topics=counts,
        empty_since_ms=0 if members else now_ms,
    )
    pairs: list[Pair] = [(keys.group_key(group.name), values.encode(header))]
    gone = sorted(group.targets.keys() - members.keys())
    pairs += [(keys.target_key(group.name, id_), None) for id_ in gone]
    for id_, target in sorted(targets.items()):
        if group.targets.get(id_) != target:
            pairs.append((keys.target_key(group.name, id_), values.encode(target_value(target))))
    return Plan(header, targets, pairs)


def _assignor(members: Members) -> str:
    """That most of those want who say; ``sticky`` where nobody does, or where it is a draw."""
    votes = Counter(member.assignor for member in members.values() if member.assignor in ASSIGNORS)
    return max(votes, key=lambda name: (votes[name], name), default=STICKY)
