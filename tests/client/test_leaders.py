"""A client and three nodes whose leaders move."""

from __future__ import annotations

import asyncio

from floodmark import Client

from tests.client.front import Front
from tests.http.memory_broker import MemoryCluster


async def test_the_client_learns_who_leads(nodes: MemoryCluster, front: Front, topic: str) -> None:
    """The first request goes by way of the known node, the next ones straight to the leader."""
    nodes.logs[topic, 0].move("n2")
    async with Client(front.url) as client:
        await client.produce(topic, b"0", partition=0)
        asked = len([seen for seen in front.seen if seen.startswith("POST")])
        for number in range(1, 5):
            assert (await client.produce(topic, b"%d" % number, partition=0)).offset == number
        assert len([seen for seen in front.seen if seen.startswith("POST")]) == asked == 1
        assert [r.value async for r in client.read(topic, 0)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_order_holds_while_leaders_move(nodes: MemoryCluster, topic: str) -> None:
    """Leaders change and go missing while 3,000 numbered records are on their way: each once, in order."""
    log = nodes.logs[topic, 0]
    async with Client(list(nodes.urls.values())) as client:
        async with client.producer(topic, batch_bytes=2000, linger_ms=0) as producer:
            acks = []
            for number in range(3000):
                acks.append(await producer.send(number, partition=0))
                if number % 300 == 150:
                    log.move(None)
                    await asyncio.sleep(0)
                    log.move(f"n{number // 300 % 3 + 1}")
        assert [(await ack).offset for ack in acks] == list(range(3000))
        assert [record.json() async for record in client.read(topic, 0)] == list(range(3000))


async def test_a_reader_follows_its_partition_to_another_leader(nodes: MemoryCluster, topic: str) -> None:
    """The tail goes on when the leader has moved."""
    async with Client(list(nodes.urls.values())) as client, client.read(topic, 0, follow=True) as records:
        live = aiter(records)
        for number, leader in enumerate(("n1", "n2", "n3", "n2")):
            nodes.logs[topic, 0].move(leader)
            await client.produce(topic, number, partition=0)
            assert (await anext(live)).json() == number
