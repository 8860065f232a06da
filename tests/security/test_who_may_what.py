"""Every route, with and without credentials, at every kind of node: an expected answer for each.

What is added to the API without an expectation here fails.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from node.http import openapi
from node.metadata.state import INTERNAL_PREFIX
from node.request_limits import RequestLimits
from node.service.policy import Operation
from tests.node.test_policy import REQUESTS, Sent, T
from tests.security.secured import Secured, secured

INTERNAL: Final = f"{INTERNAL_PREFIX}x"
_TOPIC: Final = "/v1/topics/{topic}"
_PARTITION: Final = f"{_TOPIC}/partitions/{{partition}}"
_USER: Final = "/v1/users/{user}"
_GROUP: Final = "/v1/groups/{group}"
_QUEUE: Final = "/v1/queues/{queue}"
_NODE: Final = "/v1/nodes/{node}"
STRANGERS: Final = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Who says nothing, or something wrong, gets an answer here; elsewhere a 401."""
EXPECTED: Final[dict[tuple[str, str], tuple[set[int], set[int]]]] = {
    ("GET", "/"): ({200}, {200}),
    ("GET", "/healthz"): ({200}, {200}),
    ("GET", "/readyz"): ({200}, {200}),
    ("GET", "/openapi.json"): ({200}, {200}),
    ("GET", "/metrics"): ({403}, {200}),
    ("POST", "/v1/login"): ({401, 429}, {401, 429}),
    ("GET", "/v1/me"): ({200}, {200}),
    ("POST", f"{_PARTITION}/records"): ({403}, {200}),
    ("GET", f"{_PARTITION}/records"): ({200}, {200}),
    ("GET", f"{_PARTITION}/tail"): ({200}, {200}),
    ("GET", f"{_PARTITION}/positions/{{group}}"): ({403}, {200}),
    ("POST", f"{_PARTITION}/positions/{{group}}"): ({403}, {200}),
    ("PUT", f"{_PARTITION}/positions/{{group}}"): ({403}, {200}),
    ("DELETE", f"{_PARTITION}/positions/{{group}}"): ({403}, {204}),
    ("POST", f"{_TOPIC}/records"): ({403}, {200}),
    ("GET", f"{_TOPIC}/records"): ({200}, {200}),
    ("GET", f"{_TOPIC}/wait"): ({200}, {200}),
    ("GET", _TOPIC): ({200}, {200}),
    ("PUT", _TOPIC): ({403}, {200}),
    ("PATCH", _TOPIC): ({403}, {200}),
    ("DELETE", _TOPIC): ({403}, {404}),  # Another topic's id, so that it is there for the next node.
    ("GET", "/v1/topics"): ({200}, {200}),
    ("POST", "/v1/producers"): ({403}, {200}),
    ("GET", "/v1/groups"): ({200}, {200}),
    ("GET", _GROUP): ({403}, {200, 404}),
    ("DELETE", _GROUP): ({403}, {204, 404, 409}),
    ("POST", f"{_GROUP}/records"): ({403}, {200}),
    ("POST", f"{_GROUP}/members"): ({403}, {200}),
    ("POST", f"{_GROUP}/members/{{member}}"): ({403}, {200, 404, 409}),
    ("DELETE", f"{_GROUP}/members/{{member}}"): ({403}, {204, 404}),
    ("GET", f"{_GROUP}/offsets"): ({403}, {200}),
    ("POST", f"{_GROUP}/offsets"): ({403}, {200, 409}),
    ("DELETE", f"{_GROUP}/offsets"): ({403}, {204, 404, 409}),
    ("POST", f"{_GROUP}/offsets/reset"): ({403}, {200, 409}),
    ("GET", f"{_GROUP}/lag"): ({403}, {200, 404}),
    ("GET", "/v1/queues"): ({200}, {200}),
    ("PUT", _QUEUE): ({403}, {200, 201}),
    ("GET", _QUEUE): ({403}, {200}),
    ("DELETE", _QUEUE): ({403}, {204, 404}),
    ("POST", f"{_QUEUE}/receive"): ({403}, {200}),
    ("POST", f"{_QUEUE}/ack"): ({403}, {400}),  # Another cluster's receipt, as for the next ones.
    ("POST", f"{_QUEUE}/nack"): ({403}, {400}),
    ("POST", f"{_QUEUE}/extend"): ({403}, {400}),
    ("POST", f"{_QUEUE}/reject"): ({403}, {400}),
    ("POST", f"{_QUEUE}/settle"): ({403}, {400}),
    ("POST", f"{_QUEUE}/purge"): ({403}, {200}),
    ("GET", f"{_QUEUE}/dead"): ({403}, {200}),
    ("GET", f"{_QUEUE}/dead/{{id}}"): ({403}, {400}),  # The id of none.
    ("POST", f"{_QUEUE}/dead/replay"): ({403}, {200}),
    ("POST", f"{_QUEUE}/dead/purge"): ({403}, {200}),
    ("GET", "/v1/users"): ({403}, {200}),
    ("POST", "/v1/users"): ({403}, {201, 409}),
    ("GET", _USER): ({403}, {200}),
    ("PATCH", _USER): ({403}, {200}),
    ("PUT", f"{_USER}/password"): ({403}, {200}),
    ("GET", f"{_USER}/tokens"): ({403}, {200}),
    ("POST", f"{_USER}/tokens"): ({403}, {201, 409}),
    ("DELETE", f"{_USER}/tokens/{{id}}"): ({403}, {404}),
    ("DELETE", _USER): ({403}, {204, 404}),
    ("GET", "/v1/quotas"): ({403}, {200}),
    ("PUT", "/v1/quotas/{principal}"): ({403}, {200}),
    ("DELETE", "/v1/quotas/{principal}"): ({403}, {200, 204, 404}),
    ("GET", "/v1/acls"): ({403}, {200}),
    ("POST", "/v1/acls"): ({403}, {200}),
    ("DELETE", "/v1/acls"): ({403}, {200}),
    ("GET", "/v1/acls/check"): ({403}, {200}),
    ("GET", "/v1/cluster"): ({403}, {200}),
    ("GET", "/v1/cluster/health"): ({403}, {200}),
    ("GET", "/v1/cluster/features"): ({403}, {200}),
    ("POST", "/v1/cluster/features"): ({403}, {409}),
    ("GET", "/v1/cluster/rebalance"): ({403}, {200}),
    ("POST", "/v1/cluster/rebalance"): ({403}, {202}),
    ("DELETE", "/v1/cluster/rebalance"): ({403}, {202}),
    ("GET", "/v1/reassignments"): ({403}, {200}),
    ("POST", "/v1/reassignments"): ({403}, {400}),  # To a node that there is not.
    ("GET", "/v1/nodes"): ({403}, {200}),
    ("DELETE", _NODE): ({403}, {404}),
    ("GET", f"{_NODE}/drain"): ({403}, {404}),
    ("POST", f"{_NODE}/drain"): ({403}, {404}),
    ("DELETE", f"{_NODE}/drain"): ({403}, {404}),
    ("GET", f"{_NODE}/removal"): ({403}, {404}),
    ("POST", f"{_NODE}/replacement"): ({403}, {404}),
}
"""What a user is answered who may read topic ``t``, and what an administrator is."""


