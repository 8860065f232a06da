"""Topics over HTTP."""

from __future__ import annotations

import time

import pytest

from node.http.context import CONTEXT
from node.service.request_context import RequestContext
from node.service.topic_changes import CreateTopic
from tests.http.conftest import Harness


async def test_put_is_idempotent_and_refuses_another_configuration(http: Harness) -> None:
    """201 when new, 200 when the same (what is left out matches anything), 409 when different."""
    path, wanted = "/v1/topics/orders", {"partitions": 2, "config": {"retention_ms": 5000}}
    first = await http.call("PUT", path, json=wanted)
    assert (first.status, first.headers["Location"]) == (201, path)
    assert first.json["config"]["retention_ms"] == 5000
    assert [item["partition"] for item in first.json["partitions"]] == [0, 1]
    assert (await http.call("PUT", path, json=wanted)).status == 200
    assert (await http.call("PUT", path)).status == 200
    other = await http.call("PUT", path, json={"partitions": 3})
    assert (other.status, other.json["code"]) == (409, "topic_exists")


async def test_topics_are_listed_in_pages_of_names(http: Harness) -> None:
    """``after`` the last name goes on; ``prefix`` filters."""
    for name in ("a1", "b1", "b2", "b3"):
        await http.make_topic(name)
    page = (await http.call("GET", "/v1/topics?prefix=b&limit=2")).json["topics"]
    assert [topic["topic"] for topic in page] == ["b1", "b2"]
    rest = (await http.call("GET", "/v1/topics?prefix=b&after=b2")).json["topics"]
    assert [topic["topic"] for topic in rest] == ["b3"]


async def test_configuration_is_altered_and_null_takes_a_limit_away(http: Harness) -> None:
    """PATCH changes what it names only."""
    await http.call("PUT", "/v1/topics/t", json={"config": {"retention_ms": 5, "retention_bytes": 7}})
    changed = await http.call("PATCH", "/v1/topics/t", json={"config": {"retention_ms": None}})
    assert changed.json["config"]["retention_ms"] is None
    assert (await http.call("GET", "/v1/topics/t")).json["config"]["retention_bytes"] == 7


async def test_the_leader_of_the_metadata_tries_once_however_short_the_time_is(http: Harness) -> None:
    """What took all of it on the way is still no reason to do nothing."""
    service = http.servers["n1"].app[CONTEXT].service
    late = RequestContext(protocol="test", deadline=time.monotonic() - 1)
    assert (await service.ask(late, CreateTopic(topic="t"))).result.created


async def test_a_deleted_topic_is_gone(http: Harness) -> None:
    """204, then 404 with a problem document."""
    await http.make_topic()
    assert (await http.call("DELETE", "/v1/topics/t")).status == 204
    gone = await http.call("GET", "/v1/topics/t")
    assert (gone.status, gone.json["code"]) == (404, "unknown_topic")
    assert gone.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [
        '{"partitions": 0}',
        '{"partitions": 1001}',
        '{"partitions": "3"}',
        '{"partition": 3}',
        '{"replication_factor": 0}',
        '{"replication_factor": 9}',
        '{"config": {"retention_ms": -1}}',
        '{"config": {"retention_ms": 9223372036854775808}}',
        '{"config": {"max_record_bytes": 99999999}}',
        '{"config": 3}',
        "[]",
        "{",
        "NaN",
    ],
)
async def test_a_wrong_description_of_a_topic_is_refused(http: Harness, body: str) -> None:
    """400, whatever is wrong."""
    answer = await http.call("PUT", "/v1/topics/t", data=body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
