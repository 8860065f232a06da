"""``Floodmark-Forwarded`` counts from nodes of this cluster only: nobody else gets another answer."""

from __future__ import annotations

from typing import Any

import pytest

from node.http.context import CONTEXT
from tests.http.conftest import MARK, Answer, Harness

RECORDS = "/v1/topics/t/partitions/0/records"
FORWARDED = "Floodmark-Forwarded"
JSON = {"Content-Type": "application/json"}
HOSTILE = ["1", "", "0", MARK[:-1], MARK.upper(), f"{MARK}, {MARK}", "f" * 7_000, "caf\u00e9"]
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", RECORDS, {"value": 1}),
    ("POST", f"{RECORDS}?timeout=5s", {"value": 1}),
    ("POST", "/v1/topics/t/records", {"key": "k", "value": 1}),
    ("GET", RECORDS, None),
    ("GET", f"{RECORDS}?wait=1ms&from=latest", None),
    ("GET", "/v1/topics/t/records", None),
    ("GET", "/v1/topics/t/partitions/0/tail", None),
    ("PUT", "/v1/topics/u", {}),
    ("PATCH", "/v1/topics/u", {"config": {"retention_ms": 9}}),
    ("GET", "/v1/topics/t", None),
    ("GET", "/v1/cluster/health", None),
    ("GET", "/v1/cluster/features", None),
    ("GET", "/v1/cluster/rebalance", None),
    ("GET", "/v1/reassignments", None),
    ("POST", "/v1/producers", {}),
    ("GET", "/v1/nodes/n9/drain", None),
    ("DELETE", "/v1/nodes/n9", None),
    ("DELETE", "/v1/topics/u", None),
]


@pytest.fixture
def node_count() -> int:
    """The first one leads the partition, the third one the metadata."""
    return 3


async def _all(http: Harness, node: str, headers: list[tuple[str, str]]) -> list[Answer]:
    return [
        await http.call(method, path, node=node, json=body, headers=headers)
        for method, path, body in REQUESTS
    ]


def _meaning(answer: Answer) -> Any:
    names = set(answer.json) if answer.body else None
    return answer.status, answer.headers.get("Floodmark-Leader"), names


@pytest.mark.parametrize("node", ["n1", "n2", "n3"])
async def test_whoever_is_no_node_gets_the_ordinary_answer(
    http: Harness, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the value and however often, for whatever is asked, past aiohttp and through it."""
    await http.make_topic()
    http.cluster.metadata_leader = "n3"
    ordinary = [_meaning(answer) for answer in await _all(http, node, [])]
    past_aiohttp = http.taken_at(node, monkeypatch)
    for value in HOSTILE:
        answers = await _all(http, node, [(FORWARDED, value)])
        assert [_meaning(answer) for answer in answers] == ordinary, value
    twice = await _all(http, node, [(FORWARDED, "1"), (FORWARDED, "2")])
    assert [_meaning(answer) for answer in twice] == ordinary
    assert all(status < 500 for status, _, _ in ordinary)
    assert any(past_aiohttp)


async def test_the_mark_of_a_node_is_no_secret_that_others_learn(http: Harness) -> None:
    """No answer has it, whoever sends what."""
    await http.make_topic()
    for value in ("1", MARK):
        for answer in await _all(http, "n2", [(FORWARDED, value)]):
            assert MARK.encode() not in answer.body + str(answer.headers).encode()


async def test_a_node_of_an_earlier_build_hears_what_this_node_knows(http: Harness) -> None:
    """It sends its mark, or, in the first builds, a plain 1: that counts while there is such a node, and for
    views alone. Its records and changes are passed on as anybody's."""
    await http.make_topic()

    async def health(value: str) -> set[str]:
        answer = await http.call("GET", "/v1/cluster/health", node="n2", headers={FORWARDED: value})
        return set(answer.json)

    assert "healthy" in await health("1")
    assert "leads" in await health(MARK)
    http.servers["n2"].app[CONTEXT].meets_earlier_builds = lambda: True
    assert "leads" in await health("1")
    assert "healthy" in await health("2")
    sizes = await http.call("GET", "/v1/cluster/rebalance", node="n2", headers={FORWARDED: "1"})
    assert sizes.json == {"sizes": {}}
    headers = {**JSON, FORWARDED: "1"}
    stored = await http.call("POST", RECORDS, node="n2", data=b'{"value": 1}', headers=headers)
    assert (stored.status, stored.headers["Floodmark-Leader"]) == (200, "n1")
