"""Quotas at the HTTP door: on the fast path and beside it, for pages, streams, bodies and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest

from node.budget import SharedBudget
from node.http.connection import HELD_BACK_S
from node.http.context import CONTEXT
from node.metadata.delta import MetadataDelta
from node.metadata.levels import PARTITION_QUOTAS
from node.metadata.state import MetadataState, QuotaEntry
from node.request_limits import RequestLimits
from node.service.authentication import Identity, digest_of
from node.service.service import Service
from tests.http.conftest import MARK, Answer, Harness, until
from tests.http.memory_broker import MemoryCluster

RECORDS: Final = "/v1/topics/t/partitions/0/records"
BYTES: Final = "application/octet-stream"
BATCH: Final = "application/vnd.floodmark.batch;v=1"


class Names:
    """Takes everybody for whom they say they are: ``Bearer ann``."""

    def __init__(self) -> None:
        self._digests: dict[bytes, Identity] = {}

    def known(self, digest: bytes) -> Identity | None:
        return self._digests.get(digest)

    async def identify(self, authorization: bytes) -> Identity:
        name = authorization.decode().removeprefix("Bearer ")
        return self._digests.setdefault(digest_of(authorization), Identity(name, "token x"))

    def certified_at_once(self, principal: str) -> Identity | None:
        return Identity(principal, "certificate")

    async def certified(self, principal: str) -> Identity:
        return Identity(principal, "certificate")

    def is_administrator(self, principal: str) -> bool:
        return False


class Node:
    """One that knows who asks; its clock stands still unless it is told otherwise."""

    def __init__(self, http: Harness) -> None:
        self.http = http
        self.now = 0.0
        self.service: Service = http.servers["n1"].app[CONTEXT].service
        self.service.quotas._clock = lambda: self.now

    def set(self, **entries: dict[str, float]) -> None:
        """The quotas of some principals."""
        found = {name: QuotaEntry(name, limits) for name, limits in entries.items()}
        delta = MetadataDelta(members=frozenset({"quotas"}))
        self.service.quotas.metadata_changed(MetadataState(quotas=found), delta)

    async def produce(
        self, who: str, size: int, *, unusual: bool = False, path: str = RECORDS, **headers: str
    ) -> Answer:
        """One record of so many bytes."""
        known = {"Authorization": f"Bearer {who}", "Content-Type": BYTES, **headers}
        if unusual:
            known["X-Unusual"] = "1"
        return await self.http.call(
            "POST", path, data=bytes(size), headers=known, skip_auto_headers=["User-Agent"]
        )

    async def read(self, who: str, accept: str, path: str = RECORDS) -> Answer:
        """What there is."""
        headers = {"Authorization": f"Bearer {who}", "Accept": accept}
        return await self.http.call("GET", path, headers=headers)

    @property
    def stored(self) -> int:
        """How many records there are."""
        return len(self.http.cluster.logs["t", 0].frames)


@pytest.fixture
def settings() -> RequestLimits:
    """The server sleeps for longer than these tests take: some of them note who sleeps, and for how long."""
    return RequestLimits(sweep_s=3600)


@pytest.fixture
async def node(settings: RequestLimits) -> AsyncIterator[Node]:
    """With topic ``t``."""
    harness = Harness(MemoryCluster(1))
    await harness.start("n1", settings, authenticator=Names())
    body, headers = {"partitions": 1}, {"Authorization": "Bearer admin"}
    assert (await harness.call("PUT", "/v1/topics/t", json=body, headers=headers)).status == 201
    try:
        yield Node(harness)
    finally:
        await harness.close()


def _refused(answer: Answer, whose: str, words: str) -> float:
    assert answer.status == 429, answer.body
    problem = answer.json
    assert (problem["code"], problem["retriable"]) == ("too_many_requests", True)
    assert f"the quota of {whose} is used up" in problem["detail"]
    assert words in problem["detail"]
    assert int(answer.headers["Retry-After"]) >= problem["retry_after_s"]
    return float(problem["retry_after_s"])


@pytest.mark.parametrize("unusual", [False, True], ids=["fast path", "usual way"])
async def test_who_produces_too_much_is_told_for_how_long_and_nothing_is_stored(
    node: Node, monkeypatch: pytest.MonkeyPatch, *, unusual: bool
) -> None:
    """Then there is room again; others have theirs all the time."""
    await node.read("ann", BATCH)
    node.set(ann={"produce_bytes_per_s": 1024})
    taken = node.http.taken_at("n1", monkeypatch)
    for size in (1000, 24):
        assert (await node.produce("ann", size, unusual=unusual)).status == 200
    assert taken == [not unusual] * 2
    wait_s = _refused(await node.produce("ann", 512, unusual=unusual), "ann", "1024 bytes a second")
    assert wait_s == 0.5
    by_key = await node.produce("ann", 512, path="/v1/topics/t/records")
    _refused(by_key, "ann", "1024 bytes a second")
    assert node.stored == 2
    assert (await node.produce("bob", 5000, unusual=unusual)).status == 200
    node.now += wait_s
    assert (await node.produce("ann", 512, unusual=unusual)).status == 200
    assert node.stored == 4


async def test_every_request_counts_as_one(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever kind, once, also where the fast path leaves it to the usual way."""
    await node.read("ann", BATCH)
    node.set(ann={"requests_per_s": 5})
    taken = node.http.taken_at("n1", monkeypatch)
    headers = {"Authorization": "Bearer ann"}
    assert (await node.produce("ann", 1)).status == 200
    assert (await node.produce("ann", 1, unusual=True)).status == 200
    assert (await node.read("ann", BATCH)).status == 200
    assert (await node.http.call("GET", "/v1/topics", headers=headers)).status == 200
    assert (await node.http.call("GET", "/metrics", headers=headers)).status == 200
    _refused(await node.produce("ann", 1), "ann", "5 requests a second")
    _refused(await node.http.call("GET", "/v1/topics/t", headers=headers), "ann", "5 requests a second")
    assert (await node.http.call("GET", "/readyz", headers=headers)).status == 200, "probes are no requests"
    assert taken[0]


