"""What a leader decides is told in its name at every door: done or refused, of records and of the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.conftest import Harness

RECORDS = "/v1/topics/t/partitions/0/records"
RAW = {"Content-Type": "application/octet-stream"}
DOORS = ["n1", "n2", "n3"]
"""The first one leads the partition, the third one the metadata."""


@pytest.fixture
def node_count() -> int:
    """All doors."""
    return len(DOORS)


METADATA: list[tuple[str, str, Any, int]] = [
    ("PUT", "/v1/topics/t", {}, 200),
    ("PUT", "/v1/topics/t", {"partitions": 7}, 400),
    ("PUT", "/v1/topics/u", {"replication_factor": 9}, 400),
    ("PATCH", "/v1/topics/t", {"config": {"retention_ms": 9}}, 200),
    ("PATCH", "/v1/topics/none", {"config": {"retention_ms": 9}}, 400),
    ("DELETE", "/v1/topics/none", None, 400),
    ("GET", "/v1/cluster/features", None, 200),
    ("POST", "/v1/cluster/features", {"level": 99}, 400),
    (
        "POST",
        "/v1/reassignments",
        {"reassignments": [{"topic": "t", "partition": 0, "replicas": ["n9"]}]},
        400,
    ),
    ("POST", "/v1/nodes/n9/drain", None, 400),
    ("DELETE", "/v1/nodes/n9/drain", None, 400),
    ("DELETE", "/v1/nodes/n9", None, 400),
    ("DELETE", "/v1/nodes/n9?force=true", None, 400),
    ("POST", "/v1/nodes/n9/replacement", {"node_id": "n1"}, 400),
    ("POST", "/v1/cluster/rebalance", None, 400),
    ("DELETE", "/v1/cluster/rebalance", None, 400),
    ("POST", "/v1/producers", {"producer_id": 99, "producer_epoch": 0}, 400),
    ("POST", "/v1/producers", None, 400),
]
"""What the metadata's leader alone can do; done (200) or refused (400), whatever the exact status."""
PARTITION: list[tuple[str, str, Any, dict[str, str], int]] = [
    ("POST", RECORDS, b"x", RAW, 200),
    ("POST", RECORDS, b"x", {**RAW, "If-Offset": "77"}, 412),
    ("POST", RECORDS, b"x", {**RAW, "Producer-Id": "p", "Producer-Seq": "7"}, 409),
    ("GET", f"{RECORDS}?from=99", None, {}, 416),
    ("GET", f"{RECORDS}?from=99", None, {"Accept": "application/vnd.floodmark.batch;v=1"}, 416),
]
"""What the partition's leader alone knows."""
NOBODY: list[tuple[str, str, Any, int]] = [
    ("GET", "/v1/topics/t?other=1", None, 400),
    ("GET", "/v1/topics/none", None, 404),
    ("PUT", "/v1/topics/..", {}, 404),
    ("PUT", "/v1/topics/a%20b", {}, 400),
    ("PATCH", "/v1/topics/t", {"other": 1}, 400),
    ("POST", RECORDS, {"nothing": 1}, 400),
    ("POST", "/v1/topics/none/partitions/0/records", {"value": 1}, 404),
    ("POST", "/v1/topics/t/partitions/77/records", {"value": 1}, 404),
    ("GET", f"{RECORDS}?from=x", None, 400),
    ("GET", "/nothing", None, 404),
    ("POST", "/v1/nodes", {}, 405),
]
"""What is refused before any leader is asked."""


async def _prepared(http: Harness) -> None:
    http.cluster.metadata_leader = "n3"
    await http.make_topic()


@pytest.mark.parametrize("door", DOORS)
async def test_the_metadatas_leader_is_named(http: Harness, door: str) -> None:
    """Also where it is the one that was asked, and where it is when it is another one."""
    await _prepared(http)
    for method, path, body, status in METADATA:
        answer = await http.call(method, path, node=door, json=body)
        told = answer.headers.get("Floodmark-Leader"), answer.headers.get("Floodmark-Leader-Url")
        assert answer.status // 100 == status // 100, (method, path, answer.body)
        assert told == ("n3", None if door == "n3" else http.url("", "n3")), (method, path)


@pytest.mark.parametrize("door", DOORS)
async def test_the_partitions_leader_is_named(http: Harness, door: str) -> None:
    """Likewise."""
    await _prepared(http)
    for method, path, body, headers, status in PARTITION:
        answer = await http.call(method, path, node=door, data=body, headers=headers)
        told = answer.headers.get("Floodmark-Leader"), answer.headers.get("Floodmark-Leader-Url")
        assert answer.status == status, (method, path, answer.body)
        assert told == ("n1", None if door == "n1" else http.url("", "n1")), (method, path)


@pytest.mark.parametrize("door", DOORS)
async def test_no_leader_is_named_where_none_was_asked(http: Harness, door: str) -> None:
    """The same refusal comes from a node that leads nothing."""
    await _prepared(http)
    for method, path, body, status in NOBODY:
        answer = await http.call(method, path, node=door, json=body)
        assert (answer.status, answer.headers.get("Floodmark-Leader")) == (status, None), (method, path)
