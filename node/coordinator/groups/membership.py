"""Members of a group come, live, and go: the steps of KIP-848, decided by the coordinator.

Each step looks at the committed group, changes nothing, and says what to write. The time that a member has is
not kept here (``sessions.py``): steps are told when it is over.
"""

from __future__ import annotations

import msgspec
from floodmark.errors import InconsistentGroupType, InvalidRequest

from node.coordinator import keys, values
from node.coordinator.groups import targets
from node.coordinator.groups.current import Current
from node.coordinator.groups.decision import Decision, Pair, TopicsView
from node.coordinator.groups.group import NOTHING, Group, Partitions
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.member_checks import check_group, checked_pattern, checked_topics, member_value
from node.coordinator.groups.reconciling import reconciled
from node.coordinator.groups.requests import Granted, Heartbeat, Join, Leave, MemberAnswer
from node.coordinator.groups.sessions import SESSION, Over
from node.coordinator.groups.standing import fenced, member_of
from node.coordinator.values import CONSUMER, LEFT_EPOCH, MemberValue

DEFAULT_LIMITS = GroupLimits()


def join(
    group: Group, request: Join, *, topics: TopicsView, now_ms: int, limits: GroupLimits = DEFAULT_LIMITS
) -> Decision[MemberAnswer]:
    """A member comes, with no partitions, and gets those that are free.

    Raises ``InvalidRequest``, ``TooManyMembers`` and ``InconsistentGroupType``.
    """
    if group.members and group.state.type != CONSUMER:
        raise InconsistentGroupType(f"{group.name} has classic members", type=group.state.type)
    joined = member_value(request, limits=limits, now_ms=now_ms)
    known = group.members.get(request.member_id)
    if known is not None:
        joined = msgspec.structs.replace(joined, joined_ms=known.joined_ms)
    placed = None if request.instance_id is None else group.instance(request.instance_id)
    gone = placed if placed != request.member_id else None
    members = {id_: each for id_, each in group.members.items() if id_ != gone} | {request.member_id: joined}
    check_group(members, limits)
    pairs: list[Pair] = [] if joined == known else [_member_pair(group, request.member_id, joined)]
    header, target = group.state, group.targets.get(request.member_id, NOTHING)
    if joined != known or gone is not None:
        before = dict(group.targets)
        if gone is not None:
            before[request.member_id] = before.pop(gone, NOTHING)
            pairs += _without(group, gone)
        plan = targets.planned(group, members, before, topics=topics, now_ms=now_ms, limits=limits)
        pairs += plan.pairs
        header, target = plan.header, plan.targets[request.member_id]
    before_it = (gone, request.member_id)
    owners = {each: owner for each, owner in group.owners.items() if owner not in before_it}
    begun = reconciled(request.member_id, Current(), target, epoch=header.epoch, owners=owners, owned=NOTHING)
    return _answered(group, request.member_id, joined, begun, target, header.epoch, pairs)


def heartbeat(
    group: Group, request: Heartbeat, *, topics: TopicsView, now_ms: int, limits: GroupLimits = DEFAULT_LIMITS
) -> Decision[MemberAnswer]:
    """A member lives, gives up what it was told to, and learns what it has. Most write nothing.

    Raises ``UnknownMember``, ``FencedMemberEpoch``, ``FencedInstanceId`` and ``InvalidRequest``.
    """
    id_ = request.member_id
    current = member_of(group, id_, request.instance_id)
    _check_epoch(request, current)
    member = _changed(group.members[id_], request, limits)
    header, target = group.state, group.targets.get(id_, NOTHING)
    pairs: list[Pair] = []
    if member != group.members[id_]:
        members = {**group.members, id_: member}
        check_group(members, limits)
        plan = targets.planned(group, members, group.targets, topics=topics, now_ms=now_ms, limits=limits)
        pairs = [_member_pair(group, id_, member), *plan.pairs]
        header, target = plan.header, plan.targets[id_]
    if request.epoch == current.epoch:
        current = reconciled(
            id_, current, target, epoch=header.epoch, owners=group.owners, owned=request.owned
        )
    return _answered(group, id_, member, current, target, header.epoch, pairs)