@pytest.fixture
async def four(tmp_path: Path) -> AsyncIterator[Secured]:
    """Nobody, somebody wrong, a reader of ``t``, an administrator; and topics hidden from the reader."""
    async with secured(tmp_path) as found:
        for topic in ("t", "hidden", INTERNAL):
            await found.cluster.create(topic, replicas=2)
        await found.user("reader")
        await found.allow("reader", "read", "t")
        yield found


async def _send(
    four: Secured, node: Any, who: str, sent: Sent, path: str, *, plain: bool
) -> tuple[int, bytes]:
    headers = {"Accept": sent.accept, "Content-Type": sent.media, **({} if plain else {"X-Unusual": "1"})}
    return await four.ask(node, who, sent.method, path, body=sent.body or None, **headers)


def test_every_route_has_an_expected_answer() -> None:
    """For each of four principals."""
    paths = openapi.document(RequestLimits())["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == set(EXPECTED)
    assert {(sent.method, sent.route) for sent in REQUESTS} == described


def _expected(who: str, sent: Sent) -> set[int]:
    reader, admin = EXPECTED[sent.method, sent.route]
    if who in ("reader", "admin"):
        return {"reader": reader, "admin": admin}[who]
    if sent.route == "/v1/login":
        return {401, 429}
    return {200} if sent.route in STRANGERS else {401}


async def test_each_of_four_principals_is_answered_as_expected_everywhere(four: Secured) -> None:
    """At the leader, at a follower, at a node without a replica; on the fast path and beside it."""

    async def answered(node: Any, who: str, sent: Sent, *, plain: bool) -> None:
        status, body = await _send(four, node, who, sent, sent.path, plain=plain)
        assert status in _expected(who, sent), (node.node_id, who, sent, status, body)

    for node in await four.roles("t"):
        # Nodes ask the leader about tokens that they do not know at most ten times a second: all of these
        # wait for the same round. Strangers change nothing, so it does not matter when they come.
        async with asyncio.TaskGroup() as strangers:
            for sent, plain, who in product(REQUESTS, (True, False), ("none", "wrong")):
                strangers.create_task(answered(node, who, sent, plain=plain))
        for sent, plain, who in product(REQUESTS, (True, False), ("reader", "admin")):
            await answered(node, who, sent, plain=plain)


async def test_what_is_hidden_answers_as_what_is_not_there(four: Secured) -> None:
    """To the byte, but for its name, on every route about a topic; and it is in no list."""
    for node in await four.roles("hidden"):
        for sent in (sent for sent in REQUESTS if sent.resource == T and "{topic}" in sent.route):
            for plain in (True, False):
                answers = []
                for name in ("hidden", "absent"):
                    path = sent.path.replace("/topics/t", f"/topics/{name}", 1)
                    status, body = await _send(four, node, "reader", sent, path, plain=plain)
                    answers.append((status, _without_ids(body).replace(name.encode(), b"NAME")))
                assert answers[0] == answers[1], (node.node_id, sent)
                refused = (403, "forbidden") if sent.operation is Operation.CREATE else (404, "unknown_topic")
                assert (answers[0][0], json.loads(answers[0][1])["code"]) == refused
        listed = await four.ask(node, "reader", "GET", "/v1/topics")
        assert [topic["topic"] for topic in json.loads(listed[1])["topics"]] == ["t"]
        absent = await four.ask(node, "reader", "GET", "/v1/topics/absent")
        told = await four.ask(node, "admin", "GET", "/v1/topics/absent")
        assert _without_ids(absent[1]) == _without_ids(told[1]), "who may see everything hears the same"


def _without_ids(body: bytes) -> bytes:
    return re.sub(rb'"request_id":"[^"]*"', b'"request_id":""', body)


async def test_internal_topics_are_the_clusters_own(four: Secured) -> None:
    """An administrator reads them and writes nothing there; others see none, whatever entries say."""
    await four.allow("reader", "all", "", pattern="prefix")
    path = f"/v1/topics/{INTERNAL}"
    records = f"{path}/partitions/0/records"
    for node in await four.roles(INTERNAL):
        for method, where, reader, admin in (
            ("GET", path, 404, 200),
            ("GET", f"{records}?from=earliest", 404, 200),
            ("POST", records, 404, 403),
            ("POST", f"{path}/records", 404, 403),
            ("PUT", path, 403, 403),
            ("PUT", f"/v1/topics/{INTERNAL_PREFIX}new", 403, 403),
            ("DELETE", path, 404, 403),
        ):
            body = {"value": 1} if method == "POST" else {} if method == "PUT" else None
            for who, expected in (("reader", reader), ("admin", admin)):
                status, answer = await four.ask(node, who, method, where, body=body)
                assert status == expected, (node.node_id, who, method, where, answer)
        for who, seen in (("reader", ["hidden", "t"]), ("admin", [INTERNAL, "hidden", "t"])):
            _, answer = await four.ask(node, who, "GET", "/v1/topics")
            assert [topic["topic"] for topic in json.loads(answer)["topics"]] == seen


async def test_a_writer_of_one_topic_can_produce_idempotently(four: Secured) -> None:
    """With one right; a producer's number is no right to anything."""
    await four.user("writer")
    assert (await four.ask(four.cluster.up[0], "writer", "POST", "/v1/producers"))[0] == 403
    await four.allow("writer", "write", "t")
    for node in four.cluster.up:
        assert (await four.ask(node, "writer", "POST", "/v1/producers"))[0] == 200
        assert (await four.ask(node, "writer", "POST", "/v1/topics/t/records", body={"value": 1}))[0] == 200
        assert (await four.ask(node, "writer", "GET", "/v1/topics/t/records"))[0] == 403
        assert (await four.ask(node, "writer", "GET", "/v1/topics/t"))[0] == 200


async def test_a_topic_is_made_by_its_beginning_or_by_the_cluster(four: Secured) -> None:
    """Whoever may make a topic of a name learns that it is taken, as it has to."""
    await four.user("team")
    await four.user("maker")
    await four.allow("team", "create", "team-", pattern="prefix")
    await four.done(
        "POST", "/v1/acls", {"acls": [{"principal": "maker", "kind": "cluster", "operation": "create"}]}
    )
    for number, node in enumerate(four.cluster.up):
        assert (await four.ask(node, "team", "PUT", f"/v1/topics/team-{number}", body={}))[0] == 201
        assert (await four.ask(node, "team", "PUT", "/v1/topics/other", body={}))[0] == 403
        assert (await four.ask(node, "maker", "PUT", f"/v1/topics/any-{number}", body={}))[0] == 201
        assert (await four.ask(node, "maker", "PUT", "/v1/topics/hidden", body={"partitions": 7}))[0] == 409
        assert (await four.ask(node, "team", "GET", f"/v1/topics/team-{number}"))[0] == 200
        assert (await four.ask(node, "team", "DELETE", f"/v1/topics/team-{number}"))[0] == 403


async def test_anonymous_may_do_what_an_entry_allows_to_anonymous(four: Secured) -> None:
    """And is asked who it is for everything else; a wrong token is never taken for none."""
    await four.allow("anonymous", "read", "t")
    for node in four.cluster.up:
        assert (await four.ask(node, "none", "GET", "/v1/topics/t/records"))[0] == 200
        assert (await four.ask(node, "wrong", "GET", "/v1/topics/t/records"))[0] == 401
        assert (await four.ask(node, "none", "GET", "/v1/topics/hidden/records"))[0] == 401
        assert (await four.ask(node, "none", "POST", "/v1/topics/t/records", body={"value": 1}))[0] == 401
        _, answer = await four.ask(node, "none", "GET", "/v1/topics")
        assert [topic["topic"] for topic in json.loads(answer)["topics"]] == ["t"]
