"""What an open producer learns meanwhile: the topic's limits, and that a partition has no leader."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from floodmark import Client
from floodmark.errors import TooLarge

from tests.client.front import Front
from tests.http.memory_broker import MemoryCluster


async def test_a_raised_limit_is_learned(client: Client, front: Front, topic: str) -> None:
    """A record above the limit that was known has it looked up, but not for every such record."""
    await client.topics.alter(topic, {"max_record_bytes": 1000})
    async with client.producer(topic) as producer:
        await (await producer.send(b"x" * 1000, partition=0))
        front.seen.clear()
        for _ in range(3):
            with pytest.raises(TooLarge, match="this topic allows 1000"):
                await producer.send(b"x" * 2000, partition=0)
        assert front.seen.count(f"GET /v1/topics/{topic}") <= 1
        await client.topics.alter(topic, {"max_record_bytes": 3000})
        producer._limit_until = 0.0  # a second has passed
        assert (await (await producer.send(b"x" * 2000, partition=0))).offset == 1
        assert len(await (await producer.send_many([b"x" * 3000], partition=0))) == 1
        with pytest.raises(TooLarge, match="this topic allows 3000"):
            await producer.send_many([b"x" * 3001], partition=0)


async def test_a_lowered_limit_is_learned(client: Client, topic: str) -> None:
    """The first record above it is refused by the node, the next one here; smaller ones go on."""
    async with client.producer(topic) as producer:
        await (await producer.send(b"x" * 2000, partition=0))
        await client.topics.alter(topic, {"max_record_bytes": 1000})
        with pytest.raises(TooLarge):
            await (await producer.send(b"x" * 2000, partition=0))
        with pytest.raises(TooLarge, match="this topic allows 1000"):
            await producer.send(b"x" * 2000, partition=0)
        assert (await (await producer.send(b"x" * 900, partition=0))).offset == 1


class _Counting(logging.Filter):
    """Tells that something was said."""

    def __init__(self, told: threading.Semaphore) -> None:
        super().__init__()
        self._told = told

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        self._told.release()
        return True


async def test_what_keeps_records_waiting_is_told_once(
    client: Client,
    nodes: MemoryCluster,
    topic: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Long before their time is up, in the words of the node; and again when there is trouble again."""
    caplog.set_level(logging.WARNING, "floodmark.producer.producer")
    told = threading.Semaphore(0)
    monkeypatch.setattr(logging.getLogger("floodmark.producer.producer"), "filters", [_Counting(told)])
    log = nodes.logs[topic, 0]
    tries = 0
    wait = log.wait

    async def counted(timeout_s: float) -> bool:
        nonlocal tries
        tries += 1
        return await wait(timeout_s)

    monkeypatch.setattr(log, "wait", counted)
    short = Client(nodes.urls["n1"], request_timeout_s=0.3)
    async with short, short.producer(topic) as producer:
        await (await producer.send(b"x", partition=0))
        monkeypatch.setattr("floodmark.producer.partition_sender._TELL_AFTER_S", 0.0)
        for times in (1, 2):
            log.move(None)
            ack = await producer.send(b"x", partition=0)
            await asyncio.to_thread(told.acquire)
            await asyncio.sleep(0)  # the filter comes before the handler
            seen = tries
            async with asyncio.timeout(60):
                while tries < seen + 3:  # noqa: ASYNC110 - more tries come to the same
                    await asyncio.sleep(0.01)
            log.move("n1")
            assert (await ack).offset == times
            assert len(caplog.messages) == times
            assert f"{topic}/0 has no leader; trying for " in caplog.messages[-1]
