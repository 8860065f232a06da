"""Streams: events, lines and length-prefixed MessagePack."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from node.request_limits import RequestLimits
from tests.http.conftest import Harness

RECORDS = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
def settings() -> RequestLimits:
    """Comments at once, so that a test need not wait for one."""
    return RequestLimits(keep_alive_comment_s=0.05)


@pytest.fixture(params=[1, 2])
def node_count(request: pytest.FixtureRequest) -> int:
    """Directly, and passed on by a node that does not lead."""
    return int(request.param)


async def produce(http: Harness, *values: int) -> None:
    """Numbered records."""
    records = [{"value": value} for value in values]
    assert (await http.call("POST", RECORDS, json={"records": records})).status == 200


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """(id, data) of each event; comments as ("", text)."""
    fields: dict[str, str] = {}
    async for raw in answer.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            yield "", line
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["id"], json.loads(fields["data"])
            fields = {}


async def next_value(stream: AsyncIterator[tuple[str, Any]]) -> Any:
    """Of the next record; a comment may come before it, where something has taken a while."""
    async for last, data in stream:
        if last:
            return data["value"]
    raise AssertionError("the stream has ended")


@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_an_event_stream_goes_on_where_it_broke_off(http: Harness, path: str) -> None:
    """Old records, new ones as they come, comments between; ``Last-Event-ID`` misses and repeats nothing."""
    await http.make_topic()
    await produce(http, 0, 1)
    node = list(http.cluster.urls)[-1]
    async with http.session.get(http.url(path, node), headers=EVENTS) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        stream = events(answer)
        assert [await next_value(stream) for _ in range(2)] == [0, 1]
        assert (await anext(stream))[1].startswith(":")
        await produce(http, 2)
        last = ""
        async for last, data in stream:
            if last:
                assert data["value"] == 2
                break
    await produce(http, 3)
    async with http.session.get(http.url(path, node), headers={**EVENTS, "Last-Event-ID": last}) as answer:
        assert await next_value(events(answer)) == 3


@pytest.mark.parametrize("path", [RECORDS, ALL])
async def test_lines_end_where_the_log_ended(http: Harness, path: str) -> None:
    """One record a line, more than one read's worth, then the end; ``max_records`` ends it sooner."""
    await http.make_topic()
    await produce(http, *range(5000))
    headers = {"Accept": "application/x-ndjson"}
    answer = await http.call("GET", path, headers=headers)
    assert [json.loads(line)["value"] for line in answer.body.splitlines()] == list(range(5000))
    few = await http.call("GET", path + "?max_records=7", headers=headers)
    assert len(few.body.splitlines()) == 7


async def test_lines_wait_for_the_first_record_when_asked_to(http: Harness) -> None:
    """``wait`` is for the case that there is nothing; ``follow`` never ends."""
    await http.make_topic()
    headers = {"Accept": "application/x-ndjson"}
    node = list(http.cluster.urls)[-1]
    async with http.session.get(http.url(RECORDS + "?wait=60s", node), headers=headers) as answer:
        await http.cluster.logs["t", 0].awaited()
        await produce(http, 1)
        assert [json.loads(line)["value"] for line in (await answer.read()).splitlines()] == [1]
    async with http.session.get(http.url(RECORDS + "?follow=true", node), headers=headers) as answer:
        for value in (1, 2, 3):
            assert json.loads(await answer.content.readline())["value"] == value
            await produce(http, value + 1)


async def test_messagepack_streams_with_lengths_before_records(http: Harness) -> None:
    """Four bytes, big-endian, then a map."""
    await http.make_topic()
    await produce(http, 7, 8)
    headers = {"Accept": "application/vnd.msgpack"}
    async with http.session.get(http.url(RECORDS + "?follow=true"), headers=headers) as answer:
        for value in (7, 8):
            length = int.from_bytes(await answer.content.readexactly(4), "big")
            assert msgspec.msgpack.decode(await answer.content.readexactly(length))["value"] == value


async def test_a_stream_that_fails_tells_its_reader(http: Harness) -> None:
    """An event named error, after which the stream ends."""
    await http.make_topic()
    await produce(http, 1)
    async with http.session.get(http.url(RECORDS), headers=EVENTS) as answer:
        assert await next_value(events(answer)) == 1
        http.cluster.logs["t", 0].truncate_head(1)
        http.cluster.logs["t", 0].start = 5
        http.cluster.logs["t", 0].wake()
        rest = await answer.read()
    assert b"event: error\ndata: {" in rest


async def test_stopping_a_server_ends_polls_and_streams(http: Harness) -> None:
    """A long poll gets its empty page and a stream its end, at once."""
    import asyncio

    await http.make_topic()
    await produce(http, 1)
    poll = asyncio.create_task(http.call("GET", RECORDS + "?from=latest&wait=60s"))
    await http.cluster.logs["t", 0].awaited()
    async with http.session.get(http.url(RECORDS), headers=EVENTS) as answer:
        assert await next_value(events(answer)) == 1
        await http.servers["n1"].stop(5.0)
        await answer.read()
    assert (await poll).json["records"] == []
    del http.servers["n1"]


async def test_follow_needs_a_form_that_streams(http: Harness) -> None:
    """A JSON document has an end."""
    await http.make_topic()
    assert (await http.call("GET", RECORDS + "?follow=true")).status == 400
