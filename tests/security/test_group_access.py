"""Groups in a cluster that asks who somebody is: tokens, topics that are hidden, patterns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.security.secured import Secured, secured
from tests.support.nodes import TestNode

GROUP: Final = "/v1/groups/g"


async def _ask(
    four: Secured, node: TestNode, who: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    status, answer = await four.ask(node, who, method, path, body=body)
    return status, json.loads(answer or b"null")


async def test_what_somebody_may_do_with_a_group(tmp_path: Path) -> None:
    """A token is of whom it was given to; hidden topics stay hidden; a pattern needs to see all names."""
    async with secured(tmp_path) as four:
        nodes = four.cluster.up
        for topic in ("t", "hidden"):
            await four.cluster.create(topic, replicas=2)
        for user in ("ann", "bob"):
            await four.user(user)
            await four.allow(user, "read", "t")
            await four.allow(user, "read", "g", kind="group")
        await four.user("eve")
        both = {"topics": ["t", "hidden"], "member_id": "all"}
        assert (await _ask(four, nodes[0], "admin", "POST", f"{GROUP}/members", both))[0] == 200
        await four.done("DELETE", f"{GROUP}/members/all")
        for number, node in enumerate(nodes):
            path = f"{GROUP}/records?topics=t"
            status, given = await _ask(four, node, "ann", "POST", path, {})
            assert status == 200, given
            token = {"commit": given["commit"]}
            other = nodes[number - 1]
            status, problem = await _ask(four, other, "bob", "POST", path, token)
            assert (status, problem["code"]) == (400, "invalid_request"), "it is ann's"
            assert (await _ask(four, other, "eve", "POST", path, token))[0] in (403, 404)
            assert (await _ask(four, other, "ann", "POST", path, {**token, "leave": True}))[0] == 200
            hidden = f"{GROUP}/records?topics=hidden"
            status, problem = await _ask(four, node, "ann", "POST", hidden, {})
            assert (status, problem["code"]) == (404, "unknown_topic")
            status, problem = await _ask(four, node, "ann", "POST", f"{GROUP}/members", {"pattern": ".*"})
            assert (status, problem["code"]) == (403, "forbidden"), "it would tell the names of all topics"
            assert "--prefix --operation read" in problem["detail"]
            assert (await _ask(four, node, "admin", "POST", f"{GROUP}/members", both))[0] == 200
            for who, seen in (("ann", {"t"}), ("admin", {"t", "hidden"})):
                _, described = await _ask(four, node, who, "GET", GROUP)
                (member,) = described["members"]
                assert {*member["topics"]} == {one["topic"] for one in member["assignment"]} == seen
                _, lag = await _ask(four, node, who, "GET", f"{GROUP}/lag")
                assert {one["topic"] for one in lag["partitions"]} == seen
            assert (await _ask(four, node, "ann", "DELETE", GROUP))[0] == 403
            assert (await _ask(four, node, "eve", "GET", "/v1/groups"))[1] == {"groups": []}
            assert len((await _ask(four, node, "bob", "GET", "/v1/groups"))[1]["groups"]) == 1
            await four.done("DELETE", f"{GROUP}/members/all")


async def test_a_pattern_needs_to_read_all_that_it_ever_describes(tmp_path: Path) -> None:
    """By an entry for a prefix of it, with nothing denied below; or to describe the cluster. At any node."""
    async with secured(tmp_path) as four:
        await four.cluster.create("team-orders", replicas=2)
        for user in ("ann", "bob", "eve"):
            await four.user(user)
            await four.allow(user, "read", "g", kind="group")
            await four.allow(user, "read", "team-", pattern="prefix")
        await four.allow("bob", "describe", "team-secret", allow=False)
        await four.allow("eve", "read", "team-x", pattern="prefix", allow=False)
        await four.allow("eve", "describe", "", kind="cluster")
        cases = (
            ("ann", "team-.*", 200),
            ("ann", "team-orders", 200),
            ("ann", "team.*", 403),
            ("ann", "(team-a|other).*", 403),
            ("bob", "team-.*", 403),
            ("bob", "team-o.*", 200),
            ("eve", "team-.*", 200),
            ("eve", ".*", 200),
            ("admin", ".*", 200),
        )
        for number, node in enumerate(four.cluster.up):
            for who, pattern, expected in cases:
                body = {"pattern": pattern, "member_id": f"{who}-{number}-{len(pattern)}"}
                status, told = await _ask(four, node, who, "POST", f"{GROUP}/members", body)
                assert status == expected, (who, pattern, told)
                if status == 200:
                    epoch = {"pattern": pattern, "member_epoch": told["member_epoch"]}
                    path = f"{GROUP}/members/{body['member_id']}"
                    assert (await _ask(four, node, who, "POST", path, epoch))[0] == 200
                    wider = {**epoch, "pattern": "t.*"}
                    allowed = who in ("eve", "admin")
                    assert (await _ask(four, node, who, "POST", path, wider))[0] == (200 if allowed else 403)
                    await four.done("DELETE", path)
