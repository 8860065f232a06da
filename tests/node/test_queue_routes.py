"""Queues over HTTP, at every node: settings, receiving, settling, dead letters, deletion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from node.http.context import CONTEXT
from node.http.queue_settling import ACTIONS
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.levels import QUEUES
from node.metadata.state import COORDINATOR_TOPIC
from node.service import queue_receipt
from node.service.answer_budget import SMALL_BYTES
from tests.node.test_group_routes import Asking
from tests.support.nodes import NodeCluster, TestNode

QUEUE: Final = "/v1/queues/jobs"
SETTINGS: Final = {"topic": "orders", "backoff_ms": [0]}


async def _roles(cluster: NodeCluster, queue: str = "jobs") -> list[TestNode]:
    """Of the queue's shard: its leader, a follower, and a node without a replica."""
    number = shard_of(queue, SHARDS)
    leader = await cluster.leader(COORDINATOR_TOPIC, number)
    replicas = leader.running.metadata.state.topics[COORDINATOR_TOPIC].partitions[number].replicas
    others = [node for node in cluster.up if node is not leader]
    follower = next(node for node in others if node.node_id in replicas)
    without = next(node for node in others if node.node_id not in replicas)
    return [leader, follower, without]


async def _received(ask: Asking, node: TestNode, query: str = "max=1&wait=20s", **body: Any) -> list[Any]:
    """Records, at least one."""
    found = await ask.done(node, "POST", f"{QUEUE}/receive?{query}", body or None)
    assert found["records"], found
    records: list[Any] = found["records"]
    return records


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Asking]:
    """One node, a topic of two partitions."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("orders", partitions=2)
        yield Asking(cluster)


async def test_a_queue_is_made_worked_off_and_deleted_at_any_node(tmp_path: Path) -> None:
    """Each step at the leader of its shard, at a follower, and at a node without a replica."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        ask = Asking(cluster)
        await cluster.create("orders", partitions=2, replicas=2)
        assert (await ask(cluster["n1"], "GET", "/v1/queues"))[1] == {"queues": []}
        assert (await ask(cluster["n1"], "PUT", QUEUE, SETTINGS))[0] == 201
        await ask.done(cluster["n1"], "DELETE", QUEUE)
        roles = await _roles(cluster)
        for number, node in enumerate(roles):
            other, third = roles[number - 1], roles[number - 2]
            await ask.done(node, "PUT", QUEUE, SETTINGS)
            await _names_the_leader(cluster, node)
            await ask.done(node, "DELETE", QUEUE)
            assert (await ask(node, "GET", QUEUE))[1]["code"] == "unknown_queue"
            status, made = await ask(node, "PUT", QUEUE, SETTINGS)
            assert (status, made["config"]["dead_letter_topic"]) == (201, "jobs.dead")
            assert (await ask(other, "PUT", QUEUE, made["config"]))[0] == 200, "it has these settings"
            await ask.done(node, "POST", f"{QUEUE}/purge")
            await ask.produce("orders", 1, 6)

            (first,) = await _received(ask, node)
            settled = await ask.done(other, "POST", f"{QUEUE}/ack", {"receipts": [first["receipt"]]})
            assert settled == {"settled": [{"receipt": first["receipt"], "result": "done"}]}
            again = await ask.done(third, "POST", f"{QUEUE}/ack", {"receipts": [first["receipt"]]})
            assert again["settled"][0]["result"] == "already"
            status, problem = await ask(node, "POST", f"{QUEUE}/nack", {"receipts": [first["receipt"]]})
            assert (status, problem["code"], problem["receipt"]) == (409, "receipt_expired", first["receipt"])

            (failed,) = await _received(ask, other)
            await ask.done(
                other, "POST", f"{QUEUE}/extend", {"receipts": [failed["receipt"]], "visible_ms": 60_000}
            )
            await ask.done(third, "POST", f"{QUEUE}/nack", {"receipts": [failed["receipt"]]})
            both = {"receipts": [failed["receipt"], first["receipt"]]}
            status, report = await ask(other, "POST", f"{QUEUE}/reject", both)
            assert (status, [each["result"] for each in report["settled"]]) == (207, ["late", "late"])

            (bad,) = await _received(ask, third, "wait=20s", ack=[])
            rejected = {"receipts": [bad["receipt"]], "reason": "no such account"}
            await ask.done(node, "POST", f"{QUEUE}/reject", rejected)
            letter = await _dead_letter(ask, other)
            assert (letter["reason"], letter["topic"], letter["partition"]) == (
                "no such account",
                "orders",
                1,
            )
            shown = await ask.done(third, "GET", f"{QUEUE}/dead/{letter['id']}")
            assert (shown["record"]["value"], shown["offset"]) == (bad["value"], bad["offset"])
            assert shown["record"]["headers"]["floodmark-dead-queue"] == "jobs"

            assert (await ask.done(third, "POST", f"{QUEUE}/dead/replay", {"ids": [letter["id"]]})) == {
                "replayed": 1
            }
            seen = await _drained(ask, roles)
            assert sorted(each["value"] for each in seen) == sorted({0, 1, 2, 3, 4, 5} - {first["value"]})
            assert {each["topic"] for each in seen} == {"orders", "jobs.dead"}
            described = await ask.done(third, "GET", QUEUE)
            assert (described["depth"], described["in_flight"], described["dead"]) == (0, 0, 0)

            await ask.produce("orders", 0, 3)
            assert await ask.done(other, "POST", f"{QUEUE}/purge") == {"purged": 3}
            assert (await ask.done(node, "POST", f"{QUEUE}/receive"))["records"] == []
            assert await ask.done(node, "POST", f"{QUEUE}/dead/purge", {"all": True}) == {"purged": 0}
            listed = await ask.done(other, "GET", "/v1/queues?prefix=j")
            assert [each["queue"] for each in listed["queues"]] == ["jobs"]
            assert (await ask(third, "DELETE", QUEUE))[0] == 204
            assert (await ask(node, "POST", f"{QUEUE}/receive"))[1]["code"] == "unknown_queue"


