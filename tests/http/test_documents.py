"""Documents that clients send, other than records: what they give twice is refused, whatever the route."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from floodmark.errors import InvalidRequest

from node.http.doubled import check_document
from node.metadata.this_build import THIS_BUILD
from tests.http.conftest import Harness

JSON = {"Content-Type": "application/json"}
ENTRY = {"principal": "ann", "kind": "topic", "name": "t", "operation": "read"}
SETTLED = {"receipts": ["r"]}
DOCUMENTS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("POST", "/v1/cluster/features"): {"level": 1},
    ("POST", "/v1/reassignments"): {"reassignments": [{"topic": "t", "partition": 0, "replicas": None}]},
    ("POST", "/v1/nodes/{node}/replacement"): {"node_id": "n4"},
    ("PUT", "/v1/quotas/{principal}"): {"connections": 1, "requests_per_s": 2},
    ("POST", "/v1/acls"): {"acls": [ENTRY]},
    ("POST", "/v1/users"): {"user": "ann"},
    ("PATCH", "/v1/users/{user}"): {"administrator": True},
    ("PUT", "/v1/users/{user}/password"): {"password": None},
    ("POST", "/v1/users/{user}/tokens"): {"lifetime_ms": 1},
    ("POST", "/v1/login"): {"user": "ann", "password": "correct horse"},
    ("PUT", "/v1/topics/{topic}"): {"partitions": 1, "config": {"retention_ms": 1}},
    ("PATCH", "/v1/topics/{topic}"): {"config": {"retention_ms": 1}},
    ("POST", "/v1/producers"): {"producer_id": 1, "producer_epoch": 0},
    ("POST", "/v1/groups/{group}/records"): {"commit": "c"},
    ("POST", "/v1/groups/{group}/members"): {"topics": ["t"]},
    ("POST", "/v1/groups/{group}/members/{member}"): {"member_epoch": 1},
    ("POST", "/v1/groups/{group}/offsets"): {"offsets": [{"topic": "t", "partition": 0, "offset": 1}]},
    ("POST", "/v1/groups/{group}/offsets/reset"): {"to": "earliest"},
    ("PUT", "/v1/queues/{queue}"): {"topic": "t"},
    ("POST", "/v1/queues/{queue}/receive"): {"ack": ["r"]},
    ("POST", "/v1/queues/{queue}/ack"): SETTLED,
    ("POST", "/v1/queues/{queue}/nack"): SETTLED,
    ("POST", "/v1/queues/{queue}/extend"): SETTLED,
    ("POST", "/v1/queues/{queue}/reject"): SETTLED,
    ("POST", "/v1/queues/{queue}/settle"): {"settlements": [{"receipt": "r", "action": "ack"}]},
    ("POST", "/v1/queues/{queue}/dead/replay"): {"ids": ["1-0-0"]},
    ("POST", "/v1/queues/{queue}/dead/purge"): {"ids": ["1-0-0"]},
    ("POST", "/v1/topics/{topic}/partitions/{partition}/positions/{group}"): {"topic_id": 1, "partition": 0},
    ("PUT", "/v1/topics/{topic}/partitions/{partition}/positions/{group}"): {
        "topic_id": 1,
        "partition": 0,
        "next_offset": 1,
        "producer": "p",
        "producer_epoch": 0,
    },
}
PRODUCE = {("POST", f"/v1/topics/{{topic}}/{of}records") for of in ("", "partitions/{partition}/")}
NAMES = {
    "topic": "t",
    "partition": "0",
    "group": "g",
    "member": "m",
    "queue": "q",
    "node": "n1",
    "principal": "ann",
    "user": "ann",
}


def _doubled(value: Any) -> list[str]:
    """The text of a document with each of its members, wherever it is, given once more."""
    if isinstance(value, list):
        return [f"[{text}]" for item in value for text in _doubled(item)]
    if not isinstance(value, dict):
        return []
    members = [f"{json.dumps(name)}:{json.dumps(member)}" for name, member in value.items()]
    found = [f"{{{','.join([*members, again])}}}" for again in members]
    for at, (name, member) in enumerate(value.items()):
        for text in _doubled(member):
            there = [*members[:at], f"{json.dumps(name)}: {text}", *members[at + 1 :]]
            found.append(f"{{{','.join(there)}}}")
    return found


async def test_a_member_given_twice_is_refused_everywhere(http: Harness) -> None:
    """On every route that takes a document, so that no half of an order is lost: 400, and nothing is done."""
    http.cluster.level = THIS_BUILD.highest
    await http.make_topic()
    described = (await http.call("GET", "/openapi.json")).json["paths"]
    routes = {
        (method.upper(), path)
        for path, methods in described.items()
        for method, operation in methods.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert routes - PRODUCE == set(DOCUMENTS), "each has its document above"
    for (method, path), document in DOCUMENTS.items():
        where = path.format(**NAMES) + ("?topics=t" if path == "/v1/groups/{group}/records" else "")
        for text in _doubled(document):
            answer = await http.call(method, where, data=text.encode(), headers=JSON)
            assert (answer.status, answer.json["code"]) == (400, "invalid_request"), (method, path, text)
            assert "is given twice" in answer.json["detail"], (method, path, text, answer.json["detail"])


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a":1}',
        '{ "a" : 1.50, "b" : "\\u0061", "c" : [ {"a":1}, {"a":1} ] }',
        '{"a":"\\"a\\":1,\\"a\\":2","b":":"}',
        '{"a":123456789012345678901234567890,"b":1e300}',
        '{"ä":"ö","b":"\\ud83d\\ude00"}',
    ],
)
def test_what_is_given_once_is_taken(text: str) -> None:
    """In whatever way it is written."""
    check_document(text.encode())


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '[{"b":{"a":[], "a":[]}}]'])
def test_what_is_given_twice_is_found(text: str) -> None:
    """Also where it is written in two ways."""
    with pytest.raises(InvalidRequest, match="'a' is given twice"):
        check_document(text.encode())
