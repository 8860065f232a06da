"""The description of what the API has for groups."""

from __future__ import annotations

from typing import Any

from node.http import openapi_bodies as bodies
from node.http.documents import GroupPage
from node.http.openapi_parts import DURATION, POSITIVE, TEXT, operation, path, query
from node.service.group_admin import GroupDescription, GroupList
from node.service.group_lag import GroupLag
from node.service.group_members import MemberState
from node.service.group_offsets import CommittedOffsets
from node.service.group_poll import STARTS
from node.service.group_reset import ResetResult

_EPOCH = {"type": "integer", "minimum": 0, "maximum": (1 << 31) - 1}
_NUMBER = {"type": "integer", "minimum": 0}


def group_paths(timeout: dict[str, Any], listing: list[dict[str, Any]]) -> dict[str, Any]:
    """``timeout`` and ``listing``: the parameters of the same name that other paths have too."""
    group, member = path("group", TEXT), path("member", TEXT)
    topic, partition = query("topic", TEXT), query("partition", _NUMBER)
    return {
        "/v1/groups": {
            "get": operation("Groups in order of name", [*listing, timeout], result=GroupList),
        },
        "/v1/groups/{group}": {
            "get": operation("A group with its members", [group, timeout], result=GroupDescription),
            "delete": operation(
                "Delete a group without members, and its offsets",
                [group, timeout],
                status="204",
                result=None,
            ),
        },
        "/v1/groups/{group}/records": {
            "post": operation(
                "Commit what the last answer brought, and get the next records; first without a token",
                [
                    group,
                    query("topics", {"type": "string", "description": "Names, with commas between them"}),
                    query("wait", DURATION),
                    query("start", {"type": "string", "enum": list(STARTS)}),
                    query("max_records", POSITIVE),
                    query("max_bytes", POSITIVE),
                ],
                body=bodies.poll_body(),
                result=GroupPage,
            )
        },
        "/v1/groups/{group}/members": {
            "post": operation(
                "Become a member", [group, timeout], body=bodies.join_body(), result=MemberState
            ),
        },
        "/v1/groups/{group}/members/{member}": {
            "post": operation(
                "A member lives, says what it has, and is told what it may read",
                [group, member, timeout],
                body=bodies.heartbeat_body(),
                result=MemberState,
            ),
            "delete": operation(
                "A member goes, or without its epoch is removed",
                [
                    group,
                    member,
                    query("member_epoch", _EPOCH),
                    query("instance_id", TEXT),
                    query("for_a_while", {"type": "boolean"}),
                    timeout,
                ],
                status="204",
                result=None,
            ),
        },
        "/v1/groups/{group}/offsets": {
            "get": operation(
                "What is committed", [group, topic, partition, timeout], result=CommittedOffsets
            ),
            "post": operation(
                "Commit offsets", [group, timeout], body=bodies.commit_body(), result=CommittedOffsets
            ),
            "delete": operation(
                "Forget what is committed in a topic, or in one partition",
                [group, topic, partition, timeout],
                status="204",
                result=None,
            ),
        },
        "/v1/groups/{group}/offsets/reset": {
            "post": operation(
                "Have a group go on elsewhere", [group, timeout], body=bodies.reset_body(), result=ResetResult
            ),
        },
        "/v1/groups/{group}/lag": {
            "get": operation("How far a group is behind", [group, timeout], result=GroupLag),
        },
    }
