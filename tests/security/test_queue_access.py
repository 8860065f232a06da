"""Queues in a cluster that asks who somebody is: who may do what, at any node, and receipts of others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.security.secured import Secured, secured
from tests.support.nodes import TestNode

QUEUE: Final = "/v1/queues/q"
RECEIVE: Final = f"{QUEUE}/receive"


async def _ask(
    four: Secured, node: TestNode, who: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    status, answer = await four.ask(node, who, method, path, body=body)
    return status, json.loads(answer or b"null")


@pytest.fixture
async def four(tmp_path: Path) -> AsyncIterator[Secured]:
    """Two topics, one of them hidden from everybody; a queue of each."""
    async with secured(tmp_path) as found:
        for topic in ("t", "hidden"):
            await found.cluster.create(topic, replicas=2)
        for queue, topic in (("q", "t"), ("secret", "hidden")):
            await found.done("PUT", f"/v1/queues/{queue}", {"topic": topic})
        yield found


async def test_a_receipt_is_of_whom_it_was_given_to(four: Secured) -> None:
    """Whoever else may read the queue too; and hands over nothing of a topic that may not be read."""
    for user in ("ann", "bob", "eve"):
        await four.user(user)
        await four.allow(user, "read", "q", kind="queue")
    for user in ("ann", "bob"):
        await four.allow(user, "read", "t")
    await four.allow("ann", "read", "secret", kind="queue")
    nodes = four.cluster.up
    for number, node in enumerate(nodes):
        await four.done("POST", "/v1/topics/t/records", {"value": number})
        status, found = await _ask(four, node, "ann", "POST", f"{RECEIVE}?wait=20s")
        assert status == 200, found
        (record,) = found["records"]
        receipts = {"receipts": [record["receipt"]]}
        other = nodes[number - 1]
        for who in ("bob", "eve", "admin"):
            for action in ("ack", "nack", "extend", "reject"):
                status, problem = await _ask(four, other, who, "POST", f"{QUEUE}/{action}", receipts)
                assert (status, problem["code"]) == (400, "invalid_request"), "it is ann's"
            status, problem = await _ask(four, other, who, "POST", RECEIVE, {"ack": receipts["receipts"]})
            assert status in (400, 404), problem
        status, problem = await _ask(four, node, "eve", "POST", RECEIVE)
        assert (status, problem["code"]) == (404, "unknown_topic"), "the topic may not be read"
        status, problem = await _ask(four, node, "ann", "POST", "/v1/queues/secret/receive")
        assert (status, problem["code"]) == (404, "unknown_topic")
        status, problem = await _ask(four, node, "bob", "POST", "/v1/queues/secret/receive")
        assert (status, problem["code"]) == (403, "forbidden")
        assert (await _ask(four, other, "ann", "POST", f"{QUEUE}/ack", receipts))[0] == 200


async def test_making_and_changing_a_queue_takes_its_topics_too(four: Secured) -> None:
    """Its topic to read, that of its dead letters to write, and to make; what is there is altered."""
    await four.user("ann")
    nodes = four.cluster.up
    wanted = {"topic": "t", "window": 7}

    async def put(body: Any = wanted, queue: str = "new") -> tuple[int, str]:
        found = {await _code(node, body, queue) for node in nodes}
        (answer,) = found
        return answer

    async def _code(node: TestNode, body: Any, queue: str) -> tuple[int, str]:
        status, answer = await _ask(four, node, "ann", "PUT", f"/v1/queues/{queue}", body)
        return status, answer.get("code", "")

    forbidden, unknown = (403, "forbidden"), (404, "unknown_topic")
    assert await put() == forbidden
    await four.allow("ann", "create", "new", kind="queue")
    assert await put() == unknown
    await four.allow("ann", "read", "t")
    assert await put() == unknown, "the topic of dead letters may not even be described"
    await four.allow("ann", "write", "new.dead")
    assert await put() == forbidden, "it is not there, and may not be made"
    await four.allow("ann", "create", "new.dead")
    status, made = await _ask(four, nodes[0], "ann", "PUT", "/v1/queues/new", wanted)
    assert (status, made["config"]["dead_letter_topic"]) == (201, "new.dead")
    assert await put() == (200, ""), "nothing is changed"
    assert await put({"topic": "t", "window": 8}) == forbidden
    await four.allow("ann", "alter", "new", kind="queue")
    assert await put({"topic": "t", "window": 8}) == (200, "")
    assert await put({"topic": "hidden"}) == unknown
    assert await put({"topic": "t", "dead_letter_topic": "hidden"}) == unknown
    assert await put({"topic": "t", "dead_letter_topic": "__floodmark_x"}) in (unknown, forbidden)
    assert await put({"topic": "t"}, "q") == forbidden, "another queue"
    for node in nodes:
        for topic, code in (("__floodmark_coordinator", 403), ("t", 403)):
            body = {"topic": topic, "dead_letter_topic": "__floodmark_coordinator"}
            assert (await _ask(four, node, "admin", "PUT", "/v1/queues/more", body))[0] == code


async def test_each_request_takes_its_own_permission(four: Secured) -> None:
    """And no other one does, at any node; a list has what may be described."""
    await four.done("POST", "/v1/topics/t/records", {"value": 1})
    status, found = await _ask(four, four.cluster.up[0], "admin", "POST", f"{RECEIVE}?wait=20s")
    receipts = {"receipts": [found["records"][0]["receipt"]]}
    assert (await _ask(four, four.cluster.up[0], "admin", "POST", f"{QUEUE}/reject", receipts))[0] == 200
    async with asyncio.timeout(20):
        while not (letters := (await four.done("GET", f"{QUEUE}/dead"))["dead"]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    letter = f"{QUEUE}/dead/{letters[0]['id']}"
    needs = {
        "read": [
            ("POST", RECEIVE, None),
            ("POST", f"{QUEUE}/ack", receipts),
            ("POST", f"{QUEUE}/settle", {"settlements": []}),
            ("GET", letter, None),
        ],
        "describe": [("GET", QUEUE, None), ("GET", f"{QUEUE}/dead", None)],
        "alter": [
            ("POST", f"{QUEUE}/dead/replay", {"ids": ["9-9-9"]}),
            ("POST", f"{QUEUE}/dead/purge", {"ids": ["9-9-9"]}),
            ("POST", f"{QUEUE}/purge", None),
        ],
        "delete": [("DELETE", "/v1/queues/secret", None)],
    }
    for allowed in needs:
        await four.user(f"may-{allowed}")
        for name in ("q", "secret"):
            await four.allow(f"may-{allowed}", allowed, name, kind="queue")
    await four.user("nobody")
    for node in four.cluster.up:
        for who in ("nobody", *(f"may-{allowed}" for allowed in needs)):
            for needed, requests in needs.items():
                for method, path, body in requests:
                    status, answer = await _ask(four, node, who, method, path, body)
                    may = who == f"may-{needed}" or (needed == "describe" and who != "nobody")
                    code = answer["code"] if status >= 400 else ""
                    assert (code == "forbidden") is not may, (who, method, path, status, answer)
        listed = await _ask(four, node, "nobody", "GET", "/v1/queues")
        assert listed == (200, {"queues": []})
    status, answer = await _ask(four, four.cluster.up[0], "may-read", "GET", letter)
    assert (status, answer["code"]) == (404, "unknown_topic"), "its record is in a topic that is hidden"
    await four.allow("may-read", "read", "q.dead")
    assert (await _ask(four, four.cluster.up[1], "may-read", "GET", letter))[1]["record"]["value"] == 1


async def test_whoever_may_no_longer_read_waits_no_longer(four: Secured) -> None:
    """For the queue or its topic; what comes then is for others."""
    nodes = four.cluster.up
    for user, kind, name in (("ann", "queue", "q"), ("bob", "topic", "t")):
        await four.user(user)
        await four.allow(user, "read", "q", kind="queue")
        await four.allow(user, "read", "t")
        waiting = [
            asyncio.create_task(_ask(four, node, user, "POST", f"{RECEIVE}?wait=30s")) for node in nodes
        ]
        await asyncio.sleep(0.2)  # So that they wait; where they do not yet, they are refused all the same.
        await four.done("DELETE", f"/v1/acls?principal={user}&kind={kind}&name={name}")
        for status, problem in await asyncio.gather(*waiting):
            assert (status, problem["code"]) in ((403, "forbidden"), (404, "unknown_topic"))
    await four.done("POST", "/v1/topics/t/records", {"value": 1})
    _, found = await _ask(four, nodes[0], "admin", "POST", f"{RECEIVE}?wait=20s")
    assert [(record["value"], record["deliveries"]) for record in found["records"]] == [(1, 1)]


async def test_another_queue_of_the_same_name_gives_away_nothing(four: Secured) -> None:
    """Nodes remember which topic a queue is of: what another one delivers is judged by its own topic. A dead
    letter that comes again was in the queue's topic, so it takes no more than that."""
    await four.user("ann")
    await four.allow("ann", "read", "q", kind="queue")
    await four.allow("ann", "read", "t")
    nodes = four.cluster.up
    reject = {"settlements": [{"receipt": "", "action": "reject"}]}
    for node in nodes:
        await four.done("POST", "/v1/topics/t/records", {"value": "t"})
        _, found = await _ask(four, node, "ann", "POST", f"{RECEIVE}?wait=20s")
        reject["settlements"][0]["receipt"] = found["records"][0]["receipt"]
        assert (await _ask(four, node, "ann", "POST", f"{QUEUE}/settle", reject))[0] == 200
    async with asyncio.timeout(20):
        while len((await four.done("GET", f"{QUEUE}/dead"))["dead"]) < len(nodes):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await four.done("POST", f"{QUEUE}/dead/replay", {"all": True}) == {"replayed": len(nodes)}
    for node in nodes:
        _, found = await _ask(four, node, "ann", "POST", f"{RECEIVE}?wait=20s")
        assert [(record["topic"], record["value"]) for record in found["records"]] == [("q.dead", "t")]
    await four.done("DELETE", QUEUE)
    await four.done("PUT", QUEUE, {"topic": "hidden", "dead_letter_topic": None})
    for node in nodes:
        await four.done("POST", "/v1/topics/hidden/records", {"value": "secret"})
        status, problem = await _ask(four, node, "ann", "POST", f"{RECEIVE}?wait=20s")
        assert (status, problem["code"]) == (404, "unknown_topic")
        assert b"secret" not in json.dumps(problem).encode()
    await four.done("DELETE", QUEUE)
    await four.done("PUT", QUEUE, {"topic": "t"})
    for node in nodes:
        status, found = await _ask(four, node, "ann", "POST", f"{RECEIVE}?wait=20s")
        assert (status, [record["value"] for record in found["records"]]) == (200, ["t"])
