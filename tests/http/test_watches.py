"""Waiting for topics of many partitions: one request from node to node, however many wait."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp
import pytest

from node.http.context import CONTEXT
from node.request_limits import RequestLimits
from tests.http.conftest import Answer, Harness, until

PARTITIONS = 64
ALL = "/v1/topics/t/records"


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p modulo 3, plus 1."""
    return 3


@pytest.fixture
def settings() -> RequestLimits:
    """Few connections between nodes."""
    return RequestLimits(forward_connections_max=40)


async def cursor_of(http: Harness) -> str:
    """At the end of the topic as it is."""
    return (await http.call("GET", ALL)).json["cursor"]


def asking(http: Harness, node: str) -> int:
    """Requests that wait at other nodes."""
    return http.servers[node].app[CONTEXT].service.watches.asking


@pytest.mark.parametrize("led_by", [0, 1])
async def test_many_polls_of_many_partitions_share_two_requests(http: Harness, led_by: int) -> None:
    """Sixty polls at one node: it asks each of the others once. All of them get the record."""
    await http.make_topic(partitions=PARTITIONS)
    goes_on = await cursor_of(http)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as many:

        async def poll() -> list[Any]:
            async with many.get(http.url(f"{ALL}?cursor={goes_on}&wait=60s")) as answer:
                return [record["value"] for record in (await answer.json())["records"]]

        polls = [asyncio.create_task(poll()) for _ in range(60)]
        # A node's own partitions are waited for by each poll, so this says that they all wait.
        await until(lambda: http.cluster.logs["t", 0].waiters == 60)
        await until(lambda: asking(http, "n1") == 2)
        await until(lambda: http.cluster.logs["t", 1].waiters == 1)
        assert all(http.cluster.logs["t", number].waiters <= 1 for number in (1, 2, 4, 5))
        posted = await http.call("POST", f"/v1/topics/t/partitions/{led_by}/records", json={"value": 7})
        assert posted.status == 200
        assert await asyncio.gather(*polls) == [[7]] * 60
    await until(lambda: asking(http, "n1") == 0)
    await until(lambda: not any(log.waiters for log in http.cluster.logs.values()))


@pytest.mark.parametrize("node", ["n1", "n2", "n3"])
async def test_a_wait_tells_the_partitions_that_have_something(http: Harness, node: str) -> None:
    """At once where there is something, later where there will be, and none when the time is up."""
    await http.make_topic(partitions=3)
    goes_on = await cursor_of(http)

    async def wait(how_long: str) -> Answer:
        return await http.call("GET", f"/v1/topics/t/wait?cursor={goes_on}&wait={how_long}", node=node)

    assert (await wait("10ms")).json == {"ready": []}
    for number in range(3):
        waiting = asyncio.create_task(wait("60s"))
        await until(lambda: all(http.cluster.logs["t", each].waiters for each in range(3)))
        path = f"/v1/topics/t/partitions/{number}/records"
        assert (await http.call("POST", path, json={"value": number})).status == 200
        assert (await waiting).json == {"ready": [number]}
        assert number in (await wait("60s")).json["ready"]
        goes_on = await cursor_of(http)


@pytest.mark.parametrize("node", ["n1", "n2", "n3"])
async def test_a_wait_ends_with_its_topic(http: Harness, node: str) -> None:
    """And is refused without a cursor."""
    await http.make_topic(partitions=3)
    goes_on = await cursor_of(http)
    assert (await http.call("GET", "/v1/topics/t/wait", node=node)).status == 400
    url = f"/v1/topics/t/wait?cursor={goes_on}&wait=60s"
    waiting = asyncio.create_task(http.call("GET", url, node=node))
    await until(lambda: all(http.cluster.logs["t", each].waiters for each in range(3)))
    assert (await http.call("DELETE", "/v1/topics/t")).status == 204
    gone = await waiting
    assert (gone.status, gone.json["code"]) == (404, "topic_deleted")


async def test_a_leader_that_moves_is_waited_for_where_it_is(http: Harness) -> None:
    """A poll goes on through a time without a leader."""
    await http.make_topic(partitions=3)
    goes_on = await cursor_of(http)
    waiting = asyncio.create_task(http.call("GET", f"{ALL}?cursor={goes_on}&wait=60s"))
    log = http.cluster.logs["t", 1]
    await until(lambda: log.waiters == 1)
    log.move(None)
    await until(lambda: asking(http, "n1") == 1)
    log.move("n3")
    await until(lambda: log.waiters > 0)
    answer = await http.call("POST", "/v1/topics/t/partitions/1/records", json={"value": 5})
    assert answer.status == 200
    assert [record["value"] for record in (await waiting).json["records"]] == [5]


async def test_who_waits_for_the_same_shares_a_request_and_leaves_connections_to_the_others(
    http: Harness,
) -> None:
    """However many poll one partition by way of a node; and no more places are waited for at other nodes at
    once than half of the connections are for: polls beyond that look again now and then."""
    await http.make_topic()
    path = "/v1/topics/t/partitions/0/records"
    log = http.cluster.logs["t", 0]

    async def poll() -> Answer:
        return await http.call("GET", path + "?from=latest&wait=60s", node="n2")

    polls = [asyncio.create_task(poll()) for _ in range(40)]
    await until(lambda: log.waiters == 1)
    assert (await http.call("GET", path, node="n2")).status == 200
    with contextlib.ExitStack() as patience:
        for _ in range(20 - asking(http, "n2")):
            patience.enter_context(http.servers["n2"].app[CONTEXT].patience())
        late = asyncio.create_task(poll())
        assert (await http.call("POST", path, json={"value": 1}, node="n2")).status == 200
        assert [len((await each).json["records"]) for each in polls] == [1] * 40
    late.cancel()


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_poll_of_one_partition_is_woken_by_that_one(http: Harness, number: int) -> None:
    """Whichever number it has, by a node that does not lead it."""
    await http.make_topic(partitions=3)
    path = f"/v1/topics/t/partitions/{number}/records"
    node = f"n{(number + 1) % 3 + 1}"
    log = http.cluster.logs["t", number]
    for accept in ("application/json", "application/vnd.floodmark.batch;v=1"):
        polling = asyncio.create_task(
            http.call("GET", path + "?from=latest&wait=60s", node=node, headers={"Accept": accept})
        )
        await until(lambda: log.waiters == 1)
        next_offset = log.next + 1
        assert (await http.call("POST", path, json={"value": 1})).status == 200
        answer = await polling
        assert (answer.status, answer.headers["Log-Next-Offset"]) == (200, str(next_offset))
        assert answer.headers["Floodmark-Leader"] == f"n{number + 1}"