async def test_what_a_node_passes_on_is_not_counted(node: Node) -> None:
    """It was where it arrived; by the same mark on the fast path and beside it."""
    node.set(ann={"requests_per_s": 1}, anonymous={"requests_per_s": 1})
    for unusual in (False, True):
        for _ in range(3):
            headers = {"Floodmark-Forwarded": MARK, "Content-Type": BYTES}
            if unusual:
                headers["X-Unusual"] = "1"
            answer = await node.http.call("POST", RECORDS, data=b"x", headers=headers)
            assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("accept", "path"),
    [(BATCH, RECORDS), ("application/json", RECORDS), ("application/json", "/v1/topics/t/records")],
)
async def test_who_has_read_too_much_waits_for_the_next_page(node: Node, accept: str, path: str) -> None:
    """What was sent counts, not what was asked for."""
    node.set(ann={"fetch_bytes_per_s": 2048})
    assert (await node.read("ann", accept, path)).status == 200, "there is nothing, which costs nothing"
    for _ in range(5):
        await node.produce("bob", 1000)
    page = await node.read("ann", accept, path)
    assert page.status == 200
    wait_s = _refused(await node.read("ann", accept, path), "ann", "2048 bytes a second may be read")
    assert 0.5 < wait_s <= (len(page.body) - 2048) / 2048 + 0.001
    assert (await node.read("bob", accept, path)).status == 200
    node.now += wait_s
    assert (await node.read("ann", accept, path)).status == 200


