"""One greedy client and ten modest ones at whole nodes: by counts, what the modest ones get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from node.http.context import CONTEXT
from tests.node.test_users import administrator, call
from tests.support.nodes import NodeCluster, TestNode

MIB = 1 << 20
RECORDS = "/v1/topics/t/partitions/0/records"
MODEST = [f"modest{number}" for number in range(10)]


class Users(NamedTuple):
    """A cluster, its administrator's token, and those of the others."""

    cluster: NodeCluster
    root: str
    tokens: dict[str, str]

    def headers(self, who: str) -> dict[str, str]:
        """Of its requests."""
        return {"Authorization": f"Bearer {self.tokens[who]}", "Content-Type": "application/octet-stream"}

    async def produce(self, node: TestNode, who: str, size: int) -> tuple[int, Any]:
        """One record. Where it was not stored since nobody led at the moment it is sent again."""
        headers, url = self.headers(who), node.url + RECORDS
        async with asyncio.timeout(60):
            while True:
                async with self.cluster.session.post(url, data=bytes(size), headers=headers) as answer:
                    if answer.status != 503:
                        return answer.status, await answer.json()
                await asyncio.sleep(0.05)

    async def count(self) -> int:
        """How many records there are."""
        path = "/v1/topics/t/partitions/0/tail"
        status, tail = await call(self.cluster, self.cluster["n1"], "GET", path, token=self.root)
        assert status == 200, tail
        return int(tail["high_watermark"])


@pytest.fixture
async def users(tmp_path: Path) -> AsyncIterator[Users]:
    """Three nodes with little memory for bodies."""
    settings = {
        "http.authentication": "required",
        "limits.body_bytes_max": MIB,
        "limits.inflight_node_bytes": 8 * MIB,
        "limits.inflight_address_bytes": 4 * MIB,
    }
    async with NodeCluster.running(tmp_path, **settings) as cluster:
        root = await administrator(cluster)
        tokens = {}
        node = cluster["n1"]
        for name in (*MODEST, "greedy"):
            status, made = await call(cluster, node, "POST", "/v1/users", {"user": name}, token=root)
            assert status == 201, made
            status, made = await call(cluster, node, "POST", f"/v1/users/{name}/tokens", {}, token=root)
            assert status == 201, made
            tokens[name] = made["token"]
        everything = [
            {"principal": "*", "kind": "topic", "pattern": "prefix", "name": "", "operation": "all"},
            {"principal": "*", "kind": "cluster", "operation": "describe"},
        ]
        status, made = await call(cluster, node, "POST", "/v1/acls", {"acls": everything}, token=root)
        assert status == 200, made
        await cluster.create("t")
        await cluster.leader("t")
        for each in cluster.up:
            await each.broker.catch_up(timeout_s=10)
        yield Users(cluster, root, tokens)


async def test_modest_clients_are_not_refused_beside_a_greedy_one_and_it_is(users: Users) -> None:
    """At each node by itself; what was refused is not stored, and all else is."""
    cluster = users.cluster
    for principal, limits in (("greedy", {"requests_per_s": 1}), ("*", {"requests_per_s": 500})):
        path = f"/v1/quotas/{principal}"
        status, made = await call(cluster, cluster["n2"], "PUT", path, limits, token=users.root)
        assert (status, made) == (200, {"principal": principal, "limits": limits})
    for node in cluster.up:
        await node.broker.catch_up(timeout_s=10)
    before = await users.count()
    asked = 60
    greedy, modest = await asyncio.gather(
        asyncio.gather(*(users.produce(node, "greedy", 100) for node in cluster.up for _ in range(asked))),
        asyncio.gather(*(users.produce(node, who, 100) for node in cluster.up for who in 2 * MODEST)),
    )
    assert [status for status, _ in modest] == [200] * len(modest)
    refused = [answer for status, answer in greedy if status == 429]
    assert len(refused) + sum(status == 200 for status, _ in greedy) == len(greedy)
    assert refused
    assert all("the quota of greedy is used up" in answer["detail"] for answer in refused)
    assert all(0 < answer["retry_after_s"] <= 1 for answer in refused)
    assert await users.count() - before == len(modest) + len(greedy) - len(refused)
    for node in cluster.up:
        quotas = node.running.app[CONTEXT].service.quotas
        assert quotas.refused.keys() == {("principal", "requests_per_s")}
        status, _ = await call(cluster, node, "DELETE", "/v1/quotas/nobody", token=users.root)
        assert status == 404


async def test_who_holds_half_of_the_memory_leaves_the_other_half_to_the_others(users: Users) -> None:
    """Without any quota, and though all come from one address."""
    cluster = users.cluster
    node = await cluster.leader("t")
    host, _, port = node.url.removeprefix("http://").partition(":")
    token = users.tokens["greedy"]
    head = (
        f"POST {RECORDS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {MIB}\r\n\r\n"
    )
    budget = node.broker._budget
    writers: list[asyncio.StreamWriter] = []
    for number in range(12):
        _, writer = await asyncio.open_connection(host, int(port))
        writers.append(writer)
        held = budget.used
        writer.write(head.encode() + bytes(MIB - 1))  # All but the last byte, for which the node waits.
        if number < 4:
            await cluster.until(lambda held=held: budget.used >= held + MIB - 1, "it is held")
    await cluster.until(lambda: 4 * (MIB - 1) <= budget.used <= 5 * MIB, "it has half, and no more")
    answers = await asyncio.gather(*(users.produce(node, who, MIB // 3) for who in MODEST))
    assert [status for status, _ in answers] == [200] * len(MODEST)
    status, refused = await users.produce(node, "greedy", MIB // 3)
    assert status == 429
    assert "bytes of yours are under way" in refused["detail"]
    for writer in writers:
        writer.close()
    await cluster.until(lambda: budget.used == 0, "all is given back")
    assert (await users.produce(node, "greedy", MIB // 3))[0] == 200


async def test_a_quota_holds_for_who_says_nothing(tmp_path: Path) -> None:
    """In a cluster that asks nobody, everybody together; metrics count who was refused."""
    async with NodeCluster.running(tmp_path, count=1) as cluster, aiohttp.ClientSession() as session:
        node = cluster["n1"]
        await cluster.create("t")
        path = "/v1/quotas/anonymous"
        assert (await call(cluster, node, "PUT", path, {"produce_bytes_per_s": 1024}))[0] == 200
        headers = {"Content-Type": "application/octet-stream"}
        async with session.post(node.url + RECORDS, data=bytes(300_000), headers=headers) as answer:
            assert answer.status == 200, "one that is larger than a bucket"
        async with session.post(node.url + RECORDS, data=b"x", headers=headers) as answer:
            assert answer.status == 429
            assert 0 < (await answer.json())["retry_after_s"] < 292
        async with session.get(node.url + "/metrics") as answer:
            text = await answer.text()
        assert 'floodmark_quota_refusals_total{limit="produce_bytes_per_s",of="principal"} ' in text
