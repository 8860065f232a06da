"""Bodies on their way in: what has come is counted, nobody fills a node alone, and nodes have room."""

from __future__ import annotations

import asyncio
import io
import random

import pytest
from floodmark.format import batch as codec
from floodmark.format.record import Record

from node.budget import SharedBudget
from node.http.context import CONTEXT
from node.request_limits import RequestLimits
from tests.http.conftest import MARK, Answer, Harness, until

PATH = "/v1/topics/t/partitions/0/records"
MIB = 1 << 20
FAST = ""
SLOW = "X-Anything: that the fast path does not know\r\n"
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def node_count() -> int:
    """Partition 0 is led by n1."""
    return 2


@pytest.fixture
async def topic(http: Harness) -> Harness:
    """One topic."""
    await http.call("PUT", "/v1/topics/t", json={"partitions": 1})
    return http


def head(length: int, more: str = "", media: str = RAW["Content-Type"]) -> bytes:
    """Of a produce."""
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n{more}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def begin(
    http: Harness, length: int, sent: int, more: str = "", *, node: str = "n1", source: str = "127.0.0.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A body of which so much has been sent."""
    reader, writer = await asyncio.open_connection(*http.address_of(node), local_addr=(source, 0))
    writer.write(head(length, more) + bytes(sent))
    await writer.drain()
    return reader, writer


async def honest(http: Harness, node: str = "n1") -> Answer:
    """A small produce."""
    return await http.call("POST", PATH, node=node, data=b"x", headers=RAW)


@pytest.mark.parametrize("node", ["n1", "n2"])
@pytest.mark.parametrize("more", [FAST, SLOW])
async def test_what_is_announced_and_does_not_come_takes_no_room(
    topic: Harness, more: str, node: str
) -> None:
    """Forty bodies of 16 MiB are ten times what a node may hold, and everybody else is served."""
    slow = [await begin(topic, 16 * MIB, 1000, more, node=node) for _ in range(40)]
    asked = topic.cluster.brokers[node]
    await until(lambda: asked.budget.used == 40_000)
    assert (await honest(topic)).status == 200
    assert (await honest(topic, "n2")).status == 200
    for _, writer in slow:
        writer.transport.abort()
    await until(lambda: not asked.budget.used)


@pytest.mark.parametrize("more", [FAST, SLOW])
async def test_one_address_leaves_room_for_others(topic: Harness, more: str) -> None:
    """With more than one request it may have a share once half is used; others still get in."""
    topic.broker.budget = budget = SharedBudget(4 * MIB, MIB, "this node")
    first = await begin(topic, 16 * MIB, MIB, more, source="127.0.0.2")
    second = await begin(topic, 16 * MIB, MIB - 1000, more, source="127.0.0.2")
    await until(lambda: budget.used == 2 * MIB - 1000)
    third = await begin(topic, 5000, 5000, more, source="127.0.0.2")
    assert (await third[0].readline()).startswith(b"HTTP/1.1 429 ")
    body = bytes(MIB - 100)
    other = await topic.call("POST", PATH, data=io.BytesIO(body), headers=RAW)
    assert other.status == 200
    for _, writer in (first, second, third):
        writer.transport.abort()
    await until(lambda: budget.used == 0)


async def test_a_lone_request_may_be_larger_than_the_share(topic: Harness) -> None:
    """Nobody else of its address is there, and room is: it is served."""
    topic.broker.budget = SharedBudget(4 * MIB, MIB, "this node")
    records = [Record(0, None, random.Random(number).randbytes(MIB - 100)) for number in range(3)]
    batch = codec.encode(records)
    media = {"Content-Type": "application/vnd.floodmark.batch;v=1"}
    answer = await topic.call("POST", PATH, data=io.BytesIO(batch), headers=media)
    assert answer.status == 200
    assert topic.cluster.logs["t", 0].frames[0].payload == batch
    assert topic.broker.budget.used == 0


async def test_a_body_that_finds_no_room_half_way_is_refused_and_the_connection_goes_on(
    topic: Harness,
) -> None:
    """On the fast path: the rest is read and forgotten, then comes the 429, then the next request's 200."""
    budget = topic.broker.budget
    reader, writer = await begin(topic, 5 * MIB, 3 * MIB)
    await until(lambda: budget.used == 3 * MIB)
    with topic.broker.uploads("another", from_node=False) as other:
        other.take(budget.limit - budget.used)
        writer.write(bytes(MIB))
        await until(lambda: budget.used == other.held)  # What had come is given back at once.
        writer.write(bytes(MIB))
        assert (await reader.readline()).startswith(b"HTTP/1.1 429 ")
    writer.write(head(1) + b"x")
    rest = await reader.readuntil(b"HTTP/1.1 200 ")
    assert b'"code":"too_many_requests"' in rest
    writer.close()
    assert topic.cluster.logs["t", 0].next == 1


async def test_what_nodes_pass_on_has_room_of_its_own(topic: Harness) -> None:
    """Clients who fill a node do not keep others away from the partitions that it leads."""
    with topic.broker.uploads("everybody", from_node=False) as clients:
        clients.take(topic.broker.budget.limit)
        assert (await honest(topic, "n1")).status == 429
        assert (await honest(topic, "n2")).status == 200
        large = {"data": io.BytesIO(bytes(500_000)), "headers": RAW}
        assert (await topic.call("POST", PATH, node="n2", **large)).status == 200
        assert (await topic.call("POST", "/v1/topics/t/records", node="n2", json={"value": 1})).status == 200
    assert topic.broker.passed_on.used == 0


@pytest.mark.parametrize("mark", ["1", "of those nodes", "of these node", "\xff"])
@pytest.mark.parametrize("more", [FAST, SLOW])
async def test_nobody_else_gets_that_room(topic: Harness, mark: str, more: str) -> None:
    """To say that a request was passed on is not enough."""
    assert topic.servers["n1"].app[CONTEXT].is_from_node(MARK)
    _, writer = await begin(topic, 1000, 10, f"Floodmark-Forwarded: {mark}\r\n{more}")
    await until(lambda: topic.broker.budget.used == 10)
    assert topic.broker.passed_on.used == 0
    writer.close()


class TestDeadline:
    """Limits that end soon."""

    @pytest.fixture
    def settings(self) -> RequestLimits:
        """A body has a fifth of a second, and nothing more for its length."""
        return RequestLimits(
            body_timeout_s=0.2, body_bytes_per_s=1 << 30, body_bytes_per_s_min=1, sweep_s=0.05
        )

    @pytest.mark.parametrize("node", ["n1", "n2"])
    @pytest.mark.parametrize("more", [FAST, SLOW])
    async def test_a_body_that_trickles_on_is_given_up(self, topic: Harness, more: str, node: str) -> None:
        """However steadily it comes; what it held is given back."""
        reader, writer = await begin(topic, MIB, 1000, more, node=node)

        async def trickle() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)

        trickling = asyncio.create_task(trickle())
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        trickling.cancel()
        writer.close()
        await until(lambda: all(not broker.budget.used for broker in topic.cluster.brokers.values()))
        assert (await honest(topic, node)).status == 200


async def test_nodes_are_known_by_every_secret_that_counts(topic: Harness) -> None:
    """While the cluster's secret is changed there are two; one that is gone opens nothing."""
    context = topic.servers["n1"].app[CONTEXT]
    context.node_mark, context.other_marks = "of the new secret", (MARK,)
    assert context.is_from_node(MARK)
    assert context.is_from_node("of the new secret")
    assert not context.is_from_node("of no secret")
    context.other_marks = ()
    assert not context.is_from_node(MARK)