async def test_a_stream_is_slowed_down_and_not_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps for what it owes; then it goes on, and brings all."""
    node.set(ann={"fetch_bytes_per_s": 64 << 10})
    for _ in range(10):
        assert (await node.produce("bob", 50_000)).status == 200
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: Any = None) -> Any:
        if seconds > 0.3:
            slept.append(seconds)
            node.now += seconds
            seconds = 0
        return await real(seconds, result)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    answer = await node.read("ann", "application/x-ndjson")
    assert answer.status == 200
    assert answer.body.count(b"\n") == 10
    rest = len(answer.body) - (64 << 10)
    assert sum(slept) == pytest.approx(rest / (64 << 10), rel=0.3)


async def test_what_the_fast_path_refuses_goes_no_other_way(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted once, and whoever asks again too soon is answered late there too; a body that has not
    come is refused unread, on the usual way, and counted once as well."""
    await node.read("ann", BATCH)
    node.set(ann={"produce_bytes_per_s": 1024})
    taken = node.http.taken_at("n1", monkeypatch)
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("node.http.fast_path.asyncio.sleep", noted)
    assert (await node.produce("ann", 1024)).status == 200
    _refused(await node.produce("ann", 512), "ann", "1024 bytes a second")
    assert (taken, waits) == ([True, True], [])
    answer = await node.produce("ann", 512)
    _refused(answer, "ann", "1024 bytes a second")
    shortest, longest = HELD_BACK_S
    assert taken == [True] * 3
    assert len(waits) == 1
    assert shortest <= waits[0] <= longest
    assert answer.headers["Request-Id"]
    assert node.service.quotas.refused == {("principal", "produce_bytes_per_s"): 2}
    monkeypatch.setattr("node.http.fast_path.asyncio.sleep", sleep)
    node.now = 0.5
    assert (await node.produce("ann", 512)).status == 200
    assert taken == [True] * 4
    head = f"POST {RECORDS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ann\r\n"
    answered = await node.http.raw(f"{head}Content-Type: {BYTES}\r\nContent-Length: 900\r\n\r\nx".encode())
    assert answered.startswith(b"HTTP/1.1 429 ")
    assert taken == [True] * 4 + [False]
    assert node.service.quotas.refused == {("principal", "produce_bytes_per_s"): 3}
    assert node.stored == 2


async def test_a_body_that_would_be_refused_is_not_read(node: Node) -> None:
    """Its answer comes before its last byte does."""
    node.set(ann={"produce_bytes_per_s": 1024})
    assert (await node.produce("ann", 1024)).status == 200
    for path in (RECORDS, "/v1/topics/t/records"):
        reader, writer = await asyncio.open_connection(*node.http.address)
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ann\r\n"
        head += f"Content-Type: {BYTES}\r\nContent-Length: 1000000\r\n\r\n"
        writer.write(head.encode() + bytes(100_000))
        async with asyncio.timeout(30):
            assert b" 429 " in await reader.readuntil(b"\r\n")
        assert node.http.broker.budget.used == 0
        writer.close()


