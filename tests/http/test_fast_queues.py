"""Requests for queues past aiohttp: at every node the same answers as through it, and nothing that is not
plain among them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from node.http.context import CONTEXT
from node.http.fast_queues import FastQueues
from node.http.page import WHOLE_BYTES
from node.http.plain_queue_head import PlainQueueHeads
from node.metadata.domains.coordinator import SHARDS, shard_of
from node.metadata.state import COORDINATOR_TOPIC
from tests.node.test_group_routes import Asking
from tests.support.nodes import NodeCluster, TestNode

ROLES: Final = ("leader", "follower", "no replica")
WAYS: Final = {"plain": b"", "usual": b"X-Unusual: 1\r\n"}
_OWN: Final = {"date", "request-id", "floodmark-leader", "floodmark-leader-url", "content-length"}
_TEXTS: Final = (
    (rb'"receipt":"[^"]*"', b'"receipt":"R"'),
    (rb"invalid receipt '[^']*'", b"invalid receipt"),
    (rb'"request_id":"[^"]*"', b'"request_id":"I"'),
    (rb'"timestamp":"[^"]*"', b'"timestamp":"T"'),
    (rb"jobs\d+", b"jobs"),
)


class Answer(NamedTuple):
    status: bytes
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def alike(self) -> object:
        """Without what may differ."""
        body = self.body
        for pattern, to in _TEXTS:
            body = re.sub(pattern, to, body)
        return self.status, {name: self.headers[name] for name in self.headers.keys() - _OWN}, body


class Door:
    """One connection to one node, with a queue of its own."""

    def __init__(self, node: TestNode, queue: str, more: bytes) -> None:
        self.node = node
        self.queue = queue
        self._more = more
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, path: str, body: bytes, *, headers: bytes = b"") -> None:
        if self._streams is None:
            host, _, port = self.node.url.removeprefix("http://").partition(":")
            self._streams = await asyncio.open_connection(host, int(port))
        head = (
            b"POST /v1/queues/%b/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%b"
            % (
                self.queue.encode(),
                path.encode(),
                self._more + headers,
            )
        )
        self._streams[1].write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    async def read(self) -> Answer:
        assert self._streams is not None
        reader = self._streams[0]
        async with asyncio.timeout(20):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).rstrip().split(b"\r\n")
            pairs = (line.decode().split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            return Answer(first, headers, await reader.readexactly(int(headers["content-length"])))

    async def ask(self, path: str, body: object = None, *, headers: bytes = b"") -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        await self.send(path, data, headers=headers)
        return await self.read()

    def leave(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Doors(NamedTuple):
    """At the leader of all these queues, at a follower and at a node without a replica, each way."""

    cluster: NodeCluster
    ask: Asking
    doors: dict[tuple[str, str], Door]
    taken: list[str]
    """The queues of requests that went past aiohttp."""


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    taken: list[str] = []
    take = FastQueues.take

    def noted(self: FastQueues, connection: Any, data: bytes) -> bool:
        if is_taken := take(self, connection, data):
            taken.append(data.split(b"/")[3].decode())
        return is_taken

    monkeypatch.setattr(FastQueues, "take", noted)
    shard = shard_of("jobs0", SHARDS)
    names = (name for number in range(10_000) if shard_of(name := f"jobs{number}", SHARDS) == shard)
    async with NodeCluster.running(tmp_path, 4) as cluster:
        ask = Asking(cluster)
        await cluster.create("orders")
        made: list[str] = []
        for _ in range(len(ROLES) * len(WAYS)):
            made.append(next(names))
            settings = {"topic": "orders", "backoff_ms": [0], "dead_letter_topic": None}
            await ask.done(cluster["n1"], "PUT", f"/v1/queues/{made[-1]}", settings)
        leader = await cluster.leader(COORDINATOR_TOPIC, shard)
        state = leader.running.metadata.state.topics[COORDINATOR_TOPIC].partitions[shard]
        others = [node for node in cluster.up if node is not leader]
        follower = next(node for node in others if node.node_id in state.replicas)
        without = next(node for node in others if node.node_id not in state.replicas)
        nodes = dict(zip(ROLES, (leader, follower, without), strict=True))
        keys = [(role, way) for role in ROLES for way in WAYS]
        each = {key: Door(nodes[key[0]], name, WAYS[key[1]]) for key, name in zip(keys, made, strict=True)}
        yield Doors(cluster, ask, each, taken)
        for door in each.values():
            door.leave()
        for node in cluster.up:
            service = node.running.app[CONTEXT].service
            await cluster.until(lambda service=service: service.answers.used == 0, "nothing is held any more")


async def test_answers_are_the_same_on_both_ways_at_every_node(doors: Doors) -> None:
    """Records, settlements, refusals, what is no JSON: status, headers, documents."""
    await doors.ask.produce("orders", 0, 4)

    async def history(door: Door) -> list[object]:
        found = [await door.ask("receive?max=2&wait=20s&worker=w-1.a")]
        first, second = (record["receipt"] for record in found[0].json["records"])
        for path, body in (
            ("ack", {"receipts": [first]}),
            ("ack", {"receipts": [first]}),
            ("ack?timeout=5s", {"receipts": [first, second]}),
            ("nack", {"receipts": [second]}),
            ("reject", {"receipts": [first, second], "reason": "no"}),
            ("extend", {"receipts": [second], "visible_ms": 0}),
            ("settle", {"settlements": [{"receipt": second, "action": "ack", "delay_ms": 4}]}),
            ("receive?max=1", {"ack": [second]}),
            ("receive?max=0", {}),
            ("receive?max=", {}),
            ("receive?max=1&max=2", {}),
            ("receive?wait=1y", {}),
            ("receive?other=1", {}),
            ("receive?worker=%41", {}),
            ("ack?max=1", {"receipts": [second]}),
            ("ack", {}),
            ("ack", None),
            ("ack", b"{"),
            ("ack", b'{"receipts": ["\xff"]}'),
            ("ack", {"receipts": [second + "0"]}),
            ("ack", {"receipts": []}),
            ("ack", {"receipts": [second] * 2000}),
            ("drink", {}),
        ):
            found.append(await door.ask(path, body))
        assert [answer.status[9:12] for answer in found[:6]] == [
            b"200",
            b"200",
            b"200",
            b"200",
            b"409",
            b"207",
        ]
        return [answer.alike() for answer in found]

    told = {key: await history(door) for key, door in doors.doors.items()}
    alike = told[ROLES[0], "usual"]
    for key, answers in told.items():
        for number, (answer, expected) in enumerate(zip(answers, alike, strict=True)):
            assert answer == expected, (key, number)
    taken = {door.queue: doors.taken.count(door.queue) for door in doors.doors.values()}
    for (_, way), door in doors.doors.items():
        assert taken[door.queue] == (18 if way == "plain" else 0), taken


async def test_a_large_answer_is_sent_in_pieces(doors: Doors) -> None:
    """More than is sent at once, to a client that takes its time too; and what comes behind it is served."""
    value = "x" * 3000
    records = {"records": [{"value": value} for _ in range(100)]}
    for _ in range(8):
        await doors.ask.done(doors.cluster.up[0], "POST", "/v1/topics/orders/partitions/0/records", records)
    for role in ROLES:
        door = doors.doors[role, "plain"]
        first = 0
        for _ in range(2):
            found = await door.ask("receive?max=300&max_bytes=4000000&wait=20s")
            assert len(found.body) > 10 * WHOLE_BYTES
            assert {record["value"] for record in found.json["records"]} == {value}
            offsets = [record["offset"] for record in found.json["records"]]
            assert offsets == list(range(first, first + len(offsets)))
            first += len(offsets)
        await door.send("receive?max=300&max_bytes=4000000&wait=20s", b"")
        await door.send("receive?max=1&wait=20s", b"")  # Ahead of the answer.
        ahead, behind = [(await door.read()).json["records"] for _ in range(2)]
        assert (ahead[0]["offset"], behind[0]["offset"]) == (first, first + len(ahead))
    assert len(doors.taken) >= 2 * len(ROLES)


async def test_whoever_leaves_while_it_waits_gets_nothing(doors: Doors) -> None:
    """The record that comes after it left goes to the next one, at once."""
    for role in ROLES:
        door = doors.doors[role, "plain"]
        await door.send("receive?wait=20s", b"")
        leader = doors.doors["leader", "plain"].node

        def waiting(queue: str = door.queue, leader: TestNode = leader) -> int:
            shards = leader.running.coordinator.shards
            return shards.lead_of(queue).queues.of(queue).dispatch.waiting

        await doors.cluster.until(lambda waiting=waiting: waiting() == 1, "it waits")
        door.leave()
        await doors.cluster.until(lambda waiting=waiting: waiting() == 0, "nobody waits any more")
    await doors.ask.produce("orders", 0, 1)
    for role in ROLES:
        (record,) = (await doors.doors[role, "plain"].ask("receive?wait=20s")).json["records"]
        assert (record["offset"], record["deliveries"]) == (0, 1)


def test_a_plain_head_is_read() -> None:
    """All of it; and what another node passes on, or says more than is known, is left."""
    heads = PlainQueueHeads(lambda host: host == "localhost", lambda mark: mark == "m")
    usual = b"POST /v1/queues/a.b/%b HTTP/1.1\r\nHost: localhost\r\nUser-Agent: me\r\n%b"
    usual += b"Content-Length: 2\r\n\r\n{}"
    for _ in range(2):
        found = heads.read(usual % (b"receive?max=5&wait=2s", b""))
        assert found is not None
        head = found[0]
        assert (head.queue, head.action, head.query) == ("a.b", "receive", {"max": "5", "wait": "2s"})
        assert (head.path, head.client_id) == ("/v1/queues/a.b/receive", "me")
    passed_on = heads.read(usual % (b"ack", b"Floodmark-Forwarded: m\r\n"))
    assert passed_on is not None
    assert passed_on[0].is_from_node
    for text in (
        usual % (b"receive?timeout=1s", b""),
        usual % (b"ack?wait=1s", b""),
        usual % (b"ack?timeout=1s&timeout=1s", b""),
        usual % (b"purge", b""),
        usual % (b"ack", b"Floodmark-Topic-Id: 1\r\n"),
        usual % (b"ack", b"Content-Encoding: gzip\r\n"),
        (usual % (b"ack", b"")).replace(b"a.b", b".."),
        (usual % (b"ack", b"")).replace(b"localhost", b"other"),
    ):
        assert heads.read(text) is None, text
