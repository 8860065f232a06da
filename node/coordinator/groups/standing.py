"""Who is a member, in which epoch: what is refused to those who are not, or not any more."""

from __future__ import annotations

from floodmark.errors import FencedInstanceId, FencedMemberEpoch, GroupNotEmpty, UnknownMember

from node.coordinator.groups.current import Current
from node.coordinator.groups.group import Group


def member_of(group: Group, member_id: str, instance_id: str | None) -> Current:
    """What it has. Raises ``UnknownMember``, and ``FencedInstanceId`` where another took its place."""
    member = group.members.get(member_id)
    if member is None:
        if instance_id is not None and group.instance(instance_id) is not None:
            raise FencedInstanceId(f"another member of {group.name} has the instance id {instance_id} now")
        raise UnknownMember(f"{member_id} is not a member of {group.name}, or not any more: join again")
    return group.currents.get(member_id) or Current()


def fenced(member_id: str, current: Current) -> FencedMemberEpoch:
    """To be raised for a member that says another epoch than it is in."""
    return FencedMemberEpoch(
        f"{member_id} is not in this epoch: give up all partitions, and join again", epoch=current.epoch
    )


def not_empty(group: Group, then: str) -> GroupNotEmpty:
    """To be raised for what needs a group without members."""
    count = len(group.members)
    noun = "member" if count == 1 else "members"
    return GroupNotEmpty(f"{group.name} has {count} {noun}: {then}", members=count)