async def test_who_asks_again_too_soon_waits_for_its_refusal(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds nothing meanwhile; once that is over, or for others, nobody waits."""
    node.set(ann={"produce_bytes_per_s": 1024})
    slept: list[tuple[float, int]] = []
    real = asyncio.sleep

    async def sleep(seconds: float, result: Any = None) -> Any:
        if seconds > 0.3:
            slept.append((seconds, node.http.broker.budget.used))
            seconds = 0
        return await real(seconds, result)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert (await node.produce("ann", 1024)).status == 200
    for _ in range(3):
        assert (await node.produce("ann", 1024)).json["quota"] == "produce_bytes_per_s"
        assert (await node.produce("bob", 1024)).status == 200
    shortest, longest = HELD_BACK_S
    assert [held for _, held in slept] == [0, 0], "not the first one"
    assert all(shortest <= seconds <= longest for seconds, _ in slept)
    assert slept[0] != slept[1], "connections do not come back together"


async def test_a_principal_has_so_many_connections(node: Node) -> None:
    """One more is refused and closed, by whichever way it asks; the others go on, and a closed one makes
    room. A connection is of who sent its last request."""
    node.set(ann={"connections": 2})

    async def ask(session: aiohttp.ClientSession, who: str, *, plain: bool = True) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {who}", "Content-Type": BYTES, **({} if plain else {"X-U": "1"})}
        async with session.post(node.http.url(RECORDS), data=b"x", headers=headers) as answer:
            return answer.status, await answer.read()

    sessions = [aiohttp.ClientSession() for _ in range(4)]
    quotas = node.service.quotas
    try:
        for _ in range(2):
            for session in sessions[:2]:
                assert (await ask(session, "ann"))[0] == 200
        for plain in (True, False):
            status, body = await ask(sessions[2], "ann", plain=plain)
            assert status == 429
            assert b"2 connections may be open here, and 2 are" in body
            await until(lambda: node.http.servers["n1"].admission.total == 3)
        assert (await ask(sessions[2], "bob"))[0] == 200, "by another connection"
        assert (await ask(sessions[0], "bob"))[0] == 200
        assert (await ask(sessions[2], "ann"))[0] == 200, "the first one is bob's now"
        await sessions[1].close()
        await until(lambda: quotas._connections.get("ann") == 1)
        assert (await ask(sessions[3], "ann"))[0] == 200
    finally:
        for session in sessions:
            await session.close()
    await until(lambda: quotas._connections.keys() <= {"admin"})


async def test_a_principal_has_so_many_bytes_in_flight(node: Node) -> None:
    """Bodies on their way count as they come; one alone always has room."""
    node.set(ann={"inflight_bytes": 1 << 20})
    host, port = node.http.address
    _, writer = await asyncio.open_connection(host, port)
    head = f"POST {RECORDS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ann\r\n"
    head += f"Content-Type: {BYTES}\r\nContent-Length: 3000000\r\n\r\n"
    writer.write(head.encode() + bytes(2_000_000))
    await until(lambda: node.http.broker.budget.used == 2_000_000)
    for unusual in (False, True):
        refused = await node.produce("ann", 1000, unusual=unusual)
        _refused(refused, "ann", "1048576 bytes of its requests' bodies may be held")
        assert (await node.produce("bob", 1000, unusual=unusual)).status == 200
    writer.close()
    await until(lambda: node.http.broker.budget.used == 0)
    assert (await node.produce("ann", 1000)).status == 200


async def test_bodies_and_answers_are_shared_among_principals(node: Node) -> None:
    """Not by the address, which is the same for all here."""
    node.http.broker.budget = budget = SharedBudget(4 << 20, 1 << 20, "this node")
    with budget.account("greedy") as held:
        held.take(2 << 20)
        refused = await node.produce("greedy", 4000)
        assert refused.status == 429
        assert "then each of its 1 clients may have 1048576" in refused.json["detail"]
        assert (await node.produce("bob", 4000)).status == 200
    assert (await node.produce("greedy", 4000)).status == 200


class TestOfAddresses:
    """Settings of a node that asks nobody who they are."""

    @pytest.fixture
    def settings(self) -> RequestLimits:
        return RequestLimits(address_requests_per_s=3)

    async def test_an_address_makes_so_many_requests(self, http: Harness) -> None:
        """Nodes that pass requests on are not counted."""
        quotas = http.servers["n1"].app[CONTEXT].service.quotas
        quotas._clock = lambda: 0.0
        await http.make_topic()
        raw = {"Content-Type": BYTES}
        for _ in range(2):
            assert (await http.call("POST", RECORDS, data=b"x", headers=raw)).status == 200
        refused = await http.call("POST", RECORDS, data=b"x", headers=raw)
        _refused(refused, "the address 127.0.0.1", "3 requests a second")
        for more in ({}, {"X-Unusual": "1"}):
            headers = {**raw, **more, "Floodmark-Forwarded": MARK}
            assert (await http.call("POST", RECORDS, data=b"x", headers=headers)).status == 200
        assert (await http.call("GET", "/healthz")).status == 200


async def test_partitions_that_change_are_counted_and_what_changes_none_is_free(node: Node) -> None:
    """Created, added and deleted; a large topic passes a full bucket and is owed. Others are free."""
    node.http.cluster.level = PARTITION_QUOTAS
    node.set(ann={"partition_changes_per_s": 4})

    async def ask(who: str, method: str, topic: str, **body: object) -> Answer:
        headers = {"Authorization": f"Bearer {who}"}
        return await node.http.call(method, f"/v1/topics/{topic}", json=body or None, headers=headers)

    assert (await ask("ann", "PUT", "x", partitions=3)).status == 201
    assert (await ask("ann", "PUT", "x", partitions=3)).status == 200, "it is there"
    assert (await ask("ann", "PATCH", "x", config={"retention_ms": 1000})).status == 200
    assert (await ask("ann", "PUT", "wrong", partitions=1 << 40)).status == 400
    assert (await ask("ann", "PUT", "y")).status == 201
    refused = await ask("ann", "PUT", "z")
    assert (refused.status, refused.json["quota"]) == (429, "partition_changes_per_s")
    assert "4 partitions a second may be created, added and deleted" in refused.json["detail"]
    assert refused.json["retry_after_s"] == 0.25
    assert (await ask("bob", "PUT", "z")).status == 201
    node.now += 1
    assert (await ask("ann", "PATCH", "x", partitions=13)).status == 200
    for method, topic in (("DELETE", "y"), ("PATCH", "x")):
        refused = await ask("ann", method, topic, **({"partitions": 14} if method == "PATCH" else {}))
        assert refused.status == 429
    assert (await ask("ann", "GET", "x")).status == 200
    node.now += 2.5
    assert (await ask("ann", "DELETE", "y")).status == 204
