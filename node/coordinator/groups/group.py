"""One group, as its pairs of key and value say: the committed state that steps decide on.

Committed offsets are not kept here but looked up, as there may be many of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from node.coordinator import keys, values
from node.coordinator.groups.current import Current
from node.coordinator.keys import Kind, TopicPartition
from node.coordinator.values import GroupValue, MemberValue, OffsetValue, TargetValue

Partitions = frozenset[TopicPartition]
NOTHING: Partitions = frozenset()


class Group:
    """A view that follows the state: ``replay`` takes each applied pair. Steps do not change it.

    ``get`` and ``keys`` ask the state: for the value of a key, and for the keys of this group.
    """

    def __init__(
        self, name: str, get: Callable[[bytes], bytes | None], keys_of: Callable[[], Iterable[bytes]]
    ) -> None:
        self.name = name
        self._get = get
        self.keys_of = keys_of
        self.header: GroupValue | None = None
        self.members: dict[str, MemberValue] = {}
        self.targets: dict[str, Partitions] = {}
        self.currents: dict[str, Current] = {}
        self.owners: dict[TopicPartition, str] = {}
        """Who has a partition, or has not given it up yet."""

    @classmethod
    def of(
        cls, name: str, get: Callable[[bytes], bytes | None], keys_of: Callable[[], Iterable[bytes]]
    ) -> Group:
        """The group of this name, of which the state may have nothing."""
        group = cls(name, get, keys_of)
        for key in keys_of():
            if keys.kind_of(key) != Kind.OFFSET:
                group.replay(key, get(key))
        return group

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self.header is not None

    @property
    def state(self) -> GroupValue:
        """What the group itself is; that of a new one where there is none."""
        return self.header or GroupValue()

    @property
    def epoch(self) -> int:
        """Of the group."""
        return self.header.epoch if self.header else 0

    def replay(self, key: bytes, value: bytes | None) -> None:
        """Take in a pair that was applied to the state. Kinds of a newer build are passed over."""
        if keys.kind_of(key) == Kind.OFFSET:
            return
        found = keys.parse(key)
        if found.kind == Kind.GROUP:
            self.header = None if value is None else values.decode(GroupValue, value)
        elif found.kind == Kind.MEMBER:
            if value is None:
                self.members.pop(found.member, None)
            else:
                self.members[found.member] = values.decode(MemberValue, value)
        elif found.kind == Kind.TARGET:
            if value is None:
                self.targets.pop(found.member, None)
            else:
                target = values.decode(TargetValue, value)
                self.targets[found.member] = partitions_of(target)
        elif found.kind == Kind.CURRENT:
            self._replay_current(found.member, None if value is None else Current.of(value))

    def _replay_current(self, member: str, current: Current | None) -> None:
        before = self.currents.pop(member, None)
        for partition in before.held() if before else ():
            if self.owners.get(partition) == member:
                del self.owners[partition]
        if current is not None:
            self.currents[member] = current
            self.owners.update(dict.fromkeys(current.held(), member))

    def offset(self, partition: TopicPartition) -> OffsetValue | None:
        """What is committed for a partition."""
        value = self._get(keys.offset_key(self.name, partition))
        return None if value is None else values.decode(OffsetValue, value)

    def offsets(self) -> Iterator[tuple[TopicPartition, OffsetValue]]:
        """All that is committed, in no order."""
        for key in self.keys_of():
            if keys.kind_of(key) == Kind.OFFSET and (value := self._get(key)) is not None:
                yield keys.partition_of(key), values.decode(OffsetValue, value)

    def instance(self, instance_id: str) -> str | None:
        """The id of the member that has this instance id."""
        return next((id_ for id_, each in self.members.items() if each.instance_id == instance_id), None)


def partitions_of(target: TargetValue) -> Partitions:
    """As pairs."""
    return frozenset((topic_id, number) for topic_id, numbers in target.partitions for number in numbers)


def target_value(partitions: Partitions) -> TargetValue:
    """As stored, in order."""
    by_topic: dict[int, list[int]] = {}
    for topic_id, number in sorted(partitions):
        by_topic.setdefault(topic_id, []).append(number)
    return TargetValue(partitions=tuple((topic_id, tuple(numbers)) for topic_id, numbers in by_topic.items()))