def leave(group: Group, request: Leave, *, topics: TopicsView, now_ms: int) -> Decision[None]:
    """A member goes, and its partitions are free at once; a static one's are kept if it goes for a while.

    Raises ``UnknownMember``, ``FencedMemberEpoch`` and ``FencedInstanceId``.
    """
    id_ = request.member_id
    current = member_of(group, id_, request.instance_id)
    if request.epoch is not None and request.epoch not in (current.epoch, current.previous_epoch):
        raise fenced(id_, current)
    if request.for_a_while and group.members[id_].instance_id is not None:
        target = group.targets.get(id_, NOTHING)
        kept = {each: since for each, since in current.owned.items() if each in target}
        left = Current(LEFT_EPOCH, LEFT_EPOCH, kept)
        return Decision([(keys.current_key(group.name, id_), left.encode())], None)
    return Decision(_removed(group, id_, topics=topics, now_ms=now_ms), None)


def end(group: Group, over: Over, *, topics: TopicsView, now_ms: int) -> Decision[bool]:
    """A member's time is over: it is removed. Answers whether it was, as it may have made it in time."""
    current = group.currents.get(over.member_id)
    late = over.epoch == SESSION or (
        current is not None and bool(current.revoking) and current.epoch == over.epoch
    )
    if over.member_id not in group.members or not late:
        return Decision([], answer=False)
    return Decision(_removed(group, over.member_id, topics=topics, now_ms=now_ms), answer=True)


def refresh(group: Group, *, topics: TopicsView, now_ms: int) -> Decision[bool]:
    """Topics came, went or grew: new targets where that concerns the group. Answers whether it does."""
    if not group.members or group.state.type != CONSUMER:
        return Decision([], answer=False)
    wanted = targets.subscribed(group.members, topics)
    if targets.counts_of(wanted, topics) == group.state.topics:
        return Decision([], answer=False)
    plan = targets.planned(group, group.members, group.targets, topics=topics, now_ms=now_ms)
    return Decision(plan.pairs, answer=True)


def _check_epoch(request: Heartbeat, current: Current) -> None:
    """It is the member's; or the one before, when the answer that told the new one was lost."""
    if request.epoch <= 0:
        raise InvalidRequest("a heartbeat has the epoch of the last answer, which is 1 or more")
    if request.epoch == current.epoch:
        return
    lost = request.epoch == current.previous_epoch
    if not lost or (request.owned is not None and not request.owned <= set(current.held())):
        raise fenced(request.member_id, current)


def _changed(member: MemberValue, request: Heartbeat, limits: GroupLimits) -> MemberValue:
    if request.topics is not None:
        member = msgspec.structs.replace(member, topics=checked_topics(request.topics, limits))
    if request.pattern is not None:
        member = msgspec.structs.replace(member, pattern=checked_pattern(request.pattern))
    return member


def _removed(group: Group, id_: str, *, topics: TopicsView, now_ms: int) -> list[Pair]:
    members = {each: member for each, member in group.members.items() if each != id_}
    before = {each: target for each, target in group.targets.items() if each != id_}
    plan = targets.planned(group, members, before, topics=topics, now_ms=now_ms)
    return [*_without(group, id_), *plan.pairs]


def _without(group: Group, id_: str) -> list[Pair]:
    """The target goes with the plan."""
    return [(keys.member_key(group.name, id_), None), (keys.current_key(group.name, id_), None)]


def _member_pair(group: Group, id_: str, member: MemberValue) -> Pair:
    return keys.member_key(group.name, id_), values.encode(member)


def _answered(
    group: Group,
    id_: str,
    member: MemberValue,
    current: Current,
    target: Partitions,
    epoch: int,
    pairs: list[Pair],
) -> Decision[MemberAnswer]:
    if current != group.currents.get(id_):
        pairs.append((keys.current_key(group.name, id_), current.encode()))
    return Decision(
        pairs,
        MemberAnswer(
            member_id=id_,
            epoch=current.epoch,
            group_epoch=epoch,
            owned=tuple(Granted(*each, since) for each, since in sorted(current.owned.items())),
            revoking=tuple(sorted(current.revoking)),
            waiting=len(target - current.owned.keys()),
            session_timeout_ms=member.session_timeout_ms,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
        ),
    )
