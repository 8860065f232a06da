"""Groups that end: deleted, or expired because nobody has used them for long.

A group may have more offsets than fit into one frame: a step removes a part, and is repeated while ``more``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from floodmark.errors import UnknownGroup

from node.coordinator import keys
from node.coordinator.groups.decision import Decision, TopicsView
from node.coordinator.groups.group import Group
from node.coordinator.groups.limits import PARTITIONS_PER_STEP
from node.coordinator.groups.standing import not_empty
from node.coordinator.keys import Kind


class Removed(NamedTuple):
    """``offsets`` were removed; ``more`` is to be removed by another step; ``group``: it is gone."""

    offsets: int
    more: bool
    group: bool


def delete(group: Group) -> Decision[Removed]:
    """The group and all it has committed. Raises ``UnknownGroup`` and ``GroupNotEmpty``."""
    if not group:
        raise UnknownGroup(f"there is no group {group.name}", group=group.name)
    if group.members:
        raise not_empty(group, "stop them first, or remove them")
    return _removing(
        group, [each for each in group.keys_of() if keys.kind_of(each) == Kind.OFFSET], whole=True
    )


def expire(group: Group, *, topics: TopicsView, retention_ms: int, now_ms: int) -> Decision[Removed]:
    """Remove offsets of topics that are gone, and what nobody has used for ``retention_ms``.

    That is counted from when the group became empty, and for each offset at least from when it was committed.
    """
    since = max(group.state.empty_since_ms, 0)
    ends = bool(group) and not group.members and since + retention_ms <= now_ms
    void, left = [], 0
    for partition, value in group.offsets():
        gone = topics.partitions(partition[0]) == 0
        if gone or (ends and value.commit_ms + retention_ms <= now_ms):
            void.append(keys.offset_key(group.name, partition))
        else:
            left += 1
    return _removing(group, void, whole=ends and not left)


def _removing(group: Group, offsets: Sequence[bytes], *, whole: bool) -> Decision[Removed]:
    now = sorted(offsets)[:PARTITIONS_PER_STEP]
    more = len(now) < len(offsets)
    pairs: list[tuple[bytes, bytes | None]] = [(key, None) for key in now]
    if whole and not more:
        pairs.append((keys.group_key(group.name), None))
    return Decision(pairs, Removed(len(now), more, whole and not more))
