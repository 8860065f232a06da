"""On the event loop that nodes run on, whose transports are of no class of asyncio."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import uvloop
from floodmark.format import batch as codec

from node.request_limits import RequestLimits
from tests.http.conftest import Harness, until
from tests.http.memory_broker import MemoryCluster, MemoryPartition
from tests.http.test_fast_path import read_answers, request


async def _with_server(limits: RequestLimits) -> Harness:
    harness = Harness(MemoryCluster(1))
    await harness.start("n1", limits)
    return harness


def test_what_comes_while_a_plain_request_is_served_is_answered_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits, and nothing of it is lost."""
    produce_records = MemoryPartition.produce_records

    async def run() -> list[int]:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def held(self: MemoryPartition, *arguments: Any, **named: Any) -> Any:
            begun.set()
            await go_on.wait()
            return await produce_records(self, *arguments, **named)

        monkeypatch.setattr(MemoryPartition, "produce_records", held)
        http = await _with_server(RequestLimits())
        try:
            await http.make_topic()
            reader, writer = await asyncio.open_connection(*http.address)
            writer.write(request(b"0"))
            await begun.wait()
            (connection,) = (
                each for each in http.servers["n1"]._runner.open_connections() if each._fast_path_task
            )
            writer.write(request(b"1") + request(b"2"))
            await until(lambda: connection._early != b"" or connection.transport is None)
            go_on.set()
            documents = await read_answers(reader, 3)
            writer.close()
            return [json.loads(document)["first_offset"] for document in documents]
        finally:
            await http.close()

    assert uvloop.run(run()) == [0, 1, 2]


def test_a_large_body_is_followed_by_other_requests() -> None:
    """The connection's protocol is changed while its body comes in, and back again, several times."""

    async def run() -> list[bytes]:
        http = await _with_server(RequestLimits())
        try:
            await http.make_topic()
            reader, writer = await asyncio.open_connection(*http.address)
            for size in (700_000, 1, 1 << 20, 300_000):
                writer.write(request(b"%07d" % size * (size // 7) + b"x"))
            await read_answers(reader, 4)
            writer.close()
            return [codec.decode(frame.payload)[0].value for frame in http.cluster.logs["t", 0].frames]
        finally:
            await http.close()

    stored = uvloop.run(run())
    assert stored == [b"%07d" % size * (size // 7) + b"x" for size in (700_000, 1, 1 << 20, 300_000)]


def test_a_connection_too_many_is_told_so() -> None:
    """503 and closed, as on asyncio's own loop."""

    async def run() -> bytes:
        http = await _with_server(RequestLimits(connections_max=1))
        try:
            _, first = await asyncio.open_connection(*http.address)
            await until(lambda: http.servers["n1"].admission.total == 1)
            refused = await http.raw(b"")
            first.close()
            return refused
        finally:
            await http.close()

    assert uvloop.run(run()).startswith(b"HTTP/1.1 503 ")
