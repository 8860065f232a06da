"""Committed offsets as pure steps: who commits, what never goes back, what a reset fences, what expires."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from floodmark.errors import (
    FencedInstanceId,
    FencedMemberEpoch,
    GroupNotEmpty,
    InvalidRequest,
    StaleMemberEpoch,
    TooLarge,
    UnknownGroup,
    UnknownMember,
    UnknownPartition,
    UnknownTopic,
)

from node.coordinator import keys, values
from node.coordinator.groups import deletion, offsets
from node.coordinator.groups.current import Current
from node.coordinator.groups.group import target_value
from node.coordinator.groups.requests import Commit, Committed, Position, Reset
from node.coordinator.keys import TopicPartition
from node.coordinator.values import GroupValue, MemberValue
from tests.node.group_steps import Kept, Topics


def _commit(kept: Kept, topics: Topics, at: Mapping[TopicPartition, int], **more: object) -> Committed:
    positions = {each: Position(offset) for each, offset in at.items()}
    request = Commit(positions=positions, **more)  # type: ignore[arg-type]
    return kept.take(offsets.commit(kept.group, request, topics=topics, now_ms=1_000))


def _committed(kept: Kept, topics: Topics) -> dict[TopicPartition, int]:
    found = offsets.fetch(kept.group, None, topics=topics)
    return {each: position.offset for each, position in found.items()}


def _with_member(kept: Kept, current: Current, *, member: str = "a", instance: str | None = None) -> None:
    header = GroupValue(epoch=current.epoch, topics=((1, 4),))
    for key, value in (
        (keys.group_key("g"), values.encode(header)),
        (keys.member_key("g", member), values.encode(MemberValue(instance_id=instance, topics=("t",)))),
        (keys.current_key("g", member), current.encode()),
        (keys.target_key("g", member), values.encode(target_value(frozenset(current.owned)))),
    ):
        kept.state[key] = value
        kept.group.replay(key, value)


def test_a_group_without_members_keeps_what_anybody_commits() -> None:
    """The first commit makes the group; all of it comes back; a late commit moves nothing back."""
    kept, topics = Kept(), Topics(t=4)
    position = Position(7, leader_epoch=3, metadata="äh")
    answer = kept.take(
        offsets.commit(kept.group, Commit(positions={(1, 0): position}), topics=topics, now_ms=5)
    )
    assert answer.stored == {(1, 0): position._replace(commit_ms=5)}
    assert kept.group
    assert kept.group.state.empty_since_ms == 5
    assert _commit(kept, topics, {(1, 0): 6, (1, 1): 2}).stored[1, 0] == position._replace(commit_ms=5)
    assert _committed(kept, topics) == {(1, 0): 7, (1, 1): 2}
    _commit(kept, topics, {(1, 0): 6}, back=True)
    assert offsets.fetch(kept.group, [(1, 0), (1, 3)], topics=topics) == {
        (1, 0): Position(6, commit_ms=1_000)
    }


def test_what_is_committed_is_of_a_topic_and_not_of_a_name() -> None:
    """A topic that was made again has no committed offset, and nothing is committed for the old one."""
    kept, topics = Kept(), Topics(t=4)
    _commit(kept, topics, {(1, 0): 7})
    assert topics.make("t", 4) == 2
    assert _committed(kept, topics) == {}
    with pytest.raises(UnknownTopic):
        _commit(kept, topics, {(1, 0): 8})
    removed = kept.take(deletion.expire(kept.group, topics=topics, retention_ms=1 << 40, now_ms=2_000))
    assert removed == deletion.Removed(1, more=False, group=False)
    assert list(kept.group.offsets()) == []


def test_what_cannot_be_committed() -> None:
    """Nothing of a request is stored where a part of it cannot be."""
    kept, topics = Kept(), Topics(t=4)
    for wrong, error in (
        ({(1, 4): Position(1)}, UnknownPartition),
        ({(9, 0): Position(1)}, UnknownTopic),
        ({(1, 0): Position(-1)}, InvalidRequest),
        ({(1, 0): Position(1 << 63)}, InvalidRequest),
        ({(1, 0): Position(1, leader_epoch=-2)}, InvalidRequest),
        ({(1, 0): Position(1, metadata="ä" * 2_049)}, TooLarge),
        ({(1, number): Position(1) for number in range(1_001)}, InvalidRequest),
    ):
        positions = {(1, 3): Position(1), **wrong}
        with pytest.raises(error):
            offsets.commit(kept.group, Commit(positions=positions), topics=topics, now_ms=1)
        with pytest.raises(error):
            offsets.reset(kept.group, Reset(positions=positions), topics=topics, now_ms=1)
    assert kept.take(
        offsets.commit(
            kept.group, Commit(positions={(1, 0): Position(1, metadata="x" * 4096)}), topics=topics, now_ms=1
        )
    )


def test_a_member_commits_what_it_holds_since_it_got_it() -> None:
    """Also what it is giving up, and in an earlier epoch of its own; never what it got later or has not."""
    kept, topics = Kept(), Topics(t=4)
    _with_member(kept, Current(5, 4, {(1, 0): 2, (1, 1): 5}, {(1, 2): 3}))
    _commit(kept, topics, {(1, 0): 1, (1, 1): 1, (1, 2): 1}, member_id="a", epoch=5)
    _commit(kept, topics, {(1, 0): 2, (1, 2): 2}, member_id="a", epoch=3)
    with pytest.raises(StaleMemberEpoch) as refused:
        _commit(kept, topics, {(1, 0): 3, (1, 1): 3, (1, 3): 3}, member_id="a", epoch=4)
    assert refused.value.fields["partitions"] == [[1, 1], [1, 3]]
    assert _committed(kept, topics) == {(1, 0): 2, (1, 1): 1, (1, 2): 2}
    partial = _commit(kept, topics, {(1, 0): 3, (1, 1): 3, (1, 3): 3}, member_id="a", epoch=4, partial=True)
    assert partial.refused == ((1, 1), (1, 3))
    assert _committed(kept, topics) == {(1, 0): 3, (1, 1): 1, (1, 2): 2}
    with pytest.raises(FencedMemberEpoch):
        _commit(kept, topics, {(1, 0): 4}, member_id="a", epoch=6)
    with pytest.raises(GroupNotEmpty):
        _commit(kept, topics, {(1, 0): 4})
    with pytest.raises(UnknownMember):
        _commit(kept, topics, {(1, 0): 4}, member_id="b", epoch=5)


def test_a_static_member_whose_place_was_taken_is_told_so() -> None:
    """By its instance id; one that has left for a while commits nothing until it is back."""
    kept, topics = Kept(), Topics(t=4)
    _with_member(kept, Current(values.LEFT_EPOCH, 4, {(1, 0): 2}), member="new", instance="i")
    with pytest.raises(FencedInstanceId):
        _commit(kept, topics, {(1, 0): 4}, member_id="old", instance_id="i", epoch=2)
    with pytest.raises(FencedMemberEpoch):
        _commit(kept, topics, {(1, 0): 4}, member_id="new", instance_id="i", epoch=2)


def test_a_reset_under_members_fences_what_they_did_before() -> None:
    """It is refused unless forced; then commits of epochs before are refused, for its partitions only."""
    kept, topics = Kept(), Topics(t=4)
    _with_member(kept, Current(5, 4, {(1, 0): 2, (1, 1): 2}, {(1, 2): 3}))
    reset = Reset(positions={(1, 0): Position(0), (1, 2): Position(0), (1, 3): Position(0)})
    with pytest.raises(GroupNotEmpty):
        offsets.reset(kept.group, reset, topics=topics, now_ms=9)
    forced = Reset(positions=reset.positions, force=True)
    kept.take(offsets.reset(kept.group, forced, topics=topics, now_ms=9))
    assert kept.group.epoch == 6
    assert kept.group.currents["a"] == Current(5, 4, {(1, 0): 6, (1, 1): 2}, {(1, 2): values.VOID_EPOCH})
    for late in ((1, 0), (1, 2)):
        with pytest.raises(StaleMemberEpoch):
            _commit(kept, topics, {late: 9}, member_id="a", epoch=5)
    _commit(kept, topics, {(1, 1): 9}, member_id="a", epoch=5)
    assert _committed(kept, topics) == {(1, 0): 0, (1, 1): 9, (1, 2): 0, (1, 3): 0}


def test_deletion_of_offsets_and_groups() -> None:
    """Not while somebody uses them; a large group goes in parts, the group itself last."""
    kept, topics = Kept(), Topics(t=2_500, other=2)
    with pytest.raises(UnknownGroup):
        deletion.delete(kept.group)
    with pytest.raises(UnknownGroup):
        offsets.delete(kept.group, [(1, 0)])
    for begin in range(0, 2_500, 500):
        _commit(kept, topics, {(1, number): 1 for number in range(begin, begin + 500)})
    _commit(kept, topics, {(2, 0): 1})
    assert kept.take(offsets.delete(kept.group, [(1, 7), (1, 8), (2, 1)])) == ((1, 7), (1, 8))
    _with_member(kept, Current(1))
    with pytest.raises(GroupNotEmpty):
        offsets.delete(kept.group, [(1, 0), (2, 0)])
    assert kept.take(offsets.delete(kept.group, [(2, 0)])) == ((2, 0),)
    with pytest.raises(GroupNotEmpty):
        deletion.delete(kept.group)
    for key in (keys.member_key("g", "a"), keys.current_key("g", "a"), keys.target_key("g", "a")):
        del kept.state[key]
        kept.group.replay(key, None)
    parts = []
    while True:
        parts.append(kept.take(deletion.delete(kept.group)))
        assert bool(kept.group) is parts[-1].more
        if not parts[-1].more:
            break
    assert [part.offsets for part in parts] == [1_000, 1_000, 498]
    assert kept.state == {}


def test_groups_expire_after_their_last_use() -> None:
    """From when it became empty, each offset from its commit; a group with members keeps everything."""
    kept, topics = Kept(), Topics(t=4)

    def expire(now_ms: int) -> deletion.Removed:
        return kept.take(deletion.expire(kept.group, topics=topics, retention_ms=500, now_ms=now_ms))

    for number, at in ((0, 100), (1, 300)):
        request = Commit(positions={(1, number): Position(1)})
        kept.take(offsets.commit(kept.group, request, topics=topics, now_ms=at))
    assert expire(599) == deletion.Removed(0, more=False, group=False)
    assert expire(600) == deletion.Removed(1, more=False, group=False)
    assert _committed(kept, topics) == {(1, 1): 1}
    assert expire(800) == deletion.Removed(1, more=False, group=True)
    assert kept.state == {}
    _commit(kept, topics, {(1, 0): 1})
    _with_member(kept, Current(1))
    assert expire(1 << 40) == deletion.Removed(0, more=False, group=False)
