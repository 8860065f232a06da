"""Entries that say who may do what, over HTTP: added, listed, removed, and what they come to."""

from __future__ import annotations

from typing import Any

import pytest

from node.metadata.levels import SECURITY
from tests.http.conftest import Harness

ENTRY = {
    "principal": "ann",
    "kind": "topic",
    "name": "orders",
    "pattern": "literal",
    "operation": "read",
    "allow": True,
}
DENIAL = {**ENTRY, "principal": "*", "name": "", "pattern": "prefix", "operation": "all", "allow": False}


@pytest.fixture(autouse=True)
def at_its_level(http: Harness) -> None:
    """Below it there are none."""
    http.cluster.level = SECURITY


async def _ask(http: Harness, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with http.session.request(method, http.url(path), json=body) as answer:
        return answer.status, await answer.json()


async def test_entries_are_there_once_or_not_at_all(http: Harness) -> None:
    """Added or removed again, nothing changes; what was removed is said."""
    assert await _ask(http, "POST", "/v1/acls", {"acls": [ENTRY, DENIAL]}) == (200, {"added": 2})
    assert await _ask(http, "POST", "/v1/acls", {"acls": [ENTRY]}) == (200, {"added": 0})
    assert await _ask(http, "GET", "/v1/acls") == (200, {"acls": [DENIAL, ENTRY]})
    assert await _ask(http, "DELETE", "/v1/acls?principal=ann") == (200, {"acls": [ENTRY]})
    assert await _ask(http, "DELETE", "/v1/acls?principal=ann") == (200, {"acls": []})
    assert await _ask(http, "GET", "/v1/acls") == (200, {"acls": [DENIAL]})


async def test_what_is_left_out_has_a_default(http: Harness) -> None:
    """An entry allows something for one name, unless it says otherwise."""
    short = {"principal": "ann", "kind": "topic", "name": "orders", "operation": "read"}
    await _ask(http, "POST", "/v1/acls", {"acls": [short]})
    assert await _ask(http, "GET", "/v1/acls") == (200, {"acls": [ENTRY]})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("principal=ann", [ENTRY]),
        ("principal=bob", []),
        ("allow=false", [DENIAL]),
        ("kind=topic&operation=all", [DENIAL]),
        ("name=", [DENIAL]),
        ("pattern=literal", [ENTRY]),
        ("principal=ann&allow=false", []),
    ],
)
async def test_a_filter_means_what_has_all_of_it(http: Harness, query: str, found: list[Any]) -> None:
    """In a list, and in a removal, which leaves the others."""
    await _ask(http, "POST", "/v1/acls", {"acls": [ENTRY, DENIAL]})
    assert await _ask(http, "GET", f"/v1/acls?{query}") == (200, {"acls": found})
    assert await _ask(http, "DELETE", f"/v1/acls?{query}") == (200, {"acls": found})
    left = [entry for entry in (DENIAL, ENTRY) if entry not in found]
    assert await _ask(http, "GET", "/v1/acls") == (200, {"acls": left})


