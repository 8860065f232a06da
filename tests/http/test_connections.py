"""Clients that are slow, many, or gone."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import time

import pytest
from floodmark.format import batch
from floodmark.format.record import Record

from node import descriptors
from node.http.admission import SPARE_PLACES, Admission, Place
from node.request_limits import RequestLimits
from tests.http.conftest import Harness, until

RECORDS = "/v1/topics/t/partitions/0/records"
POST = f"POST {RECORDS} HTTP/1.1\r\nHost: localhost\r\n".encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def settings() -> RequestLimits:
    """Short deadlines and few places."""
    return RequestLimits(
        header_timeout_s=0.2,
        body_window_s=0.2,
        write_stall_s=0.2,
        idle_timeout_s=30.0,
        sweep_s=0.05,
        connections_max=20,
        connections_per_address_max=10,
    )


@pytest.mark.parametrize(
    "start",
    [b"", b"GET /heal", GET + b"A: b"],
    ids=["nothing", "half a line", "half the headers"],
)
async def test_a_slow_head_is_408_and_closed(http: Harness, start: bytes) -> None:
    """From the first byte (or the connection) to the last header there is a deadline."""
    answer = await http.raw(start)
    assert b"HTTP/1.1 408 " in answer, answer
    problem = json.loads(answer.rpartition(b"\r\n\r\n")[2])
    assert (problem["code"], problem["retriable"]) == ("request_timeout", True)


async def test_a_head_that_trickles_is_408_too(http: Harness) -> None:
    """Bytes alone do not move the deadline."""
    reader, writer = await asyncio.open_connection(*http.address)
    writer.write(GET)

    async def trickle() -> None:
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.01)

    writer.write(b"A: ")
    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 408 ")
    trickling.cancel()
    await asyncio.gather(trickling, return_exceptions=True)
    writer.close()


@pytest.mark.parametrize(
    "start", [b"Content-Length: 100000\r\n\r\nx", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"]
)
async def test_a_slow_body_is_408_and_closed(http: Harness, start: bytes) -> None:
    """Below the minimum rate a body is given up; what it held of the budget comes back."""
    await http.make_topic()
    answer = await http.raw(POST + b"Content-Type: application/json\r\n" + start)
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert http.broker.budget.used == 0


@pytest.mark.parametrize("settings", [RequestLimits(connections_max=20, connections_per_address_max=10)])
async def test_connections_beyond_the_cap_are_refused(http: Harness) -> None:
    """503 and closed, while the ones that are in go on working; a place that is left is given again."""
    async with asyncio.timeout(60):
        held = []
        await http.call("GET", "/healthz")
        while http.servers["n1"].admission.total < 10:
            held.append(await asyncio.open_connection(*http.address))
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*http.address)
        refused = await reader.read()
        writer.close()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in refused
        assert (await http.call("GET", "/healthz")).status == 200
        for _, used in held:
            used.close()
        await until(lambda: http.servers["n1"].admission.total <= 1)
        assert (await http.raw(GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


def test_the_cap_leaves_file_descriptors_to_the_log() -> None:
    """Never more connections than the process may have files, less the reserve; per address fewer."""
    reserve = RequestLimits(connections_max=1 << 40, file_descriptors_reserve=10)
    assert Admission(reserve).limit < 1 << 40
    few = Admission(RequestLimits(connections_max=3, connections_per_address_max=2))
    assert [few.admit(address) is None for address in "aaabc"] == [True, True, False, True, False]
    few.release("a", Place.USUAL)
    few.release("b", Place.USUAL)
    assert few.admit("a") is None
    assert few.refused == 2
    assert [few.admit_spare() for _ in range(SPARE_PLACES + 1)] == [True] * SPARE_PLACES + [False]
    few.release("a", Place.SPARE)
    assert few.admit_spare()


def test_when_half_of_all_connections_are_open_each_address_has_its_share() -> None:
    """What it has it keeps; others find room. Where one address may have all there are no shares."""
    admission = Admission(RequestLimits(connections_max=100, connections_per_address_max=60))
    assert sum(admission.admit("greedy") is None for _ in range(60)) == 50
    for number in range(10):
        assert sum(admission.admit(f"modest {number}") is None for _ in range(4)) == 4
    assert admission.admit("greedy") is not None
    assert admission.admit("last") is None
    balanced = Admission(RequestLimits(connections_max=100, connections_per_address_max=100))
    balanced.admit("probe")
    assert sum(balanced.admit("balancer") is None for _ in range(100)) == 99


def test_a_connection_in_the_reserve_of_descriptors_is_one_too_many() -> None:
    """Its number says that all below it are in use, whatever for."""
    admission = Admission(RequestLimits(file_descriptors_reserve=10))
    first = descriptors.limit() - 10
    assert admission.admit("a", first - 1) is None
    assert "LimitNOFILE" in str(admission.admit("a", first))


async def test_who_is_one_too_many_may_still_help(http: Harness) -> None:
    """DELETE and the probes are answered, one a connection; others 503; and places come back."""
    await http.make_topic()
    admission = http.servers["n1"].admission
    admission.limit = 0  # Whoever comes from now on is one too many.
    get = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"
    post = POST + b"Content-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"value":1}'
    for _ in range(SPARE_PLACES):
        for request, status in (
            (get % b"/healthz", b"200"),
            (get % b"/readyz", b"200"),
            (get % b"/v1/topics", b"503"),
            (post, b"503"),
            (b"no HTTP at all\r\n\r\n", b"400"),
        ):
            assert (await http.raw(request)).split(b" ")[1] == status, request
    delete = b"DELETE /v1/topics/t HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await http.raw(delete)).startswith(b"HTTP/1.1 204 ")
    await until(lambda: admission.spare == 0)


@pytest.mark.parametrize("accept", ["application/x-ndjson", "application/vnd.floodmark.batch"])
async def test_a_consumer_that_does_not_read_is_dropped(http: Harness, accept: str) -> None:
    """What is held for it is bounded, and after a while it is given up."""
    await http.make_topic()
    made = batch.encode([Record(0, None, bytes(1 << 18)) for _ in range(16)])
    for _ in range(8):
        answer = await http.call(
            "POST",
            RECORDS,
            data=io.BytesIO(made),
            headers={"Content-Type": "application/vnd.floodmark.batch"},
        )
        assert answer.status == 200
    with socket.socket() as consumer:
        consumer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        consumer.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(consumer, http.address)
        request = f"GET {RECORDS}?max_bytes=8000000 HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
        await loop.sock_sendall(consumer, request.encode())
        metrics = b""
        async with asyncio.timeout(20):
            while b'dropped_total{reason="slow_reader"} 1.0' not in metrics:
                metrics = (await http.call("GET", "/metrics")).body
                await asyncio.sleep(0.02)


async def test_a_client_that_leaves_ends_its_long_poll(http: Harness) -> None:
    """Nobody waits for who is not there."""
    await http.make_topic()
    log = http.cluster.logs["t", 0]
    _, writer = await asyncio.open_connection(*http.address)
    writer.write(f"GET {RECORDS}?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await log.awaited()
    writer.close()
    await until(lambda: not log.waiters)


async def test_a_client_that_leaves_in_its_body_stores_nothing(http: Harness) -> None:
    """Half a record is none, and the budget is whole again."""
    await http.make_topic()
    _, writer = await asyncio.open_connection(*http.address)
    writer.write(POST + b"Content-Length: 1000\r\n\r\n" + b'{"value":1}')
    await until(lambda: http.broker.budget.used > 0)
    writer.close()
    await until(lambda: http.broker.budget.used == 0)
    assert (await http.call("GET", RECORDS)).json["high_watermark"] == 0


async def test_stopping_lets_a_running_produce_end(http: Harness) -> None:
    """No new connections, but the request that runs gets its answer."""
    await http.make_topic()
    reader, writer = await asyncio.open_connection(*http.address)
    writer.write(POST + b"Content-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"val')
    await until(lambda: http.broker.budget.used > 0)
    stopping = asyncio.create_task(http.servers.pop("n1").stop(5.0))
    await asyncio.sleep(0)
    writer.write(b'ue":1')
    writer.write(b"}")
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    await stopping


async def test_a_server_that_was_held_up_gives_its_clients_the_time_back(http: Harness) -> None:
    """What came meanwhile was not late: it could not be read."""
    _, writer = await asyncio.open_connection(*http.address)
    reader, slow = await asyncio.open_connection(*http.address)
    slow.write(GET)
    await until(lambda: http.servers["n1"].admission.total == 2)
    time.sleep(1.0)  # noqa: ASYNC251  -- holding the event loop up is what this is about
    await asyncio.sleep(0.06)  # The server looks at its connections.
    slow.write(b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    slow.close()
    writer.close()
