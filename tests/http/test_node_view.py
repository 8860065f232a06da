"""``view=node``: what the very node that is asked knows, at a leader, a follower and without a replica."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from node.http import openapi
from node.links_line import LinksLine
from node.request_limits import RequestLimits
from tests.http.conftest import Harness
from tests.http.doors import ROLES, Door, doors
from tests.support.nodes import NodeCluster

VIEWS = ("/v1/topics/t", "/v1/cluster/health", "/v1/reassignments")


@pytest.fixture
async def of_roles(tmp_path: Path) -> AsyncIterator[dict[str, Door]]:
    """A node of each role towards partition 0, 1 or 2 of a topic with two replicas on three nodes."""
    async with NodeCluster.running(tmp_path) as cluster:
        found = await doors(cluster)
        yield {door.role: door for door in found[: len(ROLES)]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which nodes are asked anything by others from now on."""
    found: list[str] = []
    ask = LinksLine.ask

    async def noted(line: LinksLine, node: str, request: Any, **named: Any) -> Any:
        if node != line._node_id:
            found.append(node)
        return await ask(line, node, request, **named)

    monkeypatch.setattr(LinksLine, "ask", noted)
    return found


async def _get(door: Door, path: str) -> Any:
    async with door.cluster.session.get(door.node.url + path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def test_a_topic_is_shown_as_this_nodes_replicas_are(of_roles: dict[str, Door]) -> None:
    """The bounds are those of its own replica, and null where it has none."""
    for door in of_roles.values():
        url = f"{door.node.url}/v1/topics/t/partitions/{door.partition}/records"
        async with door.cluster.session.post(url, json={"value": 1}) as answer:
            assert answer.status == 200
    for role, door in of_roles.items():
        async with asyncio.timeout(20):
            while True:  # A follower hears of the commit with what its leader sends next.
                shown = (await _get(door, "/v1/topics/t?view=node"))["partitions"][door.partition]
                if shown["high_watermark"] != 0:
                    break
                await asyncio.sleep(0.01)
        leader = await door.cluster.leader("t", door.partition)
        assert (shown["high_watermark"] is None) is (role == "no replica"), role
        assert (door.node.node_id in shown["replicas"]) is (role != "no replica")
        if role != "no replica":
            assert shown["leader"] == leader.node_id
        everywhere = (await _get(door, "/v1/topics/t"))["partitions"][door.partition]
        assert (everywhere["high_watermark"], everywhere["leader"]) == (1, leader.node_id)


async def test_health_is_what_this_node_says_of_itself(of_roles: dict[str, Door]) -> None:
    """Not what all say together, which an ordinary question brings."""
    for door in of_roles.values():
        own = await _get(door, "/v1/cluster/health?view=node")
        together = await _get(door, "/v1/cluster/health")
        assert (own["node_id"], own["leads"]) == (door.node.node_id, len(door.node.groups_led()))
        assert {node["node_id"] for node in together["nodes"]} == {"n1", "n2", "n3"}


@pytest.mark.parametrize("path", VIEWS)
async def test_nobody_else_is_asked(of_roles: dict[str, Door], asked: list[str], path: str) -> None:
    """Others are, without it (for moves as long as there are some): so the test can fail."""
    for door in of_roles.values():
        asked.clear()
        await _get(door, path + "?view=node")
        assert asked == []
        await _get(door, path)
        assert asked or path == "/v1/reassignments", (door.role, path)


async def test_a_node_by_itself_says_what_it_believes(tmp_path: Path) -> None:
    """All others are gone: who looks at it still sees its replicas, and who led when it heard last."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=3)
        leader = await cluster.leader("t")
        left = next(node for node in cluster.nodes.values() if node is not leader)
        for node in cluster.nodes.values():
            if node is not left:
                await node.stop()
        timeout = aiohttp.ClientTimeout(total=20)
        for path in ("/v1/topics/t?view=node", "/v1/cluster/health?view=node"):
            async with cluster.session.get(left.url + path, timeout=timeout) as answer:
                assert answer.status == 200, await answer.text()


async def test_it_is_unknown_wherever_else_it_is_said(http: Harness) -> None:
    """400, as every unknown parameter is, by the API's own list of where it is known."""
    await http.make_topic()
    named = {"topic": "t", "partition": "0", "node": "n1"}
    paths = openapi.document(RequestLimits())["paths"]
    known: set[tuple[str, str]] = set()
    for path, methods in paths.items():
        for method, operation in methods.items():
            if not path.startswith("/v1/"):
                continue  # Nothing there reads a query.
            if any(each["name"] == "view" for each in operation["parameters"]):
                known.add((method, path))
                continue
            url = re.sub(r"\{(\w+)\}", lambda name: named.get(name[1], "x"), path) + "?view=node"
            answer = await http.call(
                method.upper(), url, json={} if method in ("post", "put", "patch") else None
            )
            assert (answer.status, "view" in answer.json["detail"]) == (400, True), (method, path)
    assert known == {("get", path) for path in ("/v1/topics/{topic}", *VIEWS[1:])}


@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize("value", ["", "Node", "cluster", "n1", "node&view=node", "%C3%A9", "x" * 2_000])
async def test_another_view_is_refused(http: Harness, path: str, value: str) -> None:
    """And the answer says what there is."""
    await http.make_topic()
    answer = await http.call("GET", f"{path}?view={value}")
    assert (answer.status, "view" in answer.json["detail"], len(answer.body) < 1_000) == (400, True, True)
