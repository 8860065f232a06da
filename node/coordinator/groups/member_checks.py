"""What a member may say of itself."""

from __future__ import annotations

from floodmark.errors import InvalidRequest, TooManyMembers
from floodmark.format.names import check_name

from node.coordinator.groups.assignors import ASSIGNORS
from node.coordinator.groups.limits import GroupLimits
from node.coordinator.groups.patterns import compiled
from node.coordinator.groups.requests import Join
from node.coordinator.groups.targets import Members
from node.coordinator.keys import NAME_BYTES_MAX
from node.coordinator.values import MemberValue

_TEXT_MAX = 255


def member_value(request: Join, *, limits: GroupLimits, now_ms: int) -> MemberValue:
    """As it is stored. Raises ``InvalidRequest``."""
    check_ids(request.member_id, request.instance_id)
    check_assignor(request.assignor)
    _check_range(
        "session_timeout",
        request.session_timeout_ms,
        limits.session_timeout_min_ms,
        limits.session_timeout_max_ms,
    )
    _check_range(
        "rebalance_timeout",
        request.rebalance_timeout_ms,
        limits.session_timeout_min_ms,
        limits.rebalance_timeout_max_ms,
    )
    return MemberValue(
        instance_id=request.instance_id,
        topics=checked_topics(request.topics, limits),
        pattern=checked_pattern(request.pattern),
        assignor=request.assignor,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        client_id=request.client_id[:_TEXT_MAX],
        address=request.address[:_TEXT_MAX],
        joined_ms=now_ms,
    )


def checked_topics(topics: tuple[str, ...], limits: GroupLimits) -> tuple[str, ...]:
    """In order, each once. Raises ``InvalidRequest``; topics need not be there yet."""
    if len(topics) > limits.subscriptions:
        raise InvalidRequest(f"a member names up to {limits.subscriptions} topics; use a pattern for more")
    return tuple(sorted({check_name(name) for name in topics}))


def checked_pattern(pattern: str | None) -> str | None:
    """None for none. Raises ``InvalidRequest``."""
    if pattern:
        compiled(pattern)
    return pattern or None


def check_group(members: Members, limits: GroupLimits) -> None:
    """Whether a group may have these. Raises ``TooManyMembers`` and ``InvalidRequest``."""
    if len(members) > limits.members:
        raise TooManyMembers(
            f"the group has {limits.members} members already, the most that it may have", limit=limits.members
        )
    patterns = {member.pattern for member in members.values()} - {None}
    if len(patterns) > limits.patterns:
        raise InvalidRequest(f"the members of a group have up to {limits.patterns} different patterns")


def check_assignor(name: str) -> None:
    """Raises ``InvalidRequest``; "" leaves it to others."""
    if name and name not in ASSIGNORS:
        raise InvalidRequest(f"there is no assignor {name!r:.50}: {' and '.join(ASSIGNORS)} are")


def check_ids(member_id: str, instance_id: str | None) -> None:
    """Raises ``InvalidRequest``."""
    _check_id(member_id, "a member's id")
    if instance_id is not None:
        _check_id(instance_id, "an instance id")


def _check_id(text: str, what: str) -> None:
    if not text or len(text.encode()) > NAME_BYTES_MAX:
        raise InvalidRequest(f"{what} has 1 to {NAME_BYTES_MAX} bytes")


def _check_range(name: str, given: int, low: int, high: int) -> None:
    if not low <= given <= high:
        raise InvalidRequest(f"{name} is from {low} to {high} ms, not {given}")
