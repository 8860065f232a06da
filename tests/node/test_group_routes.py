"""Groups over HTTP, at every node: offsets, lists, lag, resets, members, deletion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.nodes import NodeCluster, TestNode


class Asking:
    """Requests to any node of a cluster."""

    def __init__(self, cluster: NodeCluster) -> None:
        self.cluster = cluster

    async def __call__(self, node: TestNode, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The answer's status and document. Asked again for as long as a leader changes."""
        async with asyncio.timeout(60):
            while True:
                status, document = await self._once(node, method, path, body)
                if status != 503:
                    return status, document
                await asyncio.sleep(document.get("retry_after_s", 0.1))  # Not each of them says when.

    async def _once(self, node: TestNode, method: str, path: str, body: Any) -> tuple[int, Any]:
        async with self.cluster.session.request(
            method,
            node.url + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json"},
        ) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None

    async def done(self, node: TestNode, method: str, path: str, body: Any = None) -> Any:
        """The document of an answer that says yes."""
        status, document = await self(node, method, path, body)
        assert 200 <= status < 300, document
        return document

    async def produce(self, topic: str, partition: int, count: int) -> None:
        """So many records with their numbers as values."""
        records = {"records": [{"value": number} for number in range(count)]}
        await self.done(
            self.cluster.up[0], "POST", f"/v1/topics/{topic}/partitions/{partition}/records", records
        )


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Asking]:
    """Three nodes, a topic of two partitions with two replicas each: some node has none of each."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("orders", partitions=2, replicas=2)
        yield Asking(cluster)


def _offset(offset: int, partition: int = 0, **more: Any) -> dict[str, Any]:
    return {"topic": "orders", "partition": partition, "offset": offset, **more}


async def test_what_is_committed_in_a_topic_that_was_made_again_is_refused_for_good(ask: Asking) -> None:
    """404 at every node, and not as something that may be sent again; the rest of it is done where that is
    asked for. Whoever names no id means the new one."""
    nodes = ask.cluster.up
    old = (await ask.done(nodes[0], "GET", "/v1/topics/orders"))["topic_id"]
    await ask.done(nodes[0], "DELETE", "/v1/topics/orders")
    await ask.cluster.create("orders", partitions=2, replicas=2)
    await ask.cluster.create("payments", replicas=2)
    offsets = {"offsets": [{**_offset(3), "topic_id": old}]}
    other = {"topic": "payments", "partition": 0, "offset": 1}
    for node in nodes:
        for path, body in (("offsets", offsets), ("offsets/reset", {**offsets, "dry_run": True})):
            status, problem = await ask(node, "POST", f"/v1/groups/mine/{path}", body)
            assert (status, problem["code"]) == (404, "topic_deleted"), problem
        part = {"offsets": [*offsets["offsets"], other], "partial": True}
        done = await ask.done(node, "POST", "/v1/groups/mine/offsets", part)
        assert [each["topic"] for each in done["offsets"]] == ["payments"]
        assert done["refused"] == [{"topic": "orders", "partition": 0, "topic_id": old}]
        await ask.done(node, "POST", "/v1/groups/mine/offsets", {"offsets": [_offset(3)]})


async def test_offsets_are_kept_shown_reset_and_forgotten_at_any_node(ask: Asking) -> None:
    """A group without members: whoever chooses its partitions itself."""
    nodes = ask.cluster.up
    await ask.produce("orders", 0, 10)
    await ask.produce("orders", 1, 4)
    for node in nodes:
        assert (await ask(node, "GET", "/v1/groups/mine"))[0] == 404
        assert (await ask.done(node, "GET", "/v1/groups/mine/offsets"))["offsets"] == []
        assert (await ask.done(node, "GET", "/v1/groups"))["groups"] == []
    for number, node in enumerate(nodes):
        body = {"offsets": [_offset(number + 1, metadata="m"), _offset(4, 1)]}
        stored = (await ask.done(node, "POST", "/v1/groups/mine/offsets", body))["offsets"]
        assert [(each["partition"], each["offset"]) for each in stored] == [(0, number + 1), (1, 4)]
    metrics: list[str] = []
    for node in nodes:
        found = (await ask.done(node, "GET", "/v1/groups/mine/offsets?topic=orders"))["offsets"]
        assert [(each["offset"], each.get("metadata")) for each in found] == [(3, "m"), (4, None)]
        one = (await ask.done(node, "GET", "/v1/groups/mine/offsets?topic=orders&partition=1"))["offsets"]
        assert [each["offset"] for each in one] == [4]
        assert (await ask.done(node, "GET", "/v1/groups?prefix=mi"))["groups"] == [
            {"group": "mine", "type": "consumer", "state": "empty", "members": 0}
        ]
        async with ask.cluster.session.get(node.url + "/metrics") as answer:
            metrics.append(await answer.text())
        lag = await ask.done(node, "GET", "/v1/groups/mine/lag")
        assert (lag["lag"], [each["lag"] for each in lag["partitions"]]) == (7, [7, 0])
        assert [each["end"] for each in lag["partitions"]] == [10, 4]
        assert lag["partitions"][1]["lag_ms"] == 0 <= lag["partitions"][0]["lag_ms"]
        looked = await ask.done(
            node, "POST", "/v1/groups/mine/offsets/reset", {"to": "earliest", "dry_run": True}
        )
        assert [(each["before"], each["after"]) for each in looked["offsets"]] == [(3, 0), (4, 0)]
    assert (await ask.done(nodes[0], "GET", "/v1/groups/mine/lag"))["lag"] == 7, "nothing was changed"
    shown = [each for each in metrics if "floodmark_group_lag{" in each]
    assert len(shown) == 1, "the node that coordinates the group shows it"
    assert 'floodmark_group_lag{group="mine",topic="orders",partition="0"} 7\n' in shown[0]
    assert 'floodmark_group_lag{group="mine",topic="orders",partition="1"} 0\n' in shown[0]
    assert 'floodmark_group_lag_seconds{group="mine",topic="orders",partition="1"} 0.0\n' in shown[0]
    assert "floodmark_group_lag_cut 0\n" in shown[0]
    for number, (to, expected) in enumerate(
        [("-1", [2, 3]), ("+100", [10, 4]), ("latest", [10, 4]), ("@0", [0, 0]), ("7", [7, 4])]
    ):
        node = nodes[number % len(nodes)]
        done = await ask.done(node, "POST", "/v1/groups/mine/offsets/reset", {"to": to})
        assert [each["after"] for each in done["offsets"]] == expected, to
        found = (await ask.done(node, "GET", "/v1/groups/mine/offsets"))["offsets"]
        assert [each["offset"] for each in found] == expected
    file = {"offsets": [_offset(5)]}
    await ask.done(nodes[1], "POST", "/v1/groups/mine/offsets/reset", file)
    await ask.done(nodes[2], "DELETE", "/v1/groups/mine/offsets?topic=orders&partition=1")
    for node in nodes:
        found = (await ask.done(node, "GET", "/v1/groups/mine/offsets"))["offsets"]
        assert [(each["partition"], each["offset"]) for each in found] == [(0, 5)]
    await ask.done(nodes[0], "DELETE", "/v1/groups/mine")
    for node in nodes:
        assert (await ask(node, "DELETE", "/v1/groups/mine"))[1]["code"] == "unknown_group"
        assert (await ask.done(node, "GET", "/v1/groups"))["groups"] == []


async def test_members_share_partitions_and_hand_them_over(ask: Asking) -> None:
    """Each step at another node. Whoever is there commits, and nobody else; resets wait or are forced."""
    n1, n2, n3 = ask.cluster.up
    await ask.produce("orders", 0, 10)
    group = "/v1/groups/team"
    first = await ask.done(n1, "POST", f"{group}/members", {"topics": ["orders"]})
    assert [each["partition"] for each in first["assignment"]] == [0, 1]
    second = await ask.done(n2, "POST", f"{group}/members", {"topics": ["orders"], "member_id": "b"})
    assert (second["assignment"], second["waiting"]) == ([], 1)
    topic_id = first["assignment"][0]["topic_id"]

    def has(*partitions: int) -> dict[str, Any]:
        return {"owned": [{"topic_id": topic_id, "partitions": list(partitions)}] if partitions else []}

    async def beat(node: TestNode, member: dict[str, Any], *partitions: int) -> dict[str, Any]:
        body = {"member_epoch": member["member_epoch"], **has(*partitions)}
        found: dict[str, Any] = await ask.done(node, "POST", f"{group}/members/{member['member_id']}", body)
        return found

    first = await beat(n3, first, 0, 1)
    kept = [each["partition"] for each in first["assignment"]]
    assert len(kept) == 1, "one is to be given up"
    assert (await ask.done(n1, "GET", group))["state"] == "reconciling"
    first = await beat(n1, first, *kept)
    second = await beat(n3, second)
    moved = [each["partition"] for each in second["assignment"]]
    assert sorted(kept + moved) == [0, 1]
    described = await ask.done(n2, "GET", group)
    assert (described["state"], len(described["members"])) == ("stable", 2)

    body = {"offsets": [_offset(3, kept[0])], "member_id": first["member_id"], "member_epoch": 99}
    assert (await ask(n2, "POST", f"{group}/offsets", body))[1]["code"] == "fenced_member_epoch"
    body["member_epoch"] = first["member_epoch"]
    await ask.done(n2, "POST", f"{group}/offsets", body)
    assert (await ask(n3, "POST", f"{group}/offsets", {"offsets": [_offset(1)]}))[1]["code"] == (
        "group_not_empty"
    )
    other = {**body, "offsets": [_offset(3, moved[0])], "partial": True}
    refused = (await ask.done(n1, "POST", f"{group}/offsets", other))["refused"]
    assert [each["partition"] for each in refused] == moved
    reset = {"to": "earliest", "topics": ["orders"]}
    assert (await ask(n1, "POST", f"{group}/offsets/reset", reset))[1]["code"] == "group_not_empty"
    assert (await ask(n2, "DELETE", group))[1]["code"] == "group_not_empty"
    await ask.done(n3, "POST", f"{group}/offsets/reset", {**reset, "force": True})
    stale = (await ask.done(n1, "POST", f"{group}/offsets", {**body, "partial": True}))["refused"]
    assert [each["partition"] for each in stale] == kept, "what was done before the reset does not undo it"
    lag = await ask.done(n2, "GET", f"{group}/lag")
    assert {each["member_id"] for each in lag["partitions"]} == {first["member_id"], "b"}
    for node, member in ((n2, first), (n3, second)):
        status, _ = await ask(node, "DELETE", f"{group}/members/{member['member_id']}")
        assert status == 204
    assert (await ask(n1, "DELETE", f"{group}/members/b"))[1]["code"] == "unknown_member"
    assert (await ask.done(n1, "GET", group))["state"] == "empty"


LONG: Final = "x" * 256
WRONG: Final[list[tuple[str, str, Any]]] = [
    ("POST", "/offsets", {"offsets": [_offset(-1)]}),
    ("POST", "/offsets", {"offsets": [_offset(1), _offset(2)]}),
    ("POST", "/offsets", {"offsets": [_offset(1, 1, metadata="x" * 4097)]}),
    ("POST", "/offsets/reset", {}),
    ("POST", "/offsets/reset", {"to": "somewhere"}),
    ("POST", "/offsets/reset", {"to": "@somewhen"}),
    ("POST", "/offsets/reset", {"to": "earliest"}),
    ("POST", "/offsets/reset", {"offsets": [_offset(1), _offset(2)]}),
    ("POST", "/offsets/reset", {"to": "1", "offsets": [_offset(1)]}),
    ("POST", "/offsets/reset", {"to": "-1", "topics": ["orders"]}),
    ("POST", "/members", {}),
    ("POST", "/members", {"topics": ["orders"], "assignor": "best"}),
    ("POST", "/members", {"topics": ["orders"], "session_timeout_ms": 1}),
    ("POST", "/members", {"pattern": "a{2,5}"}),
    ("POST", "/members", {"topics": ["no/name"]}),
    ("POST", "/members", {"topics": ["orders"], "member_id": ""}),
    ("POST", "/members", {"topics": ["orders"], "member_id": LONG}),
    ("POST", "/members", {"topics": ["orders"], "instance_id": LONG}),
    ("POST", "/members", {"topics": ["orders"], "instance_id": "\u00e9" * 128}),
    ("POST", "/members", {"topics": ["orders"], "assignor": LONG}),
    ("POST", "/members/m", {"member_epoch": "1"}),
    ("POST", "/members/m", {"member_epoch": 1, "instance_id": LONG}),
    ("POST", f"/members/{LONG}", {"member_epoch": 1}),
    ("DELETE", f"/members/{LONG}", None),
    ("DELETE", f"/members/m?instance_id={LONG}", None),
    ("POST", "/offsets", {"offsets": [_offset(1)], "member_id": LONG}),
    ("DELETE", "/offsets", None),
    ("GET", "/offsets?partition=1", None),
    ("DELETE", "/members/m?for_a_while=true", None),
    ("POST", "/records", {}),
    ("POST", "/records?topics=orders", {"commit": "no token"}),
    ("POST", "/records?topics=orders", {"leave": True}),
    ("POST", "/records?topics=orders&start=somewhere", {}),
]


async def test_what_is_wrong_is_refused(ask: Asking) -> None:
    """With 400 or 413, and a sentence, the same at every node; the same for a name that is too long."""
    nodes = ask.cluster.up
    await ask.done(nodes[0], "POST", "/v1/groups/other/offsets", {"offsets": [_offset(1)]})
    for name in ("g", LONG):
        for method, path, body in WRONG:
            told = set()
            for node in nodes:
                status, problem = await ask(node, method, f"/v1/groups/{name}{path}", body)
                assert status in (400, 413), (method, path, body, problem)
                assert len(problem["detail"]) < 1_000
                told.add((status, problem["code"], problem["detail"]))
            assert len(told) == 1, (method, path, body, told)
    for to in ("somewhere", "+-1", str(1 << 63), ""):
        _, problem = await ask(nodes[0], "POST", "/v1/groups/g/offsets/reset", {"to": to})
        assert problem["detail"].startswith("to is an offset, earliest, latest, @time"), problem
        assert repr(to) in problem["detail"]
    missing = "/v1/groups/g/records?topics=none"
    assert (await ask(nodes[0], "POST", missing, {}))[1]["code"] == "unknown_topic"
    for node in nodes:
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/lag"),
            ("DELETE", "/offsets?topic=orders"),
        ):
            status, problem = await ask(node, method, f"/v1/groups/none{path}")
            assert (status, problem["code"], problem["group"]) == (404, "unknown_group", "none")