async def _names_the_leader(cluster: NodeCluster, node: TestNode) -> None:
    """So that a client goes there the next time."""
    async with cluster.session.post(f"{node.url}{QUEUE}/receive") as answer:
        assert answer.status == 200
        leader, *_ = await _roles(cluster)  # The one that leads best may have taken over meanwhile.
        assert answer.headers["Floodmark-Leader"] == leader.node_id
        assert answer.headers.get("Floodmark-Leader-Url") == (None if node is leader else leader.url)


async def _dead_letter(ask: Asking, node: TestNode) -> Any:
    async with asyncio.timeout(20):
        while not (found := await ask.done(node, "GET", f"{QUEUE}/dead"))["dead"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    (letter,) = found["dead"]
    return letter


async def _drained(ask: Asking, roles: list[TestNode]) -> list[Any]:
    """All that is delivered until nothing is left, each settled with the next call, at any node."""
    seen: list[Any] = []
    ack: list[str] = []
    async with asyncio.timeout(20):
        while True:
            node = roles[len(seen) % len(roles)]
            body = {"ack": ack}
            found = await ask.done(node, "POST", f"{QUEUE}/receive?max=2&wait=100ms", body)
            assert [each["result"] for each in found.get("settled", [])] == ["done"] * len(ack)
            seen += found["records"]
            ack = [each["receipt"] for each in found["records"]]
            if not ack and not (await ask.done(node, "GET", QUEUE))["depth"]:
                return seen


async def test_a_list_says_how_much_there_is_at_any_node(tmp_path: Path) -> None:
    """Also of what came since anybody looked, and from a leader that has just begun."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        ask = Asking(cluster)
        await cluster.create("orders", partitions=2, replicas=3)
        for name in ("jobs", "others"):
            await ask.done(cluster["n1"], "PUT", f"/v1/queues/{name}", SETTINGS)
        for count, node in enumerate(await _roles(cluster), 1):
            await ask.produce("orders", 0, 1)
            await ask.produce("orders", 1, 2)
            listed = await ask.done(node, "GET", "/v1/queues")
            assert {each["queue"]: each["depth"] for each in listed["queues"]} == {
                "jobs": 3 * count,
                "others": 3 * count,
            }
        leader, follower, _ = await _roles(cluster)
        await leader.stop()
        depths: list[int] = []
        async with asyncio.timeout(60):
            while depths != [9]:  # A partition that the other node led has no leader yet.
                listed = await ask.done(follower, "GET", "/v1/queues?prefix=jobs")
                depths = [each["depth"] for each in listed["queues"]]


async def test_settings_are_kept_but_for_what_is_given(ask: Asking) -> None:
    """And a queue keeps its topic and its ordering."""
    node = ask.cluster["n1"]
    made = await ask.done(node, "PUT", QUEUE, {"topic": "orders", "ordering": "key", "max_deliveries": 7})
    assert made["config"] == {
        "topic": "orders",
        "visibility_timeout_ms": 30_000,
        "max_deliveries": 7,
        "backoff_ms": [1_000, 5_000, 30_000],
        "ordering": "key",
        "max_in_flight": 10_000,
        "max_in_flight_per_worker": 1_000,
        "dead_letter_topic": "jobs.dead",
        "start": "earliest",
        "window": 10_000,
        "breaker": {"failures": 50, "deliveries": 20, "window_ms": 30_000, "pause_ms": 30_000},
    }
    assert len((await ask.done(node, "GET", "/v1/topics/jobs.dead"))["partitions"]) == 2
    changed = await ask.done(node, "PUT", QUEUE, {"topic": "orders", "window": 5, "breaker": {"failures": 0}})
    assert changed["config"] == {
        **made["config"],
        "window": 5,
        "breaker": {**made["config"]["breaker"], "failures": 0},
    }
    durations = {"visibility_timeout": "2m", "backoff": ["500ms", "0", "1h"]}
    timed = await ask.done(node, "PUT", QUEUE, {"topic": "orders", **durations})
    milliseconds = {"visibility_timeout_ms": 120_000, "backoff_ms": [500, 0, 3_600_000]}
    assert timed["config"] == {**changed["config"], **milliseconds}
    none = await ask.done(node, "PUT", QUEUE, {"topic": "orders", "dead_letter_topic": None})
    assert none["config"] == {**timed["config"], "dead_letter_topic": None}
    assert (await ask.done(node, "GET", QUEUE))["config"] == none["config"]
    await ask.cluster.create("others")
    for wanted in ({"topic": "others"}, {"topic": "orders", "ordering": "none"}):
        status, problem = await ask(node, "PUT", QUEUE, wanted)
        assert (status, problem["code"]) == (409, "queue_exists")
        assert (problem["topic"], problem["ordering"]) == ("orders", "key")
    status, problem = await ask(node, "PUT", "/v1/queues/more", {"topic": "nothing"})
    assert (status, problem["code"]) == (404, "unknown_topic")
    assert "more.dead" not in node.running.metadata.state.topics, (
        "nothing is made for a queue that is refused"
    )


_RECEIVE: Final = f"{QUEUE}/receive"
WRONG: Final[list[tuple[str, str, Any]]] = [
    ("PUT", QUEUE, None),
    ("PUT", QUEUE, {}),
    ("PUT", QUEUE, {"topic": "no/name"}),
    ("PUT", "/v1/queues/..", {"topic": "orders"}),
    ("PUT", f"/v1/queues/{'q' * 249}", {"topic": "orders"}),
    *(
        ("PUT", QUEUE, {"topic": "orders", **wrong})
        for wrong in (
            {"visibility_timeout_ms": 0},
            {"visibility_timeout_ms": 1 << 70},
            {"visibility_timeout_ms": "30s"},
            {"visibility_timeout": 30},
            {"visibility_timeout": "soon"},
            {"visibility_timeout": "999999999h"},
            {"visibility_timeout": "30s", "visibility_timeout_ms": 30_000},
            {"backoff": "1s"},
            {"backoff": ["1s", "-1s"]},
            {"backoff": ["1s"], "backoff_ms": [1_000]},
            {"max_deliveries": 0},
            {"max_in_flight": -1},
            {"window": 1 << 40},
            {"backoff_ms": [-1]},
            {"backoff_ms": [0] * 100},
            {"ordering": "some"},
            {"start": "now"},
            {"dead_letter_topic": "orders"},
            {"dead_letter_topic": "."},
            {"breaker": {"failures": 101}},
            {"breaker": {"more": 1}},
            {"more": 1},
        )
    ),
    ("POST", f"{_RECEIVE}?max=0", None),
    ("POST", f"{_RECEIVE}?max=1001", None),
    ("POST", f"{_RECEIVE}?max=all", None),
    ("POST", f"{_RECEIVE}?wait=soon", None),
    ("POST", f"{_RECEIVE}?max_bytes=0", None),
    ("POST", f"{_RECEIVE}?worker={'w' * 256}", None),
    ("POST", f"{_RECEIVE}?more=1", None),
    ("POST", _RECEIVE, {"more": 1}),
    ("POST", _RECEIVE, {"ack": ["none"]}),
    ("POST", _RECEIVE, {"ack": ["{receipt}", "none"]}),
    ("POST", _RECEIVE, {"ack": ["{receipt}"] * 1_001}),
    ("POST", _RECEIVE, b"\xff"),
    ("POST", _RECEIVE, b"[" * 100_000),
    ("POST", f"{QUEUE}/ack", b'{"receipts": ["\\ud800"]}'),
    ("POST", f"{QUEUE}/dead/replay", b'{"key_prefix": "\\ud800"}'),
    ("POST", f"{QUEUE}/dead/replay", b'{"all": true, "per_second": 1e400}'),
    ("DELETE", "/v1/queues/%ff", None),
    ("POST", f"{QUEUE}/ack", None),
    ("POST", f"{QUEUE}/ack", {"receipts": []}),
    ("POST", f"{QUEUE}/ack", {"receipts": ["{receipt}", ""]}),
    ("POST", f"{QUEUE}/ack", {"receipts": ["{receipt}"] * 1_001}),
    ("POST", f"{QUEUE}/ack", {"receipts": "{receipt}"}),
    ("POST", f"{QUEUE}/ack", {"receipts": ["{receipt}"], "delay_ms": 1}),
    ("POST", f"{QUEUE}/nack", {"receipts": ["{receipt}"], "delay_ms": -1}),
    ("POST", f"{QUEUE}/nack", {"receipts": ["{receipt}"], "delay_ms": 1 << 50}),
    ("POST", f"{QUEUE}/extend", {"receipts": ["{receipt}"], "visible_ms": 0}),
    ("POST", f"{QUEUE}/reject", {"receipts": ["{receipt}"], "reason": "r" * 1_001}),
    ("POST", f"{QUEUE}/settle", {"settlements": []}),
    ("POST", f"{QUEUE}/settle", {"settlements": [{"receipt": "{receipt}"}]}),
    ("POST", f"{QUEUE}/settle", {"settlements": [{"receipt": "{receipt}", "action": "drop"}]}),
    ("POST", f"{QUEUE}/settle", {"settlements": [{"receipt": "{receipt}", "action": "ack", "delay_ms": 5}]}),
    (
        "POST",
        f"{QUEUE}/settle",
        {"settlements": [{"receipt": "{receipt}", "action": "nack", "visible_ms": 5}]},
    ),
    ("POST", "/v1/queues/other/ack", {"receipts": ["{receipt}"]}),
    ("GET", f"{QUEUE}/dead?after=x", None),
    ("GET", f"{QUEUE}/dead?limit=0", None),
    ("GET", f"{QUEUE}/dead/x", None),
    ("GET", f"{QUEUE}/dead/1-0-{'9' * 19}", None),
    ("POST", f"{QUEUE}/dead/replay", {}),
    ("POST", f"{QUEUE}/dead/replay", {"all": True, "ids": ["1-0-0"]}),
    ("POST", f"{QUEUE}/dead/replay", {"all": True, "per_second": -1}),
    ("POST", f"{QUEUE}/dead/replay", {"all": True, "per_second": 1e-300}),
    ("POST", f"{QUEUE}/dead/replay", {"ids": ["1-0-0"], "per_second": 0.0009}),
    ("POST", f"{QUEUE}/dead/replay", {"ids": []}),
    ("POST", f"{QUEUE}/dead/replay", {"ids": ["1-0-0"] * 1_001}),
    ("POST", f"{QUEUE}/dead/replay", {"all": True, "headers": {"a": 1}}),
    ("POST", f"{QUEUE}/dead/purge", {}),
    ("POST", f"{QUEUE}/dead/purge", {"ids": ["1-4294967296-0"]}),
]
_NO_DELAYS: Final[list[Any]] = [-(1 << 70), -1, 1 << 63, 1 << 70, 1.5, "5", True, []]
HOSTILE: Final[list[tuple[str, str, Any]]] = [
    *(("POST", f"{QUEUE}/{action}", b"[" * 100_000) for action in ACTIONS),
    *(
        ("POST", f"{QUEUE}/ack", {"receipts": [receipt]})
        for receipt in (
            *(None, 1, True, 1.5, ["{receipt}"], {"receipt": "{receipt}"}),
            *("{receipt}\0", "{receipt} ", "{receipt}0000000000", "\0", "{head}", "{head}.", "{head}.-1"),
            *("{head}.1", "{half}.0", "A" * 200_000, "{bobs}", "{strange}"),
        )
    ),
    ("POST", f"{QUEUE}/ack", {"receipts": ["x"] * 100_000}),
    ("POST", f"{QUEUE}/ack", {"receipts": ["{receipt}"], "n" * 100_000: 1}),
    ("POST", f"{QUEUE}/ack", b'{"receipts": ["{receipt}"]}}'),
    ("POST", f"{QUEUE}/ack", b'{"receipts": ["{receipt}"'),
    ("POST", f"{QUEUE}/ack", b'\xef\xbb\xbf{"receipts": ["{receipt}"]}'),
    ("POST", f"{QUEUE}/ack?timeout=never", {"receipts": ["{receipt}"]}),
    *(
        ("POST", f"{QUEUE}/{action}", {"receipts": ["{receipt}"], name: value})
        for action, name in (("nack", "delay_ms"), ("extend", "visible_ms"))
        for value in _NO_DELAYS
    ),
    ("POST", f"{QUEUE}/nack", b'{"receipts": ["{receipt}"], "delay_ms": 1e400}'),
    ("POST", f"{QUEUE}/nack", b'{"receipts": ["{receipt}"], "delay_ms": NaN}'),
    ("POST", f"{QUEUE}/nack", {"receipts": ["{receipt}"], "reason": None}),
    ("POST", f"{QUEUE}/settle", {"settlements": [["{receipt}", "ack"]]}),
    ("POST", f"{QUEUE}/settle", {"settlements": [{"receipt": "{receipt}", "action": "A" * 100_000}]}),
    ("POST", f"{QUEUE}/settle", {"settlements": [{"receipt": "x", "action": "ack"}] * 20_000}),
]
"""Of settlements and receipts."""


async def test_what_is_wrong_is_refused_at_every_node_and_does_nothing(tmp_path: Path) -> None:
    """No request of a client's is a defect of a node's, what is refused is told in few words, and one receipt
    that is none stops all others."""
    async with NodeCluster.running(tmp_path, 4) as cluster:
        ask = Asking(cluster)
        await cluster.create("orders", partitions=2, replicas=2)
        node = cluster["n1"]
        await ask.done(node, "PUT", QUEUE, {**SETTINGS, "visibility_timeout_ms": 3_600_000})
        await ask.done(node, "PUT", "/v1/queues/other", SETTINGS)
        await ask.produce("orders", 0, 1)
        (record,) = await _received(ask, node)
        before = await ask.done(node, "GET", QUEUE)
        known = _receipts_like(node, record["receipt"])
        for at, requests in zip(await _roles(cluster), (HOSTILE, WRONG + HOSTILE, HOSTILE), strict=True):
            for method, path, body in requests:
                asked = ask.cluster.session.request(method, at.url + path, data=_sent(body, known))
                async with asked as answer:
                    text = await answer.text()
                    assert answer.status in (400, 404), (method, path, answer.status, text[:2_000])
                    problem = json.loads(text)
                    assert problem["code"] in ("invalid_request", "invalid_name", "not_found"), text[:2_000]
                    assert 10 < len(problem["detail"]) < 1_000, (method, path, text[:2_000])
            assert await ask.done(at, "GET", QUEUE) == before
            status, problem = await ask(at, "GET", f"{QUEUE}/dead/1-0-7")
            assert (status, problem["code"]) == (404, "unknown_dead_letter")
        await ask.done(node, "POST", f"{QUEUE}/ack", {"receipts": [record["receipt"]]})


def _sent(body: Any, known: dict[bytes, str]) -> bytes | None:
    if body is None:
        return None
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    for name, receipt in known.items():
        data = data.replace(b"{%b}" % name, receipt.encode())
    return data


def _receipts_like(node: TestNode, receipt: str) -> dict[bytes, str]:
    """A receipt, parts of it, and others that were given to somebody else, or in another cluster."""
    head = receipt.partition(".")[0]
    keys = node.running.app[CONTEXT].service.token_keys
    (given,) = queue_receipt.decode([receipt], "jobs", "anonymous", keys)
    return {
        b"receipt": receipt,
        b"head": head,
        b"half": head[: len(head) // 2],
        b"bobs": queue_receipt.encode([given], "jobs", "bob", keys)[0],
        b"strange": queue_receipt.encode([given], "jobs", "anonymous", [b"k" * 32])[0],
    }


async def test_a_thousand_are_received_and_settled_at_once(ask: Asking) -> None:
    """In one request each, in the order of their receipts; bounded by bytes they are fewer."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, {**SETTINGS, "max_in_flight_per_worker": 2_000})
    records = [{"value": number, "key": "k" * 100, "headers": {"n": "1"}} for number in range(1_200)]
    await ask.done(node, "POST", "/v1/topics/orders/partitions/0/records", {"records": records})
    few = await _received(ask, node, "max=1000&max_bytes=2000&wait=20s")
    assert 1 <= len(few) <= 20
    got = list(few)
    while len(got) < 1_200:
        got += await _received(ask, node, "max=1000&wait=20s")
    assert [record["value"] for record in got] == list(range(1_200))
    assert all(record["headers"] == {"n": "1"} for record in got)
    receipts = [record["receipt"] for record in got]
    done = await ask.done(node, "POST", f"{QUEUE}/ack", {"receipts": receipts[200:]})
    assert done == {"settled": [{"receipt": each, "result": "done"} for each in receipts[200:]]}
    settlements = [
        {"receipt": receipt, "action": action, **({"reason": "odd"} if action == "reject" else {})}
        for receipt, action in zip(receipts[:201], ["ack", "nack", "reject"] * 67, strict=True)
    ]
    status, mixed = await ask(node, "POST", f"{QUEUE}/settle", {"settlements": settlements})
    assert (status, mixed["settled"][200]["result"]) == (207, "late"), "it is acknowledged, and not rejected"
    assert {each["result"] for each in mixed["settled"][:200]} == {"done"}


async def test_what_a_record_is_made_of_comes_through(ask: Asking) -> None:
    """Bytes, tombstones, lists of headers, and JSON as it was written."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, SETTINGS)
    sent: list[dict[str, Any]] = [
        {"key": "k", "value": {"x": [1, None]}},
        {"key_b64": "/w==", "value_b64": "/w==", "timestamp": "2026-01-31T10:00:00.000Z"},
        {"key": "k", "tombstone": True, "headers_list": [["h", None], ["h", {"b64": "/w=="}]]},
        {"key": None, "value": 1.50, "headers": {"a": "b"}},
    ]
    await ask.done(node, "POST", "/v1/topics/orders/partitions/1/records", {"records": sent})
    async with ask.cluster.session.post(f"{node.url}{QUEUE}/receive?max=4&wait=20s") as answer:
        found = (await answer.json())["records"]
    assert len(found) == 4
    for number, (record, before) in enumerate(zip(found, sent, strict=True)):
        assert (record["topic"], record["partition"], record["offset"]) == ("orders", 1, number)
        assert {name: record[name] for name in before} == before
        assert not {"append_time", "error"} & record.keys()


async def test_a_worker_has_so_many_and_no_more(ask: Asking) -> None:
    """It is told why it gets nothing; another one gets what is left."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, {**SETTINGS, "max_in_flight_per_worker": 1, "max_in_flight": 2})
    await ask.produce("orders", 0, 3)
    (first,) = await _received(ask, node, "max=5&worker=a&wait=20s")
    none = await ask.done(node, "POST", f"{_RECEIVE}?max=5&worker=a")
    assert none == {"records": [], "paused": "in_flight_full"}
    assert len(await _received(ask, node, "max=5&worker=b&wait=20s")) == 1
    assert (await ask.done(node, "POST", f"{_RECEIVE}?worker=c"))["paused"] == "in_flight_full"
    (third,) = await _received(ask, node, "max=5&worker=a&wait=20s", ack=[first["receipt"]])
    assert third["value"] == 2


async def test_what_was_acknowledged_is_told_though_the_wait_for_more_fails(ask: Asking) -> None:
    """The queue is deleted meanwhile: who acknowledged nothing hears of that."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, SETTINGS)
    await ask.produce("orders", 0, 1)
    (record,) = await _received(ask, node)
    receipt = record["receipt"]
    waits = f"{_RECEIVE}?wait=20s"
    acking = asyncio.create_task(ask(node, "POST", waits, {"ack": [receipt]}))
    other = asyncio.create_task(ask(node, "POST", waits))
    async with asyncio.timeout(10):
        while (await ask.done(node, "GET", QUEUE))["in_flight"]:  # noqa: ASYNC110 - an answer tells
            await asyncio.sleep(0)
    assert (await ask(node, "DELETE", QUEUE))[0] == 204
    status, found = await acking
    assert (status, found) == (200, {"records": [], "settled": [{"receipt": receipt, "result": "done"}]})
    assert (await other)[1]["code"] == "unknown_queue"


async def test_who_waits_for_records_of_a_topic_that_is_gone_is_told(ask: Asking) -> None:
    """Also who waited already when it went."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, SETTINGS)
    assert await ask.done(node, "POST", _RECEIVE) == {"records": []}
    waiting = asyncio.create_task(ask.done(node, "POST", f"{_RECEIVE}?wait=2s"))
    assert (await ask(node, "DELETE", "/v1/topics/orders"))[0] == 204
    told = {"records": [], "paused": "topic_gone"}
    assert await ask.done(node, "POST", _RECEIVE) == told
    assert await waiting == told
    assert (await ask.done(node, "GET", QUEUE))["health"] == ["topic_gone"]


async def test_a_quota_of_what_is_fetched_goes_for_queues_too(ask: Asking) -> None:
    """Beyond it nothing is delivered, and so nothing waits for its time to be up."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, {**SETTINGS, "visibility_timeout_ms": 3_600_000})
    await ask.done(node, "PUT", "/v1/quotas/anonymous", {"fetch_bytes_per_s": 1024})
    await ask.done(node, "POST", "/v1/topics/orders/records", {"records": [{"value": "x" * 100_000}] * 2})
    assert len(await _received(ask, node)) == 1
    status, problem = await ask(node, "POST", f"{_RECEIVE}?wait=20s")
    assert (status, problem["code"], problem["quota"]) == (429, "too_many_requests", "fetch_bytes_per_s")
    assert (await ask.done(node, "GET", QUEUE))["in_flight"] == 1
    await ask.cluster.create("wide", partitions=20)
    wide = {**SETTINGS, "topic": "wide"}
    await ask.done(node, "PUT", "/v1/quotas/anonymous", {"partition_changes_per_s": 1})
    assert (await ask(node, "PUT", "/v1/queues/second", wide))[0] == 201, "it is owed"
    status, problem = await ask(node, "PUT", "/v1/queues/third", wide)
    assert (status, problem["quota"]) == (429, "partition_changes_per_s"), "of its dead letters"
    assert (await ask(node, "PUT", "/v1/queues/third", {**wide, "dead_letter_topic": None}))[0] == 201
    assert (await ask(node, "PUT", "/v1/queues/second", wide))[0] == 200


async def test_who_waits_holds_little_of_the_memory_for_answers(ask: Asking) -> None:
    """And nothing once the answer is sent."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, SETTINGS)
    answers = node.running.app[CONTEXT].service.answers
    many = 30
    waiting = [asyncio.create_task(_received(ask, node, "wait=30s&max=1")) for _ in range(many)]
    await ask.cluster.until(lambda: answers.used == many * SMALL_BYTES, "all of them wait")
    await ask.produce("orders", 1, many)
    got = [record["offset"] for records in await asyncio.gather(*waiting) for record in records]
    assert sorted(got) == list(range(many))
    await ask.cluster.until(lambda: answers.used == 0, "nothing is held")


async def test_waiting_ends_with_a_record_with_the_client_or_with_the_time(ask: Asking) -> None:
    """Whoever has left gets nothing, so that nobody waits for its time to be up."""
    node = ask.cluster["n1"]
    await ask.done(node, "PUT", QUEUE, {**SETTINGS, "visibility_timeout_ms": 3_600_000})
    assert await ask.done(node, "POST", f"{_RECEIVE}?wait=20ms") == {"records": []}
    answers = node.running.app[CONTEXT].service.answers
    async with aiohttp.ClientSession() as leaving:
        gone = asyncio.create_task(leaving.post(f"{node.url}{_RECEIVE}?wait=30s"))
        await ask.cluster.until(lambda: answers.used, "it waits there")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await ask.cluster.until(lambda: not answers.used, "it is known there that it has left")
    waiting = asyncio.create_task(_received(ask, node, "wait=30s&max=10"))
    await ask.cluster.until(lambda: answers.used, "another one waits")
    await ask.produce("orders", 0, 1)
    (record,) = await waiting
    assert (record["value"], record["deliveries"]) == (0, 1)


async def test_who_waits_goes_on_at_the_next_leader_of_the_queue(tmp_path: Path) -> None:
    """A delivery whose answer is lost times out, so nodes ask again; an earlier receipt is good there."""
    async with NodeCluster.running(tmp_path) as cluster:
        ask = Asking(cluster)
        await cluster.create("orders", replicas=3)
        await ask.done(cluster["n1"], "PUT", QUEUE, SETTINGS)
        await ask.produce("orders", 0, 1)
        number = shard_of("jobs", SHARDS)
        leader = await cluster.leader(COORDINATOR_TOPIC, number)
        others = [node for node in cluster.up if node is not leader]
        (first,) = await _received(ask, others[0])
        waiting = [asyncio.create_task(_received(ask, node, "wait=30s")) for node in others]
        await asyncio.sleep(0.1)
        await cluster.hand_over(COORDINATOR_TOPIC, number, to=others[0].node_id)
        await ask.done(leader, "POST", f"{QUEUE}/ack", {"receipts": [first["receipt"]]})
        await ask.produce("orders", 0, 2)
        found = [record for records in await asyncio.gather(*waiting) for record in records]
        assert sorted(record["offset"] for record in found) == [1, 2]
        assert {record["deliveries"] for record in found} == {1}
        # Where the leader is gone for good nobody knows whether it has delivered something.
        stays = others[1]
        waiting = [asyncio.create_task(_received(ask, stays, "wait=30s"))]
        await asyncio.sleep(0.1)
        await others[0].stop()
        await ask.produce("orders", 0, 1)
        assert [record["offset"] for record in await waiting[0]] == [3]


async def test_queues_wait_for_their_feature_level(ask: Asking) -> None:
    """Below it nodes may not know them: 409, and nothing is made."""
    node = ask.cluster["n1"]
    state = node.running.metadata.state
    state.level = QUEUES - 1
    for method, path, body in (
        ("PUT", QUEUE, SETTINGS),
        ("GET", QUEUE, None),
        ("GET", "/v1/queues", None),
        ("POST", _RECEIVE, None),
        ("POST", f"{QUEUE}/ack", {"receipts": ["x"]}),
        ("POST", f"{QUEUE}/dead/purge", {"all": True}),
        ("GET", f"{QUEUE}/dead/1-0-0", None),
    ):
        status, problem = await ask(node, method, path, body)
        assert (status, problem["code"]) == (409, "feature_level_needed"), (method, path)
        assert (problem["needs"], problem["level"]) == (QUEUES, QUEUES - 1)
    entry = {"principal": "ann", "kind": "queue", "name": "jobs", "operation": "read"}
    assert (await ask(node, "POST", "/v1/acls", {"acls": [entry]}))[0] == 409
    assert COORDINATOR_TOPIC not in state.topics
