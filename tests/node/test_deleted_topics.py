"""A topic that is deleted, and made again, under those who hold something of it: on whole nodes.

Each case is asked of the partition's leader, of a follower, and of a node without a replica.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.nodes import NodeCluster, TestNode

ONE = "/v1/topics/t/partitions/0/records"
ALL = "/v1/topics/t/records"
TAIL = "/v1/topics/t/partitions/0/tail"
LINES = {"Accept": "application/x-ndjson"}
EVENTS = {"Accept": "text/event-stream"}


def held(node: TestNode, topic_id: int) -> int:
    """How many requests at a node are to be told when the topic is deleted."""
    return node.broker._deletions.waiting("t", topic_id)


class Places:
    """One topic with two replicas, and how each node stands to its only partition."""

    def __init__(self, cluster: NodeCluster) -> None:
        self.cluster = cluster
        self.nodes: dict[str, TestNode] = {}

    async def make(self) -> int:
        """Make it; its id."""
        await self.cluster.create("t", replicas=2)
        leader = await self.cluster.leader("t")
        topic = leader.broker.topic("t")
        replicas = set(topic.partitions[0].replicas)
        (follower,) = replicas - {leader.node_id}
        (outsider,) = set(self.cluster.nodes) - replicas
        self.nodes = {
            "leader": leader,
            "follower": self.cluster[follower],
            "outsider": self.cluster[outsider],
        }
        return topic.topic_id

    async def remove(self) -> None:
        """Delete it."""
        status, _ = await self.call(next(iter(self.cluster.nodes.values())), "DELETE", "/v1/topics/t")
        assert status == 204

    async def call(self, node: TestNode, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """Status and document."""
        async with self.cluster.session.request(method, node.url + path, **arguments) as answer:
            body = await answer.read()
            return answer.status, json.loads(body) if body else None

    def everywhere(
        self, ask: Callable[[TestNode], Awaitable[tuple[int, Any]]]
    ) -> dict[str, asyncio.Future[tuple[int, Any]]]:
        """Begin to ask all three."""

        return {place: asyncio.ensure_future(ask(node)) for place, node in self.nodes.items()}

    async def watched(self, topic_id: int, counts: dict[str, int]) -> None:
        """Wait until requests of so many hold on to the topic, by place."""

        await self.cluster.until(
            lambda: all(held(self.nodes[place], topic_id) >= count for place, count in counts.items()),
            f"{counts} wait",
        )


@pytest.fixture
async def places(tmp_path: Path) -> AsyncIterator[Places]:
    """Three nodes."""
    async with NodeCluster.running(tmp_path) as cluster:
        yield Places(cluster)


@pytest.mark.parametrize("again", [False, True])
async def test_long_polls_and_streams_end_with_their_topic(places: Places, again: bool) -> None:
    """Polls with 404, streams with a last item; nothing of a topic that is made at once comes through."""
    session = places.cluster.session
    old = await places.make()
    first, _ = await places.call(places.nodes["outsider"], "POST", ONE, data=b'{"value": 1}')
    assert first == 200
    streams: list[aiohttp.ClientResponse] = []
    for node in places.nodes.values():
        for path, headers in ((ONE, EVENTS), (ONE, LINES), (ALL, EVENTS), (ALL, LINES)):
            stream = await session.get(f"{node.url}{path}?follow=true", headers=headers)
            assert (stream.status, stream.headers["Floodmark-Topic-Id"]) == (200, str(old))
            await stream.content.readuntil(b"\n\n" if headers is EVENTS else b"\n")
            streams.append(stream)
    polls = [
        places.everywhere(lambda node, path=path: places.call(node, "GET", path + "?from=latest&wait=30s"))
        for path in (ONE, ALL)
    ]
    # Each node was asked for four streams and two polls. For each other node one request waits at the leader,
    # which all of them share: they wait for the same record.
    await places.watched(old, {"leader": 6 + 2, "follower": 6, "outsider": 6})
    await places.remove()
    if again:
        new = await places.make()
        assert new > old
        status, _ = await places.call(places.nodes["outsider"], "POST", ONE, data=b'{"value": "second"}')
        assert status == 200
    for poll in polls:
        for place, task in poll.items():
            status, problem = await task
            assert (status, problem["code"]) == (404, "topic_deleted"), place
    for stream in streams:
        rest = (await stream.read()).decode().strip()
        assert "second" not in rest
        last = rest.splitlines()[-1]
        document = json.loads(last.removeprefix("data: "))
        problem = document.get("error", document)
        assert (problem["code"], problem["topic_id"]) == ("topic_deleted", old), rest
    for node in places.nodes.values():
        assert held(node, old) == 0


async def test_requests_name_the_topic_at_every_node(places: Places) -> None:
    """One for the topic that is gone is refused, one for that which has its name is served, also at once."""
    old = await places.make()
    await places.call(places.nodes["leader"], "POST", ONE, data=b'{"value": 1}')
    cursors = {}
    for place, node in places.nodes.items():
        for path in (ONE, ALL, TAIL):
            async with places.cluster.session.get(node.url + path) as answer:
                assert answer.headers["Floodmark-Topic-Id"] == str(old), (place, path)
                cursors[place] = answer.headers.get("Log-Cursor", cursors.get(place))
    nodes = places.cluster.nodes.values()
    await places.remove()
    assert (await places.call(next(iter(nodes)), "PUT", "/v1/topics/t", data=b'{"partitions": 2}'))[0] == 201
    for node in nodes:
        for pinned in (str(old), str(old + 1)):
            headers = {"Floodmark-Topic-Id": pinned}
            statuses = [
                (await places.call(node, "GET", path, headers=headers))[0] for path in (ONE, ALL, TAIL)
            ]
            for kind in ({}, {"If-Offset": "0"}, {"Producer-Id": node.node_id, "Producer-Seq": "0"}):
                if pinned == str(old):  # else only the first one finds the offset
                    status, _ = await places.call(
                        node, "POST", ONE, data=b'{"value": 1}', headers={**headers, **kind}
                    )
                    statuses.append(status)
            expected = [404] * 6 if pinned == str(old) else [200] * 3
            assert statuses == expected, (node.node_id, pinned)
    for place, cursor in cursors.items():
        for node in nodes:
            status, problem = await places.call(node, "GET", f"{ALL}?cursor={cursor}")
            assert (status, problem["code"]) == (404, "topic_deleted"), (place, node.node_id)


class Writers:
    """Producers that never rest, at every node and by every path; what each has seen, oldest first."""

    def __init__(self, places: Places) -> None:
        self.seen: dict[str, list[tuple[int, str | None]]] = {}
        self._places = places
        self._stop = False
        self._tasks = [
            asyncio.create_task(self._write(f"{place} {path}", node.url + path))
            for place, node in places.nodes.items()
            for path in (ONE, ALL, ONE + "?acks=leader")
        ]

    async def _write(self, name: str, url: str) -> None:
        seen = self.seen[name] = []
        while not self._stop:
            async with self._places.cluster.session.post(url, data=b'{"value": 1}') as answer:
                await answer.read()
                seen.append((answer.status, answer.headers.get("Floodmark-Topic-Id")))

    async def more(self, count: int) -> list[tuple[int, str | None]]:
        """The next answers of each, but for the first one: that request may have begun before."""
        marks = {name: len(seen) for name, seen in self.seen.items()}
        await self._places.cluster.until(
            lambda: all(len(seen) > marks[name] + count for name, seen in self.seen.items()), "answers"
        )
        return [answer for name, seen in self.seen.items() for answer in seen[marks[name] + 1 :]]

    async def stop(self) -> None:
        """Let them end."""
        self._stop = True
        await asyncio.gather(*self._tasks)


async def test_no_node_stores_anything_in_a_topic_once_it_is_deleted(places: Places) -> None:
    """Producers at every node see 200, then 404, and after it was made again 200 in the new one: nothing
    else once DELETE or PUT is answered, and nobody waits for a leader that is not there."""
    topic_id = await places.make()
    writers = Writers(places)
    some_node = next(iter(places.cluster.nodes.values()))
    try:
        await places.cluster.until(lambda: len(writers.seen) == 9, "all write")
        for _ in range(4):
            assert set(await writers.more(2)) == {(200, str(topic_id))}
            await places.remove()
            assert {status for status, _ in await writers.more(3)} == {404}
            status, made = await places.call(some_node, "PUT", "/v1/topics/t", data=b'{"partitions": 1}')
            assert (status, made["topic_id"] > topic_id) == (201, True)
            topic_id = made["topic_id"]
        assert set(await writers.more(2)) == {(200, str(topic_id))}
    finally:
        await writers.stop()
    # 503: while the topic was being made, and its PUT not answered yet.
    assert {status for seen in writers.seen.values() for status, _ in seen} <= {200, 404, 503}


async def test_a_node_that_was_away_serves_no_topic_that_was_made_again(places: Places) -> None:
    """It comes back with the old topic on its disk: what is asked of it is for the new one, or refused."""
    old = await places.make()
    cluster, away = places.cluster, places.nodes["follower"]
    for _ in range(3):
        assert (await places.call(places.nodes["leader"], "POST", ONE, data=b'{"value": "old"}'))[0] == 200
    await away.stop()
    # The one that is away counts as a voter of the metadata; the other two decide.
    left = places.nodes["outsider"]
    await cluster.until(lambda: left.broker.metadata.leads_here or left.running.metadata.leader, "a leader")
    assert (await places.call(left, "DELETE", "/v1/topics/t"))[0] == 204
    status, made = await places.call(left, "PUT", "/v1/topics/t", data=b'{"replication_factor": 2}')
    assert status == 201, made
    assert (await places.call(left, "POST", ONE, json={"value": "new"}))[0] == 200
    away.start()
    await cluster.until(lambda: away.parts is not None and away.node_id in away.running.discovery.nodes, "up")
    asked = [
        ({}, {200, 503}),
        ({"Floodmark-Topic-Id": str(old)}, {404, 503}),
        ({"Floodmark-Topic-Id": str(made["topic_id"])}, {200, 503}),
    ]
    open_cases = set(range(len(asked)))
    while open_cases:
        for number in list(open_cases):
            headers, expected = asked[number]
            for path in (ONE, ALL):
                status, page = await places.call(away, "GET", path, headers=headers)
                assert status in expected, (headers, page)
                if status == 200:
                    assert [record["value"] for record in page["records"]] == ["new"], headers
                if status != 503:
                    open_cases.discard(number)
    status, stored = await places.call(away, "POST", ONE, data=b'{"value": "more"}')
    assert (status, stored["first_offset"]) == (200, 1)


async def test_delete_is_answered_once_the_other_nodes_know(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them says when it does; a node that did not know could store records in what is gone."""
    topic_id = await places.make()
    nodes = places.cluster.nodes
    (leads,) = (node for node in nodes.values() if node.broker.metadata.leads_here)
    asking, go_on, known = asyncio.Event(), asyncio.Event(), []
    wait_deleted = leads.running.query.wait_deleted

    async def held_up(node: str, topic: str, deleted: int) -> None:
        asking.set()
        await go_on.wait()
        await wait_deleted(node, topic, deleted)
        known.append((node, deleted))

    monkeypatch.setattr(leads.running.query, "wait_deleted", held_up)
    removing = asyncio.create_task(places.remove())
    await asking.wait()
    assert not removing.done()
    go_on.set()
    await removing
    assert sorted(known) == [(name, topic_id) for name in sorted(nodes) if name != leads.node_id]
