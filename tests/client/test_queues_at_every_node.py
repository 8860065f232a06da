"""Workers in Python, with and without asyncio, and on the command line: at the leader of the queue's shard,
at a follower, and at a node that has no replica of the shard nor of the topic."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import pytest
from floodmark import Action, Breaker, Client, DeadLetter, Job, Outcome, Settlement
from floodmark.errors import UnknownQueue
from floodmark.sync import Client as SyncClient
from floodmark.sync import Job as SyncJob
from structlog.testing import capture_logs

from tests.http.test_queue_command import Shell
from tests.node.test_queue_routes import _roles
from tests.support.nodes import NodeCluster, TestNode

NO_BREAKER = Breaker(failures=0)


async def topic_away_from(cluster: NodeCluster, node: TestNode) -> str:
    """One of a partition whose only replica is on another node."""
    for number in range(len(cluster.nodes)):
        name = f"t{number}"
        await cluster.create(name, replicas=1)
        if cluster.up[0].broker.topic(name).partitions[0].replicas != (node.node_id,):
            return name
    raise AssertionError(f"all topics are at {node.node_id}")


async def letters(client: Client, count: int) -> list[DeadLetter]:
    async with asyncio.timeout(60):
        while True:
            found = [letter async for letter in client.queues.dead("jobs")]
            if len(found) == count:
                return found
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("are_all", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_workers_at_every_node(tmp_path: Path, are_all: bool) -> None:
    """Each works off a queue there, looks after its dead letters, and deletes it. Unless ``are_all`` only the
    one with asyncio goes to all three."""
    with capture_logs():  # Else the log would be taken for what commands print.
        async with NodeCluster.running(tmp_path, 4) as cluster, Client(cluster["n1"].url) as client:
            await client.topics.create("any")
            await client.queues.put("jobs", "any")
            roles = await _roles(cluster)
            await client.queues.delete("jobs")
            topic = await topic_away_from(cluster, roles[-1])
            for node in roles:
                async with Client(node.url) as there:
                    await with_asyncio(there, topic)
                if are_all or node is roles[1]:
                    await asyncio.to_thread(without_asyncio, node.url, topic)
                if are_all or node is roles[2]:
                    await on_the_command_line(Shell(node.url), topic)


async def with_asyncio(client: Client, topic: str) -> None:
    """Jobs that succeed, fail and are rejected; what died is shown, replayed and purged."""
    queues = client.queues
    info = await queues.put(
        "jobs", topic, ordering="key", max_deliveries=2, backoff_s=[0.01], breaker=NO_BREAKER, start="latest"
    )
    assert (info.config.topic, info.depth) == (topic, 0)
    async with client.producer(topic) as producer:
        await (await producer.send_many(list(range(8)), keys=[f"k{number % 4}" for number in range(8)]))
    seen: defaultdict[int, list[int]] = defaultdict(list)

    async def handle(job: Job) -> None:
        seen[job.json()].append(job.deliveries)
        if sum(map(len, seen.values())) == 10:
            queue.stop()
        if job.json() == 1:
            raise ValueError("never")
        if job.json() == 2:
            await job.extend(60)
            await job.reject("no such account")
        if job.json() == 3 and job.deliveries == 1:
            await job.retry(0)

    async with client.queue("jobs", worker="w") as queue:
        await queue.run(handle, concurrency=3, prefetch=1)
    assert dict(sorted(seen.items())) == {
        number: [1, 2] if number in (1, 3) else [1] for number in range(8)
    }, "each as often as it had to"
    found = await letters(client, 2)
    assert {(letter.reason.rpartition(" ")[2], letter.worker) for letter in found} == {
        ("never", "w"),
        ("account", "w"),
    }
    record = (await queues.dead_letter("jobs", found[0].id)).record
    assert record is not None
    assert record.headers["floodmark-dead-queue"] == "jobs"
    assert await queues.replay("jobs", [found[0].id]) == 1
    again = []
    async with client.queue("jobs") as queue:
        async for job in queue.jobs():
            again.append(job)
            queue.stop()
    assert (await queues.describe("jobs")).depth == 0, "nothing else comes"
    assert [(job.topic, job.json(), job.deliveries) for job in again] == [("jobs.dead", record.json(), 1)]
    assert await queues.purge_dead("jobs") == 1
    assert (await queues.describe("jobs")).dead == 0
    await client.produce(topic, "more")
    (got,) = await queues.receive("jobs", wait_s=10)
    for outcome in (Outcome.DONE, Outcome.ALREADY):
        assert await queues.settle("jobs", [Settlement(got.receipt, Action.ACK)]) == [outcome]
    await client.produce(topic, "most")
    assert await queues.purge("jobs") == 1
    assert [(each.queue, each.depth) async for each in queues.list("j")] == [("jobs", 0)]
    await queues.delete("jobs")
    with pytest.raises(UnknownQueue):
        await queues.receive("jobs")


def without_asyncio(url: str, topic: str) -> None:
    """A loop, and threads."""
    seen: list[object] = []
    with SyncClient(url) as client:
        client.queues.put("jobs", topic, backoff_s=[0], breaker=NO_BREAKER, start="latest")
        for number in range(4):
            client.produce(topic, number)
        with client.queue("jobs") as queue:
            for job in queue.jobs():
                with job:
                    if not seen:
                        seen.append(None)
                        raise ValueError("once")
                seen.append(job.json())
                if len(seen) == 3:
                    break

        def handle(job: SyncJob) -> None:
            seen.append(job.json())
            if len(seen) == 6:  # The one that failed, and two others.
                queue.stop()

        with client.queue("jobs") as queue:
            queue.run(handle, concurrency=2)
        info = client.queues.describe("jobs")
        assert (info.settled, info.depth, info.dead) == (4, 0, 0)
        client.queues.delete("jobs")
    assert set(seen) == {None, 0, 1, 2, 3}


async def on_the_command_line(shell: Shell, topic: str) -> None:
    """All of ``floodmark queue``."""
    options = ("--backoff", "0s", "--start", "latest", "-o", "name")
    assert (await shell("create", "jobs", "--topic", topic, *options)).stdout == "jobs\n"
    async with Client(shell.url) as client:
        for number in range(3):
            await client.produce(topic, number)
    got = await shell.documents("receive", "jobs", "-n", "3", "--wait", "5s")
    while len(got) < 3:
        got += await shell.documents("receive", "jobs", "-n", "3", "--wait", "5s")
    first, second, third = (str(one["receipt"]) for one in got)
    for args in (
        ("extend", "jobs", first, second, "--for", "5m"),
        ("ack", "jobs", first),
        ("nack", "jobs", second),
        ("reject", "jobs", third, "--reason", "never"),
    ):
        results = await shell.documents(*args)
        assert {one["result"] for one in results} == {"done"}, args
    await shell("ack", "jobs", second, code=4)
    (again,) = await shell.documents("receive", "jobs", "--wait", "5s", "--ack")
    assert again["deliveries"] == 2
    async with asyncio.timeout(60):
        while not (dead := await shell.documents("dead", "list", "jobs")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    (letter,) = (str(one["id"]) for one in dead)
    shown = json.loads((await shell("dead", "show", "jobs", letter)).stdout)
    assert (shown["record"]["value"], shown["reason"]) == (got[2]["value"], "never")
    await shell("dead", "replay", "jobs", letter)
    (replayed,) = await shell.documents("receive", "jobs", "--wait", "5s")
    assert (replayed["topic"], replayed["value"]) == ("jobs.dead", got[2]["value"])
    await shell("nack", "jobs", str(replayed["receipt"]))
    described = (await shell.documents("describe", "jobs"))[0]
    assert (described["depth"], described["dead"]) == (1, 1)
    await shell("purge", "jobs", "--yes")
    assert (await shell.documents("list"))[0]["queue"] == "jobs"
    await shell("dead", "purge", "jobs", "--all", "--yes")
    await shell("delete", "jobs", "--yes")
    await shell("describe", "jobs", code=3)
