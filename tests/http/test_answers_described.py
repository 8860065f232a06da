"""What nodes answer is what the API's description says, to the last member."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from pathlib import Path
from typing import Any, Final

import jsonschema

from node.http import openapi
from node.request_limits import RequestLimits
from tests.support.nodes import NodeCluster

DESCRIPTION: Final = openapi.document(RequestLimits())
RECORDS: Final = "/v1/topics/t/partitions/0/records"
GROUP: Final = "/v1/groups/g"
QUEUE: Final = "/v1/queues/q"
RECEIPT: Final = {"receipts": ["{receipt}"]}
"""The last one that was received."""
REQUESTS: Final[list[tuple[str, str, Any]]] = [
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/openapi.json", None),
    (
        "PUT",
        "/v1/topics/t",
        {"partitions": 2, "replication_factor": 2, "config": {"retention_ms": 9_000_000}},
    ),
    ("PUT", "/v1/topics/t", None),
    ("PATCH", "/v1/topics/t", {"partitions": 3}),
    ("PATCH", "/v1/topics/t", {"config": {"retention_ms": None}}),
    ("GET", "/v1/topics/t", None),
    ("GET", "/v1/topics", None),
    ("POST", RECORDS, {"key": "a", "value": {"x": [1, None]}, "headers": {"h": "1"}}),
    ("POST", RECORDS, {"key_b64": "/w==", "value_b64": "/w==", "timestamp": 1_700_000_000_000}),
    ("POST", RECORDS, {"tombstone": True, "headers_list": [["h", None], ["h", {"b64": "/w=="}]]}),
    ("POST", "/v1/topics/t/records", {"records": [{"key": "a", "value": 1}, {"value": "b"}]}),
    ("GET", RECORDS, None),
    ("GET", "/v1/topics/t/records?from=earliest", None),
    ("GET", "/v1/topics/t/wait?cursor={cursor}", None),
    ("GET", "/v1/topics/t/partitions/0/tail", None),
    ("POST", "/v1/producers", None),
    ("POST", "/v1/producers", {"producer_id": 1, "producer_epoch": 0}),
    ("GET", "/v1/cluster", None),
    ("GET", "/v1/cluster/health", None),
    ("GET", "/v1/cluster/health?view=node", None),
    ("GET", "/v1/cluster/features", None),
    ("POST", "/v1/cluster/features", {"level": "{level}"}),
    ("GET", "/v1/nodes", None),
    ("GET", "/v1/nodes/n1/drain", None),
    ("GET", "/v1/nodes/n3/removal", None),
    ("POST", "/v1/cluster/rebalance", None),
    ("GET", "/v1/cluster/rebalance", None),
    ("DELETE", "/v1/cluster/rebalance", None),
    ("PUT", "/v1/topics/two", {"replication_factor": 2}),
    ("POST", "/v1/nodes/n3/drain", None),
    ("GET", "/v1/reassignments", None),
    ("GET", "/v1/reassignments?view=node", None),
    ("GET", "/v1/topics/t?view=node", None),
    ("DELETE", "/v1/nodes/n3/drain", None),
    (
        "POST",
        "/v1/reassignments",
        {"reassignments": [{"topic": "two", "partition": 0, "replicas": ["n1", "n2"]}]},
    ),
    ("POST", "/v1/nodes/n9/replacement", {"node_id": "n1"}),
    ("DELETE", "/v1/nodes/n9", None),
    ("POST", "/v1/users", {"user": "ann", "password": "a long password", "administrator": True}),
    ("POST", "/v1/users", {"user": "bob"}),
    ("POST", "/v1/users", {"user": "bob"}),
    ("GET", "/v1/users?limit=1", None),
    ("GET", "/v1/users/ann", None),
    ("PATCH", "/v1/users/bob", {"administrator": True}),
    ("PUT", "/v1/users/bob/password", {"password": "another password"}),
    ("PUT", "/v1/users/bob/password", {"password": None}),
    ("POST", "/v1/login", {"user": "ann", "password": "a long password"}),
    ("POST", "/v1/login", {"user": "bob", "password": "a long password"}),
    ("POST", "/v1/users/ann/tokens", {"lifetime_ms": 60_000}),
    ("POST", "/v1/users/ann/tokens", None),
    ("POST", "/v1/users/ann/tokens", None),
    ("GET", "/v1/users/ann/tokens", None),
    ("DELETE", "/v1/users/ann/tokens/none", None),
    ("DELETE", "/v1/users/ann", None),
    ("PUT", "/v1/quotas/ann", {"produce_bytes_per_s": 1048576, "requests_per_s": 1.5, "connections": 5}),
    ("PUT", "/v1/quotas/*", {"fetch_bytes_per_s": 4096}),
    ("PUT", "/v1/quotas/ann", {}),
    ("GET", "/v1/quotas", None),
    ("DELETE", "/v1/quotas/ann", None),
    ("DELETE", "/v1/quotas/ann", None),
    ("POST", "/v1/acls", {"acls": [{"principal": "ann", "kind": "topic", "name": "t", "operation": "read"}]}),
    ("GET", "/v1/acls/check?principal=ann&operation=read&kind=topic&name=t", None),
    ("GET", "/v1/acls/check?principal=ann&operation=write&kind=topic&name=t", None),
    ("GET", "/v1/acls?principal=ann", None),
    ("DELETE", "/v1/acls?principal=ann", None),
    ("GET", "/v1/me", None),
    ("POST", "/v1/topics/t/partitions/0/positions/g", {"topic_id": 7, "partition": 3}),
    (
        "PUT",
        "/v1/topics/t/partitions/0/positions/g",
        {"topic_id": 7, "partition": 3, "next_offset": 9, "producer": "p", "producer_epoch": 0},
    ),
    ("GET", "/v1/topics/t/partitions/0/positions/g?topic_id=7", None),
    ("GET", "/v1/topics/t/partitions/0/positions/g", None),
    ("POST", f"{GROUP}/offsets", {"offsets": [{"topic": "t", "partition": 0, "offset": 1, "metadata": "m"}]}),
    ("GET", f"{GROUP}/offsets", None),
    ("GET", "/v1/groups", None),
    ("GET", f"{GROUP}/lag", None),
    ("POST", f"{GROUP}/offsets/reset", {"to": "earliest", "dry_run": True}),
    ("POST", f"{GROUP}/members", {"topics": ["t"], "member_id": "m"}),
    ("POST", f"{GROUP}/members/m", {"member_epoch": 1}),
    ("POST", f"{GROUP}/offsets/reset", {"to": "latest"}),
    ("GET", GROUP, None),
    ("DELETE", f"{GROUP}/members/m", None),
    ("POST", f"{GROUP}/records?topics=t", {}),
    ("POST", f"{GROUP}/records?topics=t", {"commit": "none"}),
    ("PUT", QUEUE, {"topic": "t", "ordering": "key", "backoff_ms": [0]}),
    ("PUT", QUEUE, {"topic": "t", "max_deliveries": 3, "breaker": {"failures": 0}}),
    ("PUT", QUEUE, {"topic": "two"}),
    ("GET", QUEUE, None),
    ("GET", "/v1/queues?prefix=q", None),
    ("POST", f"{QUEUE}/receive?max=1&wait=20s", None),
    ("GET", QUEUE, None),
    ("POST", f"{QUEUE}/extend", RECEIPT),
    ("POST", f"{QUEUE}/ack", RECEIPT),
    ("POST", f"{QUEUE}/nack", RECEIPT),
    ("POST", f"{QUEUE}/receive?wait=20s", {"ack": ["{receipt}"]}),
    ("POST", f"{QUEUE}/nack", {**RECEIPT, "delay_ms": 0}),
    ("POST", f"{QUEUE}/receive?wait=20s", {}),
    ("POST", f"{QUEUE}/settle", {"settlements": [{"receipt": "{receipt}", "action": "ack"}]}),
    ("POST", f"{QUEUE}/receive?wait=20s", None),
    ("POST", f"{QUEUE}/reject", {**RECEIPT, "reason": "none of ours"}),
    ("GET", f"{QUEUE}/dead/{{letter}}", None),
    ("GET", f"{QUEUE}/dead", None),
    ("GET", f"{QUEUE}/dead/9-9-9", None),
    ("POST", f"{QUEUE}/dead/replay", {"all": True}),
    ("POST", f"{QUEUE}/dead/purge", {"all": True}),
    ("POST", f"{QUEUE}/purge", None),
    ("POST", f"{QUEUE}/receive", None),
    ("DELETE", QUEUE, None),
    ("GET", QUEUE, None),
    ("GET", "/v1/topics/none", None),
    ("DELETE", "/v1/topics/t", None),
]
"""In this order."""


ONLY_REFUSED: Final = {("/v1/nodes/{node}/replacement", "post"), ("/v1/nodes/{node}", "delete")}
"""For these a node would have to go."""


def _closed() -> dict[str, Any]:
    """The description, and nothing beside what it names; problems have members of their own."""
    document = copy.deepcopy(DESCRIPTION)
    for name, component in document["components"]["schemas"].items():
        if component.get("type") == "object" and name != "Problem":
            component["additionalProperties"] = False
    return document


def _route(path: str) -> str:
    """The described path that a path belongs to: the one with the fewest parameters."""
    plain = path.partition("?")[0]
    fitting = [
        route
        for route in DESCRIPTION["paths"]
        if re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", route), plain) is not None
    ]
    return min(fitting, key=lambda route: route.count("{"))


def _check(document: dict[str, Any], method: str, path: str, status: int, body: Any) -> None:
    responses = document["paths"][_route(path)][method.lower()]["responses"]
    if status >= 400 and str(status) not in responses:
        schema = responses["default"]["content"]["application/problem+json"]["schema"]
    else:
        schema = responses[str(status)]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(body)


def _filled(given: Any, seen: dict[str, str]) -> Any:
    text = json.dumps(given)
    for name, value in seen.items():
        text = text.replace(f"{{{name}}}", value)
    return json.loads(text)


async def _answer(
    cluster: NodeCluster, node: str, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """Status and document; asked again for as long as leaders change, as every client does."""
    while True:
        async with cluster.session.request(method, cluster[node].url + path, json=body) as answer:
            found = None if answer.status == 204 else await answer.json(content_type=None)
        if answer.status != 503:
            return answer.status, found
        _check(_closed(), method, path, answer.status, found)
        assert found["retriable"], found
        await asyncio.sleep(found["retry_after_s"])


async def _dead_letter(cluster: NodeCluster, node: str) -> str:
    """The id of one, as soon as it is listed."""
    while True:
        status, found = await _answer(cluster, node, "GET", f"{QUEUE}/dead")
        _check(_closed(), "GET", f"{QUEUE}/dead", status, found)
        if found["dead"]:
            return str(found["dead"][0]["id"])
        await asyncio.sleep(0.02)


async def test_every_answer_of_a_node_is_as_described(tmp_path: Path) -> None:
    """Real nodes, asked for all that there is, through one that leads and through one that does not."""
    document = _closed()
    described: set[tuple[str, str, str]] = set()
    async with NodeCluster.running(tmp_path) as cluster:
        level = cluster["n1"].running.metadata.state.level
        for node in ("n1", "n2"):
            seen = {"cursor": "", "receipt": "", "letter": ""}
            for method, path, body in REQUESTS:
                if "{letter}" in path:
                    seen["letter"] = await _dead_letter(cluster, node)
                sent = {"level": level} if body == {"level": "{level}"} else _filled(body, seen)
                status, found = await _answer(cluster, node, method, _filled(path, seen), sent)
                if status == 204:
                    continue
                assert status < 500, found
                _check(document, method, path, status, found)
                described.add((_route(path), method.lower(), str(status)))
                seen["cursor"] = found.get("cursor", seen["cursor"])
                if path.startswith(f"{QUEUE}/receive") and found.get("records"):
                    seen["receipt"] = found["records"][0]["receipt"]
    routes = {
        (route, method)
        for route, methods in DESCRIPTION["paths"].items()
        for method, operation in methods.items()
        for response in operation["responses"].values()
        if "application/json" in response.get("content", {})
    }
    assert (
        routes == {(route, method) for route, method, status in described if status[0] == "2"} | ONLY_REFUSED
    )


def test_a_member_that_is_not_described_is_found() -> None:
    """So that the test above can fail."""
    alive = {"status": "alive", "node_id": "n1"}
    _check(_closed(), "GET", "/healthz", 200, alive)
    for wrong in ({**alive, "more": 1}, {"node_id": "n1"}, {**alive, "node_id": 1}):
        try:
            _check(_closed(), "GET", "/healthz", 200, wrong)
        except jsonschema.ValidationError:
            continue
        raise AssertionError(wrong)