async def test_what_they_come_to_and_by_which_entry(http: Harness) -> None:
    """The denial before what allows, and nothing by default."""
    asked = "/v1/acls/check?principal=ann&kind=topic&name=orders&operation="
    assert await _ask(http, "GET", f"{asked}read") == (
        200,
        {"allowed": False, "reason": "no entry allows it", "acl": None},
    )
    await _ask(http, "POST", "/v1/acls", {"acls": [ENTRY]})
    for operation in ("read", "describe"):
        assert await _ask(http, "GET", f"{asked}{operation}") == (
            200,
            {"allowed": True, "reason": "this entry allows it", "acl": ENTRY},
        )
    await _ask(http, "POST", "/v1/acls", {"acls": [DENIAL]})
    assert await _ask(http, "GET", f"{asked}read") == (
        200,
        {"allowed": False, "reason": "this entry denies it", "acl": DENIAL},
    )
    await _ask(http, "POST", "/v1/users", {"user": "root", "administrator": True})
    root = "/v1/acls/check?principal=root&kind=topic&operation="
    _, decision = await _ask(http, "GET", f"{root}read&name=orders")
    assert (decision["allowed"], decision["reason"]) == (True, "root is an administrator")
    _, decision = await _ask(http, "GET", f"{root}write&name=__floodmark_audit")
    assert (decision["allowed"], decision["reason"]) == (False, "nobody may write the cluster's own topics")
    _, decision = await _ask(http, "GET", f"{root}read&name=__floodmark_audit")
    assert (decision["allowed"], decision["reason"]) == (True, "root is an administrator")
    _, decision = await _ask(http, "GET", f"{asked.replace('orders', '__floodmark_audit')}read")
    assert (decision["allowed"], decision["reason"]) == (False, "it is for administrators only")


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "", {"acls": []}, "is not what is expected here, such as"),
        ("POST", "", {"acls": [{**ENTRY, "host": "h"}]}, "unknown field `host`"),
        ("POST", "", {"acls": [{**ENTRY, "operation": "drop"}]}, "'drop' is not an operation: one of read"),
        ("POST", "", {"acls": [{**ENTRY, "principal": "a b"}]}, "is not a user's name"),
        (
            "POST",
            "",
            {"acls": [ENTRY, {**ENTRY, "name": "*"}]},
            "there is the pattern prefix and an empty name",
        ),
        ("POST", "", {"acls": [ENTRY] * 1001}, "length <= 1000"),
        ("DELETE", "", None, "say which entries"),
        ("DELETE", "?timeout=1s", None, "say which entries"),
        ("GET", "?allow=perhaps", None, "allow"),
        ("GET", "?host=h", None, "unknown query parameter 'host'"),
        ("GET", "?kind=Topic", None, "'Topic' is not a kind of resource"),
        ("DELETE", "?principal=ann&operation=READ", None, "'READ' is not an operation"),
        ("DELETE", "?pattern=prefixed", None, "'prefixed' is not a pattern"),
        ("DELETE", "?principal=", None, "'' is not a user's name"),
        ("DELETE", "?name=*", None, "there is the pattern prefix and an empty name"),
        ("GET", "?kind=cluster&name=c", None, "there is one cluster"),
        ("GET", "/check?principal=ann&operation=read&kind=group&name=", None, "1 to 255 bytes"),
        ("GET", "/check?principal=ann&operation=drop&kind=topic&name=t", None, "'drop' is not an operation"),
        ("GET", "/check?principal=ann", None, "operation is missing"),
        ("GET", "/check?principal=ann&operation=all&kind=topic&name=t", None, "ask for one operation"),
        ("GET", "/check?principal=ann&operation=read&kind=topic", None, "which topic?"),
        ("GET", "/check?principal=ann&operation=read&kind=cluster&name=c", None, "there is one cluster"),
    ],
)
async def test_what_is_wrong_is_said(http: Harness, method: str, path: str, body: Any, words: str) -> None:
    """400, and nothing of it is done."""
    status, problem = await _ask(http, method, f"/v1/acls{path}", body)
    assert (status, problem["code"]) == (400, "invalid_request")
    assert words in problem["detail"]
    assert await _ask(http, "GET", "/v1/acls") == (200, {"acls": []})


async def test_a_filter_finds_entries_of_every_kind(http: Harness) -> None:
    """What is not given may be anything that an entry has: the cluster, all names, dots."""
    cluster = {**ENTRY, "kind": "cluster", "name": ""}
    hidden = {**ENTRY, "name": "..", "pattern": "prefix"}
    await _ask(http, "POST", "/v1/acls", {"acls": [cluster, hidden, DENIAL]})
    for query, found in (
        ("name=&pattern=literal", [cluster]),
        ("kind=cluster", [cluster]),
        ("kind=cluster&name=", [cluster]),
        ("kind=topic&pattern=prefix", [DENIAL, hidden]),
        ("name=..", [hidden]),
        ("principal=*&name=", [DENIAL]),
        ("principal=anonymous", []),
    ):
        assert await _ask(http, "GET", f"/v1/acls?{query}") == (200, {"acls": found}), query


async def test_groups_of_any_name_can_be_asked_about(http: Harness) -> None:
    """Their names may have characters that no entry's has; an entry for a prefix is about them as well."""
    asked = "/v1/acls/check?principal=ann&operation=read&kind=group&name=a%20b%C3%A4"
    status, decision = await _ask(http, "GET", asked)
    assert (status, decision["allowed"]) == (200, False)
    entry = {**ENTRY, "kind": "group", "name": "a", "pattern": "prefix"}
    await _ask(http, "POST", "/v1/acls", {"acls": [entry]})
    assert await _ask(http, "GET", asked) == (
        200,
        {"allowed": True, "reason": "this entry allows it", "acl": entry},
    )


async def test_they_wait_for_their_feature_level(http: Harness) -> None:
    """Until then there is nothing to add, and nothing there."""
    http.cluster.level = SECURITY - 1
    status, problem = await _ask(http, "POST", "/v1/acls", {"acls": [ENTRY]})
    assert (status, problem["code"], problem["needs"]) == (409, "feature_level_needed", SECURITY)
    assert await _ask(http, "GET", "/v1/acls") == (200, {"acls": []})
