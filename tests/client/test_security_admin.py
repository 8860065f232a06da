"""Entries and quotas through the client, with and without asyncio, at any node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from floodmark import Acl, Client, Quota, QuotaLimits, sync
from floodmark.errors import Forbidden, InvalidRequest, NotFound

from tests.client.front import Front, break_off
from tests.node.test_users import administrator, call
from tests.support.nodes import NodeCluster

READS = Acl(principal="ann", kind="topic", name="orders", operation="read")
NOT_WRITES = Acl(principal="ann", kind="topic", name="", pattern="prefix", operation="write", allow=False)
BOBS = Acl(principal="bob", kind="cluster", operation="describe")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NodeCluster]:
    async with NodeCluster.running(tmp_path, **{"http.authentication": "required"}) as running:
        yield running


async def test_entries_and_quotas_are_made_shown_and_removed(cluster: NodeCluster) -> None:
    """By an administrator; who may not is refused, what is wrong is said, and sync does the same."""
    root = await administrator(cluster)
    async with Client([cluster["n2"].url], token=root) as client:
        assert await client.acls.add([READS, NOT_WRITES, BOBS]) == 3
        assert await client.acls.add([READS]) == 0
        assert {*await client.acls.list()} == {READS, NOT_WRITES, BOBS}
        assert await client.acls.list(allow=False) == [NOT_WRITES]
        assert await client.acls.list(principal="ann", allow=True) == [READS]
        assert await client.acls.list(principal="ann", pattern="prefix", name="") == [NOT_WRITES]
        decision = await client.acls.check("ann", "write", "topic", "orders")
        assert (decision.allowed, decision.acl) == (False, NOT_WRITES)
        assert (await client.acls.check("ann", "read", "topic", "orders")).acl == READS
        assert not (await client.acls.check("bob", "alter", "cluster")).allowed
        with pytest.raises(InvalidRequest, match="say which entries"):
            await client.acls.remove()
        with pytest.raises(InvalidRequest):
            await client.acls.add([Acl(principal="ann", kind="nothing", operation="read")])
        assert await client.acls.remove(principal="bob") == [BOBS]

        limits = QuotaLimits(requests_per_s=500.0, connections=7)
        assert await client.quotas.set("ann", limits) == Quota(principal="ann", limits=limits)
        everybody = QuotaLimits(produce_bytes_per_s=4096.0)
        await client.quotas.set("*", everybody)
        assert await client.quotas.list() == [
            Quota(principal="*", limits=everybody),
            Quota(principal="ann", limits=limits),
        ]
        await client.quotas.remove("*")
        with pytest.raises(NotFound):
            await client.quotas.remove("*")
        with pytest.raises(InvalidRequest):
            await client.quotas.set("ann", QuotaLimits(connections=0))
    assert (await call(cluster, cluster["n1"], "POST", "/v1/users", {"user": "bob"}, token=root))[0] == 201
    _, made = await call(cluster, cluster["n1"], "POST", "/v1/users/bob/tokens", token=root)
    async with Client([cluster["n3"].url], token=made["token"]) as client:
        refused: list[Callable[[], Awaitable[Any]]] = [
            client.acls.list,
            lambda: client.acls.add([BOBS]),
            client.quotas.list,
            lambda: client.quotas.remove("ann"),
        ]
        for asked in refused:
            with pytest.raises(Forbidden):
                await asked()
    await asyncio.to_thread(_without_asyncio, cluster["n1"].url, root)
    await _lost_answers(cluster["n1"].url, root)


def _without_asyncio(url: str, root: str) -> None:
    with sync.Client(url, token=root) as client:
        assert client.acls.list(principal="ann", operation="read") == [READS]
        assert client.acls.remove(principal="ann", operation="read") == [READS]
        assert client.acls.add([READS]) == 1
        assert client.acls.check("ann", "read", "topic", "orders").allowed
        assert [quota.principal for quota in client.quotas.list()] == ["ann"]
        client.quotas.set("anonymous", QuotaLimits(inflight_bytes=4096))
        client.quotas.remove("anonymous")


async def _lost_answers(url: str, root: str) -> None:
    """What an earlier try of the same call has removed is this call's own success."""
    front = await Front(url).start()

    async def lose_first(request, body):  # type: ignore[no-untyped-def]
        front.after = nothing
        return await break_off(request)

    async def nothing(request, body):  # type: ignore[no-untyped-def]
        return None

    try:
        async with Client(front.url, token=root) as client:
            front.after = lose_first
            await client.quotas.remove("ann")
            front.after = lose_first
            assert await client.acls.remove(principal="ann") == []
            assert await client.acls.list() == []
    finally:
        await front.stop()
