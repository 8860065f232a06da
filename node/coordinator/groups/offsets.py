"""Committed offsets: who may commit what, fetch, reset, deletion.

A commit moves no offset back unless it asks for that: one that is late, or sent again, harms nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec
from floodmark.errors import (
    InvalidRequest,
    StaleMemberEpoch,
    TooLarge,
    UnknownGroup,
    UnknownPartition,
    UnknownTopic,
)

from node.coordinator import keys, values
from node.coordinator.groups.decision import Decision, Pair, TopicsView
from node.coordinator.groups.group import NOTHING, Group
from node.coordinator.groups.limits import METADATA_BYTES_MAX, OFFSET_MAX, PARTITIONS_PER_STEP
from node.coordinator.groups.requests import Commit, Committed, Position, Reset
from node.coordinator.groups.standing import fenced, member_of, not_empty
from node.coordinator.keys import TopicPartition
from node.coordinator.values import GroupValue, OffsetValue

Positions = dict[TopicPartition, Position]


def commit(group: Group, request: Commit, *, topics: TopicsView, now_ms: int) -> Decision[Committed]:
    """Store positions. A member commits what it holds, in an epoch since it got that.

    Raises for members ``UnknownMember``, ``FencedMemberEpoch``, ``FencedInstanceId``, ``StaleMemberEpoch``;
    for others ``GroupNotEmpty`` while there are any; ``UnknownTopic``, ``UnknownPartition``, ``TooLarge``.
    """
    gone = _gone(request.positions, topics) if request.partial else set()
    positions = {each: position for each, position in request.positions.items() if each not in gone}
    _check(positions, topics)
    refused = [*_not_its(group, request), *gone]
    if refused and not request.partial:
        raise StaleMemberEpoch(
            f"{len(refused)} partitions are not the member's, or only since an epoch after {request.epoch}: "
            "nothing was stored; a heartbeat tells what it has",
            partitions=[list(partition) for partition in refused],
        )
    pairs: list[Pair] = []
    stored: Positions = {}
    for partition, position in request.positions.items():
        if partition in refused:
            continue
        before = None if request.back else group.offset(partition)
        if before is not None and before.offset > position.offset:
            stored[partition] = _position(before)
            continue
        stored[partition] = position._replace(commit_ms=now_ms)
        pairs.append((keys.offset_key(group.name, partition), _encode(position, now_ms)))
    if pairs and not group:
        pairs.insert(0, _new_group(group, now_ms))
    return Decision(pairs, Committed(stored=stored, refused=tuple(dict.fromkeys(refused))))


def fetch(group: Group, partitions: Iterable[TopicPartition] | None, *, topics: TopicsView) -> Positions:
    """What is committed for these, or for all; what is not there, or of a topic that is gone, is left out."""
    if partitions is None:
        found = group.offsets()
    else:
        asked = ((each, group.offset(each)) for each in partitions)
        found = ((each, value) for each, value in asked if value is not None)
    return {each: _position(value) for each, value in found if topics.partitions(each[0]) > each[1]}


def reset(group: Group, request: Reset, *, topics: TopicsView, now_ms: int) -> Decision[Positions]:
    """Set offsets, back or ahead. Raises ``GroupNotEmpty`` where there are members and it is not forced."""
    _check(request.positions, topics)
    if group.members and not request.force:
        raise not_empty(group, "stop them first, or force it: they then go on at the new positions")
    pairs: list[Pair] = []
    stored: Positions = {}
    for partition, position in request.positions.items():
        stored[partition] = position._replace(commit_ms=now_ms)
        pairs.append((keys.offset_key(group.name, partition), _encode(position, now_ms)))
    if not group:
        pairs.insert(0, _new_group(group, now_ms))
    elif group.members:
        pairs += _begun_anew(group, request.positions)
    return Decision(pairs, stored)


def delete(group: Group, partitions: Collection[TopicPartition]) -> Decision[tuple[TopicPartition, ...]]:
    """Delete committed offsets; answers with those that were there.

    Raises ``UnknownGroup``, and ``GroupNotEmpty`` where a member subscribes to one of the topics.
    """
    if not group:
        raise UnknownGroup(f"there is no group {group.name}", group=group.name)
    if len(partitions) > PARTITIONS_PER_STEP:
        raise InvalidRequest(f"offsets of up to {PARTITIONS_PER_STEP} partitions are deleted at once")
    subscribed = {topic_id for topic_id, _ in group.state.topics} if group.members else set()
    if any(topic_id in subscribed for topic_id, _ in partitions):
        raise not_empty(group, "their topics' offsets cannot be deleted while they subscribe to them")
    there = tuple(each for each in sorted(partitions) if group.offset(each) is not None)
    return Decision([(keys.offset_key(group.name, each), None) for each in there], there)


def _check(positions: Mapping[TopicPartition, Position], topics: TopicsView) -> None:
    if len(positions) > PARTITIONS_PER_STEP:
        raise InvalidRequest(f"up to {PARTITIONS_PER_STEP} partitions are committed at once")
    for (topic_id, number), position in positions.items():
        count = topics.partitions(topic_id)
        if not count:
            raise UnknownTopic(f"there is no topic with the id {topic_id} (any more)", topic_id=topic_id)
        if not 0 <= number < count:
            raise UnknownPartition(f"the topic with the id {topic_id} has {count} partitions, from 0 on")
        if not 0 <= position.offset <= OFFSET_MAX or position.leader_epoch < -1:
            raise InvalidRequest("an offset is from 0 to 2^63 - 1, and a leader epoch -1 or more")
        if len(position.metadata.encode()) > METADATA_BYTES_MAX:
            raise TooLarge(f"the metadata of an offset have up to {METADATA_BYTES_MAX} bytes")


def _gone(positions: Iterable[TopicPartition], topics: TopicsView) -> set[TopicPartition]:
    return {(topic_id, number) for topic_id, number in positions if topics.partitions(topic_id) <= number}


def _not_its(group: Group, request: Commit) -> list[TopicPartition]:
    if not request.member_id:
        if group.members:
            raise not_empty(group, "only they commit; without them anybody may")
        return []
    current = member_of(group, request.member_id, request.instance_id)
    if request.epoch > current.epoch:
        raise fenced(request.member_id, current)
    return [
        each
        for each in request.positions
        if (since := current.epoch_of(each)) is None or request.epoch < since
    ]


def _begun_anew(group: Group, partitions: Iterable[TopicPartition]) -> list[Pair]:
    """The owners of these get them in a new epoch, so that nothing they did before is committed.

    Who is to give one up cannot commit it any more: a later epoch is that of whoever gets it.
    """
    epoch = group.epoch + 1
    header = msgspec.structs.replace(group.state, epoch=epoch)
    pairs: list[Pair] = [(keys.group_key(group.name), values.encode(header))]
    raised: dict[str, dict[TopicPartition, int]] = {}
    for each in partitions:
        if (owner := group.owners.get(each)) is not None:
            keeps = each in group.currents[owner].owned and each in group.targets.get(owner, NOTHING)
            raised.setdefault(owner, {})[each] = epoch if keeps else values.VOID_EPOCH
    for owner, epochs in raised.items():
        pairs.append((keys.current_key(group.name, owner), group.currents[owner].anew(epochs).encode()))
    return pairs


def _new_group(group: Group, now_ms: int) -> Pair:
    return keys.group_key(group.name), values.encode(GroupValue(empty_since_ms=now_ms))


def _encode(position: Position, now_ms: int) -> bytes:
    return values.encode(
        OffsetValue(values.VERSION, position.offset, position.leader_epoch, now_ms, position.metadata)
    )


def _position(value: OffsetValue) -> Position:
    return Position(value.offset, value.leader_epoch, value.metadata, value.commit_ms)
